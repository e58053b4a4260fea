"""LPIPS (Zhang et al. 2018, arXiv 1801.03924) in two halves, over AlexNet or over a slim network of the same make."""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import stitch.networks.torchvision_shim  # noqa: F401  (before lpips, which imports torchvision)
from stitch.core.errors import WeightsError
from stitch.networks.formats.checkpoints import freeze, load_checkpoint, load_strictly

# isort: split
import lpips
import lpips.pretrained_networks

# Mean and std of ImageNet's pictures on the scale [-1,1]; constants of LPIPS.
_SHIFT = (-0.030, -0.088, -0.188)
_SCALE = (0.458, 0.448, 0.450)
_EPSILON = 1e-10


class Perceptual(nn.Module):
    """Distance of images as the weighted distance of a network's features.

    Args:
        taps: stages of the network; each reads the one before, and the features behind each count.
        channels: of each stage's features.
    Attributes:
        linear: one [C] per stage, non-negative weights of the channels ("lin" in the paper); ones at first.
    Raises:
        ValueError: not one number of channels per stage.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, taps: Iterable[nn.Module], channels: Sequence[int]):
        super().__init__()
        self.taps = nn.ModuleList(taps)
        if len(self.taps) != len(channels):
            raise ValueError(f"channels: got {len(channels)}, expected one per stage ({len(self.taps)})")
        self.channels = tuple(channels)
        self.linear = nn.ParameterList(torch.ones(count) for count in channels)
        self.register_buffer("shift", torch.tensor(_SHIFT)[:, None, None])
        self.register_buffer("scale", torch.tensor(_SCALE)[:, None, None])

    @classmethod
    def slim(cls, channels: Sequence[int]) -> "Perceptual":
        """A small trunk: one 3x3 convolution of stride 2 and ReLU per stage, untrained.

        Args:
            channels: of each stage's features.
        """
        inputs = (3, *channels[:-1])
        stages = [
            nn.Sequential(nn.Conv2d(before, after, 3, stride=2, padding=1), nn.ReLU())
            for before, after in zip(inputs, channels, strict=True)
        ]
        return cls(stages, channels)

    @classmethod
    def from_lpips_alex(cls, state: Mapping[str, Tensor], linear: Mapping[str, Tensor] | None = None) -> "Perceptual":
        """LPIPS-Alex, version 0.1.

        Args:
            state: torchvision's AlexNet ("features.N.weight"); its classifier is left out.
            linear: weights of the channels ("linN.model.1.weight"); None takes those inside the lpips package.
        Returns:
            The distance, frozen, on the CPU.
        Raises:
            WeightsError: another network's weights.
        """
        # Built on no device and filled here: the package would fetch weights, or fill 61 million at random.
        with torch.device("meta"), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            alexnet = lpips.pretrained_networks.alexnet(pretrained=False)
        stages = [stage.to_empty(device="cpu") for stage in alexnet.children()]
        features = {key: tensor for key, tensor in state.items() if key.startswith("features.")}
        renamed = {}
        for number, stage in enumerate(stages):
            for key in stage.state_dict():
                if f"features.{key}" not in features:
                    raise WeightsError(
                        f"AlexNet: features.{key} is missing; use torchvision's alexnet-owt-7be5be79.pth"
                    )
                renamed[f"{number}.{key}"] = features.pop(f"features.{key}")
        if features:
            raise WeightsError(f"AlexNet: {min(features)} is not of this network; use alexnet-owt-7be5be79.pth")
        load_strictly(nn.Sequential(*stages), renamed, "AlexNet")
        linear = (
            load_checkpoint(Path(lpips.__file__).parent / "weights" / "v0.1" / "alex.pth") if linear is None else linear
        )
        weights = {f"{key[3]}": tensor.flatten() for key, tensor in linear.items()}
        distance = cls(stages, [weight.numel() for _, weight in sorted(weights.items())])
        load_strictly(distance.linear, weights, "LPIPS linear weights")
        return freeze(distance)

    @classmethod
    def from_arguments(cls, channels: Sequence[int]) -> "Perceptual":
        """A slim network of the sizes that `arguments` gives."""
        return cls.slim(channels)

    @property
    def arguments(self) -> dict[str, Any]:
        """Sizes of a slim network, for files; AlexNet's weights have files of their own."""
        return {"channels": self.channels}

    def features(self, images: Tensor) -> list[Tensor]:
        """First half: what does not change while an image is compared again and again.

        Args:
            images: [B,3,S,S] in [-1,1].
        Returns:
            Per stage [B,C,h,w], of unit length at each pixel.
        """
        x = (images - self.shift) / self.scale
        features = []
        for tap in self.taps:
            x = tap(x)
            # Where no channel is alive the square root has no slope: the floor keeps its gradient from becoming NaN.
            length = x.square().sum(1, keepdim=True).clamp_min(_EPSILON**2).sqrt()
            features.append(x / (length + _EPSILON))
        return features

    def distance(self, first: Sequence[Tensor], second: Sequence[Tensor]) -> Tensor:
        """Second half.

        Args:
            first, second: from `features`, of equally large images; a batch of one is compared with every other.
        Returns:
            LPIPS, [B].
        Raises:
            ValueError: not one entry per stage.
        """
        if len(first) != len(self.taps) or len(second) != len(self.taps):
            raise ValueError(f"features: got {len(first)} and {len(second)} stages, expected {len(self.taps)}")
        return torch.stack(self.distances(first, second)).sum(0)

    def distances(self, first: Sequence[Tensor], second: Sequence[Tensor]) -> list[Tensor]:
        """As `distance`, stage by stage: their sum is LPIPS."""
        return [
            (one - other).square().mean((2, 3)) @ weight
            for one, other, weight in zip(first, second, self.linear, strict=True)
        ]

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """LPIPS of [B,3,S,S] images in [-1,1], [B]."""
        return self.distance(self.features(first), self.features(second))
