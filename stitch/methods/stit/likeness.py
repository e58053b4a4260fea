"""How like a face the encoder's drawing of it is, before anything is tuned (ours): is it of the family's own world?"""

import torch
from torch import Tensor

from stitch.families.family import Family

LOOKED_AT = 5
"""Frames by which a clip is judged."""


@torch.no_grad()
def likeness(crops: Tensor, pivots: Tensor, family: Family) -> float:
    """How far the encoder's drawing is the same person, in the eyes of the family's identity network.

    Tuning teaches a generator any picture, a cartoon too; what it then makes of an edit it knows from its own world. A
    drawn face that a network for filmed people redraws as somebody else stays unlike itself in every edit.

    Args:
        crops: c_i, [B,3,S,S] in [-1,1].
        pivots: w_i as the encoder found them, [B,L,D].
        family: whose generator draws them.
    Returns:
        Cosine of both identities, mean over the crops: 1 for the same face, about 0 for strangers.
    """
    drawn = family.generator(pivots).clamp(-1, 1)
    first, second = (torch.nn.functional.normalize(family.identity(faces).float(), dim=1) for faces in (crops, drawn))
    return float((first * second).sum(1).mean())
