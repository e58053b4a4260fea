"""Directions that were trained together and lie in one file, each as long as one step of its slider."""

from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors.torch import load_file

from stitch.core.errors import WeightsError
from stitch.core.records import Direction
from stitch.families.about import Slider


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
        unit = float(vector.norm())
        told = (slider.description, slider.low, slider.high, slider.group)
        found[slider.name] = Direction((vector / unit).to(device), unit, *told)
    return found
