"""Sets of drawn pictures on disk, as uint8 arrays that are read memory-mapped.

Faces are drawn once against grey and kept with their coverage, so that training can put them before any backdrop, at
any place and size. Sample i of a set is drawn from the seed (set's seed, i): a killed drawing goes on where it stopped.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.lib.format import open_memmap
from torch import Tensor

from stitch.families.miniature.backdrops import backdrop
from stitch.families.miniature.faces import FACTORS, IDENTITY, Z_DIM, crop_placement, draw, factors_from_z
from stitch.families.miniature.training.augment import to_float

GREY = 128
GREY_LEVEL = GREY / 127.5 - 1
CROP = 128
CROP_MARGIN = 8
"""Drawn beyond each side of a crop, so that a shifted crop has pixels everywhere."""

PORTRAIT = 176
PORTRAIT_PX = 40.0
"""Pixels per head unit of a portrait."""

SCENE = (320, 240)
SCENES = 400
SCENE_SEED = 102

STEADY = tuple(name for name in IDENTITY if not name.startswith("cloth"))
"""Factors that make a person."""

CHANGING = ("age", "gender", "beard", "hair_length", "hair_lightness")
"""Attributes of a person that an edit may change: a person has a habit, and every picture strays from it."""

Sample = Mapping[str, np.ndarray]
Drawn = dict[str, np.ndarray]


def ordinary(rng: np.random.Generator) -> np.ndarray:
    """Factors of a random face, [len(FACTORS)] in standard units, cut at 2.5."""
    return np.clip(rng.standard_normal(len(FACTORS)), -2.5, 2.5)


def aligned(folder: Path, count: int, seed: int, size: int) -> Drawn:
    """Aligned faces by the FFHQ rule before plain backdrops, with the random vectors that they are drawn from.

    Args:
        folder, count, seed, size: as for `crops`.
    Returns:
        images [N,S,S,3] and labels [N,S,S] uint8; z [N,64] float32.
    """

    def one(_: int, rng: np.random.Generator) -> Sample:
        z = rng.normal(size=Z_DIM).astype(np.float32)
        factors = factors_from_z(z[None])[0]
        drawing = draw(factors, (size, size), crop_placement(factors, size))
        return {"images": drawing.image, "labels": drawing.labels, "z": z}

    return _kept(folder, count, seed, one)


def crops(folder: Path, count: int, seed: int, size: int = CROP) -> Drawn:
    """Aligned faces by the FFHQ rule with a margin.

    Args:
        folder: where the arrays are kept; drawn when missing.
        count: N.
        seed: of the set.
        size: S of the crop inside the margin.
    Returns:
        images [N,T,T,3] and alpha, labels [N,T,T], uint8; factors [N,len(FACTORS)] float32; T = S + 2 margins.
    """
    margin = CROP_MARGIN * size // CROP
    side = size + 2 * margin

    def one(_: int, rng: np.random.Generator) -> Sample:
        factors = ordinary(rng)
        placement = crop_placement(factors, size)
        placement[:, 2] += margin
        drawing = draw(factors, (side, side), placement, _grey(side))
        return {
            "images": drawing.image, "alpha": _bytes(drawing.coverage), "labels": drawing.labels,
            "factors": factors.astype(np.float32),
        }

    return _kept(folder, count, seed, one)


def portraits(folder: Path, count: int, seed: int) -> Drawn:
    """Heads and shoulders, freely placed.

    Args:
        folder, count, seed: as for `crops`.
    Returns:
        images [N,P,P,3] and alpha [N,P,P] uint8, landmarks [N,68,2] float32 px.
    """

    def one(_: int, rng: np.random.Generator) -> Sample:
        factors = ordinary(rng)
        for name in ("yaw", "pitch", "roll"):
            factors[FACTORS.index(name)] *= 1.25
        scale = PORTRAIT_PX * np.exp(rng.uniform(-0.06, 0.06))
        placement = np.array([[scale, 0, PORTRAIT / 2], [0, scale, 0.42 * PORTRAIT]])
        drawing = draw(factors, (PORTRAIT, PORTRAIT), placement, _grey(PORTRAIT))
        return {"images": drawing.image, "alpha": _bytes(drawing.coverage), "landmarks": drawing.landmarks}

    return _kept(folder, count, seed, one)


def people(folder: Path, persons: int, pictures: int, seed: int, size: int = 64) -> Drawn:
    """Several pictures of each of many people; everything but the person is drawn anew for every picture.

    Args:
        folder, seed: as for `crops`.
        persons: P.
        pictures: V of each.
        size: S of the crop; a margin is drawn beyond it.
    Returns:
        images [P*V,T,T,3] and alpha [P*V,T,T] uint8; sample i shows person i // V.
    """
    margin = CROP_MARGIN * size // CROP
    side = size + 2 * margin

    def one(index: int, rng: np.random.Generator) -> Sample:
        factors = person(seed, index // pictures, rng)
        placement = crop_placement(factors, size)
        placement[:, 2] += margin
        drawing = draw(factors, (side, side), placement, _grey(side))
        return {"images": drawing.image, "alpha": _bytes(drawing.coverage)}

    return _kept(folder, persons * pictures, seed, one)


def person(seed: int, number: int, rng: np.random.Generator, stray: float = 0.8) -> np.ndarray:
    """Factors of one picture of one person.

    Args:
        seed, number: which person.
        rng: of the picture.
        stray: how far the changing attributes leave the person's habit, in standard units.
    Returns:
        [len(FACTORS)] float64.
    """
    factors = ordinary(rng)
    habit = ordinary(np.random.default_rng([seed, 1_000_000 + number]))
    for name in STEADY:
        factors[FACTORS.index(name)] = habit[FACTORS.index(name)]
    for name in CHANGING:
        index = FACTORS.index(name)
        factors[index] = 0.6 * habit[index] + stray * factors[index]
    return factors


def scenery(folder: Path, count: int, seed: int) -> Drawn:
    """Backdrops without anybody, a plain one to three busy ones.

    Args:
        folder, count, seed: as for `crops`.
    Returns:
        images [N,240,320,3] uint8.
    """

    def one(index: int, _: np.random.Generator) -> Sample:
        return {"images": backdrop(10_000 * seed + index, SCENE, "plain" if index % 4 == 3 else "busy")}

    return _kept(folder, count, seed, one)


def shrunk(name: str, array: np.ndarray, factor: int) -> np.ndarray:
    """One array of `crops`, its pictures smaller by a whole factor: means of pixels, but one in `factor` of labels."""
    if name == "labels":
        return np.ascontiguousarray(array[:, ::factor, ::factor])
    if array.ndim < 3:
        return np.array(array)
    side = array.shape[1] // factor
    small = np.empty((len(array), side, side, *array.shape[3:]), np.uint8)
    for index, picture in enumerate(array):
        small[index] = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)
    return small


def composed(images: Tensor, alpha: Tensor, behind: Tensor) -> Tensor:
    """Faces drawn against grey, put before other backdrops.

    Args:
        images: [B,3,h,w] in [-1,1], drawn against `GREY`.
        alpha: [B,1,h,w] in [0,1].
        behind: [B,3,h,w] in [-1,1].
    Returns:
        [B,3,h,w] in [-1,1].
    """
    return (images + (1 - alpha) * (behind - GREY_LEVEL)).clamp(-1, 1)


def behind(scenes: np.ndarray, batch: int, height: int, width: int, rng: torch.Generator, zoom: float = 2.0) -> Tensor:
    """Random parts of random backdrops.

    Args:
        scenes: [N,h,w,3] uint8.
        batch, height, width: of the result.
        rng: of the choice.
        zoom: a part is enlarged by 1 to `zoom` against the largest that fits.
    Returns:
        [batch,3,height,width] float32 in [-1,1].
    """
    which = torch.randint(len(scenes), (batch,), generator=rng).numpy()
    place = torch.rand(batch, 4, generator=rng).numpy()
    high, wide = scenes.shape[1:3]
    fitting = min(high / height, wide / width)
    parts = np.empty((batch, height, width, 3), np.uint8)
    for number, (index, (u, v, size, side)) in enumerate(zip(which, place, strict=True)):
        share = fitting * zoom**-size
        h, w = max(2, int(height * share)), max(2, int(width * share))
        top, left = int(u * (high - h)), int(v * (wide - w))
        part = scenes[index, top : top + h, left : left + w]
        part = cv2.resize(part, (width, height), interpolation=cv2.INTER_LINEAR)
        parts[number] = part[:, ::-1] if side < 0.5 else part
    return to_float(torch.from_numpy(parts))


def _grey(side: int) -> np.ndarray:
    return np.full((side, side, 3), GREY, np.uint8)


def _bytes(coverage: np.ndarray) -> np.ndarray:
    return np.round(np.clip(coverage, 0, 1) * 255).astype(np.uint8)


def _kept(folder: Path, count: int, seed: int, one: Callable[[int, np.random.Generator], Sample]) -> Drawn:
    """The arrays of a set, drawn as far as they are missing; progress.txt says how far that is."""
    folder.mkdir(parents=True, exist_ok=True)
    note = folder / "progress.txt"
    done = int(note.read_text()) if note.exists() else 0
    example = one(0, np.random.default_rng([seed, 0]))
    arrays: Drawn = {}
    for name, value in example.items():
        path = folder / f"{name}.npy"
        if path.exists():
            arrays[name] = np.load(path, mmap_mode="r+" if done < count else "r")
            if len(arrays[name]) < count or arrays[name].shape[1:] != value.shape:
                raise ValueError(f"{path}: got {arrays[name].shape}, expected ({count}, ...) of {value.shape}")
        else:
            arrays[name] = open_memmap(path, "w+", value.dtype, (count, *value.shape))
    for index in range(done, count):
        for name, value in one(index, np.random.default_rng([seed, index])).items():
            arrays[name][index] = value
        if index % 100 == 99 or index == count - 1:
            note.write_text(str(index + 1))
    return {name: value[:count] for name, value in arrays.items()}
