import numpy as np
import pytest

from stitch.core import geometry

FIVE = np.array([[[40, 50], [60, 50], [50, 60], [42, 75], [58, 75]]], dtype=np.float64)


def square(x: float, y: float, side: float) -> np.ndarray:
    return np.array([(x, y), (x, y + side), (x + side, y + side), (x + side, y)], dtype=np.float64)


def turned(centre: tuple[float, float], side: float, angle: float) -> np.ndarray:
    x = np.array([np.cos(angle), np.sin(angle)]) * side / 2
    return geometry.corners(np.array(centre), x, np.array([-x[1], x[0]]))


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_nose_offset_is_counted_along_the_eyes_line_in_their_distances() -> None:
    assert geometry.nose_offset(FIVE).tolist() == [0.0]
    aside = FIVE + np.array([(0, 0), (0, 0), (10, 7), (0, 0), (0, 0)])
    assert geometry.nose_offset(np.concatenate([aside, FIVE * np.nan]))[0] == pytest.approx(0.5)
    many = np.zeros((1, 68, 2))
    many[0, 36:42], many[0, 42:48], many[0, 30] = (40, 50), (60, 50), (45, 60)
    assert geometry.nose_offset(many)[0] == pytest.approx(-0.25)


def test_quads_from_landmarks_of_an_upright_face() -> None:
    c, x, y = geometry.quads_from_landmarks(FIVE)
    # |e2e| = 20, |e2m| = 25: half side max(2 * 20, 1.8 * 25) = 45, centre a tenth below the eyes
    np.testing.assert_allclose((c[0], x[0], y[0]), [(50, 52.5), (45, 0), (0, 45)])
    np.testing.assert_allclose(geometry.corners(c, x, y)[0], square(5, 7.5, 90))


def test_quads_from_landmarks_agree_for_5_and_68_points() -> None:
    many = np.full((1, 68, 2), 7.0)
    many[:, 36:42], many[:, 42:48] = FIVE[:, 0:1], FIVE[:, 1:2]
    many[:, 48], many[:, 54] = FIVE[:, 3], FIVE[:, 4]
    for few, all_points in zip(*map(geometry.quads_from_landmarks, (FIVE, many)), strict=True):
        np.testing.assert_allclose(few, all_points)


def test_quads_from_landmarks_turn_move_and_scale_with_the_face() -> None:
    turn = np.array([[np.cos(0.4), -np.sin(0.4)], [np.sin(0.4), np.cos(0.4)]])
    c, x, y = geometry.quads_from_landmarks(FIVE)
    moved = geometry.quads_from_landmarks(2 * FIVE @ turn.T + (10, -3), scale=1.5)
    np.testing.assert_allclose(moved[0], 2 * c @ turn.T + (10, -3))
    np.testing.assert_allclose(moved[1:], [3 * x @ turn.T, 3 * y @ turn.T])


def test_quads_from_landmarks_keep_lost_frames_lost() -> None:
    landmarks = np.concatenate([FIVE, np.full_like(FIVE, np.nan)])
    quads = geometry.corners(*geometry.quads_from_landmarks(landmarks))
    assert np.isfinite(quads[0]).all() and np.isnan(quads[1]).all()


@pytest.mark.parametrize("landmarks", [np.zeros((2, 7, 2)), np.zeros((5, 2)), np.ones((1, 5, 2))])
def test_quads_from_landmarks_refuse_what_is_no_face(landmarks: np.ndarray) -> None:
    with pytest.raises(ValueError, match="landmarks: got"):
        geometry.quads_from_landmarks(landmarks)


def test_runs_end_at_gaps_and_cuts() -> None:
    usable = np.array([0, 1, 1, 1, 0, 0, 1, 1, 0, 1], dtype=bool)
    shots = np.array([0, 0, 0, 1, 1, 1, 1, 1, 2, 2])
    assert geometry.runs(usable, shots) == [slice(1, 3), slice(3, 4), slice(6, 8), slice(9, 10)]
    assert geometry.runs(np.zeros(3, bool), np.zeros(3)) == []


def test_smooth_never_crosses_a_cut_or_a_gap() -> None:
    values = np.repeat([[1.0], [5.0], [np.nan], [9.0]], 6, axis=0)
    usable = np.isfinite(values[:, 0])
    shots = np.repeat([0, 1, 1, 1], 6)
    smoothed = geometry.smooth(values, 3.0, geometry.runs(usable, shots))
    np.testing.assert_allclose(smoothed, values)


def test_smooth_keeps_a_constant_and_calms_noise() -> None:
    noise = 10 + np.random.default_rng(0).standard_normal((200, 2))
    smoothed = geometry.smooth(noise, 3.0, [slice(0, 200)])
    assert np.diff(smoothed, axis=0).std() < 0.1 * np.diff(noise, axis=0).std()
    np.testing.assert_allclose(smoothed.mean(0), noise.mean(0))
    assert np.array_equal(geometry.smooth(noise, 0.0, [slice(0, 200)]), noise)
    with pytest.raises(ValueError, match="sigma_frames"):
        geometry.smooth(noise, -1.0, [])


def test_smooth_leaves_its_input_alone() -> None:
    values = np.arange(20.0).reshape(10, 2)
    before = values.copy()
    geometry.smooth(values, 2.0, [slice(0, 10)])
    assert np.array_equal(values, before)


def test_repeats_are_frames_that_a_change_of_rate_showed_again() -> None:
    moving = square(0, 0, 10) + np.stack([np.arange(20.0) * 3, np.arange(20.0) ** 2 / 8], axis=1)[:, None]
    trembling = 0.02 * np.random.default_rng(0).standard_normal((20, 4, 2))
    shown = np.array([0, 1, 1, 2, 3, 3, 3, 3, 3, 4, 5, 5, 6, 7, 8, 9, 9, 10, 10, 11])
    repeated = geometry.repeats(moving[shown] + trembling, [slice(0, 12), slice(12, 20)])
    assert repeated.tolist() == [False, *(np.diff(shown) == 0)]
    assert not geometry.repeats(moving, [slice(0, 20)]).any()
    turning = square(0, 0, 10) + 5 * np.cos(np.arange(40.0) / 6 + 0.02)[:, None, None]
    assert not geometry.repeats(turning, [slice(0, 40)]).any()


def test_smooth_counts_a_repeated_frame_once() -> None:
    values = np.random.default_rng(0).standard_normal((12, 3)).cumsum(0)
    shown = np.repeat(np.arange(12), 2)
    repeated = np.tile([False, True], 12)
    smoothed = geometry.smooth(values[shown], 2.0, [slice(0, 24)], repeated)
    np.testing.assert_allclose(smoothed, geometry.smooth(values, 1.0, [slice(0, 12)])[shown])


def test_homography_takes_corners_to_corners() -> None:
    source, target = square(3, 4, 10), np.array([(0, 0), (1, 20), (30, 25), (22, 2)], dtype=np.float64)
    matrix = geometry.homography(source, target)
    np.testing.assert_allclose(geometry.transform_points(matrix, source), target, atol=1e-10)
    back = geometry.transform_points(geometry.homography(target, source), target)
    np.testing.assert_allclose(back, source, atol=1e-10)


def test_homography_refuses_points_in_line() -> None:
    with pytest.raises(ValueError, match="four corners"):
        geometry.homography(np.array([(0, 0), (1, 1), (2, 2), (3, 3)]), square(0, 0, 1))


def test_quad_transform_takes_the_crop_to_its_quad() -> None:
    quad = turned((50, 40), 30, 0.3)
    crop_to_frame = geometry.quad_transform(quad, 64)
    np.testing.assert_allclose(geometry.transform_points(crop_to_frame, np.array((32, 32))), (50, 40))
    np.testing.assert_allclose(geometry.transform_points(crop_to_frame, np.array([(0, 0), (64, 0)])), quad[[0, 3]])


@pytest.mark.parametrize(("side", "factor"), [(10, 1), (282, 1), (283, 2), (424, 2), (425, 3)])
def test_shrink_factor_starts_at_2_83_times_the_side(side: float, factor: int) -> None:
    assert geometry.shrink_factor(side, 100) == factor


def test_sample_crop_of_a_pixel_aligned_quad_copies_the_pixels() -> None:
    frame = picture(60, 80)
    for border in ("reflect", "black"):
        assert np.array_equal(geometry.sample_crop(frame, square(13, 9, 32), 32, border), frame[9:41, 13:45])


def test_sample_crop_reads_beyond_the_frame_as_its_border_says() -> None:
    frame = picture(40, 50)
    quad = square(-20, 30, 32)
    padded = np.pad(frame, ((40, 40), (40, 40), (0, 0)), mode="reflect")
    assert np.array_equal(geometry.sample_crop(frame, quad, 32), padded[70:102, 20:52])
    black = geometry.sample_crop(frame, quad, 32, "black")
    assert np.array_equal(black[:10, 20:], frame[30:40, :12])
    assert not black[10:].any() and not black[:, :20].any()


def test_sample_crop_far_outside_the_frame_still_gives_a_picture() -> None:
    frame = picture(20, 30)
    assert geometry.sample_crop(frame, square(500, -300, 40), 16).any()
    assert not geometry.sample_crop(frame, square(500, -300, 40), 16, "black").any()
    assert (
        geometry.sample_crop(frame[:1, :1], square(-3, -3, 7), 7).tolist() == np.tile(frame[0, 0], (7, 7, 1)).tolist()
    )


def test_sample_crop_shrinks_before_it_samples() -> None:
    y, x = np.mgrid[:256, :256]
    fine = np.repeat(((x + y) % 2 * 255).astype(np.uint8)[..., None], 3, axis=2)
    crop = geometry.sample_crop(fine, square(64.3, 64.3, 128), 32)
    assert crop.std() < 3 and abs(crop.mean() - 127.5) < 3


@pytest.mark.parametrize("side", [24.0, 96.0])
def test_sample_crop_keeps_places(side: float) -> None:
    y, x = np.mgrid[:200, :200] + 0.5
    ramp = np.stack([x, y, x], axis=2).round().astype(np.uint8)
    quad = turned((101.7, 97.2), side, 0.5)
    crop = geometry.sample_crop(ramp, quad, 32).astype(float)
    centres = np.stack(np.meshgrid(np.arange(32) + 0.5, np.arange(32) + 0.5), axis=-1)
    places = geometry.transform_points(geometry.quad_transform(quad, 32), centres)
    assert np.abs(crop[..., :2] - (places - 0.25)).max() < 1.3  # sampling rounds down


def test_sample_crop_refuses_a_lost_frame() -> None:
    with pytest.raises(ValueError, match="finite"):
        geometry.sample_crop(picture(20, 20), np.full((4, 2), np.nan), 16)


def test_frame_box_is_within_the_frame() -> None:
    assert geometry.frame_box(square(2.5, -3, 10), 40, 50) == (2, 0, 13, 7)
    assert geometry.frame_box(square(60, 0, 10), 40, 50) is None


def test_warp_tile_undoes_sample_crop() -> None:
    smooth = np.repeat((127 + 100 * np.sin(np.mgrid[:120, :120].sum(0) / 15)).astype(np.uint8)[..., None], 3, axis=2)
    quad = turned((60, 60), 60, 0.7)
    tile = geometry.sample_crop(smooth, quad, 128)
    box = geometry.frame_box(quad, 120, 120)
    assert box is not None
    x0, y0, x1, y1 = box
    inside = geometry.warp_mask(np.ones((128, 128)), quad, 120, 120)[y0:y1, x0:x1]
    gap = geometry.warp_tile(tile, quad, box).astype(int) - smooth[y0:y1, x0:x1]
    assert np.abs(gap[inside]).max() <= 3


def test_warp_mask_holds_the_pixels_whose_centre_is_in_the_mask() -> None:
    mask = np.zeros((4, 4))
    mask[1, 2] = 1
    expected = np.zeros((12, 14), dtype=bool)
    expected[5:7, 7:9] = True
    assert np.array_equal(geometry.warp_mask(mask, square(3, 3, 8), 12, 14), expected)
    assert not geometry.warp_mask(mask, square(90, 3, 8), 12, 14).any()


@pytest.mark.parametrize(("sides", "size"), [
    ([143], 256), ([256], 256), ([100, 256.5, 90], 512), ([390], 512), ([600, 700], 1024), ([3000], 1024), ([9], 256),
])
def test_crop_size_is_the_smallest_that_is_not_below_the_face(sides: list[float], size: int) -> None:
    quads = np.stack([turned((50, 40), side, 0.3 * number) for number, side in enumerate(sides)])
    assert geometry.crop_size(quads, (1024, 256, 512)) == size
    without = np.full((1, 4, 2), np.nan)
    assert geometry.crop_size(np.concatenate([without, quads, without]), (256, 512, 1024)) == size
    assert geometry.crop_size(quads, (32,)) == 32
    with pytest.raises(ValueError, match="expected one at least"):
        geometry.crop_size(without, (256,))
