"""What is kept of a finished edit beside its clips: a record with all measures, the frames worth a look, an archive."""

import json
import math
import time
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from stitch.core.images import jpeg_address
from stitch.core.records import ClipInfo, EditResult, FrameMeasures
from stitch.methods.stit.pipeline import Prepared
from stitch.runtime.disk import disk_errors, whole, write_whole
from stitch.video import files

FILES = ("edited.mp4", "side_by_side.mp4", "stages.png", "settings.json")
_WORST_SHOWN = 6


def keep(folder: Path, title: str, result: EditResult, prepared: Prepared, about: Mapping[str, Any]) -> None:
    """Write settings.json, result.json and all.zip beside the clips of `edit_video`.

    Args:
        folder: of the result; it holds the clips and the sheet by the names of `FILES`.
        title: of the clip, for the archive.
        result: of `edit_video`.
        prepared: what it was made from.
        about: what was asked for, plain values.
    Raises:
        RunError: the disk is full or the folder not writable.
    """
    per_frame = result.per_frame
    columns = {} if per_frame is None else {
        name: [float(value) if math.isfinite(value) else None for value in column]
        for name, column in asdict(per_frame).items()
    }
    record = {
        **about, "made": time.time(), "frames": result.info.frames, "edited_frames": result.edited_frames,
        "rate": float(result.info.rate), "measures": result.measures, "notes": list(result.notes), "per_frame": columns,
        "worst": [] if per_frame is None else _worst(result, per_frame, prepared),
        "poster": jpeg_address(frame_at(files.probe(result.path), result.info.frames // 2), 240),
    }
    name = "".join(letter if letter.isalnum() or letter in " -_" else "_" for letter in title).strip() or "clip"
    with disk_errors("the results"):
        write_whole(folder / "settings.json", json.dumps({"made_with": "Stitch", **about}, indent=1).encode())
        with whole(folder / "all.zip") as temporary, zipfile.ZipFile(temporary, "w") as archive:
            for file in FILES:
                archive.write(folder / file, f"{name}/{file}")
        write_whole(folder / "result.json", json.dumps(record).encode())


def kept(folder: Path) -> dict[str, dict[str, Any]]:
    """Records of the results whose folders lie in this one, by the folders' names, the oldest first."""
    found = {}
    for path in folder.glob("*/result.json"):
        with suppress(OSError, ValueError):
            found[path.parent.name] = json.loads(path.read_text())
    return dict(sorted(found.items(), key=lambda one: one[1].get("made", 0.0)))


def face_of(frame: np.ndarray, quad: np.ndarray, margin: float = 0.12) -> np.ndarray:
    """The part of a frame with the whole face in it.

    Args:
        frame: [H,W,3] uint8.
        quad: [4,2] of the crop, frame px.
        margin: around it, as a share of its side.
    """
    low, high = quad.min(axis=0), quad.max(axis=0)
    more = margin * (high - low).max()
    x0, y0 = np.maximum(low - more, 0).astype(int)
    x1, y1 = np.minimum(high + more, (frame.shape[1], frame.shape[0])).astype(int)
    return frame[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)]


def worst_rows(reasons: Sequence[tuple[np.ndarray, str]], most: int) -> dict[int, str]:
    """The rows that deserve a look, in their order, each with its reason.

    Args:
        reasons: a column, the lower the worse, NaN where it says nothing, and what is said of its lowest.
        most: rows of all reasons together.
    """
    chosen: dict[int, str] = {}
    for column, why in reasons:
        order = np.argsort(np.where(np.isfinite(column), column, np.inf))
        for row in order[: most // len(reasons)]:
            if np.isfinite(column[row]):
                chosen.setdefault(int(row), why)
    return dict(sorted(chosen.items()))


def _worst(result: EditResult, per_frame: FrameMeasures, prepared: Prepared) -> list[dict[str, Any]]:
    """The frames that deserve a look: where the face is drawn least well, changes most, or shows its seam."""
    reasons = (
        (per_frame.psnr_tuned_db, "least exact"),
        (-np.abs(per_frame.tl_id - 1), "changes most"),
        (-per_frame.ring_stitched, "clearest seam"),
    )
    chosen = worst_rows(reasons, _WORST_SHOWN)
    info, worst = files.probe(result.path), []
    for row, why in chosen.items():
        index = int(per_frame.frames[row])
        face = face_of(frame_at(info, index), prepared.crops.quads[row])
        worst.append({"at_s": index / float(info.rate), "why": why, "picture": jpeg_address(face, 240)})
    return worst


def frame_at(info: ClipInfo, index: int) -> np.ndarray:
    """One frame of a clip, [H,W,3] uint8.

    Args:
        info: the clip.
        index: of the frame in it.
    """
    start_s = info.start_s + index / float(info.rate)
    with closing(files.frames(replace(info, start_s=start_s, frames=1))) as frames:
        return next(frames)
