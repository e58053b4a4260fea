"""Directions in W, by InterFaceGAN's procedure (Shen et al. 2020, arXiv 2005.09635).

Samples are labelled, a linear function of w is fitted to each attribute, and its normal is made conditional on the
others (section 3.3): of all moves that leave the other attributes' functions alone, the one is taken that stays closest
to the cloud of codes. A direction's length is one unit of its slider, whose useful range is -3 .. 3.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from stitch.families.portrait.training import sets

SLIDERS = (
    "smile", "age", "gender", "glasses", "beard", "hair_length", "hair_dark", "hair_blond", "hair_grey", "bangs",
    "lipstick", "brows", "eyes_open", "mouth_open", "yaw", "pitch", "face_width",
)  # fmt: skip

ALIKE: Mapping[str, Sequence[str]] = {
    "smile": ("mouth_open", "eyes_open", "face_width"),
    "hair_dark": ("hair_blond", "hair_grey"), "hair_blond": ("hair_dark", "hair_grey"),
    "hair_grey": ("hair_dark", "hair_blond"), "hair_length": ("hair_amount",), "bangs": ("hair_amount",),
}  # fmt: skip
"""What a slider may move along, because it says nearly the same, or comes with it: who smiles shows teeth and narrows
the eyes."""

CHILD_YEARS, ADULT_YEARS = 12.0, 18.0

LONGEST = 2.2
"""Length in W of one unit at most; three units beyond about 7 leave the domain of faces."""


@dataclass(frozen=True, eq=False)
class Found:
    """One direction.

    Attributes:
        vector: [D], one unit of the slider.
        held_r2: share of the label's variance that the fit explains on samples it did not see.
        per_unit: by how many standard deviations of its label one unit moves the fitted function.
    """

    vector: Tensor
    held_r2: float
    per_unit: float


def person(features: np.ndarray, labels: Mapping[str, np.ndarray], count: int = 40) -> dict[str, Tensor]:
    """What tells people apart beside the attributes: labels that no slider should move.

    Args:
        features: [N,K] of a recognition network.
        labels: [N] numbers by attribute; what they foretell of the features is taken out first.
        count: principal components of the rest.
    Returns:
        [N] each, by name, the strongest first.
    """
    unit = features.astype(np.float64) / np.linalg.norm(features, axis=1, keepdims=True)
    known = np.stack([np.nan_to_num((one - np.nanmean(one)) / np.nanstd(one)) for one in labels.values()], axis=1)
    known = np.c_[known, np.ones(len(known))]
    rest = unit - known @ np.linalg.lstsq(known, unit, rcond=None)[0]
    scores, sizes, _ = np.linalg.svd(rest, full_matrices=False)
    return {f"person {index}": torch.from_numpy(scores[:, index] * sizes[index]) for index in range(count)}


def boundaries(
    w: Tensor,
    labels: Mapping[str, Tensor],
    sliders: Sequence[str] = SLIDERS,
    kept: Mapping[str, Sequence[str]] | None = None,
    ridges: Sequence[float] = (0.01, 0.03, 0.1, 0.3, 1.0),
    step: float = 1.0,
    longest: float = LONGEST,
) -> dict[str, Found]:
    """Conditional directions of all attributes.

    Args:
        w: [N,D] codes.
        labels: [N] numbers by attribute; NaN where an attribute could not be measured.
        sliders: attributes that get a direction; all other labels are only held still.
        kept: for a slider, attributes that it may move along, because they mean the same.
        ridges: shares of the mean variance among which every fit chooses on a held quarter of the samples.
        step: standard deviations of its label that one unit moves.
        longest: length of a unit at most.
    Returns:
        By slider.
    """
    kept = kept or {}
    w = w.double()
    centred = w - w.mean(0)
    metric = centred.T @ centred / len(w)
    normals: dict[str, Tensor] = {}
    r2: dict[str, float] = {}
    for name, label in labels.items():
        normals[name], r2[name] = _fit(centred, label.double(), ridges)
    found = {}
    for name in sliders:
        others = [other for other in normals if other != name and other not in kept.get(name, ()) and r2[other] > 0.1]
        held = torch.stack([normals[other] for other in others]) if others else w.new_zeros(0, w.shape[1])
        move = metric @ normals[name]
        basis = metric @ held.T
        move = move - basis @ torch.linalg.solve(held @ basis, held @ move)
        move = move / (normals[name] @ move)
        length = min(float(step * move.norm()), longest)
        found[name] = Found(
            (move / move.norm() * length).float(), r2[name], length / float(move.norm())
        )
    return found


def steadied(found: Mapping[str, Found], w: Tensor, labels: Mapping[str, Tensor]) -> dict[str, Found]:
    """Directions that leave further labels alone as well, such as the colour of the skin.

    Args:
        found: directions.
        w: [N,D] codes.
        labels: [N] numbers by attribute, all to be held still.
    Returns:
        The same, each less its move along the labels' functions; nearest in the cloud of codes, as in `boundaries`.
    """
    centred = w.double() - w.double().mean(0)
    metric = centred.T @ centred / len(w)
    held = torch.stack([_fit(centred, label.double(), (0.01, 0.03, 0.1, 0.3, 1.0))[0] for label in labels.values()])
    basis = metric @ held.T
    return {
        name: replace(
            one, vector=(one.vector - basis @ torch.linalg.solve(held @ basis, held @ one.vector.double())).float()
        )
        for name, one in found.items()
    }


def child_boundary(w: Tensor, ages: Tensor, ridge: float = 0.01) -> tuple[Tensor, float]:
    """The plane in W beyond which faces are children's, by logistic regression on those below 12 and above 18.

    The rarer kind counts by the root of how much rarer it is, so that few grown-ups lie beyond.

    Args:
        w: [N,D] codes.
        ages: [N] years.
        ridge: weight of the squared normal, in codes of unit variance.
    Returns:
        normal, [D], and offset: w lies beyond where w . normal + offset > 0.
    """
    known = (ages < CHILD_YEARS) | (ages > ADULT_YEARS)
    x, young = w[known].double(), (ages[known] < CHILD_YEARS).double()
    mean, spread = x.mean(0), x.std(0).mean()
    x = (x - mean) / spread
    weight = ((1 - young).sum() / young.sum().clamp_min(1)).sqrt()
    fit = torch.zeros(x.shape[1] + 1, dtype=x.dtype, requires_grad=True)
    optimizer = torch.optim.LBFGS([fit], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        told = x @ fit[:-1] + fit[-1]
        total = binary_cross_entropy_with_logits(told, young, pos_weight=weight) + ridge * fit[:-1].square().sum()
        total.backward()
        return total

    optimizer.step(loss)
    normal = fit.detach()[:-1] / spread
    return normal.float(), float(fit.detach()[-1] - normal @ mean)


def held_boundary(w: Tensor, ages: Tensor, folds: int = 5) -> Tensor:
    """How far beyond the plane of the other folds each code lies, [N]: what `child_boundary` is worth."""
    fold = torch.arange(len(w)) % folds
    told = torch.empty(len(w))
    for held in range(folds):
        normal, offset = child_boundary(w[fold != held], ages[fold != held])
        told[fold == held] = w[fold == held] @ normal + offset
    return told


def skin_colours(images: np.ndarray) -> dict[str, Tensor]:
    """Mean colour of the cheeks of aligned faces.

    Args:
        images: [N,S,S,3] uint8.
    Returns:
        [N] for each of "red", "green", "blue".
    """
    means = torch.cat([cheeks(sets.to_float(images[first : first + 32])) for first in range(0, len(images), 32)])
    return dict(zip(("red", "green", "blue"), means.double().add(1).mul(127.5).unbind(1), strict=True))


def cheeks(images: Tensor) -> Tensor:
    """Mean colour of the cheeks of aligned faces, [B,3,S,S] in [-1,1] -> [B,3]."""
    size = images.shape[-1]
    rows = slice(round(0.54 * size), round(0.66 * size))
    sides = [images[:, :, rows, round(left * size) : round((left + 0.1) * size)] for left in (0.31, 0.59)]
    return torch.stack([side.mean((2, 3)) for side in sides]).mean(0)


def _fit(centred: Tensor, label: Tensor, ridges: Sequence[float]) -> tuple[Tensor, float]:
    """Normal of a ridge regression to the standardised label, and its R^2 on the held quarter."""
    usable = label.isfinite()
    x, y = centred[usable], label[usable]
    low, high = y.quantile(0.005), y.quantile(0.995)
    y = y.clamp(low, high)
    y = (y - y.mean()) / y.std().clamp_min(1e-9)
    held = torch.arange(len(x)) % 4 == 0
    best, best_error = ridges[0], float("inf")
    for ridge in ridges:
        error = float((x[held] @ _ridge(x[~held], y[~held], ridge) - y[held]).square().mean())
        if error < best_error:
            best, best_error = ridge, error
    return _ridge(x, y, best), 1 - best_error / float(y[held].var(correction=0))


def _ridge(x: Tensor, y: Tensor, ridge: float) -> Tensor:
    covariance = x.T @ x / len(x)
    damping = ridge * covariance.diagonal().mean() * torch.eye(len(covariance), dtype=x.dtype)
    return torch.linalg.solve(covariance + damping, x.T @ y / len(x))


def read(path: Path) -> dict[str, Found]:
    """What `save` wrote."""
    with safe_open(path, framework="pt") as file:
        notes = json.loads(file.metadata()["directions"])
        return {
            name: Found(file.get_tensor(f"direction.{name}"), note["held_r2"], note["per_unit"])
            for name, note in notes.items()
        }


def save(path: Path, found: Mapping[str, Found]) -> None:
    """Write directions as safetensors: `direction.NAME` [D], whose length is the slider's unit; notes in the header."""
    notes = {
        name: {"held_r2": round(direction.held_r2, 3), "per_unit": round(direction.per_unit, 3)}
        for name, direction in found.items()
    }
    tensors = {f"direction.{name}": direction.vector.contiguous() for name, direction in found.items()}
    save_file(tensors, path, metadata={"directions": json.dumps(notes), "range": "-3 .. 3"})
