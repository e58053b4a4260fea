"""Pictures about a result: the contact sheet (the paper's Figure 2) and the side-by-side video's frames."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from stitch.core.images import shrink
from stitch.core.settings import Corner

CELL_PX = 256
GAP_PX = 12
MARGIN_PX = 40
LABELS_PX = 76
HEAD_PX = 44
CAPTION_PX = 56
WIDEST_PX = 3840
MOSAIC_COLUMNS, MOSAIC_BAR_PX = 5, 28

PAPER, INK, QUIET = (255, 255, 255), (24, 26, 32), (120, 124, 134)
BAR, ON_BAR = (24, 26, 32), (236, 238, 242)


def contact_sheet(
    pictures: Sequence[Sequence[np.ndarray]], columns: Sequence[str], rows: Sequence[str], caption: str
) -> np.ndarray:
    """A grid of square pictures with a heading for each column, a label for each row and a caption.

    Args:
        pictures: rows of pictures, each [S,S,3] uint8 RGB of any S.
        columns: headings.
        rows: labels.
        caption: one line above the grid; cut where the sheet ends.
    Returns:
        [H,W,3] uint8 RGB.
    Raises:
        ValueError: the grid does not fit its labels.
    """
    if len(pictures) != len(rows) or any(len(row) != len(columns) for row in pictures):
        got = [len(row) for row in pictures]
        raise ValueError(f"pictures: got rows of {got}, expected {len(rows)} x {len(columns)}")
    step = CELL_PX + GAP_PX
    left, top = MARGIN_PX + LABELS_PX, MARGIN_PX + CAPTION_PX + HEAD_PX
    width, height = left + len(columns) * step - GAP_PX + MARGIN_PX, top + len(rows) * step - GAP_PX + MARGIN_PX
    sheet = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((left, MARGIN_PX), fit(caption, 24, width - left - MARGIN_PX), INK, _font(24), anchor="lt")
    for column, heading in enumerate(columns):
        draw.text((left + column * step, top - 16), fit(heading, 18, CELL_PX), QUIET, _font(18), anchor="ls")
    for row, label in enumerate(rows):
        middle = top + row * step + CELL_PX // 2
        draw.text((left - 16, middle), fit(label, 18, LABELS_PX - 16), QUIET, _font(18), anchor="rm")
        for column, picture in enumerate(pictures[row]):
            cell = Image.fromarray(picture).resize((CELL_PX, CELL_PX), Image.Resampling.LANCZOS)
            sheet.paste(cell, (left + column * step, top + row * step))
    return np.asarray(sheet)


class SideBySide:
    """Frames of the comparison video: original | edited below a bar that names them.

    Args:
        width, height: of one frame, px.
        captions: of the left and the right half.

    Attributes:
        width, height: of the whole picture, even numbers; wider than 4K is shrunk by a whole factor.
    """

    def __init__(self, width: int, height: int, captions: tuple[str, str]) -> None:
        self._factor = -(-2 * width // WIDEST_PX)
        half, tall = (max(1, round(side / self._factor)) for side in (width, height))
        gap = max(2, half // 160)
        bar = max(24, tall // 16)
        self.width, self.height = (2 * half + gap + 1) // 2 * 2, (tall + bar + 1) // 2 * 2
        canvas = Image.new("RGB", (self.width, self.height), BAR)
        draw = ImageDraw.Draw(canvas)
        size = max(12, round(bar * 0.5))
        for offset, caption in zip((0, half + gap), captions, strict=True):
            draw.text((offset + bar // 2, bar // 2), fit(caption, size, half - bar), ON_BAR, _font(size), anchor="lm")
        self._canvas = np.asarray(canvas)
        self._places = ((bar, 0), (bar, half + gap))

    def __call__(self, original: np.ndarray, edited: np.ndarray) -> np.ndarray:
        """[H,W,3] uint8 twice -> [height,width,3] uint8."""
        picture = self._canvas.copy()
        for (y, x), frame in zip(self._places, (original, edited), strict=True):
            small = shrink(frame, self._factor)
            picture[y : y + small.shape[0], x : x + small.shape[1]] = small
        return picture


class Mosaic:
    """Frames of a clip in which several square pictures stand beside and below each other, each under its title.

    Args:
        titles: of the pictures, at least one.

    Attributes:
        width, height: of the whole picture, even numbers.
    """

    def __init__(self, titles: Sequence[str]) -> None:
        columns = min(len(titles), MOSAIC_COLUMNS)
        tall = CELL_PX + MOSAIC_BAR_PX
        self.width, self.height = columns * CELL_PX, -(-len(titles) // columns) * tall
        canvas = Image.new("RGB", (self.width, self.height), BAR)
        draw = ImageDraw.Draw(canvas)
        self._places = []
        for number, title in enumerate(titles):
            y, x = number // columns * tall, number % columns * CELL_PX
            draw.text((x + 8, y + MOSAIC_BAR_PX // 2), fit(title, 14, CELL_PX - 16), ON_BAR, _font(14), anchor="lm")
            self._places.append((y + MOSAIC_BAR_PX, x))
        self._canvas = np.asarray(canvas)

    def __call__(self, pictures: Sequence[np.ndarray]) -> np.ndarray:
        """Pictures [CELL_PX,CELL_PX,3] uint8 in the order of the titles -> [height,width,3] uint8."""
        whole = self._canvas.copy()
        for (y, x), picture in zip(self._places, pictures, strict=True):
            whole[y : y + CELL_PX, x : x + CELL_PX] = picture
        return whole


class Badge:
    """A small mark in a corner that says that the picture was edited.

    Args:
        width, height: of the frames, px.
        text: what it says.
        place: the corner.
    """

    def __init__(self, width: int, height: int, text: str, place: Corner = "bottom-right") -> None:
        size = max(9, min(width, height) // 24)
        font = _font(size)
        pad = max(2, size // 2)
        wide, tall = round(font.getlength(text)) + 2 * pad, size + 2 * pad
        label = Image.new("RGB", (wide, tall), BAR)
        ImageDraw.Draw(label).text((wide // 2, tall // 2), text, ON_BAR, font, anchor="mm")
        self._label = np.asarray(label)[:height, :width]
        rows, columns = self._label.shape[:2]
        upright, sideways = place.split("-")
        y = pad if upright == "top" else height - rows - pad
        x = pad if sideways == "left" else width - columns - pad
        self._place = max(0, y), max(0, x)

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        """[H,W,3] uint8 -> a new one with the mark."""
        y, x = self._place
        marked = frame.copy()
        part = marked[y : y + self._label.shape[0], x : x + self._label.shape[1]]
        part[:] = (0.25 * part + 0.75 * self._label[: part.shape[0], : part.shape[1]]).astype(np.uint8)
        return marked


def fit(text: str, size: int, width_px: int) -> str:
    """`text` as long as it fits into `width_px` at a type size, else cut and ended with three dots."""
    font = _font(size)
    if font.getlength(text) <= width_px:
        return text
    while text and font.getlength(text + "...") > width_px:
        text = text[:-1]
    return text.rstrip() + "..."


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own typeface: the same on every machine."""
    return ImageFont.load_default(size)
