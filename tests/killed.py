"""Kills an edit at seeded moments, again and again: `python -m tests.killed FOLDER KILLS` says how it went, as JSON.

The edit is the untrained family's, on four frames, in forks of this process, which has loaded everything. A run is
killed until it ends by itself; then its result is compared with an undisturbed one, and a new one begins.
"""

import json
import os
import resource
import shutil
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from stitch.core.records import Edit
from stitch.core.settings import Settings
from stitch.families.family import Family
from stitch.methods.stit import pipeline
from stitch.video import files
from tests.conftest import draw_clip, tiny_family
from tests.stages import finish

SEED = 7


def edit(clip: Path, folder: Path, family: Family) -> None:
    """All stages, each of which keeps several pieces."""
    base = Settings()
    settings = replace(
        base, tune=replace(base.tune, epochs=2, batch=2, locality_weight=0.0),
        stitching=replace(base.stitching, steps=2, shared_steps=2, chunk=1),
        merge=replace(base.merge, credentials=False),  # no two signatures are alike
    )
    prepared, _ = finish(pipeline.prepare(clip, folder / "run", settings, family, folder / "surveys"))
    finish(pipeline.edit_video(prepared, [Edit("smile", 1.0)], folder / "out.mp4", settings, family))


def started(clip: Path, folder: Path, family: Family) -> int:
    """An edit in a process of its own."""
    process = os.fork()
    if process == 0:
        code = 1
        try:
            torch.set_num_threads(1)  # a fork has none of its parent's threads
            edit(clip, folder, family)
            code = 0
        finally:
            os._exit(code)
    return process


def main(root: Path, kills: int) -> None:
    """Kill until there were so many."""
    torch.set_num_threads(1)
    clip, family, rng = draw_clip(root / "clip.mp4", frames=4), tiny_family(), np.random.default_rng(SEED)
    files.probe(clip)  # the server that reads clips is started, and shared
    (root / "whole").mkdir()
    began = time.monotonic()
    whole = os.waitpid(started(clip, root / "whole", family), 0)[1]
    length_s = time.monotonic() - began
    right = (root / "whole" / "out.mp4").read_bytes()
    told = {"whole": whole, "kills": 0, "ended": 0, "same": 0, "half": 0}
    killed_s: list[float] = []
    while told["kills"] < kills or not told["ended"]:
        folder = root / "broken"
        folder.mkdir(exist_ok=True)
        # Mostly soon, so that a run is killed many times; now and then late, so that its later stages are reached.
        wait_s = length_s * float(rng.uniform(0.0, 0.8 if rng.random() < 0.2 else 0.25))
        process = started(clip, folder, family)
        if told["kills"] < kills:
            time.sleep(wait_s)
            os.kill(process, signal.SIGKILL)
        status = os.waitpid(process, 0)[1]
        if status == signal.SIGKILL:
            told["kills"] += 1
            killed_s.append(wait_s)
            # The result's name may be taken already: the kill came after the last rename, before the process had left.
            told["half"] += (folder / "out.mp4").exists() and (folder / "out.mp4").read_bytes() != right
        else:
            told["ended"] += 1
            told["same"] += status == 0 and (folder / "out.mp4").read_bytes() == right
            shutil.rmtree(folder)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(json.dumps(told | {"length_s": length_s, "killed_s": killed_s, "processor_s": used.ru_utime + used.ru_stime}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
