"""How long a step of a published direction is: measured by what it does to faces that the generator draws.

Published directions come without a calibration. StyleGAN2-FFHQ's W is this generator's too, so faces are drawn before
and after a move along the direction, the teachers read both, and the length is sought that moves the direction's own
attribute by `SHARE` of its spread.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from stitch.families.portrait.training import attributes, sets
from stitch.networks.mobilestylegan import MobileStyleGAN

SAME: Mapping[str, str] = {"pose": "yaw"}
"""Attributes of directions that are called otherwise."""

SHARE = 0.7
"""Standard deviations of its label that one step moves; a step of ours moves one (`directions.boundaries`)."""

ROUNDS = 2
_FIRST = 1.0
_BATCH = 8

Reader = Callable[[Tensor], Mapping[str, np.ndarray]]
"""Codes [N,D] -> [N] numbers by attribute."""


@dataclass(frozen=True)
class Step:
    """What one step of a direction is.

    Attributes:
        attribute: by which it is measured.
        length: in W.
        moves: standard deviations by which it moves each attribute, in the mean of a step either way.
    """

    attribute: str
    length: float
    moves: Mapping[str, float]


def readings(images: np.ndarray, labels: sets.Arrays) -> dict[str, np.ndarray]:
    """The attributes that need no parser, and the roll of the eyes' line in radians.

    Args:
        images: [N,S,S,3] uint8.
        labels: what the teachers see in them.
    """
    found = attributes.measured(images, labels, np.zeros((len(images), 1, 1), np.uint8))
    right, left = (labels["mesh"][:, list(corners)].mean(1) for corners in ((33, 133), (263, 362)))
    across, down = np.moveaxis(left - right, 1, 0)
    return {name: values for name, values in found.items() if name != "glasses"} | {"roll": np.arctan2(down, across)}


def spreads(readings: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Standard deviation of every attribute over random faces, a hundredth at either end drawn in."""
    found = {}
    for name, values in readings.items():
        known = values[np.isfinite(values)]
        found[name] = float(np.clip(known, *np.quantile(known, (0.005, 0.995))).std())
    return found


@torch.no_grad()
def pictures(generator: MobileStyleGAN, w: Tensor) -> np.ndarray:
    """Pictures of codes, [N,D] -> [N,R,R,3] uint8."""
    return np.concatenate([sets.to_bytes(generator(generator.broadcast(part))) for part in w.split(_BATCH)])


def step(name: str, vector: Tensor, w: Tensor, read: Reader, std: Mapping[str, float]) -> Step:
    """Seek the length of one step.

    Args:
        name: of the direction.
        vector: [D], of unit length.
        w: [N,D] codes of random faces.
        read: draws codes and reads the pictures.
        std: of each attribute over random faces.
    Returns:
        Its length is the one at which the attribute moves by `SHARE` of its std; what is said of the others was
        measured at the last length that was tried.
    Raises:
        ValueError: no attribute says what the direction does.
    """
    attribute = SAME.get(name, name)
    if attribute not in std:
        raise ValueError(f"{name}: got no attribute for it, expected one of {', '.join(std)}")
    length = _FIRST
    for _ in range(ROUNDS):
        tried = length
        ahead, behind = (read(w + sign * tried * vector) for sign in (1, -1))
        moves = {key: float(np.nanmean(ahead[key] - behind[key])) / 2 / std[key] for key in std}
        length = tried * SHARE / max(abs(moves[attribute]), SHARE / 4)
    return Step(attribute, length, {key: value * length / tried for key, value in moves.items()})
