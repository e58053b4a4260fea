"""What a camera, a codec, a tracker and the world do to a rendered face; tensors in, new tensors out."""

from dataclasses import dataclass

import cv2
import torch
import torch.nn.functional as F
from torch import Tensor

from stitch.families.miniature.training.augment import grain, occluded, placements, recolour, soften
from stitch.families.portrait.training.sets import to_bytes, to_float


@dataclass(frozen=True)
class Misalignment:
    """Similarities about the middle, at most.

    Attributes:
        angle_deg: of a turn.
        scale: factor of an enlargement or reduction, > 1.
        shift: of a move, as a share of half the side.
    """

    angle_deg: float
    scale: float
    shift: float

    def times(self, strength: float) -> "Misalignment":
        """A weaker or stronger one."""
        return Misalignment(self.angle_deg * strength, self.scale**strength, self.shift * strength)


TRACKED = Misalignment(angle_deg=6.0, scale=1.07, shift=0.05)
"""What tracking leaves."""


def misaligned(images: Tensor, rng: torch.Generator, size: int, most: Misalignment = TRACKED) -> Tensor:
    """Random similarities about the middle; beyond the border the picture is reflected.

    Args:
        images: [B,3,S,S].
        size: side of the result in px.
        most: how far they go.
    Returns:
        [B,3,size,size].
    """
    images = F.interpolate(images, size=(size, size), mode="area") if images.shape[-1] >= 2 * size else images
    placement = placements(len(images), rng, most.angle_deg, most.scale, most.shift)
    grid = F.affine_grid(placement, [len(images), 3, size, size], align_corners=False)
    return F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)


def smooth_noise(batch: int, size: int, rng: torch.Generator) -> Tensor:
    """Coloured clouds of random coarseness, [B,3,size,size] in [-1,1]."""
    coarse = 2 ** int(torch.randint(1, 6, (), generator=rng))
    noise = torch.randn(batch, 3, coarse, coarse, generator=rng) * 0.5
    level = 2 * torch.rand(batch, 3, 1, 1, generator=rng) - 1
    return (F.interpolate(noise, size=(size, size), mode="bilinear", align_corners=False) + level).clamp(-1, 1)


def before_backdrops(images: Tensor, rng: torch.Generator, share: float = 0.35) -> Tensor:
    """Some pictures outside a soft ellipse about the head replaced by other pictures or by clouds.

    Args:
        images: [B,3,S,S] in [-1,1], faces aligned by FFHQ's rule.
        share: of the pictures.
    Returns:
        [B,3,S,S].
    """
    batch, _, size, _ = images.shape
    axis = torch.linspace(-1, 1, size)
    radii = torch.rand(batch, 2, 1, 1, generator=rng)
    x = axis[None, None, :] / (0.7 + 0.5 * radii[:, 0])
    y = (axis[None, :, None] - 0.1) / (0.9 + 0.4 * radii[:, 1])
    alpha = torch.sigmoid(12 * (1 - (x.square() + y.square()).sqrt()))[:, None]
    other = images[torch.randperm(batch, generator=rng)].flip(2)
    cloudy = torch.rand(batch, 1, 1, 1, generator=rng) < 0.5
    behind = torch.where(cloudy, smooth_noise(batch, size, rng), other)
    chosen = torch.rand(batch, 1, 1, 1, generator=rng) < share
    return torch.where(chosen, behind + alpha * (images - behind), images)


def coarsened(images: Tensor, rng: torch.Generator, share: float = 0.4, smallest: float = 0.3) -> Tensor:
    """A share of the batch, all to one random smaller size and back, as a small face in a clip is."""
    size = images.shape[-1]
    side = int(size * (smallest + (1 - smallest) * float(torch.rand((), generator=rng))))
    small = F.interpolate(images, size=(side, side), mode="area")
    back = F.interpolate(small, size=(size, size), mode="bicubic", align_corners=False).clamp(-1, 1)
    return torch.where(torch.rand(len(images), 1, 1, 1, generator=rng) < share, back, images)


def compressed(images: Tensor, rng: torch.Generator, share: float = 0.5) -> Tensor:
    """A share of the pictures through JPEG of random quality."""
    chosen = (torch.rand(len(images), generator=rng) < share).nonzero()[:, 0]
    qualities = torch.randint(25, 96, (len(chosen),), generator=rng).tolist()
    pictures = to_bytes(images[chosen])
    for picture, quality in zip(pictures, qualities, strict=True):
        code = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        picture[:] = cv2.imdecode(code, cv2.IMREAD_COLOR)
    return images.index_copy(0, chosen, to_float(pictures))


def filmed(images: Tensor, rng: torch.Generator, size: int, strength: float = 1.0) -> Tensor:
    """Everything that may lie between a face and the encoder.

    Args:
        images: [B,3,S,S] in [-1,1].
        size: side of the result in px.
        strength: of misalignment and colours.
    Returns:
        [B,3,size,size] in [-1,1].
    """
    images = before_backdrops(misaligned(images, rng, size, TRACKED.times(strength)), rng)
    return shot(occluded(images, rng, 0.15, 0.3), rng, strength)


def shot(images: Tensor, rng: torch.Generator, strength: float = 1.0) -> Tensor:
    """What a camera and a codec do to a picture, where nothing moves; [B,3,S,S] in [-1,1] -> the same.

    Args:
        images: the pictures.
        strength: of the change of colours.
    """
    images = coarsened(soften(recolour(images, rng, 1.5 * strength), rng), rng)
    return compressed(grain(images, rng, 0.08), rng)
