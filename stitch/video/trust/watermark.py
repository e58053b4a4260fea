"""An invisible mark in the edited pixels, which says that Stitch made them and outlives being encoded again.

A fixed pattern of small luminance steps, periodic, lies still in the frame over the edited region, stronger where the
picture hides it. It is found blindly by correlation (spread spectrum: Cox et al., 1997), gathered over the frames of a
clip and over its tiles, wherever cropping moved it to and however it was scaled. It holds no payload beyond which
program and which version of the pattern: a mark that everybody can read should tell nothing about anybody.

The writer knows the picture and may lay the pattern at any offset, since the reader searches all of them. So it takes
the one that the picture correlates with best by itself (writing on dirty paper: Costa, 1983), which makes it as easy to
find as half as much strength again would, and costs nothing.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

VERSION = 1
THRESHOLD = 7.0
"""Standard deviations of the correlation from which on a mark counts as found; docs/trust.md says what was measured."""
FRAMES_READ = 64
"""Of a clip, evenly spread, are enough to find the mark."""
FRAMES_PLACED = 12
"""Of a clip, evenly spread, decide where the pattern is laid."""

_KEY_WEIGHT = 8
"""What a key frame counts where another counts 1: those between repeat it where they can, and the pattern with it."""
_TILE = 128  # period of the pattern, in its own pixels
_WAVES = (4.5, 11.0)  # shortest and longest wave: shorter ones do not outlive H.264, longer ones drown in the picture
_SEED = 0x571C4  # public: whoever knows it can find the mark, as everybody should
_BASE_PX = 480  # shorter side of the frames that the pattern is laid over pixel by pixel; larger ones take it enlarged
_LARGEST_PX = 720  # shorter side that the mark is searched at
_LEVELS = (0.6, 2.6)  # RMS of the pattern over the smoothest and over the roughest parts, in levels of 255
_MASKED = 0.7  # of the picture's own mean deviation around a place, how much of the pattern it hides
_BUDGET = 1.97  # RMS over the whole of what is marked in a frame, in levels: 42 dB or more
_FADE_PX = 3.0
_BLOCK = _TILE // 2
_WINDOWS = ((2, 2), (3, 2), (4, 3), (5, 4), (6, 5), (8, 6), (11, 8), (15, 11), (20, 15), (99, 99))
"""Rows and columns of blocks that are looked at together: of the size of heads, and the whole picture."""
_LUMA = np.array([[0.299, 0.587, 0.114]], np.float32)


@dataclass(frozen=True)
class Mark:
    """What the search for the mark found.

    Attributes:
        score: of the best correlation, in standard deviations.
        scale: of the pattern there, frame px for a pattern px.
    """

    score: float
    scale: float

    @property
    def found(self) -> bool:
        """Whether the picture is marked."""
        return self.score >= THRESHOLD


class Watermark:
    """Marks the frames of one clip.

    Args:
        height, width: of the frames, px.
        offset: rows and columns that the pattern is moved by; see `placed`.
    """

    def __init__(self, height: int, width: int, offset: tuple[int, int] = (0, 0)) -> None:
        unit = _unit(height, width)
        rows, columns = (math.ceil(side / unit / _TILE) + 1 for side in (height, width))
        whole = np.tile(np.roll(_pattern(), offset, (0, 1)), (rows, columns))
        into = np.array([[unit, 0, unit / 2 - 0.5], [0, unit, unit / 2 - 0.5]], np.float32)
        self._pattern = cv2.warpAffine(whole, into, (width, height), flags=cv2.INTER_CUBIC)
        self._unit = unit

    def __call__(self, frame: np.ndarray, changed: np.ndarray) -> np.ndarray:
        """Mark one frame.

        Args:
            frame: [H,W,3] uint8.
            changed: [H,W] bool, the pixels that may be marked; all others stay bit for bit.
        Returns:
            A new frame.
        """
        marked = frame.copy()
        x, y, width, height = cv2.boundingRect(changed.astype(np.uint8))
        if not width:
            return marked
        part = slice(y, y + height), slice(x, x + width)
        inside = changed[part].astype(np.float32)
        luma = cv2.transform(frame[part].astype(np.float32), _LUMA)
        rough = cv2.blur(np.abs(luma - _blurred(luma, 3 * self._unit)), (round(6 * self._unit) | 1,) * 2)
        strength = np.clip(rough * np.float32(_MASKED), *_LEVELS) * inside * _blurred(inside, _FADE_PX)
        step = self._pattern[part] * strength
        spent = float(np.sqrt(np.square(step).sum() / inside.sum()))
        step *= min(1.0, _BUDGET / max(spent, 1e-6))
        marked[part] = np.clip(np.rint(marked[part] + step[..., None]), 0, 255).astype(np.uint8)
        return marked


def placed(height: int, width: int, pictures: Iterable[tuple[np.ndarray, np.ndarray]]) -> Watermark:
    """A watermark laid where the pictures of a clip carry it best.

    Args:
        height, width: of the frames, px.
        pictures: some frames as they will be, [H,W,3] uint8, with the pixels that may be marked, [H,W] bool.
    """
    unit, gathered = _unit(height, width), np.zeros((height, width), np.float32)
    for frame, changed in pictures:
        gathered += np.where(changed, _residual(frame, unit), 0)
    plane = _correlated(gathered, unit).sum((0, 1))
    rows, columns = np.unravel_index(int(np.argmax(plane)), plane.shape)
    return Watermark(height, width, (int(rows), int(columns)))


def find(frames: Iterable[tuple[np.ndarray, bool]]) -> Mark:
    """Search a clip or a photo for the mark.

    Args:
        frames: [H,W,3] uint8 each, all of one size, and whether it is a key frame; `FRAMES_READ` of a clip are enough.
    Returns:
        The best that was found, however weak.
    """
    gathered: np.ndarray | None = None
    shrink = 1.0
    for frame, key in frames:
        shrink = max(1.0, min(frame.shape[:2]) / _LARGEST_PX)
        if shrink > 1:
            frame = cv2.resize(frame, None, fx=1 / shrink, fy=1 / shrink, interpolation=cv2.INTER_AREA)
        residual = _residual(frame, max(0.7, min(frame.shape[:2]) / _BASE_PX))
        residual *= _KEY_WEIGHT if key else 1
        gathered = residual if gathered is None else gathered + residual
    if gathered is None:
        return Mark(0.0, 1.0)
    found = [Mark(_score(gathered, scale), scale * shrink) for scale in _scales(min(gathered.shape))]
    return max(found, key=lambda one: one.score)


def psnr_db(frame: np.ndarray, marked: np.ndarray, changed: np.ndarray) -> float:
    """How faithful the marked pixels are, in dB.

    Args:
        frame, marked: [H,W,3] uint8, before and after.
        changed: [H,W] bool, where.
    """
    error = (marked[changed].astype(np.float64) - frame[changed]) ** 2
    return float(10 * np.log10(255**2 / max(error.mean(), 1e-9))) if error.size else math.inf


@cache
def _pattern() -> np.ndarray:
    """[_TILE,_TILE] float32, periodic, mean 0 and standard deviation 1: noise of the chosen waves, its peaks cut."""
    rng = np.random.Generator(np.random.PCG64(_SEED + VERSION))
    spectrum = np.fft.fft2(rng.standard_normal((_TILE, _TILE)))
    frequency = np.hypot(np.fft.fftfreq(_TILE)[:, None], np.fft.fftfreq(_TILE)[None])
    spectrum *= (frequency >= 1 / _WAVES[1]) & (frequency <= 1 / _WAVES[0])
    noise = np.fft.ifft2(spectrum).real
    noise = np.clip(noise / noise.std(), -1.5, 1.5)
    pattern = (noise / noise.std()).astype(np.float32)
    pattern.setflags(write=False)
    return pattern


@cache
def _filter() -> np.ndarray:
    """The pattern's spectrum, conjugate, where it has any strength: what it is searched with."""
    spectrum = np.conj(np.fft.rfft2(_pattern()))
    spectrum[np.abs(spectrum) < 1e-3 * np.abs(spectrum).max()] = 0
    spectrum.setflags(write=False)
    return spectrum


def _unit(height: int, width: int) -> float:
    """Frame px for a pattern px: pictures are seen whole, so a large one may be marked more coarsely."""
    return max(1.0, min(height, width) / _BASE_PX)


def _scales(side_px: int) -> Sequence[float]:
    """Scales that the pattern may have in a picture.

    Of frames from 480 px on it goes by their size, whatever they were resized to, and up to a quarter more where they
    were cropped; of smaller ones by how they were resized.
    """
    own = side_px / _BASE_PX
    wide = [own * 1.015**step for step in range(19)]
    return sorted({1.0, 0.5, 2 / 3, 0.75, 4 / 3, 1.5, 2.0, *(one for one in wide if one >= 0.3)})


def _residual(frame: np.ndarray, unit: float) -> np.ndarray:
    """[H,W] float32: fine luminance, evened out so that no edge outweighs a cheek."""
    luma = cv2.transform(frame.astype(np.float32), _LUMA)
    fine = luma - _blurred(luma, 2.3 * unit)
    spread = np.sqrt(_blurred(fine * fine, 2.3 * unit) + 16)
    return np.clip(fine / spread, -2, 2) / np.sqrt(spread)


def _correlated(gathered: np.ndarray, scale: float) -> np.ndarray:
    """Correlation with the pattern at every offset, [n,m,_TILE,_TILE], of every block of the picture by itself."""
    height, width = (max(1, round(side / scale)) for side in gathered.shape)
    if scale != 1:
        way = cv2.INTER_AREA if scale > 1 else cv2.INTER_LINEAR
        gathered = cv2.resize(gathered, (width, height), interpolation=way)
    padded = np.pad(gathered, ((0, -height % _TILE), (0, -width % _TILE)))
    blocks = padded.reshape(padded.shape[0] // _BLOCK, _BLOCK, -1, _BLOCK).swapaxes(1, 2)
    tiles = np.zeros((*blocks.shape[:2], _TILE, _TILE), np.float32)
    for y in (0, 1):
        for x in (0, 1):  # each where it lies in the pattern's period
            place = slice(y * _BLOCK, (y + 1) * _BLOCK), slice(x * _BLOCK, (x + 1) * _BLOCK)
            tiles[(slice(y, None, 2), slice(x, None, 2), *place)] = blocks[y::2, x::2]
    spectra = np.fft.rfft2(tiles)
    power = np.sqrt((np.abs(spectra) ** 2).mean((0, 1))) + 1e-6
    return np.fft.irfft2(spectra * (_filter() / power), s=(_TILE, _TILE))


def _score(gathered: np.ndarray, scale: float) -> float:
    """The best correlation at a scale over windows of blocks, in standard deviations."""
    planes = _correlated(gathered, scale)
    sums = np.pad(planes.cumsum(0).cumsum(1), ((1, 0), (1, 0), (0, 0), (0, 0)))
    best = 0.0
    for window in _WINDOWS:
        rows, columns = (min(side, count) for side, count in zip(window, planes.shape[:2], strict=True))
        windows = sums[rows:, columns:] - sums[:-rows, columns:] - sums[rows:, :-columns] + sums[:-rows, :-columns]
        spread = windows.std((2, 3))
        best = max(best, float((windows.max((2, 3)) / np.maximum(spread, max(1e-9, spread.max() / 50))).max()))
    return best


def _blurred(picture: np.ndarray, sigma_px: float) -> np.ndarray:
    return cv2.GaussianBlur(picture, (0, 0), sigma_px)
