"""Between stages 2 and 3: pivots that an encoder found moved nearer to the crops, all of them together.

PTI's own projector optimises every code by itself, which the paper rejects: similar crops get distant pivots (section
3.2). Here all frames take the same step, and what single frames need beside it is interpolated between knots, so that
codes stay as smooth as the encoder's.
"""

import math
from collections.abc import Generator as Stage

import torch
from torch import Tensor

from stitch.core.events import Progress
from stitch.core.images import to_tensor
from stitch.core.records import Crops, Pivots
from stitch.families.family import Generator, Perceptual, Refinement
from stitch.methods.stit.losses import features_of, mean_squared_error, synthesised
from stitch.runtime.optimizer import knots, row_at
from stitch.runtime.precision import Passes

KNOT_EVERY = 6
"""Frames between two knots of the smooth part."""
PROBED = 6
"""Frames by which it is judged whether the steps helped."""
_L2_WEIGHT = 3.0
_SHARED_PENALTY, _FRAME_PENALTY = 2e-4, 2e-3


def refine(
    crops: Crops, pivots: Pivots, generator: Generator, perceptual: Perceptual, refinement: Refinement,
    passes: Passes,
) -> Stage[Progress, None, Pivots]:
    """Moves the pivots along the family's axes of W by Adam on 3 * MSE + perceptual distance (ours).

    Args:
        crops: c_i.
        pivots: w_i of the same frames, [N,L,D].
        generator: theta, before tuning.
        perceptual: distance of pictures.
        refinement: axes, steps and rates.
        passes: precision of the steps' passes.
    Yields:
        Progress in steps.
    Returns:
        New pivots, [N,L,D] on the CPU; the old ones where the steps did not help.
    Raises:
        ValueError: there are not as many pivots as crops.
    """
    frames = len(crops.images)
    if frames != len(pivots.w):
        raise ValueError(f"pivots: got {len(pivots.w)}, expected one per crop ({frames})")
    device = next(generator.parameters()).device
    start, basis = pivots.w.to(device), refinement.basis.to(device)
    weights = knots(frames, KNOT_EVERY).to(device)
    shared = torch.zeros(len(basis), device=device, requires_grad=True)
    single = torch.zeros(weights.shape[1], len(basis), device=device, requires_grad=True)
    adam = torch.optim.Adam(
        [{"params": [shared], "lr": refinement.shared_rate}, {"params": [single], "lr": refinement.frame_rate}],
        betas=(0.9, 0.95),
    )
    highest = [group["lr"] for group in adam.param_groups]

    def codes(rows: Tensor) -> Tensor:
        return start[rows] + ((shared + weights[rows] @ single) @ basis)[:, None]

    def distance(rows: Tensor) -> Tensor:
        targets = to_tensor(crops.images[rows.tolist()]).to(device)
        drawn = synthesised(generator, codes(rows), passes)
        with torch.no_grad():
            wanted = features_of(perceptual, targets, passes.precision)
        distances = perceptual.distance(features_of(perceptual, drawn, passes.precision), wanted)
        return _L2_WEIGHT * mean_squared_error(drawn, targets) + distances

    probed = torch.linspace(0, frames - 1, min(PROBED, frames)).round().long()

    @torch.no_grad()
    def judged() -> float:
        return float(torch.cat([distance(row[None]) for row in probed]).mean())

    before = judged()
    for step in range(refinement.steps):
        for group, rate in zip(adam.param_groups, highest, strict=True):
            group["lr"] = rate * _share(step, refinement.steps)
        with torch.enable_grad():
            penalty = _SHARED_PENALTY * shared.square().sum() + _FRAME_PENALTY * single.square().sum(1).mean()
            loss = distance(torch.tensor([row_at(step, frames)])).mean() + penalty
            adam.zero_grad()
            loss.backward()
        adam.step()
        yield Progress("invert", step + 1, refinement.steps, "step")
    if judged() >= before:
        return pivots
    with torch.no_grad():
        return Pivots(codes(torch.arange(frames)).cpu())


def _share(step: int, steps: int) -> float:
    """A tenth of the steps to rise, then a cosine down."""
    rise = max(1, steps // 10)
    if step < rise:
        return (step + 1) / rise
    return (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise))) / 2
