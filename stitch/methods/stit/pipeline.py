"""The six stages in order: `prepare` is stages 1-3 and is kept in the run's folder, `edit_video` is stages 4-6."""

from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from PIL import Image

from stitch.core import geometry
from stitch.core.errors import VideoError, WeightsError
from stitch.core.events import Event, Notice, Preview, Progress
from stitch.core.images import to_bytes, to_tensor
from stitch.core.records import ClipInfo, Crops, Edit, EditResult, Pivots, Points, Text, Track, Tuned
from stitch.core.settings import Settings
from stitch.faces.survey import survey
from stitch.faces.tracking import track_of
from stitch.families.family import Family
from stitch.methods.stit import align, edit, invert, marking, masks, merge, refine, results, stitching, tune
from stitch.methods.stit.chunks import Prepared, device_of, edit_folder, stitched_frames, tuned_generator
from stitch.methods.stit.likeness import LOOKED_AT, likeness
from stitch.networks.formats import checkpoints
from stitch.runtime import disk, runs
from stitch.runtime.fingerprint import fingerprint_of
from stitch.runtime.optimizer import Recipe
from stitch.runtime.precision import Passes
from stitch.runtime.runs import EditFolder, Run
from stitch.video import files
from stitch.video.guarded import is_photo
from stitch.video.sheet import SideBySide, contact_sheet

T = TypeVar("T")

TUNED = "tuned.safetensors"
"""The tuned generator's file in a run's folder."""
SHEET_ROWS = 4
COVERED = 0.08
"""Share of the inner face that is hidden in a frame that is spoken of."""
PREVIEW_EVERY = 10


def prepare(
    source: Path, run_dir: Path | None, settings: Settings, family: Family, surveys: Path | None = None
) -> Generator[Event, None, Prepared]:
    """Stages 1-3: find and follow the face, align, invert, tune (sections 3.1 and 3.2).

    Every finished stage is kept. Killed at any moment, the same call goes on and gives the same result.

    Args:
        source: the clip.
        run_dir: the run's folder, new or of this very run; None takes one in the user's cache folder.
        settings: the trim and the parts of stages 1-3 count.
        family: loaded.
        surveys: where `faces.survey` keeps what it finds; None takes the user's cache folder.
    Returns:
        What `edit_video` wants.
    Raises:
        VideoError: the clip cannot be read.
        FaceError: no usable face.
        RunError: the folder belongs to something else, is in use, or cannot be written.
    """
    passes = Passes.of(settings.compute, device_of(family), family.wide)
    settings = replace(settings, compute=replace(settings.compute, precision=passes.precision))
    info = files.probe(source, settings.video)
    notes = [*family.notes, *info.notes]
    for note in notes:
        yield Notice(note)
    weights = fingerprint_of(
        family, "generator", "encoder", "detector", "parser", "perceptual", "tune_rates", "sizes", "refinement"
    )
    identity = runs.identity_of(settings, runs.clip_of(source), {"name": family.name, "weights": weights})
    run = Run(run_dir or runs.implicit_folder(identity), identity, source, settings)
    with run.locked():
        if run_dir is None:
            runs.tidy(run.folder.parent)
        track = yield from _tracked(run, info, settings, family, surveys, notes)
        family = sized(family, track, info, settings)
        crops = yield from _aligned(run, info, track, settings, family, notes)
        pivots = yield from _inverted(run, crops, family, passes, notes)
        tuned = yield from _tuned(run, crops, pivots, settings, family)
    return Prepared(run, info, track, crops, tuned, tuple(notes))


def edit_video(
    prepared: Prepared,
    edits: Sequence[Edit | Text],
    output: Path,
    settings: Settings,
    family: Family,
    comparison: Path | None = None,
    sheet: Path | None = None,
) -> Generator[Event, None, EditResult]:
    """Stages 4-6: edit, stitch, merge (sections 3.3 and 3.4), a chunk of frames at a time.

    Finished chunks are kept in the run's folder. Killed at any moment, the same call goes on and gives the same result;
    no file appears under its final name before it is whole.

    Args:
        prepared: of `prepare`, with the same family.
        edits: at least one; they add up.
        output: the edited clip, .mp4, or photo, .png, .jpg or .webp.
        settings: the parts of stages 5 and 6 and the encoder's quality count.
        family: loaded.
        comparison: where to write original and edited side by side.
        sheet: where to write a contact sheet like the paper's Figure 2.
    Returns:
        What was made, with its measures.
    Raises:
        EditError: an edit that the family cannot make.
        RunError: the run's folder is in use or cannot be written.
        TrustError: the result cannot be signed; nothing is written then.
        VideoError: an output cannot be written, or the clip can no longer be read.
    """
    family = family.at_size(prepared.crops.images.shape[1])
    disk.check_outputs(prepared.info.path, output, comparison, sheet, is_photo(prepared.info.path))
    passes = Passes.of(settings.compute, device_of(family), family.wide)
    edits, spared = edit.spared(edits, prepared.pivots.w, family)
    plan = edit.resolve(edits, family)
    marks = marking.marking(edits, describe(edits), prepared.info.path, settings.merge, family)
    for note in (*spared, *plan.notes):
        yield Notice(note)
    with prepared.run.locked():
        folder = edit_folder(prepared, edits, settings, family, passes)
        told = yield from stitched_frames(prepared, plan, folder, settings, family, passes)
        rows = np.unique(np.linspace(0, len(prepared.crops.frames), SHEET_ROWS * 2 + 1).astype(int)[1::2])
        pasted, notes = yield from _merged(prepared, folder, rows, marks, output, comparison, settings)
        if sheet is not None:
            _save_sheet(prepared, plan, rows, pasted, marks.told, sheet, family)
    said = prepared.notes + spared + plan.notes + told + notes
    return results.of(
        output, prepared.info, prepared.crops, folder.read("measures"), folder.read("identities"), said
    )


def describe(edits: Sequence[Edit | Text]) -> str:
    """Edits in a line for people: "smile +2, age -3, 'a face with glasses' +2"."""
    names = (one.name if isinstance(one, Edit) else f"'{' '.join(one.target.split())}'" for one in edits)
    return ", ".join(f"{name} {_strength(one.strength)}" for name, one in zip(names, edits, strict=True))


def sized(family: Family, track: Track, info: ClipInfo, settings: Settings) -> Family:
    """The family at the size that a clip's crops are drawn at.

    Args:
        family: loaded.
        track: the face in the clip.
        info: the clip.
        settings: stage 1's say the size, or how large it may be at most where it is left to the face's.
    Raises:
        WeightsError: the family does not draw at the size that was asked for.
    """
    if settings.align.size is not None or family.sizes is None or not track.usable.any():
        return family.at_size(settings.align.size or family.generator.resolution)
    quads = align.smooth_quads(track, float(info.rate), settings.align)
    largest = settings.align.largest or max(family.sizes.known)
    known = [size for size in family.sizes.known if size <= largest] or [min(family.sizes.known)]
    return family.at_size(geometry.crop_size(quads, known))


def _tracked(
    run: Run, info: ClipInfo, settings: Settings, family: Family, surveys: Path | None, notes: list[str]
) -> Generator[Event, None, Track]:
    """Before stage 1: the face in every frame. What there is to say is said again when it was found earlier."""
    if not run.finished("track"):
        told: list[str] = []
        surveyed = yield from survey(info.path, settings, family, surveys)
        track = yield from _overheard(track_of(surveyed, info, settings.faces), told)
        run.finish("track", {field.name: np.asarray(getattr(track, field.name)) for field in fields(track)}, notes=told)
    kept = run.load("track")
    yield from _said(run, "track", notes)
    return Track(kept["landmarks"], kept["found"], kept["usable"], kept["shots"], int(kept["faces"]))


def _overheard(stage: Generator[Event, None, T], told: list[str]) -> Generator[Event, None, T]:
    """The stage's events, its notices kept for later instead."""
    with closing(stage):
        while True:
            try:
                event = next(stage)
            except StopIteration as end:
                return end.value
            if isinstance(event, Notice):
                told.append(event.message)
            else:
                yield event


def _said(run: Run, stage: str, notes: list[str]) -> Generator[Notice, None, None]:
    """What a finished stage had to say, again, and added to the notes."""
    for note in run.facts(stage)["notes"]:
        notes.append(note)
        yield Notice(note)


def _aligned(
    run: Run, info: ClipInfo, track: Track, settings: Settings, family: Family, notes: list[str]
) -> Generator[Event, None, Crops]:
    size = family.generator.resolution
    if not run.finished("crops"):
        run.require(int(track.usable.sum()) * size * size * 3)
        told: list[str] = []
        with closing(files.frames(info, told.append)) as frames:
            stage = align.align(frames, track, float(info.rate), size, settings.align, run.folder)
            crops = yield from _overheard(stage, told)
            next(frames, None)  # only now can it tell what was damaged
        run.finish("crops", {"quads": crops.quads, "frames": crops.frames, "repeats": crops.repeats}, notes=told)
    kept = run.load("crops")
    yield from _said(run, "crops", notes)
    try:
        images = np.load(run.folder / align.FILE, mmap_mode="r")
    except (OSError, ValueError) as error:
        raise run.damaged(align.FILE) from error
    return Crops(images, **kept)


def _inverted(
    run: Run, crops: Crops, family: Family, passes: Passes, notes: list[str]
) -> Generator[Event, None, Pivots]:
    axes = family.refinement.basis.cpu() if family.refinement is not None else None
    if run.finished("pivots"):
        yield from _said(run, "pivots", notes)
        return Pivots(torch.from_numpy(run.load("pivots")["w"]), axes)
    pivots = yield from invert.invert(crops, family.encoder)
    told = _unlike(crops, pivots, family) + _covered(crops, family)
    if family.refinement is not None:
        pivots = yield from refine.refine(
            crops, pivots, family.generator, family.perceptual, family.refinement, passes
        )
    run.finish("pivots", {"w": pivots.w.cpu().numpy()}, notes=told)
    yield from _said(run, "pivots", notes)
    return Pivots(pivots.w, axes)


def _unlike(crops: Crops, pivots: Pivots, family: Family) -> list[str]:
    """What to say where the family hardly knows such faces."""
    rows = np.unique(np.linspace(0, len(crops.images) - 1, LOOKED_AT).round().astype(int))
    seen = likeness(to_tensor(crops.images[rows]).to(pivots.w.device), pivots.w[rows], family)
    if seen >= family.least_likeness:
        return []
    return [f"such a face is hardly known to the family {family.name} (likeness {max(0.0, seen):.0%} before tuning, "
            f"where its own have {family.least_likeness:.0%} and more): a drawn, covered or unusual face may not stay "
            "itself under an edit; try small strengths, or another --family"]


def _covered(crops: Crops, family: Family) -> list[str]:
    """What to say where something is before the face, a hand or a cup."""
    device = device_of(family)
    shares = torch.cat([masks.hidden(family.parser(to_tensor(crops.images[start : start + LOOKED_AT]).to(device))).cpu()
                        for start in range(0, len(crops.images), LOOKED_AT)])
    rows = (shares > COVERED).nonzero().flatten().tolist()
    if not rows:
        return []
    first, last = (int(crops.frames[row]) for row in (rows[0], rows[-1]))
    return [f"something is before the face in {len(rows)} of {len(crops.images)} frames (between {first} and {last}): "
            "it stays as it is, and what it hides is not edited"]


def _tuned(
    run: Run, crops: Crops, pivots: Pivots, settings: Settings, family: Family
) -> Generator[Event, None, Tuned]:
    kept, checkpoint = run.folder / TUNED, run.folder / "tuning.safetensors"
    if run.finished("tuned"):
        try:
            generator = tuned_generator(kept, family.generator)
        except WeightsError as error:
            raise run.damaged(kept.name) from error
        record = run.load("tuned")
        return Tuned(generator, Pivots(torch.from_numpy(record["w"])), torch.from_numpy(record["losses"]))
    with disk.disk_errors(f"run folder {run.folder}"):
        recipe = Recipe.of(
            settings.tune, family.tune_rates, Passes.of(settings.compute, device_of(family), family.wide), settings.seed
        )
        faces = partial(stitching.faces, family.parser, settings=settings.stitching)
        tuned = yield from tune.tune(crops, pivots, family.generator, family.perceptual, recipe, checkpoint, faces)
        checkpoints.save_module(kept, tuned.generator)
        disk.flush(kept)
    run.finish("tuned", {"losses": tuned.losses.numpy(), "w": tuned.pivots.w.numpy()})
    checkpoint.unlink(missing_ok=True)
    return tuned


def _merged(
    prepared: Prepared, folder: EditFolder, rows: np.ndarray, marks: marking.Marking, output: Path,
    comparison: Path | None, settings: Settings,
) -> Generator[Event, None, tuple[dict[int, np.ndarray], tuple[str, ...]]]:
    """Stage 6, one streaming pass that writes all videos; returns the pasted crops of some rows, and what to say."""
    info, crops = prepared.info, prepared.crops
    size = crops.images.shape[1]
    radius_px = masks.radius_px(settings.stitching.dilation, size)
    row_of = crops.row_of
    pasted: dict[int, np.ndarray] = {}
    with ExitStack() as stack:
        writer = files.writer(output, info, info, marks.note, settings.video.crf, marks.seal)
        stack.enter_context(writer)
        if comparison is not None:
            beside = SideBySide(info.width, info.height, ("original", f"edited: {marks.told}"))
            wide = replace(info, width=beside.width, height=beside.height)
            second = files.writer(comparison, wide, info, marks.note, settings.video.crf, marks.seal)
            stack.enter_context(second)
        frames = stack.enter_context(closing(files.frames(info)))
        badge, mark = marking.badge(info, settings.merge), marking.placed(info, crops, folder, settings)
        for index, frame in enumerate(frames):
            row = row_of.get(index)
            merged = frame
            if row is not None:
                tile, mask, kept = (folder.read(name, row, 1)[0] for name in ("tiles", "masks", "details"))
                source = merge.Source(crops.images[row], kept)
                merged = merge.paste(frame, tile, mask, crops.quads[row], radius_px, settings.merge, source)
                merged = merged if mark is None else mark(merged, (merged != frame).any(2))
                if row in rows and row not in pasted:
                    pasted[row] = geometry.sample_crop(merged, crops.quads[row], size)
            if badge is not None:
                merged = badge(merged)
            writer.add(merged)
            if comparison is not None:
                second.add(beside(frame, merged))
            if index % PREVIEW_EVERY == 0:
                yield Preview("merge", index, merged)
            yield Progress("merge", index + 1, info.frames)
    for note in writer.notes:
        yield Notice(note)
    return pasted, writer.notes


def _save_sheet(
    prepared: Prepared, plan: edit.Plan, rows: np.ndarray, pasted: Mapping[int, np.ndarray], caption: str, path: Path,
    family: Family,
) -> None:
    """Figure 2: a few frames at each stage."""
    crops, generator = prepared.crops, prepared.generator
    times_s = crops.frames[rows] / float(prepared.info.rate)
    pivots = prepared.pivots.w[rows].to(device_of(family))
    stages = {
        "original": crops.images[rows],
        "inversion": to_bytes(edit.render(family.generator, pivots)),
        "+ PTI": to_bytes(edit.render(generator, pivots)),
        "+ edit": to_bytes(edit.render(generator, plan.codes(pivots, times_s, generator))),
        "+ stitching": [pasted[int(row)] for row in rows],
    }
    labels = [f"{time:.2f} s" if prepared.info.frames > 1 else "" for time in times_s]
    picture = contact_sheet(list(zip(*stages.values(), strict=True)), list(stages), labels, caption)
    with disk.disk_errors(str(path), VideoError), disk.whole(path) as temporary:
        Image.fromarray(picture).save(temporary)


def _strength(strength: float | Points) -> str:
    if isinstance(strength, tuple):
        return " to ".join(f"{value:+g}" for _, value in strength)
    return f"{strength:+g}"
