"""How a clip's coded pictures are shown: turned upright, with square pixels, as 8-bit BT.709 RGB."""

import math
from fractions import Fraction

import numpy as np
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from stitch.video.colour import HLG, PQ, ToRGB, colour_of, side_data


class Display:
    """The way from one clip's decoded pictures to the frames a viewer sees.

    Attributes:
        size: width and height in px as shown.
        rotation_deg: clockwise rotation flag of the file.
        notes: sentences for the user about what is adapted.
    """

    size: tuple[int, int]
    rotation_deg: int
    notes: tuple[str, ...]

    def __init__(self, frame: VideoFrame, stream: VideoStream) -> None:
        """Read the flags.

        Args:
            frame: a decoded picture of the clip.
            stream: the clip's picture stream.
        """
        a, b, c, d = _display_matrix(side_data(frame, "DISPLAYMATRIX"))
        self._transposed = abs(b) + abs(c) > abs(a) + abs(d)
        self._flip_rows = b < 0 if self._transposed else d < 0
        self._flip_columns = c < 0 if self._transposed else a < 0
        side = -1 if a * d - b * c < 0 else 1  # a mirrored picture is mirrored from left to right, then turned
        angle = math.degrees(math.atan2(side * b, side * a))
        self.rotation_deg = round(angle / 90) * 90 % 360
        # Pixels grow along their shorter side, so that nothing is thrown away.
        aspect = Fraction(stream.sample_aspect_ratio or 1)
        aspect = aspect if Fraction(1, 10) <= aspect <= 10 else Fraction(1)
        width = frame.width if aspect <= 1 else 2 * round(frame.width * aspect / 2)
        height = frame.height if aspect >= 1 else 2 * round(frame.height / aspect / 2)
        self.size = (height, width) if self._transposed else (width, height)
        colour = colour_of(frame, stream)
        self._to_rgb = ToRGB(colour, width, height)
        notes = []
        if abs(angle - round(angle / 90) * 90) > 1:
            notes.append(f"the file asks for a turn by {angle:.0f} degrees: only quarter turns are made")
        if (width, height) != (frame.width, frame.height):
            notes.append(f"pixels are not square: {frame.width}x{frame.height} is scaled to {width}x{height}")
        if colour.hdr:
            kind = {PQ: f"PQ, up to {colour.peak_nits:.0f} cd/m2", HLG: "HLG"}[colour.transfer]
            notes.append(f"HDR ({kind}) is tone-mapped to the standard range (BT.709)")
        elif not colour.plain:
            notes.append("wide-gamut colours are converted to BT.709")
        if frame.interlaced_frame:
            notes.append("the clip is interlaced: its fields are kept woven, which shows as combs in motion")
        self.notes = tuple(notes)

    def upright(self, frame: VideoFrame) -> np.ndarray:
        """A decoded picture of the clip -> [H,W,3] uint8 RGB as shown."""
        pixels = self._to_rgb(frame)
        if self._transposed:
            pixels = pixels.transpose(1, 0, 2)
        if self._flip_rows:
            pixels = pixels[::-1]
        if self._flip_columns:
            pixels = pixels[:, ::-1]
        return np.ascontiguousarray(pixels)


def _display_matrix(entries: bytes) -> tuple[int, int, int, int]:
    """a, b, c, d of a picture (x, y) shown at (a x + c y, b x + d y); ffmpeg stores nine 32-bit integers by rows."""
    if len(entries) < 36:
        return 1, 0, 0, 1
    numbers = np.frombuffer(entries, np.int32)
    a, b, c, d = (int(numbers[place]) for place in (0, 1, 3, 4))
    return (a, b, c, d) if a or b or c or d else (1, 0, 0, 1)
