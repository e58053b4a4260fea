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
from stitch.networks.formats.standins import Module, Refused, View

LONGEST_NAME = 1000
"""Of a tensor, with the names of the blocks around it."""
LARGEST_CLAMP = 1e9
"""Beyond it a clamp does nothing."""


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
    module: Module

    def state(self) -> dict[str, Tensor]:
        """Its state dict: parameters and persistent buffers by their full names, on the CPU.

        Raises:
            Refused: its attributes are not those of a network.
        """
        views: dict[str, View] = {}
        _collect(self.module, "", views, set())
        # Names that share a view share its tensor: a small file can name one view a million times.
        tensors = {id(view): view.tensor() for view in {id(view): view for view in views.values()}.values()}
        return {name: tensors[id(view)] for name, view in views.items()}

    @property
    def conv_clamp(self) -> float | None:
        """What a generator clamps features and colours to; None where it does not."""
        sizes = self.arguments.get("synthesis_kwargs")
        clamp = sizes.get("conv_clamp") if isinstance(sizes, dict) else None
        return float(clamp) if isinstance(clamp, int | float) and abs(clamp) < LARGEST_CLAMP else None


def networks(path: Path) -> dict[str, Network]:
    """The networks of a file by name (`G_ema` is the generator to use); entries that are no network are left out.

    Args:
        path: an existing file.
    Returns:
        Name -> network; their tensors are made when their `state` is asked for.
    Raises:
        Refused: not such a file, damaged, or with more than weights inside.
        OSError: it cannot be opened.
    """
    content = pickled.read(path)
    entries = content if isinstance(content, dict) else {}
    found = {str(name): _network(value) for name, value in entries.items() if isinstance(value, Module)}
    if not found:
        raise Refused("it is a pickle without a network of NVIDIA's")
    return found


def generator(path: Path) -> Network:
    """The network of a file that is to be used: the running mean of the generator's weights, or else the generator.

    Args:
        path: as `networks`.
    Raises:
        Refused: as `networks`, or the file has no generator.
        OSError: it cannot be opened.
    """
    found = networks(path)
    for name in ("G_ema", "G"):
        if name in found:
            return found[name]
    raise Refused(f"it holds {', '.join(found)} and no generator")


def _network(module: Module) -> Network:
    arguments = module.state.get("_init_kwargs")
    return Network(module.class_name, arguments if isinstance(arguments, dict) else {}, module)


def _collect(module: Any, prefix: str, views: dict[str, View], seen: set[int]) -> None:
    """Adds a module's tensors, then its children's, in the order that PyTorch lists them."""
    if not isinstance(module, Module) or id(module) in seen:
        raise Refused(f"{prefix or 'the network'}: a part is no network, or is a part twice")
    seen.add(id(module))
    if len(prefix) > LONGEST_NAME:
        raise Refused(f"{prefix[:40]} ... is a longer name than any network has")
    left_out = module.state.get("_non_persistent_buffers_set") or []
    if not isinstance(left_out, list | tuple | set):
        raise Refused("its list of what is not kept is no list")
    left_out = {name for name in left_out if isinstance(name, str)}
    for group in ("_parameters", "_buffers"):
        for name, view in _entries(module, group):
            if isinstance(view, View) and name not in left_out:
                views[f"{prefix}{name}"] = view
    for name, child in _entries(module, "_modules"):
        if child is not None:
            _collect(child, f"{prefix}{name}.", views, seen)


def _entries(module: Module, group: str) -> Any:
    entries = module.state.get(group, {})
    if not isinstance(entries, dict):
        raise Refused(f"{group} of a {module.class_name} is no list of names")
    return entries.items()
