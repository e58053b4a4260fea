"""What tuning missed of the source (tone, strands, lashes, pores, grain), given back wherever the edit leaves it.

An edit moves some of it: an eye narrows under a smile, and its lashes go with it. So what was missed is carried along
by the motion between the tuned generator's picture and the edited one, and kept where that motion explains the edit.
Stage 5 lays it over the edited face before the seam is tuned; stage 6 adds what the crop itself lost in being sampled,
where the edit moves nothing. Around the face nothing is to move: there all of it stays where it is, and what stitching
has to draw is what the tuned generator draws of the crop.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stitch.core.images import to_bytes
from stitch.methods.stit.losses import mouth

REACH = 4 / 256
"""Sigma of the blur of what the edit changed, as a share of the picture's side."""
TOLERANCE = 0.08
"""Change by the edit, of pictures in [-1,1], at which what was missed has faded to a third."""
_MISSED = 0.045
"""What was missed at the mouth, blurred alike, at which a change by the edit counts twice: what is not where the crop
has it cannot be laid over what moved."""
_SLACK = 0.06
"""How far the result may lie beyond both the edited picture and the source, of pictures in [-1,1]: texture."""
_EDGE = 4 / 256
"""Sigma of the blur inside the mask, the same way, over which what stays gives way to what is carried."""
_SMOOTH = 2 / 256
"""Sigma of the blur of the motion, the same way."""
_MOTION_PX = 256
"""Side of the pictures that motion is read from, at most; it is smooth, and larger ones would only cost time."""
_COARSEST_PX = 8


@dataclass(frozen=True, eq=False)
class Laid:
    """What is laid over a face.

    Attributes:
        missed: [B,3,S,S], what is added.
        source: c_i moved as that is, the same shape.
    """

    missed: Tensor
    source: Tensor

    def over(self, drawn: Tensor) -> Tensor:
        """Over e_i or s_i, [B,3,S,S]: it ends between that and the source, or little beyond.

        Where a head's outline moves, what was missed at it is out of place: twice as bright as all around.
        """
        low, high = torch.minimum(self.source, drawn) - _SLACK, torch.maximum(self.source, drawn) + _SLACK
        return (drawn + self.missed).clamp(low, high)


@torch.no_grad()
def laid(crops: Tensor, tuned: Tensor, edited: Tensor, mask: Tensor, share: float) -> Laid:
    """What is laid over the edited pictures: what tuning missed, inside the mask moved as the edit moves it.

    Args:
        crops: c_i, [B,3,S,S] in [-1,1].
        tuned: r_i, the same shape, what the tuned generator draws at the pivots.
        edited: e_i.
        mask: m_i, [B,1,S,S].
        share: of what was missed, 0 to 1; 0 gives zeros.
    Returns:
        What lies over e_i. An edit that changes nothing gets c_i - r_i, and with it the crop.
    """
    if share == 0:
        return Laid(torch.zeros_like(crops), crops)
    flow = motion(tuned, edited)
    there, drawn = (carried(pictures, flow) for pictures in (crops, tuned))
    moved = faded(there - drawn, weights(there, drawn, edited, share))
    around = (2 * blurred(1 - mask, _EDGE * mask.shape[-1])).clamp(max=1)
    return Laid(moved.lerp(share * (crops - tuned), around), there.lerp(crops, around))


@torch.no_grad()
def weights(crops: Tensor, tuned: Tensor, edited: Tensor, share: float) -> Tensor:
    """How much of what was missed a place keeps: exp(-(d / tolerance)^4 (1 + (m / missed)^2)), d the blurred change
    from r_i to e_i and m, at the mouth alone, that from c_i to r_i.

    So wrinkles that an edit took away stay away, and a mouth that it opened stays its own, the sooner the less exactly
    the tuned generator drew the one that was there.

    Args:
        crops: c_i, [B,3,S,S] in [-1,1], carried along or not.
        tuned: r_i, the same.
        edited: e_i, the same shape.
        share: 0 to 1.
    Returns:
        [B,1,S,S] in [0,1].
    """
    change, missed = (blurred((one - tuned).abs().mean(1, keepdim=True), REACH * tuned.shape[-1])
                      for one in (edited, crops))
    missed = missed * mouth(tuned.shape[-1]).to(missed)
    return share * torch.exp(-(change / TOLERANCE).pow(4) * (1 + (missed / _MISSED).square()))


@torch.no_grad()
def rested_on(crops: Tensor, tuned: Tensor, edited: Tensor, share: float) -> Tensor:
    """What an edited clip rests on, for studies: r_i with what it misses of the crops where the edit moves nothing.

    Args as `laid`; without a mask, for nothing is carried.
    """
    return tuned + faded(crops - tuned, weights(crops, tuned, edited, share))


def levels(weights: Tensor) -> np.ndarray:
    """Weights, [B,1,S,S] in [0,1], as stage 6 takes them: [B,S,S] uint8."""
    return (weights[:, 0] * 255).round().to(torch.uint8).cpu().numpy()


@torch.no_grad()
def motion(tuned: Tensor, edited: Tensor) -> Tensor:
    """Where in r_i each place of e_i comes from (dense inverse search, Kroeger et al. 2016).

    Args:
        tuned: r_i, [B,3,S,S] in [-1,1].
        edited: e_i, the same shape.
    Returns:
        [B,2,S,S], x and y of the way there as shares of the picture's side.
    """
    size = min(tuned.shape[-1], _MOTION_PX)
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    search.setFinestScale(0)
    found = []
    for pair in zip(*(to_bytes(_resized(one, size)) for one in (edited, tuned)), strict=True):
        after, before = (cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in pair)
        found.append(search.calc(after, before, None))  # type: ignore[call-overload]  # OpenCV's stub wants an array
    flow = torch.from_numpy(np.stack(found)).permute(0, 3, 1, 2).to(tuned) / size
    return _resized(blurred(flow, _SMOOTH * size), tuned.shape[-1])


def carried(pictures: Tensor, flow: Tensor) -> Tensor:
    """Pictures, [B,C,S,S], read where `motion` says; what lies outside is the border's."""
    size = pictures.shape[-1]
    at = (torch.arange(size, device=flow.device, dtype=flow.dtype) + 0.5) / size
    x, y = at + flow[:, 0], at[:, None] + flow[:, 1]
    grid = torch.stack((x, y), -1) * 2 - 1
    return F.grid_sample(pictures, grid, mode="bicubic", padding_mode="border", align_corners=False)


def faded(missed: Tensor, weights: Tensor) -> Tensor:
    """What was missed, each band of it by the weights at that band's scale.

    The bands are those of a Laplacian pyramid (Burt and Adelson 1983): where weights fall off, fine lines fade over a
    short way and tone over a long one, so that no edge shows.

    Args:
        missed: [B,3,S,S].
        weights: [B,1,S,S]; ones give `missed` itself, zeros give zeros.
    Returns:
        [B,3,S,S].
    """
    bands = []
    while missed.shape[-1] > _COARSEST_PX and missed.shape[-1] % 2 == 0:
        coarse = F.avg_pool2d(missed, 2)
        bands.append(weights * (missed - _resized(coarse, missed.shape[-1])))
        missed, weights = coarse, F.avg_pool2d(weights, 2)
    kept = weights * missed
    for band in reversed(bands):
        kept = _resized(kept, band.shape[-1]) + band
    return kept


def _resized(images: Tensor, size: int) -> Tensor:
    same = images.shape[-1] == size
    return images if same else F.interpolate(images, (size, size), mode="bilinear", antialias=size < images.shape[-1])


def blurred(images: Tensor, sigma_px: float) -> Tensor:
    """Gaussian blur, the border repeated; [B,C,S,S] -> the same."""
    radius = max(1, round(3 * sigma_px))
    places = torch.arange(-radius, radius + 1, device=images.device, dtype=images.dtype)
    taps = torch.exp(-(places / sigma_px).square() / 2)
    taps = (taps / taps.sum()).expand(images.shape[1], 1, -1)
    padded = F.pad(images, (radius,) * 4, mode="replicate")
    across = F.conv2d(padded, taps[:, :, None, :], groups=images.shape[1])
    return F.conv2d(across, taps[:, :, :, None], groups=images.shape[1])
