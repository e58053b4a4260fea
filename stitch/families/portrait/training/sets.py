"""Sets of rendered pictures on disk, as arrays that are read memory-mapped.

Sample i of a set is drawn from the seed (set's seed, i), so that a killed rendering goes on where it stopped, and a
longer set begins with the shorter one.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.lib.format import open_memmap
from torch import Tensor

from stitch.networks.mobilestylegan import MobileStyleGAN

CHUNK = 8
"""Pictures rendered at once; more take longer each on two cores."""

Arrays = dict[str, np.ndarray]


def codes(generator: MobileStyleGAN, indices: range, seed: int, psi: tuple[float, float]) -> Tensor:
    """w of some samples of a set.

    Args:
        generator: its mapping network and mean code are used.
        indices: which samples.
        seed: of the set.
        psi: lowest and highest truncation, drawn uniformly for each sample.
    Returns:
        [len(indices),D].
    """
    z, strengths = [], []
    for index in indices:
        rng = np.random.default_rng((seed, index))
        z.append(rng.standard_normal(generator.z_dim, dtype=np.float32))
        strengths.append(rng.uniform(*psi))
    w = generator.mapping(torch.from_numpy(np.stack(z)))
    return generator.w_avg + torch.tensor(strengths, dtype=torch.float32)[:, None] * (w - generator.w_avg)


def kept(folder: Path, count: int, make: Callable[[range], Mapping[str, np.ndarray]]) -> Arrays:
    """A set of `count` samples, made chunk by chunk where it is missing.

    Args:
        folder: one .npy per array, and done.json with the number of finished samples.
        count: N.
        make: arrays of the samples of a range, first axis the samples.
    Returns:
        Memory-mapped arrays [N,...].
    """
    folder.mkdir(parents=True, exist_ok=True)
    record = folder / "done.json"
    done = json.loads(record.read_text())["done"] if record.exists() else 0
    arrays = {path.stem: open_memmap(path, mode="r+") for path in folder.glob("*.npy")}
    if any(len(array) < count for array in arrays.values()):
        arrays = {name: _longer(folder / f"{name}.npy", array, count) for name, array in arrays.items()}
    while done < count:
        chunk = range(done, min(done + CHUNK, count))
        for name, values in make(chunk).items():
            if name not in arrays:
                shape = (count, *values.shape[1:])
                arrays[name] = open_memmap(folder / f"{name}.npy", mode="w+", dtype=values.dtype, shape=shape)
            arrays[name][chunk.start : chunk.stop] = values
        done = chunk.stop
        record.write_text(json.dumps({"done": done}))
    return {name: array[:count] for name, array in arrays.items()}


def _longer(path: Path, array: np.memmap, count: int) -> np.memmap:
    """The array's file with room for `count` samples; it is replaced when the new one is whole."""
    longer = path.with_suffix(".longer")
    copy = open_memmap(longer, mode="w+", dtype=array.dtype, shape=(count, *array.shape[1:]))
    copy[: len(array)] = array
    copy.flush()
    longer.replace(path)
    return open_memmap(path, mode="r+")


@torch.no_grad()
def rendered(
    folder: Path, generator: MobileStyleGAN, count: int, seed: int, psi: tuple[float, float] = (0.6, 1.0)
) -> Arrays:
    """Pictures with their codes.

    Args:
        folder, count: see `kept`.
        generator: draws the pictures at its own resolution R.
        seed, psi: see `codes`.
    Returns:
        images [N,R,R,3] uint8, w [N,D] float32.
    """

    def make(chunk: range) -> Mapping[str, np.ndarray]:
        w = codes(generator, chunk, seed, psi)
        images = generator(generator.broadcast(w))
        return {"images": to_bytes(images), "w": w.numpy()}

    return kept(folder, count, make)


def to_bytes(images: Tensor) -> np.ndarray:
    """[B,3,S,S] in [-1,1] -> [B,S,S,3] uint8."""
    return images.add(1).mul(127.5).round_().clamp_(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()


def to_float(images: np.ndarray) -> Tensor:
    """[B,S,S,3] uint8 -> [B,3,S,S] float32 in [-1,1]."""
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)


def to_unit(image: np.ndarray) -> Tensor:
    """[S,S,3] uint8 -> [1,S,S,3] float32 in [0,1], channels last, as TensorFlow's networks want it."""
    return torch.from_numpy(image.astype(np.float32) / 255)[None]
