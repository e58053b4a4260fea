"""Many clips at once: what is started, what is left out, and that one failure stops no other."""

import json
import sys
from pathlib import Path

import pytest

from stitch.__main__ import main
from stitch.cli import batch
from stitch.core.errors import StitchError

STAND_IN = """
import json, os, pathlib, sys
clip, output, options = sys.argv[1], pathlib.Path(sys.argv[3]), sys.argv[4:]
if "bad" in clip:
    print(json.dumps({"event": "progress"}))
    print(json.dumps({"event": "error", "message": "no face found"}))
    sys.exit(1)
if "dead" in clip:
    os.kill(os.getpid(), 9)
output.write_text(json.dumps([options, os.environ.get("CUDA_VISIBLE_DEVICES")]))
"""


@pytest.fixture
def folder(tmp_path) -> Path:
    made = tmp_path / "clips"
    made.mkdir()
    for name in ("b.mp4", "a.MOV", "c.jpg", "notes.txt"):
        (made / name).touch()
    return made


@pytest.fixture
def program(monkeypatch) -> tuple[str, ...]:
    """What stands in for `stitch edit`."""
    command = (sys.executable, "-c", STAND_IN)
    monkeypatch.setattr(batch, "_PROGRAM", command)
    monkeypatch.setattr(batch.Job.__init__, "__defaults__", ((), command))
    return command


def run(*arguments) -> int:
    return main([str(argument) for argument in ("batch", *arguments)])


def test_batch_edits_every_clip_and_photo_of_a_folder_and_leaves_out_what_is_done(folder, program, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(folder, "-o", out, "--", "--edit", "smile=2", "--preset", "draft") == 0
    assert sorted(path.name for path in out.iterdir()) == ["a.mp4", "b.mp4", "c.jpg"]
    assert json.loads((out / "a.mp4").read_text())[0] == ["--edit", "smile=2", "--preset", "draft", "--json"]
    assert [line[:5] for line in capsys.readouterr().out.splitlines()] == ["[1/3]", "[2/3]", "[3/3]"]
    (out / "b.mp4").unlink()
    assert run(folder, "-o", out, "--", "--edit", "smile=2") == 0
    assert "2 of 3 results are there already" in capsys.readouterr().out
    assert json.loads((out / "a.mp4").read_text())[0][-2:] == ["draft", "--json"], "not made again"


def test_batch_takes_a_list_with_options_for_each_clip(program, tmp_path):
    (tmp_path / "list.json").write_text(json.dumps([
        {"clip": "one.mp4", "options": ["--edit", "age=-2"]}, {"clip": "sub/two.mov"}]))
    assert run(tmp_path / "list.json", "-o", tmp_path / "out", "--workers", "2", "--", "--preset", "draft") == 0
    assert json.loads((tmp_path / "out" / "one.mp4").read_text())[0][:4] == ["--preset", "draft", "--edit", "age=-2"]
    assert (tmp_path / "out" / "two.mp4").exists()


def test_batch_goes_on_after_a_clip_that_fails_and_says_why(folder, program, tmp_path, capsys):
    (folder / "bad.mp4").touch()
    (folder / "dead.mp4").touch()
    assert run(folder, "-o", tmp_path / "out", "--", "--edit", "smile=2") == 1
    told = capsys.readouterr()
    assert "bad.mp4: no face found" in told.out and "dead.mp4: the process ended with code -9" in told.out
    assert "2 of 5 clips failed" in told.err and len(list((tmp_path / "out").iterdir())) == 3


def test_batch_gives_each_gpu_one_clip_at_a_time(folder, program, tmp_path, monkeypatch):
    monkeypatch.setattr("stitch.runtime.device.cuda_devices", lambda: 2)
    assert run(folder, "-o", tmp_path / "out") == 0
    seen = {json.loads(path.read_text())[1] for path in (tmp_path / "out").iterdir()}
    assert seen <= {"0", "1"} and seen


@pytest.mark.parametrize(("content", "said"), [
    ("{", "not a list"), ('[{"clip": 3}]', "not a list"), ('[{"options": []}]', "not a list"), ("[]", "no clip"),
    ('[{"clip": "a.mp4"}, {"clip": "b/a.mov"}]', "both become a.mp4"),
])
def test_asked_refuses_lists_that_are_none(content, said, tmp_path):
    (tmp_path / "list.json").write_text(content)
    with pytest.raises(StitchError, match=said):
        batch.asked(tmp_path / "list.json", tmp_path / "out")
    with pytest.raises(StitchError, match="cannot be read"):
        batch.asked(tmp_path / "missing.json", tmp_path / "out")


def test_batch_refuses_options_before_anything_runs(folder, program, tmp_path, capsys):
    with pytest.raises(SystemExit):
        run(folder, "-o", tmp_path / "out", "--", "--edit", "smile")
    assert "smile" in capsys.readouterr().err and not list((tmp_path / "out").iterdir())


def test_batch_on_ray_edits_on_two_workers_and_without_ray_says_what_is_missing(folder, program, tmp_path, capsys):
    try:
        import ray  # noqa: F401
    except ImportError:
        assert run(folder, "-o", tmp_path / "out", "--ray", "local") == 1
        assert "pip install ray" in capsys.readouterr().err
        pytest.skip("the cluster's part needs the package ray")
    (folder / "bad.mp4").touch()
    assert run(folder, "-o", tmp_path / "out", "--ray", "local") == 1
    told = capsys.readouterr()
    assert "bad.mp4: no face found" in told.out and "1 of 4 clips failed" in told.err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.mp4", "b.mp4", "c.jpg"]
