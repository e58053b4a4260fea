"""Flicker: what the motion of the original does not explain in the change from one frame to the next."""

import cv2
import numpy as np

_LARGEST_PX = 384
_ASTRAY_PX = 1.0

Frames = tuple[np.ndarray, np.ndarray]
"""Original and edited of one moment, [H,W,3] uint8 each."""


def warp_errors(before: Frames, now: Frames, region: np.ndarray) -> tuple[float, float]:
    """What is left of the change between two moments once the motion is taken out (Lai et al. 2018, section 3.2).

    The motion is the original's for both clips: an edit is to move as the person did. It is found by OpenCV's DIS flow;
    where there and back do not meet (what was hidden before), nothing is counted.

    Args:
        before, now: two moments in a row, all of one size.
        region: [H,W] bool, where the face is now.
    Returns:
        Mean absolute difference in levels of 255, of the original and of the edited; NaN where there is nothing.
    """
    scale = min(1.0, _LARGEST_PX / max(region.shape))
    (first, first_edited), (second, second_edited) = ([_scaled(one, scale) for one in pair] for pair in (before, now))
    inside = _scaled(region.astype(np.uint8), scale) > 0
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    grey = [cv2.cvtColor(one, cv2.COLOR_RGB2GRAY) for one in (first, second)]
    if min(inside.shape) < 16:  # less than DIS can look at
        return float("nan"), float("nan")
    back, forth = (flow.calc(to, other, np.zeros((*inside.shape, 2), np.float32)) for to, other in (grey[::-1], grey))
    places = np.stack(np.meshgrid(*(np.arange(side, dtype=np.float32) for side in inside.shape[::-1])), axis=2) + back
    gap = np.linalg.norm(back + _at(forth, places), axis=2)
    within = ((places >= 0) & (places <= np.array(inside.shape[::-1]) - 1)).all(2)
    counted = inside & within & (gap <= _ASTRAY_PX)
    if not counted.any():
        return float("nan"), float("nan")
    original, edited = (
        float(np.abs(_at(old.astype(np.float32), places) - new)[counted].mean())
        for old, new in ((first, second), (first_edited, second_edited))
    )
    return original, edited


def _scaled(picture: np.ndarray, scale: float) -> np.ndarray:
    if scale == 1:
        return np.ascontiguousarray(picture)
    size = tuple(max(1, round(side * scale)) for side in picture.shape[1::-1])
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)


def _at(picture: np.ndarray, places: np.ndarray) -> np.ndarray:
    return cv2.remap(picture, places[..., 0], places[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
