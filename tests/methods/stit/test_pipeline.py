"""Stages 1-3 and 4-6 through the doors' own functions, with a family that is not trained."""

import gc
import json
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from stitch.core.errors import EditError, FaceError, RunError, VideoError
from stitch.core.events import Notice, Preview, Progress
from stitch.core.records import Edit, Text
from stitch.core.settings import Settings
from stitch.families.family import Boundary
from stitch.methods.stit import align, chunks, invert, pipeline, stitching, tune
from stitch.runtime import runs
from stitch.runtime.fingerprint import fingerprint
from stitch.video import files
from tests.conftest import BACKGROUND, disc, draw_clip, tiny_family

SMILE = [Edit("smile", 2.0)]


def quick(**video_settings):
    """Two epochs, three stitching steps, chunks of three frames."""
    settings = Settings.preset("draft")
    return replace(
        settings,
        tune=replace(settings.tune, epochs=2, least_steps=0),
        stitching=replace(settings.stitching, steps=3, shared_steps=0, chunk=3),
        video=replace(settings.video, **video_settings),
    )


def drive(work, events=None):
    """Run a stage's generator to its end; returns its record."""
    while True:
        try:
            event = next(work)
        except StopIteration as end:
            return end.value
        if events is not None:
            events.append(event)


def break_at(work, wanted):
    """Run a stage's generator up to an event, then leave it as a killed process would."""
    for event in work:
        if wanted(event):
            work.close()
            return
    raise AssertionError("the event never came")


def reached(stage, done):
    return lambda event: isinstance(event, Progress) and event.stage == stage and event.done >= done


def frames_of(path):
    return np.stack(list(files.frames(files.probe(path))))


@pytest.fixture
def prepared(family, clip, tmp_path):
    return drive(pipeline.prepare(clip, tmp_path / "run", quick(), family))


def test_frame_shown_again_is_edited_with_the_one_before(family, clip, tmp_path) -> None:
    info = files.probe(clip)
    doubled = replace(info, frames=2 * info.frames, rate=2 * info.rate)
    with files.writer(tmp_path / "doubled.mp4", doubled, info, "", 10) as writer:
        for frame in files.frames(info):
            writer.add(frame)
            writer.add(frame)
    prepared = drive(pipeline.prepare(tmp_path / "doubled.mp4", tmp_path / "run", quick(), family))
    assert len(prepared.crops.images) == info.frames and prepared.tuned.losses.shape[0] == 2 * 8
    result = drive(pipeline.edit_video(prepared, SMILE, tmp_path / "out.mp4", quick(), family))
    assert result.edited_frames == 2 * info.frames and result.unedited_frames == ()
    shown = frames_of(tmp_path / "out.mp4").astype(float)
    changed = np.abs(shown - frames_of(tmp_path / "doubled.mp4")).mean((1, 2, 3))
    assert (changed > 0.2).all() and np.abs(shown[::2] - shown[1::2]).mean() < changed.mean() / 2


def test_shared_steps_draw_and_parse_a_frame_once_where_it_fits(prepared, family, tmp_path, monkeypatch) -> None:
    settings = quick()
    settings = replace(settings, stitching=replace(settings.stitching, steps=0, shared_steps=20, chunk=1))
    parsed, pictures = [], []

    class Counting(type(family.parser)):
        def __call__(self, images):
            parsed.append(len(images))
            return super().__call__(images)

    for number, room_bytes in enumerate((2**28, 0)):
        monkeypatch.setattr(chunks, "_KEPT_BYTES", room_bytes)
        other = family.content_weight + 1e-6 * number  # makes another edit of it
        counted = replace(family, parser=Counting(), content_weight=other)
        drive(pipeline.edit_video(prepared, SMILE, tmp_path / f"{number}.mp4", settings, counted))
        pictures.append(frames_of(tmp_path / f"{number}.mp4").astype(int))
        parsed.append(0)
    assert parsed.index(0) == 2 * 8 < len(parsed) - parsed.index(0) - 2 == 2 * (1 + 8 + 20)
    assert np.abs(pictures[0] - pictures[1]).mean() < 1, "but for the watermark, which lies elsewhere in each"


def complexion(images):
    """Identity by the colour of the nose."""
    middle = images.shape[-1] // 2
    return F.one_hot((images[:, 1, middle, middle] > 0).long(), 2).float()


def two_people(path, first_leaves=False):
    """32 frames: a face on the left, from frame 20 on smaller, or soon gone; then another, large, is on the right.

    In all the left one is seen longer, so it is number 1."""
    with av.open(str(path), "w", format="mp4") as container:
        video = container.add_stream("libx264", rate=25, options={"crf": "4", "preset": "ultrafast"})
        video.width, video.height, video.pix_fmt = 240, 128, "yuv420p"
        for index in range(32):
            picture = np.full((128, 240, 3), BACKGROUND, np.uint8)
            if index < 24 or not first_leaves:
                disc(picture, 52, 64, 36 if index < 20 else 28)
            if index >= 20:
                disc(picture, 170, 64, 46, (240, 100, 60))
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(video.encode(None))
    return path


def test_edit_video_keeps_count_rate_size_and_sound(family, clip, prepared, tmp_path):
    result = drive(pipeline.edit_video(prepared, SMILE, tmp_path / "out.mp4", quick(), family))
    source, edited = files.probe(clip), files.probe(result.path)
    assert (edited.frames, edited.rate, edited.width, edited.height, edited.audio) == (8, Fraction(25), 176, 128, True)
    assert result.edited_frames == source.frames == 8 and result.unedited_frames == ()


def test_edit_video_changes_the_face_and_nothing_else(family, clip, prepared, tmp_path):
    settings = quick(crf=4)
    drive(pipeline.edit_video(prepared, [Edit("smile", 4.0)], tmp_path / "out.mp4", settings, family))
    before, after = frames_of(clip).astype(int), frames_of(tmp_path / "out.mp4").astype(int)
    change = np.abs(after - before).max(axis=-1)
    assert change[:, 40:90, 16:72].mean() > 5, "inside the face"
    assert change[:, :, 120:].mean() < 2 and change[:, :, 120:].max() < 24, "far from it only coding noise"


def test_edit_video_yields_progress_of_every_stage_and_previews(family, clip, tmp_path):
    events = []
    prepared = drive(pipeline.prepare(clip, tmp_path / "run", quick(), family), events)
    drive(pipeline.edit_video(prepared, SMILE, tmp_path / "out.mp4", quick(), family), events)
    last = {event.stage: event for event in events if isinstance(event, Progress)}
    assert list(last) == ["track", "align", "invert", "tune", "stitching", "merge"]
    assert all(event.done == event.total for event in last.values() if event.total)
    previews = [event for event in events if isinstance(event, Preview)]
    seen = next(at for at, event in enumerate(events) if isinstance(event, Preview) and event.stage == "stitching")
    assert not any(isinstance(one, Progress) and one.stage == "stitching" and one.done for one in events[:seen]), \
        "the edit is seen before its seam is tuned away"
    assert previews and all(event.image.dtype == np.uint8 and event.image.shape[2] == 3 for event in previews)


def test_edit_video_measures_itself(family, prepared, tmp_path):
    result = drive(pipeline.edit_video(prepared, SMILE, tmp_path / "out.mp4", quick(), family))
    assert set(result.measures) == {"psnr_inversion_db", "psnr_tuned_db", "boundary_ratio", "tl_id", "tg_id"}
    assert result.measures["psnr_tuned_db"] > result.measures["psnr_inversion_db"]
    assert 0 < result.measures["boundary_ratio"] < 1
    json.dumps(result.measures, allow_nan=False)


def test_edit_video_says_that_a_child_is_not_made_younger(family, prepared, tmp_path):
    children = replace(family, child=Boundary(torch.zeros(8), 1.0))
    kept = drive(pipeline.edit_video(prepared, [Edit("age", 0.0)], tmp_path / "kept.mp4", quick(), family))
    made = drive(pipeline.edit_video(prepared, [Edit("age", -4.0)], tmp_path / "made.mp4", quick(), children))
    assert any("child" in note for note in made.notes) and not any("child" in note for note in kept.notes)
    assert all((one == other).all() for one, other in zip(frames_of(made.path), frames_of(kept.path), strict=True))


def test_edit_video_edits_a_photo_as_a_clip_of_one_frame(family, tmp_path):
    photo = tmp_path / "me.png"
    (frame, *_) = frames_of(draw_clip(tmp_path / "clip.mp4", frames=1))
    Image.fromarray(frame).save(photo)
    out, beside, sheet = (tmp_path / name for name in ("out.png", "beside.jpg", "sheet.png"))
    settings = quick()
    settings = replace(settings, tune=replace(settings.tune, least_steps=9))
    events = []
    prepared = drive(pipeline.prepare(photo, tmp_path / "run", settings, family), events)
    result = drive(pipeline.edit_video(prepared, SMILE, out, settings, family, beside, sheet), events)
    assert (result.edited_frames, result.unedited_frames) == (1, ())
    assert set(result.measures) == {"psnr_inversion_db", "psnr_tuned_db", "boundary_ratio"}
    json.dumps(result.measures, allow_nan=False)
    change = np.abs(np.asarray(Image.open(out)).astype(int) - frame).max(axis=-1)
    assert change[40:90, 16:72].mean() > 2 and change[:, 120:].max() == 0, "outside not even a level"
    with Image.open(beside) as picture:
        assert picture.width > 2 * 176 and picture.height > 128
    with Image.open(sheet) as picture:
        assert picture.width > 5 * 256 and picture.height > 256
    (tuned,) = {event.total for event in events if isinstance(event, Progress) and event.stage == "tune"}
    assert tuned == 9


@pytest.mark.parametrize(("source", "name"), [("photo", "out.mp4"), ("clip", "out.png")])
def test_edit_video_makes_no_clip_of_a_photo_and_no_photo_of_a_clip(family, clip, tmp_path, source, name):
    photo = tmp_path / "me.png"
    Image.fromarray(frames_of(clip)[0]).save(photo)
    prepared = drive(pipeline.prepare(photo if source == "photo" else clip, tmp_path / "run", quick(), family))
    with pytest.raises(VideoError, match=f"the name of the edited {source} must end in"):
        drive(pipeline.edit_video(prepared, SMILE, tmp_path / name, quick(), family))


def test_edit_video_writes_comparison_and_sheet(family, clip, prepared, tmp_path):
    beside, sheet = tmp_path / "beside.mp4", tmp_path / "sheet.png"
    drive(pipeline.edit_video(prepared, SMILE, tmp_path / "out.mp4", quick(), family, beside, sheet))
    info = files.probe(beside)
    assert info.width > 2 * 176 and info.height > 128 and info.frames == 8 and info.audio
    left = frames_of(beside)[:, -128:, :176].astype(int)
    assert np.abs(left - frames_of(clip)).mean() < 2, "the left half is the source"
    with Image.open(sheet) as picture:
        assert picture.width > 5 * 256 and picture.height > 4 * 256
    assert sorted(path.name for path in tmp_path.iterdir() if "part" in path.name) == []


def test_second_edit_never_repeats_rooms_1_to_3(family, clip, prepared, tmp_path, monkeypatch):
    def never(*_):
        raise AssertionError("a finished stage ran again")

    for stage, name in ((pipeline, "survey"), (align, "align"), (invert, "invert"), (tune, "tune")):
        monkeypatch.setattr(stage, name, never)
    events = []
    again = drive(pipeline.prepare(clip, tmp_path / "run", quick(), family), events)
    assert not any(isinstance(event, Progress) for event in events)
    result = drive(pipeline.edit_video(again, [Edit("age", -1.0)], tmp_path / "out.mp4", quick(), family))
    assert result.edited_frames == 8
    for name, tensor in prepared.generator.state_dict().items():
        assert torch.equal(tensor, again.generator.state_dict()[name]), name


def test_same_edit_again_only_merges(family, prepared, tmp_path, monkeypatch):
    first = drive(pipeline.edit_video(prepared, SMILE, tmp_path / "one.mp4", quick(), family))
    monkeypatch.setattr(stitching, "stitch", lambda *_: pytest.fail("a finished chunk was stitched again"))
    second = drive(pipeline.edit_video(prepared, SMILE, tmp_path / "two.mp4", quick(), family))
    assert first.measures == second.measures
    assert (frames_of(tmp_path / "one.mp4") == frames_of(tmp_path / "two.mp4")).all()


@pytest.mark.parametrize(
    ("stage", "done"),
    [("track", 3), ("align", 3), ("invert", 8), ("tune", 1), ("tune", 3), ("stitching", 4), ("merge", 5)],
)
def test_broken_off_anywhere_the_same_call_ends_with_the_same_frames(family, clip, tmp_path, stage, done):
    def work(run, output):
        prepared = yield from pipeline.prepare(clip, tmp_path / run, quick(), family)
        return (yield from pipeline.edit_video(prepared, SMILE, tmp_path / output, quick(), family))

    whole = drive(work("whole", "whole.mp4"))
    break_at(work("broken", "broken.mp4"), reached(stage, done))
    gc.collect()
    assert not (tmp_path / "broken.mp4").exists(), "nothing half-written under the final name"
    resumed = drive(work("broken", "broken.mp4"))
    assert (frames_of(tmp_path / "whole.mp4") == frames_of(tmp_path / "broken.mp4")).all()
    assert whole.measures == resumed.measures


def test_stitching_goes_on_after_the_last_finished_chunk(family, prepared, tmp_path, monkeypatch):
    work = pipeline.edit_video(prepared, SMILE, tmp_path / "out.mp4", quick(), family)
    break_at(work, reached("stitching", 7))
    stitched = []
    original = stitching.stitch

    def counted(generator, codes, *rest):
        stitched.append(len(codes))
        return original(generator, codes, *rest)

    monkeypatch.setattr(stitching, "stitch", counted)
    drive(pipeline.edit_video(prepared, SMILE, tmp_path / "out.mp4", quick(), family))
    assert stitched == [2], "frames 0-5 were kept, 6 and 7 were left"


def test_stitching_in_other_chunks_keeps_the_finished_frames(family, prepared, tmp_path, monkeypatch):
    """What the advice after running out of memory, --chunk 1, comes to."""
    work = pipeline.edit_video(prepared, SMILE, tmp_path / "out.mp4", quick(), family)
    break_at(work, reached("stitching", 7))
    stitched = []
    original = stitching.stitch

    def counted(generator, codes, *rest):
        stitched.append(len(codes))
        return original(generator, codes, *rest)

    monkeypatch.setattr(stitching, "stitch", counted)
    settings = replace(quick(), stitching=replace(quick().stitching, chunk=1))
    resumed = drive(pipeline.edit_video(prepared, SMILE, tmp_path / "out.mp4", settings, family))
    assert stitched == [1, 1] and resumed.edited_frames == 8
    stitched.clear()
    drive(pipeline.edit_video(prepared, SMILE, tmp_path / "again.mp4", quick(), family))
    assert stitched == []


def test_same_seed_gives_the_same_frames_and_another_does_not(family, clip, tmp_path):
    outputs = []
    for number, seed in enumerate((0, 0, 1)):
        settings = replace(quick(), seed=seed, tune=replace(quick().tune, batch=3))
        prepared = drive(pipeline.prepare(clip, tmp_path / f"run{number}", settings, family))
        outputs.append(torch.cat([tensor.flatten() for tensor in prepared.generator.state_dict().values()]))
    assert torch.equal(outputs[0], outputs[1]) and not torch.equal(outputs[0], outputs[2])


def test_frames_without_a_face_stay_as_they_are_and_are_named(family, tmp_path):
    clip = draw_clip(tmp_path / "lost.mp4", frames=40, lost=range(5, 30))
    events = []
    prepared = drive(pipeline.prepare(clip, tmp_path / "run", quick(), family), events)
    settings = quick(crf=4)
    result = drive(pipeline.edit_video(prepared, [Edit("smile", 4.0)], tmp_path / "out.mp4", settings, family), events)
    assert result.unedited_frames == tuple(range(5, 30)) and result.edited_frames == 15
    change = np.abs(frames_of(tmp_path / "out.mp4").astype(int) - frames_of(clip)).mean(axis=(1, 2, 3))
    assert change[6:29].max() < change[:4].min()
    notices = [event.message for event in events if isinstance(event, Notice)]
    assert any("no face in 25 frames" in message and "5-29" in message for message in notices)
    again = drive(pipeline.prepare(clip, tmp_path / "run", quick(), family))
    assert again.notes == prepared.notes != (), "said again, although it was found earlier"


@pytest.mark.parametrize("person", [1, 2])
def test_person_keeps_its_number_whatever_part_is_chosen(family, tmp_path, person):
    """Number 1 is on the left all the time but small in the part, number 2 is large there and away before."""
    family = replace(family, identity=complexion)
    clip = two_people(tmp_path / "two.mp4")
    settings = quick(start_s=0.8, end_s=1.2, crf=4)
    settings = replace(settings, faces=replace(settings.faces, face=person))
    prepared = drive(pipeline.prepare(clip, tmp_path / "run", settings, family))
    drive(pipeline.edit_video(prepared, [Edit("smile", 4.0)], tmp_path / "out.mp4", settings, family))
    before = np.stack(list(files.frames(files.probe(clip, settings.video)))).astype(int)
    change = np.abs(frames_of(tmp_path / "out.mp4") - before).mean(axis=(0, 1, 3))
    left, right = change[20:84].mean(), change[120:220].mean()
    assert (left > 4 * right) if person == 1 else (right > 4 * left)


def test_person_who_is_not_in_the_part_is_not_exchanged(family, tmp_path):
    family = replace(family, identity=complexion)
    clip = two_people(tmp_path / "two.mp4", first_leaves=True)
    with pytest.raises(FaceError, match=r"face 1 is not seen between 1.00 s and 1.20 s.*or choose face 2, seen there"):
        drive(pipeline.prepare(clip, tmp_path / "run", quick(start_s=1.0, end_s=1.2), family))


def test_prepare_of_a_second_part_searches_nothing_again(family, clip, tmp_path, monkeypatch):
    drive(pipeline.prepare(clip, tmp_path / "one", quick(end_s=0.2), family))
    monkeypatch.setattr(type(family.detector), "detect", lambda *_: pytest.fail("a frame was searched again"))
    drive(pipeline.prepare(clip, tmp_path / "two", quick(start_s=0.1), family))


def test_damaged_clip_is_said_once_and_again(family, tmp_path, monkeypatch):
    clip = draw_clip(tmp_path / "clip.mp4")
    real = files.frames

    def damaged(info, report=None):
        yield from real(info)
        if report is not None:
            report("the file is damaged")

    monkeypatch.setattr(files, "frames", damaged)
    first = drive(pipeline.prepare(clip, tmp_path / "run", quick(), family))
    again = drive(pipeline.prepare(clip, tmp_path / "run", quick(), family))
    assert first.notes == again.notes == ("the file is damaged",)


def test_text_and_slider_over_time_work_together(family, prepared, tmp_path):
    edits = [Edit("smile", ((0.0, 0.0), (0.3, 2.0))), Text("a face with glasses", strength=1.0)]
    events = []
    result = drive(pipeline.edit_video(prepared, edits, tmp_path / "out.mp4", quick(), family), events)
    assert result.edited_frames == 8
    assert any("style channels" in event.message for event in events if isinstance(event, Notice))


def test_prepare_refuses_a_run_of_another_clip(family, prepared, tmp_path):
    other = draw_clip(tmp_path / "other.mp4", frames=9)
    with pytest.raises(RunError, match=r"another clip.*clip\.mp4.*other\.mp4"):
        drive(pipeline.prepare(other, tmp_path / "run", quick(), family))


def test_prepare_refuses_a_run_of_other_weights(clip, prepared, tmp_path):
    with pytest.raises(RunError, match="weights .* have changed"):
        drive(pipeline.prepare(clip, tmp_path / "run", quick(), tiny_family(seed=1)))


def test_prepare_in_the_cache_keeps_the_newest_runs(family, clip, tmp_path):
    for seed in range(runs.IMPLICIT_RUNS_KEPT + 2):
        prepared = drive(pipeline.prepare(clip, None, replace(quick(end_s=0.1), seed=seed), family))
    folders = list((tmp_path / "cache" / "stitch" / "runs").iterdir())
    assert len(folders) == runs.IMPLICIT_RUNS_KEPT and prepared.run.folder in folders


def test_edit_video_refuses_before_any_work(family, clip, prepared, tmp_path):
    for edits, output, error in (
        ([], "out.mp4", EditError),
        ([Edit("smlie", 1.0)], "out.mp4", EditError),
        ([Edit("smile", 99.0)], "out.mp4", EditError),
        ([Text("  ")], "out.mp4", EditError),
        (SMILE, "clip.mp4", VideoError),
        (SMILE, "nowhere/out.mp4", VideoError),
    ):
        with pytest.raises(error):
            next(pipeline.edit_video(prepared, edits, tmp_path / output, quick(), family))
    assert not (tmp_path / "run" / "edits").exists()


def test_damaged_tuned_generator_is_named(family, clip, prepared, tmp_path):
    (tmp_path / "run" / "tuned.safetensors").write_bytes(b"short")
    with pytest.raises(RunError, match=r"tuned\.safetensors is missing or damaged; delete the folder"):
        drive(pipeline.prepare(clip, tmp_path / "run", quick(), family))


def test_memory_does_not_grow_with_the_length_of_the_clip(tmp_path):
    script = """
import resource, sys
from pathlib import Path
from tests.conftest import draw_clip, tiny_family
from tests.methods.stit.test_pipeline import SMILE, drive, quick
from dataclasses import replace
from stitch.methods.stit import pipeline
family, folder, settings = tiny_family(), Path(sys.argv[1]), quick()
settings = replace(
    settings, tune=replace(settings.tune, epochs=1, least_steps=0, batch=12),
    stitching=replace(settings.stitching, steps=1, chunk=12),
)
clips = {frames: draw_clip(folder / f"{frames}.mp4", frames, size=(640, 480), radius=90) for frames in (120, 240)}
for frames, clip in clips.items():  # drawn before, for drawing holds all frames; the encoder looks some forty ahead
    prepared = drive(pipeline.prepare(clip, folder / f"run{frames}", settings, family))
    drive(pipeline.edit_video(prepared, SMILE, folder / f"out{frames}.mp4", settings, family))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""
    command = [sys.executable, "-c", script, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3])
    short_mib, long_mib = (int(line) for line in done.stdout.split())
    frames_mib = 120 * 640 * 480 * 3 / 2**20
    assert long_mib - short_mib < frames_mib / 3, "the frames that the long clip has more are not held"


def test_describe_says_what_was_asked():
    edits = [Edit("smile", 2.0), Edit("age", ((0.0, 0.0), (1.5, -3.0))), Text("a face\n with  glasses", strength=1.5)]
    assert pipeline.describe(edits) == "smile +2, age +0 to -3, 'a face with glasses' +1.5"


def test_fingerprint_notices_any_weight(family):
    first = fingerprint(family.generator, family.encoder, {"a": [1, None]})
    assert first == fingerprint(tiny_family().generator, tiny_family().encoder, {"a": [1, None]})
    assert first != fingerprint(tiny_family(1).generator, family.encoder, {"a": [1, None]})
    assert fingerprint({"a": [1, None]}) != fingerprint({"a": [1, "None"]})
    state = tiny_family()
    state.generator.synthesis.b8.conv0.noise_const[0, 0] += 1
    assert fingerprint(state.generator) != fingerprint(family.generator)


def test_a_shared_start_is_kept_while_an_edit_is_unfinished_and_not_learned_twice(family, clip, tmp_path, monkeypatch):
    settings = quick()
    settings = replace(settings, stitching=replace(settings.stitching, steps=0, shared_steps=4, chunk=2))

    def work(run, output):
        prepared = yield from pipeline.prepare(clip, tmp_path / run, settings, family)
        return (yield from pipeline.edit_video(prepared, SMILE, tmp_path / output, settings, family))

    whole = drive(work("whole", "whole.mp4"))
    assert not list((tmp_path / "whole").rglob("started.safetensors"))
    def frames_done(event):
        return isinstance(event, Progress) and (event.stage, event.unit) == ("stitching", "frame")

    break_at(work("broken", "broken.mp4"), lambda event: frames_done(event) and event.done >= 2)
    gc.collect()
    assert list((tmp_path / "broken").rglob("started.safetensors"))
    monkeypatch.setattr(stitching, "stitch_together", lambda *_: pytest.fail("learned again"))
    resumed = drive(work("broken", "broken.mp4"))
    assert whole.measures == resumed.measures
    assert (frames_of(tmp_path / "whole.mp4") == frames_of(tmp_path / "broken.mp4")).all()
