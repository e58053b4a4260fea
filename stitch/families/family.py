"""A family of weights: the networks and directions that the stages work with, whatever their size."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from torch import Tensor, nn

from stitch.core.records import Detections, Direction
from stitch.networks.stylegan2 import Generator
from stitch.runtime.optimizer import Rates


class Detector(Protocol):
    """Finds faces in one frame."""

    def detect(self, frame: np.ndarray, threshold: float) -> Detections:
        """All faces of `frame` ([H,W,3] uint8 RGB) scoring at least `threshold`, largest first."""
        ...


class Parser(Protocol):
    """Labels an aligned face in BiSeNet's 19 classes."""

    def __call__(self, images: Tensor) -> Tensor:
        """[B,3,S,S] float in [-1,1] -> [B,h,w] int64 labels at the parser's own size."""
        ...


class Perceptual(Protocol):
    """LPIPS in two halves, so that a target's features are computed once."""

    def features(self, images: Tensor) -> list[Tensor]:
        """[B,3,S,S] in [-1,1] -> unit-normalised features of each tap, [B,C,h,w]."""
        ...

    def distance(self, first: Sequence[Tensor], second: Sequence[Tensor]) -> Tensor:
        """Two lists from `features` -> [B] LPIPS distances."""
        ...


class Embedder(Protocol):
    """Identity of an aligned face."""

    def __call__(self, images: Tensor) -> Tensor:
        """[B,3,S,S] float in [-1,1] -> [B,K] of unit length."""
        ...


class TextEncoder(Protocol):
    """CLIP's text tower."""

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """n texts -> [n,K] embeddings, not normalised."""
        ...

    def unknown_words(self, text: str) -> list[str]:
        """Words of `text` that this encoder never met in training (empty for a real CLIP)."""
        ...


@dataclass(frozen=True, eq=False)
class Family:
    """One family, loaded and frozen on one device.

    Attributes:
        name: "miniature" or "ffhq".
        generator: StyleGAN2; its `resolution` is the crop's size.
        encoder: e4e; [B,3,R,R] crops in [-1,1] -> [B,L,D] pivots (latent average included).
        relevance: delta_i_c, [channels of all convolutions, K], or None when text edits are not possible.
        style_std: [channels of all convolutions], std of each style channel.
        text_unit: factor of one calibrated step of a text edit.
        tune_rates, stitching_rates: what this family wants of Adam (paper: 3e-5, 3e-4).
        content_weight: lambda_m, by which stitching holds on to the edited face (paper: 0.01).
        licence: one line for people.
        notes: sentences that whoever uses this family should read (a generator of one's own has them).
    """

    name: str
    generator: Generator
    encoder: nn.Module
    detector: Detector
    parser: Parser
    perceptual: Perceptual
    identity: Embedder
    text_encoder: TextEncoder | None
    directions: Mapping[str, Direction]
    relevance: Tensor | None
    style_std: Tensor | None
    text_unit: float
    text_channels: int
    tune_rates: Rates
    stitching_rates: Rates
    content_weight: float
    licence: str
    notes: tuple[str, ...] = ()
