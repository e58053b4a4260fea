"""What no generator draws (strands, lashes, pores, grain), taken from the source where the edit changes nothing."""

import torch
import torch.nn.functional as F
from torch import Tensor

BAND = 4 / 256
"""Sigma of the blur that the fine band is what is left of, as a share of the picture's side."""
REACH = 3 / 256
"""Sigma of the blur of what the edit changed, the same way."""
TOLERANCE = 0.08
"""Change by the edit, of pictures in [-1,1], at which detail has faded to a third."""


@torch.no_grad()
def restored(stitched: Tensor, crops: Tensor, tuned: Tensor, edited: Tensor, share: float) -> Tensor:
    """Stitched faces with the fine detail that the tuned generator misses.

    The fine band of crop minus reconstruction is added, weighted by exp(-(d / tolerance)^2), d the blurred change that
    the edit makes to the reconstruction. So wrinkles that an edit took away and a mouth that it opened stay its own.

    Args:
        stitched: s_i, [B,3,S,S] in [-1,1].
        crops: c_i, the same shape.
        tuned: r_i, what the tuned generator draws at the pivots.
        edited: e_i.
        share: of the detail, 0 to 1; 0 gives `stitched` as it is.
    Returns:
        [B,3,S,S].
    """
    if share == 0:
        return stitched
    size = stitched.shape[-1]
    missing = crops - tuned
    fine = missing - blurred(missing, BAND * size)
    change = blurred((edited - tuned).abs().mean(1, keepdim=True), REACH * size)
    return stitched + share * fine * torch.exp(-(change / TOLERANCE).square())


def blurred(images: Tensor, sigma_px: float) -> Tensor:
    """Gaussian blur, the border repeated; [B,C,S,S] -> the same."""
    radius = max(1, round(3 * sigma_px))
    places = torch.arange(-radius, radius + 1, device=images.device, dtype=images.dtype)
    taps = torch.exp(-(places / sigma_px).square() / 2)
    taps = (taps / taps.sum()).expand(images.shape[1], 1, -1)
    padded = F.pad(images, (radius,) * 4, mode="replicate")
    across = F.conv2d(padded, taps[:, :, None, :], groups=images.shape[1])
    return F.conv2d(across, taps[:, :, :, None], groups=images.shape[1])
