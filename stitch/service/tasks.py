"""What the page asks of the stages, as tasks of plain values: on ZeroGPU they cross into a process of their own.

Only here is a family touched: whatever the page itself shows of one is plain (`families`).
"""

import base64
import json
import math
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from stitch.core import geometry, looks
from stitch.core.errors import EditError
from stitch.core.images import jpeg_address
from stitch.core.records import Edit, Surveyed, Text
from stitch.core.settings import Settings
from stitch.faces.survey import survey
from stitch.families.family import Family
from stitch.families.load import about as about_family
from stitch.methods.stit import edit, pipeline, preview, stitching
from stitch.runtime import runs
from stitch.runtime.disk import disk_errors, write_whole
from stitch.runtime.jobs import Done, Work
from stitch.service.sessions import About, Entry
from stitch.study import estimate, report
from stitch.study.report import face_of, frame_at
from stitch.video import files
from stitch.video.trust import disclosure

_SURVEYS = "surveys"
_MEASURED_S = 0.2
_PEOPLE_SHOWN = 8
_CHUNKS = 6
_SMALL_FACE = 0.45  # of the frame's height
_NO_FACE = "No face here, at {:.1f} s: move the player to one."


@dataclass(frozen=True, eq=False)
class Pictures:
    """A preview.

    Attributes:
        views: name -> original and edited, each an address that holds the picture; or a sheet alone.
        note: what it is worth, in a sentence.
        likeness: of the encoder's drawing to the face, see `stitch.methods.stit.likeness`; None where it was not asked.
        least_likeness: that of the family's own world, see `families.family.Family`.
    """

    views: dict[str, tuple[str, str]]
    note: str
    likeness: float | None = None
    least_likeness: float = -1.0

    def frame(self) -> bytes:
        """The edited frame as a JPEG file."""
        return base64.b64decode(self.views["Frame"][1].partition(",")[2])


def load(family: Family) -> Work:
    """The family is loaded, so that what is wrong with it is known: yields `Done` with its name."""
    yield Done(family.name)


def find_faces(family: Family, entry: Entry) -> Work:
    """Find the faces of a run's clip; those of this family that were found before are taken up again.

    Yields progress, then `Done` with how many people, frames without a face and cuts there are.
    """
    surveyed = yield from survey(entry.clip, Settings.preset("fast"), family, entry.folder / _SURVEYS)
    with disk_errors("this run"):
        write_whole(_people_file(entry, family.name), json.dumps(_people(surveyed)).encode())
    yield Done({"people": len(surveyed.boxes), "lost": surveyed.lost, "cuts": int(surveyed.shots[-1])})


def measure(family: Family, entry: Entry) -> Work:
    """Measure what a run's clip will cost in each quality: yields progress, then `Done` with the costs by quality."""
    presets = about_family(family.name).presets
    yield Done((yield from estimate.measure_presets(family, files.probe(entry.clip), presets, _MEASURED_S)))


def render(family: Family, entry: Entry, about: About) -> Work:
    """All six stages with what is set. Stopped or killed at any moment, it goes on from what is kept when it is started
    again: yields progress and pictures, then `Done` with the name of the folder of results.
    """
    settings, edits, began = about.settings(), about.edits(), time.time()
    edit.resolve(edits, family)  # what cannot be made is said before anything is learned
    prepared = yield from pipeline.prepare(entry.clip, entry.work(about), settings, family, entry.folder / _SURVEYS)
    # In several chunks, so that the first finished frames are seen while there is time to stop.
    chunk = settings.stitching.chunk or edit_chunk(family, len(prepared.crops.frames))
    settings = replace(settings, stitching=replace(settings.stitching, chunk=chunk))
    folder = entry.shown / about.version
    with disk_errors("the results"):
        folder.mkdir(parents=True, exist_ok=True)
    outputs = (folder / "edited.mp4", folder / "side_by_side.mp4", folder / "stages.png")
    result = yield from pipeline.edit_video(prepared, edits, outputs[0], settings, family, *outputs[1:])
    told = pipeline.describe(edits)
    report.keep(folder, about.title, result, prepared, {
        "told": told, "disclosure": disclosure.sentence(told, language=about.language),
        "took_s": time.time() - began, "look": about.look, "family": about.family,
        "face": about.face, "begin_s": about.begin_s, "settings": asdict(settings)})
    yield Done(about.version)


def preview_frame(family: Family, entry: Entry, about: About, at_s: float) -> Work:
    """One frame of a run's clip with what is set: yields `Done(Pictures)` alone.

    Args:
        family: loaded.
        entry: the run.
        about: what is set.
        at_s: the player's position, seconds into the file.
    """
    edits, face = _face(family, entry, about, at_s)
    if face.crop is None:
        whole = jpeg_address(face.frame, 960)
        yield Done(Pictures({"Frame": (whole, whole)}, _NO_FACE.format(at_s)))
        return
    edited = preview.edited_frame(face, edits, about.settings(), family) if edits else face.frame
    near = (face_of(face.frame, face.quad), face_of(edited, face.quad))
    views = {
        "Frame": (jpeg_address(face.frame, 960), jpeg_address(edited, 960)),
        "Face": (jpeg_address(near[0], 640), jpeg_address(near[1], 640)),
    }
    if np.ptp(face.quad[:, 1]) < _SMALL_FACE * len(face.frame):  # what changes is seen in the face alone
        views = dict(reversed(views.items()))
    note = (
        "Nothing is changed yet: move a slider." if not edits
        else "This face is learned already; only the seam is still missing." if face.tuned
        else "A quick look: the face is not learned yet, so only the change is laid over the frame."
    )
    yield Done(Pictures(views, note, preview.likeness_of(face, family), family.least_likeness))


def preview_strengths(family: Family, entry: Entry, about: About, at_s: float) -> Work:
    """The face at a time of a run's clip under many strengths of what is set: yields `Done(Pictures)` alone, with no
    view where there is no face. Args as `preview_frame`.

    Raises:
        EditError: nothing is set.
    """
    edits, face = _face(family, entry, about, at_s)
    if face.crop is None:
        yield Done(Pictures({}, _NO_FACE.format(at_s)))
    elif not edits:
        raise EditError("nothing to compare yet: move a slider, or write a text")
    else:
        sheet = jpeg_address(preview.strengths(face, edits, family), 1400)
        said = "Strength from left to right; at 0 it is the face of your clip."
        yield Done(Pictures({"Strengths": (sheet, sheet)}, said))


def edit_chunk(family: Family, frames: int) -> int:
    """Frames to stitch at once: what the device takes, but never more than a sixth of the clip."""
    return max(1, min(stitching.chunk_for(family.generator), math.ceil(frames / _CHUNKS)))


def people(entry: Entry, family: str) -> list[str]:
    """Pictures of the faces that `find_faces` found, in their order."""
    with suppress(OSError, ValueError):
        return json.loads(_people_file(entry, family).read_text())
    return []


def _face(family: Family, entry: Entry, about: About, at_s: float) -> tuple[list[Edit | Text], preview.Face]:
    """What is set, and the face that it is set for."""
    edits = looks.from_plain(about.look).edits()
    if edits:
        edit.resolve(edits, family)
    place = entry.work(about), entry.folder / _SURVEYS
    return edits, preview.face_at(entry.clip, *place, at_s, about.settings(), family)


def _people_file(entry: Entry, family: str) -> Path:
    return entry.folder / f"people-{runs.key_of(family)}.json"


def _people(surveyed: Surveyed) -> list[str]:
    """A picture of everybody where they are seen best, with the whole face in it."""
    shown = []
    for landmarks, index in zip(surveyed.landmarks[:_PEOPLE_SHOWN], surveyed.best.tolist(), strict=False):
        quad = geometry.corners(*geometry.quads_from_landmarks(landmarks[index][None].astype(np.float64)))[0]
        shown.append(jpeg_address(face_of(frame_at(surveyed.info, index), quad), 200))
    return shown
