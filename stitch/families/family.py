"""A family of weights: the networks and directions that the stages work with, whatever their size."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from stitch.core.errors import WeightsError
from stitch.core.records import Detections, Direction, Kind, LayerInfo, Noise
from stitch.networks.ending import Ending
from stitch.runtime.optimizer import Rates

UNIT_OF_STD = 2.0
"""One step of a text edit where shifts are counted in the channels' std, as StyleCLIP does: strength 2 is its usual
factor, 4."""

S = TypeVar("S", bound="Synthesis")


class Synthesis(Protocol):
    """What draws faces and can be tuned: a generator, or a stack of copies of one. A `torch.nn.Module`.

    Only what `kinds` names is ever tuned, saved while tuning, or stacked; how the rest is made is its own business.
    """

    def __call__(self, ws: Tensor, noise: Noise = "const", checkpointing: bool = False) -> Tensor:
        """Codes [B,L,D] -> pictures [B,3,R,R] float, nominally in [-1,1], not clipped.

        `checkpointing` keeps less for the way back and computes it anew there: the same pictures and gradients.
        """
        ...

    def from_styles(self, styles: Sequence[Tensor], noise: Noise = "const", checkpointing: bool = False) -> Tensor:
        """The same from one style [B,C_l] a layer, as `Generator.styles` returns them."""
        ...

    def kinds(self) -> Mapping[str, Kind]:
        """The parameters that tuning may move, by their names in `named_parameters`."""
        ...

    def named_parameters(self) -> Iterator[tuple[str, torch.nn.Parameter]]:
        """As every module's."""
        ...

    def parameters(self) -> Iterator[torch.nn.Parameter]:
        """As every module's."""
        ...

    def requires_grad_(self: S, requires_grad: bool = True) -> S:
        """As every module's."""
        ...

    def to(self: S, device: torch.device) -> S:
        """As every module's."""
        ...


class Generator(Synthesis, Protocol):
    """A generator of faces with a W space, and all that the stages know of it."""

    @property
    def resolution(self) -> int:
        """R, side of the pictures in px."""
        ...

    @property
    def z_dim(self) -> int:
        """Z, length of a random vector."""
        ...

    @property
    def w_dim(self) -> int:
        """D, length of a code."""
        ...

    @property
    def num_ws(self) -> int:
        """L, codes per picture."""
        ...

    @property
    def codes_px(self) -> Sequence[int]:
        """Side of the features that each of the L codes styles, px."""
        ...

    @property
    def layers(self) -> Sequence[LayerInfo]:
        """Where styles enter, in the order of `styles`."""
        ...

    @property
    def w_avg(self) -> Tensor:
        """Mean code, [D], on the generator's device."""
        ...

    @property
    def arguments(self) -> dict[str, Any]:
        """What its class must be given to make one of the same sizes, as plain JSON values; for files."""
        ...

    @property
    def mapping(self) -> "Mapper":
        """z -> w."""
        ...

    def broadcast(self, w: Tensor) -> Tensor:
        """One code for all layers, [B,D] -> ws, [B,L,D]."""
        ...

    def styles(self, ws: Tensor) -> list[Tensor]:
        """Codes [B,L,D] -> one style [B,C_l] a layer."""
        ...

    def ending(self, styles: Sequence[Tensor], noise: Noise = "const", checkpointing: bool = False) -> Ending:
        """The last blocks of the pictures that `from_styles` draws, behind features that are drawn at once.

        No gradient reaches what lies before them.
        """
        ...

    def stacked(self, frames: int) -> Synthesis:
        """A copy whose parameters of `kinds` carry a leading frame axis [F,...], all equal at first.

        Sample i of a batch of F is drawn with the i-th set. `stitch.networks.stacking.Stack` gives it to any generator.
        """
        ...


class Mapper(Protocol):
    """The mapping network."""

    def __call__(self, z: Tensor, psi: float = 1.0) -> Tensor:
        """z [B,Z] -> w [B,D], by `psi` < 1 drawn towards the mean code."""
        ...


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

    @property
    def words(self) -> Sequence[str]:
        """Words that this encoder met in training, lower case and sorted; empty where it knows any word."""
        ...

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """n texts -> [n,K] embeddings, not normalised."""
        ...

    def unknown_words(self, text: str) -> list[str]:
        """Words of `text` that this encoder never met in training (empty for a real CLIP)."""
        ...


class Sizes(Protocol):
    """A generator at several sizes, each drawing the same picture from the same code."""

    @property
    def known(self) -> Sequence[int]:
        """Sides of the pictures in px, ascending."""
        ...

    def at(self, size: int) -> Generator:
        """The generator at one of `known`, frozen, on the CPU."""
        ...


@dataclass(frozen=True, eq=False)
class Refinement:
    """How pivots are moved after the encoder, see `stitch.methods.stit.refine`.

    Attributes:
        basis: [K,D], the axes of W along which they move, each as long as the std of faces along it.
        steps: of Adam.
        shared_rate: of the step that all frames take together, in std.
        frame_rate: of what single frames need beside it.
    """

    basis: Tensor
    steps: int
    shared_rate: float
    frame_rate: float


@dataclass(frozen=True, eq=False)
class Boundary:
    """A plane in W between two kinds of faces (InterFaceGAN, Shen et al. 2020, section 3.1).

    Attributes:
        normal: [D], on the device of the codes.
        offset: w is beyond it where w . normal + offset > 0.
    """

    normal: Tensor
    offset: float

    def beyond(self, ws: Tensor) -> bool:
        """Whether codes [...,D] of one person lie beyond it, all taken together."""
        return bool((ws.to(self.normal) @ self.normal).mean() + self.offset > 0)


@dataclass(frozen=True, eq=False)
class Family:
    """One family, loaded and frozen on one device.

    Attributes:
        name: as in `stitch.families.load.known`.
        generator: its `resolution` is the crop's size.
        encoder: e4e; [B,3,R,R] crops in [-1,1] -> [B,L,D] pivots (latent average included).
        relevance: delta_i_c, [channels of all convolutions, K], or None when text edits are not possible.
        style_std: [channels of all convolutions], std of each style channel.
        text_unit: factor of one calibrated step of a text edit.
        tune_rates, stitching_rates: what this family wants of Adam (paper: 3e-5, 3e-4).
        content_weight: lambda_m, by which stitching holds on to the edited face (paper: 0.01).
        licence: one line for people.
        notes: sentences that whoever uses this family should read (a generator of one's own has them).
        least_likeness: of `stit.likeness`, for faces of the family's own world; -1 where nobody measured it. A face
            below it will not look like the person.
        sizes: at which the generator can be had beside its own; None where there is one alone.
        child: beyond which a face is a child's; None where nobody measured it.
        refinement: of the pivots; None takes them as the encoder finds them, as the paper does.
        wide: whether its generator gains by bf16 on CPUs that multiply so.
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
    least_likeness: float = -1.0
    sizes: Sizes | None = None
    child: Boundary | None = None
    refinement: Refinement | None = None
    wide: bool = False

    def at_size(self, size: int) -> "Family":
        """The family with its generator at another size, on the same device.

        Args:
            size: px, the generator's own or one of `sizes`.
        Raises:
            WeightsError: it cannot be had at that size.
        """
        if size == self.generator.resolution:
            return self
        if self.sizes is None or size not in self.sizes.known:
            known = (self.generator.resolution,) if self.sizes is None else self.sizes.known
            raise WeightsError(f"size {size}: the family {self.name} draws at {', '.join(map(str, known))} px")
        generator = self.sizes.at(size).to(next(self.generator.parameters()).device)
        if self.relevance is None or self.style_std is None:
            return replace(self, generator=generator)
        # Coarse layers come first and are alike at every size: further channels stay still, those beyond are dropped.
        channels = sum(layer.dimension for layer in generator.layers if layer.is_conv)
        relevance, std = (
            torch.cat([table[:channels], table.new_zeros(max(0, channels - len(table)), *table.shape[1:])])
            for table in (self.relevance, self.style_std)
        )
        return replace(self, generator=generator, relevance=relevance, style_std=std)
