"""Lets torchvision be imported beside a PyTorch that its compiled part does not fit. Import this before lpips, facexlib
or open_clip, which all import torchvision.

A CUDA build of torchvision next to a CPU build of PyTorch cannot register its operators, and `import torchvision` dies
of "operator torchvision::nms does not exist", although nothing here needs those operators. Where that happens, and only
there, the two operators that the import asks for are declared with an implementation of our own.
"""

import importlib
import sys

import torch
from torch import Tensor


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """Non-maximum suppression: the best box, then the best that does not overlap it, and so on.

    Args:
        boxes: [N,4], x0, y0, x1, y1.
        scores: [N].
        iou_threshold: boxes that overlap a better one by more than this are dropped.
    Returns:
        [K] int64, indices of the boxes kept, best first; equal scores in their order.
    """
    boxes = boxes.float()
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    order = scores.argsort(descending=True, stable=True)
    kept = []
    while order.numel():
        best, order = order[0], order[1:]
        kept.append(best)
        sides = torch.minimum(boxes[best, 2:], boxes[order, 2:]) - torch.maximum(boxes[best, :2], boxes[order, :2])
        shared = sides.clamp_min(0).prod(1)
        order = order[shared <= iou_threshold * (areas[best] + areas[order] - shared)]
    return torch.stack(kept) if kept else torch.empty(0, dtype=torch.int64, device=boxes.device)


def declare_operators() -> torch.library.Library:
    """Registers torchvision::nms and torchvision::qnms; they last as long as the returned library."""
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.impl(name, nms, "CompositeExplicitAutograd")
    return library


def repair() -> torch.library.Library | None:
    """Imports torchvision, with operators of our own where its own are missing.

    Returns:
        The library that holds them; None where torchvision is whole.
    Raises:
        ImportError, RuntimeError: torchvision cannot be imported for another reason.
    """
    try:
        importlib.import_module("torchvision")
        return None
    except RuntimeError as error:
        if "operator torchvision::nms does not exist" not in str(error):
            raise
    library = declare_operators()
    # What the broken import left behind would be taken for finished modules.
    for name in [name for name in sys.modules if name == "torchvision" or name.startswith("torchvision.")]:
        del sys.modules[name]
    importlib.import_module("torchvision")
    return library


LIBRARY = repair()
