"""Adaptation of the encoder to pictures of people, which have no codes.

The generator draws what the encoder answers for a picture as a camera may show it; the result is held to the clean
picture by pixels and by features. Rendered faces go on beside them, by their codes, so that the answers stay inside W.
"""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from stitch.families.miniature.training.loop import Losses, Schedule, fit, placed
from stitch.families.portrait.encoder import FaceEncoder
from stitch.families.portrait.training import sets
from stitch.families.portrait.training.augment import filmed
from stitch.networks.formats.checkpoints import save_module
from stitch.networks.mobilestylegan import MobileStyleGAN
from stitch.networks.perceptual import Perceptual

SCHEDULE = Schedule(steps=600, batch=4, learning_rate=1e-4, warmup=0.05, weight_decay=0.02, log_every=20)
RENDERED = 16
"""Rendered faces a step, beside `batch` pictures of people."""

PIXEL_WEIGHT, FEATURE_WEIGHT, PRIOR_WEIGHT = 1.0, 0.5, 0.01
SEED = 0
"""Of the batches."""
HELD_SHARE = 8
"""Every eighth picture is only measured on."""


def train(
    faces: sets.Arrays,
    people: np.ndarray,
    generator: MobileStyleGAN,
    perceptual: Perceptual,
    encoder: FaceEncoder,
    out: Path,
    schedule: Schedule = SCHEDULE,
) -> FaceEncoder:
    """Adapt, or go on where a killed adaptation stopped.

    Args:
        faces: rendered ones, `images` and `w`.
        people: [N,S,S,3] uint8 aligned crops; S is the generator's resolution.
        generator: frozen.
        perceptual: frozen.
        encoder: trained on rendered faces; changed in place.
        out: folder for checkpoint.pt, log.jsonl and encoder.safetensors.
        schedule: how long and how fast.
    Returns:
        The encoder, frozen.
    """
    network = placed(encoder, "cpu")
    weight = network.space.deviation / network.space.deviation.mean()
    held = np.arange(len(people)) % HELD_SHARE == 0
    learnt, measured = people[~held], people[held]

    def drawn(coordinates: torch.Tensor) -> torch.Tensor:
        return generator(generator.broadcast(network.space(coordinates)))

    def losses(rng: torch.Generator) -> Losses:
        chosen = torch.randperm(len(faces["w"]), generator=rng)[:RENDERED].sort().values.numpy()
        shown = torch.randint(len(learnt), (schedule.batch,), generator=rng).numpy()
        target = sets.to_float(learnt[shown])
        mirrored = torch.rand(len(target), 1, 1, 1, generator=rng) < 0.5
        target = torch.where(mirrored, target.flip(3), target)
        crops = torch.cat([filmed(sets.to_float(faces["images"][chosen]), rng, network.size),
                           filmed(target, rng, network.size)])
        coordinates = network.coordinates(crops.contiguous(memory_format=torch.channels_last))
        known, unknown = coordinates.split([RENDERED, len(target)])
        true = network.space.whiten(torch.from_numpy(faces["w"][chosen]))
        images = drawn(unknown)
        features = perceptual.distance(perceptual.features(images), perceptual.features(target))
        return {
            "code": ((known - true).square() * weight).mean(),
            "pixel": PIXEL_WEIGHT * F.mse_loss(images, target),
            "feature": FEATURE_WEIGHT * features.mean(),
            "prior": PRIOR_WEIGHT * unknown.square().mean(),
        }

    def figures() -> dict[str, float]:
        target = sets.to_float(measured)
        images = torch.cat([drawn(network.coordinates(part)) for part in target.split(4)])
        decibels = 10 * torch.log10(4 / (images - target).square().mean((1, 2, 3)))
        distances = [
            perceptual(image, wanted) for image, wanted in zip(images.split(4), target.split(4), strict=True)
        ]
        return {"held_db": float(decibels.mean()), "held_distance": float(torch.cat(distances).mean())}

    fit(network, losses, schedule, out, SEED, figures)
    save_module(out / "encoder.safetensors", network, dtype=torch.float16)
    return network
