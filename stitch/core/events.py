"""What the stages yield while they work. Stages never print; doors show these."""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")


@dataclass(frozen=True)
class Progress:
    """`done` of `total` units of `stage` are finished (`total` is 0 when nobody can know it)."""

    stage: str
    done: int
    total: int
    unit: str = "frame"


@dataclass(frozen=True, eq=False)
class Preview:
    """A picture worth showing while `stage` runs.

    Attributes:
        frame: index of the frame in the trimmed clip.
        image: [H,W,3] uint8 RGB.
    """

    stage: str
    frame: int
    image: np.ndarray


@dataclass(frozen=True)
class Notice:
    """Something that the user should know although the work goes on, in one sentence."""

    message: str


@dataclass(frozen=True)
class ChunkHalved(Notice):
    """The memory ran out: from now on only `frames` are tuned at once."""

    frames: int


Event = Progress | Preview | Notice


def finished(stage: Generator[Any, None, T]) -> T:
    """Run a stage to its end, its events unseen, and return its record."""
    while True:
        try:
            next(stage)
        except StopIteration as end:
            return end.value
