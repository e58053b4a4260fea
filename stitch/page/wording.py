"""How the page says things: in plain words, without what only the keeper of the machine or a program can use."""

import re
from dataclasses import replace
from typing import Any

from stitch.core import looks
from stitch.core.records import Edit
from stitch.methods.stit.pipeline import describe

_PATH = re.compile(r"\s?(?<![\w.:/])/(?:[^\s/:;,']+/)+[^\s:;,']*")
_COMMAND = re.compile(r"[,;]?\s*(?:or |and )?[^,;]*(?:--[a-z]|python |'stitch |python -m)[^,;]*")
_NAME = re.compile(r"(?<![\w/.-])[a-z0-9]+(?:_[a-z0-9]+)+(?![\w/.-])")


def kept_for(seconds: float) -> str:
    """Where clips are kept and for how long, in short (docs/privacy.md says all of it)."""
    span = f"{seconds / 86400:.0f} days" if seconds > 86400 else f"{seconds / 3600:.0f} hours"
    return (f"Every clip that you choose is kept here, for your browser alone, until you delete it, and at most {span} "
            "after its last change. Deleting takes the clip, all its versions and all that was learned from it.")


def spaced(name: str) -> str:
    """An edit's name for people: 'hair_grey' is 'hair grey'."""
    return name.replace("_", " ")


def told(look: Any) -> str:
    """What a look does, given as `Look.plain` has it, in a line; empty if nothing.

    Raises:
        EditError: it cannot be read.
    """
    edits = looks.from_plain(look).edits()
    return describe([replace(one, name=spaced(one.name)) if isinstance(one, Edit) else one for one in edits])


def plainly(text: str) -> str:
    """A message without paths and options of a command line."""
    said = _COMMAND.sub("", _PATH.sub("", text)).strip(" ;,:")
    return said or "that is not possible here"


def problem(text: str) -> dict[str, Any]:
    """What went wrong, in words, for a part "status"."""
    said = _NAME.sub(lambda found: spaced(found[0]), plainly(text))
    return {"title": "That did not work", "notes": [said[:1].upper() + said[1:]], "problem": True}
