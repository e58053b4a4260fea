import numpy as np
import pytest

from stitch.core import geometry
from stitch.core.settings import MergeSettings
from stitch.methods.stit import merge
from tests.core.test_geometry import picture, square, turned

SIZE = 64
DISC = (np.hypot(*(np.mgrid[:SIZE, :SIZE] + 0.5 - SIZE / 2)) < 26).astype(np.float32)
PLACES = {
    "inside": turned((80, 60), 70, 0.3),
    "enlarged": turned((80, 60), 110, -0.2),
    "tiny": turned((80, 60), 12, 0.9),
    "at a corner": turned((4, 116), 80, 0.5),
    "wider than the frame": turned((80, 60), 300, 0.1),
}


@pytest.mark.parametrize("feather", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("place", PLACES)
def test_paste_leaves_everything_outside_the_mask_untouched(place: str, feather: float) -> None:
    frame, quad = picture(120, 160), PLACES[place]
    before = frame.copy()
    merged = merge.paste(frame, 255 - picture(SIZE, SIZE, 1) // 2, DISC, quad, 8, MergeSettings(feather))
    inside = geometry.warp_mask(DISC, quad, 120, 160)
    assert np.array_equal(merged[~inside], frame[~inside])
    assert (merged[inside] != frame[inside]).any()
    assert np.array_equal(frame, before)


def test_paste_of_a_pixel_aligned_tile_copies_its_middle() -> None:
    frame, tile = picture(120, 160), picture(SIZE, SIZE, 1)
    merged = merge.paste(frame, tile, DISC, square(30, 20, SIZE), 8, MergeSettings())
    assert np.array_equal(merged[20 + 24 : 20 + 40, 30 + 24 : 30 + 40], tile[24:40, 24:40])


def test_paste_of_the_crop_itself_changes_little() -> None:
    wave = 127 + 90 * np.sin(np.mgrid[:120, :160][0] / 9) * np.cos(np.mgrid[:120, :160][1] / 11)
    frame = np.repeat(wave.astype(np.uint8)[..., None], 3, axis=2)
    for place in ("inside", "enlarged", "at a corner"):
        quad = PLACES[place]
        merged = merge.paste(frame, geometry.sample_crop(frame, quad, SIZE), DISC, quad, 8, MergeSettings())
        assert np.abs(merged.astype(int) - frame).max() <= 6


def test_composite_of_the_crop_itself_shows_no_seam_along_a_hard_edge() -> None:
    frame = np.full((300, 400, 3), (250, 240, 10), np.uint8)
    alpha = np.where(DISC > 0, np.uint8(255), np.uint8(0))
    for side in (20, 80, 250):
        quad = turned((200, 150), side, 0.3)
        merged = merge.composite(frame, geometry.sample_crop(frame, quad, SIZE), alpha, quad)
        assert np.abs(merged.astype(int) - frame).max() <= 3


def test_paste_with_an_empty_mask_or_outside_the_frame_is_the_frame() -> None:
    frame, tile = picture(120, 160), picture(SIZE, SIZE, 1)
    for mask, quad in ((0 * DISC, PLACES["inside"]), (DISC, square(500, 500, 70)), (DISC, square(-200, 10, 70))):
        merged = merge.paste(frame, tile, mask, quad, 8, MergeSettings())
        assert np.array_equal(merged, frame) and merged is not frame


def test_feather_softens_inwards_only() -> None:
    alpha = np.where(DISC > 0, np.uint8(255), np.uint8(0))
    soft = merge.feather(alpha, 4)
    assert not soft[alpha == 0].any()
    middle = soft[SIZE // 2].astype(int)
    assert middle[SIZE // 2] == 255 and (np.diff(middle[: SIZE // 2]) >= 0).all()
    assert len(np.unique(middle)) > 6
    assert merge.feather(alpha, 0) is alpha


def test_feather_softens_where_the_mask_meets_the_tiles_edge() -> None:
    soft = merge.feather(np.full((32, 32), 255, np.uint8), 4)
    assert soft[:, 0].max() < 16 and soft[16, 16] == 255


def test_composite_shrinks_a_much_larger_tile_first() -> None:
    y, x = np.mgrid[:256, :256]
    fine = np.repeat(((x + y) % 2 * 255).astype(np.uint8)[..., None], 3, axis=2)
    opaque = np.full((256, 256), 255, np.uint8)
    merged = merge.composite(np.zeros((60, 60, 3), np.uint8), fine, opaque, square(14.3, 14.3, 32))
    assert merged[18:42, 18:42].std() < 3


def test_composite_enlarges_more_finely_than_bilinear() -> None:
    truth = 127 + 100 * np.sin((np.mgrid[:256, :256][1] + 0.5) / 10)
    frame = np.repeat(truth.round().astype(np.uint8)[..., None], 3, axis=2)
    quad = square(0, 0, 256)
    tile, opaque = geometry.sample_crop(frame, quad, 64), np.full((64, 64), 255, np.uint8)
    fine, coarse = (merge.composite(frame, tile, opaque, quad, prescale=prescale) for prescale in (True, False))
    errors = [np.abs(merged[32:224, 32:224].astype(int) - frame[32:224, 32:224]).mean() for merged in (fine, coarse)]
    assert errors[0] < 0.8 * errors[1]


@pytest.mark.parametrize("place", ["inside", "enlarged", "at a corner", "wider than the frame"])
def test_paste_gives_back_what_the_crop_lost_where_the_edit_changed_nothing(place: str) -> None:
    frame, quad = picture(120, 160), PLACES[place]
    crop = geometry.sample_crop(frame, quad, SIZE)
    weights = np.full((SIZE, SIZE), 255, np.uint8)
    merged = merge.paste(frame, crop, DISC, quad, 8, MergeSettings(), merge.Source(crop, weights))
    assert np.array_equal(merged, frame)


def test_paste_keeps_what_was_lost_away_from_what_the_edit_changed() -> None:
    frame, quad = picture(120, 160), PLACES["enlarged"]
    crop, tile = geometry.sample_crop(frame, quad, SIZE), np.full((SIZE, SIZE, 3), 90, np.uint8)
    weights = np.zeros((SIZE, SIZE), np.uint8)
    plain = merge.paste(frame, tile, DISC, quad, 8, MergeSettings())
    assert np.array_equal(merge.paste(frame, tile, DISC, quad, 8, MergeSettings(), merge.Source(crop, weights)), plain)
    weights[: SIZE // 2] = 255
    merged = merge.paste(frame, tile, DISC, quad, 8, MergeSettings(), merge.Source(crop, weights))
    changed = (merged != plain).any(-1)
    assert changed.any() and not changed[~geometry.warp_mask(DISC, quad, 120, 160)].any()
    lower = np.arange(SIZE)[:, None].repeat(SIZE, 1) > SIZE // 2 + 4
    assert not changed[geometry.warp_mask(lower, quad, 120, 160)].any()


@pytest.mark.parametrize("place", PLACES)
def test_paste_by_poisson_leaves_everything_outside_the_mask_untouched(place: str) -> None:
    frame, quad = picture(120, 160), PLACES[place]
    merged = merge.paste(frame, 255 - picture(SIZE, SIZE, 1) // 2, DISC, quad, 8, MergeSettings(blend="poisson"))
    inside = geometry.warp_mask(DISC, quad, 120, 160)
    assert np.array_equal(merged[~inside], frame[~inside])
    assert place == "tiny" or (merged[inside] != frame[inside]).any()


def test_paste_by_poisson_takes_the_frames_colours_and_the_tiles_gradients() -> None:
    frame, tile = np.full((120, 160, 3), 100, np.uint8), np.full((SIZE, SIZE, 3), 180, np.uint8)
    tile[24:40, 24:40] += 40
    merged = merge.paste(frame, tile, DISC, square(30, 20, SIZE), 8, MergeSettings(blend="poisson")).astype(int)
    middle, beside = merged[20 + 32, 30 + 32], merged[20 + 32, 30 + 14]
    assert np.abs(beside - 100).max() < 15 and np.abs(middle - beside - 40).max() < 15
