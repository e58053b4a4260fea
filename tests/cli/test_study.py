"""`stitch study` from end to end with the untrained family."""

import json

import pytest

from stitch.__main__ import main
from stitch.families import load


@pytest.fixture
def quick(family, brief):
    """The untrained family, and presets of one step."""


def test_study_ablation_writes_record_table_and_pictures(clip, tmp_path, capsys, quick):
    out = tmp_path / "new" / "out"
    asked = ["study", "ablation", str(clip), "--out", str(out), "--frames", "3", "--projection", "2", "--json",
             "--only", "full", "--only", "optimised_pivots", "--only", "no_smoothing"]
    assert main(asked) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert told[-1]["type"] == "result" and list(told[-1]["variants"]) == ["full", "optimised_pivots", "no_smoothing"]
    kept = json.loads((out / "ablation.json").read_text())
    assert kept["clips"]["clip"]["full"]["frames"] == 3 and kept["frames"] == 3
    assert kept["clips"] == told[-1]["clips"]
    assert {"side_by_side.mp4", "sheet.png", "full.mp4"} <= {path.name for path in (out / "clip").iterdir()}


def test_study_presets_draws_cost_against_quality(clip, tmp_path, capsys, quick):
    out = tmp_path / "out"
    asked = ["study", "presets", str(clip), "--out", str(out), "--frames", "2", "--only", "draft", "--only", "fast",
             "--only", "tuning_x2"]
    assert main(asked) == 0
    assert "| fast, tuning steps x2 |" in capsys.readouterr().out
    page = (out / "presets.html").read_text()
    assert "Cost against quality, family miniature" in page and "plotly.js v" in page
    assert json.loads((out / "presets.json").read_text())["clips"]["clip"]["draft"]["total_s"] > 0


def test_study_length_writes_record_and_page(clip, tmp_path, capsys, quick):
    out = tmp_path / "out"
    assert main(["study", "length", str(clip), "--out", str(out), "--frames", "6", "--preset", "draft"]) == 0
    assert "6 frames: ms a frame track" in capsys.readouterr().out
    assert json.loads((out / "length.json").read_text())["rows"][0]["frames"] == 6
    assert "Cost against length, family miniature" in (out / "length.html").read_text()
    assert main(["study", "length", str(clip), str(clip), "--out", str(out)]) == 1
    assert "length takes one clip" in capsys.readouterr().err


@pytest.mark.parametrize(("extra", "said"), [
    (["--only", "fool"], "--only fool: not known; there are full,"),
    (["--edit", "smiel=2"], "smiel"), (["--edit", "smile=0@0,2@1"], "one strength"), (["--face", "3"], "face 3"),
])
def test_study_refuses_in_a_sentence(clip, tmp_path, capsys, quick, extra, said):
    assert main(["study", "ablation", str(clip), "--out", str(tmp_path / "out"), "--projection", "1", *extra]) == 1
    out, err = capsys.readouterr()
    assert said in err and "Traceback" not in out + err


def test_study_refuses_a_folder_that_cannot_be_written_before_any_work(clip, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(load, "load_family", lambda *_: pytest.fail("the family was loaded"))
    assert main(["study", "ablation", str(clip), "--out", str(clip)]) == 1
    assert "clip.mp4" in capsys.readouterr().err
