"""`stitch forget`: the whole disk area is searched for what was kept of a clip, before and after."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from stitch.__main__ import main
from stitch.runtime import disk, runs
from stitch.service.sessions import Limits, Store
from tests.conftest import draw_clip, first_picture


@pytest.fixture(autouse=True)
def tiny(brief, monkeypatch, tmp_path):
    """A folder for temporary files of its own."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))


def run(*arguments) -> int:
    return main([str(argument) for argument in arguments])


def holding(area: Path, *tokens: bytes) -> list[Path]:
    """Files below a folder that hold some bytes, or are named by them."""
    files = [path for path in area.rglob("*") if path.is_file()]
    return [path for path in files
            if any(token in path.read_bytes() or token.decode("latin-1") in str(path) for token in tokens)]


def edited(clip: Path, out: Path, *more: object) -> tuple[bytes, ...]:
    """Edit a clip: bytes of its pictures, its hash, bytes of the result's, by which traces of it are found."""
    assert run("edit", clip, "-o", out, "--edit", "smile=1", "--preset", "draft", "--quiet", *more) == 0
    sha256 = str(runs.clip_of(clip)["sha256"])
    return clip.read_bytes()[2000:2200], first_picture(out), sha256.encode(), sha256[:16].encode()


def test_forget_of_a_clip_leaves_nothing_of_it_and_all_of_another(clip, tmp_path, capsys):
    other = draw_clip(tmp_path / "other.mp4", frames=6, radius=25)
    cache, elsewhere = runs.cache(), tmp_path / "elsewhere"
    tokens = edited(clip, tmp_path / "out.mp4")
    edited(clip, tmp_path / "out.mp4", "--run", elsewhere)
    kept = edited(other, tmp_path / "out2.mp4")
    store = Store(runs.page(), Limits())
    for source in (clip, other):
        entry, _ = store.session(store.new_secret()).add(source, "miniature")
        (entry.shown / "version").mkdir()
        (entry.shown / "version" / "edited.mp4").write_bytes((tmp_path / "out.mp4").read_bytes())
    assert len(holding(cache, *tokens)) >= 4
    assert run("forget", elsewhere) == 0 and not elsewhere.exists()
    left = [path for path in holding(cache, tokens[0], *tokens[2:])]
    assert left == [] and clip.is_file() and (tmp_path / "out.mp4").is_file()
    assert len(holding(cache, kept[0], *kept[2:])) >= 3 and [entry.name for entry in (cache / "runs").iterdir()]
    assert run("forget", clip) == 0
    assert "nothing was kept" in capsys.readouterr().out


def test_forget_all_leaves_no_byte_of_clips_and_results(clip, tmp_path):
    tokens = edited(clip, tmp_path / "out.mp4")
    store = Store(runs.page(), Limits())
    entry, _ = store.session(store.new_secret()).add(clip, "miniature")
    (entry.shown / "edited.mp4").write_bytes((tmp_path / "out.mp4").read_bytes())
    (store.uploads / "half").write_bytes(clip.read_bytes())
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    leftover = Path(tempfile.gettempdir()) / f"stitch-{gone.pid}-abc"
    leftover.mkdir()
    (leftover / "part.mp4").write_bytes(clip.read_bytes())
    with disk.scratch() as working:
        assert not leftover.exists()
        leftover.mkdir()
        assert run("forget", "--all") == 0
        assert working.is_dir()
    area = [runs.cache(), Path(tempfile.gettempdir())]
    assert [path for folder in area if folder.exists() for path in holding(folder, *tokens)] == []
    assert not leftover.exists() or os.name != "posix"


def test_forget_refuses_in_words(clip, tmp_path, capsys):
    assert run("forget", tmp_path / "none") == 1
    assert "neither a clip nor a run's folder" in capsys.readouterr().err
    assert run("forget", tmp_path) == 1 and tmp_path.is_dir()
    for arguments in (["forget"], ["forget", clip, "--all"]):
        with pytest.raises(SystemExit) as left:
            run(*arguments)
        assert left.value.code == 2
    assert clip.is_file()


def test_forget_waits_for_no_run_that_is_worked_on(clip, tmp_path, capsys):
    edited(clip, tmp_path / "out.mp4")
    (folder,) = (runs.cache() / "runs").iterdir()
    lock = runs._acquire(folder)
    try:
        assert run("forget", "--all") == 1
        assert "in use by another Stitch" in capsys.readouterr().err and (folder / "run.json").is_file()
    finally:
        lock.release()
