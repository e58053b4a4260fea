"""Stitch: edit faces in real videos so that the result looks filmed."""

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stitch.core.errors import EditError, FaceError, RunError, StitchError, VideoError, WeightsError
    from stitch.core.events import Event, Notice, Preview, Progress
    from stitch.core.records import Edit, EditResult, Text
    from stitch.core.settings import Settings
    from stitch.families.family import Family
    from stitch.families.load import about, load_family
    from stitch.methods.stit.pipeline import Prepared, edit_video, prepare

__version__ = "0.1.0"
__all__ = [
    "Edit", "EditError", "EditResult", "Event", "FaceError", "Family", "Notice", "Prepared", "Preview", "Progress",
    "RunError", "Settings", "StitchError", "Text", "VideoError", "WeightsError", "about", "edit_video", "load_family",
    "prepare",
]

# libgomp's threads stay awake while they wait for each other, for many milliseconds each time. On a machine of one's
# own that is the quickest; beside programs that want the cores it is most of what they are given. So few rounds are
# libgomp's own choice where threads outnumber cores; it reads this when torch is loaded.
_CROWDED = 1.5  # programs that want to run, for each core
if "OMP_WAIT_POLICY" not in os.environ and hasattr(os, "getloadavg"):
    if os.getloadavg()[0] > _CROWDED * (os.cpu_count() or 1):
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")

_HOMES = ("core.errors", "core.events", "core.settings", "core.records", "families.family", "families.load",
          "methods.stit.pipeline")


def __getattr__(name: str) -> Any:
    # Found when asked for: `python -m stitch --help` answers without loading torch.
    if name in __all__:
        for home in _HOMES:
            module = importlib.import_module(f"stitch.{home}")
            if hasattr(module, name):
                return getattr(module, name)
    raise AttributeError(f"module 'stitch' has no attribute {name!r}")
