"""Stage 2, inversion (section 3.2): crops become pivots in W+."""

from collections.abc import Generator

import torch
from torch import Tensor, nn

from stitch.core.events import Progress
from stitch.core.images import to_tensor
from stitch.core.records import Crops, Pivots


def invert(crops: Crops, encoder: nn.Module, batch: int = 16) -> Generator[Progress, None, Pivots]:
    """Pivots w_i = E(c_i), one pass of the encoder per crop (section 3.2).

    The encoder's smoothness is the point: optimising each code by itself would give similar crops distant pivots.

    Args:
        crops: stage 1's result.
        encoder: e4e; [B,3,S,S] crops in [-1,1] -> [B,L,D], latent average included.
        batch: crops per pass.
    Yields:
        Progress in frames.
    Returns:
        w_i, [N,L,D] float32 on the CPU.
    Raises:
        ValueError: there is no crop, or batch < 1.
    """
    if len(crops.images) == 0 or batch < 1:
        raise ValueError(f"invert: got {len(crops.images)} crops and batch {batch}, expected at least 1 of each")
    parameter = next(encoder.parameters(), None)
    device = torch.device("cpu") if parameter is None else parameter.device
    total = len(crops.images)
    codes: list[Tensor] = []
    for first in range(0, total, batch):
        codes.append(_encode(encoder, to_tensor(crops.images[first : first + batch]).to(device)))
        yield Progress("invert", min(first + batch, total), total)
    return Pivots(torch.cat(codes))


@torch.no_grad()
def _encode(encoder: nn.Module, images: Tensor) -> Tensor:
    return encoder(images).float().cpu()
