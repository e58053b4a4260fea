import pytest
import torch

from stitch.methods.stit import detail


def stripes(size=64):
    """A picture of fine stripes, [1,3,S,S]."""
    return 0.5 * torch.where(torch.arange(size) % 2 == 0, 1.0, -1.0).expand(1, 3, size, size)


def restored(stitched, crop, tuned, edited, share=1.0):
    return detail.restored(stitched, edited, crop, tuned, detail.weights(crop, tuned, edited, share))


def test_detail_comes_back_where_the_edit_changes_nothing():
    crop, soft = stripes(), torch.zeros(1, 3, 64, 64)
    found = restored(soft, crop, soft, soft)
    torch.testing.assert_close(found[..., 8:-8], crop[..., 8:-8], atol=0.05, rtol=0)


def test_detail_that_stitching_brought_back_is_not_added_once_more():
    crop, soft = stripes(), torch.zeros(1, 3, 64, 64)
    torch.testing.assert_close(restored(crop, crop, soft, soft), crop)


def test_detail_stays_away_where_the_edit_changes_the_picture():
    crop, soft = stripes(), torch.zeros(1, 3, 64, 64)
    edited = soft.clone()
    edited[..., :32, :] = 0.8
    found = restored(edited, crop, soft, edited)
    torch.testing.assert_close(found[..., :28, :], edited[..., :28, :], atol=1e-3, rtol=0)
    assert found[..., 40:, 8:-8].abs().min() > 0.4


def test_detail_stays_away_where_the_source_shows_something_else():
    crop, soft = stripes(), torch.zeros(1, 3, 64, 64)
    crop[..., :32, :] -= 0.5
    found = restored(soft, crop, soft, soft)
    assert found[..., :24, :].abs().max() < 0.01 and found[..., 44:, 8:-8].abs().min() > 0.4


def test_detail_leaves_light_and_colour_to_the_generator():
    soft = torch.zeros(1, 3, 64, 64)
    bright = torch.full_like(soft, 0.1)
    torch.testing.assert_close(restored(soft, bright, soft, soft), soft, atol=1e-5, rtol=0)


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_share_of_the_detail(share):
    crop, soft = stripes(), torch.zeros(1, 3, 64, 64)
    whole = restored(soft, crop, soft, soft)
    torch.testing.assert_close(restored(soft, crop, soft, soft, share), share * whole)
