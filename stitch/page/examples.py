"""Finished examples, which a visitor opens with one click; `python -m stitch.page.examples` makes them."""

import json
import shutil
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from stitch.families.miniature import SAMPLE
from stitch.page.parts import ASSETS

FOLDER = ASSETS / "examples"
LOOKS: dict[str, dict[str, Any]] = {
    "smile": {"sliders": {"smile": 2.5}},
    "older": {"sliders": {"age": 2.5}},
    "beard": {"sliders": {"beard": 2.5, "glasses": 2.0}},
    "words": {"words": "a face with red lipstick"},
}


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
def known() -> tuple[Example, ...]:
    """All of them; none where they were not made."""
    found = []
    for name in LOOKS:
        with suppress(OSError, ValueError):
            found.append(Example(name, FOLDER / name, json.loads((FOLDER / name / "result.json").read_text())))
    return tuple(found)


def make(clip: Path) -> None:
    """Render all of them anew.

    Args:
        clip: the example clip, of the miniature family's world.
    """
    import torch

    from stitch.page.families import Families
    from stitch.page.tasks import Choice, Render

    family = Families(torch.device("cpu"))("miniature")
    for name, look in LOOKS.items():
        with tempfile.TemporaryDirectory() as root:
            choice = Choice("miniature", clip, Path(root), Path(root), 1, 0.0, None, "fast", look)
            for _ in Render(choice).run(family):
                pass
            shutil.rmtree(FOLDER / name, ignore_errors=True)
            (FOLDER / name).mkdir(parents=True)
            made = Path(root) / choice.result
            shutil.copyfile(made / "edited.mp4", FOLDER / name / "edited.mp4")
            record = json.loads((made / "result.json").read_text()) | {"took_s": 0}  # says nothing about this device
            (FOLDER / name / "result.json").write_text(json.dumps(record))


if __name__ == "__main__":
    make(SAMPLE)
