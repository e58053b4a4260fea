"""Stitch: edit faces in real videos so that the result looks filmed."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stitch.errors import EditError, FaceError, RunError, StitchError, VideoError, WeightsError
    from stitch.events import Event, Notice, Preview, Progress
    from stitch.family import Family
    from stitch.pipeline import Prepared, edit_video, prepare
    from stitch.records import Edit, EditResult, Text
    from stitch.settings import Settings

__all__ = [
    "Edit", "EditError", "EditResult", "Event", "FaceError", "Family", "Notice", "Prepared", "Preview", "Progress",
    "RunError", "Settings", "StitchError", "Text", "VideoError", "WeightsError", "edit_video", "prepare",
]

_HOMES = ("errors", "events", "settings", "records", "family", "pipeline")


def __getattr__(name: str) -> Any:
    # Found when asked for: `python -m stitch --help` answers without loading torch.
    if name in __all__:
        for home in _HOMES:
            module = importlib.import_module(f"stitch.{home}")
            if hasattr(module, name):
                return getattr(module, name)
    raise AttributeError(f"module 'stitch' has no attribute {name!r}")
