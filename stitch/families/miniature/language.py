"""The small CLIP: open_clip's own classes at a small size, with the vocabulary cut down to what training met."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from stitch.core.images import resize
from stitch.networks import torchvision_shim  # noqa: F401  open_clip imports torchvision

# isort: split
import open_clip
from open_clip.model import CLIPTextCfg, CLIPVisionCfg
from open_clip.tokenizer import SimpleTokenizer

PADDING, UNKNOWN = 0, 1


@lru_cache(maxsize=1)
def _tokenizer() -> SimpleTokenizer:
    return SimpleTokenizer()


def words_of(text: str) -> list[str]:
    """Lower-case words of a text, in order."""
    return re.findall(r"[^\W\d_]+", text.lower())


@dataclass(frozen=True)
class Vision:
    """A ResNet: blocks of its four stages, channels of the first."""

    layers: tuple[int, ...] = (1, 1, 1, 1)
    width: int = 16


@dataclass(frozen=True)
class TextSizes:
    """A transformer."""

    width: int = 64
    heads: int = 4
    layers: int = 2


class SmallClip(nn.Module):
    """Picture tower and text tower of one small open_clip model.

    The vocabulary's matrix holds the rows of the byte-pair tokens that training met; all other tokens share one row,
    which training filled by hiding words at random, so that an unknown word says nothing.

    Args:
        tokens: open_clip's ids of the tokens that have a row of their own.
        words: words that training met.
        dimension: K, length of an embedding.
        size: side of the pictures in px, a multiple of 32; others are resized.
        vision, text: sizes of the two towers.
        context: longest text in tokens, its two marks included.
    """

    def __init__(
        self,
        tokens: Sequence[int],
        words: Sequence[str],
        dimension: int = 64,
        size: int = 64,
        vision: Vision = Vision(),
        text: TextSizes = TextSizes(),
        context: int = 32,
    ):
        super().__init__()
        self.tokens = tuple(sorted(tokens))
        self.words = tuple(sorted(words))
        self.dimension = dimension
        self.size = size
        self.vision, self.text = vision, text
        self.context = context
        self._known = frozenset(self.words)
        # the mark of the end must have the largest number: open_clip reads a text off at the largest
        self._rows = {token: row for row, token in enumerate(self.tokens, start=2)}
        self._start, self._end = len(self.tokens) + 2, len(self.tokens) + 3
        self.clip = open_clip.CLIP(
            dimension,
            CLIPVisionCfg(
                layers=vision.layers, width=vision.width, head_width=64, image_size=size  # type: ignore[arg-type]
            ),
            CLIPTextCfg(
                context_length=context, vocab_size=self._end + 1, width=text.width, heads=text.heads, layers=text.layers
            ),
        )

    @property
    def arguments(self) -> dict[str, Any]:
        """What `from_arguments` makes one of the same sizes from, for files of weights."""
        return {
            "tokens": self.tokens, "words": self.words, "dimension": self.dimension, "size": self.size,
            "vision_layers": self.vision.layers, "vision_width": self.vision.width, "text_width": self.text.width,
            "text_heads": self.text.heads, "text_layers": self.text.layers, "context": self.context,
        }

    @classmethod
    def from_arguments(cls, **arguments: Any) -> "SmallClip":
        """One of the sizes that `arguments` gives."""
        vision = Vision(tuple(arguments.pop("vision_layers")), arguments.pop("vision_width"))
        text = TextSizes(*(arguments.pop(f"text_{name}") for name in ("width", "heads", "layers")))
        return cls(vision=vision, text=text, **arguments)

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """Rows of the vocabulary's matrix.

        Args:
            texts: n texts; what is longer than the context is cut.
        Returns:
            [n,context] int64: start, tokens, end, padding.
        """
        rows = torch.full((len(texts), self.context), PADDING, dtype=torch.int64)
        for index, text in enumerate(texts):
            ids = [self._rows.get(token, UNKNOWN) for token in _tokenizer().encode(text)][: self.context - 2]
            line = [self._start, *ids, self._end]
            rows[index, : len(line)] = torch.tensor(line)
        return rows

    def unknown_words(self, text: str) -> list[str]:
        """Words of `text` that training never met, each once, in order."""
        return list(dict.fromkeys(word for word in words_of(text) if word not in self._known))

    def forward(self, texts: Sequence[str]) -> Tensor:
        """Text tower (family.TextEncoder).

        Args:
            texts: n texts.
        Returns:
            [n,K] embeddings, not normalised.
        """
        return self.clip.encode_text(self.tokenize(texts).to(self.clip.logit_scale.device))

    def encode_image(self, images: Tensor) -> Tensor:
        """Picture tower.

        Args:
            images: [B,3,S,S] float in [-1,1], aligned faces.
        Returns:
            [B,K] embeddings, not normalised.
        """
        return self.clip.encode_image(resize(images, self.size))


class PictureTower(nn.Module):
    """The picture tower alone: [B,3,S,S] float in [-1,1] -> [B,K], not normalised."""

    def __init__(self, clip: SmallClip):
        super().__init__()
        self.small_clip = clip

    def forward(self, images: Tensor) -> Tensor:
        """See `SmallClip.encode_image`."""
        return self.small_clip.encode_image(images)


def vocabulary(texts: Iterable[str]) -> tuple[list[int], list[str]]:
    """open_clip's tokens and the words of some texts, both sorted."""
    tokenizer = _tokenizer()
    tokens: set[int] = set()
    words: set[str] = set()
    for text in texts:
        tokens.update(tokenizer.encode(text))
        words.update(words_of(text))
    return sorted(tokens), sorted(words)
