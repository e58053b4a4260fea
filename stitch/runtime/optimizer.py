"""How fast tuning moves each kind of weight, and how its rate falls."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor
from torch.optim import Adam, Optimizer

from stitch.core.records import Kind
from stitch.core.settings import StitchingSettings, TuneSettings
from stitch.runtime.precision import Passes

S = TypeVar("S", TuneSettings, StitchingSettings)


@dataclass(frozen=True)
class Rates:
    """What a family wants of Adam in one of the two tunings. The defaults beside `learning_rate` are the paper's.

    StyleGAN2 stores the weights of convolutions enlarged, so that a step of Adam moves them by little (its "equalized
    learning rate"); biases and the learned constant are stored as they are and move by much more at the same rate. At
    the paper's rates nobody sees that. Small networks need rates a hundred times as large.

    Attributes:
        learning_rate: Adam's step.
        biases: share of it for biases, noise strengths and the constant.
        affine: share for the layers that turn codes into styles; 0 leaves them as they are. They scale whole channels,
            that is, they move the face with the seam.
        pivot: share for what moves pivots along the axes of W, in std of faces; 0 holds them still.
        at_rms: root mean square of weights that move by the rate; larger ones move by more, with the square root of
            theirs, as where a network's weights are stored at sizes a hundred times apart. None moves all alike.
        rise: share of the steps, at the start, over which the rate rises; Adam's first steps move every weight by a
            whole rate, whatever its gradient.
        settle: share of the steps, at the end, over which the rate falls to nothing.
        betas: how long Adam remembers.
    """

    learning_rate: float
    biases: float = 1.0
    affine: float = 1.0
    pivot: float = 0.0
    at_rms: float | None = None
    rise: float = 0.0
    settle: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)

    def share(self, kind: Kind) -> float:
        """Share of the learning rate for a parameter of this kind."""
        shares = {"bias": self.biases, "affine": self.affine, "pivot": self.pivot, "convolution": 1.0, "feature": 1.0}
        return shares[kind]

    def share_of(self, kind: Kind, weight: Tensor) -> float:
        """The same for one parameter, as large as it is by now."""
        share = self.share(kind)
        if self.at_rms is None or share == 0:
            return share
        rms = float(weight.detach().square().mean().sqrt())
        return share * math.sqrt(max(1.0, rms / self.at_rms))


PAPER_TUNING, PAPER_STITCHING = Rates(3e-5), Rates(3e-4)
"""Section 4, of StyleGAN2 at 1024 px."""


@dataclass(frozen=True)
class Recipe(Generic[S]):
    """All that a tuning loop is told beside its pictures and networks.

    Attributes:
        settings: of its stage.
        rates: of Adam.
        passes: of the networks.
        seed: of what is random.
    """

    settings: S
    rates: Rates
    passes: Passes = Passes()
    seed: int = 0

    @classmethod
    def of(cls, settings: S, rates: Rates, passes: Passes, seed: int = 0) -> "Recipe[S]":
        """With the family's rates, but the settings' learning rate where they have one."""
        rates = replace(rates, learning_rate=settings.learning_rate or rates.learning_rate)
        return cls(settings, rates, passes, seed)


def optimizer(parameters: Iterable[tuple[Kind, Tensor]], rates: Rates) -> Adam:
    """Adam over the parameters that move.

    Args:
        parameters: each with its kind; those with a share of 0 are left out.
        rates: of all of them.
    Returns:
        Fused Adam at the rates of the first step.
    """
    shares: dict[float, list[Tensor]] = {}
    for kind, parameter in parameters:
        shares.setdefault(rates.share_of(kind, parameter), []).append(parameter)
    groups = [
        {"params": moving, "lr": rates.learning_rate * share, "share": share}
        for share, moving in shares.items()
        if share > 0
    ]
    return Adam(groups, lr=rates.learning_rate, betas=rates.betas, fused=True)


def set_rates(optimizer: Optimizer, rates: Rates, step: int, steps: int) -> None:
    """Adam's rates for a step of a tuning.

    Args:
        optimizer: of `optimizer`.
        rates: the same.
        step: counted from 0.
        steps: of the whole tuning.
    """
    group: dict[str, Any]
    for group in optimizer.param_groups:
        group["lr"] = rates.learning_rate * group["share"] * rate_share(step, steps, rates)


def rate_share(step: int, steps: int, rates: Rates) -> float:
    """Share of the learning rate that a step takes: linearly up, all of it, then linearly down to nothing.

    Adam at a constant rate keeps every weight trembling by about one rate; small networks need large rates, and their
    pictures tremble visibly unless the last steps settle them (ours; the paper's rate is constant).

    Args:
        step: counted from 0.
        steps: of the whole tuning.
        rates: `rise` and `settle` of them.
    Returns:
        In (0, 1].
    """
    risen = (step + 1) / (rates.rise * steps) if rates.rise > 0 else 1.0
    falling = (steps - step) / (rates.settle * steps) if rates.settle > 0 else 1.0
    return min(1.0, risen, falling)


def row_at(step: int, rows: int) -> int:
    """The frame that a step takes where there are fewer steps than it takes to see every frame many times.

    Multiples of the golden section: at any step all that was seen lies evenly over the clip, and steps near each other
    see frames far apart.

    Args:
        step: counted from 0.
        rows: how many frames there are, at least 1.
    Returns:
        0 to `rows` - 1.
    """
    return int(step * (math.sqrt(5) - 1) / 2 % 1 * rows)


def knots(frames: int, every: int) -> Tensor:
    """How each frame mixes what is learned for knots in time: linearly, between the two next to it.

    Args:
        frames: N, at least 1.
        every: frames from knot to knot, or a little less.
    Returns:
        [N,M] float32, rows that add up to one.
    """
    count = max(1, math.ceil((frames - 1) / every) + 1)
    places = torch.linspace(0, count - 1, frames) if frames > 1 else torch.zeros(1)
    return (1 - (places[:, None] - torch.arange(count)).abs()).clamp_min(0)
