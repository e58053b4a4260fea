"""The e4e encoder (Tov et al. 2021, arXiv 2102.02766): an IR-SE body, a feature pyramid, one head per code.

Parameter names are the published ones (without the leading "encoder."), every size is an argument.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stitch.core.images import resize
from stitch.networks.stylegan2 import Linear


class SqueezeExcitation(nn.Module):
    """Scales each channel by a function of all channels' means (Hu et al. 2018)."""

    def __init__(self, channels: int, reduction: int):
        super().__init__()
        self.fc1 = nn.Conv2d(channels, channels // reduction, 1, bias=False)
        self.fc2 = nn.Conv2d(channels // reduction, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B,C,H,W] -> the same shape."""
        scale = self.fc2(F.relu(self.fc1(x.mean((2, 3), keepdim=True))))
        return x * scale.sigmoid()


class Bottleneck(nn.Module):
    """ArcFace's improved residual unit with squeeze and excitation."""

    def __init__(self, inputs: int, outputs: int, stride: int, reduction: int):
        super().__init__()
        if inputs == outputs:
            self.shortcut_layer: nn.Module = nn.MaxPool2d(1, stride)
        else:
            self.shortcut_layer = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(inputs),
            nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False),
            nn.PReLU(outputs),
            nn.Conv2d(outputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
            SqueezeExcitation(outputs, reduction),
        )

    def forward(self, x: Tensor) -> Tensor:
        """[B,I,H,W] -> [B,O,H/stride,W/stride]."""
        return self.res_layer(x) + self.shortcut_layer(x)


class GradualStyleBlock(nn.Module):
    """Head of one code: halves the features down to one pixel, then a linear layer."""

    def __init__(self, inputs: int, outputs: int, size: int):
        super().__init__()
        layers: list[nn.Module] = []
        for index in range(int(math.log2(size))):
            layers += [nn.Conv2d(inputs if index == 0 else outputs, outputs, 3, 2, 1), nn.LeakyReLU()]
        self.convs = nn.Sequential(*layers)
        self.linear = Linear(outputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """[B,I,size,size] -> [B,O]."""
        return self.linear(self.convs(x).flatten(1))


class Encoder(nn.Module):
    """e4e: images to codes in W+, as offsets from the generator's mean code.

    The last training stage of the paper: the first head's code stands for all layers, each further head adds its own
    offset (section 4.2, equation 3).

    Args:
        input_size: side of the images in px, a power of two.
        style_dim: D.
        num_ws: L, number of heads.
        widths: channels of the input layer and of the body's four stages, each of which halves the resolution.
        depths: units in each stage (IR-SE-50: 3, 4, 14, 3).
        levels: heads below the first number ("coarse") read the last stage, those below the second ("middle") the
            pyramid's next level, the rest the one after.
        reduction: of squeeze and excitation.
    Raises:
        ValueError: input_size is not a power of two of at least 32, or not five widths and four depths were given.
    """

    def __init__(
        self,
        input_size: int = 256,
        style_dim: int = 512,
        num_ws: int = 18,
        widths: Sequence[int] = (64, 64, 128, 256, 512),
        depths: Sequence[int] = (3, 4, 14, 3),
        levels: tuple[int, int] = (3, 7),
        reduction: int = 16,
    ):
        super().__init__()
        if input_size < 32 or input_size & (input_size - 1):
            raise ValueError(f"input_size: got {input_size}, expected a power of two, at least 32")
        if len(widths) != 5 or len(depths) != 4:
            raise ValueError(f"widths, depths: got {len(widths)} and {len(depths)} numbers, expected 5 and 4")
        self.input_size = input_size
        self.style_dim = style_dim
        self.num_ws = num_ws
        self.widths = tuple(widths)
        self.depths = tuple(depths)
        self.coarse, self.middle = coarse, middle = levels
        self.reduction = reduction
        self.input_layer = nn.Sequential(
            nn.Conv2d(3, widths[0], 3, 1, 1, bias=False), nn.BatchNorm2d(widths[0]), nn.PReLU(widths[0])
        )
        units = []
        for stage, depth in enumerate(depths):
            for unit in range(depth):
                inputs = widths[stage] if unit == 0 else widths[stage + 1]
                units.append(Bottleneck(inputs, widths[stage + 1], 2 if unit == 0 else 1, reduction))
        self.body = nn.Sequential(*units)
        self.styles = nn.ModuleList(
            GradualStyleBlock(widths[4], style_dim, input_size // (16 if i < coarse else 8 if i < middle else 4))
            for i in range(num_ws)
        )
        self.latlayer1 = nn.Conv2d(widths[3], widths[4], 1)
        self.latlayer2 = nn.Conv2d(widths[2], widths[4], 1)

    @property
    def arguments(self) -> dict[str, Any]:
        """What `from_arguments` makes one of the same sizes from, for files."""
        names = ("input_size", "style_dim", "num_ws", "widths", "depths", "coarse", "middle", "reduction")
        return {name: getattr(self, name) for name in names}

    @classmethod
    def from_arguments(cls, coarse: int, middle: int, **sizes: Any) -> "Encoder":
        """An encoder of the sizes that `arguments` gives."""
        return cls(levels=(coarse, middle), **sizes)

    def forward(self, images: Tensor) -> Tensor:
        """Codes of aligned faces, without the mean code.

        Args:
            images: [B,3,input_size,input_size] in [-1,1].
        Returns:
            [B,L,D].
        Raises:
            ValueError: the images' shape is wrong.
        """
        if images.ndim != 4 or images.shape[1:] != (3, self.input_size, self.input_size):
            raise ValueError(f"images: got {list(images.shape)}, expected [B, 3, {self.input_size}, {self.input_size}]")
        ends = [sum(self.depths[: stage + 1]) - 1 for stage in range(4)]
        x = self.input_layer(images)
        stages = []
        for index, unit in enumerate(self.body):
            x = unit(x)
            if index in ends:
                stages.append(x)
        features = stages[3]
        first = self.styles[0](features)
        codes = [first]
        for index in range(1, self.num_ws):
            if index == self.coarse:
                features = _upsample_add(features, self.latlayer1(stages[2]))
            if index == self.middle:
                features = _upsample_add(features, self.latlayer2(stages[1]))
            codes.append(first + self.styles[index](features))
        return torch.stack(codes, dim=1)


def _upsample_add(coarse: Tensor, fine: Tensor) -> Tensor:
    """A step of the feature pyramid: [B,C,h,w] brought to the size of [B,C,H,W] and added."""
    return F.interpolate(coarse, size=fine.shape[2:], mode="bilinear", align_corners=True) + fine


class Inverter(nn.Module):
    """Stage 2's network: crops to pivots (section 3.2, w_i = E(c_i) + latent_avg).

    Args:
        encoder: e4e.
        latent_avg: [L,D] or [D], what the encoder's codes are offsets from.
    """

    latent_avg: Tensor

    def __init__(self, encoder: Encoder, latent_avg: Tensor):
        super().__init__()
        self.encoder = encoder
        average = latent_avg.detach().expand(encoder.num_ws, encoder.style_dim).clone()
        self.register_buffer("latent_avg", average)

    @property
    def arguments(self) -> dict[str, Any]:
        """The encoder's arguments, for files."""
        return self.encoder.arguments

    @classmethod
    def from_arguments(cls, **arguments: Any) -> "Inverter":
        """An inverter around a fresh encoder of these sizes, as `arguments` gives them."""
        encoder = Encoder.from_arguments(**arguments)
        return cls(encoder, torch.zeros(encoder.num_ws, encoder.style_dim))

    def forward(self, images: Tensor) -> Tensor:
        """Pivots of aligned faces.

        The crop is shrunk with antialiasing. The authors' program leaves that to its library's default, which was off
        and became on; the encoder was trained on pictures shrunk with it.

        Args:
            images: [B,3,R,R] in [-1,1], any R.
        Returns:
            w_i, [B,L,D].
        """
        return self.encoder(resize(images, self.encoder.input_size)) + self.latent_avg
