import pytest
import torch

from stitch.methods.stit import losses


def rand(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.mark.parametrize(("distance", "expected"), [("l1", 3 * (0.5 + 0.1) / 2), ("l2", 3 * (0.25 + 0.01) / 2)])
def test_masked_distance_is_over_the_masks_area(distance: losses.Distance, expected: float) -> None:
    first, second, mask = torch.zeros(1, 3, 2, 2), torch.ones(1, 3, 2, 2), torch.zeros(1, 1, 2, 2)
    second[..., 0, 0], second[..., 1, 1] = 0.5, -0.1
    mask[..., 0, 0] = mask[..., 1, 1] = 1
    assert losses.masked_distance(first, second, mask, distance).item() == pytest.approx(expected)


def test_masked_distance_squares_soft_values_under_l2_only() -> None:
    first, second, mask = torch.zeros(1, 3, 4, 4), torch.ones(1, 3, 4, 4), torch.full((1, 1, 4, 4), 0.5)
    assert losses.masked_distance(first, second, mask, "l1").item() == pytest.approx(3)
    assert losses.masked_distance(first, second, mask, "l2").item() == pytest.approx(1.5)


@pytest.mark.parametrize("distance", ["l1", "l2"])
def test_masked_distance_of_an_empty_mask_is_zero_with_zero_gradient(distance: losses.Distance) -> None:
    first = rand(2, 3, 4, 4).requires_grad_()
    mask = torch.ones(2, 1, 4, 4)
    mask[1] = 0
    value = losses.masked_distance(first, rand(2, 3, 4, 4, seed=1), mask, distance)
    value.sum().backward()
    assert value[0] > 0 and value[1] == 0
    assert first.grad is not None and first.grad[0].abs().min() > 0 and not first.grad[1].any()


@pytest.mark.parametrize("distance", ["l1", "l2"])
def test_losses_do_not_mix_frames(distance: losses.Distance) -> None:
    pictures = [rand(3, 3, 8, 8, seed=seed) for seed in range(3)]
    regions = [(rand(3, 1, 8, 8, seed=seed) > 0).float() for seed in (7, 8)]
    border, content = losses.stitching_losses(*pictures, *regions, distance)
    for frame in range(3):
        own = slice(frame, frame + 1)
        alone = losses.stitching_losses(*(one[own] for one in (*pictures, *regions)), distance)
        torch.testing.assert_close(torch.cat(alone), torch.stack([border[frame], content[frame]]))


def test_stitching_losses_hold_the_ring_to_the_crop_and_the_face_to_the_edit() -> None:
    crops, edited = rand(1, 3, 6, 6), rand(1, 3, 6, 6, seed=1)
    mask = torch.zeros(1, 1, 6, 6)
    mask[..., 2:4, 2:4] = 1
    pasted = torch.where(mask > 0, edited, crops)
    border, content = losses.stitching_losses(pasted, crops, edited, mask, 1 - mask)
    assert border.item() == content.item() == 0
    border, content = losses.stitching_losses(crops, crops, edited, mask, 1 - mask)
    assert border.item() == 0 and content.item() > 0


def test_masked_distance_refuses_an_unknown_norm() -> None:
    with pytest.raises(ValueError, match="l3"):
        losses.masked_distance(rand(1, 3, 2, 2), rand(1, 3, 2, 2), torch.ones(1, 1, 2, 2), "l3")  # type: ignore[arg-type]


def test_tuning_loss_weighs_and_averages() -> None:
    images, targets = torch.zeros(2, 3, 2, 2), torch.zeros(2, 3, 2, 2)
    targets[1] = 0.5
    l2 = losses.mean_squared_error(images, targets)
    assert l2.tolist() == [0, 0.25]
    assert losses.tuning_loss(l2, torch.tensor([0.2, 0.4]), 10.0, 1.0).item() == pytest.approx(10 * 0.125 + 0.3)


def test_locality_codes_lie_alpha_away_towards_the_sample() -> None:
    pivots, samples = rand(2, 4, 8), rand(2, 1, 8, seed=1).expand(2, 4, 8)
    moved = losses.locality_codes(pivots, samples, 30.0) - pivots
    torch.testing.assert_close(moved.flatten(1).norm(dim=1), torch.full((2,), 30.0))
    cosine = torch.cosine_similarity(moved.flatten(1), (samples - pivots).flatten(1))
    torch.testing.assert_close(cosine, torch.ones(2))


def test_locality_codes_of_a_sample_on_the_pivot_are_the_pivot() -> None:
    pivots = rand(1, 4, 8)
    assert torch.equal(losses.locality_codes(pivots, pivots, 30.0), pivots)


def test_feature_weights_lie_where_the_alignment_puts_eyes_and_mouth() -> None:
    weights = losses.feature_weights(256, 8.0)
    assert weights.shape == (256, 256) and weights.min() >= 1
    # eyes 100 px apart, 110 px above the mouth: the quad of `core.geometry` shows where they come to lie
    eyes, mouth = torch.tensor([[200.0, 300.0], [300.0, 300.0]]), torch.tensor([250.0, 410.0])
    centre, side = eyes.mean(0) + 0.1 * (mouth - eyes.mean(0)), 4 * 100.0
    for point in (*eyes, mouth):
        x, y = ((point - centre) / side + 0.5) * 256
        assert weights[int(y), int(x)] > 0.95 * 9, "nearly all of the weight"
    assert weights[20, 128] < 1.01 and weights[128, 10] < 1.01


def test_mean_squared_error_takes_weights_of_pixels() -> None:
    images, targets = rand(2, 3, 4, 4), rand(2, 3, 4, 4, seed=1)
    plain = losses.mean_squared_error(images, targets)
    assert torch.equal(losses.mean_squared_error(images, targets, torch.ones(4, 4)), plain)
    left = torch.zeros(4, 4)
    left[:, :2] = 2.0
    half = losses.mean_squared_error(images[..., :2], targets[..., :2])
    torch.testing.assert_close(losses.mean_squared_error(images, targets, left), half)
