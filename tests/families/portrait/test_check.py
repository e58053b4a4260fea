"""The check of the family portrait: its arithmetic by hand, its course with judges that answer at once."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from stitch.core.records import Edit
from stitch.core.settings import Settings
from stitch.families.portrait import check, scores
from tests.families.portrait import tiny

NEUTRAL = {"mouthSmileLeft": 0.2, "mouthSmileRight": 0.4, "eyeBlinkLeft": 0.1, "eyeBlinkRight": 0.3, "jawOpen": 0.05}
NEUTRAL |= {f"expression {number}": 0.0 for number in range(len(NEUTRAL), 52)}


class Fake:
    """Judges that read a smile from the picture's red and years from its green, and know a person by its colour."""

    def mesh(self, crop):
        points = np.random.default_rng(0).uniform(0.3, 0.7, (478, 2)).astype(np.float32) * crop.shape[0]
        points[[33, 133, 263, 362]] = np.array([[1], [2], [6], [7]]) * crop.shape[0] / 8
        points[0] = points[1] + (0, crop[..., 0].mean() / 255)
        return points

    def expressions(self, points):
        red = float(points[0, 1] - points[1, 1])
        return NEUTRAL | {"mouthSmileLeft": red, "mouthSmileRight": red}

    def age_and_gender(self, crop, points):
        return float(crop[..., 1].mean() / 255 * 99), 0.5, np.ones(4)

    def dlib(self, crop, points):
        return crop.reshape(-1, 3).mean(0) / 255 + 1

    def happy(self, crop, points):
        return float(crop[..., 0].mean() / 255)

    def hair(self, crop):
        return np.ones((128, 128), np.float32)

    def parse(self, crop):
        return np.ones((128, 128), np.uint8)


@pytest.fixture
def portrait(family):
    """The tests' family with a generator of the family portrait's architecture."""
    generator = tiny.generator()
    encoder = type(family.encoder)(generator).requires_grad_(False)
    directions = {name: replace(family.directions["smile"], vector=torch.eye(8)[index] * 3)
                  for index, name in enumerate(scores.SCALES)}
    channels = sum(layer.dimension for layer in generator.layers if layer.is_conv)
    relevance = torch.randn(channels, family.relevance.shape[1], generator=torch.Generator().manual_seed(0))
    texts = {"relevance": relevance, "style_std": torch.ones(channels), "text_channels": 5}
    return replace(family, generator=generator, encoder=encoder, directions=directions, **texts)


@pytest.fixture
def case(clip):
    quick = Settings.preset("draft")
    settings = replace(
        quick, tune=replace(quick.tune, epochs=1, least_steps=0), stitching=replace(quick.stitching, steps=1)
    )
    return check.Case(clip, settings, ("smile", "age"), True, Edit("smile", 2.0))


def readings(**changed):
    return {name: np.zeros(2) + 0.5 * (name == "smile") for name in scores.SCALES} | changed


def test_attributes_grow_with_what_sliders_say():
    found = scores.attributes(NEUTRAL, 40.0, 0.5)
    assert found == pytest.approx({"smile": 0.3, "age": 40, "gender": 0, "eyes_open": -0.2, "mouth_open": 0.05})
    assert scores.attributes(NEUTRAL, 40.0, 1.0)["gender"] == pytest.approx(scores.LIMITS["gender"][1], abs=0.02)


def test_mesh_errors_are_shares_of_the_distance_of_the_eyes():
    truth = np.zeros((2, 478, 2))
    truth[:, [263, 362], 0] = 50.0
    found = truth.copy()
    found[1, :, 1] += 5.0
    assert scores.mesh_errors(found, truth) == pytest.approx(
        {"landmarks": 0.05, "landmarks_worst": 0.1, "lids_lips": 0.05}
    )
    found = truth.copy()
    found[:, 1] += 3.0  # the tip of the nose
    assert scores.mesh_errors(found, truth)["lids_lips"] == 0 < scores.mesh_errors(found, truth)["landmarks"]


def test_likeness_counts_frames_of_the_same_person():
    before = np.array([[1.0, 0.0], [1.0, 0.1]])
    found = scores.likeness(before, before + np.array([[0.3, 0.0], [0.5, 0.0]]))
    assert found["same_person"] == 0.5 and found["same_person_lfw"] == 1.0
    assert found["identity"] == pytest.approx(0.4) and found["identity_worst"] == pytest.approx(0.5)
    assert found["identity_of_clip"] == pytest.approx(0.1)
    assert scores.likeness(before[:1], before[:1])["identity_of_clip"] == 0


def test_consistency_of_an_unedited_clip_is_one():
    clip = np.random.default_rng(0).normal(size=(5, 8)) + 3
    assert scores.consistency(clip, clip) == pytest.approx({"tl_id": 1, "tl_id_off": 0, "tg_id": 1})
    assert scores.consistency(clip[:1], clip[:1]) == {}


def test_edit_scores_tell_gain_and_leak_in_units():
    smiling = readings(smile=np.full(2, 0.5 + 0.29), age=np.full(2, -6.45))
    found = scores.edit_scores("smile", 2.0, readings(), smiling)
    assert found["gain"] == pytest.approx(1) and found["change"] == pytest.approx(0.29) and found["right"]
    assert (found["leak_to"], found["leak"]) == ("age", pytest.approx(0.5))
    assert scores.edit_scores("smile", -2.0, readings(), smiling)["right"] is False


def test_edit_scores_do_not_judge_where_the_reader_ends():
    found = scores.edit_scores("mouth_open", -2.0, readings(), readings())
    assert found["room"] == 0 and found["right"] is None
    assert scores.edit_scores("mouth_open", 2.0, readings(), readings())["right"] is False


def test_missed_and_strength():
    assert scores.missed(readings(), readings(age=np.array([12.9, -12.9])))["age"] == pytest.approx(1)
    edits = {"smile +2": {"change": 0.3, "identity": 0.2}, "age -2": {"change": -9.0, "identity": 0.4}}
    assert scores.strength(edits) == {
        "smile_gain": 0.3, "smile_identity": 0.2, "years_younger": 9.0, "younger_identity": 0.4
    }
    assert scores.strength({}) == {}


def test_report_judges_each_clip_by_the_presets_bars():
    figures = {"frames_lost": 0, "tuned_db": 29.0, "boundary_ratio": 0.4, "edits": {}}
    edits = {"age +2": scores.edit_scores("age", 2.0, readings(), readings(age=np.full(2, 9.0))) | {"identity": 0.2}}
    clips = {"one": figures, "two": {**figures, "frames_lost": 1, "edits": edits}}
    found = scores.report(clips, "fast")
    assert found["bars"]["frames_lost"]["met"] == {"one": True, "two": False} and not found["met"]
    assert found["bars"]["tuned_db"]["met"] == {"one": True, "two": True}
    assert found["bars"]["tl_id_off"]["met"] == {}
    assert found["edits"]["age +2"]["right"] == found["edits"]["age +2"]["judged"] == 1
    assert not scores.verdicts(figures, "paper")["tuned_db"] and "tuned_db" not in scores.verdicts(figures, "draft")
    lines = scores.table(json.loads(json.dumps(found))).splitlines()
    assert any(line.startswith("frames_lost") and line.count("MISSED") == 1 and "<= 0" in line for line in lines)
    assert any(line.startswith("age +2") and "1/1" in line for line in lines)


def test_prompts_are_judged_over_all_clips_together():
    prompt = scores.Prompt("a young face", "a face", "age", -1, 10.0)
    found = scores.prompt_scores(prompt, {"age": np.array([40.0, 30.0])}, {"age": np.array([32.0, 26.0])})
    assert found == {"gain": pytest.approx(0.6), "right": True}
    unread = scores.prompt_scores(prompt, {"age": np.full(1, np.nan)}, {"age": np.full(1, 3.0)})
    assert np.isnan(unread["gain"]) and not unread["right"]
    clips = [{"edits": {}, "prompts": {"a young face": {"gain": gain}}} for gain in (0.6, -0.5, float("nan"))]
    assert scores.prompts_over_clips(clips) == {"a young face": {"gain": pytest.approx(0.05), "right": False}}
    report = scores.report({"one": clips[0]}, "draft")
    assert not report["met"] and "1 of 1 right" in scores.table(report)


@pytest.mark.parametrize(
    ("count", "wanted", "rows"), [(8, 2, [2, 6]), (60, 3, [10, 30, 50]), (1, 6, [0]), (3, 3, [0, 1, 2])]
)
def test_spread_takes_the_middles_of_equal_parts(count, wanted, rows):
    assert check.spread(count, wanted).tolist() == rows


def test_checked_finds_figures_and_pictures_once(case, portrait, tmp_path, monkeypatch):
    figures, pictures = check.checked(case, portrait, Fake(), tmp_path)
    assert figures["frames"] == 8 and figures["frames_lost"] == 0 == figures["pixels_changed_outside"]
    assert set(figures["edits"]) == {"smile +2", "smile -2", "age +2", "age -2"}
    assert list(figures["prompts"]) == [prompt.target for prompt in scores.PROMPTS]
    assert {"encoder_db", "refined_db", "tuned_db", "tuned_distance", "landmarks", "same_person", "tl_id_off_dlib",
            "boundary_ratio", "smile_gain", "years_younger", "peak_mib", "pasted_identity"} <= set(figures)
    assert list(pictures) == ["original", "tuned", *figures["edits"], "smile +2, pasted"]
    assert all(images.shape == (2, 32, 32, 3) for images in pictures.values())
    monkeypatch.setattr(check, "judge", None)
    again, shown = check.checked(case, portrait, Fake(), tmp_path)
    assert again == json.loads(json.dumps(figures))
    assert all(np.array_equal(shown[name], pictures[name]) for name in pictures)
    check.save_sheet(tmp_path / "sheet.png", {"clip": shown}, "portrait")
    assert (tmp_path / "sheet.png").stat().st_size > 1000


def test_case_has_another_key_for_other_edits_and_the_same_run(case):
    other = replace(case, edits=("age",))
    assert other.run_key == case.run_key and other.key != case.key
    longer = replace(case, settings=replace(case.settings, tune=replace(case.settings.tune, epochs=2)))
    assert longer.run_key != case.run_key


def test_settings_for_takes_the_first_frames_and_the_familys_preset(clip):
    settings = check.settings_for(clip, 5, "fast", size=256, shared_steps=3)
    assert settings.video.end_s == pytest.approx(0.2) and settings.stitching.shared_steps == 3
    assert settings.align.size == 256
    assert settings.tune == check.ABOUT.presets["fast"].tune
    assert check.settings_for(clip, 60, "fast", epochs=2).tune.steps(8) == 16


@pytest.mark.parametrize(("given", "said"), [
    ([], "nobody.mp4: no such clip"),
    (["--edits", "smile,hat"], "edits nobody can read: hat; known: smile"),
    (["--render", "smile"], "wanted is NAME=STRENGTH"),
])
def test_main_refuses_in_a_sentence(given, said, tmp_path, capsys):
    with pytest.raises(SystemExit):
        check.main([str(tmp_path / "nobody.mp4"), "--teachers", str(tmp_path), *given])
    assert said in capsys.readouterr().err


def test_main_refuses_a_folder_without_teachers_and_one_that_lacks_a_package(clip, tmp_path, capsys):
    with pytest.raises(SystemExit):
        check.main([str(clip), "--teachers", str(tmp_path / "nowhere")])
    assert "no teachers; name their folder with --teachers" in capsys.readouterr().err
    (tmp_path / "teachers.py").write_text("import a_package_that_nobody_has\n")
    with pytest.raises(SystemExit):
        check.main([str(clip), "--teachers", str(tmp_path)])
    assert "pip install a_package_that_nobody_has" in capsys.readouterr().err
