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
