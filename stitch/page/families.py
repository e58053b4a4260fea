"""The families of weights that the page offers: what each can do before anything of it is here, fetched when asked for,
loaded once."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from stitch.core.errors import StitchError
from stitch.core.events import Progress
from stitch.families import load
from stitch.families.about import Slider
from stitch.families.family import Family
from stitch.page.jobs import Done, Work
from stitch.store import local


@dataclass(frozen=True)
class Card:
    """What to know about a family before choosing it.

    Attributes:
        name: of the family.
        title: in words.
        licences: of its files.
        size: of all its files, bytes.
        to_fetch: bytes that are not on this machine yet.
        edits: how many sliders it has.
        texts: whether it understands free text.
        needs_gpu: whether this machine's device is too slow for it.
    """

    name: str
    title: str
    licences: tuple[str, ...]
    size: int
    to_fetch: int
    edits: int
    texts: bool
    needs_gpu: bool


class Families:
    """Families on one device, loaded when they are first asked for.

    Args:
        device: where the networks go.
        loaded: families that are there already.
    """

    def __init__(self, device: torch.device, *loaded: Family) -> None:
        self.device = device
        self._loaded = {family.name: family for family in loaded}
        self._one_at_a_time = threading.Lock()

    @property
    def names(self) -> tuple[str, ...]:
        """All that could be there."""
        return tuple(load.known())

    def __call__(self, name: str) -> Family:
        """The family.

        Raises:
            StitchError: there is none of that name, or its weights are not here.
        """
        with self._one_at_a_time:
            if name not in self._loaded:
                self._loaded[name] = load.load_family(name, self.device)
            return self._loaded[name]

    def first_of(self, *names: str) -> tuple[Family, str]:
        """The first family that is there, and a sentence about those that are not."""
        missing: list[str] = []
        for name in names:
            try:
                return self(name), " ".join(missing)
            except StitchError as error:
                missing.append(f"{str(error)[:1].upper()}{str(error)[1:]}.")
        raise StitchError(" ".join(missing))

    def sliders(self, name: str) -> Mapping[str, Slider]:
        """The sliders of a family by name; one that is not loaded and not bundled is asked nothing but the manifest.

        Raises:
            StitchError: there is none of that name.
        """
        parts = load.needed(name)
        if name not in self._loaded and any(part.sources for part in parts):
            there = {part.name.removeprefix("direction.") for part in parts if part.name.startswith("direction.")}
            return {slider.name: slider for slider in load.about(name).sliders if slider.name in there}
        return {
            name: Slider(name, one.group.capitalize(), one.description, one.low, one.high)
            for name, one in self(name).directions.items()
        }

    def texts(self, name: str) -> bool:
        """Whether a family understands free text.

        Raises:
            StitchError: there is none of that name.
        """
        if name in self._loaded:
            family = self._loaded[name]
            return family.text_encoder is not None and family.relevance is not None
        return {"clip", "relevance"} <= {part.name for part in load.needed(name)}

    def to_fetch(self, name: str) -> int:
        """Bytes of a family that are not on this machine yet; nothing of a loaded one.

        Raises:
            StitchError: there is none of that name.
        """
        return 0 if name in self._loaded else sum(held.missing for held in local.survey(load.needed(name)))

    def card(self, name: str) -> Card:
        """What to know about a family; nothing of it is loaded or fetched for that.

        Raises:
            StitchError: there is none of that name.
        """
        parts = load.needed(name)
        return Card(
            name, load.about(name).title, tuple(dict.fromkeys(part.licence for part in parts)),
            sum(part.size for part in parts), self.to_fetch(name), len(self.sliders(name)), self.texts(name),
            needs_gpu=self.device.type == "cpu" and load.about(name).wants_gpu,
        )

    def fetched(self, name: str) -> Work:
        """Fetch what is missing of a family, verify it and load it: yields progress, then `Done` with its name.

        Raises:
            StitchError: it cannot be fetched, or is not what it should be.
        """
        yield from local.fetch(load.needed(name))
        yield Progress("load", 0, 0, "network")
        self(name)
        yield Done(name)
