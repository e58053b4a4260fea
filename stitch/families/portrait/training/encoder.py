"""Training of the encoder.

First on rendered faces, whose codes are known, as cameras and codecs would show them: squared error of the codes in
the basis of W's principal axes, each axis weighted by its deviation (half-way between W's own metric, which hardly asks
for the person, and the whitened one, in which most axes are invisible). Then on pictures of people, which have no
codes: through the generator, by pixels, features and identity.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from stitch.families.miniature.training.loop import Losses, Schedule, fit, placed
from stitch.families.portrait.encoder import FaceEncoder, LatentSpace
from stitch.families.portrait.training import sets
from stitch.families.portrait.training.augment import filmed
from stitch.networks.efficientnet import EfficientNetLite
from stitch.networks.formats.checkpoints import save_module
from stitch.networks.mobilestylegan import MobileStyleGAN

SET_SEED, COUNT, HELD = 21, 12_000, 256
SPACE_SAMPLES, SPACE_SEED = 50_000, 22
REGRESSED = 2048
"""Faces of the ridge regression that the linear layer starts from."""

SCHEDULE = Schedule(steps=4000, batch=24, learning_rate=7e-4, warmup=0.03, weight_decay=0.02, log_every=50)


@torch.no_grad()
def latent_space(generator: MobileStyleGAN, samples: int = SPACE_SAMPLES) -> LatentSpace:
    """Mean and principal axes of the generator's W."""
    z = torch.randn(samples, generator.z_dim, generator=torch.Generator().manual_seed(SPACE_SEED))
    return LatentSpace.of(torch.cat([generator.mapping(part) for part in z.split(4096)]))


def explained(found: Tensor, true: Tensor) -> float:
    """Share of the variance of codes that an encoder's answers explain; 1 is perfect, 0 is the mean's."""
    return float(1 - (found - true).square().sum() / (true - true.mean(0)).square().sum())


@torch.no_grad()
def regress(encoder: FaceEncoder, batches: Iterable[tuple[Tensor, Tensor]], ridge: float = 0.3) -> None:
    """Sets the linear layer by ridge regression of the coordinates on the features as they are.

    Args:
        encoder: its linear layer is written to.
        batches: crops [B,3,S,S] and their codes [B,D].
        ridge: share of the features' mean variance added.
    """
    parts = [(encoder.features(crops), encoder.space.whiten(w)) for crops, w in batches]
    x, y = (torch.cat(column).double() for column in zip(*parts, strict=True))
    centre = x.mean(0)
    x = x - centre
    # Fewer samples than features: the same solution by the samples' products.
    products = x @ x.T
    damping = ridge * x.square().sum(0).mean() * torch.eye(len(x), dtype=torch.float64)
    weight = torch.linalg.solve(products + damping, y - y.mean(0)).T @ x
    encoder.linear.weight.copy_(weight)
    encoder.linear.bias.copy_(y.mean(0) - weight @ centre)


def train(
    data: Path,
    generator: MobileStyleGAN,
    start: FaceEncoder | EfficientNetLite | None,
    out: Path,
    seed: int = 0,
    counts: tuple[int, int] = (COUNT, HELD),
    schedule: Schedule = SCHEDULE,
) -> FaceEncoder:
    """Train on rendered faces, or go on where a killed training stopped.

    Args:
        data: folder of the sets; what is missing is rendered.
        generator: draws the faces; 256 px are enough.
        start: an encoder to go on from, or a trunk with ImageNet's weights, whose linear layer `regress` sets; None
            starts at random.
        out: folder for checkpoint.pt, log.jsonl and encoder.safetensors.
        seed: of the weights and the batches.
        counts: faces rendered, and how many of them, at the end, are only measured on.
        schedule: how long and how fast.
    Returns:
        The encoder, frozen.
    """
    torch.manual_seed(seed)
    count, held = counts
    faces = sets.rendered(data / "faces", generator, count, SET_SEED)
    fresh = not isinstance(start, FaceEncoder)
    encoder = start if isinstance(start, FaceEncoder) else FaceEncoder(style_dim=generator.w_dim)
    if isinstance(start, EfficientNetLite):
        encoder.trunk.load_state_dict(start.state_dict())
    encoder.space.load_state_dict(latent_space(generator).state_dict())
    network = placed(encoder, "cpu")
    weight = network.space.deviation / network.space.deviation.mean()

    def losses(rng: torch.Generator) -> Losses:
        indices = np.sort(torch.randperm(count - held, generator=rng)[: schedule.batch].numpy())
        crops = filmed(sets.to_float(faces["images"][indices]), rng, network.size)
        true = network.space.whiten(torch.from_numpy(faces["w"][indices]))
        found = network.coordinates(crops.contiguous(memory_format=torch.channels_last))
        return {"code": ((found - true).square() * weight).mean()}

    def shown(start: int) -> tuple[Tensor, Tensor]:
        rows = slice(start, min(start + 32, REGRESSED, count - held))
        crops = filmed(sets.to_float(faces["images"][rows]), torch.Generator().manual_seed(start), network.size)
        return crops.contiguous(memory_format=torch.channels_last), torch.from_numpy(faces["w"][rows])

    if fresh and not (out / "checkpoint.pt").exists():
        regress(network, map(shown, range(0, min(REGRESSED, count - held), 32)))

    def figures() -> dict[str, float]:
        rng = torch.Generator().manual_seed(seed)
        clean, dirty = [], []
        for start in range(count - held, count, 32):
            crops = sets.to_float(faces["images"][start : min(start + 32, count)])
            clean.append(network(crops))
            dirty.append(network(filmed(crops, rng, network.size)))
        true = torch.from_numpy(faces["w"][count - held : count].copy())
        found = torch.cat(clean)
        cosine = torch.cosine_similarity(found - network.space.mean, true - network.space.mean).mean()
        return {
            "held_r2": explained(found, true), "held_cosine": float(cosine),
            "held_r2_filmed": explained(torch.cat(dirty), true),
        }

    fit(network, losses, schedule, out, seed, figures)
    save_module(out / "encoder.safetensors", network, dtype=torch.float16)
    return network
