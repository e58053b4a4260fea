"""One frame through the stages at once, without stitching tuning: what an edit will look like, in a second or so."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from stitch.core import geometry
from stitch.core.errors import RunError
from stitch.core.events import finished
from stitch.core.images import to_bytes, to_tensor
from stitch.core.records import ClipInfo, Edit, Surveyed, Text
from stitch.core.settings import Settings, VideoSettings
from stitch.faces.survey import survey, unsearched
from stitch.faces.tracking import track_of
from stitch.families.family import Family, Generator
from stitch.methods.stit import align, detail, edit, masks, merge, stitching
from stitch.methods.stit.likeness import likeness
from stitch.methods.stit.pipeline import TUNED, Prepared, prepare
from stitch.runtime import disk, runs
from stitch.runtime.recent import Recent
from stitch.video import files
from stitch.video.sheet import contact_sheet

_PREPARED: Recent[Prepared] = Recent(2)
_SURVEYED: Recent[Surveyed] = Recent(2)
_FACES: Recent["Face"] = Recent(4)
_STRENGTHS = (-3.0, -1.5, 0.0, 1.5, 3.0)
_TEXT_STRENGTHS = (0.0, 1.0, 2.0, 3.0, 4.0)
_SELECTIVE = {"very few": 5, "few": 10, "more": 20, "many": 40}  # style channels that a text may move
_MOST_ROWS = 4


@dataclass(frozen=True, eq=False)
class Face:
    """The face in one frame, ready to be edited again and again.

    Attributes:
        index: of the frame in the trimmed clip.
        at_s: when it is shown, seconds into the trimmed clip.
        frame: [H,W,3] uint8.
        crop: [S,S,3] uint8, or None where there is no face.
        quad: [4,2], where the crop lies in the frame.
        pivot: [1,L,D].
        drawn: what the generator makes of that, [1,3,S,S] in [-1,1].
        person: pivots of the same person as far as they are known, [N,L,D].
        generator: the tuned one, or the family's own before PTI.
        tuned: which of them.
    """

    index: int
    at_s: float
    frame: np.ndarray
    crop: np.ndarray | None
    quad: np.ndarray
    pivot: Tensor | None
    drawn: Tensor | None
    person: Tensor | None
    generator: Generator
    tuned: bool


def face_at(
    source: Path, run_dir: Path, surveys: Path | None, at_s: float, settings: Settings, family: Family
) -> Face:
    """The face at a time of a clip, as it is learned where it is, else by the encoder alone.

    What it takes is kept in memory for the next preview of the same clip, which reads and hashes nothing again; with
    the same moment and the same person it decodes nothing either.

    Args:
        source: the clip.
        run_dir: where `pipeline.prepare` keeps its stages, or will.
        surveys: as for `faces.survey`.
        at_s: seconds into the clip; the nearest frame, of the part that is learned, is taken.
        settings: as for `prepare`.
        family: loaded.
    Returns:
        The face; `at_s` in it counts from the beginning of the part.
    Raises:
        RunError: the clip is not surveyed yet.
        FaceError: the person is too small to be edited.
        VideoError: the clip cannot be read.
    """
    prepared = _prepared(source, run_dir, surveys, settings, family)
    if prepared is not None:
        here_s = at_s - prepared.info.start_s
        learned = (run_dir, prepared.run, _index(prepared.info, here_s))
        return _FACES.of(learned, lambda: from_prepared(prepared, here_s, family))
    start_s = settings.video.start_s
    settings = replace(settings, video=VideoSettings())
    clip = (source, runs.clip_of(source)["sha256"], family)

    def surveyed() -> Surveyed:
        if unsearched(source, settings, family, surveys):
            raise RunError("the clip is still being looked at; wait until its faces are found")
        return finished(survey(source, settings, family, surveys))

    seen = _SURVEYED.of((*clip, settings.faces.threshold, settings.faces.max_gap_s), surveyed)
    quick = (*clip, settings.faces, settings.align, _index(seen.info, at_s))
    face = _FACES.of(quick, lambda: from_survey(seen, at_s, settings, family))
    return replace(face, at_s=max(0.0, face.at_s - start_s))


def forget(folder: Path) -> None:
    """Drop what is kept in memory of clips and runs below a folder, because it is deleted."""
    for kept in (_PREPARED, _SURVEYED, _FACES):
        kept.forget(lambda key: isinstance(key, tuple) and folder in (key[0], *key[0].parents))


def _prepared(
    source: Path, run_dir: Path, surveys: Path | None, settings: Settings, family: Family
) -> Prepared | None:
    """The prepared run, if there is one and nobody works in it that has not been read before."""
    try:
        state = disk.state_of(run_dir / TUNED)
    except OSError:
        return None
    key = (run_dir, state, source, runs.clip_of(source)["sha256"], settings, family)
    try:
        if _PREPARED.known(key) is None and not runs.is_prepared(run_dir):
            return None
        return _PREPARED.of(key, lambda: finished(prepare(source, run_dir, settings, family, surveys)))
    except RunError:
        return None  # it is being rendered: the quick look is all there is


def from_prepared(prepared: Prepared, at_s: float, family: Family) -> Face:
    """The face at a time of a prepared clip: quad, pivot and tuned generator are its own.

    Args:
        prepared: of `pipeline.prepare`.
        at_s: seconds into the trimmed clip; the nearest frame is taken.
        family: loaded.
    """
    info, crops = prepared.info, prepared.crops
    index = _index(info, at_s)
    frame = _frame(info, index)
    row = crops.row_of.get(index)
    here = index / float(info.rate)
    if row is None:
        return Face(index, here, frame, None, np.empty((0, 2)), None, None, None, prepared.generator, True)
    pivot = prepared.pivots.w[row : row + 1].to(_device(family))
    crop, drawn = np.asarray(crops.images[row]), edit.render(prepared.generator, pivot)
    return Face(
        index, here, frame, crop, crops.quads[row], pivot, drawn, prepared.pivots.w, prepared.generator, True
    )


@torch.no_grad()
def from_survey(surveyed: Surveyed, at_s: float, settings: Settings, family: Family) -> Face:
    """The face at a time of a clip that is not prepared: the encoder alone finds its pivot, in one pass.

    Args:
        surveyed: of `faces.survey`.
        at_s: seconds into the surveyed clip; the nearest frame is taken.
        settings: which face, and stage 1's.
        family: loaded.
    Raises:
        FaceError: the person is too small to be edited.
    """
    info = surveyed.info
    index = _index(info, at_s)
    frame = _frame(info, index)
    here = index / float(info.rate)
    nobody = Face(index, here, frame, None, np.empty((0, 2)), None, None, None, family.generator, False)
    if settings.faces.face > len(surveyed.boxes):
        return nobody
    track = finished(track_of(surveyed, info, settings.faces))
    if not track.usable[index]:
        return nobody
    quad = align.smooth_quads(track, float(info.rate), settings.align)[index]
    crop = geometry.sample_crop(frame, quad, family.generator.resolution)
    pivot = family.encoder(to_tensor(crop[None]).to(_device(family))).float()
    drawn = edit.render(family.generator, pivot)
    return Face(index, here, frame, crop, quad, pivot, drawn, pivot, family.generator, False)


@torch.no_grad()
def edited_frame(face: Face, edits: Sequence[Edit | Text], settings: Settings, family: Family) -> np.ndarray:
    """The frame with its face edited and pasted, the seam not yet tuned away (stages 4 and 6).

    Before PTI the generator draws somebody who is merely like the person; then only what the edit changes in that
    drawing is laid over the crop, which stays sharp (ours).

    Args:
        face: of `from_prepared` or `from_survey`.
        edits: at least one.
        settings: of stages 5 and 6.
        family: loaded.
    Returns:
        [H,W,3] uint8; the frame itself where there is no face.
    Raises:
        EditError: an edit that the family cannot make.
    """
    if face.crop is None or face.drawn is None:
        return face.frame
    edited = _edited(face, edits, family)
    source, beyond = to_tensor(face.crop[None]).to(edited.device), None
    if face.tuned:
        kept = detail.weights(source, face.drawn, edited, settings.stitching.detail)
        all_of_it = torch.ones_like(kept)  # no stitching follows that would hold the surroundings still
        edited = detail.laid(source, face.drawn, edited, all_of_it, settings.stitching.detail).over(edited)
        beyond = merge.Source(face.crop, detail.levels(kept)[0])
    regions = stitching.regions(family.parser, source, edited, settings.stitching)
    dilated = regions.dilated_mask[0, 0].cpu().numpy()
    radius_px = masks.radius_px(settings.stitching.dilation, len(face.crop))
    return merge.paste(face.frame, to_bytes(edited)[0], dilated, face.quad, radius_px, settings.merge, beyond)


@torch.no_grad()
def edited_crop(face: Face, edits: Sequence[Edit | Text], family: Family) -> np.ndarray:
    """The edited face alone, [S,S,3] uint8, for comparing many edits (stage 4); of strength 0 it is the crop itself
    before PTI, and the generator's drawing of it after.

    Raises:
        EditError: an edit that the family cannot make.
        ValueError: there is no face.
    """
    if face.pivot is None:
        raise ValueError("face: got a frame without one, expected one with a pivot")
    return to_bytes(_edited(face, edits, family))[0]


def strengths(face: Face, edits: Sequence[Edit | Text], family: Family) -> np.ndarray:
    """A sheet of the clip's own face under each strength, from left to right; down either how selective the first text
    is, or each of the sliders alone.

    Args:
        face: of `from_prepared` or `from_survey`.
        edits: at least one.
        family: loaded.
    Returns:
        [H,W,3] uint8.
    Raises:
        EditError: an edit that the family cannot make.
        ValueError: there is no face, or no edit.
    """
    if not edits:
        raise ValueError("edits: got none, expected at least one")
    text = next((one for one in edits if isinstance(one, Text)), None)
    columns = _STRENGTHS if text is None else _TEXT_STRENGTHS
    rows: dict[str, list[Edit | Text]]
    if text is None:
        names = [one.name for one in edits if isinstance(one, Edit)][:_MOST_ROWS]
        rows = {name.replace("_", " "): [Edit(name, value) for value in columns] for name in names}
    else:
        rows = {said: [replace(text, strength=value, channels=channels) for value in columns]
                for said, channels in _SELECTIVE.items()}
    cells = [[edited_crop(face, [one], family) for one in row] for row in rows.values()]
    caption = "strength of each edit alone" if text is None else f"'{text.target}': how much may change"
    return contact_sheet(cells, [f"{value:+g}" if value else "0" for value in columns], list(rows), caption)


def likeness_of(face: Face, family: Family) -> float:
    """How like the face the encoder's drawing is, see `stitch.methods.stit.likeness`.

    Raises:
        ValueError: there is no face.
    """
    if face.crop is None or face.pivot is None:
        raise ValueError("face: got a frame without one, expected one with a pivot")
    return likeness(to_tensor(face.crop[None]).to(face.pivot.device), face.pivot, family)


def _edited(face: Face, edits: Sequence[Edit | Text], family: Family) -> Tensor:
    """e_i, or before PTI the crop with what the edit changes in the drawing laid over it."""
    edits, _ = edit.spared(edits, face.person, family)  # type: ignore[arg-type]
    plan = edit.resolve(edits, family)
    edited = edit.render(face.generator, plan.codes(face.pivot, [face.at_s], face.generator))  # type: ignore[arg-type]
    if face.tuned:
        return edited
    return to_tensor(face.crop[None]).to(edited.device) + edited - face.drawn  # type: ignore[index,operator]


def _index(info: ClipInfo, at_s: float) -> int:
    return min(max(0, round(at_s * float(info.rate))), info.frames - 1)


def _frame(info: ClipInfo, index: int) -> np.ndarray:
    start_s = info.start_s + index / float(info.rate)
    with closing(files.frames(replace(info, start_s=start_s, frames=1))) as frames:
        return next(frames)


def _device(family: Family) -> torch.device:
    return next(family.generator.parameters()).device
