"""The files that pip fetched for the family, for the tests that want the real networks."""

from pathlib import Path

import pytest

from stitch.families.load import parts_of
from stitch.store import local

FOLDER = local.store() / "portrait"
"""Where they lie for whoever runs the tests; each test has an empty store of its own."""


def folder() -> Path:
    """The folder of the fetched files; the test is skipped where one is missing."""
    if not all((FOLDER / part.file).is_file() for part in parts_of("portrait") if part.sources):
        pytest.skip("the family portrait is not here: python -m stitch weights fetch --family portrait")
    return FOLDER


def fetched() -> dict[str, Path]:
    """The family's files by the names of their parts."""
    return {row.name: path for row, path in local.files_of(parts_of("portrait"), folder()).items()}
