"""What no generator draws (strands, lashes, pores, grain), taken from the source where the edit changes nothing.

Stage 5 gives the stitched face back what tuning missed of the crop, stage 6 what the crop itself lost in being sampled.
Both go by the same weights.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

BAND = 4 / 256
"""Sigma of the blur that the fine band is what is left of, as a share of the picture's side."""
REACH = 3 / 256
"""Sigma of the blur of what the edit changed, the same way."""
TOLERANCE = 0.08
"""Change by the edit, of pictures in [-1,1], at which detail has faded to a third."""
MISFIT = 0.16
"""The same for what the tuned generator misses of the crop besides detail: there the source shows something else."""


@torch.no_grad()
def weights(crops: Tensor, tuned: Tensor, edited: Tensor, share: float) -> Tensor:
    """How much of the source's detail a place keeps: exp(-(d / tolerance)^2 - (m / misfit)^2).

    d is the blurred change that the edit makes: wrinkles that it took away and a mouth that it opened stay its own. m
    is what tuning misses of the crop's coarse shapes: the lines of a lid that fell lie over no eye that stayed open.

    Args:
        crops: c_i, [B,3,S,S] in [-1,1].
        tuned: r_i, the same shape, what the tuned generator draws at the pivots.
        edited: e_i.
        share: of the detail, 0 to 1.
    Returns:
        [B,1,S,S] in [0,1].
    """
    size = tuned.shape[-1]
    change = blurred((edited - tuned).abs().mean(1, keepdim=True), REACH * size)
    missed = blurred(blurred(crops - tuned, BAND * size).abs().mean(1, keepdim=True), REACH * size)
    return share * torch.exp(-(change / TOLERANCE).square() - (missed / MISFIT).square())


@torch.no_grad()
def restored(stitched: Tensor, edited: Tensor, crops: Tensor, tuned: Tensor, weights: Tensor) -> Tensor:
    """Stitched faces with the fine detail that they miss of the crops, but for what the edit changed.

    Where stitching left the edited picture as it was, that is what the tuned generator misses; what it already brought
    back around the face is not added once more.

    Args:
        stitched: s_i, [B,3,S,S] in [-1,1].
        edited: e_i, the same shape.
        crops: c_i.
        tuned: r_i.
        weights: [B,1,S,S], see above; zeros give `stitched` as it is.
    Returns:
        [B,3,S,S].
    """
    missing = crops - (stitched - edited + tuned)
    return stitched + weights * (missing - blurred(missing, BAND * stitched.shape[-1]))


def blurred(images: Tensor, sigma_px: float) -> Tensor:
    """Gaussian blur, the border repeated; [B,C,S,S] -> the same."""
    radius = max(1, round(3 * sigma_px))
    places = torch.arange(-radius, radius + 1, device=images.device, dtype=images.dtype)
    taps = torch.exp(-(places / sigma_px).square() / 2)
    taps = (taps / taps.sum()).expand(images.shape[1], 1, -1)
    padded = F.pad(images, (radius,) * 4, mode="replicate")
    across = F.conv2d(padded, taps[:, :, None, :], groups=images.shape[1])
    return F.conv2d(across, taps[:, :, :, None], groups=images.shape[1])
