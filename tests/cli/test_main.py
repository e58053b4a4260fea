"""The command line: what it does, how it refuses, and that nothing is lost when it is stopped."""

import errno
import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from stitch.__main__ import main
from stitch.cli.arguments import parser, source_and_settings
from stitch.core.errors import VideoError
from stitch.core.settings import PRESETS, Settings
from stitch.families import load
from stitch.methods.stit import pipeline
from stitch.runtime import disk
from stitch.video import files
from tests.conftest import draw_clip

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def tiny(family, monkeypatch):
    """The untrained family, and presets that take a second."""
    monkeypatch.setattr(load, "load_family", lambda *_: family)
    full = Settings.preset

    def short(name, presets=PRESETS):
        settings = full(name, presets)
        steps = {"paper": 3, "fast": 2, "draft": 1}[name]
        return replace(
            settings, tune=replace(settings.tune, epochs=steps, least_steps=9),
            stitching=replace(settings.stitching, steps=steps),
        )

    monkeypatch.setattr(Settings, "preset", staticmethod(short))


def run(*arguments):
    return main([str(argument) for argument in arguments])


def refused(capsys, *arguments):
    """The one line of a refusal."""
    assert run(*arguments) == 1
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    line = err.strip().splitlines()[-1]
    assert line.startswith("stitch: error: ")
    return line.removeprefix("stitch: error: ")


def frames_of(path):
    return np.stack(list(files.frames(files.probe(path))))


def test_edit_writes_everything_and_says_so(clip, tmp_path, capsys):
    names = ["out.mp4", "beside.mp4", "sheet.png"]
    out, beside, sheet = (tmp_path / name for name in names)
    assert run("edit", clip, "-o", out, "--edit", "smile=2", "--edit", "age=-1", "--text", "a face with glasses",
               "--comparison", beside, "--sheet", sheet) == 0
    told = capsys.readouterr().out
    assert "8 of 8 frames edited" in told and all(str(tmp_path / name) in told for name in names)
    assert re.search(r"took +\d+ s, \d+ MiB", told)
    assert files.probe(out).frames == 8


def test_edit_of_a_photo_writes_pictures(clip, tmp_path, capsys):
    photo, out, beside = (tmp_path / name for name in ("me.jpg", "out.webp", "beside.png"))
    Image.fromarray(frames_of(clip)[0]).save(photo, quality=95)
    assert run("edit", photo, "-o", out, "--edit", "smile=2", "--comparison", beside, "--preset", "fast") == 0
    told = capsys.readouterr()
    assert "1 of 1 frames edited" in told.out and "TL-ID" not in told.out and "nan" not in told.out
    assert re.search(r"tune .*9/9", told.err), "PTI's steps for one picture, or the preset's share of them"
    with Image.open(out) as picture:
        assert picture.format == "WEBP" and picture.size == (176, 128)
    assert run("estimate", photo, "--preset", "draft") == 0


def test_edit_of_a_photo_refuses_a_clips_name_before_any_work(clip, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(load, "load_family", None)
    photo = tmp_path / "me.jpg"
    Image.fromarray(frames_of(clip)[0]).save(photo)
    line = refused(capsys, "edit", photo, "-o", tmp_path / "out.mp4", "--edit", "smile=2")
    assert "the name of the edited photo must end in .png or .jpg" in line
    line = refused(capsys, "edit", clip, "-o", tmp_path / "out.png", "--edit", "smile=2")
    assert "the name of the edited clip must end in .mp4" in line
    line = refused(capsys, "edit", photo, "-o", photo, "--edit", "smile=2")
    assert "would overwrite the source photo" in line


def test_edit_of_a_photo_that_is_missing_says_so(tmp_path, capsys):
    line = refused(capsys, "edit", tmp_path / "none.jpg", "-o", tmp_path / "out.png", "--edit", "smile=2")
    assert "there is no such file" in line


def test_edit_prints_one_event_a_line_as_json(clip, tmp_path, capsys):
    assert run("edit", clip, "-o", tmp_path / "out.mp4", "--edit", "smile=2", "--preset", "draft", "--json") == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    kinds = {event["type"] for event in events}
    assert kinds <= {"progress", "notice", "preview", "result"} and {"progress", "preview", "result"} <= kinds
    stages = list(dict.fromkeys(event["stage"] for event in events if event["type"] == "progress"))
    assert stages == ["track", "align", "invert", "tune", "stitching", "merge"]
    result = events[-1]
    assert result["type"] == "result" and result["edited_frames"] == 8 and result["measures"]["tl_id"] > 0


def test_edit_prints_errors_as_json_too(clip, tmp_path, capsys):
    assert run("edit", clip, "-o", tmp_path / "out.mp4", "--edit", "smlie=2", "--json") == 1
    out, err = capsys.readouterr()
    event = json.loads(out.splitlines()[-1])
    assert (event["type"], event["error"]) == ("error", "EditError") and event["message"] in err


def test_edit_is_quiet_when_asked(clip, tmp_path, capsys):
    assert run("edit", clip, "-o", tmp_path / "out.mp4", "--edit", "smile=2", "--preset", "draft", "-q") == 0
    out, err = capsys.readouterr()
    assert out == "" and err == ""


def test_progress_has_stage_count_rate_and_time_left(clip, tmp_path, capsys):
    assert run("edit", clip, "-o", tmp_path / "out.mp4", "--edit", "smile=2") == 0
    err = capsys.readouterr().err
    assert re.search(r"tune .*100%.*16/16 \[\d\d:\d\d<\d\d:\d\d, .*step", err)
    assert re.search(r"merge .*8/8", err)


def test_edit_reuses_a_prepared_run_without_the_clip(clip, tmp_path, capsys, monkeypatch):
    folder = tmp_path / "run"
    assert run("prepare", clip, "--run", folder, "--preset", "draft", "--start", "0.08") == 0
    assert f"edit --run {folder}" in capsys.readouterr().out
    monkeypatch.setattr(pipeline.tune, "tune", lambda *_: pytest.fail("tuned again"))
    for number, preset in enumerate(([], ["--preset", "paper"])):
        out = tmp_path / f"out{number}.mp4"
        assert run("edit", "--run", folder, "-o", out, "--edit", "smile=2", *preset) == 0
        assert files.probe(out).frames == 6


def test_second_edit_of_the_same_clip_reuses_the_implicit_run(clip, tmp_path, monkeypatch):
    assert run("edit", clip, "-o", tmp_path / "one.mp4", "--edit", "smile=2") == 0
    monkeypatch.setattr(pipeline.tune, "tune", lambda *_: pytest.fail("tuned again"))
    assert run("edit", clip, "-o", tmp_path / "two.mp4", "--edit", "age=2") == 0


def test_edit_with_another_run_names_the_difference(clip, tmp_path, capsys):
    run("prepare", clip, "--run", tmp_path / "run", "--preset", "draft")
    line = refused(capsys, "edit", clip, "--run", tmp_path / "run", "-o", tmp_path / "out.mp4", "--edit", "smile=1")
    assert "tune.epochs = 1, not 2" in line and "--run" in line
    line = refused(capsys, "edit", "--run", tmp_path / "nothing", "-o", tmp_path / "out.mp4", "--edit", "smile=1")
    assert "no prepared run here" in line


def test_what_stitching_tunes_can_be_asked_for_and_is_the_presets_otherwise(clip):
    def stitching(*options):
        return source_and_settings(parser().parse_args(["edit", str(clip), "-o", "out.mp4", *options]))[1].stitching

    assert stitching("--preset", "paper").tuned == "weights" and stitching().tuned == "features"
    asked = stitching("--steps", "7", "--tuned", "weights", "--shared-steps", "0")
    assert (asked.steps, asked.tuned, asked.shared_steps) == (7, "weights", 0)


def test_estimate_says_time_and_memory_for_people_and_programs(clip, capsys):
    assert run("estimate", clip, "--preset", "draft", "--end", "0.2", "--json") == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    result = lines[-1]
    assert result["type"] == "result" and result["total_s"] == pytest.approx(sum(result["stages_s"].values()))
    assert list(result["stages_s"]) == ["track", "align", "invert", "tune", "stitching", "merge"]
    assert {line["type"] for line in lines[:-1]} == {"progress"} and result["memory_bytes"] > 2**20
    assert "no such file" in refused(capsys, "estimate", clip.with_name("nothing.mp4")).lower()


def test_edits_lists_names_ranges_and_meaning(capsys):
    assert run("edits") == 0
    told = capsys.readouterr().out
    assert "smile" in told and "corners of the mouth" in told and "happy" in told and "-3 and 3" in told
    assert run("edits", "--json") == 0
    assert {row["name"] for row in json.loads(capsys.readouterr().out)["edits"]} == {"smile", "age"}


def test_edits_lists_the_words_of_a_family_that_knows_some(family, capsys):
    assert run("edits", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["texts"] == (family.relevance is not None)
    assert told["words"] == ["beard", "glasses"], "what says nothing of a face is left out"


def test_edits_says_who_found_each_direction(family, monkeypatch, capsys):
    smile = replace(family.directions["smile"], origin="published")
    mixed = replace(family, directions={**family.directions, "smile": smile})
    monkeypatch.setattr(load, "load_family", lambda *_: mixed)
    assert run("edits", "--json") == 0
    rows = json.loads(capsys.readouterr().out)["edits"]
    assert {row["name"]: row["origin"] for row in rows} == {"smile": "published", "age": "ours"}
    assert run("edits") == 0
    told = capsys.readouterr().out
    assert "(-: sad, +: happy), published\n" in told and "published: taken as others published it" in told
    assert "yours:" not in told


# --- wrong usage -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "COMMAND"),
        (["edit", "in.mp4"], "-o/--output"),
        (["edit", "-o", "out.mp4"], "name the clip"),
        (["edit", "in.mp4", "-o", "o.mp4", "--edit", "smile"], "NAME=STRENGTH"),
        (["edit", "in.mp4", "-o", "o.mp4", "--edit", "smile=much"], "'much' is not a number"),
        (["edit", "in.mp4", "-o", "o.mp4", "--edit", "smile=nan"], "'nan' is not a number"),
        (["edit", "in.mp4", "-o", "o.mp4", "--edit", "smile=1@x"], "'x' is not a number"),
        (["edit", "in.mp4", "-o", "o.mp4", "--start", "-1"], "before the clip begins"),
        (["edit", "in.mp4", "-o", "o.mp4", "--face", "0"], "from 1 on"),
        (["edit", "in.mp4", "-o", "o.mp4", "--threshold", "7"], "between 0 and 1"),
        (["edit", "in.mp4", "-o", "o.mp4", "--crf", "90"], "0 to 51"),
        (["edit", "in.mp4", "-o", "o.mp4", "--preset", "best"], "invalid choice"),
        (["edit", "in.mp4", "-o", "o.mp4", "--text", "a", "--text", "b", "--text", "c", "--neutral", "d", "--neutral",
          "e"], "--neutral: give one"),
        (["sample", "o.mp4", "--size", "640"], "640"),
        (["sample", "o.mp4", "--fps", "0"], "frames a second"),
    ],
)
def test_wrong_usage_exits_with_2_and_says_why(arguments, words, capsys):
    with pytest.raises(SystemExit) as caught:
        run(*arguments)
    assert caught.value.code == 2
    assert words in capsys.readouterr().err


def test_help_does_not_load_torch():
    code = "import runpy, sys; sys.argv = ['stitch', 'edit', '--help']\n"
    code += "try:\n    runpy.run_module('stitch', run_name='__main__')\n"
    code += "except SystemExit: print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY, check=True)
    assert done.stdout.endswith("False\n")


def test_strength_over_time_is_value_at_seconds(clip, tmp_path, monkeypatch, capsys):
    asked = []

    def edit_video(_, edits, *rest):
        asked.extend(edits)
        raise VideoError("enough")
        yield

    monkeypatch.setattr(pipeline, "edit_video", edit_video)
    line = refused(
        capsys, "edit", clip, "-o", tmp_path / "out.mp4", "--preset", "draft", "--edit", "smile=0@0,2@1.5",
        "--raw-edit", "age=7", "--text", "a", "--text", "b", "--text-strength", "-1", "--neutral", "c",
        "--neutral", "d",
    )
    assert line == "enough"
    assert asked[0].strength == ((0.0, 0.0), (1.5, 2.0)) and asked[1].raw
    assert [(text.target, text.neutral, text.strength) for text in asked[2:]] == [("a", "c", -1.0), ("b", "d", -1.0)]


# --- bad input -------------------------------------------------------------------------------------------------------


def bad_clip(kind, folder):
    path = folder / f"{kind}.mp4"
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("once upon a time\n" * 50)
    elif kind == "truncated":
        whole = draw_clip(folder / "whole.mp4").read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
    elif kind == "sound":
        with av.open(str(path), "w") as container:
            stream = container.add_stream("aac", rate=16000, layout="mono")
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), format="fltp", layout="mono")
            frame.sample_rate = 16000
            container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    elif kind == "folder":
        path.mkdir()
    elif kind == "faceless":
        draw_clip(path, discs=0)
    elif kind == "small":
        draw_clip(path, radius=14)
    return path


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("missing", "missing.mp4"),
        ("empty", "empty.mp4"),
        ("text", "text.mp4"),
        ("truncated", "truncated.mp4"),
        ("sound", "sound.mp4"),
        ("folder", "folder.mp4"),
        ("faceless", "no face"),
        ("small", "48"),
    ],
)
def test_bad_clip_is_refused_in_words(kind, words, tmp_path, capsys):
    path = bad_clip(kind, tmp_path)
    line = refused(capsys, "edit", path, "-o", tmp_path / "out.mp4", "--edit", "smile=1")
    assert words in line
    assert not (tmp_path / "out.mp4").exists()


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (["--edit", "smile=50"], "out of range"),
        (["--edit", "smlie=1"], "did you mean 'smile'"),
        (["--edit", "wings=1"], "known edits: age, smile"),
        (["--text", "   "], "text edit"),
        ([], "no edit"),
    ],
)
def test_bad_edit_is_refused_before_the_long_work(edit, words, clip, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(pipeline, "prepare", lambda *_: pytest.fail("began"))
    assert words in refused(capsys, "edit", clip, "-o", tmp_path / "out.mp4", *edit)


def test_bad_output_is_refused_before_anything_is_loaded(clip, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(load, "load_family", lambda *_: pytest.fail("loaded"))
    assert "overwrite the source" in refused(capsys, "edit", clip, "-o", clip, "--edit", "smile=1")
    assert "no such folder" in refused(capsys, "edit", clip, "-o", tmp_path / "no" / "out.mp4", "--edit", "smile=1")
    if sys.platform == "linux":
        assert "cannot be written" in refused(capsys, "edit", clip, "-o", "/proc/out.mp4", "--edit", "smile=1")


def test_run_folder_that_cannot_be_written_is_named(clip, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    folder = tmp_path / "file" / "run"
    line = refused(capsys, "edit", clip, "-o", tmp_path / "o.mp4", "--edit", "smile=1", "--run", folder)
    assert "cannot be written" in line


def test_full_disk_is_an_error_that_can_be_resumed(clip, tmp_path, capsys, monkeypatch):
    arguments = ("edit", clip, "-o", tmp_path / "out.mp4", "--edit", "smile=1", "--preset", "draft")
    flushed = []

    def full(descriptor):
        flushed.append(descriptor)
        if len(flushed) > 12:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(disk.os, "fsync", full)
        line = refused(capsys, *arguments)
    assert "disk is full" in line and "free some space" in line
    assert not (tmp_path / "out.mp4").exists()
    assert run(*arguments) == 0


def test_one_frame_is_a_clip(tmp_path):
    clip = draw_clip(tmp_path / "one.mp4", frames=1, sound=False)
    assert run("edit", clip, "-o", tmp_path / "out.mp4", "--edit", "smile=1") == 0
    assert files.probe(tmp_path / "out.mp4").frames == 1


def test_largest_of_two_faces_is_edited_unless_another_is_asked_for(tmp_path, capsys):
    clip = draw_clip(tmp_path / "two.mp4", discs=2, size=(224, 128), radius=36)
    changed = {}
    for face in (1, 2):
        out = tmp_path / f"out{face}.mp4"
        assert run("edit", clip, "-o", out, "--edit", "smile=4", "--face", face, "--crf", "4") == 0
        change = np.abs(frames_of(out).astype(int) - frames_of(clip)).mean(axis=(0, 1, 3))
        changed[face] = (change[12:84].mean(), change[140:190].mean())
    assert changed[1][0] > changed[1][1] and changed[2][0] < changed[2][1]
    capsys.readouterr()
    assert "3" in refused(capsys, "edit", clip, "-o", tmp_path / "o.mp4", "--edit", "smile=1", "--face", "3")


def test_face_cut_by_the_border_and_a_cut_between_shots_go_through(tmp_path):
    clip = draw_clip(tmp_path / "border.mp4", size=(176, 80), radius=44, cut=4)
    assert run("edit", clip, "-o", tmp_path / "out.mp4", "--edit", "smile=1") == 0
    assert files.probe(tmp_path / "out.mp4").frames == 8


def test_4k_clip_goes_through(tmp_path):
    clip = draw_clip(tmp_path / "4k.mp4", frames=2, size=(3840, 2160), radius=600, sound=False)
    assert run("edit", clip, "-o", tmp_path / "out.mp4", "--edit", "smile=1", "--comparison", tmp_path / "c.mp4") == 0
    info = files.probe(tmp_path / "out.mp4")
    assert (info.width, info.height, info.frames) == (3840, 2160, 2)


def test_ffhq_says_what_is_missing_when_offline(clip, tmp_path, capsys, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    line = refused(capsys, "edit", clip, "-o", tmp_path / "out.mp4", "--edit", "smile=1", "--family", "ffhq")
    assert "not here yet, and HF_HUB_OFFLINE forbids to fetch it" in line


# --- stopped ---------------------------------------------------------------------------------------------------------


def test_ctrl_c_leaves_a_run_that_the_same_command_resumes(clip, tmp_path, capsys, monkeypatch):
    arguments = ("edit", clip, "-o", tmp_path / "out.mp4", "--edit", "smile=1")
    original = pipeline.merge.paste
    calls = []

    def pressed(*given):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return original(*given)

    with monkeypatch.context() as patch:
        patch.setattr(pipeline.merge, "paste", pressed)
        assert run(*arguments) == 130
    out, err = capsys.readouterr()
    assert "the same command goes on from here" in err and "Traceback" not in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "clip.mp4"]
    monkeypatch.setattr(pipeline.tune, "tune", lambda *_: pytest.fail("tuned again"))
    assert run(*arguments) == 0


def test_killed_at_any_moment_the_same_command_ends_with_the_same_frames(tmp_path):
    sample = tmp_path / "sample.mp4"
    assert run("sample", sample, "--seed", 5, "--frames", 8, "--size", "320x240") == 0

    def start(name):
        command = [
            sys.executable, "-m", "stitch", "edit", str(sample), "-o", str(tmp_path / f"{name}.mp4"), "--edit",
            "smile=1", "--preset", "draft", "--run", str(tmp_path / name), "--threads", "1", "--json",
        ]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, cwd=REPOSITORY, stdout=pipe, stderr=pipe, text=True)

    whole = start("whole")
    assert whole.communicate()[1] == "" and whole.returncode == 0
    for stage, how, code in (("tune", "SIGKILL", -9), ("stitching", "SIGINT", 130), ("merge", "SIGKILL", -9)):
        broken = start("broken")
        for line in broken.stdout:
            event = json.loads(line)
            if event["type"] == "progress" and event["stage"] == stage and event["done"] > 2:
                broken.send_signal(getattr(signal, how))
                break
        assert "Traceback" not in broken.communicate()[1] and broken.returncode == code
        assert not (tmp_path / "broken.mp4").exists()
    again = start("broken")
    assert again.communicate()[1] == "" and again.returncode == 0
    assert (frames_of(tmp_path / "whole.mp4") == frames_of(tmp_path / "broken.mp4")).all()
