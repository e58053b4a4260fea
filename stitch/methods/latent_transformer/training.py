"""What the latent transformer is trained by: a classifier of codes, and the losses that it gives."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stitch.methods.latent_transformer.transformer import LatentTransformers

HELD = 5
"""Every such sample is kept from the classifier, to judge it by."""


@dataclass(frozen=True)
class Schedule:
    """How long and how fast.

    Attributes:
        steps: of Adam, for the classifier and for each attribute.
        batch: codes a step.
        rate: Adam's.
        decorrelation, keeping: lambda of the other attributes and of the code (Yao et al. 2021, equation 5: 1 and 10).
    """

    steps: int = 1000
    batch: int = 128
    rate: float = 1e-3
    decorrelation: float = 1.0
    keeping: float = 10.0


class Classifier(nn.Module):
    """Attributes of a code in W: three layers (Yao et al. 2021, section 3.2).

    Args:
        w: codes whose mean and std are taken out first, [N,D].
        attributes: A.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, w: Tensor, attributes: int):
        super().__init__()
        size = w.shape[1]
        self.register_buffer("mean", w.mean(0))
        self.register_buffer("std", w.std(0).clamp_min(1e-6))
        self.layers = nn.Sequential(
            nn.Linear(size, size), nn.LeakyReLU(0.2), nn.Linear(size, size), nn.LeakyReLU(0.2),
            nn.Linear(size, attributes),
        )

    def forward(self, w: Tensor) -> Tensor:
        """[B,D] -> [B,A], before the sigmoid."""
        return self.layers((w - self.mean) / self.std)


def balanced_bce(logits: Tensor, labels: Tensor, positive: Tensor) -> Tensor:
    """Cross entropy that weighs both classes of each attribute alike, however rare one is (section 3.2).

    Args:
        logits: [B,A].
        labels: [B,A] in {0,1}; NaN where nobody knows.
        positive: [A], share of ones among all samples.
    Returns:
        Scalar.
    """
    known = labels.isfinite()
    labels = labels.nan_to_num()
    weights = torch.where(labels > 0.5, 0.5 / positive, 0.5 / (1 - positive)) * known
    return (F.binary_cross_entropy_with_logits(logits, labels, reduction="none") * weights).sum() / known.sum()


def train_classifier(
    w: Tensor, labels: Tensor, schedule: Schedule, seed: int = 0
) -> tuple[Classifier, Tensor]:
    """Fit the classifier.

    Args:
        w: [N,D].
        labels: [N,A] in {0,1}, NaN where nobody knows.
        schedule: steps and rate.
        seed: of weights and batches.
    Returns:
        The classifier, frozen, as it was best on the held samples; and its balanced accuracy on them, [A].
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        classifier = Classifier(w, labels.shape[1])
    rng = torch.Generator().manual_seed(seed)
    held = torch.arange(len(w)) % HELD == 0
    positive = labels.nanmean(0)
    seen_w, seen = w[~held], labels[~held]
    adam = torch.optim.Adam(classifier.parameters(), lr=schedule.rate, weight_decay=1e-4)
    best, kept = float("inf"), classifier.state_dict()
    for step in range(schedule.steps):
        rows = torch.randint(len(seen_w), (schedule.batch,), generator=rng)
        loss = balanced_bce(classifier(seen_w[rows]), seen[rows], positive)
        adam.zero_grad()
        loss.backward()
        adam.step()
        if step % 50 == 49 or step == schedule.steps - 1:
            with torch.no_grad():
                error = float(balanced_bce(classifier(w[held]), labels[held], positive))
            if error < best:
                best, kept = error, {name: value.clone() for name, value in classifier.state_dict().items()}
    classifier.load_state_dict(kept)
    classifier.requires_grad_(False).eval()
    with torch.no_grad():
        return classifier, _balanced_accuracy(classifier(w[held]) > 0, labels[held])


def train_attribute(
    transformers: LatentTransformers, index: int, w: Tensor, classifier: Classifier, column: int, alike: Tensor,
    schedule: Schedule,
) -> dict[str, float]:
    """Train one attribute's maps: equation 5, L_cls + lambda * L_attr + lambda * L_rec.

    alpha is by how much the classifier's answer is short of the opposite one, so that every code is sent over the
    boundary (section 3.2). Of the others, those that go with the attribute by nature may move along: their part of
    L_attr is weighed by 1 - |correlation|.

    Args:
        transformers: whose weights of this attribute are trained.
        index: of the attribute there.
        w: [N,D].
        classifier: frozen.
        column: of the attribute in the classifier's answer.
        alike: [A], correlation of every attribute with it.
        schedule: steps, rates and weights.
    Returns:
        How many of 100 codes cross the boundary, and the terms of the loss, at the end.
    """
    rng = torch.Generator().manual_seed(column)
    weight, bias = (
        one[index].detach().clone().requires_grad_(True) for one in (transformers.weight, transformers.bias)
    )
    apart = 1 - alike.abs()
    apart[column] = 0
    adam = torch.optim.Adam([weight, bias], lr=schedule.rate)
    told: dict[str, float] = {}
    for _ in range(schedule.steps):
        codes = w[torch.randint(len(w), (schedule.batch,), generator=rng)]
        with torch.no_grad():
            before = classifier(codes).sigmoid()
        goal = (before[:, column] < 0.5).float()
        alpha = goal - before[:, column]
        rows = codes[:, None].expand(-1, len(weight), -1)
        moved = rows + alpha[:, None, None] * (torch.einsum("bld,lod->blo", rows, weight) + bias)
        logits = classifier(moved.mean(1))
        after = logits.sigmoid()
        wanted = F.binary_cross_entropy_with_logits(logits[:, column], goal)
        others = ((after - before).square() * apart).sum(1).mean() / apart.sum().clamp_min(1e-9)
        kept = F.mse_loss(moved, rows)
        loss = wanted + schedule.decorrelation * others + schedule.keeping * kept
        adam.zero_grad()
        loss.backward()
        adam.step()
        crossed = ((after[:, column] > 0.5) == (goal > 0.5)).float().mean()
        terms = {"crossed": crossed, "cls": wanted, "attr": others, "rec": kept}
        told = {name: float(term.detach()) for name, term in terms.items()}
    with torch.no_grad():
        transformers.weight[index].copy_(weight)
        transformers.bias[index].copy_(bias)
    return told


@torch.no_grad()
def calibrate(
    transformers: LatentTransformers, w: Tensor, classifier: Classifier, columns: Mapping[str, int],
    steps: Mapping[str, Tensor],
) -> None:
    """Set each attribute's unit so that a step moves the classifier's answer as far as one step of the family's slider.

    Args:
        transformers: trained; their units are set.
        w: [N,D].
        classifier: frozen.
        columns: of each attribute in the classifier's answer.
        steps: [D], one step of each attribute's slider.
    """
    logits = classifier(w)
    for index, name in enumerate(transformers.names):
        small = 0.1
        by_slider = classifier(w + small * steps[name]) - logits
        by_move = classifier(w + small * transformers.moves(w[:, None], name)[:, 0]) - logits
        column = columns[name]
        transformers.unit[index] = by_slider[:, column].mean() / by_move[:, column].mean().clamp_min(1e-6)


def correlations(labels: Tensor, column: int) -> Tensor:
    """Pearson's correlation of every attribute with one, over the samples that have both.

    Args:
        labels: [N,A]; NaN where nobody knows.
        column: of the one.
    Returns:
        [A].
    """
    found = []
    for other in labels.T:
        both = other.isfinite() & labels[:, column].isfinite()
        found.append(torch.corrcoef(torch.stack((other[both], labels[both, column])))[0, 1].nan_to_num())
    return torch.stack(found)


def binary(values: Mapping[str, Tensor], names: Sequence[str]) -> Tensor:
    """Attributes as labels: above the mean or not.

    Args:
        values: [N] by name, NaN where nobody knows.
        names: which, in order.
    Returns:
        [N,A] float32 in {0,1}, NaN where nobody knows.
    """
    rows = torch.stack([values[name].double() for name in names], 1)
    return torch.where(rows.isfinite(), (rows > rows.nanmean(0)).double(), rows).float()


def _balanced_accuracy(guessed: Tensor, labels: Tensor) -> Tensor:
    """Mean share of ones and of zeros that are told right, [A]."""
    shares = [((guessed == (labels > 0.5)) & (labels == kind)).sum(0) / (labels == kind).sum(0).clamp_min(1)
              for kind in (0, 1)]
    return torch.stack(shares).mean(0)
