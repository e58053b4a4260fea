"""Deleting what is kept of people's clips: prepared runs, surveys, the page's runs. Results are their owner's.

docs/privacy.md says what is kept where; this is the list of it that a program reads.
"""

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from stitch.core.errors import RunError, VideoError
from stitch.runtime import disk, runs
from stitch.service.sessions import Entry


def clip(given: Path, page: Path | None = None) -> list[Path]:
    """Delete all that is kept of one clip: every implicit run, every survey, every run of the page.

    Args:
        given: the clip, or the folder of a run of it, which is deleted too.
        page: of the page's runs; None is where they are kept unless another place is named.
    Returns:
        The folders that are gone.
    Raises:
        RunError: neither a clip nor a run is there, or somebody works in a run of it.
        VideoError: the clip cannot be read.
    """
    gone = []
    if disk.is_file(given / "run.json"):
        sha256 = _clip_of_run(given)
        runs.delete(given)
        gone.append(given)
    elif disk.is_file(given):
        sha256 = str(runs.clip_of(given)["sha256"])
    else:
        raise RunError(f"{given}: neither a clip nor a run's folder; name one of them, or --all")
    if not sha256:
        return gone
    for folder in _folders(runs.cache() / "runs"):
        if _clip_of_run(folder) == sha256:
            runs.delete(folder)
            gone.append(folder)
    for folder in _folders(runs.cache() / "surveys"):
        if folder.name.startswith(f"{sha256[:16]}-"):
            gone.append(_deleted(folder))
    for entry in _entries(page or runs.page()):
        with suppress(RunError, VideoError):
            if runs.clip_of(entry.clip)["sha256"] == sha256:
                entry.delete()
                gone.append(entry.folder)
    return gone


def everything(page: Path | None = None) -> list[Path]:
    """Delete all that is kept of anybody's clips, and what killed processes left; weights stay.

    Args:
        page: as for `clip`.
    Returns:
        The folders that are gone.
    Raises:
        RunError: somebody works in a run.
    """
    gone = []
    for folder in _folders(runs.cache() / "runs"):
        runs.delete(folder)
        gone.append(folder)
    for folder in (runs.cache() / "runs", runs.cache() / "surveys", page or runs.page()):
        if folder.is_dir():
            gone.append(_deleted(folder))
    disk.sweep()
    return gone


def _clip_of_run(folder: Path) -> str:
    """The hash of the clip that a run was made from, whatever version made it; empty where nobody can tell."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        return str(json.loads((folder / "run.json").read_text())["identity"]["clip"]["sha256"])
    return ""


def _folders(parent: Path) -> list[Path]:
    return sorted(path for path in parent.iterdir() if path.is_dir()) if parent.is_dir() else []


def _entries(page: Path) -> Iterator[Entry]:
    for mark in page.glob("kept/*/*/about.json"):
        if re.fullmatch(r"[0-9a-f]{16}", mark.parent.name):
            yield Entry(page, mark.parent.parent.name, mark.parent.name)


def _deleted(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    return folder
