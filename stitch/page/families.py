"""The families of weights that the page offers: loaded once, and said plainly where one is missing."""

import threading
from dataclasses import dataclass

import torch

import weights
from stitch.errors import StitchError
from stitch.family import Family


@dataclass(frozen=True)
class Card:
    """A family for people.

    Attributes:
        name: of the family.
        title: in words.
        licence: of its weights.
        size: of its files, in words.
        resolution: of the faces it draws, px.
        edits: how many sliders it has.
        texts: whether it understands free text.
    """

    name: str
    title: str
    licence: str
    size: str
    resolution: int
    edits: int
    texts: bool


TITLES = {"miniature": "Miniature: drawn faces, ships with Stitch", "ffhq": "Full size: real faces at 1024 px"}


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
        return weights.FAMILIES

    def __call__(self, name: str) -> Family:
        """The family.

        Raises:
            StitchError: there is none of that name, or its weights are not here.
        """
        with self._one_at_a_time:
            if name not in self._loaded:
                self._loaded[name] = weights.load_family(name, self.device)
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

    def card(self, name: str) -> Card:
        """What to know about a family before choosing it.

        Raises:
            StitchError: it is not there.
        """
        family = self(name)
        size = sum(part.numel() * part.element_size() for part in family.generator.parameters())
        texts = family.text_encoder is not None and family.relevance is not None
        return Card(
            name, TITLES.get(name, name), family.licence, f"generator of {size / 1e6:.0f} MB",
            family.generator.resolution, len(family.directions), texts,
        )
