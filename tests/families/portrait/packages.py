"""The files that pip fetched for the family, for the tests that want the real networks."""

from pathlib import Path

import pytest

from stitch.families.load import parts_of
from stitch.store import local


def fetched() -> dict[str, Path]:
    """The family's files by the names of their parts; the test is skipped where they were not fetched."""
    rows = parts_of("portrait")
    if any(one.path is None for one in local.survey(rows)):
        pytest.skip("the family portrait is not here: python -m stitch weights fetch --family portrait")
    return {row.name: path for row, path in local.files_of(rows, None).items()}
