"""What checks and studies share: where the time of a clip goes, and what a finished edit left outside its mask."""

import json
import time
from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path
from typing import TypeVar

import numpy as np

from stitch.core import geometry
from stitch.core.events import Event, Progress, finished
from stitch.core.settings import Settings
from stitch.methods.stit import masks, merge
from stitch.methods.stit.pipeline import Prepared
from stitch.video import files

T = TypeVar("T")


def clocked(
    work: Generator[Event, None, T], took: dict[str, float], clock: Callable[[], float] = time.monotonic
) -> Generator[Event, None, T]:
    """Work that is watched while it runs.

    Args:
        work: what yields progress and returns its record.
        took: here the seconds of every stage are added: those up to a stage's progress, the last one's up to the end.
        clock: in seconds.
    Yields:
        The work's own events.
    Returns:
        The work's record.
    """
    before, stage = clock(), ""
    with closing(work):
        while True:
            try:
                event = next(work)
            except StopIteration as end:
                if stage:
                    took[stage] += clock() - before
                return end.value
            if isinstance(event, Progress):
                now, stage = clock(), event.stage
                took[stage] = took.get(stage, 0.0) + now - before
                before = now
            yield event


def timed(
    work: Generator[Event, None, T], clock: Callable[[], float] = time.monotonic
) -> tuple[T, dict[str, float]]:
    """Run work to its end, its events unseen.

    Args:
        work, clock: as of `clocked`.
    Returns:
        The record, and the seconds of every stage.
    """
    took: dict[str, float] = {}
    return finished(clocked(work, took, clock)), took


def finished_edits(prepared: Prepared) -> list[Path]:
    """The folders of all edits, the one that was made last at the end; see `stitch.runtime.runs.EditFolder`."""
    marks = sorted(prepared.run.folder.glob("edits/*/done.json"), key=lambda path: path.stat().st_mtime_ns)
    return [mark.parent for mark in marks if json.loads(mark.read_text())["done"] == len(prepared.crops.frames)]


def latest_edit(prepared: Prepared) -> Path:
    """The folder of the edit that was made last.

    Raises:
        ValueError: there is none.
    """
    folders = finished_edits(prepared)
    if not folders:
        raise ValueError(f"{prepared.run.folder}: no edit was made")
    return folders[-1]


def changed_outside(prepared: Prepared, settings: Settings) -> int:
    """How many pixels the last edit changes outside the warped dilated masks, before encoding.

    Args:
        prepared: what was edited.
        settings: as it was edited with.
    """
    folder = latest_edit(prepared)
    tiles, dilated, details = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("tiles", "masks", "details"))
    crops = prepared.crops
    radius_px = masks.radius_px(settings.stitching.dilation, tiles.shape[1])
    changed = 0
    rows = crops.row_of
    for index, frame in enumerate(files.frames(prepared.info)):
        if (row := rows.get(index)) is not None:
            quad = crops.quads[row]
            source = merge.Source(crops.images[row], details[row])
            pasted = merge.paste(frame, tiles[row], dilated[row], quad, radius_px, settings.merge, source)
            outside = ~geometry.warp_mask(dilated[row], quad, *frame.shape[:2])
            changed += int((pasted != frame).any(2)[outside].sum())
    return changed
