"""What the page asks of the stages, as tasks of plain values: on ZeroGPU they cross into a process of their own."""

import json
import math
import time
import zipfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from stitch.core.errors import EditError, RunError, StitchError
from stitch.core.records import Edit, EditResult, FrameMeasures, Surveyed, Text
from stitch.core.settings import Settings
from stitch.faces.survey import survey
from stitch.families.family import Family
from stitch.page import looks
from stitch.page.jobs import Done, Work
from stitch.page.slices import LONGEST_S
from stitch.runtime import runs
from stitch.runtime.disk import disk_errors, whole, write_whole
from stitch.stit import pipeline, preview
from stitch.stit.edit import resolve
from stitch.study import estimate
from stitch.video import files
from stitch.video.sheet import contact_sheet

_SURVEYS = "surveys"
_MEASURED_S = 0.2
_PEOPLE_SHOWN = 8
_THUMBNAIL_PX = 200
_PREVIEW_PX = 960
_WORST_SHOWN = 6
GRID_STRENGTHS = (-3.0, -1.5, 1.5, 3.0)
GRID_TEXT_STRENGTHS = (1.0, 2.0, 3.0, 4.0)
GRID_CHANNELS = (5, 10, 20, 40)


@dataclass(frozen=True)
class Looked:
    """What a first look at a clip found.

    Attributes:
        people: how many faces it shows.
        lost: in how many frames there is none.
        cuts: how many.
    """

    people: int
    lost: int
    cuts: int


@dataclass(frozen=True)
class Look:
    """Find the faces of a clip.

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
        """Yields progress, then `Done(Looked)`."""
        surveyed = yield from survey(self.clip, Settings.preset("fast"), family, self.folder / _SURVEYS)
        _keep_people(self.folder, surveyed)
        yield Done(Looked(len(surveyed.boxes), surveyed.lost, int(surveyed.shots[-1])))


@dataclass(frozen=True)
class Measure:
    """Measure what a clip will cost in each quality, by doing a little of everything.

    Attributes:
        family: its name.
        clip: the file.
        slice_s: how long it may work at once where time is dealt out.
    """

    family: str
    clip: Path
    slice_s: float = 60.0

    def run(self, family: Family) -> Work:
        """Yields progress, then `Done` with the costs by quality."""
        info, settings = files.probe(self.clip), Settings.preset("fast")
        fast = yield from estimate.measure(family, info, settings, _MEASURED_S)
        paper_step_s = estimate.tune_step_s(family, info, Settings.preset("paper"), _MEASURED_S)
        yield Done({"draft": fast, "fast": fast, "paper": replace(fast, tune_step_s=paper_step_s)})


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
        base = Settings.preset(self.quality)  # type: ignore[arg-type]
        return replace(
            base,
            video=replace(base.video, start_s=self.begin_s, end_s=self.end_s),
            faces=replace(base.faces, face=self.face),
            merge=replace(base.merge, badge=self.badge),
        )

    def edits(self, family: Family) -> list[Edit | Text]:
        """What is asked for.

        Raises:
            EditError: nothing is, or the family cannot make it.
        """
        edits = looks.from_plain(self.look).edits()
        if not edits:
            raise EditError("nothing to change yet: move a slider, or say in words what the face should be")
        resolve(edits, family)
        return edits

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
    """All six stages. Stopped or killed at any moment, the same task goes on from what is kept."""

    choice: Choice
    slice_s: float = LONGEST_S

    @property
    def family(self) -> str:
        """Name of the family whose networks it wants."""
        return self.choice.family

    def run(self, family: Family) -> Work:
        """Yields progress and pictures, then `Done` with the name of the folder of results."""
        choice, settings, began = self.choice, self.choice.settings(), time.time()
        edits = choice.edits(family)
        prepared = yield from pipeline.prepare(choice.clip, choice.work, settings, family, choice.folder / _SURVEYS)
        folder = choice.shown / choice.result
        with disk_errors("the results"):
            folder.mkdir(parents=True, exist_ok=True)
        outputs = (folder / "edited.mp4", folder / "side_by_side.mp4", folder / "stages.png")
        result = yield from pipeline.edit_video(prepared, edits, outputs[0], settings, family, *outputs[1:])
        with disk_errors("the results"):
            _keep_result(folder, choice, result, pipeline.describe(edits), time.time() - began)
        yield Done(choice.result)


@dataclass(frozen=True, eq=False)
class Pictures:
    """A preview.

    Attributes:
        original, edited: [H,W,3] uint8, or a grid alone in `edited`.
        note: what it is worth, in a sentence.
    """

    original: np.ndarray | None
    edited: np.ndarray
    note: str


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
            resolve(edits, family)
        choice = self.choice
        face = preview.face_at(
            choice.clip, choice.work, choice.folder / _SURVEYS, self.at_s, choice.settings(), family
        )
        if face.crop is None:
            yield Done(Pictures(face.frame, face.frame, f"No face here, at {self.at_s:.1f} s: move the player to one."))
            return
        if self.grid:
            yield Done(self._grid(face, edits, family))
            return
        edited = preview.edited_frame(face, edits, self.choice.settings(), family) if edits else face.frame
        note = (
            "This face is learned already; only the seam is still missing." if face.tuned
            else "A quick look: the face is not learned yet, so only the change is laid over the frame."
        )
        shown = note if edits else "Nothing is changed yet: move a slider."
        yield Done(Pictures(small(face.frame, _PREVIEW_PX), small(edited, _PREVIEW_PX), shown))

    def _grid(self, face: preview.Face, edits: list[Edit | Text], family: Family) -> Pictures:
        """Strengths across, and down either how selective a text is, or one row for each slider."""
        if not edits:
            raise EditError("nothing to compare yet: move a slider, or write a text")
        texts = [one for one in edits if isinstance(one, Text)]
        rows: list[tuple[str, list[Edit | Text]]]
        if texts:
            strengths = GRID_TEXT_STRENGTHS
            rows = [
                (f"{channels} ch.", [replace(texts[0], strength=value, channels=channels) for value in strengths])
                for channels in GRID_CHANNELS
            ]
        else:
            strengths = GRID_STRENGTHS
            sliders = [one for one in edits if isinstance(one, Edit)][:4]
            rows = [(one.name, [Edit(one.name, value) for value in strengths]) for one in sliders]
        pictures = [[preview.edited_crop(face, [one], family) for one in row] for _, row in rows]
        sheet = contact_sheet(
            pictures, [f"{value:+g}" for value in strengths], [label for label, _ in rows],
            f"'{texts[0].target}'" if texts else "strength of each edit alone",
        )
        return Pictures(None, sheet, "Strength from left to right. Each cell is the face alone, before stitching.")


def pictures(run: Callable[[Any], Work], task: Preview) -> Pictures:
    """A preview, at once."""
    with closing(run(task)) as work:
        for event in work:
            if isinstance(event, Done):
                return event.record
    raise StitchError("the preview took too long; try again")


def people(folder: Path) -> list[Path]:
    """Pictures of the faces that `Look` found, in their order."""
    return sorted(folder.glob("person-*.jpg"))


def result_of(folder: Path) -> dict[str, Any]:
    """What is known of a finished result.

    Raises:
        RunError: it is gone.
    """
    try:
        return json.loads((folder / "result.json").read_text())
    except (OSError, ValueError) as error:
        raise RunError("this result is no longer here; render it again") from error


def small(image: np.ndarray, side_px: int) -> np.ndarray:
    """A picture shrunk to fit a square."""
    picture = Image.fromarray(image)
    picture.thumbnail((side_px, side_px), Image.Resampling.LANCZOS)
    return np.asarray(picture)


def _keep_people(folder: Path, surveyed: Surveyed) -> None:
    """A picture of each person, for choosing one."""
    info = surveyed.info
    with disk_errors("this run"):
        for number, index in enumerate(surveyed.best[:_PEOPLE_SHOWN].tolist()):
            start_s = info.start_s + index / float(info.rate)
            with closing(files.frames(replace(info, start_s=start_s, frames=1))) as frames:
                frame = next(frames)
            box = surveyed.boxes[number, index]
            middle, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]).max() * 0.75
            corners = np.rint([*(middle - half), *(middle + half)]).astype(int).tolist()
            face = Image.fromarray(frame).crop(corners).resize((_THUMBNAIL_PX, _THUMBNAIL_PX), Image.Resampling.LANCZOS)
            face.save(folder / f"person-{number + 1}.jpg", quality=88)


def _keep_result(folder: Path, choice: Choice, result: EditResult, told: str, took_s: float) -> None:
    """Everything beside the clips: settings, measures frame by frame, the worst frames, and a zip of all."""
    settings = {
        "made_with": "Stitch", "edits": told, "look": choice.look, "family": choice.family, "face": choice.face,
        "settings": asdict(choice.settings()),
    }
    write_whole(folder / "settings.json", json.dumps(settings, indent=1).encode())
    per_frame = result.per_frame
    record = {
        "told": told, "frames": result.info.frames, "edited_frames": result.edited_frames,
        "rate": float(result.info.rate), "measures": result.measures, "notes": list(result.notes),
        "took_s": took_s, "per_frame": {} if per_frame is None else _columns(per_frame),
        "worst": [] if per_frame is None else _keep_worst(folder, result, per_frame),
    }
    names = ("edited.mp4", "side_by_side.mp4", "stages.png", "settings.json")
    with whole(folder / "all.zip") as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name in names:
            archive.write(folder / name, f"{_safe(choice.title)}/{name}")
    write_whole(folder / "result.json", json.dumps(record).encode())


def _columns(per_frame: FrameMeasures) -> dict[str, list[float | None]]:
    return {
        name: [float(value) if math.isfinite(value) else None for value in column]
        for name, column in asdict(per_frame).items()
    }


def _keep_worst(folder: Path, result: EditResult, per_frame: FrameMeasures) -> list[dict[str, Any]]:
    """Pictures of the frames that deserve a look: where the face is drawn least well, and where it changes most."""
    reasons = (
        (per_frame.psnr_tuned_db, "least exact"),
        (-np.abs(per_frame.tl_id - 1), "changes most"),
        (-per_frame.ring_stitched, "clearest seam"),
    )
    chosen: dict[int, str] = {}
    for column, why in reasons:
        order = np.argsort(np.where(np.isfinite(column), column, np.inf))
        for row in order[: _WORST_SHOWN // len(reasons)]:
            if np.isfinite(column[row]):
                chosen.setdefault(int(per_frame.frames[row]), why)
    info = files.probe(result.path)
    worst = []
    for index, why in sorted(chosen.items()):
        at_s = index / float(info.rate)
        with closing(files.frames(replace(info, start_s=at_s, frames=1))) as frames:
            frame = next(frames)
        name = f"frame-{index}.jpg"
        Image.fromarray(small(frame, 320)).save(folder / name, quality=85)
        worst.append({"at_s": at_s, "why": why, "picture": name})
    return worst


def _safe(title: str) -> str:
    """A title as a folder's name in an archive."""
    return "".join(letter if letter.isalnum() or letter in " -_" else "_" for letter in title).strip() or "clip"
