"""Training sets of drawn crops, as memory-mapped arrays."""

from __future__ import annotations

import json
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from stitch.miniature.backdrops import backdrop
from stitch.miniature.faces import Z_DIM, crop_placement, draw, factors_from_z

_CHUNK = 64
_POOL = 60


def latent(seed: int, index: int) -> np.ndarray:
    """[64] float32 latent of picture `index` of a set."""
    return np.random.default_rng([seed, index]).normal(size=Z_DIM).astype(np.float32)


@lru_cache(maxsize=1)
def _pool(size: int) -> tuple[np.ndarray, ...]:
    """Backdrops twice as large as a crop, three busy ones to a plain one."""
    return tuple(backdrop(i, (2 * size, 2 * size), "plain" if i % 4 == 3 else "busy") for i in range(_POOL))


def _behind(rng: np.random.Generator, size: int) -> np.ndarray:
    picture = _pool(size)[int(rng.integers(_POOL))]
    scale = rng.uniform(0.55, 1.0)
    side = int(2 * size * scale)
    x, y = (int(rng.integers(2 * size - side + 1)) for _ in range(2))
    cut = picture[y : y + side, x : x + side]
    if rng.random() < 0.5:
        cut = cut[:, ::-1]
    return cv2.resize(np.ascontiguousarray(cut), (size, size), interpolation=cv2.INTER_AREA)


def _jitter(rng: np.random.Generator, placement: np.ndarray, size: int) -> np.ndarray:
    """The placement, off by about 1.5 % in place and scale and 1.2 degrees, as a detector's crops are."""
    angle = np.deg2rad(rng.normal(0, 1.2))
    scale = np.exp(rng.normal(0, 0.015))
    shift = rng.normal(0, 0.012 * size, 2)
    linear = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = np.full(2, size / 2)
    moved = placement.copy()
    moved[:, :2] = linear @ placement[:, :2]
    moved[:, 2] = linear @ (placement[:, 2] - middle) + middle + shift
    return moved


def _files(out_dir: Path, count: int, size: int, mode: Literal["r+", "w+"]) -> dict[str, np.memmap]:
    shapes = {
        "images": (np.uint8, (count, size, size, 3)),
        "labels": (np.uint8, (count, size, size)),
        "landmarks": (np.float32, (count, 68, 2)),
        "z": (np.float32, (count, Z_DIM)),
    }
    return {
        name: np.lib.format.open_memmap(out_dir / f"{name}.npy", mode=mode, dtype=dtype, shape=shape)
        if mode == "w+"
        else np.lib.format.open_memmap(out_dir / f"{name}.npy", mode=mode)
        for name, (dtype, shape) in shapes.items()
    }


def _render(out_dir: str, start: int, stop: int, count: int, seed: int, size: int, textured: bool) -> int:
    cv2.setNumThreads(1)
    files = _files(Path(out_dir), count, size, "r+")
    for i in range(start, stop):
        z = latent(seed, i)
        factors = factors_from_z(z[None])[0]
        placement = crop_placement(factors, size)
        behind = None
        if textured:
            rng = np.random.default_rng([seed, i, 1])
            behind = _behind(rng, size)
            placement = _jitter(rng, placement, size)
        drawing = draw(factors, (size, size), placement, behind)
        files["images"][i] = drawing.image
        files["labels"][i] = drawing.labels
        files["landmarks"][i] = drawing.landmarks
        files["z"][i] = z
    for array in files.values():
        array.flush()
    return start


def render_crops(
    out_dir: str | Path, count: int, seed: int, size: int, workers: int = 2, textured: bool = False
) -> Path:
    """Draw aligned crops into `out_dir`; what a former call with the same arguments finished is kept.

    Args:
        out_dir: folder for images.npy uint8 [N,S,S,3], labels.npy uint8 [N,S,S], landmarks.npy float32 [N,68,2] px and
            z.npy float32 [N,64]; made if missing.
        count: N, > 0. seed: picture i has z from default_rng([seed, i]).
        size: S in px. workers: processes, >= 1.
        textured: random backdrops and slightly inexact crops, as in found clips, instead of the factors' own gradient.
    Returns:
        The folder.
    Raises:
        ValueError: a number is out of range, or the folder holds a set of other arguments.
    """
    if count < 1 or size < 8 or workers < 1:
        raise ValueError(f"count, size, workers: got {count}, {size}, {workers}, expected >= 1, >= 8, >= 1")
    out_dir = Path(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    asked = {"count": count, "seed": seed, "size": size, "textured": bool(textured)}
    ledger = out_dir / "set.json"
    done: set[int] = set()
    if ledger.exists():
        found = json.loads(ledger.read_text())
        if found["set"] != asked:
            raise ValueError(f"{out_dir}: got a folder of {found['set']}, expected {asked}; choose another folder")
        done = set(found["done"])
    else:
        _files(out_dir, count, size, "w+")
        ledger.write_text(json.dumps({"set": asked, "done": []}))
    starts = [s for s in range(0, count, _CHUNK) if s not in done]
    jobs = [(str(out_dir), s, min(s + _CHUNK, count), count, seed, size, textured) for s in starts]

    def note(start: int) -> None:
        done.add(start)
        part = ledger.with_suffix(".part")
        part.write_text(json.dumps({"set": asked, "done": sorted(done)}))
        part.replace(ledger)

    if workers == 1:
        for job in jobs:
            note(_render(*job))
    elif jobs:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            try:
                for start in pool.map(_render, *zip(*jobs, strict=True)):
                    note(start)
            except BrokenProcessPool as error:
                raise RuntimeError(f"{out_dir}: a worker died; call again to go on from there") from error
    return out_dir
