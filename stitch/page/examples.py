"""Finished examples, which a visitor opens with one click; `python -m stitch.page.examples FAMILY` makes them."""

import json
import shutil
import sys
from functools import cache
from typing import Any

from stitch.families import load
from stitch.page.parts import ASSETS
from stitch.runtime.device import chosen
from stitch.runtime.disk import scratch
from stitch.service import tasks
from stitch.service.sessions import Limits, Store
from stitch.study import report

FOLDER = ASSETS / "examples"


@cache
def known(family: str) -> dict[str, dict[str, Any]]:
    """Records of a family's by the names of their folders; none where they were not made."""
    made = report.kept(FOLDER / family)
    return {name: made[name] for name in load.about(family).looks if name in made}


def make(family: str) -> None:
    """Render all of a family's anew.

    Raises:
        ValueError: it has no clip to try it with.
    """
    about = load.about(family)
    if about.example is None:
        raise ValueError(f"family: got {family}, expected one with an example")
    loaded = load.load_family(family, chosen("cpu"))
    with scratch() as root:
        store = Store(root, Limits())
        entry, _ = store.session(store.new_secret()).add(about.example, family)
        for name, look in about.looks.items():
            set_to = entry.change(look=dict(look))
            for _ in tasks.render(loaded, entry, set_to):
                pass
            kept, made = FOLDER / family / name, entry.shown / set_to.version
            shutil.rmtree(kept, ignore_errors=True)
            kept.mkdir(parents=True)
            shutil.copyfile(made / "edited.mp4", kept / "edited.mp4")
            record = json.loads((made / "result.json").read_text()) | {"took_s": 0}  # says nothing about this device
            (kept / "result.json").write_text(json.dumps(record))


if __name__ == "__main__":
    make(sys.argv[1])
