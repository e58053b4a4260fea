"""What one's own can stand in a family's place or beside it: a generator, its table behind text edits, directions."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from stitch.core.errors import WeightsError
from stitch.core.records import Direction, LayerInfo
from stitch.families.family import UNIT_OF_STD, Family, Generator
from stitch.families.relevance import load as load_relevance
from stitch.networks.formats.checkpoints import load_array, load_checkpoint
from stitch.networks.formats.generators import load_generator
from stitch.networks.rows import RowsEncoder
from stitch.networks.stylegan2 import Generator as StyleGAN2
from stitch.runtime.optimizer import PAPER_STITCHING, PAPER_TUNING, Rates

DIRECTION_SUFFIXES = (".npy", ".pt", ".safetensors")
_FACES = 2048
_COMPARED, _SAME = 64, 0.9
"""Random faces by which two W are compared, and the mean cosine of their codes above which both are taken for one."""
_NOTES = {
    True: "it has the W of the family's own generator, in which encoder and sliders were made",
    False: "encoder and sliders were made for the family's own generator; they fit one that was trained on from it, and"
    " are a guess for any other",
}
"""What there is to say of a generator that has the family's W, and of one that has not."""


def with_generator(family: Family, path: Path) -> Family:
    """The family with another generator, at that generator's own size.

    Encoder and sliders stay: they serve a generator that was trained on from the family's, or that the family's was
    distilled from. An encoder that finds one code a picture serves any number of layers. Text edits stay only where
    every style channel has its counterpart; elsewhere `with_relevance` brings them back. Where the family's own
    generator is of another make, tuning goes at the paper's rates, which are StyleGAN2's.

    Args:
        family: loaded.
        path: any StyleGAN2 generator, see `stitch.networks.formats.generators.load_generator`.
    Returns:
        A family with a note about what to expect.
    Raises:
        WeightsError: the file holds no such generator, or one that the family's encoder has no codes for.
    """
    generator, former = load_generator(path), family.generator
    device = next(former.parameters()).device
    if isinstance(family.encoder, RowsEncoder):
        check_fit(path, generator, None, former.w_dim)
        family = replace(family, encoder=RowsEncoder(family.encoder.encoder, generator.num_ws))
    else:
        check_fit(path, generator, former.num_ws, former.w_dim)
    if widths(generator.layers) != widths(former.layers):
        family = replace(family, relevance=None, style_std=None)
    note = _NOTES[share_w(generator.to(device), former)]
    if not isinstance(former, StyleGAN2):
        note += "; it is tuned at the rates that the paper gives for StyleGAN2"
        family = replace(
            family,
            tune_rates=_paced(PAPER_TUNING, family.tune_rates),
            stitching_rates=_paced(PAPER_STITCHING, family.stitching_rates),
        )
    return replace(family, generator=generator, sizes=None, notes=(*family.notes, f"generator {path.name}: {note}"))


@torch.no_grad()
def share_w(first: Generator, second: Generator) -> bool:
    """Whether two generators, on one device, draw from the same W: their mapping networks give the same codes.

    Training on from a generator moves its mapping network by little; one that was trained by itself, with codes of the
    same length, has another W altogether, in which encoders and directions of the first mean nothing.
    """
    if (first.z_dim, first.w_dim) != (second.z_dim, second.w_dim):
        return False
    z = torch.randn(_COMPARED, first.z_dim, generator=torch.Generator().manual_seed(0)).to(first.w_avg.device)
    ours, theirs = (w - w.mean(0) for w in (first.mapping(z).float(), second.mapping(z).float()))
    return float(torch.cosine_similarity(ours, theirs).mean()) > _SAME


def _paced(rates: Rates, own: Rates) -> Rates:
    """Rates for another generator; pivots, which move in W, keep their own."""
    return replace(rates, pivot=own.pivot * own.learning_rate / rates.learning_rate)


def with_relevance(family: Family, path: Path) -> Family:
    """The family with a table of text relevance that was measured for its generator.

    Args:
        family: loaded, with the generator that will draw.
        path: of a table, see `stitch.families.relevance.write`.
    Raises:
        WeightsError: the table is of another generator or another text encoder, or the family has none.
    """
    if family.text_encoder is None:
        raise WeightsError(f"{path}: the family {family.name} is here without its text encoder; fetch its part 'clip'")
    table = load_relevance(path, family.generator)
    length = family.text_encoder(["a face"]).shape[1]
    if table.rows.shape[1] != length:
        raise WeightsError(
            f"{path}: of embeddings of {table.rows.shape[1]} numbers, and the family {family.name} reads texts as"
            f" {length}; use a table measured with the same --family"
        )
    unit = UNIT_OF_STD if family.style_std is None else family.text_unit
    return replace(family, relevance=table.rows, style_std=table.std, text_unit=unit)


def with_direction(family: Family, name: str, path: Path) -> Family:
    """The family with a direction of one's own as a further slider; one of the same name gives way to it.

    It is calibrated like the family's own sliders, whatever its length in the file: one step moves random faces by as
    much of their spread along it as a step of the family's sliders does along theirs (the median of them).

    Args:
        family: loaded, with the generator that will draw.
        name: of the edit, as in `--edit NAME=STRENGTH`.
        path: .npy, .pt or .safetensors with one array, see `read_direction`.
    Raises:
        WeightsError: the name cannot be one, or the file holds no direction for this generator.
    """
    if not name.strip() or "=" in name:
        raise WeightsError(f"{path}: {name!r} is no name for an edit; give one without '=', such as squint={path.name}")
    vector, _ = read_direction(path, family.generator)
    w = _random_codes(family.generator)
    vector = vector.to(w.device)
    spread = _spread(w, vector)
    if not spread > 0:
        raise WeightsError(f"{path}: faces do not differ along this direction; use another file")
    steps = [one.unit / max(_spread(w, one.vector.to(w)), 1e-12) for one in family.directions.values()]
    step = float(torch.tensor(steps).median()) if steps else 1.0
    shown = Direction(vector, step * spread, f"from {path.name}", "less", "more", "Your own", "yours")
    return replace(family, directions={**family.directions, name.strip(): shown})


def read_direction(path: Path, generator: Generator) -> tuple[Tensor, float]:
    """A W direction from a file.

    Args:
        path: .npy, .pt or .safetensors with one array: [D], [1,D] or [L,D], or of any number of rows that are equal;
            other axes of length 1 do not matter.
        generator: that it must be for.
    Returns:
        Of unit length, [D], or [L,D] where layers differ (of unit length on average); and the length in the file.
    Raises:
        WeightsError: missing, unreadable, of other sizes, not finite, or zero.
    """
    array = _only_tensor(path) if path.suffix == ".safetensors" else load_array(path)
    rows = array.reshape(-1, array.shape[-1]) if array.numel() and array.ndim else array.reshape(1, -1)
    if len(rows) > 1 and torch.equal(rows, rows[:1].expand_as(rows)):
        rows = rows[:1]  # as for a generator of other rows, in the same W
    if rows.shape[1] != generator.w_dim or len(rows) not in (1, generator.num_ws) or not rows.isfinite().all():
        raise WeightsError(
            f"{path}: an array of shape {list(array.shape)} is no direction for {generator.num_ws} codes of"
            f" {generator.w_dim} numbers; use another file"
        )
    vector = rows[0] if len(rows) == 1 else rows
    length = float(vector.norm(dim=-1).mean())
    if not length > 0:
        raise WeightsError(f"{path}: the direction is zero everywhere; use another file")
    return vector / length, length


def directions_in(path: Path) -> list[tuple[str, Path]]:
    """The directions in a folder, named as their files are.

    Raises:
        WeightsError: it is no folder, or none is in it.
    """
    found = sorted(file for file in path.glob("*") if file.suffix in DIRECTION_SUFFIXES)
    if not found:
        raise WeightsError(f"{path}: no folder of directions; it has no {', '.join(DIRECTION_SUFFIXES)} file")
    return [(file.stem, file) for file in found]


def _only_tensor(path: Path) -> Tensor:
    tensors = list(load_checkpoint(path).values())
    if len(tensors) != 1:
        raise WeightsError(f"{path}: holds {len(tensors)} arrays, expected one direction; use another file")
    return tensors[0].float()


@torch.no_grad()
def _random_codes(generator: Generator) -> Tensor:
    """w of random faces, the same for the same generator, [n,D]."""
    z = torch.randn(_FACES, generator.z_dim, generator=torch.Generator().manual_seed(0))
    return torch.cat([generator.mapping(part) for part in z.to(generator.w_avg.device).split(256)]).float()


def _spread(w: Tensor, vector: Tensor) -> float:
    """How far faces [n,D] lie apart along a direction, [D] or [L,D]: the std, over layers in the mean square."""
    return float((w @ vector.reshape(-1, vector.shape[-1]).T).var(0).mean().sqrt())


def check_fit(path: Path, generator: Generator, num_ws: int | None, w_dim: int) -> None:
    """Refuses a generator that an encoder has no codes for.

    Args:
        path: its file.
        generator: the user's.
        num_ws, w_dim: L and D of the encoder's codes; L is None for an encoder that serves any number.
    Raises:
        WeightsError: the generator wants more, fewer or other codes.
    """
    if num_ws is None:
        if generator.w_dim != w_dim:
            raise WeightsError(
                f"{path}: draws from codes of {generator.w_dim} numbers, and the encoder finds codes of {w_dim}; use a"
                " generator that has the W of the family's own, such as StyleGAN2-FFHQ's for the family portrait"
            )
        return
    if (generator.num_ws, generator.w_dim) != (num_ws, w_dim):
        raise WeightsError(
            f"{path}: draws {generator.resolution} px from {generator.num_ws} codes of {generator.w_dim} numbers,"
            f" and the encoder finds {num_ws} codes of {w_dim}; put an e4e encoder trained for this generator into"
            " your own folder of weights, or use a generator with as many codes"
        )


def widths(layers: Sequence[LayerInfo]) -> list[int]:
    """Style channels of each convolution."""
    return [layer.dimension for layer in layers if layer.is_conv]
