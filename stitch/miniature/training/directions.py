"""Sliders and text relevance of the miniature generator, by the published procedures.

InterFaceGAN (Shen et al. 2020, arXiv 2005.09635): label samples, fit a linear boundary in W for each attribute, and
project out of its normal what would move the other attributes ("conditional manipulation", section 3.3). The label of
a sample is what was drawn for its z. StyleCLIP (Patashnik et al. 2021, arXiv 2103.17249, section 6): move one style
channel at a time by some of its standard deviations and see how CLIP's picture embedding moves.
"""

from collections.abc import Callable
from collections.abc import Generator as Yielding
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from stitch.events import Progress
from stitch.miniature.faces import FACTORS, factors_from_z
from stitch.miniature.sliders import SLIDERS
from stitch.networks.stylegan2 import Generator

KEPT = tuple(name for name in FACTORS if name != "roll")
"""What a slider must not move besides its own factor."""


@torch.no_grad()
def boundaries(generator: Generator, samples: int, seed: int, ridge: float = 1e-3) -> dict[str, tuple[Tensor, float]]:
    """Disentangled directions in W.

    Args:
        generator: the miniature generator.
        samples: how many z are labelled.
        seed: of the z.
        ridge: share of the mean variance added to the least-squares fit.
    Returns:
        For each slider a unit vector [D] and the length in W that moves its label by one standard unit.
    """
    z = torch.randn(samples, generator.z_dim, generator=torch.Generator().manual_seed(seed))
    w = torch.cat([generator.mapping(part) for part in z.split(4096)]).double()
    labels = torch.from_numpy(factors_from_z(z.numpy())).double()
    w = w - w.mean(0)
    labels = labels - labels.mean(0)
    kept = [FACTORS.index(name) for name in KEPT]
    # Normals of all boundaries at once: ridge regression of the labels on w.
    covariance = w.T @ w / samples
    damping = ridge * covariance.diagonal().mean() * torch.eye(len(covariance), dtype=torch.float64)
    normals = torch.linalg.solve(covariance + damping, w.T @ labels[:, kept] / samples).T
    found = {}
    for slider in SLIDERS:
        name = slider.name
        row = KEPT.index(name)
        others = torch.cat([normals[:row], normals[row + 1 :]])
        # Conditional manipulation: of all moves that leave the other scores alone, the one that stays closest to the
        # cloud of codes (metric of the covariance), so that pictures stay in the domain.
        metric = covariance + damping
        step = metric @ normals[row]
        basis = metric @ others.T
        step = step - basis @ torch.linalg.solve(others @ basis, others @ step)
        gain = normals[row] @ step
        found[name] = ((step / step.norm()).float(), float(step.norm() / gain))
    return found


def relevance(
    generator: Generator,
    encode_image: Callable[[Tensor], Tensor],
    samples: int,
    seed: int,
    alpha: float = 5.0,
    chunk: int = 32,
) -> Yielding[Progress, None, tuple[Tensor, Tensor]]:
    """Channel relevance delta_i_c and the spread of every style channel (StyleCLIP, section 6).

    Args:
        generator: any StyleGAN2.
        encode_image: [B,3,R,R] in [-1,1] -> [B,K] CLIP embeddings.
        samples: pictures per channel (the paper's 100).
        alpha: how far a channel is moved, in its standard deviations (the paper's 5).
    Returns:
        (relevance [channels,K], spread [channels]) of all convolutions.
    """
    rng = torch.Generator().manual_seed(seed)
    layers = [index for index, layer in enumerate(generator.layers) if layer.is_conv]
    with torch.no_grad():
        w = generator.mapping(torch.randn(2048, generator.z_dim, generator=rng))
        spread = [style.std(0) for style in generator.styles(generator.broadcast(w))]
        base = [style[:samples] for style in generator.styles(generator.broadcast(w[:samples]))]
    total = sum(generator.layers[index].dimension for index in layers)
    rows = []
    for index in layers:
        for channel in range(generator.layers[index].dimension):
            rows.append(_channel(generator, encode_image, base, index, channel, alpha * float(spread[index][channel])))
            if len(rows) % chunk == 0:
                yield Progress("relevance", len(rows), total, "channel")
    return torch.stack(rows), torch.cat([spread[index] for index in layers])


@torch.no_grad()
def _channel(
    generator: Generator,
    encode_image: Callable[[Tensor], Tensor],
    base: list[Tensor],
    layer: int,
    channel: int,
    step: float,
) -> Tensor:
    ends = []
    for sign in (1, -1):
        styles = list(base)
        styles[layer] = base[layer].clone()
        styles[layer][:, channel] += sign * step
        embedding = encode_image(generator.from_styles(styles, noise="none").clamp(-1, 1))
        ends.append(embedding / embedding.norm(dim=1, keepdim=True))
    move = (ends[0] - ends[1]).mean(0)
    return move / move.norm().clamp_min(1e-8)


def save(path: Path, directions: dict[str, tuple[Tensor, float]], rows: Tensor, spread: Tensor) -> None:
    """Write sliders and relevance as one safetensors file: `direction.NAME` [D] (its length is the slider's unit),
    `relevance` [channels,K] and `style_std` [channels]."""
    tensors = {f"direction.{name}": (vector * unit).contiguous() for name, (vector, unit) in directions.items()}
    save_file({**tensors, "relevance": rows.contiguous(), "style_std": spread.contiguous()}, path)
