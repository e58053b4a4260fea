"""Training of the small CLIP.

Data: the parser's drawn crops before new backdrops; captions that name one to four of a face's attributes at random,
half of them inside one of CLIP's 80 templates, some neutral. A factor is drawn independently of the others and named
independently of them, so a phrase can only come to mean its own attribute. First the picture tower learns alone, by a
linear reading of the factors from its embedding: a few thousand pictures are too few for captions to teach it. Then
both towers learn by CLIP's symmetric cross entropy (Radford et al. 2021, figure 3), and the same reading, thrown away
at the end, holds both to it: off a text it reads what the text leaves to expect. Last, the text tower goes on alone,
against kept embeddings of the pictures: it is cheap, and rare words (a beard, glasses) want many more captions.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stitch.families.miniature.captions import caption
from stitch.families.miniature.faces import ATTRIBUTES, BACKDROP, EXPRESSION, FACTORS, POSE
from stitch.families.miniature.language import UNKNOWN, SmallClip, vocabulary
from stitch.families.miniature.training import sets
from stitch.families.miniature.training.augment import filmed
from stitch.families.miniature.training.loop import Losses, Schedule, fit, placed
from stitch.families.miniature.training.parser import COUNT, DATA_SEED, Crops
from stitch.networks.formats.checkpoints import save_module

# isort: split
from open_clip.zero_shot_metadata import OPENAI_IMAGENET_TEMPLATES

PICTURE_SCHEDULE = Schedule(steps=1300, batch=64, learning_rate=3e-3, weight_decay=0.05)
PAIR_SCHEDULE = Schedule(steps=320, batch=160, learning_rate=1.5e-3, weight_decay=0.05, log_every=20)
TEXT_SCHEDULE = Schedule(steps=2500, batch=320, learning_rate=2e-3, weight_decay=0.05)
VIEWS, TEXT_CAPTIONS = 3, 16
"""Kept embeddings of a picture, each of another view of it, and captions, for the last stage."""

NEUTRAL = (
    "a face", "a person", "face", "person", "the face of a person", "somebody", "a portrait of a person", "a human face"
)
NEUTRAL_SHARE = 0.06
CAPTIONS = 6
HIDDEN = 0.04
"""Share of the words of a caption that are hidden, which teaches the row of unknown words to say nothing."""

PROMPTS: tuple[tuple[str, int, str, str], ...] = (
    ("smile", 1, "a smiling face", "a face"),
    ("smile", -1, "a sad face", "a face"),
    ("age", 1, "an old face", "a face"),
    ("age", -1, "a young face", "a face"),
    ("gender", 1, "a woman", "a person"),
    ("gender", -1, "a man", "a person"),
    ("glasses", 1, "a face with glasses", "a face"),
    ("beard", 1, "a face with a beard", "a face"),
    ("lipstick", 1, "a face with red lipstick", "a face"),
    ("makeup", 1, "a face with makeup", "a face"),
    ("freckles", 1, "a face with freckles", "a face"),
    ("hair_length", 1, "a face with long hair", "a face"),
    ("hair_length", -1, "a face with short hair", "a face"),
    ("hair_lightness", 1, "a face with blond hair", "a face"),
    ("hair_lightness", -1, "a face with black hair", "a face"),
    ("mouth_open", 1, "a face with an open mouth", "a face"),
    ("eyes_open", -1, "a face with closed eyes", "a face"),
)
"""Factor, sign, target and neutral text: what the figures ask."""

AIMS = (*ATTRIBUTES, *EXPRESSION)


class _Trained(nn.Module):
    """The model and the reading of factors, which only training needs."""

    def __init__(self, model: SmallClip):
        super().__init__()
        self.model = model
        self.reading = nn.Linear(model.dimension, len(FACTORS))


def contrastive(pictures: Tensor, texts: Tensor, scale: Tensor) -> Tensor:
    """CLIP's loss.

    Args:
        pictures, texts: [B,K], row i of both belong together.
        scale: [] factor of the cosines.
    Returns:
        [] mean of both directions' cross entropies.
    """
    logits = scale * F.normalize(pictures, dim=1) @ F.normalize(texts, dim=1).T
    target = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def sentences(factors: np.ndarray, each: int, seed: int) -> Iterator[str]:
    """Captions of faces, `each` per face: some neutral, half of them inside a template.

    Args:
        factors: [N,len(FACTORS)].
        each: captions per face.
        seed: of the choice.
    Yields:
        N * each texts, a face's own one after the other.
    """
    for index, face in enumerate(factors):
        rng = np.random.default_rng([seed, index])
        for _ in range(each):
            text = str(rng.choice(NEUTRAL)) if rng.random() < NEUTRAL_SHARE else caption(face, rng)
            if rng.random() < 0.5:
                text = text.split(" of ", 1)[1] if text.startswith(_LEADS) else text
                if rng.random() < 0.7:
                    text = text.removeprefix("a ").removeprefix("an ")
                template = OPENAI_IMAGENET_TEMPLATES[int(rng.integers(len(OPENAI_IMAGENET_TEMPLATES)))]
                text = template(text)
            yield text


_LEADS = tuple(f"a {word} of " for word in ("photo", "picture", "portrait", "close-up", "drawing")) + ("an image of ",)


def _weight(name: str) -> float:
    """How much the reading of a factor counts: most where captions name it, nothing where a crop does not show it."""
    if name in BACKDROP or name.startswith("cloth") or name == "roll":
        return 0.0
    return 1.0 if name in AIMS or name in POSE else 0.35


def hidden_words(rows: Tensor, first: int, last: int, rng: torch.Generator) -> Tensor:
    """Rows of tokens with some words replaced by the unknown one.

    Args:
        rows: [B,context] int64.
        first, last: rows of words lie in [first, last).
        rng: of the choice.
    Returns:
        [B,context] int64.
    """
    word = (rows >= first) & (rows < last)
    return torch.where(word & (torch.rand(rows.shape, generator=rng) < HIDDEN), UNKNOWN, rows)


@torch.no_grad()
def _views(model: SmallClip, crops: Crops, seed: int) -> Tensor:
    """Embeddings of the crops to train on, [VIEWS,N,K], each of another filmed view before another backdrop."""
    rng = torch.Generator().manual_seed(seed)
    views = []
    for _ in range(VIEWS):
        parts = []
        for indices in torch.arange(crops.trained).split(64):
            images, _ = crops.batch(indices, rng, 3.0, 1.05, 0.04)
            parts.append(model.encode_image(filmed(images, rng, 0.5)).cpu())
        views.append(torch.cat(parts))
    return torch.stack(views)


def spearman(first: Tensor, second: Tensor) -> float:
    """Rank correlation of two [N]."""
    ranks = torch.stack([first.argsort().argsort(), second.argsort().argsort()]).double()
    return float(torch.corrcoef(ranks)[0, 1])


def prompt_figures(model: SmallClip, embeddings: Tensor, factors: Tensor) -> dict[str, float]:
    """How well a text's direction reads its own attribute off pictures, and how little the others.

    Args:
        model: the small CLIP.
        embeddings: [N,K] of pictures.
        factors: [N,len(FACTORS)] of the same.
    Returns:
        For each of `PROMPTS` the rank correlation of (embedding . text direction) with the factor, its sign taken into
        account; the mean and the worst of them; and the mean of the largest correlation with another attribute.
    """
    embeddings = F.normalize(embeddings, dim=1)
    figures: dict[str, float] = {}
    others = []
    for name, sign, target, neutral in PROMPTS:
        ends = F.normalize(model([target, neutral]), dim=1)
        score = embeddings @ (ends[0] - ends[1])
        figures[f"{'more' if sign > 0 else 'less'} {name}"] = sign * spearman(score, factors[:, FACTORS.index(name)])
        others.append(max(abs(spearman(score, factors[:, FACTORS.index(o)])) for o in AIMS if o != name))
    values = list(figures.values())
    return {"mean": float(np.mean(values)), "worst": min(values), "other": float(np.mean(others)), **figures}


def train(
    data_dir: Path,
    out: Path,
    seed: int = 41,
    device: str = "cpu",
    count: int = COUNT,
    schedules: tuple[Schedule, Schedule, Schedule] = (PICTURE_SCHEDULE, PAIR_SCHEDULE, TEXT_SCHEDULE),
) -> SmallClip:
    """Train, or go on where a killed training stopped.

    Args:
        data_dir: folder of the drawn sets; what is missing is drawn.
        out: folder for a checkpoint and a log per stage and clip.safetensors.
        seed: of weights, captions and batches.
        device: "cpu" or "cuda".
        count: crops drawn.
        schedules: how long and how fast each stage is trained: pictures, pairs, texts.
    Returns:
        The model, frozen.
    """
    torch.manual_seed(seed)
    picture_schedule, pair_schedule, text_schedule = schedules
    crops = Crops(data_dir, count, DATA_SEED, sets.CROP, device, shrink=2)
    table = crops.factors[: crops.trained].to(device)
    texts = list(sentences(table.cpu().numpy(), CAPTIONS, seed))
    every = (template(neutral) for template in OPENAI_IMAGENET_TEMPLATES for neutral in NEUTRAL)
    model = SmallClip(*vocabulary([*texts, *every]), size=crops.size)
    rows = model.tokenize(texts).short().reshape(-1, CAPTIONS, model.context)
    trained = placed(_Trained(model), device)
    # closed eyes and wide open mouths are rare but are edits: they are shown more often
    closed, wide = table[:, FACTORS.index("eyes_open")] < -1.7, table[:, FACTORS.index("mouth_open")] > 1
    odds = (1 + 4 * closed.float() + wide.float()).cpu()
    weights = torch.tensor([_weight(name) for name in FACTORS], device=device)

    def read(embeddings: Tensor, indices: Tensor) -> Tensor:
        errors = F.smooth_l1_loss(trained.reading(8 * F.normalize(embeddings, dim=1)), table[indices], reduction="none")
        return (errors * weights).sum(1).mean() / weights.sum()

    def shown(batch: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        indices = torch.multinomial(odds, batch, True, generator=rng).sort().values
        images, _ = crops.batch(indices, rng, 3.0, 1.05, 0.04)
        return filmed(images, rng, 0.5).contiguous(memory_format=torch.channels_last), indices

    def picture_losses(rng: torch.Generator) -> Losses:
        images, indices = shown(picture_schedule.batch, rng)
        return {"reading": read(model.encode_image(images), indices.to(device))}

    def pair_losses(rng: torch.Generator) -> Losses:
        images, indices = shown(pair_schedule.batch, rng)
        which = torch.randint(CAPTIONS, (len(indices),), generator=rng)
        tokens = hidden_words(rows[indices, which].long(), 2, len(model.tokens) + 2, rng).to(device)
        pictures, texts = model.encode_image(images), model.clip.encode_text(tokens)
        scale = model.clip.logit_scale.exp().clamp(max=30.0)
        return {
            "contrastive": contrastive(pictures, texts, scale),
            "reading": read(pictures, indices.to(device)),
            "text_reading": read(texts, indices.to(device)),
        }

    def figures() -> Mapping[str, float]:
        parts = [model.encode_image(crops.held_batch(slice(s, s + 20))[0]) for s in range(0, crops.held, 20)]
        return prompt_figures(model, torch.cat(parts).cpu(), crops.factors[crops.trained :])

    fit(trained, picture_losses, picture_schedule, out / "pictures", seed)
    fit(trained, pair_losses, pair_schedule, out / "pairs", seed + 1, figures)
    views = _views(model, crops, seed)
    further = model.tokenize(list(sentences(table.cpu().numpy(), TEXT_CAPTIONS, seed + 2))).short()
    further = further.reshape(-1, TEXT_CAPTIONS, model.context)

    def text_losses(rng: torch.Generator) -> Losses:
        indices = torch.multinomial(odds, text_schedule.batch, True, generator=rng)
        which = torch.randint(TEXT_CAPTIONS, (len(indices),), generator=rng)
        view = torch.randint(VIEWS, (len(indices),), generator=rng)
        tokens = hidden_words(further[indices, which].long(), 2, len(model.tokens) + 2, rng).to(device)
        texts = model.clip.encode_text(tokens)
        pictures = views[view, indices].to(device)
        scale = model.clip.logit_scale.exp().clamp(max=30.0)
        return {"contrastive": contrastive(pictures, texts, scale), "text_reading": read(texts, indices.to(device))}

    fit(trained, text_losses, text_schedule, out / "texts", seed + 2, figures)
    model = model.cpu()
    notes = {"trained_on": "drawn faces", "seed": str(seed), "neutral": json.dumps(NEUTRAL)}
    save_module(out / "clip.safetensors", model, notes)
    return model

