"""What each style channel does to a picture in CLIP's eyes: the table behind free-text edits.

StyleCLIP's global directions (Patashnik et al. 2021, section 6.1): move one channel of StyleSpace at a time, up and
down, on some random faces, and take the mean change of the picture's embedding. Done once for a generator.
"""

import math
import time
from collections.abc import Callable
from collections.abc import Generator as Yielding
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from stitch.core.errors import WeightsError
from stitch.core.events import Event, Notice, Progress
from stitch.core.records import Relevance
from stitch.core.words import size_text, spoken
from stitch.families.family import Generator
from stitch.runtime.disk import check_output, disk_errors, whole
from stitch.runtime.fingerprint import fingerprint

SAMPLES = 100
"""Faces per channel (section 6.1)."""

ALPHA = 5.0
"""How far a channel is moved either way, in its std (section 6.1)."""

_SPREAD_SAMPLES = 2048
_BATCH = 16
_BATCH_PIXELS = 4 * 1024**2
_SAVE_EVERY_S = 10.0
_HOW = "measure one for this generator with 'python -m stitch relevance', naming the same --family and --generator"


@dataclass(frozen=True)
class Cost:
    """What a table costs on the device at hand.

    Attributes:
        channels: rows of the table.
        pictures: to be drawn and looked at.
        seconds: for all of them, as one batch has shown.
        size: bytes of the table.
    """

    channels: int
    pictures: int
    seconds: float
    size: int


def write(
    path: Path, generator: Generator, tower: nn.Module, samples: int = SAMPLES, seed: int = 0
) -> Yielding[Event, None, Relevance]:
    """Measures a generator's table and writes it; what it will cost is said first.

    What is done is kept in a file beside the table, so that the same call goes on after Ctrl-C or a crash.

    Args:
        path: of the table, .safetensors.
        generator: any, with its mapping.
        tower: CLIP's picture tower, [B,3,R,R] in [-1,1] -> [B,K].
        samples: faces per channel; each costs two pictures.
        seed: of the faces.
    Yields:
        A Notice of the cost, then Progress in channels.
    Returns:
        The table.
    Raises:
        StitchError: the table cannot be written.
        ValueError: samples is not positive.
    """
    check_output(path, "table", (".safetensors",))
    checkpoint = path.with_name(f"{path.stem}.unfinished{path.suffix}")
    mark = fingerprint(tower)
    expected = cost(generator, tower, samples)
    done = len(_restored(checkpoint, _task(generator, samples, seed, mark)))
    rest = (expected.channels - done) / expected.channels
    known = f", of which {done} are there already" if done else ""
    yield Notice(
        f"relevance of {expected.channels} style channels{known}: {round(expected.pictures * rest)} pictures, about "
        f"{spoken(expected.seconds * rest)} on this device, a table of {size_text(expected.size)}; Ctrl-C stops, and "
        "the same command goes on"
    )
    with disk_errors(str(path), WeightsError):
        table = yield from measure(generator, tower, samples, seed, checkpoint, mark)
        save(path, table, generator)
        checkpoint.unlink(missing_ok=True)
    return table


@torch.no_grad()
def measure(
    generator: Generator,
    encode_image: Callable[[Tensor], Tensor],
    samples: int = SAMPLES,
    seed: int = 0,
    checkpoint: Path | None = None,
    tower: str = "",
) -> Yielding[Progress, None, Relevance]:
    """Relevance of all channels of all convolutions. Killed, the same call with a checkpoint goes on.

    Args:
        generator: any, with its mapping.
        encode_image: CLIP's picture tower, [B,3,R,R] in [-1,1] -> [B,K].
        samples: faces per channel; each costs two pictures.
        seed: of the faces.
        checkpoint: .safetensors that keeps what is done; None keeps nothing.
        tower: names the picture tower, so that no checkpoint of another one is continued.
    Yields:
        Progress in channels.
    Returns:
        The table.
    Raises:
        ValueError: samples is not positive.
    """
    device = generator.w_avg.device
    w, std = _codes(generator, samples, seed)
    layers = [index for index, layer in enumerate(generator.layers) if layer.is_conv]
    base = generator.styles(generator.broadcast(w))
    places = [(layer, channel) for layer in layers for channel in range(generator.layers[layer].dimension)]
    steps = std * ALPHA
    task = _task(generator, samples, seed, tower)
    rows = [row.to(device) for row in _restored(checkpoint, task)[: len(places)]]
    kept, saved = len(rows), time.monotonic()
    try:
        while len(rows) < len(places):
            yield Progress("relevance", len(rows), len(places), "channel")
            layer, channel = places[len(rows)]
            rows.append(_change(generator, encode_image, base, layer, channel, steps[len(rows)]))
            if checkpoint is not None and time.monotonic() - saved > _SAVE_EVERY_S:
                _keep(checkpoint, {"rows": torch.stack(rows).cpu()}, {"task": task})
                kept, saved = len(rows), time.monotonic()
    finally:
        # Whatever ended the loop, Ctrl-C too: a row is only in the list when it is whole.
        if checkpoint is not None and len(rows) > kept:
            _keep(checkpoint, {"rows": torch.stack(rows).cpu()}, {"task": task})
    yield Progress("relevance", len(places), len(places), "channel")
    return Relevance(torch.stack(rows), std)


def by_gradient(
    generator: Generator,
    encode_image: Callable[[Tensor], Tensor],
    samples: int = 64,
    seed: int = 0,
    damping: float = 0.1,
) -> Relevance:
    """Relevance by derivatives, for generators with so many channels that moving each of them takes days.

    A row is what one std of a channel does to the embedding, the mean over some faces of the derivative, and not made
    a unit: weak channels stay weak. The rows are then made independent (R (R^T R + damping)^-1), so that of all moves
    that take the embedding along a text's direction, the shortest is found, and what else those channels do to it
    cancels. StyleCLIP's rows are neither.

    Args:
        generator: any, with its mapping.
        encode_image: CLIP's picture tower, [B,3,R,R] in [-1,1] -> [B,K].
        samples: faces; each costs one picture and about as many derivatives as embeddings have directions.
        seed: of the faces.
        damping: share of the largest eigenvalue that is added, which keeps still what no channel moves.
    Returns:
        The table.
    Raises:
        ValueError: samples is not positive.
    """
    mean, std = _slopes(generator, lambda images: F.normalize(encode_image(images).float(), dim=1), samples, seed)
    values, vectors = torch.linalg.eigh((mean.T @ mean).double())
    inverse = vectors / (values + damping * values[-1]) @ vectors.T
    return Relevance(mean @ inverse.to(mean), std)


def steadied(
    table: Relevance, generator: Generator, seen: Callable[[Tensor], Tensor], samples: int = 64, seed: int = 0
) -> Relevance:
    """A table whose moves leave something else that can be seen as it is, to the first order over some faces.

    Without it a small CLIP, that saw few pictures, takes along what came with a word: red lipstick whitened the skin.

    Args:
        table: of the generator's.
        generator: any, with its mapping.
        seen: what is to stay, differentiable, [B,3,R,R] in [-1,1] -> [B,n], such as the colour of the skin.
        samples, seed: as for `by_gradient`; each costs one picture and n derivatives.
    Returns:
        The table less its rows' part along the slopes of what is seen.
    Raises:
        ValueError: samples is not positive.
    """
    slopes, _ = _slopes(generator, seen, samples, seed)
    return Relevance(table.rows - slopes @ torch.linalg.lstsq(slopes, table.rows).solution, table.std)


@torch.enable_grad()
def _slopes(
    generator: Generator, seen: Callable[[Tensor], Tensor], samples: int, seed: int
) -> tuple[Tensor, Tensor]:
    """What one std of every style channel does to what is seen, [channels of all convolutions, n], the mean of the
    derivatives over some faces; and these std."""
    w, std = _codes(generator, samples, seed)
    layers = [index for index, layer in enumerate(generator.layers) if layer.is_conv]
    total = torch.zeros(())
    for code in w.split(1):
        with torch.no_grad():
            styles = generator.styles(generator.broadcast(code))
        moved = [styles[index].clone().requires_grad_(True) for index in layers]
        for index, style in zip(layers, moved, strict=True):
            styles[index] = style
        rows = [torch.autograd.grad(one, moved, retain_graph=True) for one in seen(generator.from_styles(styles))[0]]
        total = total + torch.stack([torch.cat(row, dim=1)[0] for row in rows], dim=1)
    return total / samples * std[:, None], std


@torch.no_grad()
def _codes(generator: Generator, samples: int, seed: int) -> tuple[Tensor, Tensor]:
    """w of random faces, [samples,D], and over more of them the std of every style channel of the convolutions."""
    if samples < 1:
        raise ValueError(f"samples: got {samples}, expected at least 1")
    rng = torch.Generator().manual_seed(seed)
    z = torch.randn(max(samples, _SPREAD_SAMPLES), generator.z_dim, generator=rng).to(generator.w_avg.device)
    w = torch.cat([generator.mapping(part) for part in z.split(256)])
    styles = generator.styles(generator.broadcast(w))
    std = [style.std(0) for style, layer in zip(styles, generator.layers, strict=True) if layer.is_conv]
    return w[:samples], torch.cat(std)


@torch.no_grad()
def cost(generator: Generator, encode_image: Callable[[Tensor], Tensor], samples: int = SAMPLES) -> Cost:
    """What `measure` costs: one batch is done and timed.

    Args as `measure`.
    """
    device = generator.w_avg.device
    count = min(_batch(generator), samples)
    z = torch.randn(count, generator.z_dim, generator=torch.Generator().manual_seed(0)).to(device)
    base = generator.styles(generator.broadcast(generator.mapping(z)))
    step = torch.ones((), device=device)
    row = _change(generator, encode_image, [style[:1] for style in base], 0, 0, step).cpu()  # what is done once
    began = time.perf_counter()
    _change(generator, encode_image, base, 0, 0, step).cpu()
    batch_s = time.perf_counter() - began
    channels = _channels(generator)
    seconds = batch_s * channels * math.ceil(samples / count)
    return Cost(channels, 2 * samples * channels, seconds, 4 * channels * (len(row) + 1))


def save(path: Path, relevance: Relevance, generator: Generator) -> None:
    """Write a table, with the mark of the generator it belongs to."""
    tensors = {"relevance": relevance.rows.cpu().contiguous(), "style_std": relevance.std.cpu().contiguous()}
    _keep(path, tensors, {"generator": _mark(generator)})


def load(path: Path, generator: Generator) -> Relevance:
    """Read a table that `save` wrote.

    Args:
        path: .safetensors.
        generator: that it must belong to.
    Raises:
        WeightsError: missing, damaged, no such table, or another generator's.
    """
    channels = _channels(generator)
    try:
        with safe_open(path, framework="pt") as file:
            # Sizes first: what is not of this generator's is not read into memory.
            shapes = [tuple(file.get_slice(name).get_shape()) for name in ("relevance", "style_std")]
            if len(shapes[0]) != 2 or shapes[0][0] != channels or shapes[1] != (channels,):
                raise WeightsError(
                    f"{path}: tables of sizes {shapes[0]} and {shapes[1]}, and this generator has {channels} style "
                    f"channels; {_HOW}"
                )
            tensors = {name: file.get_tensor(name).float() for name in ("relevance", "style_std")}
            mark = (file.metadata() or {}).get("generator")
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path}: no table of text relevance ({error}); {_HOW}") from error
    if mark != _mark(generator):
        raise WeightsError(f"{path}: measured for another generator; {_HOW}")
    if not all(tensor.isfinite().all() for tensor in tensors.values()):
        raise WeightsError(f"{path}: holds what is no number; {_HOW}")
    device = generator.w_avg.device
    return Relevance(tensors["relevance"].to(device), tensors["style_std"].to(device))


def _mark(generator: Generator) -> str:
    """Which generator a table belongs to: by what was learned.

    What is worked out from that when a generator is read, such as its mean code, is no part of it: it differs in its
    last digits by the order in which a processor adds.
    """
    return fingerprint(dict(generator.named_parameters()))


def _change(
    generator: Generator,
    encode_image: Callable[[Tensor], Tensor],
    base: list[Tensor],
    layer: int,
    channel: int,
    step: Tensor,
) -> Tensor:
    """Mean direction in which one channel moves the embedding, [K] of unit length (zero for a dead channel)."""
    moves = []
    batch = _batch(generator)
    for first in range(0, len(base[0]), batch):
        styles = [style[first : first + batch] for style in base]
        ends = []
        for sign in (1, -1):
            moved = styles[layer].clone()
            moved[:, channel] += sign * step
            pictures = generator.from_styles([*styles[:layer], moved, *styles[layer + 1 :]])
            ends.append(F.normalize(encode_image(pictures.clamp(-1, 1)).float(), dim=1))
        moves.append(ends[0] - ends[1])
    mean = torch.cat(moves).mean(0)
    return mean / mean.norm().clamp_min(1e-8)


def _batch(generator: Generator) -> int:
    """Pictures that are drawn at once."""
    return max(1, min(_BATCH, _BATCH_PIXELS // generator.resolution**2))


def _channels(generator: Generator) -> int:
    """Style channels of all convolutions."""
    return sum(layer.dimension for layer in generator.layers if layer.is_conv)


def _task(generator: Generator, samples: int, seed: int, tower: str) -> str:
    """Names all that a table depends on."""
    return fingerprint(generator, {"samples": samples, "seed": seed, "alpha": ALPHA, "tower": tower})


def _restored(checkpoint: Path | None, task: str) -> list[Tensor]:
    if checkpoint is None or not checkpoint.exists():
        return []
    try:
        with safe_open(checkpoint, framework="pt") as file:
            return list(file.get_tensor("rows")) if (file.metadata() or {}).get("task") == task else []
    except (OSError, SafetensorError):
        return []


def _keep(path: Path, tensors: dict[str, Tensor], notes: dict[str, str]) -> None:
    with whole(path) as temporary:
        save_file(tensors, temporary, notes)
