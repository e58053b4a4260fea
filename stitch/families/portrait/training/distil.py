"""Small networks of our own that learn from the teachers' labels: face parser and identity.

Both see rendered faces and, where labelled, pictures of people, as cameras may show them.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from stitch.families.miniature.networks import CLASSES, FaceParser, IdentityNet, fold_labels
from stitch.families.miniature.training.augment import mirror, placements, warped
from stitch.families.miniature.training.loop import Losses, Schedule, fit, placed
from stitch.families.miniature.training.parser import class_weights, is_face, mirrored
from stitch.families.portrait.training import sets
from stitch.families.portrait.training.augment import filmed
from stitch.networks.formats.checkpoints import save_module

PARSER_SIZE, PARSER_CHANNELS, PARSER_WIDTH = 128, (24, 48, 96, 128), 32
IDENTITY_SIZE, IDENTITY_CHANNELS, IDENTITY_DIMENSION = 96, (32, 64, 96, 128), 128
PARSER_SCHEDULE = Schedule(steps=1500, batch=12, learning_rate=3e-3)
IDENTITY_SCHEDULE = Schedule(steps=1500, batch=24, learning_rate=2e-3)
HELD_SHARE = 10
HAIR = 17


def split(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices to learn from, and every tenth to measure on."""
    held = np.arange(count) % HELD_SHARE == 0
    return np.flatnonzero(~held), np.flatnonzero(held)


def with_hair(parts: np.ndarray, hair: np.ndarray) -> np.ndarray:
    """The parser's classes, with the finer hair line of the hair teacher.

    Args:
        parts: [N,h,w] uint8 classes.
        hair: [N,h,w] uint8, probability in 1/255.
    Returns:
        [N,h,w] uint8: background becomes hair where the hair teacher is sure, hair background where it denies it.
    """
    sure, denied = hair > 200, hair < 30
    return np.where(sure & (parts == 0), HAIR, np.where(denied & (parts == HAIR), 0, parts)).astype(np.uint8)


def train_parser(
    images: np.ndarray, labels: np.ndarray, out: Path, seed: int = 0, schedule: Schedule = PARSER_SCHEDULE
) -> FaceParser:
    """Distil the face parser, or go on where a killed training stopped.

    Args:
        images: [N,S,S,3] uint8 aligned faces.
        labels: [N,128,128] uint8, of `with_hair`.
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
        place = placements(len(chosen), rng, 6.0, 1.08, 0.06)
        pictures = warped(sets.to_float(images[chosen]), place, PARSER_SIZE)
        classes = warped(torch.from_numpy(labels[chosen])[:, None].float(), place, PARSER_SIZE, "nearest")[:, 0].long()
        pictures, classes = mirrored(pictures, classes, rng)
        pictures = filmed(pictures, rng, PARSER_SIZE).contiguous(memory_format=torch.channels_last)
        scores = parser.scores(pictures).reshape(-1, CLASSES)
        return {"cross_entropy": F.cross_entropy(scores, fold_labels(classes).reshape(-1), weights)}

    def figures() -> Mapping[str, float]:
        found = torch.cat([parser(sets.to_float(images[part])) for part in np.array_split(held, len(held) // 20 + 1)])
        true = torch.from_numpy(labels[held].astype(np.int64))
        ious = [
            float(((found == index) & (true == index)).sum() / ((found == index) | (true == index)).sum())
            for index in range(CLASSES)
            if (true == index).any()
        ]
        face = float((is_face(found) & is_face(true)).sum() / (is_face(found) | is_face(true)).sum())
        return {"iou_face": face, "iou_mean": float(np.mean(ious)), "accuracy": float((found == true).float().mean())}

    fit(parser, losses, schedule, out, seed, figures)
    save_module(out / "parser.safetensors", parser, dtype=torch.float16)
    return parser


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

