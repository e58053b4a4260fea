"""The encoder: an aligned face to one code w, which the generator repeats for all its layers.

One code a frame is what the generator learnt with, what published directions were found in, and smooth along a clip by
nature. The encoder answers in the basis in which W's samples are uncorrelated and of unit variance.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stitch.networks.efficientnet import LITE0, LITE0_STEM, EfficientNetLite, Stage


class LatentSpace(nn.Module):
    """Mean and principal axes of W.

    Args:
        style_dim: D.
        rank: axes that are kept, the strongest first; None keeps all D.
    """

    mean: Tensor
    axes: Tensor
    deviation: Tensor

    def __init__(self, style_dim: int, rank: int | None = None):
        super().__init__()
        rank = style_dim if rank is None else rank
        self.register_buffer("mean", torch.zeros(style_dim))
        self.register_buffer("axes", torch.eye(style_dim)[:rank])
        self.register_buffer("deviation", torch.ones(rank))

    @classmethod
    def of(cls, w: Tensor, rank: int | None = None) -> "LatentSpace":
        """The space of some samples, [N,D]."""
        space = cls(w.shape[1], rank)
        mean = w.double().mean(0)
        centred = w.double() - mean
        values, vectors = torch.linalg.eigh(centred.T @ centred / len(w))
        space.mean.copy_(mean)
        space.axes.copy_(vectors.flip(1).T[: len(space.axes)])
        space.deviation.copy_(values.flip(0)[: len(space.axes)].clamp_min(1e-12).sqrt())
        return space

    def whiten(self, w: Tensor) -> Tensor:
        """Codes [...,D] to uncorrelated coordinates of unit variance, [...,K]."""
        return (w - self.mean) @ self.axes.T / self.deviation

    def forward(self, coordinates: Tensor) -> Tensor:
        """Coordinates [...,K] to codes, [...,D]."""
        return self.mean + (coordinates * self.deviation) @ self.axes


class FaceEncoder(nn.Module):
    """EfficientNet-Lite and one linear layer over all places of its last features.

    Args:
        size: side in px to which crops are reduced, a multiple of 32.
        style_dim: D, length of a code.
        stem, stages: of the trunk.
        width: channels per place that the linear layer reads.
    """

    def __init__(
        self,
        size: int = 128,
        style_dim: int = 512,
        stem: int = LITE0_STEM,
        stages: Sequence[Stage] = LITE0,
        width: int = 192,
    ):
        super().__init__()
        self.size = size
        self.style_dim = style_dim
        self.width = width
        self.stem_width = stem
        self.stage_list = [Stage(*stage) if not isinstance(stage, Stage) else stage for stage in stages]
        self.trunk = EfficientNetLite(stem, self.stage_list)
        stride = 2 * math.prod(stage.stride for stage in self.stage_list)
        self.reduce = nn.Conv2d(self.trunk.channels[-1], width, 1)
        self.linear = nn.Linear(width * (size // stride) ** 2, style_dim)
        nn.init.normal_(self.linear.weight, std=0.3 / math.sqrt(self.linear.in_features))
        nn.init.zeros_(self.linear.bias)
        self.space = LatentSpace(style_dim)

    @property
    def arguments(self) -> dict[str, Any]:
        """What the constructor was given, for files."""
        return {
            "size": self.size,
            "style_dim": self.style_dim,
            "stem": self.stem_width,
            "stages": [list(vars(stage).values()) for stage in self.stage_list],
            "width": self.width,
        }

    def features(self, crops: Tensor) -> Tensor:
        """What the linear layer reads.

        Args:
            crops: [B,3,R,R] in [-1,1], by FFHQ's rule, R at least `size`.
        Returns:
            [B,K].
        """
        if crops.shape[-1] != self.size:
            crops = F.interpolate(crops, size=(self.size, self.size), mode="area")
        return F.leaky_relu(self.reduce(self.trunk(crops)[-1]), 0.2).flatten(1)

    def coordinates(self, crops: Tensor) -> Tensor:
        """Aligned faces in whitened coordinates; [B,3,R,R] in [-1,1] -> [B,D]."""
        return self.linear(self.features(crops))

    def forward(self, crops: Tensor) -> Tensor:
        """[B,3,R,R] aligned faces in [-1,1] -> w, [B,D]."""
        return self.space(self.coordinates(crops))
