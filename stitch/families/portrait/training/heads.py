"""Heads that end the generator at 256 or 512 px.

The package's only head draws 1024 px from the last block. A head of ours draws the area-reduced picture from an earlier
block. Colours and light come from the blocks behind, computed on means with the published weights; what the picture's
wavelet bands still lack is a ridge regression on the features as the next block's style scales them. Then all of it and
the last block learn together, in small steps and on parts of many pictures. What comes before the last block stays as
it is, so that its features are computed once.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.func import functional_call

from stitch.families.miniature.training.loop import Losses, Schedule, fit
from stitch.families.portrait.training import sets
from stitch.networks.mobile_layers import HAAR, Affine, Bands, inverse_wavelet
from stitch.networks.mobilestylegan import MobileStyleGAN

SIZES = (256, 512)
TRAIN_SEED, TEST_SEED = 11, 12
TRAIN_COUNT, TEST_COUNT = 300, 200
TRAIN_PSI, TEST_PSI = (0.6, 1.0), (0.7, 0.7)
SCHEDULE = Schedule(steps=800, batch=8, learning_rate=1e-3, warmup=0.05, weight_decay=0.0, log_every=25)
REGRESSED = 48
"""Samples of the ridge regression."""

BORDER_PX = 6
"""Of a part of a picture, not compared: there the filters saw zeros instead of what lies beyond."""


@torch.no_grad()
def references(folder: Path, generator: MobileStyleGAN, count: int, seed: int, psi: tuple[float, float]) -> sets.Arrays:
    """What the heads learn from.

    Args:
        folder, count: see `sets.kept`.
        generator: at 1024 px.
        seed, psi: see `sets.codes`.
    Returns:
        w [N,D] float32; picture [N,3,512,512] float16, the area-reduced picture; before256 and before512, float16
        features in front of the last block of the generator of that size.
    """
    caught: dict[str, Tensor] = {}

    def catch(name: str) -> Callable[..., None]:
        return lambda _, __, output: caught.update({name: output})

    blocks = {size: generator.synthesis.get_submodule(f"b{size // 4}") for size in SIZES}
    hooks = [block.register_forward_hook(catch(f"before{size}")) for size, block in blocks.items()]

    def make(chunk: range) -> Mapping[str, np.ndarray]:
        w = sets.codes(generator, chunk, seed, psi)
        parts: dict[str, list[np.ndarray]] = {}
        for code in w.split(2):
            picture = F.avg_pool2d(generator(generator.broadcast(code)), 2)
            for name, values in {"picture": picture, **caught}.items():
                parts.setdefault(name, []).append(values.half().numpy())
        return {"w": w.numpy(), **{name: np.concatenate(part) for name, part in parts.items()}}

    try:
        return sets.kept(folder, count, make)
    finally:
        for hook in hooks:
            hook.remove()


class Tail(nn.Module):
    """The last block of a generator and what lies behind it, which is all that learns.

    Args:
        generator: of the head's size.
    """

    def __init__(self, generator: MobileStyleGAN):
        super().__init__()
        self._generator = [generator]  # in a list, so that its other parameters do not count as this module's
        layers = [layer.name for layer in generator.layers]
        self.layers = layers[layers.index(f"b{generator.resolution // 2}.up") :]
        names = list(dict.fromkeys(layer.split(".")[0] for layer in self.layers))
        self.parts = nn.ModuleDict({name: generator.synthesis.get_submodule(name) for name in names})
        self.picture = cast(Bands, self.parts["picture"])

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """[B,R/4,R/4,4,I/4] features before the last block and [B,D] codes -> [B,3,R,R] pictures."""
        features, styles = self.features(x, w)
        return inverse_wavelet(self.bands(features, styles)).permute(0, 3, 1, 2)

    def features(self, x: Tensor, w: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The same up to the last block's [B,R/2,R/2,4,C/4] features, and the styles of the layers behind it."""
        parts = (self.parts.get_submodule(name) for name in self.layers)
        styles = [cast(Affine, part.affine)(w) for part in parts]
        return next(iter(self.parts.values()))(x, styles[:3], "const"), styles[3:]

    def bands(self, features: Tensor, styles: Sequence[Tensor]) -> Tensor:
        """[B,R/2,R/2,4,3] wavelet bands of the picture."""
        return self._generator[0].finish(features, iter(styles))

    def noise(self, rows: slice, columns: slice) -> dict[str, Tensor]:
        """The part of the noise maps that belongs to a part of the features, under the maps' names in this module."""
        return {
            name: noise[2 * rows.start : 2 * rows.stop, 2 * columns.start : 2 * columns.stop]
            for name, noise in self.named_buffers()
        }

    def weights(self) -> dict[str, Tensor]:
        """What learns, under its names in the generator."""
        return {f"synthesis.{name}": value for name, value in self.parts.named_parameters()}


class Relative(nn.Module):
    """A module whose tensors learn as offsets in units of their own size.

    Adam moves every number by about its rate. Here depthwise filters are of size 4 and a head's weights of size 0.01:
    one rate for all would leave the former as they are and shatter the latter.

    Args:
        module: its parameters are the offsets' origin.
    """

    def __init__(self, module: nn.Module):
        super().__init__()
        self._module = [module]  # in a list, so that its own parameters do not count as this module's
        self._names = [name for name, _ in module.named_parameters()]
        self.offsets = nn.ParameterList()
        for index, (_, origin) in enumerate(module.named_parameters()):
            self.register_buffer(f"origin{index}", origin.detach().clone())
            self.offsets.append(nn.Parameter(torch.zeros_like(origin)))

    def weights(self) -> dict[str, Tensor]:
        """The module's parameters, by name."""
        weights = {}
        for index, name in enumerate(self._names):
            origin = cast(Tensor, self.get_buffer(f"origin{index}"))
            weights[name] = origin + origin.square().mean().sqrt() * self.offsets[index]
        return weights

    def forward(self, *inputs: Tensor, buffers: Mapping[str, Tensor] | None = None) -> Tensor:
        """The module's answer; `buffers` take the place of its own."""
        return functional_call(self._module[0], {**self.weights(), **(buffers or {})}, inputs)


def bands(images: Tensor) -> Tensor:
    """The wavelet transform that `inverse_wavelet` undoes; [B,C,2H,2W] -> [B,H,W,4,C]."""
    signs = images.new_tensor(HAAR)
    pixels = F.pixel_unshuffle(images, 2).unflatten(1, (-1, 4))
    return torch.einsum("pb,ncphw->nhwbc", signs, pixels)


@torch.no_grad()
def regress(tail: Tail, batches: Iterable[tuple[Tensor, Tensor, Tensor]], ridge: float = 1e-3) -> None:
    """Sets the picture layer's weight and bias by ridge regression of what the bands lack on the modulated features.

    Args:
        tail: its picture layer is written to.
        batches: features before the last block, codes, and pictures.
        ridge: share of the mean variance added to the features' covariance.
    """
    covariance: Tensor | float = 0.0
    products: Tensor | float = 0.0
    nn.init.zeros_(tail.picture.weight)
    nn.init.zeros_(tail.picture.bias)
    for x, w, picture in batches:
        features, styles = tail.features(x, w)
        lacking = bands(picture) - tail.bands(features, styles)
        # As the layer's weights have them: the bands of a channel one after another, and so the picture's.
        rows = features.transpose(3, 4).flatten(3).flatten(1, 2) * (styles[0] * tail.picture.gain)[:, None]
        rows = rows.flatten(0, 1)
        rows = torch.cat([rows, torch.ones(len(rows), 1)], dim=1)
        covariance = covariance + (rows.T @ rows).double()
        products = products + (rows.T @ lacking.transpose(3, 4).reshape(len(rows), -1)).double()
    covariance, products = cast(Tensor, covariance), cast(Tensor, products)
    damping = ridge * covariance.diagonal()[:-1].mean() * torch.eye(len(covariance), dtype=torch.float64)
    damping[-1, -1] = 0
    solution = torch.linalg.solve(covariance + damping, products).float()
    tail.picture.weight.copy_(solution[:-1].T)
    tail.picture.bias.copy_(solution[-1])


def psnr(images: Tensor, target: Tensor) -> Tensor:
    """[B] decibels of pictures in [-1,1]."""
    return 10 * torch.log10(4 / (images - target).square().mean((1, 2, 3)))


def train(
    data: Path,
    generator: MobileStyleGAN,
    size: int,
    out: Path,
    seed: int = 0,
    schedule: Schedule = SCHEDULE,
    counts: tuple[int, int] = (TRAIN_COUNT, TEST_COUNT),
) -> MobileStyleGAN:
    """Train one head, or go on where a killed training stopped.

    Args:
        data: folder of the sets; what is missing is rendered.
        generator: the published one, at 1024 px.
        size: 256 or 512.
        out: folder for checkpoint.pt, log.jsonl and head.safetensors.
        seed: of the batches.
        schedule: how long and how fast.
        counts: samples to learn from and to measure on.
    Returns:
        The generator of that size, frozen.
    """
    learnt = references(data / "heads-train", generator, counts[0], TRAIN_SEED, TRAIN_PSI)
    held = references(data / "heads-test", generator, counts[1], TEST_SEED, TEST_PSI)
    small = generator.truncated(size)
    tail = Tail(small)

    def batch(arrays: sets.Arrays, indices: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
        x, w, picture = (torch.from_numpy(arrays[name][indices]).float() for name in (f"before{size}", "w", "picture"))
        return x, w, F.avg_pool2d(picture, picture.shape[-1] // size)

    if not (out / "checkpoint.pt").exists():
        regress(tail, (batch(learnt, np.array([index])) for index in range(min(counts[0], REGRESSED))))
    learner = Relative(tail)

    def losses(rng: torch.Generator) -> Losses:
        indices = torch.randperm(counts[0], generator=rng)[: schedule.batch].sort().values.numpy()
        features = learnt[f"before{size}"]
        side = features.shape[1]
        part = side * 3 // 8
        row, column = torch.randint(side - part + 1, (2,), generator=rng).tolist()
        rows, columns = slice(row, row + part), slice(column, column + part)
        x = torch.from_numpy(features[indices, rows, columns]).float()
        scale = learnt["picture"].shape[-1] // side
        tall, wide = (slice(place.start * scale, place.stop * scale) for place in (rows, columns))
        picture = torch.from_numpy(learnt["picture"][indices, :, tall, wide]).float()
        picture = F.avg_pool2d(picture, learnt["picture"].shape[-1] // size)
        w = torch.from_numpy(learnt["w"][indices])
        drawn = learner(x, w, buffers=tail.noise(rows, columns))
        inner = (drawn - picture)[:, :, BORDER_PX:-BORDER_PX, BORDER_PX:-BORDER_PX]
        return {"mse": inner.square().mean()}

    def figures() -> dict[str, float]:
        found = []
        for start in range(0, counts[1], 4):
            x, w, picture = batch(held, np.arange(start, min(start + 4, counts[1])))
            found.append(psnr(learner(x, w), picture))
        return {"held_db": float(torch.cat(found).mean()), "held_worst_db": float(torch.cat(found).min())}

    fit(learner, losses, schedule, out, seed, figures)
    tail.load_state_dict(learner.weights(), strict=False)
    save_head(out / "head.safetensors", tail, size)
    return small.eval().requires_grad_(False)


def save_head(path: Path, tail: Tail, size: int) -> None:
    """Write the tail's weights as float16, under their names in the generator."""
    weights = {name: value.detach().half().contiguous() for name, value in tail.weights().items()}
    save_file(weights, path, metadata={"size": str(size), "of": "MobileStyleGAN's last block and head"})
