"""The families of weights that the page offers: what each can do before anything of it is here, fetched when asked for,
loaded once. All but `__call__` is plain values: a page may ask for it anywhere, a family itself only inside a job."""

import threading
from collections.abc import Mapping

import torch

from stitch.core.errors import StitchError
from stitch.core.words import size_text
from stitch.families import load
from stitch.families.about import Slider
from stitch.families.family import Family
from stitch.runtime.jobs import Done, Work
from stitch.store import local


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

    def label(self, name: str) -> str:
        """What people call a family."""
        return load.about(name).label

    def __call__(self, name: str) -> Family:
        """The family, for a job.

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
        """The sliders of a family by name; of one that is not loaded, as it lists them.

        Raises:
            StitchError: there is none of that name.
        """
        if family := self._loaded.get(name):
            return {
                key: Slider(key, one.group.capitalize(), one.description, one.low, one.high)
                for key, one in family.directions.items()
            }
        about, parts = load.about(name), {part.name for part in load.needed(name)}
        return {one.name: one for one in about.sliders if {"directions", f"direction.{one.name}"} & parts}

    def texts(self, name: str) -> bool:
        """Whether a family understands free text.

        Raises:
            StitchError: there is none of that name.
        """
        family = self._loaded.get(name)
        return load.about(name).texts if family is None else None not in (family.text_encoder, family.relevance)

    def to_fetch(self, name: str) -> int:
        """Bytes of a family that are not on this machine yet; nothing of a loaded one.

        Raises:
            StitchError: there is none of that name.
        """
        return 0 if name in self._loaded else sum(held.missing for held in local.survey(load.needed(name)))

    def told(self, name: str) -> list[tuple[str, str]]:
        """What to know about a family before choosing it; nothing of it is loaded or fetched for that.

        Raises:
            StitchError: there is none of that name.
        """
        about, parts, missing = load.about(name), load.needed(name), self.to_fetch(name)
        size = size_text(sum(part.size for part in parts))
        rows = [
            ("Can do", f"{len(self.sliders(name))} sliders" + " and free text" * self.texts(name)),
            ("Size", f"{size_text(missing)} of {size} to fetch" if missing else f"{size}, all here"),
            ("Licence", "; ".join(dict.fromkeys(part.licence for part in parts))),
        ]
        slow = self.device.type == "cpu" and about.wants_gpu
        return rows + [("Speed", "It wants a GPU; on this machine's processor a clip would take hours.")] * slow

    def fetched(self, name: str) -> Work:
        """Fetch what is missing of a family and verify it: yields progress, then `Done` with its name.

        Raises:
            StitchError: it cannot be fetched, or is not what it should be.
        """
        yield from local.fetch(load.needed(name))
        yield Done(name)
