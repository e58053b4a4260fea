"""Two clips, whatever made them, on one timeline and in one frame: what is compared with what."""

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from stitch.core.errors import VideoError
from stitch.core.geometry import Box
from stitch.core.records import ClipInfo
from stitch.core.settings import VideoSettings
from stitch.study.report import frame_at
from stitch.video import files

_DARK = 24
"""Levels of 255 up to which a bar is black: 16 and coding noise."""
_BAR_SHARE = 0.02
_SAMPLES = 5
_SNAP_PX = 2
_STRETCH = 0.03


@dataclass(frozen=True, eq=False)
class Side:
    """One of two clips.

    Attributes:
        info: the clip.
        box: the part of its frames that is compared.
        picks: [T] int64, the frame that is shown at each moment.
        size: width and height that the part is brought to, px.
    """

    info: ClipInfo
    box: Box
    picks: np.ndarray
    size: tuple[int, int]

    def shown(self, frame: np.ndarray) -> np.ndarray:
        """The compared part of a frame of the clip, [H,W,3] uint8, at the common size."""
        part = _part(frame, self.box)
        if part.shape[1::-1] == self.size:
            return part
        smaller = self.size[0] * self.size[1] < part.shape[0] * part.shape[1]
        return cv2.resize(part, self.size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC)

    def points(self, points: np.ndarray) -> np.ndarray:
        """Points [...,2] of the clip's frames, px, where they lie in the common frame."""
        x0, y0, x1, y1 = self.box
        return (points - (x0, y0)) * np.divide(self.size, (x1 - x0, y1 - y0))


@dataclass(frozen=True, eq=False)
class Pair:
    """Two clips that are compared, T moments.

    Attributes:
        original, edited: the clips; both have the same size here, the original's.
        rate: moments per second.
        notes: what had to be adapted, in sentences.
    """

    original: Side
    edited: Side
    rate: Fraction
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.original.picks)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of what is compared, px."""
        return self.original.size

    def at(self, moment: int) -> tuple[np.ndarray, np.ndarray]:
        """Both frames of a moment, [H,W,3] uint8."""
        original, edited = (side.shown(frame_at(side.info, int(side.picks[moment]))) for side in self._sides)
        return original, edited

    def frames(
        self, report: Callable[[str], None] | None = None
    ) -> Generator[tuple[np.ndarray, np.ndarray], None, None]:
        """Both frames of every moment, [H,W,3] uint8.

        Args:
            report: told in a sentence, at the end, of pictures that could not be decoded.
        Raises:
            VideoError: a clip cannot be read.
        """
        original, edited = (_picked(side, report) for side in self._sides)
        with closing(original), closing(edited):
            yield from zip(original, edited, strict=True)

    @property
    def _sides(self) -> tuple[Side, Side]:
        return self.original, self.edited


def pair(original: Path, edited: Path, video: VideoSettings | None = None) -> Pair:
    """Bring two clips, or photos, to one timeline and one frame.

    Moments are those of the clip with the lower rate, and end with the shorter one; clips of as many frames at another
    rate are compared frame by frame. Black bars that only one of them has are cut off, and the edited clip is brought
    to the original's size.

    Args:
        original: the source.
        edited: what was made of it.
        video: which part of the original was edited.
    Raises:
        VideoError: one cannot be read, or both are the same file.
    """
    first, second = files.probe(original, video), files.probe(edited)
    if original.resolve() == edited.resolve():
        raise VideoError(f"{edited}: this is the original itself; name the edited clip")
    rate, picks, notes = _timeline(first, second)
    infos = (first, second)
    samples = [_samples(info, chosen) for info, chosen in zip(infos, picks, strict=True)]
    boxes = [content_box(frames) for frames in samples]
    if np.allclose(_share(boxes[0], first), _share(boxes[1], second), rtol=0, atol=_BAR_SHARE / 2):
        boxes = [(0, 0, info.width, info.height) for info in infos]  # both have them, or neither
    for info, box in zip(infos, boxes, strict=True):
        if box != (0, 0, info.width, info.height):
            notes.append(f"{info.path.name}: its black bars are cut off; {box[2] - box[0]}x{box[3] - box[1]} of "
                         f"{info.width}x{info.height} px are compared")
    size = boxes[0][2] - boxes[0][0], boxes[0][3] - boxes[0][1]
    boxes[1] = _snapped(boxes[1], _part(samples[0][0], boxes[0]), samples[1][0])
    seen = boxes[1][2] - boxes[1][0], boxes[1][3] - boxes[1][1]
    if seen != size:
        notes.append(f"{edited.name}: {seen[0]}x{seen[1]} px are brought to the original's {size[0]}x{size[1]}, which "
                     "softens or sharpens them: that counts as a change too")
        if abs(seen[0] * size[1] / (seen[1] * size[0]) - 1) > _STRETCH:
            notes.append(f"{edited.name}: its shape is another one than the original's, so it is stretched; what is "
                         "said of places in the picture holds only if it was squeezed, not cut")
    sides = [Side(info, box, chosen, size) for info, box, chosen in zip(infos, boxes, picks, strict=True)]
    return Pair(sides[0], sides[1], rate, tuple(notes))


def content_box(frames: Sequence[np.ndarray]) -> Box:
    """The part of a clip that is not a black bar in any of some frames.

    Args:
        frames: [H,W,3] uint8 each, of one size.
    Returns:
        x0, y0, x1, y1 (ends excluded) px; the whole frame where all is dark, or where bars would be thinner than a
        fiftieth of a side.
    """
    height, width = frames[0].shape[:2]
    # Not the brightest channel: coding lets colours run over a bar's edge.
    bright = np.max([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames], axis=0)
    bounds = []
    for axis, length in ((0, width), (1, height)):
        lit = np.flatnonzero(np.quantile(bright, 0.98, axis=axis) > _DARK)
        if not len(lit):
            return 0, 0, width, height
        low, high = int(lit[0]), int(lit[-1]) + 1
        least = max(2.0, _BAR_SHARE * length)
        bounds.append((low if low >= least else 0, high if length - high >= least else length))
    (x0, x1), (y0, y1) = bounds
    return x0, y0, x1, y1


def _timeline(first: ClipInfo, second: ClipInfo) -> tuple[Fraction, list[np.ndarray], list[str]]:
    """Moments per second, the frames that both show at each moment, and what to say about it."""
    names = f"{first.path.name} and {second.path.name}"
    if 1 in (first.frames, second.frames):
        said = f"{names} have {first.frames} and {second.frames} frames: their first ones are compared"
        return first.rate, [np.zeros(1, np.int64)] * 2, [] if first.frames == second.frames else [said]
    if first.frames == second.frames:
        notes = [] if first.rate == second.rate else [
            f"{names} have {_rate(first)} and {_rate(second)} frames a second, but as many frames: they are compared "
            "one by one"
        ]
        return first.rate, [np.arange(first.frames)] * 2, notes
    rate, notes = min(first.rate, second.rate), []
    if first.rate != second.rate:
        notes.append(f"{names} have {_rate(first)} and {_rate(second)} frames a second: those shown at the same time "
                     f"are compared, {float(rate):g} a second")
    moments = max(1, min(int(info.frames * rate / info.rate) for info in (first, second)))
    lengths = [info.frames / info.rate for info in (first, second)]
    if abs(lengths[0] - lengths[1]) >= 1 / rate:
        notes.append(f"{names} last {float(lengths[0]):.2f} s and {float(lengths[1]):.2f} s: the first "
                     f"{moments / float(rate):.2f} s are compared")
    picks = [np.array([min(info.frames - 1, int(moment * info.rate / rate)) for moment in range(moments)])
             for info in (first, second)]
    return rate, picks, notes


def _rate(info: ClipInfo) -> str:
    return f"{float(info.rate):.5g}"


def _samples(info: ClipInfo, picks: np.ndarray) -> list[np.ndarray]:
    chosen = picks[np.unique(np.linspace(0, len(picks) - 1, _SAMPLES).astype(int))]
    return [frame_at(info, int(index)) for index in chosen]


def _part(frame: np.ndarray, box: Box) -> np.ndarray:
    x0, y0, x1, y1 = box
    return frame[y0:y1, x0:x1]


def _share(box: Box, info: ClipInfo) -> tuple[float, ...]:
    return box[0] / info.width, box[1] / info.height, box[2] / info.width, box[3] / info.height


def _snapped(box: Box, wanted: np.ndarray, frame: np.ndarray) -> Box:
    """A box that is off the wanted size by coding noise, or by a row that made it even, where it fits best.

    Args:
        box: in the edited clip.
        wanted: the original's part of a moment, [h,w,3] uint8.
        frame: the edited one of that moment, [H,W,3] uint8.
    """
    height, width = wanted.shape[:2]
    x0, y0, x1, y1 = box
    if max(abs(x1 - x0 - width), abs(y1 - y0 - height)) > _SNAP_PX:
        return box
    places = [(x, y) for x in range(x0 - _SNAP_PX, x0 + _SNAP_PX + 1) for y in range(y0 - _SNAP_PX, y0 + _SNAP_PX + 1)
              if 0 <= x <= frame.shape[1] - width and 0 <= y <= frame.shape[0] - height]
    if not places:
        return box
    x0, y0 = min(places, key=lambda place: float(
        cv2.absdiff(frame[place[1] : place[1] + height, place[0] : place[0] + width], wanted).mean()
    ))
    return x0, y0, x0 + width, y0 + height


def _picked(side: Side, report: Callable[[str], None] | None) -> Generator[np.ndarray, None, None]:
    last = int(side.picks[-1])
    told = None if report is None else lambda message: report(f"{side.info.path.name}: {message}")
    part = replace(side.info, frames=last + 1)
    wanted = iter(side.picks.tolist())
    next_one = next(wanted, None)
    with closing(files.frames(part, told)) as frames:
        for index, frame in enumerate(frames):
            while next_one == index:
                yield side.shown(frame)
                next_one = next(wanted, None)
