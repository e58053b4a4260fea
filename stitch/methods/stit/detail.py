"""What tuning missed of the source (tone, strands, lashes, pores, grain), given back where the edit changes nothing.

Stage 5 lays it over the edited face before the seam is tuned, stage 6 adds what the crop itself lost in being sampled.
Both go by the same weights.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

REACH = 6 / 256
"""Sigma of the blur of what the edit changed, as a share of the picture's side."""
TOLERANCE = 0.09
"""Change by the edit, of pictures in [-1,1], at which what was missed has faded to a third."""
_COARSEST_PX = 8


@torch.no_grad()
def weights(tuned: Tensor, edited: Tensor, share: float) -> Tensor:
    """How much of what tuning missed a place gets back: exp(-(d / tolerance)^4), d the blurred change by the edit.

    So wrinkles that an edit took away stay away, and a mouth that it opened stays its own.

    Args:
        tuned: r_i, [B,3,S,S] in [-1,1], what the tuned generator draws at the pivots.
        edited: e_i, the same shape.
        share: of what was missed, 0 to 1.
    Returns:
        [B,1,S,S] in [0,1].
    """
    change = blurred((edited - tuned).abs().mean(1, keepdim=True), REACH * tuned.shape[-1])
    return share * torch.exp(-(change / TOLERANCE).pow(4))


@torch.no_grad()
def missed(crops: Tensor, tuned: Tensor, weights: Tensor) -> Tensor:
    """What is laid over the edited pictures: c_i - r_i, each band of it by the weights at that band's scale.

    The bands are those of a Laplacian pyramid (Burt and Adelson 1983): where weights fall off, fine lines fade over a
    short way and tone over a long one, so that no edge shows. Under weights of one it is c_i - r_i itself, and an edit
    that changes nothing gives the crop back.

    Args:
        crops: c_i, [B,3,S,S] in [-1,1].
        tuned: r_i, the same shape.
        weights: [B,1,S,S], see above; zeros give zeros.
    Returns:
        [B,3,S,S].
    """
    rest, bands = crops - tuned, list[Tensor]()
    while rest.shape[-1] > _COARSEST_PX and rest.shape[-1] % 2 == 0:
        coarse = F.avg_pool2d(rest, 2)
        bands.append(weights * (rest - _enlarged(coarse)))
        rest, weights = coarse, F.avg_pool2d(weights, 2)
    laid = weights * rest
    for band in reversed(bands):
        laid = _enlarged(laid) + band
    return laid


def _enlarged(images: Tensor) -> Tensor:
    return F.interpolate(images, scale_factor=2, mode="bilinear")


def blurred(images: Tensor, sigma_px: float) -> Tensor:
    """Gaussian blur, the border repeated; [B,C,S,S] -> the same."""
    radius = max(1, round(3 * sigma_px))
    places = torch.arange(-radius, radius + 1, device=images.device, dtype=images.dtype)
    taps = torch.exp(-(places / sigma_px).square() / 2)
    taps = (taps / taps.sum()).expand(images.shape[1], 1, -1)
    padded = F.pad(images, (radius,) * 4, mode="replicate")
    across = F.conv2d(padded, taps[:, :, None, :], groups=images.shape[1])
    return F.conv2d(across, taps[:, :, :, None], groups=images.shape[1])
