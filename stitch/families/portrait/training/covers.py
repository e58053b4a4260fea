"""Hands and things before a face, drawn out of capsules: what a parser has to tell from the face behind them."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from stitch.families.portrait.training.augment import smooth_noise

_EDGE_PX = 0.7
_TIP_REACH = 0.55
_FACE_MIDDLE = 0.15
"""How far from the crop's middle things end, and how far below it the face's middle lies, in halves of the side."""


@dataclass(frozen=True)
class Capsule:
    """A line with round ends, in coordinates of [-1,1].

    Attributes:
        start, end: [2], x and y.
        radii: at both.
    """

    start: Tensor
    end: Tensor
    radii: tuple[float, float]


def covered(images: Tensor, skin: Tensor, rng: torch.Generator, share: float = 0.4) -> tuple[Tensor, Tensor]:
    """Some pictures with a hand or a thing before the face.

    Args:
        images: [B,3,S,S] in [-1,1], faces aligned by FFHQ's rule.
        skin: [B,S,S] bool, whose mean colour a hand has.
        rng: of what lies where.
        share: of the pictures.
    Returns:
        The pictures, and [B,S,S] bool, what is covered.
    """
    hidden = torch.zeros_like(skin)
    images = images.clone()
    clouds = smooth_noise(len(images), images.shape[-1], rng)
    for row in (torch.rand(len(images), generator=rng) < share).nonzero().flatten().tolist():
        hand = bool(skin[row].any()) and _draw(rng) < 0.65
        if hand:
            colour = images[row][:, skin[row]].mean(1)[:, None, None]
            tint = 1 + 0.25 * (2 * torch.rand(1, generator=rng) - 1) + 0.06 * torch.randn(3, generator=rng)
            paint = ((colour + 1) * tint[:, None, None] - 1) + 0.12 * clouds[row]
        else:
            other = images[(row + 1) % len(images)].flip(1)
            paint = other if _draw(rng) < 0.3 else clouds[row] * (0.2 + 0.8 * _draw(rng))
        images[row], hidden[row] = _laid(images[row], paint, _hand(rng) if hand else _thing(rng), rng)
    return images, hidden


Limb = list[Capsule]
"""Capsules that run into one another."""


def _laid(picture: Tensor, paint: Tensor, limbs: list[Limb], rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Shaded limbs one over another, and the shadows that they throw; [3,S,S], [3,S,S] -> [3,S,S], [S,S] bool."""
    side = picture.shape[-1]
    axis = (torch.arange(side) + 0.5) * 2 / side - 1
    places = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), -1)
    light = 2 * math.pi * _draw(rng)
    toward = torch.tensor([math.cos(light), math.sin(light)])
    depth, throw = 0.15 + 0.35 * _draw(rng), 0.5 * _draw(rng)
    hidden = torch.zeros(side, side)
    drawn = picture
    for limb in limbs:
        offset, radius = _nearest(places, limb)
        distance = offset.norm(dim=-1)
        alpha = ((radius - distance) * (side / 2 / _EDGE_PX) + 0.5).clamp(0, 1)
        shadow = throw * (2 - distance / radius).clamp(0, 1).square() * (1 - alpha)
        lean = (offset @ toward) / radius
        shade = 1 - depth * (distance / radius).clamp(max=1).pow(3) + 0.3 * depth * lean.clamp(-1, 1)
        drawn = (drawn + 1) * (1 - 0.6 * shadow) - 1
        drawn = drawn.lerp(((paint + 1) * shade - 1).clamp(-1, 1), alpha)
        hidden = torch.maximum(hidden, alpha)
    return drawn.clamp(-1, 1), hidden > 0.5


def _nearest(places: Tensor, limb: Limb) -> tuple[Tensor, Tensor]:
    """From the nearest line of a limb to each place, [S,S,2], and its radius there, [S,S]."""
    offsets, radii = [], []
    for capsule in limb:
        along = capsule.end - capsule.start
        share = (((places - capsule.start) @ along) / along.square().sum().clamp(min=1e-6)).clamp(0, 1)
        first, last = capsule.radii
        offsets.append(places - capsule.start - share[..., None] * along)
        radii.append(first + (last - first) * share)
    offset, radius = torch.stack(offsets), torch.stack(radii)
    nearest = (offset.norm(dim=-1) / radius).argmin(0)[None]
    return offset.take_along_dim(nearest[..., None], 0)[0], radius.take_along_dim(nearest, 0)[0]


def _hand(rng: torch.Generator) -> list[Limb]:
    """An arm, a palm and one to four fingers, the tips somewhere before the face."""
    tip, along, across = _pose(rng)
    width = 0.055 + 0.05 * _draw(rng)
    count = 1 + int(4 * _draw(rng))
    length, spread = width * (6 + 5 * _draw(rng)), 0.35 * _draw(rng)
    palm = tip - along * length
    limbs = [[Capsule(palm - along * 4, palm - along * width * 4, (width * 2.6, width * 2.2)),
              Capsule(palm - along * width * 3, palm, (width * 2.3, width * 2.4))]]
    for number in range(count):
        place = number - (count - 1) / 2
        base = palm + across * place * width * 1.9
        reach = length * (1 - 0.12 * abs(place)) * (0.85 + 0.3 * _draw(rng))
        turned = along + across * place * spread
        middle = base + 0.55 * reach * turned / turned.norm()
        bent = turned + across * 0.5 * (_draw(rng) - 0.5)
        end = middle + 0.45 * reach * bent / bent.norm()
        limbs.append([Capsule(base, middle, (width * 1.05, width)), Capsule(middle, end, (width, width * 0.85))])
    return limbs


def _thing(rng: torch.Generator) -> list[Limb]:
    """A stick with a head, as a microphone, a spoon, a cup, a bar or a ball have them."""
    tip, along, _ = _pose(rng)
    head = 0.06 + 0.3 * _draw(rng)
    stick = head * (0.15 + 0.85 * _draw(rng))
    handle = Capsule(tip - along * 4, tip, (stick, stick))
    ball = Capsule(tip - along * head * _draw(rng), tip, (head, head))
    return [[handle], [ball]] if _draw(rng) < 0.75 else [[ball]]


def _pose(rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Where a thing ends, where it points to, and the way across; from below or the sides rather than from above."""
    tip = (2 * torch.rand(2, generator=rng) - 1) * _TIP_REACH
    angle = -math.pi / 2 + (2 * _draw(rng) - 1) * math.pi * 0.75
    along = torch.tensor([math.cos(angle), math.sin(angle)])
    return tip + torch.tensor([0.0, _FACE_MIDDLE]), along, torch.stack((-along[1], along[0]))


def _draw(rng: torch.Generator) -> float:
    return float(torch.rand((), generator=rng))
