"""What was measured once is known for good, as long as it is still true; finished renders correct it."""

import json
from dataclasses import replace

import pytest
import torch

from stitch.core.settings import Settings
from stitch.study.estimate import Costs
from stitch.study.prices import Prices
from stitch.video import files

COSTS = Costs(0.1, 0.1, 0.1, 0.1, 0.5, 0.1, 0.0, 0.1, 0.2, 0.1, 4, 0.1, 0.1, 1 << 20, 1 << 10)


@pytest.fixture
def prices(tmp_path) -> Prices:
    return Prices(tmp_path / "prices", torch.device("cpu"))


@pytest.fixture
def info(clip):
    return files.probe(clip)


def test_stages_are_unknown_at_first(prices, info) -> None:
    assert prices.stages("miniature", info, "fast", 8) == {}


def test_stages_are_known_after_a_restart(prices, info) -> None:
    prices.keep("miniature", info, {"fast": COSTS, "paper": replace(COSTS, tune_step_s=2.0)})
    again = Prices(prices.folder, torch.device("cpu"))
    fast, paper = (again.stages("miniature", info, quality, 8)["tune"] for quality in ("fast", "paper"))
    assert 0 < fast < paper and again.stages("miniature", info, "draft", 8) == {}


def test_stages_are_void_with_another_family_size_program_device_or_settings(prices, info, monkeypatch) -> None:
    prices.keep("miniature", info, {"fast": COSTS})
    assert prices.stages("ffhq", info, "fast", 8) == {}
    assert prices.stages("miniature", replace(info, width=info.width * 2), "fast", 8) == {}
    for changed in ("program", "torch", "device", "threads"):
        other = Prices(prices.folder, torch.device("cpu"))
        other._about = {**other._about, changed: "another"}
        assert other.stages("miniature", info, "fast", 8) == {}
    monkeypatch.setattr(Settings, "preset", staticmethod(lambda *_: replace(Settings(), seed=1)))
    assert prices.stages("miniature", info, "fast", 8) == {}


def test_learn_brings_the_next_price_near_what_was_taken(prices, info) -> None:
    prices.keep("miniature", info, {"fast": COSTS, "paper": COSTS})
    said = prices.stages("miniature", info, "fast", 80)
    before = prices.stages("miniature", info, "paper", 80)
    prices.learn("miniature", info, "fast", said, {"tune": said["tune"] / 3})
    now = prices.stages("miniature", info, "fast", 80)
    assert now["tune"] == pytest.approx(said["tune"] / 3) and now["stitching"] == said["stitching"]
    assert prices.stages("miniature", info, "fast", 160)["tune"] == pytest.approx(2 * now["tune"])
    assert prices.stages("miniature", info, "paper", 80) == before
    prices.learn("miniature", info, "fast", now, {"tune": now["tune"] * 2})
    assert prices.stages("miniature", info, "fast", 80)["tune"] == pytest.approx(now["tune"] * 2)


def test_learn_without_a_price_keeps_nothing(prices, info) -> None:
    prices.learn("miniature", info, "fast", {"tune": 1.0}, {"tune": 2.0})
    assert prices.stages("miniature", info, "fast", 8) == {}


@pytest.mark.parametrize("content", ["", "[1]", "{", json.dumps({"costs": {"fast": {"read_s": 1}}, "learned": {}})])
def test_stages_take_a_damaged_file_for_none(prices, info, content) -> None:
    prices.keep("miniature", info, {"fast": COSTS})
    (path,) = prices.folder.iterdir()
    path.write_text(content)
    assert prices.stages("miniature", info, "fast", 8) == {}


def test_keep_deletes_the_oldest_when_there_are_many(prices, info, monkeypatch) -> None:
    monkeypatch.setattr("stitch.study.prices._KEPT", 2)
    for width in (100, 200, 300):
        prices.keep("miniature", replace(info, width=width), {"fast": COSTS})
    assert len(list(prices.folder.iterdir())) == 2
