"""`python -m stitch.methods.latent_transformer.train FAMILY`: train the baseline's maps for a family, in minutes.

Labels of miniature are what is drawn for a random vector. Labels of portrait are its training's: `--work` is the folder
of `stitch.families.portrait.train`, with rendered faces and what the teachers saw in them.
"""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from stitch.core.errors import StitchError, WeightsError
from stitch.families import load
from stitch.families.family import Family
from stitch.families.miniature.faces import FACTORS, factors_from_z
from stitch.families.portrait.training import attributes, distil
from stitch.methods.latent_transformer import training
from stitch.methods.latent_transformer.transformer import WEIGHTS, LatentTransformers
from stitch.networks.formats.checkpoints import save_module

SAMPLES = 8000
"""Random vectors of miniature."""

TRAINED: Mapping[str, Sequence[str]] = {
    "miniature": ("smile", "mouth_open", "age", "gender", "beard", "hair_length", "glasses", "lipstick"),
    "portrait": ("smile", "age"),
}
"""Attributes that maps are kept of; portrait's are large, 0.5 MB each."""

Labelled = tuple[Tensor, dict[str, Tensor]]
"""Codes [N,D], and each attribute [N], NaN where nobody knows."""


@torch.no_grad()
def of_miniature(family: Family, work: Path | None) -> Labelled:
    """Codes of random vectors, labelled with what is drawn for them.

    Args:
        family: miniature, loaded.
        work: not looked at.
    """
    generator = family.generator
    z = torch.randn(SAMPLES, generator.z_dim, generator=torch.Generator().manual_seed(505))
    factors = torch.from_numpy(factors_from_z(z.numpy()))
    return generator.mapping(z), {name: factors[:, index] for index, name in enumerate(FACTORS)}


def of_portrait(family: Family, work: Path | None) -> Labelled:
    """Codes of rendered faces, labelled by the teachers; measured once, then kept as named.npz in the folder.

    Args:
        family: portrait, loaded.
        work: of its training.
    Raises:
        WeightsError: no folder, or faces and labels are not there.
    """
    if work is None or not (work / "faces" / "w.npy").exists():
        raise WeightsError("portrait: name the folder of its training with --work; it needs faces/ and looks/, which "
                           "'python -m stitch.families.portrait.train directions' makes")
    kept = work / "named.npz"
    if not kept.exists():
        looks = {path.stem: np.load(path, mmap_mode="r") for path in (work / "looks").glob("*.npy")}
        count = min(len(values) for values in looks.values())
        images = np.load(work / "faces" / "images.npy", mmap_mode="r")[:count]
        parts = distil.parts_of(family.parser, images)  # type: ignore[arg-type]  # portrait's parser is one
        np.savez(kept, allow_pickle=False, **attributes.named(images, looks, parts))
    with np.load(kept, allow_pickle=False) as found:
        named = {name: torch.from_numpy(found[name]) for name in found.files}
    w = torch.from_numpy(np.load(work / "faces" / "w.npy")[: len(named["smile"])])
    return w, named


LABELLED: Mapping[str, Callable[[Family, Path | None], Labelled]] = {
    "miniature": of_miniature, "portrait": of_portrait,
}


def train(
    family: Family, labelled: Labelled, names: Sequence[str], schedule: training.Schedule
) -> tuple[LatentTransformers, dict[str, dict[str, float]]]:
    """Train a family's maps.

    Args:
        family: whose sliders say how long a step is.
        labelled: codes and attributes.
        names: attributes to train.
        schedule: of classifier and maps.
    Returns:
        The maps, and what is known of each: the classifier's balanced accuracy, and the losses at the end.
    """
    w, values = labelled
    every = [name for name, column in values.items() if column.nan_to_num().std() > 0]
    labels = training.binary(values, every)
    classifier, accuracy = training.train_classifier(w, labels, schedule)
    transformers = LatentTransformers(names, w.shape[1])
    told = {}
    for index, name in enumerate(names):
        column = every.index(name)
        alike = training.correlations(labels, column)
        told[name] = {"accuracy": float(accuracy[column])} | training.train_attribute(
            transformers, index, w, classifier, column, alike, schedule
        )
    steps = {name: family.directions[name].vector * family.directions[name].unit for name in names}
    training.calibrate(transformers, w, classifier, {name: every.index(name) for name in names}, steps)
    for name, unit in zip(names, transformers.unit.tolist(), strict=True):
        told[name]["unit"] = unit
    return transformers.requires_grad_(False), told


def main(argv: Sequence[str] | None = None) -> int:
    """Command line."""
    options = argparse.ArgumentParser(prog="python -m stitch.methods.latent_transformer.train",
                                      description="Train the latent transformer for a family.")
    options.add_argument("family", choices=tuple(LABELLED))
    options.add_argument("--work", type=Path, metavar="DIR", help="folder of portrait's training")
    options.add_argument("--out", type=Path, default=WEIGHTS, metavar="DIR", help="where the file goes")
    given = options.parse_args(argv)
    try:
        family = load.load_family(given.family, torch.device("cpu"))
        labelled = LABELLED[given.family](family, given.work)
        transformers, told = train(family, labelled, TRAINED[given.family], training.Schedule())
    except StitchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    notes = {name: {key: round(value, 3) for key, value in row.items()} for name, row in told.items()}
    given.out.mkdir(parents=True, exist_ok=True)
    path = given.out / f"{given.family}.safetensors"
    save_module(path, transformers, {"trained": json.dumps(notes)}, dtype=torch.float16)
    print(json.dumps(notes, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
