"""The person who was edited, in both clips: where the face lies, and in which moments it is seen in both."""

from collections.abc import Generator
from dataclasses import dataclass, replace

import numpy as np

from stitch.core import geometry
from stitch.core.errors import FaceError
from stitch.core.events import Event, finished
from stitch.core.records import ClipInfo, Surveyed, Track
from stitch.core.settings import AlignSettings, FaceSettings, Settings, VideoSettings
from stitch.faces.survey import survey
from stitch.faces.tracking import track_of
from stitch.families.family import Family
from stitch.methods.stit import align
from stitch.study.evaluate.pair import Pair, Side

_LEAST_PX = 32
_FARTHEST = 1.0
"""Distances of the eyes by which an edited face may lie off the original's."""


@dataclass(frozen=True, eq=False)
class Faces:
    """One person in both clips, over the T moments of a pair.

    Attributes:
        quads: [T,4,2] corners of the aligned square, the original's for both, in px of the common frame; NaN where the
            face is not seen in both clips.
        original, edited: [T,5|68,2] landmarks as they were detected, px of the common frame; NaN where they were not.
        shots: [T] int64, number of the original's shot.
        missing: why nothing can be said of the face, or "".
        notes: what to know about who is compared, in sentences.
    """

    quads: np.ndarray
    original: np.ndarray
    edited: np.ndarray
    shots: np.ndarray
    missing: str = ""
    notes: tuple[str, ...] = ()

    @property
    def seen(self) -> np.ndarray:
        """[T] bool, the face is seen in both clips."""
        return np.isfinite(self.quads).all((1, 2))


def follow(pair: Pair, family: Family, face: int = 1) -> Generator[Event, None, Faces]:
    """Find the person in both clips. In the edited one it is who stands where the original's stands.

    Args:
        pair: the clips.
        family: whose detector looks.
        face: which person of the original, counted as everywhere.
    Yields:
        Progress in frames.
    Returns:
        The person, or why there is none.
    Raises:
        RunError: what is found cannot be kept in the user's cache folder.
    """
    surveys: list[Surveyed] = []
    for side in (pair.original, pair.edited):
        part = VideoSettings(side.info.start_s, side.info.end_s)
        surveys.append((yield from survey(side.info.path, Settings(video=part), family)))
    people = [len(surveyed.boxes) for surveyed in surveys]
    nobody = np.full((len(pair), 4, 2), np.nan)
    points = surveys[0].landmarks.shape[2:]
    nothing = Faces(nobody, np.full((len(pair), *points), np.nan), np.full((len(pair), *points), np.nan),
                    np.zeros(len(pair), np.int64))
    try:
        source = _moments(_track(surveys[0], pair.original.info, face), pair.original)
    except FaceError as error:
        return replace(nothing, missing=f"{pair.original.info.path.name}: {error}")
    found = []
    for number in range(1, people[1] + 1):
        try:
            found.append(_moments(_track(surveys[1], pair.edited.info, number), pair.edited))
        except FaceError:
            continue  # a passer-by who is too small, or not there in this part
    name = pair.edited.info.path.name
    if not found:
        return replace(nothing, missing=f"{name}: no face was found in it that is large enough to be compared")
    apart = [_apart(source, one) for one in found]
    nearest = int(np.argmin(apart))
    if not apart[nearest] <= _FARTHEST:
        return replace(nothing, missing=f"{name}: it shows no face where the original's face {face} is")
    edited = found[nearest]
    seen = source.usable & edited.usable
    quads = align.smooth_quads(source, float(pair.rate), AlignSettings())
    notes = []
    if people[0] > 1:
        notes.append(f"{pair.original.info.path.name} shows {people[0]} people: face {face} is compared (--face "
                     "chooses another); what changes of the others counts as background")
    if not seen.all():
        notes.append(f"the face is seen in both clips in {int(seen.sum())} of {len(pair)} frames: what is said of the "
                     "face holds for these")
    return Faces(
        quads=np.where(seen[:, None, None], quads, np.nan),
        original=np.where(source.found[:, None, None], source.landmarks, np.nan),
        edited=np.where(edited.found[:, None, None], edited.landmarks, np.nan),
        shots=source.shots, notes=tuple(notes),
    )


def _track(surveyed: Surveyed, info: ClipInfo, face: int) -> Track:
    return finished(track_of(surveyed, info, FaceSettings(face=face, min_size_px=_LEAST_PX)))


def _moments(track: Track, side: Side) -> Track:
    """A track over the moments of a pair, in its common frame."""
    return Track(side.points(track.landmarks[side.picks]), track.found[side.picks], track.usable[side.picks],
                 track.shots[side.picks], track.faces)


def _apart(source: Track, other: Track) -> float:
    """How far two faces are from each other, in distances of the eyes; infinite where they are never seen together."""
    both = source.usable & other.usable
    if not both.any():
        return np.inf
    first, second = source.landmarks[both], other.landmarks[both]
    left, right = geometry.eyes(first)
    off = np.linalg.norm(first.mean(1) - second.mean(1), axis=1) / np.linalg.norm(right - left, axis=1)
    return float(np.median(off))
