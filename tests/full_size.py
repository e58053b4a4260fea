"""Runs the full-size family end to end with recipe weights, and prints seconds and peak memory of every stage.

    python -m tests.full_size FOLDER        # files of 2.4 GB are written to FOLDER/weights, unless they are there

Two frames of a real clip, two epochs of tuning, two steps of stitching. The face detector is the real one beside the
clip: recipe weights see no faces.
"""

import sys
import time
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from stitch.core.events import Progress
from stitch.core.records import Edit, EditResult
from stitch.core.settings import Settings, VideoSettings
from stitch.families.ffhq import family as ffhq
from stitch.methods.stit import pipeline
from stitch.runtime.memory import peak_memory_mib
from tests import golden, published

FRAMES = 2


def watch(work: Generator[Any, None, Any], told: dict[str, float]) -> Any:
    """Drives a part of the pipeline; the time between two events is the later one's stage's."""
    last = time.monotonic()
    try:
        while True:
            event = next(work)
            if isinstance(event, Progress):
                now = time.monotonic()
                told[event.stage] = told.get(event.stage, 0.0) + now - last
                if now - last > 1:
                    print(f"{event.stage} {event.done}/{event.total}: peak {peak_memory_mib()} MiB", flush=True)
                last = now
    except StopIteration as end:
        return end.value


def main(folder: Path, full: bool = True) -> EditResult:
    """Writes the files where they are missing, and edits with them.

    Args:
        folder: for weights, run and result.
        full: published sizes, not small ones.
    """
    weights = folder / "weights"
    if not (weights / published.LAST).exists():
        weights.mkdir(parents=True, exist_ok=True)
        published.write(weights, full, detector=next(golden.REAL.glob("detection_mobilenet*.pth")))
    began = time.monotonic()
    family = ffhq.load(published.files_in(weights), torch.device("cpu"))
    told = {"load": time.monotonic() - began}
    told_sizes = f"{family.generator.resolution} px, {family.generator.num_ws} codes"
    print(f"loaded {told_sizes}: peak {peak_memory_mib()} MiB", flush=True)
    base = Settings()
    settings = replace(
        base,
        video=VideoSettings(end_s=(FRAMES - 0.5) / 30),
        faces=replace(base.faces, min_size_px=16),
        tune=replace(base.tune, epochs=2, least_steps=0, locality_weight=0.0),
        stitching=replace(base.stitching, steps=2),
    )
    prepared = watch(pipeline.prepare(golden.REAL / "s18.mp4", folder / "run", settings, family), told)
    work = pipeline.edit_video(prepared, [Edit("smile", 1.0)], folder / "out.mp4", settings, family)
    result = watch(work, told)
    for stage, seconds in told.items():
        print(f"{stage:<12} {seconds:8.1f} s")
    print(f"{result.edited_frames} frames, peak {peak_memory_mib()} MiB")
    return result


if __name__ == "__main__":
    main(Path(sys.argv[1]))
