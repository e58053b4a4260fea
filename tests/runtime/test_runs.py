"""Folders of runs: resuming, refusing, locking, tidying."""

import errno
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stitch.core.errors import RunError, VideoError
from stitch.core.settings import Settings
from stitch.runtime import runs
from stitch.runtime.runs import Run

ROWS = {"tiles": (np.dtype(np.uint8), (5, 2, 2, 3)), "measures": (np.dtype(np.float64), (5, 2))}


def rows(first, count):
    ramp = np.arange(first, first + count)
    return {
        "tiles": np.broadcast_to(ramp[:, None, None, None], (count, 2, 2, 3)).astype(np.uint8),
        "measures": np.stack([ramp, ramp / 3], axis=1),
    }


def identity(settings=None, clip="aa", family="miniature", weights="ff"):
    return runs.identity_of(settings or Settings(), {"bytes": 1, "sha256": clip}, {"name": family, "weights": weights})


def a_run(folder, settings=None, **what):
    settings = settings or Settings()
    return Run(folder, identity(settings, **what), Path("clip.mp4"), settings)


def test_finish_keeps_arrays_for_the_next_process(tmp_path):
    with a_run(tmp_path / "run").locked() as run:
        assert not run.finished("pivots")
        run.finish("pivots", {"w": np.arange(6.0, dtype=np.float32).reshape(2, 3)})
    with a_run(tmp_path / "run").locked() as run:
        assert run.finished("pivots")
        kept = run.load("pivots")["w"]
    assert kept.dtype == np.float32 and kept.tolist() == [[0, 1, 2], [3, 4, 5]]


def test_finish_marks_nothing_when_the_disk_is_full(tmp_path, monkeypatch):
    with a_run(tmp_path / "run").locked() as run:
        def full(_):
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            with pytest.raises(RunError, match="disk is full.*free some space"):
                run.finish("pivots", {"w": np.zeros(3)})
        assert not run.finished("pivots")
        run.finish("pivots", {"w": np.ones(3)})
        assert run.load("pivots")["w"].tolist() == [1, 1, 1]


def test_load_names_a_damaged_file(tmp_path):
    with a_run(tmp_path / "run").locked() as run:
        run.finish("pivots", {"w": np.zeros(3)})
        (run.folder / "pivots.npz").write_bytes(b"PK")
        with pytest.raises(RunError, match=r"pivots\.npz.*delete the folder"):
            run.load("pivots")


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"clip": "bb"}, "another clip"),
        ({"family": "ffhq"}, "family 'miniature', not 'ffhq'"),
        ({"weights": "ee"}, "weights it was prepared with have changed"),
        ({"settings": replace(Settings(), seed=3)}, "seed 0, not 3"),
        ({"settings": Settings.preset("draft")}, r"tune\.epochs = 80, not 5"),
        ({"settings": replace(Settings(), video=replace(Settings().video, start_s=1.5))}, "start_s = 0.0, not 1.5"),
    ],
)
def test_locked_refuses_another_run_and_names_the_difference(tmp_path, changed, words):
    with a_run(tmp_path / "run").locked():
        pass
    with pytest.raises(RunError, match=words) as caught, a_run(tmp_path / "run", **changed).locked():
        pass
    assert "--run" in str(caught.value)


def test_locked_ignores_what_rooms_1_to_3_do_not_depend_on(tmp_path):
    with a_run(tmp_path / "run").locked():
        pass
    other = Settings()
    settings = replace(other, stitching=replace(other.stitching, steps=3), video=replace(other.video, crf=30))
    with a_run(tmp_path / "run", settings=settings).locked():
        pass


def test_locked_refuses_a_folder_with_other_files(tmp_path):
    (tmp_path / "holiday.txt").write_text("mine")
    with pytest.raises(RunError, match="holiday.txt"), a_run(tmp_path).locked():
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.txt"]


def test_locked_refuses_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    below_a_file = a_run(tmp_path / "file" / "run")
    with pytest.raises(RunError, match="cannot be written.*choose another place"), below_a_file.locked():
        pass
    if sys.platform == "linux":
        with pytest.raises(RunError, match="cannot be written"), a_run(Path("/proc/nowhere/run")).locked():
            pass


def test_locked_refuses_another_version(tmp_path):
    with a_run(tmp_path / "run").locked():
        pass
    record = tmp_path / "run" / "run.json"
    record.write_text(record.read_text().replace(f'"format": {runs.FORMAT}', '"format": 0'))
    with pytest.raises(RunError, match="another version"), a_run(tmp_path / "run").locked():
        pass
    record.write_text("{")
    with pytest.raises(RunError, match="cannot be read"), a_run(tmp_path / "run").locked():
        pass


def test_locked_lets_one_in_at_a_time(tmp_path):
    with a_run(tmp_path / "run").locked():
        with pytest.raises(RunError, match=f"in use by another Stitch .process {os.getpid()}"):
            with a_run(tmp_path / "run").locked():
                pass
    with a_run(tmp_path / "run").locked():
        pass


def test_locked_recognises_the_lock_of_a_killed_process(tmp_path):
    hold = (
        "import sys\nfrom pathlib import Path\nfrom stitch.core.settings import Settings\n"
        "from stitch.runtime import runs\n"
        "identity = runs.identity_of(Settings(), dict(bytes=1, sha256='aa'), dict(name='miniature', weights='ff'))\n"
        "run = runs.Run(Path(sys.argv[1]), identity, Path('clip.mp4'), Settings())\n"
        "with run.locked():\n    print('held', flush=True)\n    sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", hold, str(tmp_path / "run")]
    pipe, repository = subprocess.PIPE, Path(__file__).parents[2]
    holder = subprocess.Popen(command, stdin=pipe, stdout=pipe, cwd=repository)
    try:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(RunError, match=f"process {holder.pid}"), a_run(tmp_path / "run").locked():
            pass
    finally:
        holder.kill()
        holder.communicate()
    assert (tmp_path / "run" / "owner").read_text() == f"{holder.pid}\n"
    with a_run(tmp_path / "run").locked():
        pass


def test_edit_reads_back_what_was_appended(tmp_path):
    with a_run(tmp_path / "run").locked() as run:
        folder = run.edit("a" * 16, ROWS)
        for first, count in ((0, 2), (2, 2), (4, 1)):
            assert folder.done == first
            folder.append(rows(first, count))
        assert folder.read("tiles")[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4]
        assert folder.read("measures", 3, 2).tolist() == [[3, 1], [4, 4 / 3]]
        assert np.load(folder.folder / "tiles.npy", mmap_mode="r").shape == (5, 2, 2, 3)


def test_edit_goes_on_after_the_last_mark(tmp_path):
    with a_run(tmp_path / "run").locked() as run:
        run.edit("a" * 16, ROWS).append(rows(0, 2))
    with a_run(tmp_path / "run").locked() as run:
        folder = run.edit("a" * 16, ROWS)
        assert folder.done == 2
        folder.append(rows(2, 3))
        assert folder.read("measures").tolist() == rows(0, 5)["measures"].tolist()


def test_edit_without_a_mark_or_with_other_shapes_begins_again(tmp_path):
    with a_run(tmp_path / "run").locked() as run:
        folder = run.edit("a" * 16, ROWS)
        folder.append(rows(0, 2))
        (folder.folder / "done.json").unlink()
        folder = run.edit("a" * 16, ROWS)
        assert folder.done == 0
        folder.append(rows(0, 2))
        (folder.folder / "tiles.npy").unlink()
        assert run.edit("a" * 16, ROWS).done == 0


def test_append_refuses_rows_of_another_shape(tmp_path):
    with a_run(tmp_path / "run").locked() as run:
        folder = run.edit("a" * 16, ROWS)
        with pytest.raises(ValueError, match="tiles"):
            folder.append(rows(0, 2) | {"tiles": np.zeros((2, 3, 3, 3), np.uint8)})
        with pytest.raises(ValueError, match="rows"):
            folder.append({"tiles": rows(0, 2)["tiles"]})
        assert folder.done == 0


def test_append_marks_nothing_when_the_disk_is_full(tmp_path, monkeypatch):
    with a_run(tmp_path / "run").locked() as run:
        folder = run.edit("a" * 16, ROWS)
        folder.append(rows(0, 2))

        def full(_):
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            with pytest.raises(RunError, match="disk is full"):
                folder.append(rows(2, 2))
        again = run.edit("a" * 16, ROWS)
        assert again.done == 2
        assert again.read("tiles")[:, 0, 0, 0].tolist() == [0, 1]


def test_edit_keeps_the_newest_edits(tmp_path):
    with a_run(tmp_path / "run").locked() as run:
        for number in range(runs.EDITS_KEPT + 2):
            folder = run.edit(f"{number:016x}", ROWS)
            os.utime(folder.folder / "done.json", (number, number))
        left = sorted(path.name for path in (run.folder / "edits").iterdir())
    assert left == [f"{number:016x}" for number in range(2, runs.EDITS_KEPT + 2)]


def test_require_refuses_what_cannot_fit(tmp_path):
    with a_run(tmp_path / "run").locked() as run:
        run.require(1)
        with pytest.raises(RunError, match="MB are needed and the disk has .* MB"):
            run.require(1 << 60)


def test_recorded_gives_back_clip_settings_and_family(tmp_path):
    settings = replace(Settings.preset("fast"), video=replace(Settings().video, start_s=0.1, end_s=2.5), seed=7)
    with a_run(tmp_path / "run", settings=settings).locked():
        pass
    source, kept, family = runs.recorded(tmp_path / "run")
    assert (source.name, kept, family) == ("clip.mp4", settings, "miniature")
    with pytest.raises(RunError, match="no prepared run here.*stitch prepare"):
        runs.recorded(tmp_path / "elsewhere")


def test_implicit_folder_depends_on_the_identity_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    first = runs.implicit_folder(identity())
    assert first == runs.implicit_folder(identity()) and first.is_relative_to(tmp_path / "stitch" / "runs")
    assert first != runs.implicit_folder(identity(clip="bb"))


def test_tidy_keeps_the_newest_and_those_in_use(tmp_path):
    for number in range(5):
        folder = tmp_path / f"{number:016x}"
        with a_run(folder).locked():
            pass
        os.utime(folder / "run.json", (number, number))
    (tmp_path / "not-a-run").mkdir()
    with a_run(tmp_path / f"{0:016x}").locked():
        os.utime(tmp_path / f"{0:016x}" / "run.json", (0, 0))
        runs.tidy(tmp_path, keep=2)
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == [f"{number:016x}" for number in (0, 3, 4)] + ["not-a-run"]


def test_clip_of_hashes_content_and_refuses_a_missing_file(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert runs.clip_of(tmp_path / "a") == {
        "bytes": 3, "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    }
    with pytest.raises(VideoError, match="cannot be read"):
        runs.clip_of(tmp_path / "b")
