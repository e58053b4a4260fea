"""Writing to the user's disk: early refusals, whole files."""

import errno
import sys
from pathlib import Path

import pytest

from stitch.core.errors import RunError, VideoError
from stitch.runtime import disk
from stitch.video import files


@pytest.fixture
def clip(tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"clip")
    return path


def test_check_outputs_accepts_new_files_and_leaves_nothing_behind(clip, tmp_path):
    disk.check_outputs(clip, tmp_path / "out.mp4", tmp_path / "beside.mp4", tmp_path / "sheet.png")
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]


@pytest.mark.parametrize("alias", ["same", "relative", "symbolic link", "hard link"])
def test_check_outputs_refuses_the_source(clip, tmp_path, alias, monkeypatch):
    output = tmp_path / "out.mp4"
    if alias == "same":
        output = clip
    elif alias == "relative":
        monkeypatch.chdir(tmp_path)
        output = Path("./clip.mp4")
    elif alias == "symbolic link":
        output.symlink_to(clip)
    else:
        output.hardlink_to(clip)
    with pytest.raises(VideoError, match="would overwrite the source clip; choose another name"):
        disk.check_outputs(clip, output)
    assert clip.read_bytes() == b"clip"


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("missing/out.mp4",), "no such folder.*create it"),
        (("out.avi",), r"must end in \.mp4"),
        (("out",), r"must end in \.mp4"),
        (("folder.mp4",), "this is a folder"),
        (("x" * 300 + ".mp4",), "name too long"),
        (("out.mp4", "out.mp4"), "named as the edited clip and as the comparison"),
        (("out.mp4", None, "sheet.gif"), r"must end in \.png"),
        (("clip.mp4/out.mp4",), "no such folder"),
    ],
)
def test_check_outputs_refuses(clip, tmp_path, names, words):
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(VideoError, match=words):
        disk.check_outputs(clip, *(None if name is None else tmp_path / name for name in names))


@pytest.mark.skipif(sys.platform != "linux", reason="needs a folder that nobody can write to: /proc")
def test_check_outputs_refuses_a_folder_that_cannot_be_written(clip):
    with pytest.raises(VideoError, match="cannot be written.*choose another place"):
        disk.check_outputs(clip, Path("/proc/out.mp4"))


def test_suffixes_are_those_that_the_writer_takes():
    assert disk.CLIP_SUFFIXES == files.OUTPUT_SUFFIXES


def test_write_whole_keeps_the_old_file_when_writing_fails(tmp_path, monkeypatch):
    path = tmp_path / "mark.json"
    disk.write_whole(path, b"old")

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(disk.os, "fsync", full)
    with pytest.raises(RunError, match="mark.json: the disk is full"), disk.disk_errors(str(path)):
        disk.write_whole(path, b"new")
    assert path.read_bytes() == b"old"


def test_disk_errors_lets_other_errors_pass():
    with pytest.raises(KeyError), disk.disk_errors("file"):
        raise KeyError("word")
