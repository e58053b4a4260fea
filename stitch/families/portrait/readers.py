"""Who reads faces in `stitch.families.portrait.check`, and what was read."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from stitch.families.portrait import scores
from stitch.families.portrait.training import attributes
from stitch.families.portrait.training.teachers import Looking, seen


class Judges(Looking, Protocol):
    """Who reads faces; see `training.teachers.Teachers`."""

    def dlib(self, crop: np.ndarray, points: np.ndarray) -> np.ndarray:
        """[K], compared by distance."""
        ...

    def happy(self, crop: np.ndarray, points: np.ndarray) -> float:
        """Probability."""
        ...

    def parse(self, crop: np.ndarray) -> np.ndarray:
        """[h,w], BiSeNet's classes."""
        ...


@dataclass(frozen=True, eq=False)
class Readings:
    """What was read in n pictures of S px.

    Attributes:
        meshes: [n,478,2] px.
        attributes: [n] each, by the names of `scores.SCALES`.
        dlib: [n,K] descriptors.
        happy: [n] probabilities.
    """

    meshes: np.ndarray
    attributes: dict[str, np.ndarray]
    dlib: np.ndarray
    happy: np.ndarray

    def at(self, rows: np.ndarray) -> "Readings":
        """Those of some pictures."""
        table = {name: values[rows] for name, values in self.attributes.items()}
        return Readings(self.meshes[rows], table, self.dlib[rows], self.happy[rows])


def read(judges: Judges, images: Iterable[np.ndarray]) -> Readings:
    """Have pictures read, [S,S,3] uint8 each."""
    meshes, rows, descriptors, happy = [], [], [], []
    for image in images:
        image = np.ascontiguousarray(image)
        points = judges.mesh(image)
        age, male, _ = judges.age_and_gender(image, points)
        meshes.append(points)
        rows.append(scores.attributes(judges.expressions(points), age, male))
        descriptors.append(judges.dlib(image, points))
        happy.append(judges.happy(image, points))
    table = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    return Readings(np.stack(meshes), table, np.stack(descriptors), np.array(happy))


def read_named(judges: Judges, images: np.ndarray) -> dict[str, np.ndarray]:
    """What words can say of pictures, [n,S,S,3] uint8; see `attributes.named`."""
    parts = np.stack([judges.parse(np.ascontiguousarray(image)) for image in images])
    return attributes.named(images, seen(images, judges), parts)
