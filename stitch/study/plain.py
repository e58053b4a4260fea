"""The paper's two tunings at their plainest (sections 3.2 and 3.4), as a reference for time and quality: one frame a
step, autograd, PyTorch's own Adam at a constant rate, frame after frame. Nothing here is fast, nothing edits with it.

L_R is left out, as in the authors' code: with it a step of PTI draws three pictures instead of one.
"""

import copy
from collections.abc import Generator as Stage
from typing import cast

import torch
from torch import Tensor

from stitch.core.events import Progress
from stitch.core.settings import CONTENT_WEIGHT
from stitch.families.family import Generator, Perceptual
from stitch.methods.stit.losses import mean_squared_error, stitching_losses, tuning_loss
from stitch.methods.stit.stitching import Target

EPOCHS, STEPS = 80, 100
"""Section 4: how often PTI sees each frame, and steps of stitching a frame."""


def tune(
    generator: Generator, pivots: Tensor, crops: Tensor, perceptual: Perceptual, rate: float
) -> Stage[Progress, None, Generator]:
    """Equation 1.

    Args:
        generator: theta; it is left as it is.
        pivots: w_i, [N,L,D].
        crops: c_i, [N,3,S,S] in [-1,1].
        perceptual: LPIPS.
        rate: of Adam (paper: 3e-5).
    Yields:
        Progress in steps.
    Returns:
        theta_p, frozen.
    """
    tuned, adam = _copy(generator, rate)
    for step in range(EPOCHS * len(crops)):
        row = slice(step % len(crops), step % len(crops) + 1)
        with torch.enable_grad():
            drawn = tuned(pivots[row])
            distance = perceptual.distance(perceptual.features(drawn), perceptual.features(crops[row]))
            loss = tuning_loss(mean_squared_error(drawn, crops[row]), distance, 10.0, 1.0)
        adam.zero_grad()
        loss.backward()
        adam.step()
        yield Progress("plain tuning", step + 1, EPOCHS * len(crops), "step")
    return tuned.requires_grad_(False)


def stitch(
    generator: Generator, target: Target, rate: float, content_weight: float = CONTENT_WEIGHT
) -> Stage[Progress, None, Tensor]:
    """Equation 4, each frame from theta_p.

    Args:
        generator: theta_p; it is left as it is.
        target: of all frames, with codes in W+.
        rate: of Adam (paper: 3e-4).
        content_weight: lambda_m.
    Yields:
        Progress in steps.
    Returns:
        s_i, [N,3,S,S].
    """
    codes, crops, regions = cast(Tensor, target.codes), target.crops, target.regions
    stitched = crops.clone()
    for row in range(len(crops)):
        one = slice(row, row + 1)
        own, adam = _copy(generator, rate)
        for step in range(STEPS):
            with torch.enable_grad():
                border, content = stitching_losses(
                    own(codes[one]), crops[one], target.edited[one], regions.mask[one], regions.boundary[one]
                )
                loss = (border + content_weight * content).sum()
            adam.zero_grad()
            loss.backward()
            adam.step()
            yield Progress("plain stitching", row * STEPS + step + 1, len(crops) * STEPS, "step")
        with torch.no_grad():
            stitched[one] = own(codes[one])
    return stitched


def _copy(generator: Generator, rate: float) -> tuple[Generator, torch.optim.Adam]:
    """A generator of its own and Adam on all that the paper tunes."""
    own = copy.deepcopy(generator).requires_grad_(False)
    weights = dict(own.named_parameters())
    return own, torch.optim.Adam([weights[name].requires_grad_(True) for name in own.kinds()], lr=rate)
