"""A look: everything that was set on the page about the face, as plain values that can be kept, shared and checked."""

import base64
import binascii
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from stitch.core.errors import EditError
from stitch.core.records import Edit, Points, Text

Course = Literal["steady", "fade in", "part", "points"]
COURSES = {"Steady": "steady", "Fades in": "fade in", "Only a part": "part", "Points of your own": "points"}
RANGE = 3.0
POINTS = "0 % at 0 s, 100 % at 1 s"
_RAMP_S = 0.2
_LONGEST_TEXT = 200
_MOST_TEXTS = 3
_POINT = re.compile(r"\s*(-?[\d.]+)\s*(%?)\s*(?:@|at)\s*([\d.]+)\s*s?\s*")

# Starting points; what a family has no direction for is left out.
STARTERS: dict[str, dict[str, float]] = {
    "Happier": {"smile": 2.0},
    "Older": {"age": 2.5},
    "Younger": {"age": -2.0},
    "Evening out": {"lipstick": 2.0, "makeup": 2.0, "smile": 0.8},
    "Beard": {"beard": 2.5},
    "Glasses": {"glasses": 2.5},
}

SUGGESTIONS = (
    "a smiling face", "an old man with a beard", "a woman with long blond hair", "a face with glasses",
    "a young face with bangs", "a face with red lipstick",
)


@dataclass(frozen=True)
class Look:
    """Edits as the page shows them.

    Attributes:
        sliders: name -> strength, without those at zero.
        words: what the face should be, texts with a semicolon or a line's end between them.
        neutral: what it is now.
        words_strength: of the texts.
        channels: how many style channels a text may move; 0 is the family's choice.
        course: how the strength runs over time.
        begin_s, end_s: of the course, seconds into the rendered part.
        points: for the course "points": shares of the strength, as "0 % at 0 s, 100 % at 1.5 s" or "0@0, 1@1.5".
    """

    sliders: dict[str, float] = field(default_factory=dict)
    words: str = ""
    neutral: str = "a face"
    words_strength: float = 2.0
    channels: int = 0
    course: str = "steady"
    begin_s: float = 0.0
    end_s: float = 1.0
    points: str = POINTS

    def edits(self) -> list[Edit | Text]:
        """What it asks of the stages; may be empty.

        Raises:
            EditError: its course or texts cannot be read.
        """
        texts = [text.strip() for text in re.split(r"[;\n]", self.words) if text.strip()]
        if len(texts) > _MOST_TEXTS:
            raise EditError(f"{len(texts)} descriptions: at most {_MOST_TEXTS} are mixed; take some out")
        shares = self.shares()

        def over_time(strength: float) -> float | Points:
            return strength if shares is None else tuple((time, share * strength) for time, share in shares)

        edits: list[Edit | Text] = [Edit(name, over_time(value)) for name, value in self.sliders.items() if value]
        strength, channels = over_time(self.words_strength), self.channels or None
        return edits + [Text(text, self.neutral or "a face", strength, channels) for text in texts]

    def shares(self) -> Points | None:
        """(seconds, share of the strength) over time; None is steady.

        Raises:
            EditError: the points cannot be read, or a time comes before the one it should follow.
        """
        if self.course == "steady":
            return None
        if self.course == "points":
            return tuple(_point(part) for part in self.points.split(","))
        if self.end_s <= self.begin_s:
            raise EditError(f"strength over time: it ends at {self.end_s:g} s, before it begins at {self.begin_s:g} s; "
                            "choose a later end")
        if self.course == "fade in":
            return (self.begin_s, 0.0), (self.end_s, 1.0)
        ramp_s = min(_RAMP_S, (self.end_s - self.begin_s) / 4)
        rise = ((self.begin_s, 1.0),) if self.begin_s <= 0 else ((self.begin_s - ramp_s, 0.0), (self.begin_s, 1.0))
        return *rise, (self.end_s, 1.0), (self.end_s + ramp_s, 0.0)

    def plain(self) -> dict[str, Any]:
        """Plain values, as JSON keeps them."""
        return asdict(self)

    def link(self) -> str:
        """Letters for an address, from which `from_link` makes it again."""
        changed = {name: value for name, value in asdict(self).items() if value != getattr(Look(), name)}
        return base64.urlsafe_b64encode(json.dumps(changed, separators=(",", ":")).encode()).decode().rstrip("=")


def from_plain(plain: Any) -> Look:
    """A look from plain values that anybody may have written; what it does not know it refuses.

    Raises:
        EditError: it is not a look.
    """
    if not isinstance(plain, Mapping):
        raise EditError("this is not a look that was saved here; save one with 'Save' and load that")
    given: dict[str, Any] = {}
    defaults = asdict(Look())
    for name, value in plain.items():
        if name not in defaults:
            raise EditError(f"a look has no {str(name)[:40]!r}; save one with 'Save' and load that")
        if name == "sliders":
            if not (isinstance(value, Mapping) and all(isinstance(key, str) for key in value)):
                raise EditError("the sliders of this look cannot be read; save one with 'Save' and load that")
            given[name] = {key[:40]: _number(key[:40], strength) for key, strength in list(value.items())[:64]}
        elif isinstance(defaults[name], str):
            limit = _LONGEST_TEXT * _MOST_TEXTS if name == "words" else _LONGEST_TEXT
            if not isinstance(value, str) or len(value) > limit:
                raise EditError(f"{name}: at most {limit} letters are taken; say it more shortly")
            given[name] = value
        else:
            given[name] = type(defaults[name])(_number(name, value))
    if given.get("course", "steady") not in get_args(Course):
        raise EditError(f"strength over time: {given['course'][:40]!r} is not known; take one of {', '.join(COURSES)}")
    return Look(**given)


def from_link(letters: str) -> Look:
    """A look from an address.

    Raises:
        EditError: it is not one.
    """
    try:
        padded = letters[:4000] + "=" * (-len(letters[:4000]) % 4)
        return from_plain(json.loads(base64.urlsafe_b64decode(padded)))
    except (binascii.Error, ValueError, RecursionError) as error:
        raise EditError("the look in this link cannot be read; copy the whole link again") from error


def starters(names: Sequence[str]) -> dict[str, dict[str, float]]:
    """The starting points that a family's directions can make, by what they are called."""
    possible = {
        title: {name: value for name, value in sliders.items() if name in names} for title, sliders in STARTERS.items()
    }
    return {title: sliders for title, sliders in possible.items() if sliders}


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise EditError(f"{name}: {str(value)[:40]!r} is not a number; give one")
    return float(value)


def _point(text: str) -> tuple[float, float]:
    try:
        share, percent, seconds = _POINT.fullmatch(text).groups()  # type: ignore[union-attr]
        return float(seconds), float(share) / (100 if percent else 1)
    except (AttributeError, ValueError):
        said = f"strength over time: {text.strip()[:40]!r} cannot be read"
        raise EditError(f"{said}; write for instance {POINTS}") from None
