"""Pivots by optimisation: PTI's first step, of each picture by itself (Roich et al. 2021, section 3.1)."""

import math
import zlib
from typing import cast

import torch
from torch import Tensor, nn

from stitch.families.family import Generator, Perceptual

STEPS = 450
"""Of Adam for each picture (Roich et al., section 4)."""

_LEARNING_RATE = 5e-3  # at these steps; fewer are to come as far
_RISE, _FALL = 0.05, 0.25
_WANDER, _WANDERING = 0.05, 0.75
_SAMPLES = 2000
_AT_ONCE = 1000


class Projector(nn.Module):
    """In an encoder's place: the code in W whose picture is nearest to a crop by LPIPS.

    As the projector of StyleGAN2 (Karras et al. 2020, appendix D), which PTI takes: Adam from the mean code, a rate
    that rises over the first twentieth of the steps and falls by a cosine over the last quarter, and noise on the code
    that fades over three quarters, of 0.05 times the std of codes at first. Its maps of noise are held as they are
    stored, where PTI moves them too and keeps them white: our generators need not have any.

    Args:
        generator: theta, at the size of the crops.
        perceptual: LPIPS.
        steps: of Adam for each picture.
        seed: of the noise, which is another one for every picture.
    """

    recipe: Tensor

    def __init__(self, generator: Generator, perceptual: Perceptual, steps: int = STEPS, seed: int = 0):
        super().__init__()
        if steps < 1:
            raise ValueError(f"steps: got {steps}, expected 1 or more")
        self.generator = cast(nn.Module, generator)
        self.perceptual = perceptual
        self.steps, self.seed = steps, seed
        # A run's identity is the hash of what networks hold.
        self.register_buffer("recipe", torch.tensor([float(steps), float(seed)]))

    def forward(self, crops: Tensor) -> Tensor:
        """[B,3,R,R] aligned faces in [-1,1] -> [B,L,D], one code for all layers."""
        generator = cast(Generator, self.generator)
        spread = _spread(generator)
        return torch.cat([self._projected(generator, crop[None], spread) for crop in crops])

    @torch.enable_grad()
    def _projected(self, generator: Generator, crop: Tensor, spread: float) -> Tensor:
        rng = torch.Generator().manual_seed(self.seed + zlib.crc32(crop.cpu().numpy().tobytes()))
        with torch.no_grad():
            wanted = self.perceptual.features(crop)
        code = generator.w_avg[None].clone().requires_grad_(True)
        adam = torch.optim.Adam([code], betas=(0.9, 0.999))
        for step in range(self.steps):
            share = step / self.steps
            adam.param_groups[0]["lr"] = _LEARNING_RATE * STEPS / self.steps * _rate_share(share)
            away = spread * _WANDER * max(0.0, 1 - share / _WANDERING) ** 2
            noise = away * torch.randn(code.shape, generator=rng).to(code)
            drawn = generator(generator.broadcast(code + noise))
            distance = self.perceptual.distance(self.perceptual.features(drawn), wanted).sum()
            adam.zero_grad()
            distance.backward()
            adam.step()
        return generator.broadcast(code.detach())


def _rate_share(share: float) -> float:
    """Share of the learning rate at a share of the steps."""
    falling = min(1.0, (1 - share) / _FALL)
    return (0.5 - 0.5 * math.cos(math.pi * falling)) * min(1.0, share / _RISE + 1e-2)


@torch.no_grad()
def _spread(generator: Generator) -> float:
    """Root mean square of a code's distance from the mean code."""
    z = torch.randn(_SAMPLES, generator.z_dim, generator=torch.Generator().manual_seed(0)).to(generator.w_avg)
    w = torch.cat([generator.mapping(part) for part in z.split(_AT_ONCE)])
    return float((w - generator.w_avg).square().sum(1).mean().sqrt())
