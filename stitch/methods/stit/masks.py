"""Masks of section 3.4: foreground m_i, dilated mask m_i^d, boundary b_i. All [B,1,S,S] float32, on any device."""

import torch
import torch.nn.functional as F
from torch import Tensor

from stitch.core.records import Regions

NOT_FACE = (0, 16, 18)
"""BiSeNet's classes outside the foreground: background, cloth and hat. Hair, neck and ears belong to the face."""

NOSE = 10
_INNER = (0.5, 0.61), (0.19, 0.26)
"""Middle and half axes of `inner_face`, x and y as shares of the crop's side."""
_TURN = 3.2
"""By how much a turned face ends sooner on its far side, for each share that its nose is off the crop's middle."""


def foreground(labels: Tensor) -> Tensor:
    """m_i of a label map: everything but background, cloth and hat (section 3.4, classes of the authors' code).

    Args:
        labels: [B,h,w] integer, BiSeNet's 19 classes.
    Returns:
        [B,1,h,w] float32 in {0,1}.
    """
    outside = torch.isin(labels, torch.tensor(NOT_FACE, device=labels.device, dtype=labels.dtype))
    return (~outside).float().unsqueeze(1)


def inner_face(labels: Tensor) -> Tensor:
    """Where the alignment puts eyes, nose, mouth and chin: what is no face there lies before it, a hand or a cup.

    A turned face ends near its nose, behind which the backdrop begins: its far side is left out, the sooner the further
    the nose is off the middle.

    Args:
        labels: [B,h,h] integer, BiSeNet's classes of aligned crops.
    Returns:
        [B,h,h] bool, an ellipse without that.
    """
    (x, y), (wide, high) = _INNER
    size = labels.shape[-1]
    at = (torch.arange(size, device=labels.device) + 0.5) / size
    nose = labels == NOSE
    turned = ((nose * (at - x)).sum((1, 2)) / nose.sum((1, 2)).clamp(min=1))[:, None]
    shown = (at - x) * turned.sign() < wide - _TURN * turned.abs()
    return (((at - x) / wide).square() + ((at[:, None] - y) / high).square() < 1) & shown[:, None]


def hidden(labels: Tensor) -> Tensor:
    """How much of the inner face something covers; [B,h,h] integer, BiSeNet's classes -> [B] in [0,1]."""
    inner = inner_face(labels)
    return 1 - (foreground(labels)[:, 0] * inner).sum((1, 2)) / inner.sum((1, 2)).clamp(min=1)


def resize(mask: Tensor, size: int, soft: bool = False) -> Tensor:
    """Bring a mask from the parser's resolution to the crop's.

    Bilinear with aligned corners, as the authors' code does; it then keeps the soft edge, we threshold at one half, so
    that masks stay in {0,1}.

    Args:
        mask: [B,1,h,w] in [0,1].
        size: S in px.
        soft: keep values between 0 and 1.
    Returns:
        [B,1,S,S] float32.
    """
    if mask.shape[-2:] == (size, size):
        return mask
    resized = F.interpolate(mask, (size, size), mode="bilinear", align_corners=True)
    return resized if soft else (resized >= 0.5).float()


def radius_px(share: float, size: int) -> int:
    """A radius given as a share of the crop's side, in whole pixels.

    Args:
        share: e.g. 50 / 1024.
        size: S in px.
    Returns:
        At least 1 for any positive share, so that small crops keep a ring.
    """
    return max(1, round(share * size)) if share > 0 else 0


def dilate(mask: Tensor, radius_px: int) -> Tensor:
    """m_i^d: largest value in a square of side 2 * radius + 1; what lies outside the picture does not count.

    The maximum is taken along rows, then columns, each by doubling the window: log2(side) passes instead of side.

    Args:
        mask: [B,1,H,W], values >= 0.
        radius_px: >= 0; 0 returns the mask.
    Returns:
        The same shape.
    Raises:
        ValueError: radius_px is negative.
    """
    if radius_px < 0:
        raise ValueError(f"radius_px: got {radius_px}, expected >= 0")
    if radius_px == 0:
        return mask
    grown = F.pad(mask, (radius_px,) * 4)
    for dimension in (-1, -2):
        window = 1
        while window < 2 * radius_px + 1:
            step = min(window, 2 * radius_px + 1 - window)
            length = grown.shape[dimension] - step
            grown = torch.maximum(grown.narrow(dimension, 0, length), grown.narrow(dimension, step, length))
            window += step
    return grown


def edge_strip(mask: Tensor, width_px: int) -> Tensor:
    """Ones along the four edges of the picture, zeros inside.

    Args:
        mask: gives shape [B,1,H,W], dtype and device.
        width_px: >= 0.
    Returns:
        The shape of `mask`, in {0,1}.
    """
    strip = torch.ones_like(mask)
    height, width = mask.shape[-2:]
    strip[..., width_px : max(height - width_px, width_px), width_px : max(width - width_px, width_px)] = 0
    return strip


def regions(
    mask: Tensor, outer_px: int, edge_px: int | None = None, inner_px: int = 0, whole_background: bool = False
) -> Regions:
    """m_i, m_i^d and b_i of a foreground mask (section 3.4).

    b_i = m_i XOR m_i^d, plus the part of m_i in a strip along the crop's edge: there the face runs on into the
    untouched frame, so the seam is where the crop ends. That part leaves the returned m_i. The strip is in the authors'
    code, not in the paper.

    Args:
        mask: [B,1,S,S] in {0,1}.
        outer_px: dilation radius, width of the ring; >= 0.
        edge_px: width of the strip; None takes `outer_px`, as the authors' code does.
        inner_px: dilation before everything else: the ring starts this far outside the face (the code's option, 0).
        whole_background: b_i is everything outside the face instead of a ring (the code's option).
    Returns:
        `mask` without what belongs to the boundary, `dilated_mask` and `boundary`; all zero for an empty mask (but the
        boundary with `whole_background`).
    Raises:
        ValueError: a radius is negative.
    """
    inner = dilate(mask, inner_px)
    dilated = dilate(inner, outer_px)
    at_edge = inner * edge_strip(mask, outer_px if edge_px is None else edge_px)
    ring = 1 - inner if whole_background else dilated - inner
    boundary = torch.maximum(at_edge, ring)
    return Regions(mask=(mask - boundary).clamp(0, 1), dilated_mask=dilated, boundary=boundary)
