"""The small networks that look at aligned faces: parser, identity and the regressor of the checks."""

from collections.abc import Sequence
from typing import Any, cast

from torch import Tensor, nn
from torch.nn import functional as F

from stitch.core.images import resize

CLASSES = 19


def convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """3x3 convolution, batch norm, ReLU; `stride` 2 halves the size."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )


def stem(outputs: int) -> nn.Sequential:
    """Three colours to `outputs` channels at half the size."""
    return nn.Sequential(nn.Conv2d(3, outputs, 4, 2, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


class Residual(nn.Module):
    """Two 3x3 convolutions around which the input passes."""

    def __init__(self, channels: int):
        super().__init__()
        self.first = convolution(channels, channels)
        self.second = nn.Sequential(nn.Conv2d(channels, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        """[B,C,h,w] -> [B,C,h,w]."""
        return F.relu(x + self.second(self.first(x)))


class UNet(nn.Module):
    """A small U-Net behind a stem of stride 2; the way up adds the sides instead of stacking them, which costs half.

    Args:
        channels: of each level, from half the picture's size downwards.
        outputs: channels of the result.
        stop: level at which the way up ends; 0 is half the picture's size, 1 a quarter.
    """

    def __init__(self, channels: Sequence[int], outputs: int, stop: int = 0):
        super().__init__()
        self.stop = stop
        self.stem = stem(channels[0])
        levels = [convolution(channels[0], channels[0])]
        for above, below in zip(channels[:-1], channels[1:], strict=True):
            levels.append(nn.Sequential(convolution(above, below, 2), convolution(below, below)))
        self.down = nn.ModuleList(levels)
        steps = list(range(len(channels) - 2, stop - 1, -1))
        self.narrow = nn.ModuleList(nn.Conv2d(channels[level + 1], channels[level], 1) for level in steps)
        self.up = nn.ModuleList(
            convolution(channels[level], outputs if level == stop else channels[level]) for level in steps
        )

    def forward(self, images: Tensor) -> Tensor:
        """[B,3,S,S] -> [B,outputs,h,h] with h = S / 2^(stop+1)."""
        x = self.stem(images)
        sides = []
        for level in self.down:
            x = level(x)
            sides.append(x)
        for narrow, up, side in zip(self.narrow, self.up, sides[-2::-1], strict=False):
            x = up(F.interpolate(narrow(x), scale_factor=2, mode="nearest") + side)
        return x


class FaceParser(nn.Module):
    """BiSeNet's 19 classes of an aligned face (family.Parser), by a U-Net.

    Every pixel at half the size answers for the 2x2 pixels it covers.

    Args:
        size: side of the pictures it looks at; others are resized.
        channels: of the levels, from size/2 downwards.
        width: channels before the last, 1x1, convolution.
    """

    def __init__(self, size: int = 128, channels: Sequence[int] = (16, 32, 48, 64), width: int = 24):
        super().__init__()
        self.size = size
        self.channels = tuple(channels)
        self.width = width
        self.body = UNet(channels, width)
        self.head = nn.Conv2d(width, 4 * CLASSES, 1)

    @property
    def arguments(self) -> dict[str, Any]:
        """The constructor's arguments, for files of weights."""
        return {"size": self.size, "channels": self.channels, "width": self.width}

    def scores(self, images: Tensor, corners: Sequence[int] = (0, 1, 2, 3)) -> Tensor:
        """Logits of the classes.

        Args:
            images: [B,3,S,S] in [-1,1].
            corners: which of each 2x2 pixels, row by row, are answered for; training needs not all at once.
        Returns:
            [B,size/2,size/2,len(corners),19].
        """
        weight = self.head.weight.unflatten(0, (4, CLASSES))[list(corners)].flatten(0, 1)
        bias = cast(Tensor, self.head.bias).unflatten(0, (4, CLASSES))[list(corners)].flatten()
        x = F.conv2d(self.body(resize(images, self.size)), weight, bias)
        return x.permute(0, 2, 3, 1).unflatten(3, (len(corners), CLASSES))

    def forward(self, images: Tensor) -> Tensor:
        """Labels.

        Args:
            images: [B,3,S,S] float in [-1,1].
        Returns:
            [B,size,size] int64 in 0..18.
        """
        return unfold_labels(self.scores(images).argmax(4))


def fold_labels(labels: Tensor) -> Tensor:
    """[B,S,S] -> [B,S/2,S/2,4]: the layout in which `FaceParser.scores` answers."""
    rows = labels.unflatten(2, (-1, 2)).unflatten(1, (-1, 2))
    return rows.permute(0, 1, 3, 2, 4).flatten(3)


def unfold_labels(folded: Tensor) -> Tensor:
    """[B,h,h,4] -> [B,2h,2h]: undoes `fold_labels`."""
    return folded.unflatten(3, (2, 2)).permute(0, 1, 3, 2, 4).flatten(3, 4).flatten(1, 2)


class IdentityNet(nn.Module):
    """Who it is, as a unit vector (family.Embedder); a small residual network.

    Args:
        size: side of the pictures it looks at; others are resized. A multiple of 16.
        channels: of the four levels.
        dimension: K.
    """

    def __init__(self, size: int = 64, channels: Sequence[int] = (24, 48, 96, 128), dimension: int = 64):
        super().__init__()
        self.size = size
        self.channels = tuple(channels)
        self.dimension = dimension
        levels: list[nn.Module] = [stem(channels[0]), Residual(channels[0])]
        for above, below in zip(channels[:-1], channels[1:], strict=True):
            levels += [convolution(above, below, 2), Residual(below)]
        self.body = nn.Sequential(*levels)
        last = size >> len(channels)
        self.head = nn.Sequential(
            nn.Flatten(), nn.Linear(channels[-1] * last * last, dimension, bias=False), nn.BatchNorm1d(dimension)
        )

    @property
    def arguments(self) -> dict[str, Any]:
        """The constructor's arguments, for files of weights."""
        return {"size": self.size, "channels": self.channels, "dimension": self.dimension}

    def forward(self, images: Tensor) -> Tensor:
        """Embeddings.

        Args:
            images: [B,3,S,S] float in [-1,1], aligned.
        Returns:
            [B,K] of unit length.
        """
        return F.normalize(self.head(self.body(resize(images, self.size))), dim=1)


class Regressor(nn.Module):
    """Reads the drawn factors off an aligned face, in standard units; only the checks use it.

    It shares neither seed, data nor architecture with any other network, so that it is an independent witness.

    Args:
        factors: names of what it reads, in the order of its answers.
        size: side of the pictures it looks at; others are resized. A multiple of 32.
        channels: of the five levels.
    """

    def __init__(
        self, factors: Sequence[str], size: int = 96, channels: Sequence[int] = (16, 32, 48, 64, 96), hidden: int = 128
    ):
        super().__init__()
        self.factors = tuple(factors)
        self.size = size
        self.channels = tuple(channels)
        self.hidden = hidden
        levels: list[nn.Module] = []
        before = 3
        for width in channels:
            levels += [
                nn.Conv2d(before, width, 3, 1 if before > 3 else 2, 1, bias=False),
                nn.BatchNorm2d(width),
                nn.SiLU(inplace=True),
                nn.MaxPool2d(2) if before > 3 else nn.Identity(),
            ]
            before = width
        last = size >> len(channels)
        self.body = nn.Sequential(*levels)
        self.head = nn.Sequential(
            nn.Flatten(), nn.Linear(before * last * last, hidden), nn.SiLU(), nn.Linear(hidden, len(self.factors))
        )

    @property
    def arguments(self) -> dict[str, Any]:
        """The constructor's arguments, for files of weights."""
        return {"factors": self.factors, "size": self.size, "channels": self.channels, "hidden": self.hidden}

    def forward(self, images: Tensor) -> Tensor:
        """Factors.

        Args:
            images: [B,3,S,S] float in [-1,1], aligned.
        Returns:
            [B,len(factors)] in standard units.
        """
        return self.head(self.body(resize(images, self.size)))
