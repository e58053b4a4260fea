"""What a camera, a codec and a generator do to a drawn picture; tensors in, new tensors out."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def to_float(images: Tensor) -> Tensor:
    """[B,S,S,3] uint8 -> [B,3,S,S] float32 in [-1,1], channels last in memory."""
    return images.permute(0, 3, 1, 2).float().div_(127.5).sub_(1)


def _uniform(low: float, high: float, shape: tuple[int, ...], rng: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(shape, generator=rng)


def recolour(images: Tensor, rng: torch.Generator, strength: float = 1.0) -> Tensor:
    """Exposure, contrast, white balance and saturation, each sample its own.

    Args:
        images: [B,3,h,w] in [-1,1].
        strength: 1 is a strong but natural change.
    Returns:
        [B,3,h,w] in [-1,1].
    """
    batch = images.shape[0]
    gain = 1 + strength * _uniform(-0.18, 0.18, (batch, 1, 1, 1), rng)
    balance = 1 + strength * _uniform(-0.07, 0.07, (batch, 3, 1, 1), rng)
    offset = strength * _uniform(-0.12, 0.12, (batch, 1, 1, 1), rng)
    colour = 1 + strength * _uniform(-0.3, 0.25, (batch, 1, 1, 1), rng)
    grey = images.mean(1, keepdim=True)
    images = grey + (images - grey) * colour.to(images)
    return (images * (gain * balance).to(images) + offset.to(images)).clamp(-1, 1)


def soften(images: Tensor, rng: torch.Generator, share: float = 0.5, strongest: float = 0.6) -> Tensor:
    """Blur a random `share` of the samples by one binomial 3x3 filter and a weaker second.

    Args:
        images: [B,3,h,w].
        share: of the samples that are blurred.
        strongest: weight of the second filter at most; the first's goes up to 1.
    Returns:
        [B,3,h,w].
    """
    batch, channels = images.shape[:2]
    kernel = torch.tensor([[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]]) / 16
    kernel = kernel.to(images).expand(channels, 1, 3, 3)
    once = F.conv2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), kernel, groups=channels)
    twice = F.conv2d(F.pad(once, (1, 1, 1, 1), mode="replicate"), kernel, groups=channels)
    chosen = (torch.rand(batch, 1, 1, 1, generator=rng) < share).float()
    first = (chosen * torch.rand(batch, 1, 1, 1, generator=rng)).to(images)
    second = (chosen * strongest * torch.rand(batch, 1, 1, 1, generator=rng)).to(images)
    return images.lerp(once, first).lerp(twice, second)


def grain(images: Tensor, rng: torch.Generator, strongest: float = 0.06) -> Tensor:
    """Noise of a random strength per sample, up to `strongest` (std, of a range of 2)."""
    sigma = _uniform(0, strongest, (images.shape[0], 1, 1, 1), rng).to(images)
    noise = torch.randn(images.shape, generator=rng).to(images)
    return (images + sigma * noise).clamp(-1, 1)


def filmed(images: Tensor, rng: torch.Generator, strength: float = 1.0) -> Tensor:
    """Recolour, soften and grain; [B,3,h,w] in [-1,1] -> the same."""
    return grain(soften(recolour(images, rng, strength), rng), rng, 0.06 * strength)


def mirror(images: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Mirror half of the samples; returns the pictures and [B] bool, which were mirrored."""
    which = torch.rand(images.shape[0], generator=rng) < 0.5
    return torch.where(which.to(images.device)[:, None, None, None], images.flip(3), images), which


def placements(
    batch: int, rng: torch.Generator, angle_deg: float, scale: float, shift: float
) -> Tensor:
    """Random similarities about the middle of the picture.

    Args:
        batch: how many.
        angle_deg: largest turn.
        scale: largest enlargement or reduction, as a factor > 1.
        shift: largest move, as a share of half the side.
    Returns:
        [B,2,3] for `warped`: from the result to the source, in [-1,1] coordinates.
    """
    angle = math.radians(angle_deg) * _uniform(-1, 1, (batch,), rng)
    size = torch.exp(math.log(scale) * _uniform(-1, 1, (batch,), rng))
    cos, sin = torch.cos(angle) * size, torch.sin(angle) * size
    move = shift * _uniform(-1, 1, (batch, 2), rng)
    return torch.stack([torch.stack([cos, -sin, move[:, 0]], 1), torch.stack([sin, cos, move[:, 1]], 1)], 1)


def warped(images: Tensor, placement: Tensor, size: int, mode: str = "bilinear") -> Tensor:
    """Sample pictures at the places that `placement` names; zero lies outside.

    Args:
        images: [B,C,S,S].
        placement: [B,2,3], from the result to the source.
        size: side of the result in px.
        mode: "bilinear" or "nearest".
    Returns:
        [B,C,size,size].
    """
    batch, channels = images.shape[:2]
    grid = F.affine_grid(placement.to(images), [batch, channels, size, size], align_corners=False)
    return F.grid_sample(images, grid, mode=mode, padding_mode="zeros", align_corners=False)


def warped_points(points: Tensor, placement: Tensor, side: float, size: int) -> Tensor:
    """Where points of the source lie in the result of `warped`.

    Args:
        points: [B,N,2] in px of the source.
        placement: [B,2,3] as for `warped`.
        side: of the source in px.
        size: of the result in px.
    Returns:
        [B,N,2] in px of the result.
    """
    source = points * (2 / side) - 1
    inverse = torch.linalg.inv(placement[:, :, :2])
    return (((source - placement[:, None, :, 2]) @ inverse.transpose(1, 2)) + 1) * (size / 2)


def occluded(images: Tensor, rng: torch.Generator, share: float = 0.25, largest: float = 0.35) -> Tensor:
    """Put a plain, softly shaded bar or disc before a random `share` of the samples.

    Args:
        images: [B,3,h,w] in [-1,1].
        share: of the samples.
        largest: size as a share of the side.
    Returns:
        [B,3,h,w].
    """
    batch, _, height, width = images.shape
    y = torch.linspace(-1, 1, height)[None, :, None]
    x = torch.linspace(-1, 1, width)[None, None, :]
    cx, cy, angle = (_uniform(-1, 1, (batch, 1, 1), rng) for _ in range(3))
    a = largest * _uniform(0.3, 1, (batch, 1, 1), rng)
    b = a * _uniform(0.5, 6, (batch, 1, 1), rng)
    cos, sin = torch.cos(3.2 * angle), torch.sin(3.2 * angle)
    u = ((x - cx) * cos + (y - cy) * sin) / a
    v = ((y - cy) * cos - (x - cx) * sin) / b
    box = torch.rand(batch, 1, 1, generator=rng) < 0.5
    inside = torch.where(box, torch.maximum(u.abs(), v.abs()) < 1, u * u + v * v < 1)
    inside = inside & (torch.rand(batch, 1, 1, generator=rng) < share)
    paint = _uniform(-1, 1, (batch, 3, 1, 1), rng) + 0.15 * (u * _uniform(-1, 1, (batch, 1, 1), rng))[:, None]
    return torch.where(inside[:, None].to(images.device), paint.clamp(-1, 1).to(images), images)
