"""The network: one linear map of codes for each attribute and layer."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from stitch.core.errors import EditError
from stitch.core.records import Edit
from stitch.networks.formats.checkpoints import load_module

WEIGHTS = Path(__file__).parent / "weights"


class LatentTransformers(nn.Module):
    """T(w, alpha) = w + alpha * f(w), f linear (Yao et al. 2021, section 3.1); all attributes of a family.

    Args:
        names: of the attributes, A of them.
        style_dim: D.
        layers: maps of each attribute: L, or one that serves all layers where a family's encoder finds one code for
            them all.
    """

    unit: Tensor

    def __init__(self, names: Sequence[str], style_dim: int, layers: int = 1):
        super().__init__()
        self.names, self.style_dim, self.layers = tuple(names), style_dim, layers
        self.weight = nn.Parameter(torch.zeros(len(self.names), layers, style_dim, style_dim))
        self.bias = nn.Parameter(torch.zeros(len(self.names), layers, style_dim))
        self.register_buffer("unit", torch.ones(len(self.names)))  # alpha of one step of a calibrated slider

    @property
    def arguments(self) -> dict[str, Any]:
        """What the constructor was given, for files."""
        return {"names": list(self.names), "style_dim": self.style_dim, "layers": self.layers}

    def moves(self, w: Tensor, name: str) -> Tensor:
        """f(w) of an attribute, [B,L,D] -> [B,L,D].

        Raises:
            EditError: it is not among `names`.
        """
        if name not in self.names:
            raise EditError(f"edit {name!r}: the latent transformer was not trained for it; it knows "
                            f"{', '.join(self.names)}")
        index = self.names.index(name)
        return torch.einsum("bld,lod->blo", w, self._of_layers(self.weight[index], w)) + self._of_layers(
            self.bias[index], w
        )

    def edited(self, w: Tensor, edits: Sequence[Edit]) -> Tensor:
        """Codes after edits, one after the other.

        Args:
            w: [B,L,D].
            edits: sliders of one strength each.
        Raises:
            EditError: one that it was not trained for, or whose strength changes over time.
        """
        for one in edits:
            if one.raw or isinstance(one.strength, tuple):
                raise EditError(f"edit {one.name!r}: the latent transformer needs one strength, such as 2")
            unit = self.unit[self.names.index(one.name)] if one.name in self.names else 1.0
            w = w + one.strength * unit * self.moves(w, one.name)
        return w

    def _of_layers(self, weights: Tensor, w: Tensor) -> Tensor:
        return weights.expand(w.shape[1], *weights.shape[1:])


def trained(family: str, style_dim: int) -> LatentTransformers:
    """What `stitch.methods.latent_transformer.train` made for a family, on the CPU.

    Args:
        family: its name.
        style_dim: D of the generator that is to draw.
    Raises:
        EditError: nothing was trained for it, or for such codes.
        WeightsError: the file is damaged.
    """
    path = WEIGHTS / f"{family}.safetensors"
    if not path.exists():
        raise EditError(f"family {family}: no latent transformer was trained for it; there is one for "
                        f"{', '.join(sorted(one.stem for one in WEIGHTS.glob('*.safetensors')))}")
    found = load_module(path, LatentTransformers)
    if found.style_dim != style_dim:
        raise EditError(f"family {family}: its latent transformer moves codes of {found.style_dim} numbers, and this "
                        f"generator has {style_dim}; leave out --generator")
    return found
