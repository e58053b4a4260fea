import pytest
import torch

from stitch.families.portrait.training import augment


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(size: int = 64) -> torch.Tensor:
    return torch.rand(6, 3, size, size, generator=rng(1)) * 2 - 1


def test_filmed_is_repeatable_and_in_range():
    first, second = (augment.filmed(pictures(), rng(), 32) for _ in range(2))
    assert first.shape == (6, 3, 32, 32) and torch.equal(first, second)
    assert first.abs().max() <= 1
    assert not torch.equal(first, augment.filmed(pictures(), rng(7), 32))


def test_misaligned_reflects_beyond_the_border():
    white = torch.ones(4, 3, 64, 64)
    torch.testing.assert_close(augment.misaligned(white, rng(), 32), torch.ones(4, 3, 32, 32))


def test_before_backdrops_keeps_the_middle():
    images = pictures()
    changed = augment.before_backdrops(images, rng(), share=1.0)
    torch.testing.assert_close(changed[:, :, 34, 32], images[:, :, 34, 32], atol=1e-3, rtol=0)
    assert (changed[:, :, 0, 0] - images[:, :, 0, 0]).abs().max() > 0.1


def test_compressed_changes_only_the_chosen_share():
    images = pictures()
    assert torch.equal(augment.compressed(images, rng(), share=0.0), images)
    coded = augment.compressed(images, rng(), share=1.0)
    assert 0 < float((coded - images).abs().mean()) < 0.5


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_coarsened_takes_detail_away(share):
    images = pictures()
    coarse = augment.coarsened(images, rng(3), share)
    detail = (coarse[..., 1:] - coarse[..., :-1]).abs().mean() / (images[..., 1:] - images[..., :-1]).abs().mean()
    assert detail < 1 if share else detail == 1


def test_times_makes_a_misalignment_weaker():
    weaker = augment.Misalignment(6.0, 1.21, 0.05).times(0.5)
    assert (weaker.angle_deg, weaker.shift) == (3.0, 0.025)
    assert weaker.scale == pytest.approx(1.1)


def test_misaligned_by_nothing_leaves_a_picture_of_that_size():
    images = pictures()
    unmoved = augment.misaligned(images, rng(), 64, augment.TRACKED.times(0.0))
    torch.testing.assert_close(unmoved, images, atol=1e-4, rtol=0)
