"""What a run will cost: arithmetic by a clock that the test turns; and, slowly, against what then happens."""

import copy
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from stitch.core.events import Progress
from stitch.core.records import Edit
from stitch.core.settings import Settings
from stitch.families.load import load_family
from stitch.families.miniature import SAMPLE
from stitch.methods.stit import pipeline
from stitch.study import estimate
from stitch.study.estimate import Costs
from stitch.video import files
from tests.stages import finish

COSTS = Costs(
    read_s=1.0, track_s=2.0, align_s=3.0, invert_s=4.0, tune_step_s=5.0, features_s=6.0, refine_s=11.0,
    stitch_start_s=7.0, weights_step_s=8.0, features_step_s=3.0, chunk=4, measure_s=9.0, merge_s=10.0,
    memory_bytes=1000, features_bytes=10,
)


@pytest.mark.parametrize(("tuned", "step_s"), [("weights", 8.0), ("features", 3.0)])
def test_price_counts_every_step(tuned, step_s) -> None:
    settings = Settings.preset("draft")
    settings = replace(settings, tune=replace(settings.tune, epochs=3, least_steps=0, batch=4),
                       stitching=replace(settings.stitching, steps=2, tuned=tuned, shared_steps=5))
    known = estimate.price(COSTS, 10, settings, 32)
    assert known.stages == {
        "track": 10 * 3.0,
        "align": 10 * 4.0,
        "invert": 40.0 + 11.0,
        "tune": 10 * 6.0 + 3 * 3 * 5.0,  # three batches an epoch
        "stitching": 5 * 8.0 / 4 + 3 * 7.0 + 10 / 4 * 2 * step_s + 10 * 9.0,  # three chunks
        "merge": 10 * 11.0,
    }
    assert known.total_s == sum(known.stages.values())
    assert known.edit_s == known.stages["stitching"] + known.stages["merge"]
    assert known.memory_bytes == 1000 + 10 * 10 and known.disk_bytes == 10 * 32 * 32 * 7


def test_measure_divides_by_what_was_done(family, clip) -> None:
    now = iter(range(10**6))
    settings = Settings.preset("draft")
    settings = replace(settings, stitching=replace(settings.stitching, chunk=3))
    costs, events = finish(
        estimate.measure(family, files.probe(clip), settings, limit_s=0.0, clock=lambda: float(next(now)))
    )
    # Between two looks at this clock a second passes, whatever is measured; the clip has eight frames, six are taken.
    assert costs.read_s == costs.track_s == costs.align_s == costs.merge_s == pytest.approx(1 / 6)
    assert costs.invert_s == costs.measure_s == pytest.approx(1 / 3)
    assert costs.tune_step_s == costs.weights_step_s == costs.features_step_s == costs.features_s == 1.0
    assert costs.stitch_start_s == 0.0 and costs.chunk == 3
    assert [event.done for event in events if isinstance(event, Progress)] == list(range(events[-1].total + 1))


def test_measure_leaves_the_family_as_it_was(family, clip) -> None:
    before = {name: value.clone() for name, value in family.generator.state_dict().items()}
    finish(estimate.measure(family, files.probe(clip), Settings.preset("draft"), limit_s=0.0))
    assert all(torch.equal(value, before[name]) for name, value in family.generator.state_dict().items())


@pytest.mark.slow
def test_price_is_within_a_quarter_of_what_happens(tmp_path) -> None:
    family = load_family("miniature", torch.device("cpu"))
    settings = Settings.preset("draft")
    info = files.probe(SAMPLE, settings.video)
    costs, _ = finish(estimate.measure(family, info, settings, limit_s=2.0))
    expected = estimate.price(costs, info.frames, settings, family.generator.resolution)
    began = time.perf_counter()
    prepared, _ = finish(pipeline.prepare(SAMPLE, tmp_path / "run", settings, family))
    finish(pipeline.edit_video(prepared, [Edit("smile", 2.0)], tmp_path / "out.mp4", settings, family))
    took_s = time.perf_counter() - began
    print(f"expected {expected.total_s:.1f} s, took {took_s:.1f} s")
    assert took_s == pytest.approx(expected.total_s, rel=0.25)


class Two:
    """A generator's stand-in at two sizes."""

    known = (32, 64)

    def __init__(self, family) -> None:
        self.family = family

    def at(self, size: int):
        other = copy.deepcopy(self.family.generator)
        other.resolution = size
        return other


@pytest.mark.parametrize(("settings", "size"), [({}, 64), ({"largest": 32}, 32), ({"size": 32}, 32)])
def test_sized_goes_by_the_face_in_the_clip_and_by_what_was_asked_for(family, clip, settings, size) -> None:
    base = Settings.preset("draft")
    asked = replace(base, align=replace(base.align, **settings))
    found = estimate.sized(replace(family, sizes=Two(family)), files.probe(clip), asked)
    assert found.generator.resolution == size


def test_scaled_multiplies_what_the_generator_takes_and_nothing_else() -> None:
    four = estimate.scaled(COSTS, 4.0)
    assert (four.tune_step_s, four.measure_s, four.refine_s) == (20.0, 36.0, 44.0)
    assert (four.read_s, four.track_s, four.merge_s, four.chunk) == (1.0, 2.0, 10.0, 4)


def test_measure_presets_measures_fast_whole_and_counts_the_others_by_pixels(clip, monkeypatch) -> None:
    sizes = {"draft": 16, "fast": 32, "paper": 64}
    presets = {name: replace(Settings(), align=replace(Settings().align, size=size)) for name, size in sizes.items()}

    def measure(family, info, settings, limit_s):
        assert settings is presets["fast"]
        yield Progress("estimate", 1, 1, "measurement")
        return COSTS

    monkeypatch.setattr(estimate, "sized", lambda family, info, settings: at_size(settings.align.size))
    monkeypatch.setattr(estimate, "measure", measure)
    monkeypatch.setattr(estimate, "tune_step_s", lambda family, info, settings, limit_s: 50.0)
    costs, _ = finish(estimate.measure_presets(at_size(32), files.probe(clip), presets))
    assert costs["fast"] == COSTS and costs["draft"] == estimate.scaled(COSTS, 1 / 4)
    assert costs["paper"] == estimate.scaled(replace(COSTS, tune_step_s=50.0), 4)


def at_size(size: int) -> SimpleNamespace:
    """A family of which nothing counts but how large it draws."""
    return SimpleNamespace(generator=SimpleNamespace(resolution=size), at_size=at_size)
