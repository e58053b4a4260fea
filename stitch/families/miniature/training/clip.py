"""Training of a small CLIP on faces whose factors are known.

Captions name one to four of a face's attributes at random, half of them inside one of CLIP's 80 templates, some
neutral. First the picture tower learns alone, by a linear reading of the factors from its embedding: a few thousand
pictures are too few for captions to teach it. Then both towers learn by CLIP's symmetric cross entropy (Radford et al.
2021, figure 3), and the same reading, thrown away at the end, holds both to it: off a text it reads what the text
leaves to expect. Last, the text tower goes on alone, against kept embeddings of the pictures: it is cheap, and rare
words (a beard, glasses) want many more captions.

The drawn faces are the parser's crops before new backdrops. A factor is drawn independently of the others and named
independently of them, so a phrase can only come to mean its own attribute.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stitch.families.captions import NEUTRAL, Phrasebook
from stitch.families.miniature.captions import BOOK
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

NEUTRAL_SHARE = 0.06
CAPTIONS = 6
HIDDEN = 0.04
"""Share of the words of a caption that are hidden, which teaches the row of unknown words to say nothing."""

Prompt = tuple[str, int, str, str]
"""Factor, sign, target and neutral text."""

PROMPTS: tuple[Prompt, ...] = (
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
"""What the figures ask of drawn faces."""

AIMS = (*ATTRIBUTES, *EXPRESSION)


@dataclass(frozen=True, eq=False)
class Faces:
    """Pictures to learn from, and what is known of them.

    Attributes:
        factors: [N,F] standard units. The first ones are learnt from; the others are only measured on.
        names: of the F factors.
        weights: [F], how much the reading of a factor counts.
        odds: how often a picture is shown, one number for each that is learnt from.
        shown: pictures of some rows as a camera may show them, [B] int64 -> [B,3,S,S] in [-1,1].
        held: the pictures that are measured on, as they are, in batches.
        book: what may be said of them.
        aims: factors of which a prompt should move its own alone.
        prompts: what the figures ask.
    """

    factors: Tensor
    names: Sequence[str]
    weights: Tensor
    odds: Tensor
    shown: Callable[[Tensor, torch.Generator], Tensor]
    held: Callable[[], Iterator[Tensor]]
    book: Phrasebook
    aims: Sequence[str]
    prompts: Sequence[Prompt]

    @property
    def learnt(self) -> Tensor:
        """Factors of the pictures that are learnt from."""
        return self.factors[: len(self.odds)]


class _Trained(nn.Module):
    """The model and the reading of factors, which only training needs."""

    def __init__(self, model: SmallClip, factors: int):
        super().__init__()
        self.model = model
        self.reading = nn.Linear(model.dimension, factors)


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


def sentences(book: Phrasebook, factors: np.ndarray, each: int, seed: int) -> Iterator[str]:
    """Captions of faces, `each` per face: some neutral, half of them inside a template.

    Args:
        book: what may be said.
        factors: [N,F].
        each: captions per face.
        seed: of the choice.
    Yields:
        N * each texts, a face's own one after the other.
    """
    for index, face in enumerate(factors):
        rng = np.random.default_rng([seed, index])
        for _ in range(each):
            text = str(rng.choice(NEUTRAL)) if rng.random() < NEUTRAL_SHARE else book.caption(face, rng)
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
def _views(model: SmallClip, faces: Faces, seed: int) -> Tensor:
    """Embeddings of the pictures to train on, [VIEWS,N,K], each of another view of it."""
    rng = torch.Generator().manual_seed(seed)
    rows = torch.arange(len(faces.odds)).split(64)
    views = [torch.cat([model.encode_image(faces.shown(part, rng)).cpu() for part in rows]) for _ in range(VIEWS)]
    return torch.stack(views)


def spearman(first: Tensor, second: Tensor) -> float:
    """Rank correlation of two [N]."""
    ranks = torch.stack([first.argsort().argsort(), second.argsort().argsort()]).double()
    return float(torch.corrcoef(ranks)[0, 1])


def prompt_figures(model: SmallClip, embeddings: Tensor, faces: Faces) -> dict[str, float]:
    """How well a text's direction reads its own attribute off pictures, and how little the others.

    Args:
        model: the small CLIP.
        embeddings: [N,K] of the pictures that are not learnt from.
        faces: with the prompts.
    Returns:
        For each prompt the rank correlation of (embedding . text direction) with the factor, its sign taken into
        account; the mean and the worst of them; and the mean of the largest correlation with another aim.
    """
    factors = faces.factors[len(faces.odds) :].cpu()
    embeddings = F.normalize(embeddings, dim=1)
    figures: dict[str, float] = {}
    others = []
    for name, sign, target, neutral in faces.prompts:
        ends = F.normalize(model([target, neutral]), dim=1).cpu()
        score = embeddings @ (ends[0] - ends[1])
        correlations = {aim: spearman(score, factors[:, faces.names.index(aim)]) for aim in faces.aims}
        figures[f"{'more' if sign > 0 else 'less'} {name}"] = sign * correlations.pop(name)
        others.append(max(map(abs, correlations.values())))
    values = list(figures.values())
    return {"mean": float(np.mean(values)), "worst": min(values), "other": float(np.mean(others)), **figures}


def spoken(book: Phrasebook, factors: Tensor, seed: int) -> tuple[list[str], tuple[list[int], list[str]]]:
    """Captions of the pictures to learn from, and the vocabulary of a model that reads them.

    Args:
        book: what may be said.
        factors: [N,F].
        seed: of the captions.
    Returns:
        N * CAPTIONS texts; the tokens and the words, as `language.vocabulary` gives them.
    """
    texts = list(sentences(book, factors.cpu().numpy(), CAPTIONS, seed))
    every = (template(neutral) for template in OPENAI_IMAGENET_TEMPLATES for neutral in NEUTRAL)
    return texts, vocabulary([*texts, *every])


def learn(
    model: SmallClip,
    faces: Faces,
    texts: Sequence[str],
    out: Path,
    seed: int,
    schedules: tuple[Schedule, Schedule, Schedule],
) -> None:
    """The three stages; killed, the same call goes on.

    Args:
        model: of the vocabulary of `texts`, on its device; changed in place, and frozen at the end.
        faces: to learn from.
        texts: `CAPTIONS` for each of them, see `spoken`.
        out: folder for a checkpoint and a log per stage.
        seed: of captions and batches.
        schedules: how long and how fast each stage is trained: pictures, pairs, texts.
    """
    picture_schedule, pair_schedule, text_schedule = schedules
    device = model.clip.logit_scale.device
    factors, weights = faces.factors.to(device), faces.weights.to(device)
    rows = model.tokenize(texts).short().reshape(-1, CAPTIONS, model.context)
    trained = placed(_Trained(model, len(faces.names)), str(device))

    def read(embeddings: Tensor, indices: Tensor) -> Tensor:
        found = trained.reading(8 * F.normalize(embeddings, dim=1))
        errors = F.smooth_l1_loss(found, factors[indices.to(device)], reduction="none")
        return (errors * weights).sum(1).mean() / weights.sum()

    def drawn(batch: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        indices = torch.multinomial(faces.odds, batch, True, generator=rng).sort().values
        return faces.shown(indices, rng).contiguous(memory_format=torch.channels_last), indices

    def told(captions: Tensor, indices: Tensor, rng: torch.Generator) -> Tensor:
        which = torch.randint(captions.shape[1], (len(indices),), generator=rng)
        tokens = hidden_words(captions[indices, which].long(), 2, len(model.tokens) + 2, rng).to(device)
        return model.clip.encode_text(tokens)

    def paired(pictures: Tensor, texts: Tensor, indices: Tensor) -> dict[str, Tensor]:
        scale = model.clip.logit_scale.exp().clamp(max=30.0)
        return {"contrastive": contrastive(pictures, texts, scale), "text_reading": read(texts, indices)}

    def picture_losses(rng: torch.Generator) -> Losses:
        images, indices = drawn(picture_schedule.batch, rng)
        return {"reading": read(model.encode_image(images), indices)}

    def pair_losses(rng: torch.Generator) -> Losses:
        images, indices = drawn(pair_schedule.batch, rng)
        pictures = model.encode_image(images)
        return {**paired(pictures, told(rows, indices, rng), indices), "reading": read(pictures, indices)}

    def figures() -> Mapping[str, float]:
        return prompt_figures(model, torch.cat([model.encode_image(part) for part in faces.held()]).cpu(), faces)

    fit(trained, picture_losses, picture_schedule, out / "pictures", seed)
    fit(trained, pair_losses, pair_schedule, out / "pairs", seed + 1, figures)
    views = _views(model, faces, seed)
    further = model.tokenize(list(sentences(faces.book, faces.learnt.cpu().numpy(), TEXT_CAPTIONS, seed + 2))).short()
    further = further.reshape(-1, TEXT_CAPTIONS, model.context)

    def text_losses(rng: torch.Generator) -> Losses:
        indices = torch.multinomial(faces.odds, text_schedule.batch, True, generator=rng)
        view = torch.randint(VIEWS, (len(indices),), generator=rng)
        return paired(views[view, indices].to(device), told(further, indices, rng), indices)

    fit(trained, text_losses, text_schedule, out / "texts", seed + 2, figures)


def drawn_faces(crops: Crops) -> Faces:
    """The parser's crops as `learn` takes them."""
    factors = crops.factors[: crops.trained]

    def shown(indices: Tensor, rng: torch.Generator) -> Tensor:
        images, _ = crops.batch(indices, rng, 3.0, 1.05, 0.04)
        return filmed(images, rng, 0.5)

    def held() -> Iterator[Tensor]:
        return (crops.held_batch(slice(start, start + 20))[0] for start in range(0, crops.held, 20))

    # closed eyes and wide open mouths are rare but are edits: they are shown more often
    closed, wide = factors[:, FACTORS.index("eyes_open")] < -1.7, factors[:, FACTORS.index("mouth_open")] > 1
    weights = torch.tensor([_weight(name) for name in FACTORS])
    odds = 1 + 4 * closed.float() + wide.float()
    return Faces(crops.factors, FACTORS, weights, odds, shown, held, BOOK, AIMS, PROMPTS)


def train(
    data_dir: Path,
    out: Path,
    seed: int = 41,
    device: str = "cpu",
    count: int = COUNT,
    schedules: tuple[Schedule, Schedule, Schedule] = (PICTURE_SCHEDULE, PAIR_SCHEDULE, TEXT_SCHEDULE),
) -> SmallClip:
    """Train the drawn family's, or go on where a killed training stopped.

    Args:
        data_dir: folder of the drawn sets; what is missing is drawn.
        out: folder for a checkpoint and a log per stage and clip.safetensors.
        seed: of weights, captions and batches.
        device: "cpu" or "cuda".
        count: crops drawn.
        schedules: see `learn`.
    Returns:
        The model, frozen.
    """
    torch.manual_seed(seed)
    faces = drawn_faces(Crops(data_dir, count, DATA_SEED, sets.CROP, device, shrink=2))
    texts, known = spoken(faces.book, faces.learnt, seed)
    model = SmallClip(*known, size=sets.CROP // 2).to(device)
    learn(model, faces, texts, out, seed, schedules)
    save(out / "clip.safetensors", model.cpu(), "drawn faces", seed)
    return model


def save(path: Path, model: SmallClip, learnt_from: str, seed: int, dtype: torch.dtype | None = None) -> None:
    """Write a trained model with where it comes from; see `checkpoints.save_module`."""
    save_module(path, model, {"trained_on": learnt_from, "seed": str(seed), "neutral": json.dumps(NEUTRAL)}, dtype)
