"""The families there are, which files each needs, and loading one: verified, with what one's own takes its place."""

import importlib
import os
import pkgutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import stitch.families
from stitch.core.errors import WeightsError
from stitch.families.about import About
from stitch.store.local import Part, files_of

if TYPE_CHECKING:
    import torch
    from torch import nn

    from stitch.families.family import Family

OWN_TRACKER = "family"
"""The word for a family's own face detector."""
ALONE = "generator.alone"
"""The part that is a family's generator by itself, which another family of the same W may draw with."""


@dataclass(frozen=True)
class Own:
    """What the user brings in place of a family's, or beside it.

    Attributes:
        weights: folder of files, taken before all others and not held to the table; None takes STITCH_WEIGHTS.
        generator: a generator.
        relevance: the table behind text edits that was measured for the generator.
        directions: files of directions by name, see `stitch.families.custom.with_direction`.
    """

    weights: Path | None = None
    generator: Path | None = None
    relevance: Path | None = None
    directions: Sequence[tuple[str, Path]] = ()


def known() -> dict[str, About]:
    """All families by name, in their order: every folder of `stitch.families` that says what it is."""
    folders = (one.name for one in pkgutil.iter_modules(stitch.families.__path__) if one.ispkg)
    modules = (importlib.import_module(f"{stitch.families.__name__}.{name}") for name in folders)
    found = [module.ABOUT for module in modules if hasattr(module, "ABOUT")]
    return {one.name: one for one in sorted(found, key=lambda one: (one.order, one.name))}


def default() -> str:
    """The family that serves where none is named: of the variable STITCH_FAMILY, or the first there is."""
    return os.environ.get("STITCH_FAMILY") or next(iter(known()))


def fallback() -> str:
    """The family that serves where nothing can be fetched: the first that comes with Stitch."""
    return next(name for name, one in known().items() if one.bundled)


def about(name: str) -> About:
    """The family of that name.

    Raises:
        WeightsError: there is none.
    """
    families = known()
    if name not in families:
        raise WeightsError(f"family {name!r}: not known; the families are {', '.join(families)}")
    return families[name]


def trackers() -> tuple[str, ...]:
    """The words of --tracker: a family's own face detector, and all that families lend."""
    return (OWN_TRACKER, *dict.fromkeys(word for one in known().values() for word in one.lends))


def generators() -> tuple[str, ...]:
    """The words of --generator: families whose generator can be had by itself."""
    return tuple(name for name, one in known().items() if ALONE in {part.name for part in one.parts})


def parts_of(family: str, only: Sequence[str] = (), optional: bool = False) -> list[Part]:
    """A family's parts.

    Args:
        family: its name.
        only: names of parts; "direction" names all directions. None takes all that are not optional.
        optional: take the optional ones too.
    Raises:
        WeightsError: no such family or part.
    """
    rows = about(family).parts
    if not only:
        return [row for row in rows if optional or not row.optional]
    names = [row.name for row in rows]
    for name in only:
        if name not in (*names, "direction"):
            raise WeightsError(f"family {family}: no part {name!r}; it has {', '.join(names)}")
    return [row for row in rows if row.name in only or ("direction" in only and row.name.startswith("direction."))]


def needed(family: str, tracker: str = OWN_TRACKER) -> list[Part]:
    """The parts that `load_family` will ask for.

    Args:
        family: its name.
        tracker: a word of `trackers`.
    Raises:
        WeightsError: no such family or tracker.
    """
    lent = [] if tracker == OWN_TRACKER else _lender(tracker)[1]
    return list(dict.fromkeys([*parts_of(family), *lent]))


def find(family: str, part: str, folder: Path | None = None) -> Path:
    """Where a family's file is, after making sure that it is the right one.

    Args:
        family: its name.
        part: name of the part.
        folder: the user's own files, looked at first and not held to the table.
    Returns:
        An existing file.
    Raises:
        WeightsError: no such family or part, or the file is missing or not what the table says.
    """
    rows = parts_of(family, [part])
    return files_of(rows, folder)[rows[0]]


def load_family(
    name: str, device: "torch.device", tracker: str = OWN_TRACKER, own: Own = Own()
) -> "Family":
    """Load a family, verified, on a device. Nothing is fetched: `store.local.fetch(needed(...))` does that.

    Args:
        name: of the family.
        device: where its networks go.
        tracker: a word of `trackers`; "family" keeps the family's own face detector.
        own: what the user brings.
    Raises:
        WeightsError: the family is not available, or a file is missing or not what it should be.
    """
    files = files_of(needed(name, tracker), own.weights)
    family = about(name).load(_named(files, name), device)
    if tracker != OWN_TRACKER:
        lender, _ = _lender(tracker)
        family = replace(family, detector=lender.detector(_named(files, lender.name), tracker, device))
    from stitch.families import custom

    if own.generator is not None:
        family = custom.with_generator(family, own.generator)
    if own.relevance is not None:
        family = custom.with_relevance(family, own.relevance)
    for direction, path in own.directions:
        family = custom.with_direction(family, direction, path)
    return family


def picture_tower(name: str, device: "torch.device", folder: Path | None = None) -> "nn.Module":
    """CLIP's picture tower of a family, [B,3,S,S] in [-1,1] -> [B,K]; only `stitch relevance` needs it.

    Args:
        name: of the family.
        device: where it goes.
        folder: the user's own files.
    Raises:
        WeightsError: its file is missing or not what it should be.
    """
    return about(name).picture_tower({"clip": find(name, "clip", folder)}, device)


def _lender(tracker: str) -> tuple[About, list[Part]]:
    """Who lends a face detector, and the parts that it is made of."""
    for one in known().values():
        if tracker in one.lends:
            return one, parts_of(one.name, one.lends[tracker])
    raise WeightsError(f"tracker {tracker!r}: not known; there are {', '.join(trackers())}")


def _named(files: Mapping[Part, Path], family: str) -> dict[str, Path]:
    return {row.name: path for row, path in files.items() if row.family == family}
