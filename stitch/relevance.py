"""What each style channel does to a picture in CLIP's eyes: the table behind free-text edits.

StyleCLIP's global directions (Patashnik et al. 2021, section 6.1): move one channel of StyleSpace at a time, up and
down, on some random faces, and take the mean change of the picture's embedding. Done once for a generator.
"""

import os
from collections.abc import Callable
from collections.abc import Generator as Yielding
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from stitch.disk import flush, keep_whole
from stitch.errors import WeightsError
from stitch.events import Progress
from stitch.fingerprint import fingerprint
from stitch.networks.stylegan2 import Generator
from stitch.records import Relevance

SAMPLES = 100
"""Faces per channel (section 6.1)."""

ALPHA = 5.0
"""How far a channel is moved either way, in its standard deviations (section 6.1)."""

_SPREAD_SAMPLES = 2048
_BATCH = 16
_SAVE_EVERY = 64


@torch.no_grad()
def measure(
    generator: Generator,
    encode_image: Callable[[Tensor], Tensor],
    samples: int = SAMPLES,
    seed: int = 0,
    checkpoint: Path | None = None,
) -> Yielding[Progress, None, Relevance]:
    """Relevance of all channels of all convolutions. Killed, the same call with a checkpoint goes on.

    Args:
        generator: any StyleGAN2, with its mapping.
        encode_image: CLIP's picture tower, [B,3,R,R] in [-1,1] -> [B,K].
        samples: faces per channel; each costs two pictures.
        seed: of the faces.
        checkpoint: .safetensors that keeps what is done; None keeps nothing.
    Returns:
        The table.
    Raises:
        ValueError: samples is not positive.
    """
    if samples < 1:
        raise ValueError(f"samples: got {samples}, expected at least 1")
    device = generator.w_avg.device
    rng = torch.Generator().manual_seed(seed)
    z = torch.randn(max(samples, _SPREAD_SAMPLES), generator.z_dim, generator=rng).to(device)
    w = torch.cat([generator.mapping(part) for part in z.split(256)])
    layers = [index for index, layer in enumerate(generator.layers) if layer.is_conv]
    spread = [generator.styles(generator.broadcast(w))[index].std(0) for index in layers]
    base = generator.styles(generator.broadcast(w[:samples]))
    places = [(layer, channel) for layer in layers for channel in range(generator.layers[layer].dimension)]
    steps = torch.cat(spread) * ALPHA
    task = fingerprint(generator, {"samples": samples, "seed": seed, "alpha": ALPHA})
    rows = _restored(checkpoint, task)
    while len(rows) < len(places):
        yield Progress("relevance", len(rows), len(places), "channel")
        layer, channel = places[len(rows)]
        rows.append(_change(generator, encode_image, base, layer, channel, steps[len(rows)]))
        if checkpoint is not None and (len(rows) % _SAVE_EVERY == 0 or len(rows) == len(places)):
            _keep(checkpoint, {"rows": torch.stack(rows).cpu()}, {"task": task})
    yield Progress("relevance", len(places), len(places), "channel")
    return Relevance(torch.stack(rows).to(device), torch.cat(spread))


def pictures_needed(generator: Generator, samples: int = SAMPLES) -> int:
    """How many pictures `measure` draws, to state the cost before it starts."""
    return 2 * samples * sum(layer.dimension for layer in generator.layers if layer.is_conv)


def save(path: Path, relevance: Relevance, generator: Generator) -> None:
    """Write a table, with the mark of the generator it belongs to."""
    tensors = {"relevance": relevance.rows.cpu().contiguous(), "style_std": relevance.spread.cpu().contiguous()}
    _keep(path, tensors, {"generator": fingerprint(generator)})


def load(path: Path, generator: Generator) -> Relevance:
    """Read a table that `save` wrote.

    Args:
        path: .safetensors.
        generator: that it must belong to.
    Raises:
        WeightsError: missing, damaged, no such table, or another generator's.
    """
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in ("relevance", "style_std")}
            mark = (file.metadata() or {}).get("generator")
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path}: no table of text relevance ({error}); make one with: stitch relevance") from error
    if mark != fingerprint(generator):
        raise WeightsError(f"{path}: measured for another generator; make one for this with: stitch relevance")
    device = generator.w_avg.device
    return Relevance(tensors["relevance"].to(device), tensors["style_std"].to(device))


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
    for first in range(0, len(base[0]), _BATCH):
        styles = [style[first : first + _BATCH] for style in base]
        ends = []
        for sign in (1, -1):
            moved = styles[layer].clone()
            moved[:, channel] += sign * step
            pictures = generator.from_styles([*styles[:layer], moved, *styles[layer + 1 :]])
            ends.append(F.normalize(encode_image(pictures.clamp(-1, 1)).float(), dim=1))
        moves.append(ends[0] - ends[1])
    mean = torch.cat(moves).mean(0)
    return mean / mean.norm().clamp_min(1e-8)


def _restored(checkpoint: Path | None, task: str) -> list[Tensor]:
    if checkpoint is None or not checkpoint.exists():
        return []
    try:
        with safe_open(checkpoint, framework="pt") as file:
            return list(file.get_tensor("rows")) if (file.metadata() or {}).get("task") == task else []
    except (OSError, SafetensorError):
        return []


def _keep(path: Path, tensors: dict[str, Tensor], notes: dict[str, str]) -> None:
    temporary = path.with_name(f"{path.name}.{os.getpid()}.part")
    save_file(tensors, temporary, notes)
    flush(temporary)
    keep_whole(temporary, path)
