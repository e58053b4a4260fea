"""Whether a long clip costs more a frame, and more memory, than a short one."""

import tempfile
from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, cycle, islice
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from stitch.core.errors import VideoError
from stitch.core.events import Event, Notice
from stitch.core.records import Edit
from stitch.core.settings import Settings
from stitch.families.family import Family
from stitch.methods.stit import pipeline
from stitch.runtime.memory import peak_memory_mib
from stitch.study.checks import clocked
from stitch.video import files

LENGTHS = (24, 240, 2400)
"""Frames of the clips, in the order in which they are edited."""
SHARED_STEPS, STEPS = 24, 1
"""Of stitching: those that all frames share, and each frame's own."""
_MOST = 48  # different frames, which lie in memory
_HEIGHT_PX = 430


def simulated(settings: Settings) -> Settings:
    """The settings with tuning that sees each frame once, and `SHARED_STEPS` and `STEPS` of stitching at most.

    What a clip pays once for all frames, the least steps of tuning, is left out: it would make short clips dear.
    """
    tune, stitching = settings.tune, settings.stitching
    return replace(
        settings, tune=replace(tune, epochs=1, least_steps=0),
        stitching=replace(
            stitching, shared_steps=min(stitching.shared_steps, SHARED_STEPS), steps=min(stitching.steps, STEPS)
        ),
    )


def run(
    clip: Path, edits: Sequence[Edit], settings: Settings, family: Family, lengths: Sequence[int] = LENGTHS
) -> Generator[Event, None, dict[str, Any]]:
    """Edits a clip that goes to and fro, at several lengths, in one process.

    Args:
        clip: whose first frames are shown again and again.
        edits: at least one.
        settings: of all stages; see `simulated`.
        family: loaded.
        lengths: in frames, ascending, so that memory that grows with them is seen to.
    Yields:
        What the stages say.
    Returns:
        Plain JSON values: "family", "size_px", and "rows" of "frames", "stages_s" and "peak_mib" of the process so far.
    Raises:
        StitchError: as `pipeline.prepare` and `pipeline.edit_video`.
        VideoError: the clip cannot be read, or is a single picture.
    """
    rows = []
    for frames in lengths:
        took: dict[str, float] = {}
        with tempfile.TemporaryDirectory() as name:  # nothing is there already, so every stage is done and timed
            folder = Path(name)
            long = _to_and_fro(clip, frames, folder / "long.mp4", settings.video.crf)
            prepared = yield from clocked(
                pipeline.prepare(long, folder / "run", settings, family, folder / "surveys"), took
            )
            yield from clocked(
                pipeline.edit_video(prepared, edits, folder / "edited.mp4", settings, family), took
            )
            size = prepared.crops.images.shape[1]
        rows.append({
            "frames": frames, "stages_s": {stage: round(spent, 3) for stage, spent in took.items()},
            "peak_mib": peak_memory_mib(),
        })
        yield Notice(line(rows[-1]))
    return {"family": family.name, "size_px": size, "rows": rows}


def line(row: Mapping[str, Any]) -> str:
    """A row of a record, for people."""
    stages = ", ".join(f"{stage} {1e3 * spent / row['frames']:.1f}" for stage, spent in row["stages_s"].items())
    return f"{row['frames']} frames: ms a frame {stages}; {row['peak_mib']} MiB"


def figure(record: Mapping[str, Any]) -> go.Figure:
    """Milliseconds a frame by stage, and the process's memory, against the clip's length."""
    rows = record["rows"]
    x = [row["frames"] for row in rows]
    plot = make_subplots(1, 2, subplot_titles=("milliseconds a frame", "most memory so far, MiB"))
    for stage in dict.fromkeys(chain.from_iterable(row["stages_s"] for row in rows)):
        y = [1e3 * row["stages_s"].get(stage, 0.0) / row["frames"] for row in rows]
        plot.add_scatter(x=x, y=y, name=stage, mode="lines+markers", row=1, col=1)
    plot.add_scatter(x=x, y=[row["peak_mib"] for row in rows], showlegend=False, mode="lines+markers", row=1, col=2)
    plot.update_xaxes(title_text="frames", type="log")
    plot.update_yaxes(rangemode="tozero")
    heading = f"Cost against length, family {record['family']} at {record['size_px']} px"
    return plot.update_layout(template="plotly_white", height=_HEIGHT_PX, title=heading)


def _to_and_fro(clip: Path, frames: int, path: Path, crf: int) -> Path:
    """A clip of so many frames, without sound, in which no frame is like the one before."""
    info = files.probe(clip)
    some = list(islice(files.frames(info), _MOST))
    if len(some) < 2:
        raise VideoError(f"{clip}: a single picture; longer clips are made of one with several frames")
    with files.Writer(path, replace(info, frames=frames), crf=crf) as writer:
        for frame in islice(cycle([*some, *some[-2:0:-1]]), frames):
            writer.add(frame)
    return path
