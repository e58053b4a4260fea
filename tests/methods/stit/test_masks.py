import cv2
import numpy as np
import pytest
import torch

from stitch.methods.stit import masks


def grid(*rows: str) -> torch.Tensor:
    return torch.tensor([[float(cell == "#") for cell in row] for row in rows])[None, None]


FACE = grid(
    ".......",
    ".......",
    "..##...",
    "..##...",
    ".......",
    ".......",
    ".......",
)
AT_EDGE = grid(
    ".......",
    ".......",
    "..##...",
    "..##...",
    "..##...",
    "..##...",
    "..##...",
)


def test_foreground_is_all_but_background_cloth_and_hat() -> None:
    labels = torch.arange(19).reshape(1, 1, 19)
    inside = masks.foreground(labels)
    assert inside.shape == (1, 1, 1, 19) and inside.dtype == torch.float32
    assert (inside == 0).nonzero()[:, 3].tolist() == [0, 16, 18]


def test_hidden_is_the_share_of_the_inner_face_that_is_no_face() -> None:
    labels = torch.ones(3, 64, 64, dtype=torch.long)
    labels[1, :, :32] = 0  # a hand before one half
    labels[2, :8] = labels[2, :, :8] = 0  # a backdrop
    torch.testing.assert_close(masks.hidden(labels), torch.tensor([0, 0.5, 0]), atol=0.01, rtol=0)


def test_inner_face_holds_eyes_and_mouth_of_ffhqs_crop() -> None:
    inner = masks.inner_face(torch.zeros(1, 1024, 1024, dtype=torch.long))[0]
    assert inner[484, [384, 640]].all() and inner[765, 512] and not inner[300, 512] and not inner[600, [280, 744]].any()


def test_inner_face_ends_sooner_behind_a_turned_nose() -> None:
    labels = torch.zeros(3, 128, 128, dtype=torch.long)
    labels[1, 60:80, 66:74] = labels[2, 60:80, 54:62] = masks.NOSE  # 6 px to either side
    straight, right, left = masks.inner_face(labels)
    assert straight[78, 42] and straight[78, 85]
    assert right[78, 42] and not right[78, 70:].any() and torch.equal(left, right.flip(1))


def test_dilate_grows_by_a_square() -> None:
    expected = grid(".......", ".####..", ".####..", ".####..", ".####..", ".......", ".......")
    assert torch.equal(masks.dilate(FACE, 1), expected)
    assert masks.dilate(FACE, 0) is FACE
    with pytest.raises(ValueError, match="radius_px"):
        masks.dilate(FACE, -1)


@pytest.mark.parametrize("radius", [1, 2, 3, 6, 11, 40])
def test_dilate_agrees_with_opencv(radius: int) -> None:
    values = np.random.default_rng(radius).random((2, 37, 29)).astype(np.float32) ** 20
    side = 2 * radius + 1
    expected = np.stack([cv2.dilate(one, np.ones((side, side), np.uint8)) for one in values])
    assert np.array_equal(masks.dilate(torch.from_numpy(values)[:, None], radius)[:, 0].numpy(), expected)


def test_edge_strip_is_as_wide_as_asked() -> None:
    strip = masks.edge_strip(torch.zeros(1, 1, 5, 6), 2)
    assert strip.sum() == 30 - 2 and strip[0, 0, 2, 2:4].sum() == 0
    assert masks.edge_strip(FACE, 0).sum() == 0
    assert masks.edge_strip(FACE, 4).min() == 1


def test_regions_ring_is_dilated_xor_mask() -> None:
    regions = masks.regions(FACE, 1)
    assert torch.equal(regions.mask, FACE)
    assert torch.equal(regions.dilated_mask, masks.dilate(FACE, 1))
    assert torch.equal(regions.boundary, regions.dilated_mask - FACE)


def test_regions_count_the_face_at_the_crops_edge_as_boundary() -> None:
    regions = masks.regions(AT_EDGE, 1)
    expected = grid(".......", ".####..", ".#..#..", ".#..#..", ".#..#..", ".#..#..", ".####..")
    assert torch.equal(regions.boundary, expected)
    assert torch.equal(regions.mask, grid(".......", ".......", *["..##..."] * 4, "......."))
    assert masks.regions(AT_EDGE, 1, edge_px=0).boundary[0, 0, 6].tolist() == [0, 1, 0, 0, 1, 0, 0]


def test_regions_parts_make_up_the_dilated_mask() -> None:
    mask = (torch.rand(3, 1, 24, 24, generator=torch.Generator().manual_seed(0)) > 0.9).float()
    regions = masks.regions(mask, 3)
    assert torch.equal(regions.mask + regions.boundary, regions.dilated_mask)
    assert torch.equal(masks.regions(mask[1:2], 3).boundary, regions.boundary[1:2])


def test_regions_of_nothing_are_nothing() -> None:
    regions = masks.regions(torch.zeros(2, 1, 9, 9), 2)
    assert not any(mask.any() for mask in (regions.mask, regions.dilated_mask, regions.boundary))


def test_radius_px_scales_with_the_side() -> None:
    assert [masks.radius_px(50 / 1024, size) for size in (1024, 512, 256, 128, 8)] == [50, 25, 12, 6, 1]
    assert masks.radius_px(0.0, 1024) == 0


def test_resize_gives_hard_masks_unless_asked() -> None:
    small = grid("....", ".##.", ".##.", "....")
    hard, soft = masks.resize(small, 9), masks.resize(small, 9, soft=True)
    assert set(hard.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(hard, (soft >= 0.5).float())
    assert 0 < soft[0, 0, 2, 4] < 1
    assert masks.resize(small, 4) is small
