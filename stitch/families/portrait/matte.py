"""Who is in a drawn portrait and where: mattes of the person, the face and the eyes, out of the parser's labels."""

from collections.abc import Iterable, Iterator, Sequence

import cv2
import numpy as np

FACE = (1, 2, 3, 4, 5, 6, 10, 11, 12, 13)
"""BiSeNet's skin, brows, eyes, glasses, nose, mouth and lips."""

EYES = (4, 5)

_GUIDE_RADIUS, _GUIDE_SOFTNESS = 1 / 50, 4e-4
_JOIN_GROWN, _JOIN_SOFT = 1 / 64, 1 / 48
_LIGHT = 1 / 20


def person(picture: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """How much of each pixel is the person: the labels' outline, drawn to the picture's own edges (guided filter).

    Args:
        picture: [S,S,3] uint8.
        labels: [h,w] uint8, BiSeNet's 19 classes.
    Returns:
        [S,S] float32 in [0,1].
    """
    side = len(picture)
    rough = _enlarged(labels != 0, side)
    guide = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    window = (2 * max(round(side * _GUIDE_RADIUS), 1) + 1,) * 2

    def mean(values: np.ndarray) -> np.ndarray:
        return cv2.blur(values, window, borderType=cv2.BORDER_REPLICATE)

    centre, level = mean(guide), mean(rough)
    slope = (mean(guide * rough) - centre * level) / (mean(guide * guide) - centre * centre + _GUIDE_SOFTNESS)
    fine = mean(slope) * guide + mean(level - slope * centre)
    return np.clip((fine - 0.2) / 0.65, 0, 1).astype(np.float32)  # rather too little than a rim of the old backdrop


def patch(labels: Iterable[np.ndarray], classes: Sequence[int], side: int) -> np.ndarray:
    """A soft patch over some classes of several drawings of one person.

    Args:
        labels: of each, [h,w] uint8.
        classes: of the labels.
        side: S.
    Returns:
        [S,S] float32 in [0,1].
    """
    chosen = np.max([_enlarged(np.isin(one, classes), side) for one in labels], axis=0)
    grown = cv2.dilate(chosen, np.ones((2 * max(round(side * _JOIN_GROWN), 1) + 1,) * 2, np.uint8))
    return cv2.GaussianBlur(grown, (0, 0), side * _JOIN_SOFT)


def joined(pictures: np.ndarray, face: np.ndarray, eyes: np.ndarray) -> np.ndarray:
    """One picture out of three of the same person, so that nothing moves but what an expression moves.

    Args:
        pictures: [3,S,S,3] uint8: with a still face, speaking, and with the lids down too, whose light is another.
        face, eyes: [S,S] in [0,1], where the second, and over it the third, are laid.
    Returns:
        [S,S,3] uint8.
    """
    still, speaking, blinking = (picture.astype(np.float32) for picture in pictures)
    if eyes.any() and (pictures[1] != pictures[2]).any():
        blinking += cv2.GaussianBlur(speaking - blinking, (0, 0), len(still) * _LIGHT)
        speaking += (blinking - speaking) * eyes[..., None]
    return np.clip(np.round(still + (speaking - still) * face[..., None]), 0, 255).astype(np.uint8)


def steadied(pairs: Iterable[tuple[np.ndarray, np.ndarray]]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pictures with mattes that are averaged over three frames, 1:2:1.

    Args:
        pairs: pictures, and mattes of any shape.
    """
    before = now = None
    for after in pairs:
        if now is not None:
            yield now[0], (before + 2 * now[1] + after[1]) / 4
        before, now = (after if now is None else now)[1], after
    if now is not None:
        yield now[0], (before + 3 * now[1]) / 4


def _enlarged(chosen: np.ndarray, side: int) -> np.ndarray:
    return cv2.resize(chosen.astype(np.float32), (side, side), interpolation=cv2.INTER_LINEAR)
