"""NVIDIA's network pickles (`ffhq.pkl` of stylegan2-ada-pytorch), read without the program they were written by.

Every network in such a file carries the source text of its own module, which the published reader runs. Here the text
is dropped: the tensors and the constructor's arguments are all that is taken.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from stitch.networks.formats import pickled


@dataclass(frozen=True, eq=False)
class Network:
    """One network of the file.

    Attributes:
        class_name: of the network's class: "Generator", "Discriminator" ...
        arguments: what its constructor was given.
        module: its attributes as they were pickled.
    """

    class_name: str
    arguments: Mapping[str, Any]
    module: pickled.Module

    def state(self) -> dict[str, Tensor]:
        """Its state dict: parameters and persistent buffers by their full names, on the CPU.

        Raises:
            pickled.Refused: its attributes are not those of a network.
        """
        views: dict[str, pickled.View] = {}
        _collect(self.module, "", views, set())
        return {name: view.tensor() for name, view in views.items()}

    @property
    def conv_clamp(self) -> float | None:
        """What a generator clamps features and colours to; None where it does not."""
        sizes = self.arguments.get("synthesis_kwargs")
        clamp = sizes.get("conv_clamp") if isinstance(sizes, dict) else None
        return float(clamp) if isinstance(clamp, int | float) else None


def networks(path: Path) -> dict[str, Network]:
    """The networks of a file by name (`G_ema` is the generator to use); entries that are no network are left out.

    Args:
        path: an existing file.
    Returns:
        Name -> network; their tensors are made when their `state` is asked for.
    Raises:
        pickled.Refused: not such a file, damaged, or with more than weights inside.
        OSError: it cannot be opened.
    """
    content = pickled.read(path)
    entries = content if isinstance(content, dict) else {}
    found = {str(name): _network(value) for name, value in entries.items() if isinstance(value, pickled.Module)}
    if not found:
        raise pickled.Refused("it is a pickle without a network of NVIDIA's")
    return found


def generator(path: Path) -> Network:
    """The network of a file that is to be used: the running mean of the generator's weights, or else the generator.

    Args:
        path: as `networks`.
    Raises:
        pickled.Refused: as `networks`, or the file has no generator.
        OSError: it cannot be opened.
    """
    found = networks(path)
    for name in ("G_ema", "G"):
        if name in found:
            return found[name]
    raise pickled.Refused(f"it holds {', '.join(found)} and no generator")


def _network(module: pickled.Module) -> Network:
    arguments = module.state.get("_init_kwargs")
    return Network(module.class_name, arguments if isinstance(arguments, dict) else {}, module)


def _collect(module: Any, prefix: str, views: dict[str, pickled.View], seen: set[int]) -> None:
    """Adds a module's tensors, then its children's, in the order that PyTorch lists them."""
    if not isinstance(module, pickled.Module) or id(module) in seen:
        raise pickled.Refused(f"{prefix or 'the network'}: a part is no network, or is a part twice")
    seen.add(id(module))
    left_out = module.state.get("_non_persistent_buffers_set") or []
    for group in ("_parameters", "_buffers"):
        for name, view in _entries(module, group):
            if isinstance(view, pickled.View) and name not in left_out:
                views[f"{prefix}{name}"] = view
    for name, child in _entries(module, "_modules"):
        if child is not None:
            _collect(child, f"{prefix}{name}.", views, seen)


def _entries(module: pickled.Module, group: str) -> Any:
    entries = module.state.get(group, {})
    if not isinstance(entries, dict):
        raise pickled.Refused(f"{group} of a {module.class_name} is no list of names")
    return entries.items()
