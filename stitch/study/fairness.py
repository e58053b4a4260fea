"""`stitch study fairness FOLDER`: who a family serves worse, by skin, sex and age, on photos of many people.

Photos and not clips, and the encoder's drawing and not the tuned one: tuning brings most faces near, and what it starts
from decides how far edits hold. Skin is measured (individual typology angle, Chardon et al. 1991); sex and age are what
a list of labels says.
"""

import json
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from stitch.core import geometry, metrics
from stitch.core.errors import StitchError, VideoError
from stitch.core.events import Event, Notice, Progress
from stitch.core.images import to_levels, to_tensor
from stitch.core.records import Edit
from stitch.core.settings import FaceSettings, StitchingSettings
from stitch.families.family import Family
from stitch.methods.stit import edit, stitching
from stitch.methods.stit.likeness import likeness
from stitch.runtime.disk import PICTURE_SUFFIXES
from stitch.video import files

SKIN = 1
"""Class of the parser."""
SKINS = ((41.0, "light"), (10.0, "medium"), (-91.0, "dark"))
"""Least typology angle of each group, degrees (Chardon's six, two by two)."""
AGES = ((60, "60 and older"), (35, "35 to 59"), (0, "below 35"))
PROBES = (Edit("smile", 2.0), Edit("age", -2.0))
RESAMPLED = 1000


@dataclass(frozen=True)
class Person:
    """What was measured on one photo.

    Attributes:
        name: of the file.
        groups: by kind ("skin", "sex", "age").
        figures: by name; none where no face was found.
    """

    name: str
    groups: Mapping[str, str]
    figures: Mapping[str, float]


@torch.no_grad()
def measure(photo: Path, label: Mapping[str, Any], family: Family) -> Person:
    """One photo: is the face found, how near does the encoder come, does a face stay itself under edits.

    Args:
        photo: of one person.
        label: "sex" and "age" in years, or less.
        family: loaded.
    Raises:
        VideoError: the photo cannot be read.
    """
    frame = next(files.frames(files.probe(photo)))
    groups = {"sex": str(label["sex"])} if "sex" in label else {}
    if "age" in label:
        groups["age"] = _group(float(label["age"]), AGES)
    found = family.detector.detect(frame, FaceSettings().threshold)
    if not len(found.boxes):
        return Person(photo.name, groups, {"found": 0.0})
    points = found.landmarks[int(np.argmax(found.scores))].astype(np.float64)
    quad = geometry.corners(*geometry.quads_from_landmarks(points[None]))[0]
    device = next(family.generator.parameters()).device
    crop = to_tensor(geometry.sample_crop(frame, quad, family.generator.resolution)[None]).to(device)
    pivot = family.encoder(crop)
    drawn = edit.render(family.generator, pivot)
    mask = stitching.faces(family.parser, crop, StitchingSettings())[0]
    figures = {
        "found": 1.0,
        "encoder_db": float(metrics.psnr(to_levels(drawn[0]), to_levels(crop[0]), mask)),
        "likeness": likeness(crop, pivot, family),
    }
    before = family.identity(drawn.clamp(-1, 1))
    for probe in PROBES:
        after = edit.render(family.generator, edit.resolve([probe], family).codes(pivot, np.zeros(1), family.generator))
        figures[f"{probe.name} keeps"] = float(metrics.cosines(*(
            one.float().cpu().numpy() for one in (before, family.identity(after.clamp(-1, 1)))))[0])
    angle = typology_angle(crop[0], family.parser(crop)[0] == SKIN)
    return Person(photo.name, groups | {"skin": _group(angle, SKINS)}, figures | {"typology_angle": angle})


def typology_angle(crop: torch.Tensor, skin: torch.Tensor) -> float:
    """How light skin is: atan((L* - 50) / b*) of its median colour, degrees; above 55 very light, below -30 dark.

    Args:
        crop: [3,S,S] in [-1,1].
        skin: [s,s] bool, where it shows skin, of any size.
    Raises:
        VideoError: nowhere.
    """
    levels: np.ndarray = ((crop.clamp(-1, 1) + 1) / 2).permute(1, 2, 0).cpu().numpy().astype(np.float32)
    where = cv2.resize(skin.cpu().numpy().astype(np.uint8), levels.shape[:2], interpolation=cv2.INTER_NEAREST) > 0
    if not where.any():
        raise VideoError("no skin is seen")
    lab: np.ndarray = cv2.cvtColor(levels, cv2.COLOR_RGB2LAB)
    light, _, yellow = np.median(lab[where], axis=0)
    return float(np.degrees(np.arctan2(light - 50, yellow)))


def run(folder: Path, labels: Path | None, family: Family) -> Generator[Event, None, dict[str, Any]]:
    """Measure a folder of photos.

    Args:
        folder: photos, one person each.
        labels: JSON file, {"anna": {"sex": "female", "age": 40}}, by the photos' names without ending; None knows
            nobody's.
        family: loaded.
    Yields:
        Progress in photos; Notices of those that cannot be read.
    Returns:
        Plain JSON values: "summary", as `summary` gives it, and "people", each one's figures.
    Raises:
        StitchError: there is no photo, or the labels are none.
    """
    known = _labels(labels)
    photos = sorted(path for path in (folder.iterdir() if folder.is_dir() else ())
                    if path.suffix.lower() in PICTURE_SUFFIXES)
    people: list[Person] = []
    for done, path in enumerate(photos, 1):
        try:
            people.append(measure(path, known.get(path.stem, {}), family))
        except VideoError as error:
            yield Notice(f"left out: {error}")
        yield Progress("people", done, len(photos), "photo")
    if not people:
        raise StitchError(f"{folder}: no photo in it")
    return {"summary": summary(people), "people": [vars(one) for one in people]}


def table(record: Mapping[str, Any]) -> str:
    """What `run` found, a line for each group."""
    return "\n".join(
        f"{kind:5} {name:14} {means['people']:3}  " + "  ".join(
            f"{figure} {value[0]:.2f} [{value[1]:.2f}, {value[2]:.2f}]" for figure, value in means.items()
            if figure not in ("people", "typology_angle"))
        for kind, groups in record["summary"].items() for name, means in groups.items()
    )


def summary(people: Sequence[Person]) -> dict[str, dict[str, dict[str, Any]]]:
    """Means of every group with 95 % intervals by resampling people.

    Args:
        people: of `measure`.
    Returns:
        kind -> group -> {"people": how many, figure: [mean, lower, upper]}.
    """
    table: dict[str, dict[str, dict[str, Any]]] = {"all": {"everybody": _means(people)}}
    for kind in sorted({kind for person in people for kind in person.groups}):
        names = sorted({person.groups[kind] for person in people if kind in person.groups})
        table[kind] = {name: _means([one for one in people if one.groups.get(kind) == name]) for name in names}
    return table


def _means(people: Sequence[Person]) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    means: dict[str, Any] = {"people": len(people)}
    for name in dict.fromkeys(name for person in people for name in person.figures):
        values = np.array([person.figures[name] for person in people if name in person.figures])
        drawn = values[rng.integers(0, len(values), (RESAMPLED, len(values)))].mean(1)
        means[name] = [round(float(one), 3) for one in (values.mean(), *np.quantile(drawn, (0.025, 0.975)))]
    return means


def _group(value: float, bounds: Sequence[tuple[float, str]]) -> str:
    return next(name for least, name in bounds if value >= least)


def _labels(file: Path | None) -> Mapping[str, Mapping[str, Any]]:
    if file is None:
        return {}
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        if isinstance(found, dict) and all(isinstance(one, dict) for one in found.values()):
            return found
    except (OSError, ValueError):
        pass
    raise StitchError(f'{file}: not a list of labels such as {{"anna": {{"sex": "female", "age": 40}}}}')
