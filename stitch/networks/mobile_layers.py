"""Layers of MobileStyleGAN (Belousov 2021, arXiv 2104.04767): wavelets and separable convolutions under styles.

Under autocast the convolutions, and the features between them, are in its precision; styles and the picture's bands are
float32 always, as in `stitch.networks.stylegan2`.
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


def inverse_wavelet(x: Tensor, style: Tensor | None = None) -> Tensor:
    """One inverse Haar wavelet transform: four bands become one picture of twice the side.

    Args:
        x: [B,4C,H,W]; for each channel its four bands l, lh, hl, hh, one after the other.
        style: [B,4C], factors on the bands before the transform; None for ones.
    Returns:
        [B,C,2H,2W]; without factors the transform is orthonormal.
    """
    batch, channels, height, width = x.shape
    signs = torch.tensor(HAAR, dtype=x.dtype, device=x.device)
    if style is not None:
        signs = signs * style.reshape(batch, channels // BANDS, 1, BANDS)
    pixels = torch.matmul(signs, x.reshape(batch, channels // BANDS, BANDS, height * width))
    return F.pixel_shuffle(pixels.reshape(x.shape), 2)


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
    """Modulation, then an inverse wavelet transform: C channels become C/4 at twice the side."""

    def __init__(self, channels: int, style_dim: int):
        super().__init__()
        self.affine = Affine(style_dim, channels)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """[B,C,H,W] features and [B,C] style -> [B,C/4,2H,2W]."""
        return inverse_wavelet(x, style)


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
        """[B,C,HW] -> [B,C,H,W]; `x` is overwritten."""
        if noise == "const":
            x = x.add_(self.noise.flatten())
        return F.leaky_relu_(x, SLOPE).unflatten(2, self.noise.shape)


class FirstConvolution(nn.Module):
    """Modulated 3x3 convolution of the constant input, dense; its demodulation is folded in."""

    def __init__(self, channels: int, style_dim: int, side: int):
        super().__init__()
        self.gain = 1 / math.sqrt(9 * channels)
        self.weight = nn.Parameter(torch.randn(channels, channels, 3, 3))
        self.affine = Affine(style_dim, channels)
        self.activation = Activation(channels, side)

    def forward(self, x: Tensor, style: Tensor, noise: Noise) -> Tensor:
        """[B,C,H,W] features and [B,C] style -> [B,C,H,W]."""
        x = x * (style * self.gain)[:, :, None, None]
        return self.activation(F.conv2d(x, self.weight, self.activation.bias, padding=1).flatten(2), noise)


class SeparableConvolution(nn.Module):
    """Modulated depthwise 3x3 convolution, then pointwise; the demodulation is folded into the pointwise weights.

    The style scales the depthwise weights, which is the same as scaling the features and touches them once less.
    """

    def __init__(self, inputs: int, outputs: int, style_dim: int, side: int):
        super().__init__()
        self.gain = 1 / math.sqrt(9 * inputs)
        self.depthwise = nn.Parameter(torch.randn(inputs, 3, 3))
        self.pointwise = nn.Parameter(torch.randn(outputs, inputs) / math.sqrt(9))
        self.affine = Affine(style_dim, inputs)
        self.activation = Activation(outputs, side)

    def forward(self, x: Tensor, style: Tensor, noise: Noise) -> Tensor:
        """[B,I,H,W] features and [B,I] style -> [B,O,H,W]."""
        batch, inputs, height, width = x.shape
        filters = (self.depthwise * (style * self.gain)[:, :, None, None]).reshape(batch * inputs, 1, 3, 3).to(x.dtype)
        x = F.conv2d(x.reshape(1, batch * inputs, height, width), filters, padding=1, groups=batch * inputs)
        pointwise, bias = self.pointwise.expand(batch, -1, -1), self.activation.bias[:, None]
        return self.activation(torch.baddbmm(bias, pointwise, x.reshape(batch, inputs, height * width)), noise)


class Block(nn.Module):
    """All layers of one side: `up`, `conv1`, `conv2`."""

    growth: type[Up] = Up

    def __init__(self, inputs: int, outputs: int, style_dim: int, side: int):
        super().__init__()
        self.up = self.growth(inputs, style_dim)
        self.conv1 = SeparableConvolution(inputs // BANDS, outputs, style_dim, side)
        self.conv2 = SeparableConvolution(outputs, outputs, style_dim, side)

    def forward(self, x: Tensor, styles: Sequence[Tensor], noise: Noise) -> Tensor:
        """[B,I,H,W] features and three styles -> [B,O,2H,2W], or [B,O,H,W] of a `CoarseBlock`."""
        x = self.up(x, styles[0])
        x = self.conv1(x, styles[1], noise)
        return self.conv2(x, styles[2], noise)


class Bands(nn.Module):
    """Modulated 1x1 convolution to wavelet bands of the picture, and bias."""

    def __init__(self, inputs: int, outputs: int, style_dim: int):
        super().__init__()
        self.gain = 1 / math.sqrt(inputs)
        self.weight = nn.Parameter(torch.randn(outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.affine = Affine(style_dim, inputs)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """[B,I,H,W] features and [B,I] style -> [B,O,H,W] float32."""
        weight = self.weight * (style * self.gain)[:, None, :]
        with whole(x.device):
            return torch.baddbmm(self.bias[:, None], weight, x.to(weight.dtype).flatten(2)).unflatten(2, x.shape[2:])


class CoarseUp(Up):
    """What `Up` does to the mean of the pixels that a feature becomes: only the low bands count."""

    def __init__(self, channels: int, style_dim: int):
        super().__init__(channels // BANDS, style_dim)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """[B,C,H,W] features and [B,C/4] style -> [B,C/4,H,W]."""
        return x[:, ::BANDS] * (0.5 * style)[:, :, None, None]


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
