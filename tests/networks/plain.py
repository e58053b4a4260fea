"""A generator of quite another make than StyleGAN2, for tests of what knows generators by their Protocol alone."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from stitch.core.records import Kind, LayerInfo, Noise
from stitch.networks.ending import Ending, shifted, step
from stitch.networks.stacking import Stack


class Stage(nn.Module):
    """Doubles the picture, filters every channel by itself, mixes channels; the style shifts what it mixes."""

    def __init__(self, width: int):
        super().__init__()
        self.each = nn.Parameter(torch.randn(width, 1, 3, 3) / 3)
        self.across = nn.Parameter(torch.randn(width, width, 1, 1) / width**0.5)
        self.lift = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        x = F.interpolate(x, scale_factor=2, mode="nearest")
        x = F.conv2d(x + style[:, :, None, None], self.each, padding=1, groups=len(self.each))
        return torch.tanh(F.conv2d(x, self.across) + self.lift[:, None, None])


class PlainGenerator(nn.Module):
    """No demodulation, no noise, no toRGB but one without a style, two codes a picture, none of StyleGAN2's names.

    Args:
        width: channels.
        doublings: R is 4 times two to this.
        code: D.
        random: Z.
    """

    def __init__(self, width: int = 6, doublings: int = 3, code: int = 5, random: int = 7):
        super().__init__()
        self.arguments: dict[str, Any] = {"width": width, "doublings": doublings, "code": code, "random": random}
        self.resolution, self.z_dim, self.w_dim, self.num_ws = 4 << doublings, random, code, doublings
        self.start = nn.Parameter(torch.randn(1, width, 4, 4))
        self.enter = nn.Linear(random, code)
        self.turn = nn.Parameter(torch.randn(doublings, width, code) / 2)
        self.stages = nn.ModuleList(Stage(width) for _ in range(doublings))
        self.colour = nn.Parameter(torch.randn(3, width, 1, 1) / 2)
        self.register_buffer("middle", torch.zeros(code))
        self.layers = [LayerInfo(f"stage {i}", width, True, i, i * width) for i in range(doublings)]

    @property
    def w_avg(self) -> Tensor:
        return self.middle

    def mapping(self, z: Tensor, psi: float = 1.0) -> Tensor:
        return self.middle.lerp(self.enter(z), psi)

    def broadcast(self, w: Tensor) -> Tensor:
        return w[:, None].expand(-1, self.num_ws, -1)

    def styles(self, ws: Tensor) -> list[Tensor]:
        return [code @ turn.T for code, turn in zip(ws.unbind(1), self.turn, strict=True)]

    def from_styles(self, styles: Sequence[Tensor], noise: Noise = "const", checkpointing: bool = False) -> Tensor:
        x = self.start.expand(len(styles[0]), -1, -1, -1)
        for stage, style in zip(self.stages, styles, strict=True):
            x = checkpoint(stage, x, style, use_reentrant=False) if checkpointing else stage(x, style)
        return F.conv2d(x, self.colour)

    def ending(self, styles: Sequence[Tensor], noise: Noise = "const", checkpointing: bool = False) -> Ending:
        x = self.start.expand(len(styles[0]), -1, -1, -1)
        with torch.no_grad():
            for stage, style in zip(self.stages[:-1], styles[:-1], strict=True):
                x = stage(x, style)
        last = step(self.stages[-1], checkpointing)
        return Ending(
            [tuple(x.shape)], lambda residuals: F.conv2d(last(shifted(x, residuals[0]), styles[-1]), self.colour)
        )

    def forward(self, ws: Tensor, noise: Noise = "const", checkpointing: bool = False) -> Tensor:
        return self.from_styles(self.styles(ws), noise, checkpointing)

    def kinds(self) -> dict[str, Kind]:
        kinds: dict[str, Kind] = {"start": "bias", "turn": "affine", "colour": "convolution"}
        for index in range(len(self.stages)):
            kinds |= {f"stages.{index}.each": "convolution", f"stages.{index}.across": "convolution",
                      f"stages.{index}.lift": "bias"}
        return kinds

    def stacked(self, frames: int) -> Stack:
        return Stack(self, frames)
