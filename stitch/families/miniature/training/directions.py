"""Sliders of the miniature generator, by the published procedure.

InterFaceGAN (Shen et al. 2020, arXiv 2005.09635): label samples, fit a linear boundary in W for each attribute, and
project out of its normal what would move the other attributes ("conditional manipulation", section 3.3). The label of
a sample is what was drawn for its z.
"""

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from stitch.families.miniature import SLIDERS
from stitch.families.miniature.faces import FACTORS, factors_from_z
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


def save(path: Path, directions: dict[str, tuple[Tensor, float]]) -> None:
    """Write sliders as safetensors: one `direction.NAME` [D] each, whose length is the slider's unit."""
    save_file({f"direction.{name}": (vector * unit).contiguous() for name, (vector, unit) in directions.items()}, path)
