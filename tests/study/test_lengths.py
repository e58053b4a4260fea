"""Cost against length."""

from dataclasses import replace

import pytest
from PIL import Image

from stitch.core.errors import RunError, VideoError
from stitch.core.events import Notice, Progress
from stitch.core.records import Edit
from stitch.core.settings import Settings
from stitch.study import lengths
from stitch.video import files
from tests.stages import finish


def test_run_edits_the_clip_at_every_length_and_says_what_a_frame_cost(family, clip):
    draft = Settings.preset("draft")
    settings = lengths.simulated(replace(draft, stitching=replace(draft.stitching, steps=9, shared_steps=99)))
    assert settings.tune.epochs == 1 and settings.tune.least_steps == 0
    assert settings.stitching.shared_steps == lengths.SHARED_STEPS and settings.stitching.steps == lengths.STEPS
    record, events = finish(lengths.run(clip, [Edit("smile", 2.0)], settings, family, (4, 12)))
    assert [row["frames"] for row in record["rows"]] == [4, 12] and record["family"] == family.name
    assert all({"track", "align", "invert", "tune", "stitching", "merge"} <= row["stages_s"].keys() and
               min(row["stages_s"].values()) >= 0 for row in record["rows"])
    assert 0 < record["rows"][0]["peak_mib"] <= record["rows"][1]["peak_mib"]
    assert any(isinstance(event, Progress) for event in events)
    said = [event.message for event in events if isinstance(event, Notice)]
    assert lengths.line(record["rows"][1]) in said and "12 frames: ms a frame track" in said[-1]


def test_run_shows_no_frame_twice_in_a_row_and_refuses_a_photo(family, clip, tmp_path, monkeypatch):
    made = []

    def seen(long, *_):
        made.extend(files.frames(files.probe(long)))
        raise RunError("seen")
        yield

    monkeypatch.setattr(lengths.pipeline, "prepare", seen)
    with pytest.raises(RunError, match="seen"):
        finish(lengths.run(clip, [Edit("smile", 2.0)], Settings(), family, (12,)))
    assert len(made) == 12 and all((one != other).any() for one, other in zip(made, made[1:], strict=False))
    Image.fromarray(made[0]).save(tmp_path / "me.png")
    with pytest.raises(VideoError, match="a single picture"):
        finish(lengths.run(tmp_path / "me.png", [Edit("smile", 2.0)], Settings(), family, (12,)))


def test_figure_draws_every_stage_and_the_memory():
    rows = [{"frames": 24, "stages_s": {"tune": 12.0}, "peak_mib": 900},
            {"frames": 240, "stages_s": {"tune": 96.0, "merge": 4.8}, "peak_mib": 950}]
    plot = lengths.figure({"family": "miniature", "size_px": 128, "rows": rows})
    drawn = {trace.name: list(trace.y) for trace in plot.data}
    assert drawn == {"tune": [500.0, 400.0], "merge": [0.0, 20.0], None: [900, 950]}
