"""The last blocks of a picture by themselves, for what changes the features between them and no weight."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint


@dataclass(frozen=True, eq=False)
class Ending:
    """What is left to draw of some pictures behind features that lie ready.

    Attributes:
        shapes: of the residuals, one for each place, [B,...] with the samples first.
        draw: residuals in the order of `shapes` to pictures [B,3,R,R], as the generator draws them where all are zero.
            A residual counts in the root mean square of the features that it is added to, sample by sample.
    """

    shapes: Sequence[tuple[int, ...]]
    draw: Callable[[Sequence[Tensor]], Tensor]


def shifted(features: Tensor, residual: Tensor) -> Tensor:
    """Features [B,...] with a residual of the same shape, in their own root mean square, added."""
    axes = tuple(range(1, features.ndim))
    length = torch.linalg.vector_norm(features.detach(), dim=axes, keepdim=True, dtype=torch.float32)
    scale = (length / math.sqrt(features[0].numel())).to(features.dtype)
    return torch.addcmul(features, residual.to(features.dtype), scale)


def step(block: Callable[..., Any], checkpointing: bool) -> Callable[..., Any]:
    """A block, or the same computed once more on the way back instead of kept; nothing random may be in it."""
    if not checkpointing:
        return block
    return partial(checkpoint, block, use_reentrant=False, preserve_rng_state=False)
