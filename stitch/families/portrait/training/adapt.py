"""Adaptation of the encoder to pictures of people, which have no codes.

So they are given some: from the encoder's own answers, two of Gauss and Newton's steps through the generator, on
pixels, features and identity. The encoder then learns these codes and those of rendered faces side by side, from
pictures as a camera may show them; an error is measured by what it changes of a picture. To take every step of the
encoder through the generator costs so much more that each picture would be met a few times only.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from stitch.core.images import resize
from stitch.families.family import Embedder, Parser
from stitch.families.miniature.training.loop import Losses, Schedule, fit, placed
from stitch.families.miniature.training.parser import is_face
from stitch.families.portrait.encoder import FaceEncoder, LatentSpace
from stitch.families.portrait.training import sets
from stitch.families.portrait.training.augment import filmed
from stitch.families.portrait.training.encoder import explained
from stitch.networks.formats.checkpoints import save_module
from stitch.networks.mobilestylegan import MobileStyleGAN
from stitch.networks.perceptual import Perceptual

SCHEDULE = Schedule(steps=550, batch=8, learning_rate=1e-4, warmup=0.05, average=0.02, log_every=10)
RENDERED = 12
"""Rendered faces a step, beside `batch` pictures of people."""

PEOPLE_WEIGHT = 4.0
"""Of the errors of people's codes; those of rendered faces count once."""
PIXEL_WEIGHT, FEATURE_WEIGHT, IDENTITY_WEIGHT = 4.0, 0.1, 0.2
BEHIND, RAISED = 0.25, 2.0
"""Weight of what is not the face, and how much more eyes and mouth count."""
STRENGTH = 0.5
"""Of misalignment and colours that the encoder is to see through (see `augment.filmed`)."""

PROBED, PROBES = 48, 4
"""Faces, and random probes of each, by which `sensitivity` is measured."""
EVEN = 0.2
"""Of the codes' metric: a part that weighs W's principal axes by their deviations, for what is hardly seen."""
NEWTON_STEPS, DAMPING = 2, 0.02
"""Of `projected`; the second is the slope of losses, per whitened coordinate, below which a direction hardly moves."""
SEED = 0
"""Of the probes and the batches."""
HELD_SHARE, HELD = 8, 48
"""Every eighth picture of people is only measured on; so are the last rendered faces."""


@dataclass(frozen=True, eq=False)
class Judges:
    """The family's networks that say how alike two pictures are, all frozen.

    Attributes:
        perceptual: distance of pictures.
        identity: who it is.
        parser: where the face is.
        raised: [S,S], weights of places, 1 or more: eyes and mouth count more (see `RAISED`).
    """

    perceptual: Perceptual
    identity: Embedder
    parser: Parser
    raised: Tensor

    @torch.no_grad()
    def face(self, images: Tensor) -> Tensor:
        """Where face and hair are; [B,3,S,S] in [-1,1] -> [B,1,S,S] in {0,1}."""
        found = is_face(self.parser(images))[:, None].float()
        return (resize(found, images.shape[-1]) >= 0.5).float()

    @torch.no_grad()
    def weights(self, images: Tensor) -> Tensor:
        """How much each pixel counts: the face more than what is behind it, eyes and mouth most.

        Args:
            images: [B,3,S,S] in [-1,1].
        Returns:
            [B,1,S,S], mean 1.
        """
        weights = (BEHIND + (1 - BEHIND) * self.face(images)) * self.raised
        return weights / weights.mean((2, 3), keepdim=True)

    def losses(self, images: Tensor, target: Tensor) -> Losses:
        """What was drawn against what was wanted, [B,3,S,S] each."""
        distance = self.perceptual.distance(self.perceptual.features(images), self.perceptual.features(target))
        alike = (self.identity(images) * self.identity(target)).sum(1)
        return {
            "pixel": PIXEL_WEIGHT * ((images - target).square() * self.weights(target)).mean(),
            "feature": FEATURE_WEIGHT * distance.mean(),
            "identity": IDENTITY_WEIGHT * (1 - alike).mean(),
        }


def sensitivity(
    generator: MobileStyleGAN, space: LatentSpace, judges: Judges, w: Tensor, seed: int = SEED, probes: int = PROBES
) -> Tensor:
    """By how much a small step in W changes a picture: the mean of J^T J of the losses of pixels and features.

    J is never formed: with random g of unit variance, the mean of (J^T g) (J^T g)^T is J^T J.

    Args:
        generator, judges: of the losses.
        space: whose whitened coordinates are stepped in.
        w: codes about which is stepped, [N,D].
        seed: of the probes.
        probes: of each code.
    Returns:
        [D,D], symmetric.
    """
    rng = torch.Generator().manual_seed(seed)
    total = torch.zeros(w.shape[1], w.shape[1])
    for code in w:
        coordinates = space.whiten(code)[None].requires_grad_(True)
        images = generator(generator.broadcast(space(coordinates)))
        scale = (PIXEL_WEIGHT * judges.weights(images.detach()) / images[0].numel()).sqrt()
        parts = [scale * images]
        parts += [part * (FEATURE_WEIGHT / part[0, 0].numel()) ** 0.5 for part in judges.perceptual.features(images)]
        for probe in range(probes):
            noised = torch.stack([(part * torch.randn(part.shape, generator=rng)).sum() for part in parts]).sum()
            slope = torch.autograd.grad(noised, coordinates, retain_graph=probe + 1 < probes)[0][0]
            total += torch.outer(slope, slope) / (len(w) * probes)
    return total


def kept_sensitivity(
    path: Path, generator: MobileStyleGAN, space: LatentSpace, judges: Judges, w: Tensor
) -> Tensor:
    """As `sensitivity`, measured where the file `path` is missing."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(sensitivity(generator, space, judges, w), path)
    return torch.load(path, weights_only=True)


def codes_metric(seen: Tensor, space: LatentSpace) -> Tensor:
    """How much errors of whitened coordinates count.

    The square root of what is seen of them: at errors as large as an encoder's the losses grow far less than their
    slopes foretell, the more so the more a direction is seen.

    Args:
        seen: of `sensitivity`, [D,D].
        space: of the coordinates.
    Returns:
        [D,D], symmetric, of trace 1 but for the part of `EVEN`.
    """
    values, vectors = torch.linalg.eigh(seen)
    root = (vectors * values.clamp_min(0).sqrt()) @ vectors.T
    return root / root.trace() + EVEN * torch.diag(space.deviation / space.deviation.sum())


def projected(
    images: Tensor, start: Tensor, generator: MobileStyleGAN, space: LatentSpace, judges: Judges, seen: Tensor
) -> Tensor:
    """Coordinates whose picture comes nearer to a given one, by a few of Gauss and Newton's steps.

    One curvature serves all pictures, that of `sensitivity`; directions that are hardly seen stay where they are. Most
    of what there is to gain comes with the first step, and from the third on some pictures get worse again.

    Args:
        images: what is to be drawn, [B,3,S,S] in [-1,1].
        start: whitened coordinates to go on from, [B,D].
        generator, judges: of the losses.
        space: of the coordinates.
        seen: of `sensitivity`, [D,D].
    Returns:
        [B,D].
    """
    inverse = torch.linalg.inv(seen + DAMPING * torch.eye(len(seen)))
    found = []
    for image, first in zip(images.split(1), start.split(1), strict=True):
        coordinates = first
        for _ in range(NEWTON_STEPS):
            with torch.enable_grad():
                asked = coordinates.detach().requires_grad_(True)
                drawn = generator(generator.broadcast(space(asked)))
                loss = torch.stack(list(judges.losses(drawn, image).values())).sum()
                slope = torch.autograd.grad(loss, asked)[0]
            coordinates = coordinates - (slope / 2 + DAMPING * (coordinates - first)) @ inverse
        found.append(coordinates)
    return torch.cat(found)


def train(
    faces: sets.Arrays,
    people: np.ndarray,
    generator: MobileStyleGAN,
    judges: Judges,
    encoder: FaceEncoder,
    out: Path,
    schedule: Schedule = SCHEDULE,
) -> FaceEncoder:
    """Adapt, or go on where a killed adaptation stopped.

    Args:
        faces: rendered ones, `images` and `w`.
        people: [N,S,S,3] uint8 aligned crops; S is the generator's resolution.
        generator: frozen.
        judges: frozen.
        encoder: trained on rendered faces; changed in place.
        out: folder for codes of people, sensitivity.pt, checkpoint.pt, log.jsonl and encoder.safetensors.
        schedule: how long and how fast; its batch are the pictures of people.
    Returns:
        The encoder, frozen.
    """
    network = placed(encoder, "cpu").eval()
    held = np.arange(len(people)) % HELD_SHARE == 0
    measured, learnt = people[held], np.concatenate([people[~held], people[~held, :, ::-1]])
    count = len(faces["w"]) - min(HELD, len(faces["w"]) // 4)
    probed = torch.from_numpy(np.array(faces["w"][: min(PROBED, count)]))
    seen = kept_sensitivity(out / "sensitivity.pt", generator, network.space, judges, probed)
    metric = codes_metric(seen, network.space)

    def drawn(coordinates: Tensor) -> Tensor:
        return generator(generator.broadcast(network.space(coordinates)))

    @torch.no_grad()
    def project(chunk: range) -> dict[str, np.ndarray]:
        images = sets.to_float(learnt[chunk.start : chunk.stop])
        start = network.coordinates(images)
        return {"coordinates": projected(images, start, generator, network.space, judges, seen).numpy()}

    codes = sets.kept(out / "codes", len(learnt), project)["coordinates"]

    def losses(rng: torch.Generator) -> Losses:
        shown = torch.randint(len(learnt), (schedule.batch,), generator=rng).numpy()
        known = torch.randperm(count, generator=rng)[:RENDERED].numpy()
        images = sets.to_float(np.concatenate([learnt[shown], faces["images"][known]]))
        crops = filmed(images, rng, network.size, STRENGTH)
        found = network.coordinates(crops.contiguous(memory_format=torch.channels_last))
        rendered = network.space.whiten(torch.from_numpy(np.array(faces["w"][known])))
        error = found - torch.cat([torch.from_numpy(np.array(codes[shown])), rendered])
        people_error, rendered_error = ((error @ metric) * error).sum(1).split([len(shown), len(known)])
        return {"people": PEOPLE_WEIGHT * people_error.mean(), "rendered": rendered_error.mean()}

    def figures() -> dict[str, float]:
        target = sets.to_float(measured)
        found = network.coordinates(target)
        images = torch.cat([drawn(part) for part in found.split(4)])
        face = judges.face(target)
        inside = ((images - target).square() * face).sum((1, 2, 3)) / (3 * face.sum((1, 2, 3)))
        parts = judges.losses(images, target)
        rendered = torch.from_numpy(np.array(faces["w"][count:]))
        return {
            "held_db": float((10 * torch.log10(4 / inside)).mean()),
            "held_distance": float(parts["feature"]) / FEATURE_WEIGHT,
            "held_identity": 1 - float(parts["identity"]) / IDENTITY_WEIGHT,
            "held_rms": float(found.square().mean().sqrt()),
            "held_r2": explained(network(sets.to_float(faces["images"][count:])), rendered),
        }

    fit(network, losses, schedule, out, SEED, figures)
    save_module(out / "encoder.safetensors", network, dtype=torch.float16)
    return network
