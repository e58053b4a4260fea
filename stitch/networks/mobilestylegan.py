"""MobileStyleGAN's generator (Belousov 2021, arXiv 2104.04767): StyleGAN2's W space at a tenth of its cost.

A picture grows by inverse Haar wavelet transforms, convolutions are separable, and styles scale the features, so that
demodulation does not depend on w and lies folded in the pointwise weights.
"""

import math
from collections.abc import Iterator, Sequence
from collections.abc import Mapping as MappingType
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stitch.core.records import Kind, LayerInfo, Noise
from stitch.networks.ending import Ending, shifted, step
from stitch.networks.mobile_layers import (
    BANDS,
    SLOPE,
    Affine,
    Bands,
    Block,
    CoarseBlock,
    FirstConvolution,
    SeparableConvolution,
    inverse_wavelet,
)
from stitch.networks.stacking import Stack
from stitch.runtime.precision import whole

_GAIN = math.sqrt(2)
_EPSILON = 1e-8
_FIRST = 4
"""Side of the constant input in px."""


class Mapping(nn.Module):
    """The mapping network, z -> w; `w_avg` is the mean of w."""

    w_avg: Tensor

    def __init__(self, z_dim: int, w_dim: int, layers: int):
        super().__init__()
        self.fc = nn.ModuleList(nn.Linear(z_dim if index == 0 else w_dim, w_dim) for index in range(layers))
        for layer in cast(Sequence[nn.Linear], self.fc):
            nn.init.normal_(layer.weight, std=1 / math.sqrt(layer.in_features))
            nn.init.zeros_(layer.bias)
        self.register_buffer("w_avg", torch.zeros(w_dim))

    def forward(self, z: Tensor, psi: float = 1.0) -> Tensor:
        """Codes of random vectors.

        Args:
            z: [B,Z], usually standard normal.
            psi: truncation towards `w_avg`; 1 leaves the code as it is.
        Returns:
            w, [B,D].
        """
        x = z * (z.square().mean(1, keepdim=True) + _EPSILON).rsqrt()
        for layer in self.fc:
            x = F.leaky_relu(layer(x), SLOPE) * _GAIN
        return x if psi == 1 else self.w_avg.lerp(x, psi)


class MobileStyleGAN(nn.Module):
    """MobileStyleGAN: codes in W to images.

    A generator may end before its last block. The picture of a smaller side then lacks what the blocks behind would
    have done, above all to its colours; so they are computed too, but on means, at the side where the generator ends.

    Args:
        resolution: side of the images in px, a power of two, at least 16.
        style_dim: D, length of a code.
        mapping_layers: depth of the mapping network.
        channels: of the features at every side from 4 to half of `resolution`, multiples of four; larger sides are
            those of blocks that are computed on means.
        z_dim: Z, length of a random vector; None takes D.

    Attributes:
        num_ws: L, codes per image. In training all were one w, so that codes that differ lie outside what it knows.
        codes_px: side of the features that each code styles, px.
        layers: the synthesis layers in the order of `styles`.

    Raises:
        ValueError: resolution is not a power of two, or channels are missing or not divisible by four.
    """

    def __init__(
        self,
        resolution: int,
        style_dim: int,
        mapping_layers: int,
        channels: MappingType[int, int],
        z_dim: int | None = None,
    ):
        super().__init__()
        if resolution < 4 * _FIRST or resolution & (resolution - 1):
            raise ValueError(f"resolution: got {resolution}, expected a power of two, at least {4 * _FIRST}")
        self.last = max(max(channels), resolution // 2)
        sides = [2**power for power in range(2, self.last.bit_length())]
        missing = [side for side in sides if side not in channels]
        if missing:
            raise ValueError(f"channels: got {sorted(channels)}, expected {missing} too")
        if any(channels[side] % BANDS for side in sides):
            raise ValueError(f"channels: got {dict(channels)}, expected multiples of {BANDS}")
        self.resolution = resolution
        self.w_dim = style_dim
        self.z_dim = style_dim if z_dim is None else z_dim
        self.mapping_layers = mapping_layers
        self.channels = {side: channels[side] for side in sides}
        self.num_ws = 3 * len(sides) - 2
        self.codes_px = [sides[0], *(side for side in sides[1:] for _ in range(3))]
        self.mapping = Mapping(self.z_dim, style_dim, mapping_layers)
        self.synthesis = nn.Module()
        self.synthesis.register_parameter("input", nn.Parameter(torch.randn(channels[_FIRST], _FIRST, _FIRST)))
        self.synthesis.conv = FirstConvolution(channels[_FIRST], style_dim, _FIRST)
        for inputs, side in zip(self.channels.values(), sides[1:], strict=False):
            if side < resolution:
                self.synthesis.add_module(f"b{side}", Block(inputs, channels[side], style_dim, side))
            else:
                coarse = CoarseBlock(inputs, channels[side], style_dim, resolution // 2)
                self.synthesis.add_module(f"coarse{side}", coarse)
        self.synthesis.picture = Bands(channels[resolution // 2], 3 * BANDS, style_dim)
        if self.last >= resolution:
            self.synthesis.colours = Bands(channels[self.last], 3, style_dim)
        self.layers = self._layer_infos()

    @property
    def _blocks(self) -> list[str]:
        return [f"b{side}" for side in self.channels if _FIRST < side < self.resolution]

    @property
    def _coarse(self) -> list[str]:
        return [f"coarse{side}" for side in self.channels if side >= self.resolution]

    @property
    def arguments(self) -> dict[str, Any]:
        """What the constructor was given, for files."""
        return {
            "resolution": self.resolution,
            "style_dim": self.w_dim,
            "mapping_layers": self.mapping_layers,
            "channels": self.channels,
            "z_dim": self.z_dim,
        }

    @property
    def w_avg(self) -> Tensor:
        """Mean code, [D]; the truncation's centre."""
        return self.mapping.w_avg

    def broadcast(self, w: Tensor, psi: float = 1.0) -> Tensor:
        """One code for all layers.

        Args:
            w: [B,D].
            psi: truncation towards `w_avg`; 1 leaves the codes as they are.
        Returns:
            ws, [B,L,D].
        """
        w = w if psi == 1 else self.w_avg.lerp(w, psi)
        return w[:, None].expand(-1, self.num_ws, -1)

    def styles(self, ws: Tensor) -> list[Tensor]:
        """Codes to StyleSpace, the affine layers' outputs (Wu et al. 2021, arXiv 2011.12799).

        Args:
            ws: [B,L,D].
        Returns:
            One [B,C] per layer in the order of `layers`, before the layers' own gains.
        Raises:
            ValueError: the codes' shape is wrong.
        """
        if ws.ndim != 3 or ws.shape[1:] != (self.num_ws, self.w_dim):
            raise ValueError(f"ws: got shape {list(ws.shape)}, expected [B, {self.num_ws}, {self.w_dim}]")
        codes = ws.unbind(1)
        return [
            cast(Affine, self.synthesis.get_submodule(f"{layer.name}.affine"))(codes[layer.w_index])
            for layer in self.layers
        ]

    def from_styles(self, styles: Sequence[Tensor], noise: Noise = "const", checkpointing: bool = False) -> Tensor:
        """Images from StyleSpace.

        Args:
            styles: one [B,C] per layer, as `styles` returns them.
            noise: "const" adds the stored noise maps, "none" adds nothing.
            checkpointing: keep for the backward pass only what goes from block to block, and do each block once more
                there: less memory for a third more work, with the same gradients.
        Returns:
            [B,3,R,R], nominally in [-1,1], not clipped.
        Raises:
            ValueError: not one style per layer.
        """
        remaining = iter(self._checked(styles))
        x = self._features(remaining, self._blocks, noise, checkpointing)
        return _pixels(self.finish(x, remaining, noise))

    def ending(self, styles: Sequence[Tensor], noise: Noise = "const", checkpointing: bool = False) -> Ending:
        """The pictures behind the last block but one, R/4 px, with room for residuals behind it and behind the last.

        The blocks that stand for those behind the picture's size see the features without residuals (measured: a
        quarter of a step less, for as small a seam and 6 % more of L_m).

        Args:
            styles, noise, checkpointing: as for `from_styles`.
        Returns:
            What is left to draw.
        Raises:
            ValueError: as `from_styles`.
        """
        remaining = iter(self._checked(styles))
        block, colour = (self.synthesis.get_submodule(name) for name in (self._blocks[-1], "picture"))
        with torch.no_grad():
            start = self._features(remaining, self._blocks[:-1], noise, checkpointing)
            own = [next(remaining) for _ in range(3)]
            x = block(start, own, noise)
            last = next(remaining)
            low = self._low(x, remaining, noise)
        again = step(block, checkpointing)

        def draw(residuals: Sequence[Tensor]) -> Tensor:
            before, behind = residuals
            x = shifted(again(shifted(start, before), own, noise), behind)
            return _pixels(_bands(colour(x, last), low))

        return Ending((tuple(start.shape), tuple(x.shape)), draw)

    def _checked(self, styles: Sequence[Tensor]) -> Sequence[Tensor]:
        if len(styles) != len(self.layers):
            raise ValueError(f"styles: got {len(styles)}, expected {len(self.layers)}")
        return styles

    def _features(self, styles: Iterator[Tensor], blocks: Sequence[str], noise: Noise, checkpointing: bool) -> Tensor:
        """[B,H,W,4,C] behind the last of some blocks, the first ones; takes their styles."""
        first = next(styles)
        x = cast(Tensor, self.synthesis.input).expand(len(first), -1, -1, -1)
        x = self.synthesis.get_submodule("conv")(x, first, noise)
        for name in blocks:
            x = step(self.synthesis.get_submodule(name), checkpointing)(x, [next(styles) for _ in range(3)], noise)
        return x

    def finish(self, x: Tensor, styles: Iterator[Tensor], noise: Noise = "const") -> Tensor:
        """Wavelet bands of the picture from the last block's features.

        Args:
            x: [B,R/2,R/2,4,C].
            styles: of the layers behind the last block, in the order of `layers`.
            noise: as in `from_styles`.
        Returns:
            [B,R/2,R/2,4,3].
        """
        colours = self.synthesis.get_submodule("picture")(x, next(styles))
        return _bands(colours, self._low(x, styles, noise))

    def _low(self, x: Tensor, styles: Iterator[Tensor], noise: Noise) -> Tensor | None:
        """What the blocks that are computed on means add to the low band, [B,R/2,R/2,3]; None without any."""
        if not self._coarse:
            return None
        for name in self._coarse:
            x = self.synthesis.get_submodule(name)(x, [next(styles) for _ in range(3)], noise)
        return cast(Tensor, self.synthesis.get_submodule("colours")(x, next(styles)))

    def forward(self, ws: Tensor, noise: Noise = "const", checkpointing: bool = False) -> Tensor:
        """Images of codes; `noise` and `checkpointing` as in `from_styles`.

        Args:
            ws: [B,L,D].
        Returns:
            [B,3,R,R], nominally in [-1,1], not clipped.
        Raises:
            ValueError: as `styles` and `from_styles`.
        """
        return self.from_styles(self.styles(ws), noise, checkpointing)

    def kinds(self) -> dict[str, Kind]:
        """What each parameter of the synthesis is, by its name in the state dict."""
        return {f"synthesis.{name}": _kind(name) for name, _ in self.synthesis.named_parameters()}

    def truncated(self, resolution: int) -> "MobileStyleGAN":
        """The generator up to a smaller picture, with copies of the weights; the blocks behind are computed on means.

        Args:
            resolution: below the generator's own.
        Returns:
            A generator whose picture layer adds nothing yet: it has the style of the next block, and weights of zero.
        Raises:
            ValueError: `resolution` is not smaller, or this generator ends before its last block itself.
        """
        if self._coarse or resolution >= self.resolution:
            raise ValueError(f"truncated: got {resolution} px of {self.resolution}, expected less of a whole generator")
        with self.w_avg.device:
            small = MobileStyleGAN(**{**self.arguments, "resolution": resolution})
        state = small.state_dict()
        own = {name: value for name, value in self.state_dict().items() if name in state and ".picture." not in name}
        small.load_state_dict(state | own)
        for name in small._coarse:
            full = self.synthesis.get_submodule(name.replace("coarse", "b"))
            cast(CoarseBlock, small.synthesis.get_submodule(name)).imitate(cast(Block, full))
        end, colours = (cast(Bands, network.synthesis.get_submodule(name))
                        for network, name in ((self, "picture"), (small, "colours")))
        colours.load_state_dict(
            {**end.state_dict(), "weight": end.weight[::BANDS], "bias": end.bias[::BANDS]}
        )
        picture = cast(Bands, small.synthesis.get_submodule("picture"))
        following = cast(Block, self.synthesis.get_submodule(f"b{resolution}")).up.affine
        picture.affine.load_state_dict(following.state_dict())
        nn.init.zeros_(picture.weight)
        return small

    def stacked(self, frames: int) -> Stack:
        """One set of synthesis weights per frame, all equal at first.

        Args:
            frames: F >= 1.
        Raises:
            ValueError: frames < 1.
        """
        return Stack(self, frames)

    def _layer_infos(self) -> list[LayerInfo]:
        """Walks the blocks: block i reads row 3i+1 in `up` and `conv1`, 3i+2 in `conv2`, a picture behind it 3i+3."""
        rows = [("conv", 0)]
        for index, name in enumerate([*self._blocks, *self._coarse]):
            if index == len(self._blocks):
                rows.append(("picture", 3 * index))
            row = 3 * index + 1
            rows += [(f"{name}.up", row), (f"{name}.conv1", row), (f"{name}.conv2", row + 1)]
        rows.append(("colours" if self._coarse else "picture", self.num_ws - 1))
        infos: list[LayerInfo] = []
        offset = 0
        for name, row in rows:
            layer = self.synthesis.get_submodule(name)
            dimension = cast(Affine, layer.affine).weight.shape[0]
            is_conv = isinstance(layer, FirstConvolution | SeparableConvolution) and not name.startswith("coarse")
            infos.append(LayerInfo(name, dimension, is_conv, row, offset if is_conv else None))
            offset += dimension * is_conv
        return infos


def _bands(colours: Tensor, low: Tensor | None) -> Tensor:
    """The picture layer's twelve colours [B,H,W,12] as bands [B,H,W,4,3], with the low one's further part added."""
    bands = colours.unflatten(3, (-1, BANDS)).transpose(3, 4)
    return bands if low is None else bands + F.pad(low[:, :, :, None], (0, 0, 0, BANDS - 1))


def _pixels(bands: Tensor) -> Tensor:
    """Wavelet bands of pictures, [B,R/2,R/2,4,3], to the pictures, [B,3,R,R]."""
    with whole(bands.device):
        return inverse_wavelet(bands).permute(0, 3, 1, 2).contiguous()


def _kind(name: str) -> Kind:
    if ".affine." in name:
        return "affine"
    return "bias" if name == "input" or name.endswith(".bias") else "convolution"
