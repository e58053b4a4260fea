"""Training of the family's small CLIP on rendered faces, with captions written from what the teachers measured."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from stitch.families.miniature.training import clip
from stitch.families.miniature.training.augment import filmed
from stitch.families.miniature.training.loop import Schedule
from stitch.families.portrait.encoder import FaceEncoder
from stitch.families.portrait.language import FaceClip
from stitch.families.portrait.training import sets
from stitch.families.portrait.training.attributes import standardised
from stitch.families.portrait.training.augment import misaligned
from stitch.families.portrait.training.captions import BOOK, NAMES

SEED = 31
SIZE = 128
"""Side of the pictures that are learnt from, px."""
HELD = 160
"""The last faces, on which is only measured."""

SCHEDULES = (
    Schedule(steps=700, batch=24, learning_rate=7e-4, warmup=0.05, weight_decay=0.02, log_every=20),
    Schedule(steps=80, batch=64, learning_rate=3e-4, warmup=0.05, weight_decay=0.02, log_every=8),
    Schedule(steps=2500, batch=320, learning_rate=2e-3, weight_decay=0.05),
)
"""Of pictures, pairs and texts."""

UNSAID = {"skin_light": 0.5, "yaw": 0.5, "pitch": 0.5}
"""How much the reading of some factors counts, where it is not 1."""

AIMS = (
    "smile", "age", "gender", "glasses", "beard", "hair_length", "hair_dark", "bangs", "lipstick", "brows", "eyes_open",
    "mouth_open",
)  # fmt: skip

PROMPTS: tuple[clip.Prompt, ...] = (
    ("smile", 1, "a smiling face", "a face"),
    ("smile", -1, "a serious face", "a face"),
    ("age", 1, "an old face", "a face"),
    ("age", -1, "a young face", "a face"),
    ("gender", -1, "a woman", "a person"),
    ("gender", 1, "a man", "a person"),
    ("glasses", 1, "a face with glasses", "a face"),
    ("beard", 1, "a man with a beard", "a man"),
    ("hair_length", 1, "a face with long hair", "a face"),
    ("hair_length", -1, "a face with short hair", "a face"),
    ("hair_dark", -1, "a face with blond hair", "a face"),
    ("hair_dark", 1, "a face with black hair", "a face"),
    ("bangs", 1, "a face with bangs", "a face"),
    ("lipstick", 1, "a face with red lipstick", "a face"),
    ("mouth_open", 1, "a face with an open mouth", "a face"),
    ("eyes_open", -1, "a face with closed eyes", "a face"),
    ("brows", 1, "a face with raised eyebrows", "a face"),
)


def faces(images: np.ndarray, found: Mapping[str, np.ndarray], held: int = HELD) -> clip.Faces:
    """Rendered faces as `clip.learn` takes them.

    Args:
        images: [N,S,S,3] uint8.
        found: of `attributes.named`, [N] by name.
        held: how many are measured on alone.
    """
    factors = torch.from_numpy(np.stack([standardised(found[name]) for name in NAMES], axis=1)).float()
    learnt = len(images) - held
    shut, wide = (factors[:learnt, NAMES.index(name)] for name in ("blink", "mouth_open"))
    odds = 1 + 2 * (shut > 1.6).float() + (wide > 1.3).float() + 2 * (factors[:learnt, NAMES.index("glasses")] > 1.1)

    def shown(indices: Tensor, rng: torch.Generator) -> Tensor:
        return filmed(misaligned(sets.to_float(images[indices.numpy()]), rng, SIZE), rng, 0.4)

    def measured() -> Iterator[Tensor]:
        return (sets.to_float(images[start : start + 20]) for start in range(learnt, len(images), 20))

    weights = torch.tensor([UNSAID.get(name, 1.0) for name in NAMES])
    return clip.Faces(factors, NAMES, weights, odds, shown, measured, BOOK, AIMS, PROMPTS)


def train(
    given: clip.Faces,
    encoder: FaceEncoder,
    out: Path,
    schedules: tuple[Schedule, Schedule, Schedule] = SCHEDULES,
) -> FaceClip:
    """Train, or go on where a killed training stopped.

    Args:
        given: of `faces`.
        encoder: trained; the picture tower starts from its trunk.
        out: folder for a checkpoint and a log per stage and clip.safetensors.
        schedules: how long and how fast: pictures, pairs, texts.
    Returns:
        The model, frozen.
    """
    torch.manual_seed(SEED)
    texts, known = clip.spoken(given.book, given.learnt, SEED)
    model = FaceClip(*known, size=encoder.size, **{
        name: value for name, value in encoder.arguments.items() if name in ("stem", "stages", "width")
    })
    model.clip.visual.trunk.load_state_dict(encoder.trunk.state_dict())
    model.clip.visual.reduce.load_state_dict(encoder.reduce.state_dict())
    clip.learn(model, given, texts, out, SEED, schedules)
    clip.save(out / "clip.safetensors", model, "rendered faces", SEED, torch.float16)
    return model
