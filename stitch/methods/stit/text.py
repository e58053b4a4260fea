"""A prompt becomes a direction in StyleSpace (StyleCLIP's global directions, Patashnik et al. 2021, section 6)."""

import difflib
import re
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from stitch.core.errors import EditError
from stitch.core.records import LayerInfo, StyleDirection, Text
from stitch.families.family import TextEncoder

# CLIP's 80 prompt templates for ImageNet; METHOD counts the 79 of StyleCLIP's article, its program has all of them.
TEMPLATES = (
    "a bad photo of a {}.",
    "a photo of many {}.",
    "a sculpture of a {}.",
    "a photo of the hard to see {}.",
    "a low resolution photo of the {}.",
    "a rendering of a {}.",
    "graffiti of a {}.",
    "a bad photo of the {}.",
    "a cropped photo of the {}.",
    "a tattoo of a {}.",
    "the embroidered {}.",
    "a photo of a hard to see {}.",
    "a bright photo of a {}.",
    "a photo of a clean {}.",
    "a photo of a dirty {}.",
    "a dark photo of the {}.",
    "a drawing of a {}.",
    "a photo of my {}.",
    "the plastic {}.",
    "a photo of the cool {}.",
    "a close-up photo of a {}.",
    "a black and white photo of the {}.",
    "a painting of the {}.",
    "a painting of a {}.",
    "a pixelated photo of the {}.",
    "a sculpture of the {}.",
    "a bright photo of the {}.",
    "a cropped photo of a {}.",
    "a plastic {}.",
    "a photo of the dirty {}.",
    "a jpeg corrupted photo of a {}.",
    "a blurry photo of the {}.",
    "a photo of the {}.",
    "a good photo of the {}.",
    "a rendering of the {}.",
    "a {} in a video game.",
    "a photo of one {}.",
    "a doodle of a {}.",
    "a close-up photo of the {}.",
    "a photo of a {}.",
    "the origami {}.",
    "the {} in a video game.",
    "a sketch of a {}.",
    "a doodle of the {}.",
    "a origami {}.",
    "a low resolution photo of a {}.",
    "the toy {}.",
    "a rendition of the {}.",
    "a photo of the clean {}.",
    "a photo of a large {}.",
    "a rendition of a {}.",
    "a photo of a nice {}.",
    "a photo of a weird {}.",
    "a blurry photo of a {}.",
    "a cartoon {}.",
    "art of a {}.",
    "a sketch of the {}.",
    "a embroidered {}.",
    "a pixelated photo of a {}.",
    "itap of the {}.",
    "a jpeg corrupted photo of the {}.",
    "a good photo of a {}.",
    "a plushie {}.",
    "a photo of the nice {}.",
    "a photo of the small {}.",
    "a photo of the weird {}.",
    "the cartoon {}.",
    "art of the {}.",
    "a drawing of the {}.",
    "a photo of the large {}.",
    "a black and white photo of a {}.",
    "the plushie {}.",
    "a dark photo of a {}.",
    "itap of a {}.",
    "graffiti of the {}.",
    "a toy {}.",
    "itap of my {}.",
    "a photo of a cool {}.",
    "a photo of a small {}.",
    "a tattoo of the {}.",
)

# Words that say nothing by themselves: a text of nothing else, or whose other words are all unknown, asks for nothing.
_FILLERS = frozenset("a an and at by for her his in is its of on or some the their to very who with without".split())
_ARTICLE = re.compile(r"^(?:an?|the)\s+(?=\S)", re.IGNORECASE)
_WORD = re.compile(r"[^\W_]+(?:['\u2019-][^\W_]+)*")


def known_words(text_encoder: TextEncoder) -> list[str]:
    """Words that say something of a face to an encoder that knows only some; empty where it knows any word."""
    said = {word for template in TEMPLATES for word in _WORD.findall(template.lower())}
    return [word for word in text_encoder.words if word not in said and word not in _FILLERS]


def unknown_words(text_encoder: TextEncoder, target: str, neutral: str) -> tuple[str, ...]:
    """Checks the two ends of a text edit.

    Args:
        text_encoder: CLIP's text tower.
        target: what the face should be.
        neutral: what it is now.
    Returns:
        Words of either text that the encoder never met, each once; they have no effect.
    Raises:
        EditError: a text is empty, both say the same, or the encoder knows none of the words that make the difference.
    """
    for text in (target, neutral):
        if not _WORD.search(text):
            raise EditError(f"text edit {text!r}: it has no words; describe the face, e.g. 'a face with glasses'")
    wanted, present = ({word.lower() for word in _WORD.findall(text)} - _FILLERS for text in (target, neutral))
    if _bare(target).lower() == _bare(neutral).lower():
        raise EditError(f"text edit {target!r}: the neutral text says the same; describe what should change")
    unknown = tuple(dict.fromkeys(text_encoder.unknown_words(target) + text_encoder.unknown_words(neutral)))
    strange = {word.lower() for word in unknown}
    meant = wanted - present or present - wanted
    if meant and meant <= strange:
        words = ", ".join(map(repr, unknown))
        known = known_words(text_encoder)
        near = [similar for word in sorted(strange) for similar in difflib.get_close_matches(word, known, 1, 0.75)]
        hint = f", such as {', '.join(map(repr, dict.fromkeys(near)))}" if near else ""
        raise EditError(
            f"text edit {target!r}: this family's text encoder does not know {words}; use other words{hint}"
        )
    return unknown


def text_axis(text_encoder: TextEncoder, target: str, neutral: str) -> Tensor:
    """CLIP's direction from one text to another, d_t, each end averaged over the templates.

    Templates with words that the encoder never met are left out: they only add noise to both ends.

    Args:
        text_encoder: CLIP's text tower.
        target: what the face should be.
        neutral: what it is now.
    Returns:
        d_t, [K] of unit length.
    Raises:
        EditError: the encoder cannot tell the texts apart.
    """
    known = [template for template in TEMPLATES if not text_encoder.unknown_words(template.format(""))]
    ends = [
        _mean_embedding(text_encoder([template.format(_bare(text)) for template in known] or [text]))
        for text in (target, neutral)
    ]
    difference = ends[0] - ends[1]
    if not difference.norm() > 1e-6:
        raise EditError(f"text edit {target!r}: the text encoder sees no difference from {neutral!r}; use other words")
    return F.normalize(difference, dim=0)


def text_direction(
    text_encoder: TextEncoder,
    relevance: Tensor,
    layers: Sequence[LayerInfo],
    text: Text,
    *,
    unit: float = 1.0,
    style_std: Tensor | None = None,
) -> StyleDirection:
    """The StyleSpace direction of a prompt (METHOD, stage 4): relevant channels only, divided by the largest.

    Args:
        text_encoder: CLIP's text tower.
        relevance: delta_i_c, [channels of all convolutions, K]: what moving each channel does to a picture's embedding.
        layers: of the generator, in its order.
        text: its two ends, and one of two: `beta`, channels whose |relevance| is not above it stay still; or how many
            `channels` may move, and the largest beta that keeps them is taken.
        unit: factor of one step of the calibrated slider.
        style_std: [channels of all convolutions], std of each channel, by which its shift is multiplied. StyleCLIP's
            program does that, since relevance was measured by moving each channel by its std. None leaves it out, as
            the authors' program does.
    Returns:
        The direction; toRGB layers do not move.
    Raises:
        EditError: nothing is left to move, or the texts cannot be told apart.
        ValueError: shapes disagree, or not exactly one of beta and channels is given.
    """
    target, beta, channels = text.target, text.beta, text.channels
    if (beta is None) == (channels is None):
        raise ValueError(f"beta, channels: got {beta} and {channels}, expected exactly one of them")
    total = sum(layer.dimension for layer in layers if layer.is_conv)
    if relevance.ndim != 2 or relevance.shape[0] != total:
        raise ValueError(f"relevance: got shape {list(relevance.shape)}, expected [{total}, K]")
    if style_std is not None and style_std.shape != (total,):
        raise ValueError(f"style_std: got shape {list(style_std.shape)}, expected [{total}]")
    axis = text_axis(text_encoder, target, text.neutral)
    scores = relevance @ axis.to(relevance)
    size = scores.abs()
    if beta is None:
        beta = _widest_threshold(size, channels or 0, target)
    scores = torch.where(size > beta, scores, 0.0)
    kept = int((scores != 0).sum())
    if kept == 0:
        raise EditError(
            f"text edit {target!r}: no style channel is above beta {beta:g}; the strongest reaches "
            f"{float(size.max()):.3g}: lower beta, or give the number of channels instead"
        )
    shift = scores / scores.abs().max()
    if style_std is not None:
        shift = shift * style_std.to(shift)
    return StyleDirection(tuple(_split(shift, layers)), unit, kept)


def _bare(text: str) -> str:
    """The text as the templates want it: they bring their own article."""
    return _ARTICLE.sub("", " ".join(text.split()).rstrip("."))


def _mean_embedding(embeddings: Tensor) -> Tensor:
    """[n,K] -> [K]: normalised, averaged, normalised."""
    return F.normalize(F.normalize(embeddings.float(), dim=1).mean(0), dim=0)


def _widest_threshold(size: Tensor, channels: int, target: str) -> float:
    """The largest beta that keeps `channels` entries of `size` (more only where they are equal)."""
    if channels < 1:
        raise EditError(f"text edit {target!r}: {channels} channels may move; allow at least 1")
    weakest = size.topk(min(channels, len(size))).values[-1]
    return float(torch.nextafter(weakest, weakest.new_tensor(-1.0)).clamp_min(0))


def _split(shift: Tensor, layers: Sequence[LayerInfo]) -> list[Tensor]:
    """[channels of all convolutions] -> one [C] per layer, zero for toRGB."""
    return [
        shift.new_zeros(layer.dimension)
        if layer.offset is None
        else shift[layer.offset : layer.offset + layer.dimension].clone()
        for layer in layers
    ]
