"""What one's own can stand in a family's place: a generator, and the table behind text edits that belongs to it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from stitch.core.errors import WeightsError
from stitch.core.records import LayerInfo
from stitch.families.family import Family, Generator
from stitch.families.relevance import load as load_relevance
from stitch.networks.formats.generators import load_generator
from stitch.stit.text import UNIT_OF_STD


def with_generator(family: Family, path: Path) -> Family:
    """The family with another generator.

    Encoder and sliders stay: they serve a generator that was trained on from the family's. Text edits stay only where
    every style channel has its counterpart; elsewhere `with_relevance` brings them back.

    Args:
        family: loaded.
        path: any StyleGAN2 generator, see `stitch.networks.formats.generators.load_generator`.
    Returns:
        A family with a note about what to expect.
    Raises:
        WeightsError: the file holds no such generator, or one that the family's encoder has no codes for.
    """
    generator = load_generator(path)
    note = check_fit(path, generator, family.generator.num_ws, family.generator.w_dim)
    device = next(family.generator.parameters()).device
    if widths(generator.layers) != widths(family.generator.layers):
        family = replace(family, relevance=None, style_std=None)
    return replace(family, generator=generator.to(device), notes=(*family.notes, note))


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


def check_fit(path: Path, generator: Generator, num_ws: int, w_dim: int) -> str:
    """Refuses a generator that an encoder has no codes for.

    Args:
        path: its file.
        generator: the user's.
        num_ws, w_dim: L and D of the encoder's codes.
    Returns:
        What there is to say about the pair, in a sentence.
    Raises:
        WeightsError: the generator wants more, fewer or other codes.
    """
    if (generator.num_ws, generator.w_dim) != (num_ws, w_dim):
        raise WeightsError(
            f"{path}: draws {generator.resolution} px from {generator.num_ws} codes of {generator.w_dim} numbers,"
            f" and the encoder finds {num_ws} codes of {w_dim}; put an e4e encoder trained for this generator into"
            " your own folder of weights, or use a generator with as many codes"
        )
    return (
        f"generator {path.name}: encoder and sliders were made for the family's own generator; they fit one that was"
        " trained on from it, and are a guess for any other"
    )


def widths(layers: Sequence[LayerInfo]) -> list[int]:
    """Style channels of each convolution."""
    return [layer.dimension for layer in layers if layer.is_conv]
