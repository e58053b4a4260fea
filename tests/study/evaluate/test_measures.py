"""The measures of drawn clips whose answers are known, and what is said where there is none."""

import json
from dataclasses import replace

import numpy as np
import pytest

from stitch.core.errors import EditError, VideoError
from stitch.core.events import Notice, finished
from stitch.core.records import Edit
from stitch.core.settings import Settings
from stitch.methods.stit import pipeline
from stitch.study.evaluate.measures import Asked, Evaluation, evaluate
from stitch.video import files
from tests.clips import make_clip
from tests.conftest import BACKGROUND, disc, draw_clip

OF_THE_FACE = ("tl_id", "tg_id", "identity", "flicker", "jitter", "ring")
OF_A_RUN = ("psnr_tuned_db", "ssim", "lpips", "boundary_ratio")


def frames_of(path) -> list[np.ndarray]:
    return list(files.frames(files.probe(path)))


def lossless(path, frames):
    return make_clip(path, frames, codec="libx264rgb", pix_fmt="rgb24", options={"crf": "0"})


def found(family, original, edited, **asked) -> Evaluation:
    evaluation = finished(evaluate(Asked(original, edited, **asked), family))
    json.dumps(evaluation.record(per_frame=True), allow_nan=False)
    return evaluation


def values(evaluation) -> dict[str, float | None]:
    return {one.name: one.value for one in evaluation.measures}


def reasons(evaluation) -> dict[str, str]:
    return {one.name: one.reason for one in evaluation.measures if one.value is None}


@pytest.fixture
def copy(clip, tmp_path):
    return lossless(tmp_path / "copy.mp4", frames_of(clip))


def test_evaluate_of_the_same_pictures_says_so(clip, copy, family) -> None:
    evaluation = found(family, clip, copy)
    figures = values(evaluation)
    assert [figures[name] for name in OF_THE_FACE] == pytest.approx([1, 1, 1, 1, 1, 0], abs=1e-6)
    assert figures["background_mean"] < 1e-6 and figures["background_largest"] == 0
    assert list(evaluation.attributes) == ["smile", "age"]
    assert all(abs(value) < 1e-6 for value in evaluation.attributes.values())
    assert {one.verdict for one in evaluation.measures if one.value is not None} == {"good"}
    assert set(reasons(evaluation)) == set(OF_A_RUN) and "--run" in reasons(evaluation)["boundary_ratio"]
    assert evaluation.notes == () and evaluation.record()["face_frames"] == 8


def test_evaluate_finds_noise_that_changes_from_frame_to_frame(clip, tmp_path, family) -> None:
    rng = np.random.default_rng(0)
    noisy = [np.clip(frame + rng.normal(0, 12, frame.shape), 0, 255).astype(np.uint8) for frame in frames_of(clip)]
    figures = values(found(family, clip, lossless(tmp_path / "noisy.mp4", noisy)))
    assert figures["flicker"] > 2 and 5 < figures["background_mean"] < 12
    still = [np.clip(frame.astype(int) + 6, 0, 255).astype(np.uint8) for frame in frames_of(clip)]
    figures = values(found(family, clip, lossless(tmp_path / "brighter.mp4", still)))
    assert figures["flicker"] == pytest.approx(1, abs=0.15) and figures["background_mean"] == pytest.approx(6, abs=0.1)


def test_evaluate_finds_a_face_that_trembles(tmp_path, family) -> None:
    def drawn(name, shifts):
        frames = [np.full((128, 176, 3), BACKGROUND, np.uint8) for _ in shifts]
        for frame, shift in zip(frames, shifts, strict=True):
            disc(frame, 80, 64 + shift, 32)
        return lossless(tmp_path / name, frames)

    evaluation = found(family, drawn("a.mp4", [0, 1] * 4), drawn("b.mp4", [0, 3] * 4))
    assert values(evaluation)["jitter"] == pytest.approx(3, abs=0.2)
    assert evaluation.columns["jitter_edited"][1:-1] == pytest.approx(np.full(6, 2 * 3 * 3 / 65), rel=0.1)
    judged = {one.name: one.verdict for one in evaluation.measures}
    assert judged["jitter"] == "poor"


def test_evaluate_counts_what_changes_outside_the_face(clip, tmp_path, family) -> None:
    frames = frames_of(clip)
    for frame in frames:
        frame[:8, -16:] = 255 - frame[:8, -16:]
    evaluation = found(family, clip, lossless(tmp_path / "corner.mp4", frames))
    figures = values(evaluation)
    assert figures["background_largest"] > 60 and 0 < figures["background_mean"] < 2
    assert figures["identity"] == pytest.approx(1, abs=1e-6) and figures["flicker"] == pytest.approx(1)


def test_evaluate_judges_what_was_asked_for_by_its_sign(clip, tmp_path, family) -> None:
    redder = [np.clip(frame.astype(int) + (25, 0, 0), 0, 255).astype(np.uint8) for frame in frames_of(clip)]
    edited = lossless(tmp_path / "redder.mp4", redder)
    one, other = (values(found(family, clip, edited, edits=(Edit("age", strength),))) for strength in (2.0, -1.0))
    assert one["edit age"] == pytest.approx(-other["edit age"]) != 0


@pytest.mark.parametrize(("edit", "said"), [
    (Edit("simle", 2.0), "did you mean 'smile'"), (Edit("smile", 0.0), "other than 0"),
    (Edit("smile", ((0.0, 1.0), (1.0, 2.0))), "one strength"),
])
def test_evaluate_refuses_edits_that_cannot_be_judged(clip, copy, family, edit, said) -> None:
    with pytest.raises(EditError, match=said):
        finished(evaluate(Asked(clip, copy, edits=(edit,)), family))


def test_evaluate_without_a_face_in_one_measures_the_picture_and_says_why(clip, tmp_path, family) -> None:
    empty = draw_clip(tmp_path / "empty.mp4", lost=range(8))
    for pair in ((clip, empty), (empty, clip)):
        evaluation = found(family, *pair)
        assert set(reasons(evaluation)) == {*OF_THE_FACE, *OF_A_RUN}
        assert "empty.mp4" in reasons(evaluation)["identity"] and evaluation.attributes == {}
        mean = next(one for one in evaluation.measures if one.name == "background_mean")
        assert mean.value > 1 and mean.verdict is None and "whole picture" in mean.reason


def test_evaluate_of_a_face_that_went_elsewhere_compares_no_faces(clip, tmp_path, family) -> None:
    mirrored = lossless(tmp_path / "mirrored.mp4", [frame[:, ::-1] for frame in frames_of(clip)])
    evaluation = found(family, clip, mirrored)
    assert "no face where the original's face 1 is" in reasons(evaluation)["tl_id"]


def test_evaluate_of_frames_without_a_face_leaves_them_out(tmp_path, family) -> None:
    original, edited = draw_clip(tmp_path / "a.mp4", 20), draw_clip(tmp_path / "b.mp4", 20, lost=range(12, 20))
    evaluation = found(family, original, edited)
    assert evaluation.record()["face_frames"] == 12 and "in 12 of 20 frames" in evaluation.notes[0]
    assert np.isfinite(evaluation.columns["identity"]).tolist() == [True] * 12 + [False] * 8


def test_evaluate_of_two_people_compares_the_chosen_one(tmp_path, family) -> None:
    original = draw_clip(tmp_path / "two.mp4", discs=2, size=(240, 128))
    frames = frames_of(original)
    for frame in frames:
        frame[40:90, 130:] = frame[40:90, 130:] // 4 * 3
    edited = lossless(tmp_path / "second.mp4", frames)
    first, second = (found(family, original, edited, face=number) for number in (1, 2))
    assert values(first)["identity"] == pytest.approx(1, abs=1e-3) and values(second)["identity"] < 0.999
    assert any("shows 2 people" in note for note in first.notes)
    assert values(first)["background_mean"] > values(second)["background_mean"]


def test_evaluate_of_one_frame_measures_what_needs_no_time(clip, tmp_path, family) -> None:
    one = lossless(tmp_path / "one.mp4", frames_of(clip)[:1])
    evaluation = found(family, clip, one)
    figures = values(evaluation)
    assert figures["identity"] == pytest.approx(1, abs=1e-6) and figures["background_mean"] == 0
    assert {reasons(evaluation)[name] for name in ("tl_id", "tg_id", "flicker", "jitter")} == {
        "only one frame shows the face: nothing can be seen over time"}


def test_evaluate_notices_clips_of_different_moments(clip, tmp_path, family) -> None:
    rng = np.random.default_rng(0)
    frames = frames_of(clip)
    for frame in frames:
        frame[:24] = rng.integers(0, 256, frame[:24].shape)
        frame[-24:] = rng.integers(0, 256, frame[:24].shape)
    evaluation = found(family, clip, lossless(tmp_path / "elsewhere.mp4", frames))
    assert any("both begin at the same" in note for note in evaluation.notes)


@pytest.fixture
def settings() -> Settings:
    quick = Settings.preset("draft")
    return replace(
        quick, tune=replace(quick.tune, epochs=1, least_steps=0), stitching=replace(quick.stitching, steps=1),
        video=replace(quick.video, start_s=0.08),
    )


def test_evaluate_with_a_run_adds_what_it_knows(clip, copy, tmp_path, family, settings) -> None:
    run, edited = tmp_path / "run", tmp_path / "edited.mp4"
    prepared = finished(pipeline.prepare(clip, run, settings, family))
    finished(pipeline.edit_video(prepared, [Edit("smile", -3.0)], tmp_path / "other.mp4", settings, family))
    result = finished(pipeline.edit_video(prepared, [Edit("smile", 0.5)], edited, settings, family))
    evaluation = found(family, clip, edited, run=run)
    figures = values(evaluation)
    assert len(evaluation.pair) == 6 and reasons(evaluation) == {}
    assert figures["boundary_ratio"] == pytest.approx(result.measures["boundary_ratio"])
    assert figures["psnr_tuned_db"] == pytest.approx(result.measures["psnr_tuned_db"], abs=1.5)
    assert -1 < figures["ssim"] < 1 and figures["lpips"] > 0
    assert set(evaluation.columns) >= {"psnr_tuned_db", "ring_naive", "ring_stitched"}

    foreign = found(family, clip, lossless(tmp_path / "part.mp4", frames_of(clip)[2:]), run=run)
    assert "none of the edits" in reasons(foreign)["boundary_ratio"] and values(foreign)["psnr_tuned_db"] is not None
    elsewhere = reasons(found(family, copy, edited, run=run))
    assert {elsewhere[name] for name in OF_A_RUN} == {elsewhere["ssim"]} and "another" in elsewhere["ssim"]
    assert "no finished run" in reasons(found(family, clip, copy, run=tmp_path / "nowhere"))["ssim"]


def test_evaluate_with_a_run_leaves_no_gap_where_a_frame_is_shown_again(clip, tmp_path, family, settings) -> None:
    shown = frames_of(clip)
    again = lossless(tmp_path / "again.mp4", [shown[number] for number in (0, 1, 2, 2, 3, 4, 5, 5, 6, 7)])
    run, edited = tmp_path / "run", tmp_path / "edited.mp4"
    whole = replace(settings, video=replace(settings.video, start_s=0.0))
    prepared = finished(pipeline.prepare(again, run, whole, family))
    finished(pipeline.edit_video(prepared, [Edit("smile", 2.0)], edited, whole, family))
    columns = found(family, again, edited, run=run).columns
    assert prepared.crops.repeats.tolist() == [[3, 2], [7, 5]]
    for name in ("psnr_tuned_db", "ssim", "lpips", "ring_naive", "ring_stitched"):
        assert np.isfinite(columns[name]).all() and (columns[name][[2, 6]] == columns[name][[3, 7]]).all()


def test_evaluate_tells_what_it_adapts_and_refuses_what_cannot_be_read(clip, tmp_path, family) -> None:
    shorter = lossless(tmp_path / "short.mp4", frames_of(clip)[:5])
    told = [event.message for event in evaluate(Asked(clip, shorter), family) if isinstance(event, Notice)]
    assert any("the first 0.20 s are compared" in message for message in told)
    (tmp_path / "broken.mp4").write_bytes(b"")
    with pytest.raises(VideoError, match="broken.mp4"):
        finished(evaluate(Asked(clip, tmp_path / "broken.mp4"), family))
