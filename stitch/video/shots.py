"""Where one shot ends and the next begins, found from small pictures of the frames (hard cuts only)."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

WIDTH, HEIGHT = 48, 36
LEVELS = 8
# A shot is at least this many frames: a change that is undone sooner is a flash, not two cuts.
SHORTEST = 3
# How far, in pixels of the small pictures, two frames may be moved against each other before they are compared.
REACH = 5

# However much the colours change: a lamp that is switched on is no cut.
LEAST_STRUCTURE = 0.2


@dataclass(frozen=True, eq=False)
class Thumbnail:
    """What is kept of a frame.

    Attributes:
        grey: [HEIGHT,WIDTH] float32 in [0,1].
        colours: [LEVELS**3] float32, share of the picture in each colour.
    """

    grey: np.ndarray
    colours: np.ndarray


def reduced(frame: np.ndarray) -> np.ndarray:
    """A frame made small.

    Args:
        frame: [H,W,3] uint8 RGB.
    Returns:
        [HEIGHT,WIDTH,3] uint8; a frame of that size comes back as it is.
    """
    return cv2.resize(frame, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)


def thumbnail(frame: np.ndarray) -> Thumbnail:
    """Reduce a frame to what tells shots apart.

    Args:
        frame: [H,W,3] uint8 RGB, of any size or from `reduced`.
    Returns:
        Its small grey picture and its colours.
    """
    small = reduced(frame)
    levels = (small // (256 // LEVELS)).astype(np.int64)
    bins = (levels[..., 0] * LEVELS + levels[..., 1]) * LEVELS + levels[..., 2]
    colours = np.bincount(bins.ravel(), minlength=LEVELS**3).astype(np.float32) / bins.size
    return Thumbnail(small.astype(np.float32).mean(axis=-1) / 255, colours)


def structure_distance(first: Thumbnail, second: Thumbnail) -> float:
    """How differently two frames are built, whatever their brightness and a small shift: 0 the same, 1 unrelated."""
    core = first.grey[REACH:-REACH, REACH:-REACH]
    if core.std() < 0.01 or second.grey.std() < 0.01:
        return float(abs(core.mean() - second.grey.mean()) > 0.1 or abs(core.std() - second.grey.std()) > 0.02)
    scores = cv2.matchTemplate(second.grey, core, cv2.TM_CCOEFF_NORMED)
    return float(np.clip(1 - np.nanmax(scores), 0, 1))


def colour_distance(first: Thumbnail, second: Thumbnail) -> float:
    """Share of the picture whose colours differ between two frames, 0 to 1."""
    return float(np.abs(first.colours - second.colours).sum() / 2)


def change_scores(thumbnails: Sequence[Thumbnail]) -> np.ndarray:
    """How much each frame differs from the one before it: the geometric mean of both distances.

    Motion changes how a picture is built but hardly its colours, light changes its colours but not how it is built; a
    cut changes both.

    Args:
        thumbnails: T frames in order.
    Returns:
        [T] float64 in [0,1]; 0 for the first.
    """
    scores = np.zeros(len(thumbnails))
    for frame in range(1, len(thumbnails)):
        scores[frame] = _change(thumbnails[frame - 1], thumbnails[frame])
    return scores


def stands_out(scores: np.ndarray, frame: int, factor: float = 2.5) -> bool:
    """Whether the change at a frame is far above the changes around it, as pans and shaking cameras never are."""
    around = np.concatenate([scores[max(1, frame - 6) : frame], scores[frame + 1 : frame + 7]])
    return not len(around) or bool(scores[frame] > factor * np.median(around))


def find_shots(thumbnails: Sequence[Thumbnail], scores: np.ndarray, threshold: float = 0.25) -> np.ndarray:
    """Number the shots of a clip.

    Args:
        thumbnails: T frames in order.
        scores: [T], their `change_scores`.
        threshold: smallest change that can be a cut.
    Returns:
        [T] int64, number of the shot of each frame, from 0.
    """
    cuts = np.zeros(len(thumbnails), dtype=np.int64)
    for frame in range(1, len(thumbnails)):
        if scores[frame] <= threshold or not stands_out(scores, frame):
            continue
        before, after = thumbnails[max(0, frame - SHORTEST) : frame], thumbnails[frame : frame + SHORTEST]
        cuts[frame] = all(
            _change(first, second) > threshold and structure_distance(first, second) > LEAST_STRUCTURE
            for first in before
            for second in after
        )
    return np.cumsum(cuts)


def _change(first: Thumbnail, second: Thumbnail) -> float:
    return float(np.sqrt(structure_distance(first, second) * colour_distance(first, second)))
