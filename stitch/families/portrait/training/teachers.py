"""Labels of faces by public networks: landmarks, expressions, age, gender, hair, face parts.

The teachers and their program are a folder of their own that is handed in; nothing of it is part of this package.
"""

import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Protocol

import cv2
import numpy as np

from stitch.families.portrait.training import sets

HAIR_SIZE, PARSER_SIZE = 128, 128
HAIR = 17
SIDES = (2, 3), (4, 5), (7, 8)
"""BiSeNet's classes of hair, and of left and right brows, eyes and ears."""
MESH_CENTRE, MESH_SIDE = (0.5, 0.565), 0.80
"""Where the mesh lies in a crop by FFHQ's rule, and the square that is cut for it, as shares of the crop's side."""


class Teachers:
    """The teachers of one folder.

    Args:
        folder: with `teachers.py` and the networks beside it.
    Raises:
        FileNotFoundError: there is no `teachers.py`.
    """

    def __init__(self, folder: Path):
        self._program = _module(folder / "teachers.py")

    def mesh(self, crop: np.ndarray) -> np.ndarray:
        """478 points of an aligned face, [478,2] px of the crop; one pass suffices, for the place is known.

        Args:
            crop: [S,S,3] uint8.
        """
        side = crop.shape[0]
        centre = np.array(MESH_CENTRE) * side
        square, back = self._program._square(crop, centre, MESH_SIDE * side, 0.0, 256)
        answer = self._program._net("face_landmarks_detector.tflite")(sets.to_unit(square))
        points = answer[0].reshape(478, 3).numpy()[:, :2]
        return (np.c_[points, np.ones(len(points))] @ back.T).astype(np.float32)

    def landmarks(self, picture: np.ndarray) -> np.ndarray | None:
        """478 points of the surest face of any picture, [478,2] px, or None; slower than `mesh`."""
        return self._program.landmarks(picture)

    def expressions(self, points: np.ndarray) -> dict[str, float]:
        """52 expressions in [0,1] by name, from a mesh."""
        return self._program.blendshapes(points)

    def age_and_gender(self, crop: np.ndarray, points: np.ndarray) -> tuple[float, float, np.ndarray]:
        """Years, probability of male, and [1024] features that tell people apart."""
        return self._program.faceres(crop, points)

    def hair(self, crop: np.ndarray) -> np.ndarray:
        """[128,128] float32, probability of hair."""
        return cv2.resize(self._program.hair(crop), (HAIR_SIZE, HAIR_SIZE), interpolation=cv2.INTER_AREA)

    def dlib(self, crop: np.ndarray, points: np.ndarray) -> np.ndarray:
        """[128] of dlib's recognition, compared by distance; training never asks it, so it may judge."""
        return self._program.dlib_identity(crop, points)

    def happy(self, crop: np.ndarray, points: np.ndarray) -> float:
        """Probability of a happy face by a network that training never asks either."""
        return self._program.emotion(crop, points)["happy"]

    def parse(self, crop: np.ndarray) -> np.ndarray:
        """[128,128] uint8, BiSeNet's 19 classes."""
        size = (PARSER_SIZE, PARSER_SIZE)
        return cv2.resize(self._program.parse(crop), size, interpolation=cv2.INTER_NEAREST)


def _module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("teachers", path)
    if spec is None or spec.loader is None or not path.exists():
        raise FileNotFoundError(f"{path}: no teachers; name their folder with --teachers")
    program = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent))  # the program imports its neighbours
    try:
        spec.loader.exec_module(program)
    finally:
        sys.path.remove(str(path.parent))
    return program


class Looking(Protocol):
    """What `seen` asks of teachers."""

    def mesh(self, crop: np.ndarray) -> np.ndarray:
        """[478,2] px."""
        ...

    def expressions(self, points: np.ndarray) -> dict[str, float]:
        """By name."""
        ...

    def age_and_gender(self, crop: np.ndarray, points: np.ndarray) -> tuple[float, float, np.ndarray]:
        """Years, probability of male, features."""
        ...

    def hair(self, crop: np.ndarray) -> np.ndarray:
        """[h,w], probability."""
        ...


def seen(images: np.ndarray, teachers: Looking) -> sets.Arrays:
    """What the teachers see in aligned faces.

    Args:
        images: [N,S,S,3] uint8, N >= 1.
        teachers: who labels.
    Returns:
        mesh [N,478,2] float32 in shares of the side; expressions [N,52], age, male [N], identity [N,1024] float32;
        hair [N,128,128] uint8, in 1/255.
    """

    def one(crop: np.ndarray) -> Mapping[str, np.ndarray]:
        points = teachers.mesh(crop)
        age, male, identity = teachers.age_and_gender(crop, points)
        return {
            "mesh": points / crop.shape[0],
            "expressions": np.array(list(teachers.expressions(points).values()), np.float32),
            "age": np.float32(age),
            "male": np.float32(male),
            "identity": identity.astype(np.float32),
            "hair": in_255(teachers.hair(crop)),
        }

    rows = [one(np.ascontiguousarray(crop)) for crop in images]
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def looks(folder: Path, images: np.ndarray, teachers: Teachers) -> sets.Arrays:
    """What the teachers see, kept on disk; arguments and what it returns as of `seen`, folder as of `sets.kept`."""
    return sets.kept(folder, len(images), lambda chunk: seen(images[chunk.start : chunk.stop], teachers))


def parsed(folder: Path, images: np.ndarray, teachers: Teachers) -> np.ndarray:
    """Parts of aligned faces as the teachers of parts and of hair see them, the slowest of all, kept on disk.

    Args as `looks`.
    Returns:
        [N,128,128] uint8, BiSeNet's 19 classes, of `with_hair` and `sided`.
    """

    def make(chunk: range) -> Mapping[str, np.ndarray]:
        faces = [np.ascontiguousarray(images[index]) for index in chunk]
        return {"parts": np.stack([teachers.parse(face) for face in faces]),
                "hair": np.stack([in_255(teachers.hair(face)) for face in faces])}

    found = sets.kept(folder, len(images), make)
    return sided(with_hair(found["parts"], found["hair"]))


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


def sided(parts: np.ndarray) -> np.ndarray:
    """Brows, eyes and ears named by the half of the crop that they lie in: the teacher mixes the sides up.

    Args:
        parts: [N,h,w] uint8 classes of aligned faces.
    Returns:
        [N,h,w] uint8, the left class in the picture's left half.
    """
    half = parts.shape[-1] // 2
    left, right = np.arange(256, dtype=np.uint8), np.arange(256, dtype=np.uint8)
    for one, other in SIDES:
        left[other], right[one] = one, other
    return np.concatenate([left[parts[..., :half]], right[parts[..., half:]]], -1)


def in_255(shares: np.ndarray) -> np.ndarray:
    """Shares in [0,1] in 1/255, uint8."""
    return np.round(shares * 255).astype(np.uint8)
