"""StyleGAN2's generator (Karras et al. 2020, arXiv 1912.04958), with the parameter names of NVIDIA's published layout.

Under autocast the convolutions, and the features between them, are in its precision; codes, styles, demodulation and
colours are float32 always, for what they scale or add up is a whole channel or the picture itself.

Every parameter of the synthesis may carry a leading frame axis ([F,...] instead of [...]): sample i of a batch of F is
then drawn with the i-th set of weights. So the frames of a chunk are tuned at once, each with weights of its own.
"""

import copy
import math
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Mapping as MappingType
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stitch.core.records import Kind, LayerInfo, Noise
from stitch.networks.ending import Ending, shifted, step
from stitch.runtime.precision import whole

_SLOPE = 0.2
_GAIN = math.sqrt(2)
_MAPPING_RATE = 0.01
_EPSILON = 1e-8
_FIR = (1.0, 3.0, 3.0, 1.0)


def low_pass() -> Tensor:
    """The filter behind every doubling, outer([1,3,3,1], [1,3,3,1]) / 16.

    Returns:
        [4,4] float32 of sum four, which makes up for the zeros between the pixels.
    """
    taps = torch.tensor(_FIR) / 4
    return torch.outer(taps, taps)


def modulated_convolution(
    x: Tensor, weight: Tensor, style: Tensor, gain: float = 1.0, fir: Tensor | None = None
) -> Tensor:
    """Convolution whose weights each sample's style scales and demodulation scales back (section 2.2, equations 1-3).

    The style scales either the weights or, which is the same, the features, and demodulation the weights or the result:
    whichever is smaller. Where samples share the weights it is the features, for one plain convolution then does.

    Args:
        x: [B,I,H,W], in whose precision the result is, or in autocast's.
        weight: [O,I,k,k], shared by the batch, or [B,O,I,k,k], one per sample; k is odd.
        style: [B,I] float32.
        gain: factor on the result.
        fir: [4,4]; where given, the resolution is doubled, then low-passed by it (k is 3).
    Returns:
        [B,O,H,W], or [B,O,2H,2W] with `fir`; every channel has unit expected variance times the squared gain.
    Raises:
        ValueError: stacked weights are not as many as the samples.
    """
    batch, _, height, width = x.shape
    if weight.ndim == 5 and weight.shape[0] != batch:
        raise ValueError(f"samples: got {batch}, expected one per stacked set of weights ({weight.shape[0]})")
    stack = weight if weight.ndim == 5 else weight[None]
    with whole(x.device):
        squares = stack.square().sum((3, 4)) @ style.square()[:, :, None]
        demodulation = gain * (squares.squeeze(2) + _EPSILON).rsqrt()
    sets, outputs, inputs = stack.shape[:3]
    scale_features = sets < batch or stack.numel() > x.numel() + batch * outputs * height * width
    if scale_features:
        x = x * style.to(x.dtype)[:, :, None, None]
    else:
        stack = stack * (demodulation[:, :, None] * style[:, None, :])[:, :, :, None, None]
    x = x.reshape(batch // sets, sets * inputs, height, width)
    if fir is None:
        x = F.conv2d(x, stack.flatten(0, 1), padding=weight.shape[-1] // 2, groups=sets)
    else:
        x = F.conv_transpose2d(x, stack.transpose(1, 2).flatten(0, 1), stride=2, groups=sets)
        x = F.conv2d(x, fir.expand(x.shape[1], 1, 4, 4), padding=1, groups=x.shape[1])
    x = x.reshape(batch, outputs, *x.shape[2:])
    return x * demodulation.to(x.dtype)[:, :, None, None] if scale_features else x


def upsample(images: Tensor, fir: Tensor) -> Tensor:
    """Doubles the resolution, channel by channel, in float32; zeros lie beyond the border, as in the published program.

    Args:
        images: [B,C,H,W].
        fir: [4,4], see `low_pass`.
    Returns:
        [B,C,2H,2W].
    """
    with whole(images.device):
        return F.conv_transpose2d(images, fir.expand(images.shape[1], 1, 4, 4), None, 2, 1, groups=images.shape[1])


class Linear(nn.Module):
    """Fully connected layer with equalised learning rate, in float32; `rate` is the paper's multiplier of it."""

    def __init__(self, inputs: int, outputs: int, bias: float = 0.0, rate: float = 1.0):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / rate)
        self.bias = nn.Parameter(torch.full((outputs,), bias / rate))
        self.weight_gain = rate / math.sqrt(inputs)
        self.bias_gain = rate

    def forward(self, x: Tensor) -> Tensor:
        """[B,I] -> [B,O]; with stacked weights sample i meets weights i."""
        weight = self.weight * self.weight_gain
        bias = self.bias if self.bias_gain == 1 else self.bias * self.bias_gain
        x = x.to(weight.dtype)
        with whole(x.device):
            if weight.ndim == 2:
                return F.linear(x, weight, bias)
            return torch.baddbmm(bias[:, :, None], weight, x[:, :, None]).squeeze(2)


class Mapping(nn.Module):
    """The mapping network, z -> w (fully connected, leaky, behind pixel norm)."""

    w_avg: Tensor

    def __init__(self, z_dim: int, w_dim: int, layers: int, width: int):
        super().__init__()
        self.layers = layers
        sizes = [z_dim, *[width] * (layers - 1), w_dim]
        for index in range(layers):
            self.add_module(f"fc{index}", Linear(sizes[index], sizes[index + 1], rate=_MAPPING_RATE))
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
        for index in range(self.layers):
            x = F.leaky_relu(self.get_submodule(f"fc{index}")(x), _SLOPE) * _GAIN
        return x if psi == 1 else self.w_avg.lerp(x, psi)


class Convolution(nn.Module):
    """Modulated 3x3 convolution, noise, bias, leaky ReLU."""

    noise_const: Tensor
    fir: Tensor | None

    def __init__(self, inputs: int, outputs: int, style_dim: int, resolution: int, up: bool, clamp: float | None):
        super().__init__()
        self.clamp = clamp
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 3, 3))
        self.noise_strength = nn.Parameter(torch.zeros(()))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.register_buffer("noise_const", torch.randn(resolution, resolution))
        self.register_buffer("fir", low_pass() if up else None, persistent=False)
        self.affine = Linear(style_dim, inputs, bias=1.0)

    def forward(self, x: Tensor, style: Tensor, noise: Noise) -> Tensor:
        """[B,I,h,w] features and [B,I] style -> [B,O,H,W]."""
        # The leaky ReLU's gain is taken out to where the tensors are small: relu(x) * gain = relu(x * gain).
        x = modulated_convolution(x, self.weight, style, _GAIN, self.fir)
        if noise == "const":
            x = x.add_(self.noise_const * (self.noise_strength * _GAIN).reshape(-1, 1, 1, 1))
        x = x.add_((self.bias * _GAIN).reshape(-1, x.shape[1], 1, 1))
        x = F.leaky_relu_(x, _SLOPE)
        return x if self.clamp is None else x.clamp(-self.clamp, self.clamp)


class ToRGB(nn.Module):
    """Modulated 1x1 convolution to three colours, without demodulation or noise."""

    def __init__(self, inputs: int, style_dim: int, clamp: float | None):
        super().__init__()
        self.clamp = clamp
        self.gain = 1 / math.sqrt(inputs)
        self.weight = nn.Parameter(torch.randn(3, inputs, 1, 1))
        self.bias = nn.Parameter(torch.zeros(3))
        self.affine = Linear(style_dim, inputs, bias=1.0)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """[B,I,H,W] features and [B,I] style (before the layer's own gain) -> [B,3,H,W] float32."""
        weight = self.weight.flatten(-3) * (style * self.gain)[:, None, :]
        with whole(x.device):
            features = x.to(weight.dtype).flatten(2)
            colours = torch.baddbmm(self.bias.reshape(-1, 3, 1), weight, features).unflatten(2, x.shape[2:])
        return colours if self.clamp is None else colours.clamp(-self.clamp, self.clamp)


class Block(nn.Module):
    """All layers of one resolution: (conv0 that doubles,) conv1, toRGB; the first block holds the constant instead."""

    def __init__(self, inputs: int | None, outputs: int, style_dim: int, resolution: int, clamp: float | None):
        super().__init__()
        if inputs is None:
            self.const = nn.Parameter(torch.randn(outputs, resolution, resolution))
        else:
            self.conv0 = Convolution(inputs, outputs, style_dim, resolution, up=True, clamp=clamp)
        self.conv1 = Convolution(outputs, outputs, style_dim, resolution, up=False, clamp=clamp)
        self.torgb = ToRGB(outputs, style_dim, clamp)

    def forward(
        self, x: Tensor | None, images: Tensor | None, styles: Sequence[Tensor], fir: Tensor, noise: Noise
    ) -> tuple[Tensor, Tensor]:
        """One resolution.

        Args:
            x, images: [B,I,H/2,W/2] features and [B,3,H/2,W/2] pictures of the block before; None for the first.
            styles: one [B,C] per layer of the block.
            fir: see `low_pass`.
            noise: as in `Generator.from_styles`.
        Returns:
            Features [B,O,H,W], and pictures [B,3,H,W].
        """
        remaining = iter(styles)
        if x is None:
            x = self.const.reshape(-1, *self.const.shape[-3:]).expand(len(styles[0]), -1, -1, -1)
        else:
            x = self.conv0(x, next(remaining), noise)
        x = self.conv1(x, next(remaining), noise)
        colours = self.torgb(x, next(remaining))
        return x, colours if images is None else upsample(images, fir) + colours


class Generator(nn.Module):
    """StyleGAN2: codes in W+ to images.

    Args:
        resolution: side of the images in px, a power of two, at least 4.
        style_dim: D, length of a code.
        mapping_layers: depth of the mapping network.
        channels: of every resolution from 4 to `resolution`.
        conv_clamp: features and colours are clamped to plus and minus this; None does not.
        z_dim: Z, length of a random vector; None takes D.
        mapping_width: of the mapping network's hidden layers; None takes D.

    Attributes:
        w_dim: D.
        num_ws: L, codes per image.
        codes_px: side of the features that each code styles, px; a code of two layers is the convolution's.
        layers: the synthesis layers in the order of `styles`.
        frames: F when the weights are stacked, else None.

    Raises:
        ValueError: resolution is not a power of two, or channels are missing.
    """

    fir: Tensor

    def __init__(
        self,
        resolution: int,
        style_dim: int,
        mapping_layers: int,
        channels: MappingType[int, int],
        conv_clamp: float | None = None,
        z_dim: int | None = None,
        mapping_width: int | None = None,
    ):
        super().__init__()
        if resolution < 4 or resolution & (resolution - 1):
            raise ValueError(f"resolution: got {resolution}, expected a power of two, at least 4")
        resolutions = [2**power for power in range(2, resolution.bit_length())]
        if missing := [size for size in resolutions if size not in channels]:
            raise ValueError(f"channels: got {sorted(channels)}, expected {missing} too")
        self.resolution = resolution
        self.w_dim = style_dim
        self.z_dim = style_dim if z_dim is None else z_dim
        self.mapping_layers = mapping_layers
        self.mapping_width = style_dim if mapping_width is None else mapping_width
        self.channels = {size: channels[size] for size in resolutions}
        self.conv_clamp = conv_clamp
        self.num_ws = 2 * len(resolutions)
        self.codes_px = [resolutions[0], *(size for size in resolutions[1:] for _ in range(2)), resolution]
        self.frames: int | None = None
        self.mapping = Mapping(self.z_dim, style_dim, mapping_layers, self.mapping_width)
        self.register_buffer("fir", low_pass(), persistent=False)
        self.synthesis = nn.Module()
        for size in resolutions:
            block = Block(self.channels.get(size // 2), self.channels[size], style_dim, size, conv_clamp)
            self.synthesis.add_module(f"b{size}", block)
        self.layers = self._layer_infos()

    @property
    def arguments(self) -> dict[str, Any]:
        """What the constructor was given, for files."""
        return {
            "resolution": self.resolution,
            "style_dim": self.w_dim,
            "mapping_layers": self.mapping_layers,
            "channels": self.channels,
            "conv_clamp": self.conv_clamp,
            "z_dim": self.z_dim,
            "mapping_width": self.mapping_width,
        }

    @property
    def w_avg(self) -> Tensor:
        """Mean code, [D]; the truncation's centre."""
        return self.mapping.w_avg

    def kinds(self) -> dict[str, Kind]:
        """What tuning may move, by the names of `named_parameters`: all of the synthesis."""
        found: dict[str, Kind] = {}
        for name, _ in self.synthesis.named_parameters(prefix="synthesis"):
            place, _, last = name.rpartition(".")
            found[name] = "affine" if place.endswith(".affine") else "convolution" if last == "weight" else "bias"
        return found

    def broadcast(self, w: Tensor, psi: float = 1.0, cutoff: int | None = None) -> Tensor:
        """One code for all layers.

        Args:
            w: [B,D].
            psi: truncation towards `w_avg`; 1 leaves the codes as they are.
            cutoff: truncate the first `cutoff` codes only; None truncates all.
        Returns:
            ws, [B,L,D].
        """
        ws = w[:, None].expand(-1, self.num_ws, -1)
        if psi == 1:
            return ws
        truncated = self.w_avg.lerp(ws[:, :cutoff], psi)
        return torch.cat([truncated, ws[:, truncated.shape[1] :]], dim=1)

    def styles(self, ws: Tensor) -> list[Tensor]:
        """Codes to StyleSpace, the affine layers' outputs (Wu et al. 2021, arXiv 2011.12799).

        Args:
            ws: [B,L,D].
        Returns:
            One [B,C] per layer in the order of `layers`; toRGB styles before their own gain 1/sqrt(C).
        Raises:
            ValueError: the codes' shape is wrong, or samples are not as many as the stacked sets of weights.
        """
        if ws.ndim != 3 or ws.shape[1:] != (self.num_ws, self.w_dim):
            raise ValueError(f"ws: got shape {list(ws.shape)}, expected [B, {self.num_ws}, {self.w_dim}]")
        self._check_batch(ws.shape[0])
        codes = ws.unbind(1)
        return [
            cast(Convolution | ToRGB, self.synthesis.get_submodule(layer.name)).affine(codes[layer.w_index])
            for layer in self.layers
        ]

    def from_styles(self, styles: Sequence[Tensor], noise: Noise = "const", checkpointing: bool = False) -> Tensor:
        """Images from StyleSpace.

        Args:
            styles: one [B,C] per layer, as `styles` returns them.
            noise: "const" adds the stored noise maps, "none" adds nothing.
            checkpointing: keep for the way back only what goes from block to block: less memory, a third more work.
        Returns:
            [B,3,R,R], nominally in [-1,1], not clipped.
        Raises:
            ValueError: not one style per layer, or samples are not as many as the stacked sets of weights.
        """
        return cast(Tensor, self._through(self.channels, iter(self._checked(styles)), noise, checkpointing)[1])

    def ending(self, styles: Sequence[Tensor], noise: Noise = "const", checkpointing: bool = False) -> Ending:
        """What is left to draw behind the block of R/4 px, with room for residuals there and behind the next.

        Raises:
            ValueError: as `from_styles`, or R is below 16.
        """
        *early, last_but_one, last = self.channels
        if not early:
            raise ValueError(f"ending: got a generator of {self.resolution} px, expected 16 or more")
        remaining = iter(self._checked(styles))
        with torch.no_grad():
            start, begun = self._through(early, remaining, noise, checkpointing)
        rest, places = list(remaining), (last_but_one, last)

        def draw(residuals: Sequence[Tensor]) -> Tensor:
            x, images, own = start, begun, iter(rest)
            for size, residual in zip(places, residuals, strict=True):
                x, images = self._through([size], own, noise, checkpointing, shifted(cast(Tensor, x), residual), images)
            return cast(Tensor, images)

        first = tuple(cast(Tensor, start).shape)
        return Ending((first, (first[0], self.channels[last_but_one], last_but_one, last_but_one)), draw)

    def _checked(self, styles: Sequence[Tensor]) -> Sequence[Tensor]:
        """One style a layer; with stacked weights, one set of them a sample."""
        if len(styles) != len(self.layers):
            raise ValueError(f"styles: got {len(styles)}, expected {len(self.layers)}")
        self._check_batch(styles[0].shape[0])
        return styles

    def _through(
        self, sizes: Iterable[int], styles: Iterator[Tensor], noise: Noise, checkpointing: bool,
        x: Tensor | None = None, images: Tensor | None = None,
    ) -> tuple[Tensor | None, Tensor | None]:
        """Features and pictures behind some blocks, from those before them; takes their styles."""
        for size in sizes:
            own = [next(styles) for _ in range(2 if x is None else 3)]
            block = step(self.synthesis.get_submodule(f"b{size}"), checkpointing)
            x, images = block(x, images, own, self.fir, noise)
        return x, images

    def forward(self, ws: Tensor, noise: Noise = "const", checkpointing: bool = False) -> Tensor:
        """Images of codes ws, [B,L,D] (B is F when the weights are stacked): all else as in `from_styles`.

        Raises:
            ValueError: as `styles` and `from_styles`.
        """
        return self.from_styles(self.styles(ws), noise, checkpointing)

    def stacked(self, frames: int) -> "Generator":
        """A copy with one set of synthesis weights per frame, all equal at first.

        The losses of different frames share no weight and Adam is elementwise, so tuning the copy on F frames equals
        tuning F generators on one frame each. The mapping network and the noise maps stay single.

        Args:
            frames: F >= 1.
        Returns:
            The copy; its batches hold F samples. Parameters ask for gradients where the original's do.
        Raises:
            ValueError: frames < 1, or the weights are stacked already.
        """
        if frames < 1 or self.frames is not None:
            raise ValueError(f"stacked: got {frames} frames on {self.frames or 'single'}, expected >= 1 on 'single'")
        stack = copy.deepcopy(self)
        stack.frames = frames
        for module in stack.synthesis.modules():
            for name, parameter in list(module.named_parameters(recurse=False)):
                repeated = parameter.detach().expand(frames, *parameter.shape).contiguous()
                setattr(module, name, nn.Parameter(repeated, requires_grad=parameter.requires_grad))
        return stack

    def _check_batch(self, batch: int) -> None:
        """Stacked weights: one set per sample."""
        if self.frames not in (None, batch):
            raise ValueError(f"samples: got {batch}, expected one per stacked set of weights ({self.frames})")

    def _layer_infos(self) -> list[LayerInfo]:
        """Walks the blocks: conv0 (not at 4), conv1, toRGB; toRGB reads the next code without using it up."""
        infos: list[LayerInfo] = []
        index = offset = 0
        for size in self.channels:
            block = self.synthesis.get_submodule(f"b{size}")
            for name, layer in block.named_children():
                dimension = cast(Convolution | ToRGB, layer).weight.shape[1]
                is_conv = isinstance(layer, Convolution)
                infos.append(LayerInfo(f"b{size}.{name}", dimension, is_conv, index, offset if is_conv else None))
                index += is_conv
                offset += dimension * is_conv
        return infos
