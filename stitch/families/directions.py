"""Directions that were trained together and lie in one file, each as long as one step of its slider."""

from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from stitch.core.errors import WeightsError
from stitch.core.records import Direction, Origin
from stitch.families.about import Slider
from stitch.families.family import Boundary


def of_slider(slider: Slider, vector: Tensor, unit: float, origin: Origin = "ours") -> Direction:
    """A slider's direction: [D] or [L,D] of unit length, and the length of one step."""
    told = (slider.description, slider.low, slider.high, slider.group)
    return Direction(vector, unit, *told, origin, slider.adults_below, slider.blocks_px)


def read(path: Path, sliders: Iterable[Slider], device: torch.device) -> dict[str, Direction]:
    """The directions of some sliders.

    Args:
        path: .safetensors with `direction.NAME` [D] each, one step long.
        sliders: which ones.
        device: where they go.
    Returns:
        By name, in the order of the sliders.
    Raises:
        WeightsError: one is missing.
    """
    tensors = load_file(path)
    found = {}
    for slider in sliders:
        vector = tensors.get(f"direction.{slider.name}")
        if vector is None:
            raise WeightsError(f"{path}: no direction {slider.name!r}; install Stitch again")
        length = float(vector.norm())
        found[slider.name] = of_slider(slider, (vector / length).to(device), length * slider.longer)
    return found


def read_boundary(path: Path, device: torch.device) -> Boundary:
    """A plane in W, out of .safetensors with its `normal` [D] and `offset` [1].

    Raises:
        WeightsError: it is another kind of file.
    """
    tensors = load_file(path)
    if tensors.keys() != {"normal", "offset"} or tensors["normal"].ndim != 1 or tensors["offset"].numel() != 1:
        raise WeightsError(f"{path}: no boundary, a normal and its offset; install Stitch again")
    return Boundary(tensors["normal"].to(device), float(tensors["offset"]))
