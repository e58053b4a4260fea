"""`stitch evaluate` from end to end, on drawn faces and their own networks."""

import json
import subprocess
import sys
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from stitch.__main__ import main
from stitch.families import load
from stitch.video import files
from tests.clips import make_clip

REPOSITORY = Path(__file__).resolve().parents[2]


DRAWN = REPOSITORY / "stitch" / "families" / "miniature" / "samples" / "demo.mp4"


@pytest.fixture
def drawn(tmp_path):
    """Some frames of a drawn clip, and what another program made of them: framed in black, brighter, noisy."""
    clean = list(islice(files.frames(files.probe(DRAWN)), 6))
    rng = np.random.default_rng(0)
    noisy = [np.clip(frame * 1.05 + rng.normal(0, 6, frame.shape), 0, 255).astype(np.uint8) for frame in clean]
    framed = [np.pad(frame, ((30, 30), (0, 0), (0, 0))) for frame in noisy]
    return make_clip(tmp_path / "original.mp4", clean), make_clip(tmp_path / "edited.mp4", framed, options={"crf": "4"})


def events(capsys):
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_evaluate_measures_two_drawn_clips_and_writes_the_report(drawn, tmp_path, capsys):
    folder = tmp_path / "new" / "report"
    arguments = [str(one) for one in drawn] + ["--report", str(folder), "--family", "miniature", "--edit", "smile=1"]
    assert main(["evaluate", *arguments, "--json"]) == 0
    told = events(capsys)
    result = told[-1]
    assert result["type"] == "result" and result["compared_frames"] == result["face_frames"] == 6
    measures = {name: one["value"] for name, one in result["measures"].items()}
    assert measures["tl_id"] == pytest.approx(1, abs=0.05) and measures["identity"] > 0.7
    assert measures["flicker"] > 1.2 and 3 < measures["background_mean"] < 12 and measures["edit smile"] is not None
    assert result["attributes"]["independent"] is False and "smile" in result["attributes"]["moved"]
    assert any("black bars are cut off" in one["message"] for one in told if one["type"] == "notice")
    kept = json.loads((folder / "evaluation.json").read_text())
    assert kept["measures"] == result["measures"] and len(kept["per_frame"]["flicker_edited"]) == 6
    assert Path(result["report"]).read_text().startswith("<!doctype html>")


@pytest.fixture
def quick(family, monkeypatch):
    """The untrained family in place of any other."""
    monkeypatch.setattr(load, "load_family", lambda *_: family)


def test_evaluate_prints_a_table_and_what_is_not_there(clip, tmp_path, capsys, quick):
    copy = make_clip(tmp_path / "copy.mp4", list(files.frames(files.probe(clip))))
    assert main(["evaluate", str(clip), str(copy)]) == 0
    out = capsys.readouterr().out
    assert "8 frames, the face in 8" in out and "TL-ID" in out and "nan" not in out.lower()
    assert "no independent reader" in out and "Seam: where another program pasted" in out


@pytest.mark.parametrize(("extra", "said"), [
    (["--face", "3"], "face 3: only one face is seen"), (["--run", "nowhere"], "no finished run of this version"),
])
def test_evaluate_goes_on_with_what_can_be_measured(clip, tmp_path, capsys, quick, extra, said):
    copy = make_clip(tmp_path / "copy.mp4", list(files.frames(files.probe(clip))))
    assert main(["evaluate", str(clip), str(copy), *extra]) == 0
    assert said in capsys.readouterr().out


def test_evaluate_refuses_in_a_sentence(clip, tmp_path, capsys, quick):
    (tmp_path / "text.mp4").write_text("no clip")
    for arguments, said in (
        ([clip, tmp_path / "text.mp4"], "text.mp4"), ([clip, clip], "the original itself"),
        ([clip, tmp_path / "text.mp4", "--report", clip], "report folder"),
        ([clip, clip, "--edit", "smile=0@0,2@1"], "one strength"),
    ):
        assert main(["evaluate", *map(str, arguments)]) == 1
        out, err = capsys.readouterr()
        assert said in err and "Traceback" not in out + err


def test_evaluate_help_needs_no_torch():
    code = "import sys; from stitch.cli.arguments import parser; parser(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
