"""Two clips in, measures and verdicts out, each with its unit, or the reason why it is not there."""

from collections.abc import Generator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from stitch.core import metrics
from stitch.core.errors import EditError
from stitch.core.events import Event, Notice
from stitch.core.records import Drawn, Edit
from stitch.core.settings import VideoSettings
from stitch.families.family import Family
from stitch.methods.stit import edit
from stitch.study.evaluate.faces import Faces, follow
from stitch.study.evaluate.look import Looked, look
from stitch.study.evaluate.pair import Pair, pair
from stitch.study.evaluate.prepared import Redrawn, made_with, redrawn, redrawn_by
from stitch.study.verdicts import BARS, Bar, Verdict

UNSEEN_LEVELS, UNSEEN_EYES = 0.5, 1e-3
"""Flicker below half a level of 255, and jitter below a thousandth of the eyes' distance, is nothing to anybody: both
clips' count as at least this, so that a still clip's ratio says something."""
ELSEWHERE = 12.0
"""Mean levels of 255 beyond which backgrounds are those of different moments."""

UNMEASURED = {
    "flicker": "the face is nowhere seen in two frames in a row of one shot",
    "jitter": "the face is nowhere detected in three frames in a row of one shot",
    "background_mean": "the face fills the whole picture",
    "background_largest": "the face fills the whole picture",
}
UNDEFINED = "it has no finite value for these clips"
"""Why what is otherwise measured is not."""


@dataclass(frozen=True, eq=False)
class Asked:
    """What is to be compared.

    Attributes:
        original, edited: clips or photos.
        face: which person of the original.
        edits: what was asked of the edit, so that its success can be judged; sliders by name.
        run: folder of the prepared run that the edit was made from.
        drawn: the same of a method that keeps no run.
        video: which part of the original was edited; a run says it itself.
    """

    original: Path
    edited: Path
    face: int = 1
    edits: tuple[Edit, ...] = ()
    run: Path | None = None
    drawn: Drawn | None = None
    video: VideoSettings | None = None


@dataclass(frozen=True)
class Measure:
    """One figure.

    Attributes:
        name: as in `verdicts.BARS`, or "edit NAME".
        title, hint: for people.
        unit: of the value.
        limits: of the verdicts, in words.
        value: None where it was not measured.
        verdict: of the value; None where it says nothing.
        reason: why there is no value, or no verdict, or "".
        digits: after the point that are worth showing.
    """

    name: str
    title: str
    hint: str
    unit: str
    limits: str
    value: float | None = None
    verdict: Verdict | None = None
    reason: str = ""
    digits: int = 3


@dataclass(frozen=True, eq=False)
class Evaluation:
    """All that was found.

    Attributes:
        asked: what was compared.
        pair: the clips on one timeline.
        faces: the person in them.
        measures: in the order in which they are shown.
        columns: [T] by name, NaN where there is nothing.
        family: who read the faces.
        attributes: mean move of each of the family's attributes, in std over its faces.
        notes: what to know, in sentences.
    """

    asked: Asked
    pair: Pair
    faces: Faces
    measures: tuple[Measure, ...]
    columns: Mapping[str, np.ndarray]
    family: str
    attributes: Mapping[str, float]
    notes: tuple[str, ...]

    @property
    def reader(self) -> str:
        """Who says what moved."""
        return _reader(self.family)

    def record(self, per_frame: bool = False) -> dict[str, Any]:
        """Plain JSON values; nothing in it is NaN.

        Args:
            per_frame: with all columns.
        """
        sides = {
            name: {"path": str(side.info.path), "width": side.info.width, "height": side.info.height,
                   "rate": str(side.info.rate), "frames": side.info.frames}
            for name, side in (("original", self.pair.original), ("edited", self.pair.edited))
        }
        columns = {name: [round(float(value), 6) if np.isfinite(value) else None for value in column]
                   for name, column in self.columns.items()}
        return {
            **sides, "compared_frames": len(self.pair), "face_frames": int(self.faces.seen.sum()),
            "rate": str(self.pair.rate), "family": self.family, "notes": list(self.notes),
            "measures": {one.name: {key: value for key, value in asdict(one).items() if key not in ("name", "digits")}
                         for one in self.measures},
            "attributes": {"read_by": self.reader, "independent": False, "unit": "std", "moved": dict(self.attributes)},
            **({"per_frame": columns} if per_frame else {}),
        }


def evaluate(asked: Asked, family: Family, maker: Family | None = None) -> Generator[Event, None, Evaluation]:
    """Measure an edit, whoever made it (section 4.2 and beyond).

    Args:
        asked: what is compared.
        family: whose networks read faces, and that of the run.
        maker: that of the run where it is another.
    Yields:
        Progress in frames, and Notices of what had to be adapted.
    Returns:
        The measures.
    Raises:
        VideoError: a clip cannot be read.
        EditError: an edit that the family does not have.
    """
    for one in asked.edits:
        require_judgeable(one, family)
    known = made_with(asked.run)
    both = pair(asked.original, asked.edited, asked.video if known is None else known[0].video)
    for note in both.notes:
        yield Notice(note)
    faces = yield from follow(both, family, asked.face)
    for note in (*faces.notes, faces.missing):
        if note:
            yield Notice(note)
    looked = yield from look(both, faces, family)
    if asked.drawn is not None:
        drawn = yield from redrawn_by(asked.drawn, both, family)
    else:
        drawn = yield from redrawn(asked.run, both, maker or family)
    return assembled(asked, both, faces, looked, drawn, family.name)


def require_judgeable(asked: Edit, family: Family) -> None:
    """Refuses an edit whose success no single figure tells.

    Args:
        asked: a slider.
        family: whose.
    Raises:
        EditError: raw, with strengths over time, of strength 0, or not the family's.
    """
    if asked.raw or not isinstance(asked.strength, float) or not asked.strength:
        raise EditError(f"edit {asked.name!r}: to be judged it needs one strength other than 0, such as 2")
    edit.resolve([asked], family)


def assembled(
    asked: Asked, both: Pair, faces: Faces, looked: Looked, drawn: Redrawn, family: str
) -> Evaluation:
    """The measures of what was read.

    Args:
        asked: what was compared.
        both, faces, looked, drawn: what was read.
        family: name of who read it.
    """
    seen = faces.seen
    columns, missing = _of_faces(faces, looked)
    columns |= drawn.columns
    missing |= drawn.missing
    columns["background_mean"], columns["background_largest"] = looked.background.T
    columns["ring"] = looked.ring
    columns["flicker_original"], columns["flicker_edited"] = looked.flicker.T
    columns["jitter_original"], columns["jitter_edited"] = (
        metrics.jitter(points, faces.shots) for points in (faces.original, faces.edited)
    )
    outside = looked.background[np.isfinite(looked.background).all(1)]
    values: dict[str, float] = {
        "flicker": _ratio(looked.flicker[:, 0], looked.flicker[:, 1], UNSEEN_LEVELS),
        "jitter": _ratio(columns["jitter_original"], columns["jitter_edited"], UNSEEN_EYES),
        "identity": _mean(columns["identity"]),
        "ring": _mean(columns["ring"]),
        **{name: _mean(drawn.columns[name]) for name in ("psnr_tuned_db", "ssim", "lpips") if name in drawn.columns},
    }
    if len(outside):
        values |= {"background_mean": float(outside[:, 0].mean()), "background_largest": float(outside[:, 1].max())}
    if seen.sum() > 1:
        before, after = looked.identities[seen].swapaxes(0, 1)
        values |= {"tl_id": metrics.tl_id(before, after), "tg_id": metrics.tg_id(before, after)}
    if "ring_naive" in drawn.columns:
        naive, stitched = (_mean(drawn.columns[name]) for name in ("ring_naive", "ring_stitched"))
        values["boundary_ratio"] = stitched / max(naive, 1e-9)
    moved = (looked.attributes[:, 1] - looked.attributes[:, 0])[seen]
    attributes = dict(zip(looked.names, moved.mean(0).tolist(), strict=True)) if seen.any() else {}
    measures = [_measure(name, bar, values.get(name), missing.get(name, "")) for name, bar in BARS.items()
                if name != "edit"]
    for one in asked.edits:
        sign = np.sign(float(one.strength))  # type: ignore[arg-type]  # `evaluate` takes no other
        bar = replace(BARS["edit"], title=f"Edit {one.name}")
        value = sign * attributes[one.name] if one.name in attributes else None
        measures.append(_measure(f"edit {one.name}", bar, value, faces.missing))
    notes = [*both.notes, *faces.notes, *([faces.missing] if faces.missing else []), *looked.notes]
    if not faces.missing and values.get("background_mean", 0) > ELSEWHERE:
        notes.append(f"outside the face the clips differ by {values['background_mean']:.0f} levels on average, as much "
                     "as pictures of different moments do: look whether both begin at the same one")
    return Evaluation(asked, both, faces, tuple(measures), columns, family, attributes, tuple(notes))


def _of_faces(faces: Faces, looked: Looked) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Identity frame by frame, and why measures of the face are not there."""
    seen, total = faces.seen, len(faces.quads)
    columns = {name: np.full(total, np.nan) for name in ("identity", "tl_id", "tg_id")}
    over_time = ("tl_id", "tg_id", "flicker", "jitter")
    if faces.missing:
        whole = "of the whole picture, since no face is seen in both clips"
        return columns, {**dict.fromkeys(("identity", "ring", *over_time), faces.missing),
                         **dict.fromkeys(("background_mean", "background_largest"), whole)}
    before, after = looked.identities[seen].swapaxes(0, 1)
    columns["identity"][seen] = metrics.cosines(before, after)
    if seen.sum() < 2:
        return columns, dict.fromkeys(over_time, "only one frame shows the face: nothing can be seen over time")
    columns["tl_id"][np.flatnonzero(seen)[1:]] = metrics.local_ratios(before, after)
    columns["tg_id"][seen] = metrics.global_ratios(before, after)
    return columns, {}


def _measure(name: str, bar: Bar, value: float | None, reason: str) -> Measure:
    """A figure that is a number with its verdict, unless there is a reason not to give one; else the reason alone."""
    measure = Measure(name, bar.title, bar.hint, bar.unit, bar.limits, digits=bar.digits)
    if value is None or not np.isfinite(value):
        return replace(measure, reason=reason or UNMEASURED.get(name, UNDEFINED))
    return replace(measure, value=float(value), verdict=None if reason else bar.verdict(value), reason=reason)


def _reader(family: str) -> str:
    return f"the family {family}'s own encoder and directions"


def _mean(values: np.ndarray) -> float:
    """Of what is a number; NaN if nothing is."""
    values = values[np.isfinite(values)]
    return float(values.mean()) if len(values) else float("nan")


def _ratio(original: np.ndarray, edited: np.ndarray, least: float) -> float:
    """Of the means of where both are numbers, each taken as `least` at least; NaN if nothing is."""
    both = np.isfinite(original) & np.isfinite(edited)
    if not both.any():
        return float("nan")
    return max(float(edited[both].mean()), least) / max(float(original[both].mean()), least)
