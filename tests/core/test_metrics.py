import numpy as np
import pytest
import torch

from stitch.core import metrics


def identities(frames: int, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return generator.standard_normal(16) + 0.3 * generator.standard_normal((frames, 16))


def turns(*degrees: float) -> np.ndarray:
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


@pytest.mark.parametrize("metric", [metrics.tl_id, metrics.tg_id])
def test_identity_metrics_of_an_unedited_clip_are_one(metric) -> None:
    clip = identities(20)
    for reading in ("mean_of_ratios", "ratio_of_means"):
        assert metric(clip, 5 * clip, reading) == pytest.approx(1, abs=1e-12)


def test_tl_id_looks_at_neighbours_only() -> None:
    original, edited = turns(0, 0, 60), turns(0, 60, 60)
    # cosines of neighbours: 1 and 1/2 before, 1/2 and 1 after
    assert metrics.tl_id(original, edited) == pytest.approx((0.5 + 2) / 2)
    assert metrics.tl_id(original, edited, "ratio_of_means") == pytest.approx(1)


def test_tg_id_looks_at_all_pairs() -> None:
    original, edited = turns(0, 0, 60), turns(0, 60, 60)
    assert metrics.tg_id(original, edited) == pytest.approx((0.5 + 1 + 2) / 3)
    assert metrics.tg_id(original, edited, "ratio_of_means") == pytest.approx(1)


def test_tg_id_in_blocks_equals_all_at_once() -> None:
    frames = metrics.PAIRS_AT_ONCE + 50
    pair = [identities(frames, seed) for seed in (1, 2)]
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in pair]
    before, after = ((rows @ rows.T)[np.triu_indices(frames, 1)] for rows in unit)
    assert metrics.tg_id(*pair) == pytest.approx((after / before).mean(), rel=1e-12)
    assert metrics.tg_id(*pair, "ratio_of_means") == pytest.approx(after.mean() / before.mean(), rel=1e-12)


@pytest.mark.parametrize("shapes", [((1, 8), (1, 8)), ((4, 8), (5, 8)), ((8,), (8,))])
def test_identity_metrics_refuse_other_shapes(shapes: tuple[tuple[int, ...], ...]) -> None:
    with pytest.raises(ValueError, match="embeddings: got"):
        metrics.tl_id(*map(np.ones, shapes))


def test_psnr_counts_masked_pixels_only() -> None:
    first, second = torch.zeros(3, 4, 4), torch.zeros(3, 4, 4)
    second[:, 0, 0], second[:, 3, 3] = 255, 51
    mask = torch.zeros(1, 4, 4)
    mask[:, 3, 2:] = 1
    assert float(metrics.psnr(first, second, mask)) == pytest.approx(10 * np.log10(2 * 25))
    assert float(metrics.psnr(first, first)) == float("inf")
    assert metrics.psnr(first, second, torch.zeros(1, 4, 4)).isnan()
    with pytest.raises(ValueError, match="pictures"):
        metrics.psnr(first, second[:, :2])


def test_psnr_agrees_with_whole_numbers() -> None:
    generator = np.random.default_rng(0)
    first, second = generator.integers(0, 256, (2, 3, 512, 512))
    mask = generator.integers(0, 2, (1, 512, 512))
    exact = (((first - second) ** 2) * mask).sum() / (3 * mask.sum())
    found = metrics.psnr(*(torch.from_numpy(one).float() for one in (first, second, mask)))
    assert float(found) == pytest.approx(10 * np.log10(255**2 / exact), rel=1e-6)


def test_ring_error_is_the_mean_difference_in_the_ring() -> None:
    source = torch.full((3, 4, 4), 100.0)
    pasted = source.clone()
    pasted[0, 1] = 85
    ring = torch.zeros(1, 4, 4)
    ring[:, 1] = 1
    assert float(metrics.ring_error(pasted, source, ring)) == pytest.approx(5)
    assert metrics.ring_error(source, source, ring) == 0
    assert metrics.ring_error(pasted, source, 0 * ring).isnan()


def test_local_and_global_ratios_average_to_the_measures() -> None:
    original, edited = identities(12), identities(12, seed=3)
    assert metrics.local_ratios(original, edited).mean() == pytest.approx(metrics.tl_id(original, edited))
    assert metrics.global_ratios(original, edited).mean() == pytest.approx(metrics.tg_id(original, edited))


def test_cosines_compare_each_frame_with_its_own_source() -> None:
    assert metrics.cosines(turns(0, 0, 90), 3 * turns(0, 60, 0)) == pytest.approx([1, 0.5, 0], abs=1e-12)
    assert metrics.cosines(turns(10), turns(10)) == pytest.approx([1])
    with pytest.raises(ValueError, match="T >= 1"):
        metrics.cosines(turns(0), turns(0, 1))


FACE = np.array([(0, 0), (10, 0), (5, 5), (2, 10), (8, 10)], float)


def test_jitter_is_the_second_difference_by_the_distance_of_the_eyes() -> None:
    along = np.array([0, 1, 2, 6, 10, 14], float)  # even steps, one bend of 3 px where they grow, even steps
    clip = FACE + np.stack([along, 0 * along], axis=1)[:, None]
    shots = np.zeros(6, int)
    assert metrics.jitter(clip, shots)[1:-1] == pytest.approx([0, 0.3, 0, 0])
    assert metrics.jitter(2 * clip, shots)[1:-1] == pytest.approx([0, 0.3, 0, 0])
    assert np.isnan(metrics.jitter(clip, shots)[[0, -1]]).all()


def test_jitter_says_nothing_across_cuts_gaps_and_in_two_frames() -> None:
    clip = np.stack([FACE] * 7)
    clip[3] = np.nan
    shots = np.array([0, 0, 0, 0, 0, 0, 1])
    assert np.isfinite(metrics.jitter(clip, shots)).tolist() == [False, True, False, False, False, False, False]
    assert np.isnan(metrics.jitter(clip[:2], shots[:2])).all()


def test_ssim_of_flat_pictures_is_their_levels_alone() -> None:
    first, second = torch.full((3, 16, 16), 100.0), torch.full((3, 16, 16), 150.0)
    level = (0.01 * 255) ** 2
    assert float(metrics.ssim(first, second)) == pytest.approx((2 * 15000 + level) / (10000 + 22500 + level), abs=1e-4)
    assert float(metrics.ssim(first, first)) == pytest.approx(1)


def test_ssim_falls_with_noise_where_the_mask_is_and_nowhere_else() -> None:
    rng = torch.Generator().manual_seed(0)
    clean = torch.rand(3, 32, 32, generator=rng) * 255
    noisy = clean.clone()
    noisy[..., 16:] += 60 * torch.randn(3, 32, 16, generator=rng)
    left, right = torch.zeros(1, 32, 32), torch.zeros(1, 32, 32)
    left[..., :8], right[..., 20:] = 1, 1
    assert float(metrics.ssim(noisy, clean, left)) == pytest.approx(1, abs=1e-5)
    assert 0.3 < float(metrics.ssim(noisy, clean, right)) < 0.9
    assert float(metrics.ssim(noisy, clean)) == pytest.approx(float(metrics.ssim(clean, noisy)), abs=1e-5)
    assert metrics.ssim(noisy, clean, 0 * left).isnan()
