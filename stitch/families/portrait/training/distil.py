"""Small networks of our own that learn from the teachers' labels: face parser and identity.

Both see rendered faces and, where labelled, pictures of people, as cameras may show them.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stitch.families.miniature.networks import CLASSES, FaceParser, IdentityNet, fold_labels
from stitch.families.miniature.training.augment import mirror, placements, warped
from stitch.families.miniature.training.loop import Losses, Schedule, fit, placed
from stitch.families.miniature.training.parser import class_weights, is_face, mirrored
from stitch.families.portrait.training import sets
from stitch.families.portrait.training.augment import filmed, shot, smooth_noise
from stitch.families.portrait.training.covers import covered
from stitch.networks.formats.checkpoints import save_module

PARSER_SIZE, PARSER_CHANNELS, PARSER_WIDTH = 128, (32, 64, 128, 192), 48
IDENTITY_SIZE, IDENTITY_CHANNELS, IDENTITY_DIMENSION = 96, (32, 64, 96, 128), 128
PARSER_SCHEDULE = Schedule(steps=4000, batch=16, learning_rate=3e-3)
IDENTITY_SCHEDULE = Schedule(steps=1500, batch=24, learning_rate=2e-3)
HELD_SHARE = 10
SKIN = 1


def split(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices to learn from, and every tenth to measure on."""
    held = np.arange(count) % HELD_SHARE == 0
    return np.flatnonzero(~held), np.flatnonzero(held)


def train_parser(
    images: np.ndarray, labels: np.ndarray, out: Path, seed: int = 0, schedule: Schedule = PARSER_SCHEDULE
) -> FaceParser:
    """Distil the face parser, or go on where a killed training stopped.

    Args:
        images: [N,S,S,3] uint8 aligned faces.
        labels: [N,128,128] uint8, of `teachers.parsed`.
        out: folder for checkpoint.pt, log.jsonl and parser.safetensors.
        seed: of weights and batches.
        schedule: how long and how fast.
    Returns:
        The parser, frozen.
    """
    torch.manual_seed(seed)
    parser = placed(FaceParser(PARSER_SIZE, PARSER_CHANNELS, PARSER_WIDTH), "cpu")
    learnt, held = split(len(images))
    weights = class_weights(labels[learnt[:400]])

    def losses(rng: torch.Generator) -> Losses:
        chosen = np.sort(learnt[torch.randint(len(learnt), (schedule.batch,), generator=rng).numpy()])
        pictures, classes = augmented(sets.to_float(images[chosen]), torch.from_numpy(labels[chosen]), rng)
        scores = parser.scores(pictures.contiguous(memory_format=torch.channels_last)).reshape(-1, CLASSES)
        return {"cross_entropy": F.cross_entropy(scores, fold_labels(classes).reshape(-1), weights)}

    def figures() -> Mapping[str, float]:
        clean = sets.to_float(images[held]), torch.from_numpy(labels[held]).long()
        filmed_so = augmented(*clean, torch.Generator().manual_seed(seed))
        return {**agreement(parser, *clean), "iou_face_filmed": agreement(parser, *filmed_so)["iou_face"]}

    fit(parser, losses, schedule, out, seed, figures)
    save_module(out / "parser.safetensors", parser, dtype=torch.float16)
    return parser


def augmented(images: Tensor, labels: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Pictures of people as they may be filmed, with what is where.

    Placed a little beside FFHQ's rule, mirrored, some before another backdrop and some behind a hand or a thing, which
    counts as background.

    Args:
        images: [B,3,S,S] in [-1,1].
        labels: [B,h,w] BiSeNet's classes.
        rng: of all of it.
    Returns:
        [B,3,128,128] and [B,128,128] int64.
    """
    place = placements(len(images), rng, 8.0, 1.12, 0.08)
    pictures = warped(images, place, PARSER_SIZE)
    classes = warped(labels[:, None].float(), place, PARSER_SIZE, "nearest")[:, 0].long()
    pictures, classes = mirrored(pictures, classes, rng)
    pictures = _before_others(pictures, classes == 0, rng)
    pictures, hidden = covered(pictures, classes == SKIN, rng)
    return shot(pictures, rng), classes.masked_fill(hidden, 0)


def _before_others(pictures: Tensor, behind: Tensor, rng: torch.Generator, share: float = 0.3) -> Tensor:
    """A share of the pictures before clouds or other pictures, cut out softly; [B,3,S,S], [B,S,S] bool -> [B,3,S,S]."""
    count, size = len(pictures), pictures.shape[-1]
    other = pictures.roll(1, 0).flip(2)
    cloudy = torch.rand(count, 1, 1, 1, generator=rng) < 0.5
    backdrop = torch.where(cloudy, smooth_noise(count, size, rng), other)
    soft = F.avg_pool2d(behind[:, None].float(), 3, 1, 1)
    chosen = torch.rand(count, 1, 1, 1, generator=rng) < share
    return pictures.lerp(backdrop, soft * chosen)


@torch.no_grad()
def agreement(parser: FaceParser, pictures: Tensor, true: Tensor) -> dict[str, float]:
    """How far a parser agrees with labels.

    Args:
        parser: to be judged.
        pictures: [N,3,S,S] in [-1,1].
        true: [N,h,w] its answer's shape.
    Returns:
        iou_face of everything that is edited, iou_mean of the classes that occur, and the share of right pixels.
    """
    found = torch.cat([parser(some) for some in pictures.split(20)])
    ious = [
        float(((found == index) & (true == index)).sum() / ((found == index) | (true == index)).sum())
        for index in range(CLASSES)
        if (true == index).any()
    ]
    face = float((is_face(found) & is_face(true)).sum() / (is_face(found) | is_face(true)).sum())
    return {"iou_face": face, "iou_mean": float(np.mean(ious)), "accuracy": float((found == true).float().mean())}


@torch.no_grad()
def parts_of(parser: FaceParser, images: np.ndarray) -> np.ndarray:
    """What a parser sees; [N,S,S,3] uint8 -> [N,h,w] uint8."""
    return np.concatenate([
        parser(sets.to_float(images[start : start + 32])).to(torch.uint8).numpy() for start in range(0, len(images), 32)
    ])


def train_identity(
    images: np.ndarray, embeddings: np.ndarray, out: Path, seed: int = 0, schedule: Schedule = IDENTITY_SCHEDULE
) -> IdentityNet:
    """Distil the identity network: cosines between faces as the teacher sees them.

    Args:
        images: [N,S,S,3] uint8 aligned faces.
        embeddings: [N,K] of the teacher.
        out: folder for checkpoint.pt, log.jsonl and identity.safetensors.
        seed: of weights and batches.
        schedule: how long and how fast.
    Returns:
        The network, frozen.
    """
    torch.manual_seed(seed)
    network = placed(IdentityNet(IDENTITY_SIZE, IDENTITY_CHANNELS, IDENTITY_DIMENSION), "cpu")
    learnt, held = split(len(images))
    teacher = F.normalize(torch.from_numpy(embeddings - embeddings[learnt].mean(0)), dim=1)

    def losses(rng: torch.Generator) -> Losses:
        chosen = np.sort(learnt[torch.randperm(len(learnt), generator=rng)[: schedule.batch].numpy()])
        pictures, _ = mirror(sets.to_float(images[chosen]), rng)
        pictures = filmed(pictures, rng, IDENTITY_SIZE).contiguous(memory_format=torch.channels_last)
        found, true = network(pictures), teacher[chosen]
        return {"cosines": 4 * (found @ found.T - true @ true.T).square().mean()}

    def figures() -> Mapping[str, float]:
        found = network(sets.to_float(images[held]))
        apart = ~torch.eye(len(held), dtype=torch.bool)
        ours, theirs = (found @ found.T)[apart], (teacher[held] @ teacher[held].T)[apart]
        return {"held_correlation": float(torch.corrcoef(torch.stack([ours, theirs]))[0, 1]), **_told_apart(held)}

    def _told_apart(indices: np.ndarray) -> Mapping[str, float]:
        """Share of faces whose filmed picture is nearer to their own clean one than to any other's."""
        clean = sets.to_float(images[indices])
        again = filmed(clean, torch.Generator().manual_seed(seed), IDENTITY_SIZE)
        nearest = (network(again) @ network(clean).T).argmax(1)
        return {"held_rank1": float((nearest == torch.arange(len(indices))).float().mean())}

    fit(network, losses, schedule, out, seed, figures)
    save_module(out / "identity.safetensors", network, dtype=torch.float16)
    return network

