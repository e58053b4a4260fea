"""A preset beside the plain loop: both are measured alike, and the ratios are those of the seconds that were taken."""

import json
from dataclasses import asdict, replace

import pytest
import torch

from stitch.core.errors import EditError
from stitch.core.events import Notice, Progress
from stitch.core.records import Edit
from stitch.core.settings import Settings
from stitch.methods.stit import stitching
from stitch.study import against, plain
from stitch.study.against import Quality
from stitch.study.trial import Scene
from tests.stages import finish

SMILE = Edit("smile", 2.0)
GOOD = Quality(psnr_db=30.0, perceptual=0.1, alone_db=29.0, seam=2.0, tl_id=0.99, tg_id=1.01, edit=1.0)


@pytest.fixture
def few_steps(monkeypatch):
    """A plain loop of seconds."""
    monkeypatch.setattr(plain, "EPOCHS", 2)
    monkeypatch.setattr(plain, "STEPS", 2)


@pytest.fixture
def scene(family):
    return Scene(family, Settings(), (64, 48))


def test_plain_tune_brings_the_pictures_nearer(few_steps, family, scene):
    crops, pivots = scene.batch(3), scene.codes(3)
    before = family.generator(pivots)
    tuned, events = finish(plain.tune(family.generator, pivots, crops, family.perceptual, 1e-2))
    with torch.no_grad():
        assert (tuned(pivots) - crops).square().mean() < (before - crops).square().mean()
    assert torch.equal(family.generator(pivots), before)
    assert events == [Progress("plain tuning", step, 6, "step") for step in range(1, 7)]
    assert not any(weight.requires_grad for weight in tuned.parameters())


def test_plain_stitch_closes_each_frames_seam_by_itself(few_steps, family, scene):
    codes, regions, crops = scene.codes(2), scene.regions(2), scene.batch(2)
    edited = family.generator(codes)
    target = stitching.Target(codes, crops, edited, regions)
    stitched, events = finish(plain.stitch(family.generator, target, 1e-2))
    before, after = (((one - crops).abs() * regions.boundary).sum((1, 2, 3)) for one in (edited, stitched))
    assert (after < before).all() and len(events) == 4
    second = stitching.Target(codes[1:], crops[1:], edited[1:], scene.regions(1))
    alone, _ = finish(plain.stitch(family.generator, second, 1e-2))
    assert torch.equal(alone[0], stitched[1])


@pytest.mark.parametrize(("worse", "tuned", "stitched"), [
    ({}, True, True),
    ({"psnr_db": 29.81, "perceptual": 0.1019, "seam": 2.03, "tl_id": 1.029, "tg_id": 0.971, "edit": 0.981}, True, True),
    ({"psnr_db": 29.7}, False, True),
    ({"perceptual": 0.103}, False, True),
    ({"seam": 2.05}, True, False),
    ({"tl_id": 0.96}, True, False),
    ({"tg_id": 1.04}, True, False),
    ({"edit": 0.97}, True, False),
])
def test_quality_is_as_good_up_to_two_percent_and_a_fifth_of_a_decibel(worse, tuned, stitched):
    other = replace(GOOD, **worse)
    assert other.tuned_like(GOOD) == tuned and other.stitched_like(GOOD) == stitched


def test_compare_times_and_measures_both_ways(few_steps, family, clip, brief):
    row, events = finish(against.compare(clip, 3, SMILE, "fast", Settings.preset("fast"), family))
    assert (row.clip, row.frames, row.size) == ("clip.mp4", 3, 32)
    assert (row.plain.tune_steps, row.plain.stitch_steps) == (6, 6)
    assert row.tried and row.preset.name == "fast" and row.common_s > 0
    assert row.preset.quality.psnr_db > row.preset.quality.alone_db
    assert row.plain.quality.psnr_db == row.plain.quality.alone_db, "the paper's loop lays nothing over the face"
    if row.tune_ratio is not None:
        assert row.tune_ratio in [pytest.approx(row.plain.tune_s / way.tune_s) for way in row.tried]
    assert (row.whole_ratio is None) == (row.tune_ratio is None or row.stitch_ratio is None)
    assert sum(isinstance(event, Notice) for event in events) >= 2
    assert json.loads(json.dumps(asdict(row)))["plain"]["name"] == "plain"
    lines = against.table([row]).splitlines()
    assert "plain" in lines[1] and "fast" in lines[2] and "3 frames at 32 px" in lines[-1]
    assert max(len(line) for line in lines) <= 120


def test_compare_refuses_an_edit_that_no_figure_judges(family, clip):
    with pytest.raises(EditError, match="one strength other than 0"):
        finish(against.compare(clip, 3, Edit("smile", ((0.0, 0.0), (1.0, 2.0))), "fast", Settings(), family))
