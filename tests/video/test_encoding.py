"""Same frames, same file: whatever else the machine does, and however many cores it gives."""

import os
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from stitch.core.records import ClipInfo
from stitch.video.files import Writer


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system cannot be told which cores to use")
def test_writer_gives_the_same_bytes_on_one_core_and_on_all(tmp_path: Path) -> None:
    info = ClipInfo(tmp_path / "none", 320, 240, Fraction(25), 20, 0.0, 0.8, audio=False)
    generator = np.random.default_rng(0)
    coarse = generator.integers(0, 256, (15, 20, 3), dtype=np.uint8).repeat(16, 0).repeat(16, 1)
    grain = generator.integers(0, 8, (20, *coarse.shape), dtype=np.uint8)
    frames = [np.roll(coarse, 3 * index, axis=1) ^ noise for index, noise in enumerate(grain)]
    cores = os.sched_getaffinity(0)

    def written(name: str, allowed: set[int]) -> bytes:
        os.sched_setaffinity(0, allowed)
        try:
            with Writer(tmp_path / name, info) as writer:
                for frame in frames:
                    writer.add(frame)
        finally:
            os.sched_setaffinity(0, cores)
        return (tmp_path / name).read_bytes()

    assert written("one.mp4", {min(cores)}) == written("all.mp4", cores)
