"""Pictures about a result."""

import numpy as np
import pytest

from stitch.video.sheet import BAR, CELL_PX, Badge, Mosaic, SideBySide, contact_sheet, fit


def plain(side, colour):
    return np.full((side, side, 3), colour, np.uint8)


def test_contact_sheet_shows_each_picture_in_its_cell():
    colours = [[(200, 10, 10), (10, 200, 10)], [(10, 10, 200), (90, 90, 90)]]
    sheet = contact_sheet([[plain(16, c) for c in row] for row in colours], ["a", "b"], ["1 s", "2 s"], "caption")
    for colour in (c for row in colours for c in row):
        assert (sheet == colour).all(axis=-1).sum() == CELL_PX**2
    assert sheet.dtype == np.uint8


def test_contact_sheet_refuses_a_grid_that_does_not_fit_its_labels():
    with pytest.raises(ValueError, match="expected 1 x 2"):
        contact_sheet([[plain(16, 0)]], ["a", "b"], ["1 s"], "caption")


@pytest.mark.parametrize(("width", "height"), [(64, 48), (65, 49), (640, 480), (1080, 1920)])
def test_side_by_side_holds_both_frames_untouched(width, height):
    beside = SideBySide(width, height, ("original", "edited"))
    ramp = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    picture = beside(ramp, 255 - ramp)
    assert picture.shape == (beside.height, beside.width, 3)
    assert beside.width % 2 == beside.height % 2 == 0
    bar = next(y for y in range(beside.height) if (picture[y : y + height, :width] == ramp).all())
    assert (picture[0, 0] == BAR).all() and bar < height
    right = picture[bar : bar + height]
    assert any((right[:, x : x + width] == 255 - ramp).all() for x in range(width, beside.width - width + 1))


def test_side_by_side_shrinks_what_no_browser_would_play():
    beside = SideBySide(3840, 2160, ("original", "edited"))
    assert beside.width <= 3900
    frame = np.zeros((2160, 3840, 3), np.uint8)
    assert beside(frame, frame).shape == (beside.height, beside.width, 3)


def test_fit_cuts_what_is_too_long():
    assert fit("short", 18, 500) == "short"
    cut = fit("a very long description of an edit " * 9, 18, 200)
    assert cut.endswith("...") and len(cut) < 60


def test_badge_marks_the_corner_and_nothing_else():
    frame = np.full((120, 200, 3), 200, np.uint8)
    marked = Badge(200, 120, "edited")(frame)
    assert (frame == 200).all(), "the frame itself stays as it was"
    changed = (marked != frame).any(axis=-1)
    assert changed[90:, 140:].any() and not changed[:80].any() and not changed[:, :100].any()


def test_badge_fits_the_smallest_frame():
    assert Badge(16, 16, "edited")(np.zeros((16, 16, 3), np.uint8)).shape == (16, 16, 3)


@pytest.mark.parametrize("count", [1, 5, 7])
def test_mosaic_holds_every_picture_untouched_in_rows_of_five(count):
    mosaic = Mosaic([f"title {number}" for number in range(count)])
    picture = mosaic([plain(CELL_PX, (200, number, 10)) for number in range(count)])
    assert picture.shape == (mosaic.height, mosaic.width, 3) and mosaic.width == CELL_PX * min(count, 5)
    assert mosaic.height % 2 == 0 and mosaic.height // (CELL_PX + 28) == -(-count // 5)
    for number in range(count):
        assert (picture == (200, number, 10)).all(axis=-1).sum() == CELL_PX**2
