"""Finished examples, which a visitor opens with one click; `python -m stitch.page.examples FAMILY` makes them."""

import json
import shutil
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from stitch.families import load
from stitch.page.parts import ASSETS

FOLDER = ASSETS / "examples"


@dataclass(frozen=True)
class Example:
    """A result that ships with the page.

    Attributes:
        name: of its folder.
        folder: of the edited clip and what is known of it.
        record: as `tasks.Render` keeps it.
    """

    name: str
    folder: Path
    record: dict[str, Any]

    @property
    def told(self) -> str:
        """Its edits in words."""
        return self.record["told"]

    @property
    def poster(self) -> str:
        """A picture of it, as an address that holds it."""
        return self.record["poster"]


@cache
def known(family: str) -> tuple[Example, ...]:
    """A family's; none where they were not made."""
    found = []
    for name in load.about(family).looks:
        folder = FOLDER / family / name
        with suppress(OSError, ValueError):
            found.append(Example(name, folder, json.loads((folder / "result.json").read_text())))
    return tuple(found)


def make(family: str) -> None:
    """Render all of a family's anew.

    Raises:
        ValueError: it has no clip to try it with.
    """
    import torch

    from stitch.page.families import Families
    from stitch.page.tasks import Choice, Render

    about = load.about(family)
    if about.example is None:
        raise ValueError(f"family: got {family}, expected one with an example")
    loaded = Families(torch.device("cpu"))(family)
    with tempfile.TemporaryDirectory() as root:
        for name, look in about.looks.items():
            choice = Choice(family, about.example, Path(root), Path(root), 1, 0.0, None, "fast", dict(look))
            for _ in Render(choice).run(loaded):
                pass
            kept, made = FOLDER / family / name, Path(root) / choice.result
            shutil.rmtree(kept, ignore_errors=True)
            kept.mkdir(parents=True)
            shutil.copyfile(made / "edited.mp4", kept / "edited.mp4")
            record = json.loads((made / "result.json").read_text()) | {"took_s": 0}  # says nothing about this device
            (kept / "result.json").write_text(json.dumps(record))


if __name__ == "__main__":
    make(sys.argv[1])
