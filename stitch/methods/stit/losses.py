"""Equations 1 to 4, and the passes of networks that they compare.

Every distance is per sample, [B], so that frames tuned side by side never mix.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from stitch.core.records import Noise
from stitch.families.family import Perceptual, Synthesis
from stitch.runtime.precision import Passes, Settled, forward_pass

Distance = Literal["l1", "l2"]

_FEATURES = ((0.375, 0.4725, 0.045), (0.625, 0.4725, 0.045), (0.5, 0.7475, 0.063))
"""Eyes and mouth, x, y and sigma as shares of the crop's side."""


def mean_squared_error(images: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
    """L2 term of equation 1, one value per frame.

    Args:
        images: r_i, [B,3,S,S] in [-1,1].
        targets: c_i, the same shape.
        weights: of the pixels, [S,S]; None weighs all alike, as the paper does.
    Returns:
        [B], mean over channels and pixels.
    """
    squares = (images - targets).square()
    return (squares if weights is None else squares * weights).flatten(1).mean(1)


def feature_weights(size: int, more: float) -> Tensor:
    """Weights that raise the eyes and the mouth, by where the alignment puts them.

    A crop is four times as wide as the eyes are apart, or 3.6 times as high as they are above the mouth, whichever is
    more, and centred a tenth of that height below the eyes (section 3.1's alignment, FFHQ's).

    Args:
        size: S, side of the crops, px.
        more: weight at their middles, beyond the 1 that all else has.
    Returns:
        [S,S] float32.
    """
    return 1 + more * sum((_around(size, *feature) for feature in _FEATURES), torch.zeros(size, size))


def mouth(size: int) -> Tensor:
    """Where the alignment puts the mouth: one there, falling to nothing around it; [S,S] float32."""
    return (3 * _around(size, *_FEATURES[-1])).clamp(max=1)


def _around(size: int, x: float, y: float, sigma: float) -> Tensor:
    at = (torch.arange(size) + 0.5) / size
    return torch.exp(-((at - x).square() + (at[:, None] - y).square()) / (2 * sigma**2))


def synthesised(
    generator: Synthesis, codes: Tensor | Sequence[Tensor], passes: Passes, noise: Noise = "const"
) -> Tensor:
    """What a generator draws, float32 whatever the passes' precision.

    Args:
        generator: theta, or one set of weights a frame.
        codes: [B,L,D], or one [B,C_l] style per layer.
        passes: precision, and what is kept for the way back.
        noise: as the generator takes it.
    Returns:
        [B,3,S,S].
    """
    first = codes if isinstance(codes, Tensor) else codes[0]
    with forward_pass(passes.precision, first.device):
        if isinstance(codes, Tensor):
            return generator(codes, noise, passes.checkpointing).float()
        return generator.from_styles(codes, noise, passes.checkpointing).float()


def features_of(perceptual: Perceptual, images: Tensor, precision: Settled) -> list[Tensor]:
    """What the perceptual distance compares, float32 whatever the precision of the pass; [B,3,S,S] -> one a depth."""
    with forward_pass(precision, images.device):
        return [tap.float() for tap in perceptual.features(images)]


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
