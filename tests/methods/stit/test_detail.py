import pytest
import torch

from stitch.methods.stit import detail


def stripes(size=64):
    """A picture of fine stripes, [1,3,S,S]."""
    return 0.5 * torch.where(torch.arange(size) % 2 == 0, 1.0, -1.0).expand(1, 3, size, size)


def laid(edited, crop, tuned, share=1.0):
    return edited + detail.missed(crop, tuned, detail.weights(tuned, edited, share))


@pytest.mark.parametrize("size", [4, 64, 90])
def test_an_edit_that_changes_nothing_gives_the_crop_back(size):
    crop, tuned = torch.rand(2, 2, 3, size, size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    torch.testing.assert_close(laid(tuned, crop, tuned), crop)


def test_what_was_missed_stays_away_where_the_edit_changes_the_picture():
    crop, soft = stripes(), torch.zeros(1, 3, 64, 64)
    edited = soft.clone()
    edited[..., :32, :] = 0.8
    found = laid(edited, crop, soft)
    torch.testing.assert_close(found[..., :28, :], edited[..., :28, :], atol=1e-3, rtol=0)
    torch.testing.assert_close(found[..., 40:, :], crop[..., 40:, :], atol=0.05, rtol=0)


def test_tone_fades_over_a_longer_way_than_lines():
    soft = torch.zeros(1, 3, 64, 64)
    edited = soft.clone()
    edited[..., :32, :] = 0.8
    bright = laid(edited, soft + 0.5, soft)[0, 0, 32:, 32]
    lines = (laid(edited, stripes(), soft)[0, 0, 32:, 32] / stripes()[0, 0, 32:, 32]).abs()
    assert (bright.diff() > -1e-6).all() and bright.diff().abs().max() < 0.5 * lines.diff().abs().max()


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_share_of_what_was_missed(share):
    crop, soft = stripes(), torch.zeros(1, 3, 64, 64)
    torch.testing.assert_close(laid(soft, crop, soft, share), share * crop)
