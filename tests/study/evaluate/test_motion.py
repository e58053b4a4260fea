"""Flicker: motion is not one, noise is."""

import cv2
import numpy as np
import pytest

from stitch.study.evaluate.motion import warp_errors

EVERYWHERE = np.ones((96, 96), bool)


def texture(seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 256, (140, 140, 3)).astype(np.uint8)
    return cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 3), None, 30, 220, cv2.NORM_MINMAX)


def moved(by_px: int) -> np.ndarray:
    return np.ascontiguousarray(texture()[20:116, 20 - by_px : 116 - by_px])


def test_warp_errors_of_the_same_clips_are_the_same() -> None:
    original, edited = warp_errors((moved(0), moved(0)), (moved(3), moved(3)), EVERYWHERE)
    assert original == edited > 0


def test_warp_errors_leave_next_to_nothing_of_a_motion() -> None:
    left = np.abs(moved(3).astype(int) - moved(0)).mean()
    assert warp_errors((moved(0), moved(0)), (moved(3), moved(3)), EVERYWHERE)[0] < left / 8


@pytest.mark.parametrize("brighter", [4, 12])
def test_warp_errors_show_what_comes_and_goes_in_the_edited_clip_alone(brighter) -> None:
    flickering = cv2.add(moved(3), np.full((96, 96, 3), brighter, np.uint8))
    original, edited = warp_errors((moved(0), moved(0)), (moved(3), flickering), EVERYWHERE)
    assert edited - original == pytest.approx(brighter, abs=1.5)


def test_warp_errors_count_the_region_alone() -> None:
    here = np.zeros((96, 96), bool)
    here[40:60, 40:60] = True
    outside = moved(3)
    outside[:30] = 255
    original, edited = warp_errors((moved(0), moved(0)), (moved(3), outside), here)
    assert edited == original


def test_warp_errors_of_an_empty_region_or_a_tiny_picture_are_nothing() -> None:
    tiny = np.zeros((8, 8, 3), np.uint8)
    assert np.isnan(warp_errors((moved(0), moved(0)), (moved(3), moved(3)), 0 * EVERYWHERE > 0)).all()
    assert np.isnan(warp_errors((tiny, tiny), (tiny, tiny), np.ones((8, 8), bool))).all()
