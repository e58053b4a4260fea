"""Layers of MobileStyleGAN (Belousov 2021, arXiv 2104.04767): wavelets and separable convolutions under styles.

Features have their channels last, and the four bands that an inverse wavelet transform takes side by side in front of
them: depthwise filters are several times quicker so on CPUs (docs/performance.md). Under autocast the convolutions, and
the features between them, are in its precision; styles and the picture's bands are float32 always, as in
`stitch.networks.stylegan2`.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stitch.core.records import Noise
from stitch.runtime.precision import whole

SLOPE = 0.2
BANDS = 4

HAAR = ((0.5, 0.5, 0.5, 0.5), (0.5, 0.5, -0.5, -0.5), (0.5, -0.5, 0.5, -0.5), (0.5, -0.5, -0.5, 0.5))
"""Bands l, lh, hl, hh to the pixels of a square, row by row."""


def inverse_wavelet(x: Tensor) -> Tensor:
    """One inverse Haar wavelet transform, orthonormal: four bands become one picture of twice the side.

    Args:
        x: [B,H,W,4,C], the bands l, lh, hl, hh.
    Returns:
        [B,2H,2W,C].
    """
    batch, height, width, _, channels = x.shape
    signs = torch.tensor(HAAR, dtype=x.dtype, device=x.device)
    pixels = torch.matmul(signs, x.reshape(-1, BANDS, channels)).view(batch, height, width, 2, 2, channels)
    return pixels.transpose(2, 3).reshape(batch, 2 * height, 2 * width, channels)


def by_band(x: Tensor, dim: int = 0) -> Tensor:
    """Channels in the order of weights, the four bands of each after one another, to the order of features.

    Args:
        x: [..,4C,..].
        dim: which one.
    Returns:
        The same shape, all of a band side by side.
    """
    return x.unflatten(dim, (-1, BANDS)).transpose(dim, dim + 1).flatten(dim, dim + 1)


class Affine(nn.Module):
    """w to the style of one layer."""

    def __init__(self, style_dim: int, channels: int):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(channels, style_dim) / math.sqrt(style_dim))
        self.bias = nn.Parameter(torch.ones(channels))

    def forward(self, w: Tensor) -> Tensor:
        """[B,D] -> [B,C] float32."""
        with whole(w.device):
            return F.linear(w, self.weight, self.bias)


class Up(nn.Module):
    """Modulation, then an inverse wavelet transform: four bands of C channels become C channels at twice the side."""

    def __init__(self, channels: int, style_dim: int):
        super().__init__()
        self.affine = Affine(style_dim, channels)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """[B,H,W,4,C] features and [B,4C] style -> [B,2H,2W,C]."""
        return inverse_wavelet(x * by_band(style, 1).reshape(-1, 1, 1, *x.shape[3:]).to(x.dtype))


class Activation(nn.Module):
    """Noise and leaky ReLU behind a convolution, and the convolution's bias.

    All of it happens in place, and on features that are no view of others: autograd would copy whole gradients at every
    step on a view (measured: a quarter of a step of tuning).
    """

    noise: Tensor

    def __init__(self, channels: int, side: int):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("noise", torch.zeros(side, side))

    def forward(self, x: Tensor, noise: Noise) -> Tensor:
        """[B,HW,C] -> [B,H,W,C]; `x` is overwritten."""
        if noise == "const":
            x = x.add_(self.noise.reshape(-1, 1))
        return F.leaky_relu_(x, SLOPE).unflatten(1, self.noise.shape)


class FirstConvolution(nn.Module):
    """Modulated 3x3 convolution of the constant input, dense; its demodulation is folded in."""

    def __init__(self, channels: int, style_dim: int, side: int):
        super().__init__()
        self.gain = 1 / math.sqrt(9 * channels)
        self.weight = nn.Parameter(torch.randn(channels, channels, 3, 3))
        self.affine = Affine(style_dim, channels)
        self.activation = Activation(channels, side)

    def forward(self, x: Tensor, style: Tensor, noise: Noise) -> Tensor:
        """[B,C,H,W], as only here, and [B,C] style -> [B,H,W,4,C/4] features."""
        x = x * (style * self.gain)[:, :, None, None]
        x = F.conv2d(x, self.weight, self.activation.bias, padding=1)
        return self.activation(by_band(x, 1).flatten(2).transpose(1, 2).contiguous(), noise).unflatten(3, (BANDS, -1))


class SeparableConvolution(nn.Module):
    """Modulated depthwise 3x3 convolution, then pointwise; the demodulation is folded into the pointwise weights.

    The style scales the pointwise weights too: a factor on a channel may as well come behind its filter, where it
    touches no feature, and leaves one set of filters to the batch.

    Args:
        inputs, outputs: channels.
        style_dim: D.
        side: of the features, px.
        banded: the features are for an inverse wavelet transform.
    """

    def __init__(self, inputs: int, outputs: int, style_dim: int, side: int, banded: bool = False):
        super().__init__()
        self.gain = 1 / math.sqrt(9 * inputs)
        self.banded = banded
        self.depthwise = nn.Parameter(torch.randn(inputs, 3, 3))
        self.pointwise = nn.Parameter(torch.randn(outputs, inputs) / math.sqrt(9))
        self.affine = Affine(style_dim, inputs)
        self.activation = Activation(outputs, side)

    def forward(self, x: Tensor, style: Tensor, noise: Noise) -> Tensor:
        """[B,H,W,I] features and [B,I] style -> [B,H,W,O], or [B,H,W,4,O/4] for a wavelet transform."""
        filters = self.depthwise[:, None].to(x.dtype)
        x = F.conv2d(x.permute(0, 3, 1, 2), filters, padding=1, groups=len(filters)).permute(0, 2, 3, 1)
        pointwise, bias = (by_band(t) if self.banded else t for t in (self.pointwise, self.activation.bias))
        modulated = pointwise.T * (style * self.gain)[:, :, None]
        x = self.activation(torch.baddbmm(bias, x.flatten(1, 2), modulated), noise)
        return x.unflatten(3, (BANDS, -1)) if self.banded else x


class Block(nn.Module):
    """All layers of one side: `up`, `conv1`, `conv2`."""

    growth: type[Up] = Up

    def __init__(self, inputs: int, outputs: int, style_dim: int, side: int):
        super().__init__()
        self.up = self.growth(inputs, style_dim)
        self.conv1 = SeparableConvolution(inputs // BANDS, outputs, style_dim, side)
        self.conv2 = SeparableConvolution(outputs, outputs, style_dim, side, banded=True)

    def forward(self, x: Tensor, styles: Sequence[Tensor], noise: Noise) -> Tensor:
        """[B,H,W,4,I/4] features and three styles -> [B,2H,2W,4,O/4], or [B,H,W,4,O/4] of a `CoarseBlock`."""
        x = self.up(x, styles[0])
        x = self.conv1(x, styles[1], noise)
        return self.conv2(x, styles[2], noise)


class Bands(nn.Module):
    """Modulated 1x1 convolution to colours, or to wavelet bands of them, and bias."""

    def __init__(self, inputs: int, outputs: int, style_dim: int):
        super().__init__()
        self.gain = 1 / math.sqrt(inputs)
        self.weight = nn.Parameter(torch.randn(outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.affine = Affine(style_dim, inputs)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """[B,H,W,4,I/4] features and [B,I] style -> [B,H,W,O] float32."""
        weight = by_band(self.weight.T * (style * self.gain)[:, :, None], 1)
        with whole(x.device):
            return torch.baddbmm(self.bias, x.to(weight.dtype).flatten(3).flatten(1, 2), weight).unflatten(
                1, x.shape[1:3]
            )


class CoarseUp(Up):
    """What `Up` does to the mean of the pixels that a feature becomes: only the low bands count."""

    def __init__(self, channels: int, style_dim: int):
        super().__init__(channels // BANDS, style_dim)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """[B,H,W,4,C] features and [B,C] style -> [B,H,W,C]."""
        return x[:, :, :, 0] * (0.5 * style)[:, None, None].to(x.dtype)


class CoarseBlock(Block):
    """A block computed on means over the squares of pixels that a feature covers, with `blend`ed filters."""

    growth = CoarseUp

    @torch.no_grad()
    def imitate(self, block: Block) -> None:
        """Takes the weights of the block that this one stands for, its filters and noise averaged to this side."""
        for mine, theirs in ((self.conv1, block.conv1), (self.conv2, block.conv2)):
            factor = theirs.activation.noise.shape[0] // mine.activation.noise.shape[0]
            mine.load_state_dict(
                {
                    **theirs.state_dict(),
                    "depthwise": blend(theirs.depthwise, factor),
                    "activation.noise": F.avg_pool2d(theirs.activation.noise[None], factor)[0],
                }
            )
        affine = block.up.affine
        self.up.affine.load_state_dict({"weight": affine.weight[::BANDS], "bias": affine.bias[::BANDS]})


def blend(filters: Tensor, factor: int) -> Tensor:
    """3x3 filters for means over squares of pixels, exact where all pixels of a square are alike.

    Args:
        filters: [C,3,3].
        factor: side of the squares in px.
    Returns:
        [C,3,3].
    """
    beyond = 1 / factor
    taps = filters.new_tensor([[beyond, 0, 0], [1 - beyond, 1, 1 - beyond], [0, 0, beyond]])
    return taps @ filters @ taps.T
