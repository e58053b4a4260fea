"""From a decoded picture's own colours to 8-bit RGB as a BT.709 screen shows it; and back for writing.

Numbers for matrices, transfer curves and primaries are those of ITU-T H.273, which video files carry.
"""

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

PQ, HLG = 16, 18
BT709, BT2020, DISPLAY_P3 = 1, 9, 12
UNSPECIFIED = 2
LIMITED, FULL = 1, 2

# BT.2408: the luminance of diffuse white in HDR; it becomes the white of the SDR picture.
WHITE_NITS = 203.0
DEFAULT_PEAK_NITS = 1000.0
HIGHEST_NITS = 10000.0

# Scale with BICUBIC, rounding exactly (ACCURATE_RND) and with chroma interpolated for every pixel (FULL_CHR_H_INT).
QUALITY = 0x4 | 0x40000 | 0x2000

# H.273 matrix -> swscale's number for it.
_MATRICES = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}
_CHROMATICITIES = {
    BT709: ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06)),
    BT2020: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    DISPLAY_P3: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
}
_D65 = (0.3127, 0.3290)
_LUT_SIDE = 4096


@dataclass(frozen=True)
class Colour:
    """How a clip's numbers mean light.

    Attributes:
        matrix: from YUV to RGB, as swscale numbers it; None for pictures that are RGB already.
        full: luma uses the whole range instead of 16-235.
        transfer: PQ, HLG or anything else, which is taken as SDR.
        primaries: BT709, BT2020 or DISPLAY_P3; others are so close to BT.709 that they are taken as such.
        peak_nits: brightest light in an HDR clip.
    """

    matrix: int | None
    full: bool
    transfer: int = BT709
    primaries: int = BT709
    peak_nits: float = DEFAULT_PEAK_NITS

    @property
    def hdr(self) -> bool:
        """PQ or HLG."""
        return self.transfer in (PQ, HLG)

    @property
    def plain(self) -> bool:
        """No light needs to be converted: SDR with primaries of BT.709."""
        return not self.hdr and self.primaries == BT709


def colour_of(frame: VideoFrame, stream: VideoStream) -> Colour:
    """Read a clip's colours from its first decoded picture, guessing as players do where the file is silent.

    Args:
        frame: the first picture.
        stream: the stream that it was decoded from.
    Returns:
        Its colours. An unstated matrix is BT.709 for HD and BT.601 below; an unstated range is limited, but for
        JPEG-like pixel formats.
    """
    name = frame.format.name
    transfer, primaries = stream.codec_context.color_trc, stream.codec_context.color_primaries
    primaries = primaries if primaries in _CHROMATICITIES else BT709
    stated_range = frame.color_range or stream.codec_context.color_range
    full = stated_range == FULL or (stated_range != LIMITED and name.startswith(("yuvj", "gray", "pal")))
    if frame.format.is_rgb or name.startswith("pal"):
        matrix = None
    else:
        stated = frame.colorspace if frame.colorspace != UNSPECIFIED else stream.codec_context.colorspace
        hd = frame.width >= 1280 or frame.height > 576
        fallback = BT2020 if transfer in (PQ, HLG) else BT709 if hd else 5
        matrix = _MATRICES.get(stated, fallback)
    return Colour(matrix, full, transfer, primaries, _peak_nits(frame) if transfer == PQ else DEFAULT_PEAK_NITS)


class ToRGB:
    """Converts decoded pictures of one clip to 8-bit RGB at one size."""

    def __init__(self, colour: Colour, width: int, height: int) -> None:
        """Args: how the clip's numbers mean light, and the size in px to scale to."""
        self._colour, self._width, self._height = colour, width, height
        self._light = None if colour.plain else Light(colour)

    def __call__(self, frame: VideoFrame) -> np.ndarray:
        """One decoded picture -> [H,W,3] uint8 RGB, not yet rotated."""
        colour = self._colour
        # Tell swscale what the numbers mean by the picture's own tags. Transfer and primaries are hidden from it: some
        # versions would convert them, which is `Light`'s part.
        if colour.matrix is not None:
            frame.colorspace = colour.matrix
        for tag in ("color_trc", "color_primaries"):
            if hasattr(frame, tag):
                setattr(frame, tag, UNSPECIFIED)
        packed = frame.reformat(
            width=self._width,
            height=self._height,
            format="rgb24" if self._light is None else "rgb48le",
            dst_colorspace=None if colour.matrix is None else 0,  # not the source's, else PyAV 15 heeds neither
            src_color_range=FULL if colour.full else LIMITED,
            dst_color_range=FULL,
            interpolation=QUALITY,
        )
        pixels = packed.to_ndarray()
        return np.ascontiguousarray(pixels) if self._light is None else self._light(pixels)


class Light:
    """Turns 16-bit RGB of HDR or wide-gamut clips into 8-bit BT.709: EOTF, tone curve, gamut, display curve.

    The tone curve is BT.2390's (5.4.1) from the clip's peak to diffuse white, driven by the largest of a pixel's three
    channels so that hues stay. The last step is the inverse of BT.1886 (a power of 2.4) rather than BT.709's camera
    curve: PQ and HLG speak of light from a screen, and the camera curve would lift the shadows.
    """

    def __init__(self, colour: Colour) -> None:
        """Args: the clip's colours, which fix every table."""
        codes = np.linspace(0.0, 1.0, 65536)
        self._gains: np.ndarray | None = None
        self._hlg = colour.transfer == HLG
        if colour.hdr:
            # Light in units of the peak of PQ; HLG's system gamma follows per pixel, since it needs the luminance.
            table = hlg_to_scene(codes) if self._hlg else pq_to_nits(codes) / HIGHEST_NITS
            nits = np.linspace(0.0, 1.0, _LUT_SIDE) ** 2 * HIGHEST_NITS
            toned = tone_curve(nits, DEFAULT_PEAK_NITS if self._hlg else colour.peak_nits)
            gains = np.ones_like(nits)
            gains[1:] = toned[1:] / nits[1:]
            self._gains = (gains * HIGHEST_NITS / WHITE_NITS).astype(np.float32)
        else:
            table = codes**2.4
        self._table = table.astype(np.float32)
        self._matrix = gamut_matrix(colour.primaries, BT709).astype(np.float32)
        self._luminance = _xyz(colour.primaries)[1].astype(np.float32)
        shown = (np.linspace(0.0, 1.0, _LUT_SIDE) ** 2) ** (1 / 2.4)
        self._shown = np.rint(shown * 255).astype(np.uint8)

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """[H,W,3] uint16 RGB in the clip's own transfer curve and primaries -> [H,W,3] uint8 BT.709."""
        shown = np.empty(pixels.shape, np.uint8)
        rows = max(1, 500_000 // max(1, pixels.shape[1]))
        for top in range(0, pixels.shape[0], rows):
            band = slice(top, top + rows)
            shown[band] = self._convert(pixels[band])
        return shown

    def _convert(self, pixels: np.ndarray) -> np.ndarray:
        light = self._table[pixels]
        if self._hlg:
            # BT.2100's OOTF for a 1000 cd/m2 screen: each channel times luminance ** 0.2.
            gain = (light @ self._luminance) ** np.float32(0.2) * np.float32(DEFAULT_PEAK_NITS / HIGHEST_NITS)
            light *= gain[..., None]
        if self._gains is not None:
            brightest = light.max(axis=-1)
            light *= self._gains[_quantise(brightest)][..., None]
        return self._shown[_quantise(light @ self._matrix.T)]


def pq_to_nits(codes: np.ndarray) -> np.ndarray:
    """SMPTE ST 2084's EOTF: PQ codes in [0,1] -> luminance in cd/m2."""
    m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
    power = np.asarray(codes, dtype=np.float64) ** (1 / m2)
    return HIGHEST_NITS * (np.maximum(power - c1, 0) / (c2 - c3 * power)) ** (1 / m1)


def nits_to_pq(nits: np.ndarray) -> np.ndarray:
    """The inverse of `pq_to_nits`."""
    m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
    power = (np.asarray(nits, dtype=np.float64) / HIGHEST_NITS) ** m1
    return ((c1 + c2 * power) / (1 + c3 * power)) ** m2


def hlg_to_scene(codes: np.ndarray) -> np.ndarray:
    """BT.2100's inverse HLG OETF: codes in [0,1] -> scene light in [0,1]."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    codes = np.asarray(codes, dtype=np.float64)
    return np.where(codes <= 0.5, codes**2 / 3, (np.exp((codes - c) / a) + b) / 12)


def tone_curve(nits: np.ndarray, peak_nits: float, white_nits: float = WHITE_NITS) -> np.ndarray:
    """BT.2390's EETF (section 5.4.1): squeeze [0, peak] into [0, white], leaving the darker part as it is.

    Args:
        nits: luminance in cd/m2, any shape.
        peak_nits: brightest light of the source, cd/m2.
        white_nits: brightest light of the target, cd/m2.
    Returns:
        Luminance in cd/m2, at most `white_nits`; unchanged where the source is no brighter than the target.
    """
    nits = np.asarray(nits, dtype=np.float64)
    if peak_nits <= white_nits:
        return np.minimum(nits, white_nits)
    peak = nits_to_pq(np.array(peak_nits))
    source = np.minimum(nits_to_pq(nits) / peak, 1.0)
    target = float(nits_to_pq(np.array(white_nits)) / peak)
    knee = 1.5 * target - 0.5
    t = (source - knee) / (1 - knee)
    curve = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (-2 * t**3 + 3 * t**2) * target
    return pq_to_nits(np.where(source < knee, source, curve) * peak)


def gamut_matrix(source: int, target: int) -> np.ndarray:
    """[3,3] float64 from linear RGB of one set of primaries to another (both D65)."""
    return np.linalg.inv(_xyz(target)) @ _xyz(source)


def _xyz(primaries: int) -> np.ndarray:
    """[3,3] from linear RGB to CIE XYZ; its middle row is luminance."""
    columns = np.array([(x / y, 1.0, (1 - x - y) / y) for x, y in _CHROMATICITIES[primaries]]).T
    x, y = _D65
    return columns * np.linalg.solve(columns, np.array([x / y, 1.0, (1 - x - y) / y]))


def _quantise(light: np.ndarray) -> np.ndarray:
    """[0,1] -> index into a table that is fine near black (equal steps of the square root)."""
    return (np.sqrt(np.clip(light, 0, 1)) * (_LUT_SIDE - 1) + 0.5).astype(np.uint16)


def side_data(frame: VideoFrame, kind: str) -> bytes:
    """What the file says beside a picture, as ffmpeg's raw structure; empty where it says nothing."""
    found: Any = frame.side_data.get(kind)
    return b"" if found is None else bytes(found)


def _peak_nits(frame: VideoFrame) -> float:
    """Brightest light that an HDR10 picture's side data state, in cd/m2; 1000 where they are silent or absurd."""
    candidates = []
    level = side_data(frame, "CONTENT_LIGHT_LEVEL")
    if len(level) >= 8:
        candidates.append(float(struct.unpack_from("=I", level)[0]))
    screen = side_data(frame, "MASTERING_DISPLAY_METADATA")
    if len(screen) >= 88:
        # AVMasteringDisplayMetadata: 8 chromaticities, lowest and highest luminance (all num/den), two flags.
        numerator, denominator, _, stated = struct.unpack_from("=iiii", screen, 72)
        if stated and denominator:
            candidates.append(numerator / denominator)
    return next((nits for nits in candidates if WHITE_NITS < nits <= HIGHEST_NITS), DEFAULT_PEAK_NITS)
