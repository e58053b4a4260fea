import pytest
import torch

from stitch.stit import detail


def stripes(size=64):
    """A picture of fine stripes, [1,3,S,S]."""
    return 0.5 * torch.where(torch.arange(size) % 2 == 0, 1.0, -1.0).expand(1, 3, size, size)


def test_detail_comes_back_where_the_edit_changes_nothing():
    crop, soft = stripes(), torch.zeros(1, 3, 64, 64)
    found = detail.restored(soft, crop, soft, soft, 1.0)
    torch.testing.assert_close(found[..., 8:-8], crop[..., 8:-8], atol=0.05, rtol=0)


def test_detail_stays_away_where_the_edit_changes_the_picture():
    crop, soft = stripes(), torch.zeros(1, 3, 64, 64)
    edited = soft.clone()
    edited[..., :32, :] = 0.8
    found = detail.restored(edited, crop, soft, edited, 1.0)
    torch.testing.assert_close(found[..., :28, :], edited[..., :28, :], atol=1e-3, rtol=0)
    assert found[..., 40:, 8:-8].abs().min() > 0.4


def test_detail_leaves_light_and_colour_to_the_generator():
    soft = torch.zeros(1, 3, 64, 64)
    bright = torch.full_like(soft, 0.4)
    torch.testing.assert_close(detail.restored(soft, bright, soft, soft, 1.0), soft, atol=1e-5, rtol=0)


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_share_of_the_detail(share):
    crop, soft = stripes(), torch.zeros(1, 3, 64, 64)
    whole = detail.restored(soft, crop, soft, soft, 1.0)
    torch.testing.assert_close(detail.restored(soft, crop, soft, soft, share), share * whole)
