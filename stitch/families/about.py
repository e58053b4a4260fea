"""What a family is before anything of it is here: its files, sliders and words, and how it is loaded. Without torch."""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stitch.core.errors import WeightsError
from stitch.core.events import Event
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
        adults_below: strengths below 0 are for grown-ups; a child's face stays as it is there.
        blocks_px: least and largest side of the features that it moves, in px; None moves all.
        longer: what a step is lengthened by, so that it does as much there as it did in all.
    """

    name: str
    group: str
    description: str
    low: str
    high: str
    adults_below: bool = False
    blocks_px: tuple[int, int] | None = None
    longer: float = 1.0


@dataclass(frozen=True)
class Sample:
    """A clip that a family is asked to draw.

    Attributes:
        path: the clip, .mp4.
        seed: of the person, the motion and the sound.
        frames: how many.
        size: width, height in px.
        rate: frames per second.
        scene: what happens, in the words of the family; None lets it choose.
        truth: where to write what is really there, as JSON; None writes nothing.
    """

    path: Path
    seed: int
    frames: int
    size: tuple[int, int]
    rate: Fraction
    scene: str | None = None
    truth: Path | None = None


Draw = Callable[[Sample], Generator[Event, None, None]]
"""Draws a clip into its file and yields Progress and Previews. Raises VideoError, and WeightsError where it has any."""


def _lends_nothing(files: Files, tracker: str, device: "torch.device") -> "Detector":
    raise ValueError(f"tracker: got {tracker!r} of a family that lends no face detector")


def _draws_nothing(sample: Sample) -> Generator[Event, None, None]:
    raise WeightsError(f"{sample.path}: this family draws no clips of its own; name another with --family")


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
        example: a clip to try it with.
        looks: edits that show what it can do, by names, as `core.looks` writes them.
        sample: draws a clip of somebody who does not exist.
        sample_options: of `Sample`, those that not every family understands and this one does: "scene", "truth".
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
    example: Path | None = None
    looks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    sample: Draw = _draws_nothing
    sample_options: tuple[str, ...] = ()

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
