"""Directions that colour one part of the face and leave the others alone, out of the generator's own slopes.

Along a direction that is fitted to labels a colour comes with what faces of that colour have beside it: red lips with
rosy cheeks, a beard with hard light. Here the colours of parts are differentiated by w at many faces, and the shift is
sought that changes one part as is wanted in the mean of them, and no other.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from stitch.families.portrait.training.directions import Found
from stitch.networks.mobilestylegan import MobileStyleGAN

PARTS: Mapping[str, Sequence[int]] = {
    "lips": (12, 13), "mouth": (11,), "jaw": (1,), "skin": (1,), "hair": (17,), "rest": (0, 16, 18),
}  # fmt: skip
"""BiSeNet's classes of each part; what lies below the nose is the jaw's skin, what lies above it skin."""

_JAW = 0.66, 0.3, 0.7
"""From where downwards and between which columns skin is the jaw's, as shares of the side of a crop by FFHQ's rule."""

_FEWEST_PX = 30
STEPS = 2.0
"""In how many steps of its slider a part comes to the colour that is wanted, a tuned generator's answer not counted."""


@dataclass(frozen=True)
class Wanted:
    """A slider that colours a part.

    Attributes:
        part: of `PARTS`.
        change: red, green and blue, of pictures in [-1,1].
        still: weights of the other parts, of 1 for `part`.
        ridge: of the length in units of codes' own spread.
        men: slopes are of men's faces alone.
    """

    part: str
    change: tuple[float, float, float]
    still: Mapping[str, float]
    ridge: float
    men: bool = False


WANTED: Mapping[str, Wanted] = {
    "lipstick": Wanted(
        "lips", (0.15, -0.35, -0.2), {"skin": 3, "jaw": 3, "hair": 0.5, "rest": 0.5, "mouth": 0.3}, ridge=1e-4
    ),
    "beard": Wanted(
        "jaw", (-0.35, -0.35, -0.35), {"skin": 2, "lips": 0.5, "hair": 0.3, "rest": 0.2}, ridge=1e-3, men=True
    ),
}


@dataclass(frozen=True, eq=False)
class Slopes:
    """Colours of parts, and how they change with w.

    Attributes:
        colours: [N,P,3], of pictures in [-1,1]; zero where a face has no such part.
        by_w: [N,P,3,D].
    """

    colours: Tensor
    by_w: Tensor


def slopes(generator: MobileStyleGAN, parser: torch.nn.Module, w: Tensor, moved: Tensor) -> Slopes:
    """Differentiate the mean colour of every part of some faces.

    Args:
        generator: draws them.
        parser: finds the parts.
        w: [N,D] codes.
        moved: [L], one for the codes that a shift of w moves, zero for the others.
    """
    colours, by_w = [], []
    for code in w.split(1):
        shift = torch.zeros_like(code, requires_grad=True)
        picture = generator(generator.broadcast(code) + moved[:, None] * shift)
        means = torch.stack([_mean(picture, part) for part in parts(parser(picture.detach()), picture.shape[-1])])
        rows = [torch.autograd.grad(mean, shift, retain_graph=True)[0][0] for mean in means.flatten()]
        colours.append(means.detach())
        by_w.append(torch.stack(rows).unflatten(0, means.shape))
    return Slopes(torch.stack(colours), torch.stack(by_w))


def parts(labels: Tensor, size: int) -> Tensor:
    """Where the parts of one face are; [1,h,h] BiSeNet's classes -> [P,S,S] bool, in the order of `PARTS`."""
    below, left, right = _JAW
    at = (torch.arange(size) + 0.5) / size
    jaw = (at[:, None] > below) & (at > left) & (at < right)
    found = []
    for name, classes in PARTS.items():
        chosen = torch.isin(labels, torch.tensor(classes)).float()[:, None]
        there = F.interpolate(chosen, (size, size), mode="bilinear")[0, 0] > 0.5
        found.append(there & jaw if name == "jaw" else there & (at[:, None] < below) if name == "skin" else there)
    return torch.stack(found)


def direction(wanted: Wanted, seen: Slopes, w: Tensor) -> Found:
    """The shift of w that changes a part's colour as is wanted and the others' not, in the mean over faces.

    Args:
        wanted: the change.
        seen: slopes at faces; every fourth is held out, to say how much of the change it sees.
        w: [M,D] codes of random faces, for how far a shift is from what faces are like.
    Returns:
        One step; `held_r2` is the share of the wanted change in faces held out, `per_unit` the step's effect in
        standard deviations of the part's colour.
    """
    centred = w.double() - w.double().mean(0)
    metric = centred.T @ centred / len(w)
    order = list(PARTS)
    weights = torch.tensor([1.0 if name == wanted.part else wanted.still.get(name, 0.0) for name in order]).double()
    aim = torch.zeros(len(order), 3, dtype=torch.float64)
    aim[order.index(wanted.part)] = torch.tensor(wanted.change, dtype=torch.float64)
    held = torch.arange(len(seen.by_w)) % 4 == 0
    slope = seen.by_w.double()
    rows = (slope[~held] * weights[:, None, None]).flatten(0, 2)
    aims = (aim * weights[:, None]).expand(int((~held).sum()), -1, -1).flatten()
    damping = len(rows) / (3 * len(order)) * wanted.ridge * torch.eye(len(rows), dtype=torch.float64)
    shift = metric @ rows.T @ torch.linalg.solve(rows @ metric @ rows.T + damping, aims)
    own, colour = order.index(wanted.part), torch.tensor(wanted.change, dtype=torch.float64)
    told = (slope[held, own] @ shift).mean(0)
    spread = (seen.colours[:, own].double() @ (colour / colour.norm())).std()
    share = 1 - float((told - colour).square().sum() / colour.square().sum())
    return Found((shift / STEPS).float(), share, float(colour.norm() / STEPS / spread))


def _mean(picture: Tensor, part: Tensor) -> Tensor:
    """Mean colour, [3]; zeros without slopes where a part is too small."""
    share = part / part.sum() if int(part.sum()) >= _FEWEST_PX else torch.zeros_like(picture[0, 0])
    return (picture[0] * share).sum((1, 2))
