"""Drawn clips as files."""

import json
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from stitch.__main__ import main
from stitch.core.events import Progress
from stitch.families import load
from stitch.families.about import Sample
from stitch.families.miniature.clips import draw_clip
from stitch.families.miniature.sample import run_lengths
from stitch.video import files


def test_run_lengths_give_back_the_label_map():
    labels = np.array([[0, 0, 1, 1], [1, 17, 17, 0]], np.uint8)
    pairs = run_lengths(labels)
    assert pairs == [[0, 2], [1, 3], [17, 2], [0, 1]]
    assert np.repeat(*np.array(pairs).T).reshape(labels.shape).tolist() == labels.tolist()


def test_sample_writes_a_clip_with_sound_and_its_truth(tmp_path, capsys):
    clip, truth = tmp_path / "clip.mp4", tmp_path / "truth.json"
    arguments = ["sample", clip, "--seed", 3, "--frames", 3, "--size", "96x72", "--fps", "30000/1001", "--truth", truth]
    assert main([str(argument) for argument in arguments]) == 0
    info = files.probe(clip)
    assert (info.width, info.height, info.frames, str(info.rate), info.audio) == (96, 72, 3, "30000/1001", True)
    told = json.loads(truth.read_text())
    drawn = list(draw_clip(3, 3, (96, 72), 30000 / 1001, "plain"))
    assert len(told["frames"]) == 3 and told["rate"] == "30000/1001"
    for frame, (_, what) in zip(told["frames"], drawn, strict=True):
        assert np.repeat(*np.array(frame["labels"]).T).tolist() == what.labels.ravel().tolist()
        assert np.abs(np.array(frame["people"][0]["landmarks"]) - what.people[0].landmarks).max() < 0.01
        assert {"identity", "attributes", "pose", "expression"} <= frame["people"][0].keys()
    pictures = np.stack(list(files.frames(info))).astype(int)
    assert np.abs(pictures - np.stack([frame for frame, _ in drawn])).mean() < 4


def test_sample_refuses_a_place_that_cannot_be_written(tmp_path, capsys):
    assert main(["sample", str(tmp_path / "no" / "clip.mp4"), "--frames", "1"]) == 1
    assert "no such folder" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["sample", str(tmp_path / "clip.mp4"), "--size", "8x8"])


@pytest.mark.parametrize("option", [("--scene", "busy"), ("--truth", "truth.json")])
def test_sample_refuses_what_the_family_does_not_have_and_names_who_does(tmp_path, capsys, option):
    with pytest.raises(SystemExit):
        main(["sample", str(tmp_path / "clip.mp4"), "--family", "portrait", *option])
    said = capsys.readouterr().err
    assert f"{option[0]}: the family portrait has none" in said and "--family miniature" in said
    assert list(tmp_path.iterdir()) == []


def test_sample_refuses_a_family_that_draws_none(tmp_path, capsys):
    assert main(["sample", str(tmp_path / "clip.mp4"), "--family", "ffhq"]) == 1
    assert "draws no clips" in capsys.readouterr().err


def test_sample_gives_each_family_what_was_asked(tmp_path, monkeypatch, capsys):
    asked = []

    def draw(sample):
        asked.append(sample)
        yield Progress("draw", 1, 1)

    known = {name: replace(one, sample=draw) for name, one in load.known().items()}
    monkeypatch.setattr(load, "known", lambda: known)
    path = tmp_path / "clip.mp4"
    assert main(["sample", str(path), "--family", "portrait", "--seed", "5", "--frames", "7", "--size", "400x300"]) == 0
    assert asked == [Sample(path, 5, 7, (400, 300), Fraction(25))]
    assert "7 frames" in capsys.readouterr().out
