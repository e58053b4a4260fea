"""Variants of the method on clips: each made and measured, a record that a killed study goes on from."""

import json
from collections.abc import Generator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from stitch.core.errors import EditError, StitchError, VideoError
from stitch.core.events import Event, Notice
from stitch.core.records import Edit
from stitch.core.settings import Settings
from stitch.families.family import Family
from stitch.methods.stit import edit, pipeline
from stitch.runtime import runs
from stitch.runtime.disk import disk_errors, write_whole
from stitch.runtime.fingerprint import fingerprint_of
from stitch.study.checks import clocked
from stitch.study.evaluate.measures import Asked, evaluate
from stitch.study.pictures import compared
from stitch.study.variants import FULL, Variant
from stitch.study.verdicts import BARS
from stitch.video import files
from stitch.video.guarded import is_photo

LOOKING = ("detect", "compare", "redraw")
"""Stages that are no part of an edit's cost, or that all variants share."""


@dataclass(frozen=True, eq=False)
class Study:
    """What is compared.

    Attributes:
        variants: made of every clip.
        edits: sliders of one strength each.
        settings: that variants change; the trim's start counts.
        frames: of each clip from there, None takes all.
        out: folder of clips and records.
    """

    variants: tuple[Variant, ...]
    edits: tuple[Edit, ...]
    settings: Settings
    frames: int | None
    out: Path


def run(clips: Sequence[Path], study: Study, family: Family) -> Generator[Event, None, dict[str, Any]]:
    """Make and measure every variant of every clip.

    What was made earlier with the same settings is taken as it is. A variant that cannot be made of a clip is told in a
    sentence, in the record too, and the others go on.

    Args:
        clips: named differently, at least one.
        study: what is compared.
        family: loaded.
    Yields:
        The stages' events, and Notices of what could not be made.
    Returns:
        Plain JSON values: what was asked, and by clip and variant seconds and measures.
    Raises:
        EditError: an edit that the family does not have, or that has no strength.
        VideoError: two clips have the same name.
        StitchError: nothing could be made of any clip.
    """
    names = [clip.stem for clip in clips]
    if len(set(names)) < len(names):
        raise VideoError(f"{', '.join(map(str, clips))}: two clips have the same name; rename one, for it names files")
    for one in study.edits:
        if one.raw or isinstance(one.strength, tuple) or not one.strength:
            raise EditError(f"edit {one.name!r}: a study needs one strength other than 0, such as 2")
    edit.resolve(study.edits, family)
    family = family.at_size(study.settings.align.size or family.generator.resolution)
    settings = replace(study.settings, align=replace(study.settings.align, size=family.generator.resolution))
    found: dict[str, dict[str, Any]] = {}
    for clip in clips:
        found[clip.stem] = yield from _clip(clip, replace(study, settings=settings), family)
    if not any("measures" in row for rows in found.values() for row in rows.values()):
        raise StitchError(next(row["failed"] for rows in found.values() for row in rows.values()))
    return {
        "family": family.name, "size_px": family.generator.resolution, "edits": [asdict(one) for one in study.edits],
        "settings": json.loads(json.dumps(asdict(settings))), "frames": study.frames,
        "variants": {one.name: one.title for one in study.variants}, "clips": found,
    }


def _clip(clip: Path, study: Study, family: Family) -> Generator[Event, None, dict[str, Any]]:
    """All variants of a clip, and the pictures that compare them."""
    folder = study.out / clip.stem
    try:
        settings = trimmed(clip, study.settings, study.frames)
        known = {"clip": runs.clip_of(clip), "edits": [asdict(one) for one in study.edits]}
    except StitchError as error:
        yield Notice(str(error))
        return {one.name: {"failed": str(error)} for one in study.variants}
    with disk_errors(f"folder {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
    rows: dict[str, Any] = {}
    for one in study.variants:
        key = runs.key_of(known | _key(one, settings, family))
        kept = folder / f"{one.name}.json"
        if (row := _kept(kept, key)) is None:
            try:
                row = yield from _made(clip, one, replace(study, settings=settings), family)
            except StitchError as error:
                yield Notice(f"{clip.name}, {one.title}: {error}")
                row = {"failed": str(error)}
            with disk_errors(f"folder {folder}"):
                write_whole(kept, json.dumps({"key": key} | row, indent=1, allow_nan=False).encode())
        rows[one.name] = row
    made = {one.title: folder / f"{one.name}.mp4" for one in study.variants if "measures" in rows[one.name]}
    if made:
        info = files.probe(clip, settings.video)
        quads, where = np.load(folder / "quads.npy"), folder / "side_by_side.mp4"
        yield from compared(info, quads, made, where, folder / "sheet.png", pipeline.describe(study.edits))
    return rows


def trimmed(clip: Path, settings: Settings, frames: int | None) -> Settings:
    """Settings whose trim leaves so many frames of a clip.

    Args:
        clip: the clip.
        settings: its trim says where to begin.
        frames: how many; None leaves the trim as it is.
    Raises:
        VideoError: the clip cannot be read, or is a photo.
    """
    info = files.probe(clip, settings.video)
    if is_photo(clip):
        raise VideoError(f"{clip}: a photo; a study compares clips, 'stitch evaluate' photos too")
    if frames is None:
        return settings
    end_s = info.start_s + frames / float(info.rate)
    if settings.video.end_s is not None:
        end_s = min(end_s, settings.video.end_s)
    return replace(settings, video=replace(settings.video, end_s=end_s))


def _made(clip: Path, variant: Variant, study: Study, family: Family) -> Generator[Event, None, dict[str, Any]]:
    """One variant of one clip, made and measured."""
    settings, maker = variant.settings(study.settings), variant.family(family)
    folder, output = study.out / clip.stem, study.out / clip.stem / f"{variant.name}.mp4"
    place = folder / "runs" / runs.key_of(_prepared_as(variant, settings, family, maker))
    with disk_errors(f"folder {place}"):
        place.mkdir(parents=True, exist_ok=True)
    took: dict[str, float] = {}
    work = variant.method(clip, study.edits, output, settings, maker, place)
    drawn = yield from clocked(work, took)
    asked = Asked(clip, output, settings.faces.face, study.edits, None if drawn else place, drawn, settings.video)
    found = yield from evaluate(asked, family, maker)
    with disk_errors(f"folder {folder}"):
        np.save(folder / "quads.npy", found.faces.quads)
    record = found.record()
    measures = {name: one for name, one in record["measures"].items() if one["value"] is not None or one["reason"]}
    return {
        "title": variant.title, "frames": record["compared_frames"], "face_frames": record["face_frames"],
        "stages_s": {stage: round(seconds, 2) for stage, seconds in took.items()},
        "total_s": round(sum(seconds for stage, seconds in took.items() if stage not in LOOKING), 2),
        "measures": {name: {key: one[key] for key in ("value", "verdict", "reason")} for name, one in measures.items()},
        "notes": record["notes"],
    }


def _key(variant: Variant, settings: Settings, family: Family) -> dict[str, Any]:
    """All that a variant of a clip depends on besides the clip and the edits."""
    changed = variant.settings(settings)
    weights = fingerprint_of(family, "directions", "parser", "identity")
    prepared = _prepared_as(variant, changed, family, variant.family(family))
    return {"settings": asdict(changed), "weights": weights, "prepared": prepared}


def _prepared_as(variant: Variant, settings: Settings, family: Family, maker: Family) -> dict[str, Any]:
    """What stages 1 to 3 depend on besides the clip: variants that have the same share a run."""
    method = variant.method
    parts = {name: asdict(settings)[name] for name in ("video", "faces", "align", "tune", "compute", "seed")}
    return parts | {
        "method": "" if method is FULL.method else variant.name, "options": getattr(method, "keywords", {}),
        "weights": fingerprint_of(family, "generator", "encoder"),
        "maker": "" if maker is family else fingerprint_of(maker, "encoder"),
        "alone": variant.name if variant.alone else "",
    }


def _kept(path: Path, key: str) -> dict[str, Any] | None:
    """What was found earlier; None where it was asked for in another way, or could not be made."""
    try:
        row = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    if not isinstance(row, dict) or row.pop("key", None) != key or "measures" not in row:
        return None
    return row


def means(record: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Means over the clips, by variant and measure; "total_s" is seconds a clip.

    Args:
        record: of `run`.
    """
    table: dict[str, dict[str, float]] = {}
    for name in record["variants"]:
        rows = [rows[name] for rows in record["clips"].values() if "measures" in rows.get(name, {})]
        values: dict[str, list[float]] = {"total_s": [row["total_s"] for row in rows]}
        for row in rows:
            for measure, one in row["measures"].items():
                if one["value"] is not None:
                    values.setdefault(measure, []).append(one["value"])
        table[name] = {measure: float(np.mean(found)) for measure, found in values.items() if found}
    return table


def expectations(record: Mapping[str, Any], variants: Sequence[Variant]) -> list[dict[str, Any]]:
    """Whether the full method is better where the paper says so.

    Args:
        record: of `run`.
        variants: that were compared; `FULL` must be among them.
    Returns:
        For each variant and measure the means of both, over the clips that have both, and on how many of those clips
        the full method is better.
    """
    told = []
    for one in variants:
        for name in one.worse_on:
            pairs = []
            for rows in record["clips"].values():
                both = [rows.get(which, {}).get("measures", {}).get(name, {}).get("value")
                        for which in (FULL.name, one.name)]
                if None not in both:
                    pairs.append(both)
            if pairs:
                full, other = np.mean(pairs, axis=0)
                told.append({
                    "variant": one.name, "measure": name, "full": float(full), "other": float(other),
                    "held": sum(_better(name, *pair) for pair in pairs), "clips": len(pairs),
                })
    return told


def _better(name: str, first: float, second: float) -> bool:
    wanted = BARS[name].wanted
    if wanted == "one":
        first, second = abs(first - 1), abs(second - 1)
    return first > second if wanted == "high" else first < second


def table(record: Mapping[str, Any], variants: Sequence[Variant]) -> str:
    """Means over the clips that a variant could be made of, as a table in Markdown, and what was expected.

    Args:
        record: of `run`.
        variants: that were compared.
    """
    found = means(record)
    shown = [name for name in (*BARS, *(one for row in found.values() for one in row if one.startswith("edit ")))
             if any(name in row for row in found.values())]
    shown = list(dict.fromkeys(shown))
    bars = {name: BARS.get(name, BARS["edit"]) for name in shown}
    titles = [name if name.startswith("edit ") else bars[name].title for name in shown]
    lines = ["| " + " | ".join(["", "clips", *titles, "seconds a clip"]) + " |", "|---" * (len(shown) + 3) + "|"]
    for one in variants:
        row = found[one.name]
        cells = [f"{row[name]:.{bars[name].digits}f}" if name in row else "-" for name in shown]
        cells.append(f"{row['total_s']:.0f}" if "total_s" in row else "-")
        clips = sum("measures" in rows.get(one.name, {}) for rows in record["clips"].values())
        lines.append("| " + " | ".join([one.title, str(clips), *cells]) + " |")
    told = expectations(record, variants)
    if told:
        lines += ["", "Expected of the full method, on the clips that have both:", ""]
    for held in told:
        bar = BARS[held["measure"]]
        full, other = (f"{held[which]:.{bar.digits}f}" for which in ("full", "other"))
        lines.append(f"- better than '{record['variants'][held['variant']]}' in {bar.title}: {full} against {other}, "
                     f"on {held['held']} of {held['clips']}")
    return "\n".join(lines) + "\n"


def finish(study: Study, record: Mapping[str, Any], name: str) -> None:
    """Write NAME.json and NAME.md.

    Args:
        study: what was compared.
        record: of `run`.
        name: of the files.
    Raises:
        RunError: the folder cannot be written.
    """
    with disk_errors(f"folder {study.out}"):
        study.out.mkdir(parents=True, exist_ok=True)
        write_whole(study.out / f"{name}.json", json.dumps(record, indent=1, allow_nan=False).encode())
        write_whole(study.out / f"{name}.md", table(record, study.variants).encode())
