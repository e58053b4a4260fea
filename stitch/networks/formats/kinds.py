"""Which network a file of weights is for, told by the names of its tensors; no tensor is read, nothing is run."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import torch

from stitch.networks.formats import pytorch

# Names that together belong to one kind of file only, in the order in which they are asked.
_SIGNS: Mapping[str, frozenset[str]] = {
    "encoder": frozenset({"latent_avg", "encoder.input_layer.0.weight", "encoder.styles.0.linear.weight"}),
    "parser": frozenset({"cp.resnet.conv1.weight", "conv_out32.conv_out.weight"}),
    "identity": frozenset({"input_layer.0.weight", "body.0.res_layer.1.weight", "output_layer.3.weight"}),
    "detector": frozenset({"BboxHead.0.conv1x1.weight", "LandmarkHead.0.conv1x1.weight"}),
    "landmarks": frozenset({"m0.coordconv.conv.weight", "m3.coordconv.conv.weight"}),
    "perceptual": frozenset({"features.0.weight", "features.3.weight", "features.10.weight"}),
    "clip": frozenset({"visual.conv1.weight", "token_embedding.weight", "text_projection"}),
}
_RELEVANCE_WIDTH, _RELEVANCE_ROWS = 512, 1000


def kind_of(path: Path) -> str | None:
    """The part of a family that a file looks like.

    Args:
        path: any file; .safetensors, .pt, .pth and .bin are looked into for names, .npy for its shape.
    Returns:
        A part's name as families have them, or None for everything else and for what cannot be read safely.
    """
    try:
        if path.suffix == ".npy":
            shape = np.load(path, mmap_mode="r", allow_pickle=False).shape
            relevance = len(shape) == 2 and shape[1] == _RELEVANCE_WIDTH and shape[0] >= _RELEVANCE_ROWS
            return "relevance" if relevance else None
        names = _names(path)
    except Exception:  # A damaged or hostile file can fail in any way; it is simply not one of ours.
        return None
    return next((kind for kind, signs in _SIGNS.items() if signs <= names), None)


def _names(path: Path) -> set[str]:
    """Names of a file's tensors, as the files are laid out: bare, or below "state_dict"; without "module."."""
    if path.suffix == ".safetensors":
        with safetensors.safe_open(path, framework="pt") as file:
            return set(file.keys())
    if path.suffix in (".pt", ".pth", ".bin"):
        pytorch.check(path)
        content = torch.load(path, map_location="meta", weights_only=True)
        return {name.removeprefix("module.") for name in _flat(content)}
    return set()


def _flat(content: Any) -> Iterator[str]:
    if isinstance(content, Mapping):
        yield from (name for name in content if isinstance(name, str))
        inner = content.get("state_dict")
        if isinstance(inner, Mapping):
            yield from _flat(inner)
