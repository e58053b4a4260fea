"""Equations 1 to 4. Every distance is per sample, [B], so that frames tuned side by side never mix."""

from typing import Literal

import torch
from torch import Tensor

Distance = Literal["l1", "l2"]


def mean_squared_error(images: Tensor, targets: Tensor) -> Tensor:
    """L2 term of equation 1, one value per frame.

    Args:
        images: r_i, [B,3,S,S] in [-1,1].
        targets: c_i, the same shape.
    Returns:
        [B], mean over channels and pixels.
    """
    return (images - targets).square().flatten(1).mean(1)


def tuning_loss(l2: Tensor, lpips: Tensor, l2_weight: float, lpips_weight: float) -> Tensor:
    """Equation 1 without its regulariser: the mean over the frames of a step.

    Args:
        l2: `mean_squared_error`, [B].
        lpips: LPIPS distances, [B].
        l2_weight, lpips_weight: 10 and 1 in the paper.
    Returns:
        Scalar.
    """
    return (l2_weight * l2 + lpips_weight * lpips).mean()


def locality_codes(pivots: Tensor, samples: Tensor, alpha: float) -> Tensor:
    """Codes at which the regulariser L_R of equation 1 holds the generator in place (Roich et al. 2021, section 3.3).

    w_int = w_pivot + alpha * (w_r - w_pivot) / |w_r - w_pivot|. The norm is the whole code's, as in the authors' code.

    Args:
        pivots: w_i, [B,L,D].
        samples: w_r, mapped random vectors broadcast to every layer, [B,L,D].
        alpha: distance from the pivot (30).
    Returns:
        w_int, [B,L,D]; the pivot itself where sample and pivot coincide.
    """
    towards = samples - pivots
    length = towards.flatten(1).norm(dim=1).view(-1, 1, 1)
    return pivots + alpha * towards / torch.where(length > 0, length, 1)


def masked_distance(first: Tensor, second: Tensor, mask: Tensor, distance: Distance = "l1") -> Tensor:
    """Distance of two pictures inside a mask, over the mask's area (norms of equations 2 and 3).

    The area counts pixels, not channels, as in the authors' code: the value is three times the mean over channels. The
    mask multiplies before the norm, so soft values count squared under L2.

    Args:
        first, second: [B,3,S,S] in [-1,1].
        mask: [B,1,S,S] in [0,1].
        distance: "l1" is the paper's, "l2" (squared) the code's.
    Returns:
        [B]; zero, with zero gradient, where the mask is empty (the code gives NaN).
    Raises:
        ValueError: distance is neither.
    """
    residual = (first - second) * mask
    if distance == "l1":
        total = residual.abs().flatten(1).sum(1)
    elif distance == "l2":
        total = residual.square().flatten(1).sum(1)
    else:
        raise ValueError(f"distance: got {distance!r}, expected 'l1' or 'l2'")
    area = mask.flatten(1).sum(1)
    return total / torch.where(area > 0, area, 1)


def stitching_losses(
    stitched: Tensor, crops: Tensor, edited: Tensor, mask: Tensor, boundary: Tensor, distance: Distance = "l1"
) -> tuple[Tensor, Tensor]:
    """The two halves of stitching tuning: L_b (equation 2) and L_m (equation 3). Equation 4 is L_b + lambda_m * L_m.

    Args:
        stitched: s_i, [B,3,S,S] in [-1,1].
        crops: c_i, what the ring around the face should be.
        edited: e_i before stitching, what the face should stay.
        mask: m_i, [B,1,S,S].
        boundary: b_i, [B,1,S,S].
        distance: "l1" is the paper's, "l2" (squared) the code's.
    Returns:
        L_b and L_m, each [B].
    """
    return (
        masked_distance(stitched, crops, boundary, distance),
        masked_distance(stitched, edited, mask, distance),
    )
