"""Drawn clips as files."""

import json

import numpy as np
import pytest

from stitch.__main__ import main
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
