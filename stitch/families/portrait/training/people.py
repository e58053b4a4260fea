"""Pictures of people that no generator of ours drew, as aligned crops."""

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np

from stitch.core import geometry
from stitch.families.portrait.training import sets
from stitch.families.portrait.training.teachers import Teachers

SIZE = 256
_EYES, _NOSE, _MOUTH = ((33, 133), (263, 362)), 1, (61, 291)


def crops(folder: Path, pictures: Path, teachers: Teachers) -> sets.Arrays:
    """Faces of all pictures of a folder, by FFHQ's rule on the teacher's landmarks.

    Args:
        folder: see `sets.kept`.
        pictures: with one face per .jpg; where none is found, the picture is left out.
        teachers: find the points.
    Returns:
        images [N,256,256,3] uint8.
    """
    found: list[np.ndarray] = []
    for path in sorted(pictures.glob("*.jpg")):
        stored = cv2.imread(str(path))
        if stored is None:
            raise ValueError(f"{path}: no picture")
        picture = cv2.cvtColor(stored, cv2.COLOR_BGR2RGB)
        points = teachers.landmarks(picture)
        if points is not None:
            found.append(aligned(picture, points))

    def make(chunk: range) -> Mapping[str, np.ndarray]:
        return {"images": np.stack([found[index] for index in chunk])}

    return sets.kept(folder, len(found), make)


def aligned(picture: np.ndarray, points: np.ndarray) -> np.ndarray:
    """FFHQ's crop.

    Args:
        picture: [H,W,3] uint8.
        points: [478,2] px.
    Returns:
        [256,256,3] uint8.
    """
    five = np.stack([*(points[list(eye)].mean(0) for eye in _EYES), points[_NOSE], *points[list(_MOUTH)]])
    quad = geometry.corners(*geometry.quads_from_landmarks(five[None]))[0]
    return geometry.sample_crop(picture, quad, SIZE)
