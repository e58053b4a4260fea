"""What a family is before anything of it is here: its files, sliders and words, and how it is loaded. Without torch."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stitch.core.settings import PRESETS, Presets
from stitch.store.local import Part

if TYPE_CHECKING:
    import torch
    from torch import nn

    from stitch.families.family import Detector, Family

Files = Mapping[str, Path]
"""A family's files by the names of its parts."""


@dataclass(frozen=True)
class Slider:
    """One named edit, as people read it.

    Attributes:
        name: of the edit.
        group: heading under which doors show it.
        description: what it does.
        low, high: words for the two ends.
    """

    name: str
    group: str
    description: str
    low: str
    high: str


def _lends_nothing(files: Files, tracker: str, device: "torch.device") -> "Detector":
    raise ValueError(f"tracker: got {tracker!r} of a family that lends no face detector")


@dataclass(frozen=True, eq=False)
class About:
    """A family of weights: `ABOUT` in the `__init__.py` of a folder of `stitch.families`, which is all that it takes.

    Attributes:
        name: of the folder.
        title, label: for people, in a line and in a word or two.
        licence: of what is drawn with it, one line.
        parts: its files.
        sliders: that it may have; one whose file is a part of its own ("direction.NAME") is there with that part.
        load: from its files onto a device. Raises WeightsError.
        picture_tower: CLIP's, [B,3,S,S] in [-1,1] -> [B,K], from the part "clip". Raises WeightsError.
        lends: face detectors that any family may use, by the word of --tracker: the parts that each is made of.
        detector: makes one that it lends, from its files, by that word.
        wants_gpu: a CPU takes too long with it.
        presets: what each preset spends on it.
        order: those with a lower number come first where families are listed.
    """

    name: str
    title: str
    label: str
    licence: str
    parts: tuple[Part, ...]
    sliders: tuple[Slider, ...]
    load: "Callable[[Files, torch.device], Family]"
    picture_tower: "Callable[[Files, torch.device], nn.Module]"
    lends: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    detector: "Callable[[Files, str, torch.device], Detector]" = _lends_nothing
    wants_gpu: bool = False
    presets: Presets = field(default_factory=lambda: PRESETS)
    order: int = 100

    @property
    def bundled(self) -> bool:
        """Whether it comes with Stitch."""
        return not any(part.sources for part in self.parts)

    @property
    def texts(self) -> bool:
        """Whether it understands free text."""
        return {"clip", "relevance"} <= {part.name for part in self.parts}


def lazily(module: str, name: str) -> Callable[..., Any]:
    """A function of a module that is imported when it is first called, for the sake of those who only ask."""

    def call(*given: Any) -> Any:
        import importlib

        return getattr(importlib.import_module(module), name)(*given)

    return call
