"""An edit that is killed at any moment goes on and ends as if nothing had happened."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="edits are killed in forks")
@pytest.mark.parametrize("kills", [6, pytest.param(50, marks=pytest.mark.slow)])
def test_edit_killed_at_seeded_moments_ends_as_an_undisturbed_one(tmp_path: Path, kills: int) -> None:
    command = [sys.executable, "-m", "tests.killed", str(tmp_path), str(kills)]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["whole"] == 0 and told["kills"] == kills and told["half"] == 0
    assert told["same"] == told["ended"] >= 1
