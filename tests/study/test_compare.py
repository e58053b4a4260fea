"""Variants of the method on small clips, and what is said of them."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from stitch.core.errors import EditError, StitchError, VideoError
from stitch.core.events import Notice, finished
from stitch.core.records import Edit
from stitch.core.settings import PRESETS, Settings
from stitch.methods.latent_transformer import pipeline as latent_transformer
from stitch.methods.latent_transformer.transformer import LatentTransformers
from stitch.study import compare, variants
from stitch.video import files
from tests.conftest import draw_clip
from tests.stages import finish

SMILE = (Edit("smile", 2.0),)


@pytest.fixture
def settings() -> Settings:
    quick = PRESETS["draft"]
    return replace(quick, tune=replace(quick.tune, epochs=2, least_steps=2, batch=1),
                   stitching=replace(quick.stitching, steps=2, shared_steps=2))


@pytest.fixture
def transformers(family, monkeypatch) -> LatentTransformers:
    """A latent transformer of the untrained family."""
    made = LatentTransformers(("smile",), family.generator.w_dim)
    with torch.no_grad():
        made.bias[0, 0] = family.directions["smile"].vector
    monkeypatch.setattr(latent_transformer, "trained", lambda *_: made)
    return made


def study(tmp_path, settings, chosen=None, frames=4, edits=SMILE) -> compare.Study:
    return compare.Study(chosen or variants.ablation(2), edits, settings, frames, tmp_path / "out")


def test_run_makes_and_measures_all_variants_and_their_pictures(clip, tmp_path, family, settings, transformers):
    asked = study(tmp_path, settings)
    record = finished(compare.run([clip], asked, family))
    json.dumps(record, allow_nan=False)
    rows = record["clips"]["clip"]
    assert {name: row.get("failed") for name, row in rows.items()} == dict.fromkeys(rows)
    assert list(rows) == [one.name for one in asked.variants] and len(rows) == 9
    for row in rows.values():
        assert row["frames"] == 4 and row["total_s"] > 0 and row["measures"]["psnr_tuned_db"]["value"] is not None
        assert {"tl_id", "tg_id", "psnr_tuned_db", "lpips", "ring", "jitter", "edit smile"} <= row["measures"].keys()
    assert rows["full"]["face_frames"] == 4, "the untrained networks may draw no face elsewhere"
    folder = asked.out / "clip"
    beside = files.probe(folder / "side_by_side.mp4")
    assert (beside.width, beside.height, beside.frames) == (5 * 256, 2 * 284, 4)
    assert (folder / "sheet.png").stat().st_size > 0
    shared = len({"full", "naive_paste", "poisson_paste", "mask_from_crop"}) - 1
    assert len(list((folder / "runs").iterdir())) == len(rows) - shared, "those that differ later share stages 1 to 3"
    compare.finish(asked, record, "ablation")
    table = (asked.out / "ablation.md").read_text()
    assert "| full method | 1 |" in table and "better than 'no PTI' in TG-ID" in table
    assert json.loads((asked.out / "ablation.json").read_text()) == record


def test_run_goes_on_from_what_was_made_and_makes_anew_what_is_asked_for_otherwise(
    clip, tmp_path, family, settings
):
    asked = study(tmp_path, settings, variants.ablation(2)[:1], frames=2)
    first = finished(compare.run([clip], asked, family))
    made = (asked.out / "clip" / "full.mp4").stat().st_mtime_ns
    assert finished(compare.run([clip], asked, family)) == first
    assert (asked.out / "clip" / "full.mp4").stat().st_mtime_ns == made
    other = replace(settings, tune=replace(settings.tune, epochs=3))
    for otherwise in (replace(asked, edits=(Edit("age", 1.0),)), replace(asked, settings=other)):
        assert "measures" in finished(compare.run([clip], otherwise, family))["clips"]["clip"]["full"]
        assert (again := (asked.out / "clip" / "full.mp4").stat().st_mtime_ns) > made
        made = again


def test_run_tells_of_a_clip_without_a_face_and_of_a_method_without_weights_and_goes_on(
    clip, tmp_path, family, settings
):
    empty, photo = draw_clip(tmp_path / "empty.mp4", frames=4, discs=0), tmp_path / "photo.png"
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(photo)
    chosen = tuple(one for one in variants.ablation(2) if one.name in ("full", "latent_transformer"))
    asked = study(tmp_path, settings, chosen, edits=(Edit("smile", 1.0), Edit("age", 1.0)))
    record, events = finish(compare.run([empty, clip, tmp_path / "gone.mp4", photo], asked, family))
    assert "no face found" in record["clips"]["empty"]["full"]["failed"]
    assert "gone.mp4" in record["clips"]["gone"]["full"]["failed"]
    assert "a photo; a study compares clips" in record["clips"]["photo"]["full"]["failed"]
    assert "measures" in record["clips"]["clip"]["full"]
    assert "latent transformer" in record["clips"]["clip"]["latent_transformer"]["failed"]
    told = [event.message for event in events if isinstance(event, Notice)]
    assert any("empty.mp4, full method: no face found" in message for message in told)
    assert "Latent Transformer (Yao et al. 2021) | 0 | - |" in compare.table(record, chosen)
    with pytest.raises(StitchError, match="no face found"):
        finished(compare.run([empty], asked, family))


def test_run_refuses_what_cannot_be_judged(clip, tmp_path, family, settings):
    (tmp_path / "other").mkdir()
    again = draw_clip(tmp_path / "other" / "clip.mp4", frames=2)
    with pytest.raises(VideoError, match="same name"):
        finished(compare.run([clip, again], study(tmp_path, settings), family))
    for edits in ((Edit("smile", ((0.0, 1.0), (1.0, 2.0))),), (Edit("smile", 0.0),), (Edit("simle", 1.0),)):
        with pytest.raises(EditError, match="smile|simle"):
            finished(compare.run([clip], study(tmp_path, settings, edits=edits), family))


@pytest.mark.parametrize("frames", [1, 3, 8, 20])
def test_trimmed_leaves_as_many_frames_as_asked_for_or_as_there_are(clip, frames):
    settings = compare.trimmed(clip, Settings(), frames)
    assert files.probe(clip, settings.video).frames == min(frames, 8)


def record_of(**values) -> dict:
    """A record of one measure a clip: variants' values."""
    clips = {str(number): {
        name: {"total_s": 1.0, "measures": {"tl_id": {"value": row[number]}}} for name, row in values.items()
    } for number in range(len(next(iter(values.values()))))}
    return {"variants": {name: name for name in values}, "clips": clips}


def test_expectations_counts_nearer_to_one_as_better_and_leaves_out_what_is_not_there():
    record = record_of(full=[0.99, 1.0, 1.2], optimised_pivots=[1.02, 0.9, None])
    told = compare.expectations(record, variants.ablation())
    assert told == [{"variant": "optimised_pivots", "measure": "tl_id", "full": pytest.approx(0.995),
                     "other": pytest.approx(0.96), "held": 2, "clips": 2}]


def test_means_are_over_the_clips_that_have_a_value():
    found = compare.means(record_of(full=[0.9, None, 1.0]))
    assert found["full"] == {"total_s": 1.0, "tl_id": pytest.approx(0.95)}


def test_presets_turn_one_knob_each():
    base = PRESETS["fast"]
    rows = {one.name: one.settings(base) for one in variants.presets(PRESETS, "fast")}
    assert rows["draft"].tune == PRESETS["draft"].tune and rows["fast"] == base
    for name, row in rows.items():
        if name not in PRESETS:
            assert (row.tune == base.tune) != (row.stitching == base.stitching), name
    assert rows["tuning_x2"].tune.epochs == 2 * base.tune.epochs
    assert rows["stitching_x0.5"].stitching.steps == round(base.stitching.steps / 2)
    assert np.unique([one.name for one in variants.presets(PRESETS, "fast")]).size == len(rows)
