"""What the page asks of the stages, as tasks of plain values: on ZeroGPU they cross into a process of their own.

Only here is a family touched: whatever the page itself shows of one is plain (`families`).
"""

import base64
import json
import math
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from stitch.core import geometry, looks
from stitch.core.errors import EditError, StitchError
from stitch.core.images import jpeg_address
from stitch.core.records import Edit, Surveyed, Text
from stitch.core.settings import Settings
from stitch.faces.survey import survey
from stitch.families import load
from stitch.families.family import Family
from stitch.runtime import runs
from stitch.runtime.disk import disk_errors, write_whole
from stitch.runtime.jobs import Done, Work
from stitch.runtime.slices import LONGEST_S
from stitch.stit import edit, pipeline, preview, stitching
from stitch.study import estimate, report
from stitch.study.report import face_of, frame_at
from stitch.video import files
from stitch.video.sheet import contact_sheet

_SURVEYS = "surveys"
_MEASURED_S = 0.2
_PEOPLE_SHOWN = 8
_CHUNKS = 6
GRID_STRENGTHS = (-3.0, -1.5, 0.0, 1.5, 3.0)
GRID_TEXT_STRENGTHS = (0.0, 1.0, 2.0, 3.0, 4.0)
GRID_CHANNELS = (5, 10, 20, 40)


@dataclass(frozen=True)
class Open:
    """Load a family, so that what is wrong with it is known."""

    family: str
    slice_s: float = 60.0

    def run(self, family: Family) -> Work:
        """Yields `Done` with its name."""
        yield Done(family.name)


@dataclass(frozen=True)
class FindFaces:
    """Find the faces of a clip; those of this family that were found before are taken up again.

    Attributes:
        family: its name.
        clip: the file.
        folder: of the run; the faces are kept there.
        slice_s: how long it may work at once where time is dealt out.
    """

    family: str
    clip: Path
    folder: Path
    slice_s: float = 60.0

    def run(self, family: Family) -> Work:
        """Yields progress, then `Done` with how many people, frames without a face and cuts there are."""
        surveyed = yield from survey(self.clip, Settings.preset("fast"), family, self.folder / _SURVEYS)
        with disk_errors("this run"):
            write_whole(_people_file(self.folder, self.family), json.dumps(_people(surveyed)).encode())
        people, cuts = len(surveyed.boxes), int(surveyed.shots[-1])
        yield Done({"people": people, "lost": surveyed.lost, "cuts": cuts})


@dataclass(frozen=True)
class Measure:
    """Measure what a clip will cost in each quality, by doing a little of everything."""

    family: str
    clip: Path
    slice_s: float = 60.0

    def run(self, family: Family) -> Work:
        """Yields progress, then `Done` with the costs by quality."""
        presets, info = load.about(self.family).presets, files.probe(self.clip)
        sizes = {name: estimate.sized(family, info, one).generator.resolution for name, one in presets.items()}
        family = family.at_size(sizes["fast"])
        fast = yield from estimate.measure(family, info, presets["fast"], _MEASURED_S)
        paper = replace(fast, tune_step_s=estimate.tune_step_s(family, info, presets["paper"], _MEASURED_S))
        yield Done({
            name: estimate.scaled(paper if name == "paper" else fast, (sizes[name] / sizes["fast"]) ** 2)
            for name in presets
        })


@dataclass(frozen=True)
class Choice:
    """Everything a render depends on.

    Attributes:
        family: its name.
        clip: the file.
        folder: of the run.
        shown: where its results are served from.
        face: which, counted from 1.
        begin_s, end_s: the part to render.
        quality: a preset's name.
        look: the edits, plain.
        badge: write "edited" into the picture.
        title: of the clip, for file names.
    """

    family: str
    clip: Path
    folder: Path
    shown: Path
    face: int
    begin_s: float
    end_s: float | None
    quality: str
    look: dict[str, Any]
    badge: bool = False
    title: str = "clip"

    def settings(self) -> Settings:
        """For all stages."""
        base = Settings.preset(self.quality, load.about(self.family).presets)  # type: ignore[arg-type]
        return replace(
            base, video=replace(base.video, start_s=self.begin_s, end_s=self.end_s),
            faces=replace(base.faces, face=self.face), merge=replace(base.merge, badge=self.badge),
        )

    def edits(self) -> list[Edit | Text]:
        """What is asked for.

        Raises:
            EditError: nothing is.
        """
        if edits := looks.from_plain(self.look).edits():
            return edits
        raise EditError("nothing to change yet: move a slider, or say in words what the face should be")

    @property
    def work(self) -> Path:
        """Where stages 1-3 are kept for this choice; another look of the same part goes into the same folder."""
        key = runs.key_of([self.family, self.face, self.begin_s, self.end_s, self.quality])
        return self.folder / "work" / key

    @property
    def result(self) -> str:
        """Name of this choice's folder of results."""
        return runs.key_of([self.work.name, self.look, self.badge])


@dataclass(frozen=True)
class Render:
    """All six stages. Stopped or killed at any moment, the same task goes on from what is kept.

    Attributes:
        choice: what to render.
        slice_s: how long it may work at once where time is dealt out.
        fresh: nothing of it was begun before, so that how long it takes says something.
    """

    choice: Choice
    slice_s: float = LONGEST_S
    fresh: bool = False

    @property
    def family(self) -> str:
        """Name of the family whose networks it wants."""
        return self.choice.family

    def run(self, family: Family) -> Work:
        """Yields progress and pictures, then `Done` with the name of the folder of results."""
        choice, settings, began = self.choice, self.choice.settings(), time.time()
        edits = choice.edits()
        edit.resolve(edits, family)  # what cannot be made is said before anything is learned
        prepared = yield from pipeline.prepare(choice.clip, choice.work, settings, family, choice.folder / _SURVEYS)
        # In several chunks, so that the first finished frames are seen while there is time to stop.
        chunk = settings.stitching.chunk or edit_chunk(family, len(prepared.crops.frames))
        settings = replace(settings, stitching=replace(settings.stitching, chunk=chunk))
        folder = choice.shown / choice.result
        with disk_errors("the results"):
            folder.mkdir(parents=True, exist_ok=True)
        outputs = (folder / "edited.mp4", folder / "side_by_side.mp4", folder / "stages.png")
        result = yield from pipeline.edit_video(prepared, edits, outputs[0], settings, family, *outputs[1:])
        about = {"look": choice.look, "family": choice.family, "face": choice.face, "begin_s": choice.begin_s}
        report.keep(folder, choice.title, result, prepared, {
            "told": pipeline.describe(edits), "took_s": time.time() - began, **about, "settings": asdict(settings)})
        yield Done(choice.result)


@dataclass(frozen=True, eq=False)
class Pictures:
    """A preview.

    Attributes:
        views: name -> original and edited, each an address that holds the picture; or a grid alone.
        note: what it is worth, in a sentence.
        face: whether there is one in this frame.
        likeness_db: how exactly the encoder alone redraws it, in what the family draws; None where it was not asked.
        own_db: the same for faces of the family's own world, 0 if nobody knows.
    """

    views: dict[str, tuple[str, str]]
    note: str
    face: bool = True
    likeness_db: float | None = None
    own_db: float = 0.0

    def frame(self) -> bytes:
        """The edited frame as a JPEG file."""
        return base64.b64decode(self.views["Frame"][1].partition(",")[2])


@dataclass(frozen=True)
class Preview:
    """One frame of a choice, or a grid of strengths.

    Attributes:
        choice: what is set on the page.
        at_s: the player's position, seconds into the file.
        grid: many strengths of one edit instead of one picture.
    """

    choice: Choice
    at_s: float
    grid: bool = False
    slice_s: float = 20.0

    @property
    def family(self) -> str:
        """Name of the family whose networks it wants."""
        return self.choice.family

    def run(self, family: Family) -> Work:
        """Yields `Done(Pictures)` alone."""
        edits = looks.from_plain(self.choice.look).edits()
        if edits:
            edit.resolve(edits, family)
        choice = self.choice
        surveys = choice.folder / _SURVEYS
        face = preview.face_at(choice.clip, choice.work, surveys, self.at_s, choice.settings(), family)
        if face.crop is None:
            whole = jpeg_address(face.frame, 960)
            said = f"No face here, at {self.at_s:.1f} s: move the player to one."
            yield Done(Pictures({"Frame": (whole, whole)}, said, face=False))
            return
        if self.grid:
            yield Done(_grid(face, edits, family))
            return
        edited = preview.edited_frame(face, edits, self.choice.settings(), family) if edits else face.frame
        note = (
            "This face is learned already; only the seam is still missing." if face.tuned
            else "A quick look: the face is not learned yet, so only the change is laid over the frame."
        )
        near = (face_of(face.frame, face.quad), face_of(edited, face.quad))
        views = {
            "Frame": (jpeg_address(face.frame, 960), jpeg_address(edited, 960)),
            "Face": (jpeg_address(near[0], 640), jpeg_address(near[1], 640)),
        }
        if np.ptp(face.quad[:, 1]) < 0.45 * len(face.frame):  # too small to see what changes: the face comes first
            views = dict(reversed(views.items()))
        said = note if edits else "Nothing is changed yet: move a slider."
        yield Done(Pictures(views, said, likeness_db=preview.likeness_db(face, family), own_db=family.likeness_db))


def pictures(run: Callable[[Any], Work], task: Preview) -> Pictures:
    """A preview, at once."""
    with closing(run(task)) as work:
        for event in work:
            if isinstance(event, Done):
                return event.record
    raise StitchError("the preview took too long; try again")


def edit_chunk(family: Family, frames: int) -> int:
    """Frames to stitch at once: what the device takes, but never more than a sixth of the clip."""
    return max(1, min(stitching.chunk_for(family.generator), math.ceil(frames / _CHUNKS)))


def people(folder: Path, family: str) -> list[str]:
    """Pictures of the faces that `FindFaces` found, in their order."""
    with suppress(OSError, ValueError):
        return json.loads(_people_file(folder, family).read_text())
    return []


def _grid(face: preview.Face, edits: list[Edit | Text], family: Family) -> Pictures:
    """The clip's own face under each strength, and down either how selective a text is or a row for each slider."""
    if not edits:
        raise EditError("nothing to compare yet: move a slider, or write a text")
    texts = [one for one in edits if isinstance(one, Text)]
    rows: list[tuple[str, list[Edit | Text]]]
    if texts:
        strengths = GRID_TEXT_STRENGTHS
        rows = [(name, [replace(texts[0], strength=value, channels=channels) for value in strengths])
                for name, channels in zip(("very few", "few", "more", "many"), GRID_CHANNELS, strict=True)]
    else:
        strengths = GRID_STRENGTHS
        names = [one.name for one in edits if isinstance(one, Edit)][:4]
        rows = [(name.replace("_", " "), [Edit(name, value) for value in strengths]) for name in names]
    cells = [[preview.edited_crop(face, [one], family) for one in row] for _, row in rows]
    caption = f"'{texts[0].target}': how much may change" if texts else "strength of each edit alone"
    sheet = jpeg_address(contact_sheet(cells, [f"{value:+g}" if value else "0" for value in strengths],
                                  [label for label, _ in rows], caption), 1400)
    return Pictures({"Strengths": (sheet, sheet)}, "Strength from left to right; at 0 it is the face of your clip.")


def _people_file(folder: Path, family: str) -> Path:
    return folder / f"people-{runs.key_of(family)}.json"


def _people(surveyed: Surveyed) -> list[str]:
    """A picture of everybody where they are seen best, with the whole face in it."""
    shown = []
    for landmarks, index in zip(surveyed.landmarks[:_PEOPLE_SHOWN], surveyed.best.tolist(), strict=False):
        quad = geometry.corners(*geometry.quads_from_landmarks(landmarks[index][None].astype(np.float64)))[0]
        shown.append(jpeg_address(face_of(frame_at(surveyed.info, index), quad), 200))
    return shown
