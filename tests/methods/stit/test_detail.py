import pytest
import torch

from stitch.methods.stit import detail


def stripes(size=64):
    """A picture of fine stripes, [1,3,S,S]."""
    return 0.5 * torch.where(torch.arange(size) % 2 == 0, 1.0, -1.0).expand(1, 3, size, size)


def laid(crop, tuned, edited, share=1.0):
    """Where all of the picture is face."""
    return detail.laid(crop, tuned, edited, torch.ones_like(crop[:, :1]), share).missed


def edited_with(edited, crop, tuned, share=1.0):
    return edited + laid(crop, tuned, edited, share)


def noise(*shape, smooth_px=0.0):
    rng = torch.Generator().manual_seed(0)
    drawn = torch.rand(*shape, generator=rng) * 2 - 1
    return drawn if smooth_px == 0 else 4 * detail.blurred(drawn, smooth_px)


@pytest.mark.parametrize("size", [32, 64, 90, 300])
def test_an_edit_that_changes_nothing_gives_the_crop_back(size):
    crop, tuned = noise(2, 2, 3, size, size)
    torch.testing.assert_close(edited_with(tuned, crop, tuned), crop, atol=1e-3, rtol=0)


def test_what_was_missed_stays_away_where_the_edit_changes_the_picture():
    crop, soft = stripes(), torch.zeros(1, 3, 64, 64)
    edited = soft.clone()
    edited[..., :32, :] = 0.8
    found = edited_with(edited, crop, soft)
    torch.testing.assert_close(found[..., :28, :], edited[..., :28, :], atol=1e-3, rtol=0)
    torch.testing.assert_close(found[..., 40:, :], crop[..., 40:, :], atol=0.05, rtol=0)


def test_what_was_missed_goes_where_the_edit_moves_it():
    tuned = noise(1, 3, 128, 128, smooth_px=4)
    mark = torch.zeros_like(tuned)
    mark[..., 62:66, 60:64] = 0.3
    edited = tuned.roll(5, dims=3)
    found = laid(tuned + mark, tuned, edited).mean(1)[0]
    column = int((found.clamp_min(0).sum(0) * torch.arange(128)).sum() / found.clamp_min(0).sum())
    assert 65 <= column <= 68 and found.max() > 0.2, "five pixels further, and hardly weaker"


def test_around_the_face_what_was_missed_stays_where_it_is_whatever_the_edit_moves():
    crop, tuned = noise(2, 1, 3, 64, 64)
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., 16:48, 16:48] = 1
    edited = torch.where(mask > 0, tuned.roll(5, dims=3) + 0.5, tuned)
    found = detail.laid(crop, tuned, edited, mask, 1.0).missed
    around = (mask == 0).expand_as(found)
    torch.testing.assert_close(found[around], (crop - tuned)[around])
    assert found[..., 28:36, 28:36].abs().max() < 0.01, "and inside not where the edit changed all"


def test_nothing_is_laid_beyond_the_edited_picture_and_the_source():
    light, hair = torch.full((1, 3, 64, 64), 0.7), torch.full((1, 3, 64, 64), -0.8)
    crop, tuned, edited = (torch.where(torch.arange(64) < outline, light, hair) for outline in (36, 32, 34))
    mask = torch.ones_like(light[:, :1])
    mask[..., :34] = 0
    for drawn in (edited, edited.roll(3, dims=3)):
        found = detail.laid(crop, tuned, edited, mask, 1.0).over(drawn)
        assert found.max() < 0.8 and found.min() > -0.9, "no specks where an outline moved, stitched or not"


def test_what_moved_is_not_mended_by_what_was_missed_elsewhere():
    lips = torch.zeros(1, 3, 64, 64)
    lips[..., 44:48, 20:44] = -0.4
    tuned, edited = lips.roll(5, dims=2), lips.roll(5, dims=2)
    edited[..., 47:54, 20:44] += 0.12
    kept, well = (detail.weights(crop, tuned, edited, 1.0)[0, 0] for crop in (lips, tuned))
    assert kept[50, 32] < 0.5 * well[50, 32], "where the mouth was drawn well it may stay"
    higher = [picture.roll(-30, dims=2) for picture in (lips, tuned, edited)]
    torch.testing.assert_close(detail.weights(*higher, 1.0)[0, 0, 20, 32], well[50, 32], atol=0.02, rtol=0)


def test_motion_is_the_way_back_to_where_a_place_was_drawn():
    tuned = noise(2, 3, 128, 128, smooth_px=4)
    flow = detail.motion(tuned, tuned.roll((3, -4), dims=(2, 3)))[..., 24:-24, 24:-24]
    torch.testing.assert_close(flow[:, 0] * 128, torch.full_like(flow[:, 0], 4.0), atol=0.3, rtol=0)
    torch.testing.assert_close(flow[:, 1] * 128, torch.full_like(flow[:, 1], -3.0), atol=0.3, rtol=0)


def test_tone_fades_over_a_longer_way_than_lines():
    keep = torch.ones(1, 1, 64, 64)
    keep[..., :32, :] = 0
    bright = detail.faded(torch.full((1, 3, 64, 64), 0.5), keep)[0, 0, :, 32]
    lines = detail.faded(stripes(), keep)[0, 0, :, 32].abs()
    assert (bright.diff() > -1e-6).all() and bright.diff().max() < 0.5 * lines.diff().max()


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_share_of_what_was_missed(share):
    crop, soft = stripes(), torch.zeros(1, 3, 64, 64)
    torch.testing.assert_close(edited_with(soft, crop, soft, share), share * crop, atol=1e-3, rtol=0)
