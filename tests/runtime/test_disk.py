"""Writing to the user's disk: early refusals, whole files."""

import errno
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from stitch.core.errors import RunError, VideoError
from stitch.runtime import disk
from stitch.video import files
from tests import golden


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


def test_write_whole_lets_many_threads_write_one_file(tmp_path):
    path = tmp_path / "mark.json"
    contents = [bytes([number]) * 20_000 for number in range(40)]
    with ThreadPoolExecutor(16) as threads:
        list(threads.map(lambda content: disk.write_whole(path, content), contents))
    assert path.read_bytes() in contents
    assert [entry.name for entry in tmp_path.iterdir()] == ["mark.json"]


def test_whole_keeps_nothing_of_what_failed(tmp_path):
    path = tmp_path / "stage.npz"
    path.write_bytes(b"old")
    with pytest.raises(KeyError), disk.whole(path) as temporary:
        temporary.write_bytes(b"half")
        raise KeyError("word")
    assert path.read_bytes() == b"old" and temporary.suffix == ".npz"
    assert [entry.name for entry in tmp_path.iterdir()] == ["stage.npz"]


def test_changed_loses_no_change_of_many_threads(tmp_path):
    path = tmp_path / "count"
    path.write_bytes(b"0")
    with ThreadPoolExecutor(16) as threads:
        list(threads.map(lambda _: disk.changed(path, lambda now: b"%d" % (int(now) + 1)), range(60)))
    assert path.read_bytes() == b"60"


def test_changed_loses_no_change_of_another_process(tmp_path):
    path = tmp_path / "count"
    path.write_bytes(b"0")
    program = "import sys, pathlib; from stitch.runtime import disk\n"
    program += "for _ in range(20): disk.changed(pathlib.Path(sys.argv[1]), lambda now: b'%d' % (int(now) + 1))"
    others = [subprocess.Popen([sys.executable, "-c", program, str(path)], cwd=golden.REPOSITORY) for _ in range(2)]
    assert [other.wait() for other in others] == [0, 0]
    assert path.read_bytes() == b"40"


def test_changed_leaves_the_file_as_it_was_after_an_error(tmp_path):
    path = tmp_path / "count"
    with pytest.raises(FileNotFoundError):
        disk.changed(tmp_path / "gone" / "count", bytes)
    assert not (tmp_path / "gone").exists()
    path.write_bytes(b"many")
    with pytest.raises(ValueError):
        disk.changed(path, lambda now: b"%d" % int(now))
    assert path.read_bytes() == b"many"


def test_disk_errors_lets_other_errors_pass():
    with pytest.raises(KeyError), disk.disk_errors("file"):
        raise KeyError("word")
