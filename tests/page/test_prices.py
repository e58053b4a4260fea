"""What was measured once is known for good, as long as it is still true."""

import json
from dataclasses import replace

import pytest
import torch

from stitch.core.settings import Settings
from stitch.page.prices import Prices
from stitch.study.estimate import Costs
from stitch.video import files

COSTS = Costs(0.1, 0.1, 0.1, 0.1, 0.5, 0.1, 0.1, 0.2, 4, 0.1, 0.1, 1 << 20, 1 << 10)


@pytest.fixture
def prices(tmp_path) -> Prices:
    return Prices(tmp_path / "prices", torch.device("cpu"))


@pytest.fixture
def info(clip):
    return files.probe(clip)


def test_of_knows_nothing_at_first(prices, family, info) -> None:
    assert prices.of(family, info) == {}


def test_of_knows_after_a_restart_what_was_kept(prices, family, info) -> None:
    prices.keep(family, info, {"fast": COSTS, "paper": replace(COSTS, tune_step_s=2.0)})
    again = Prices(prices.folder, torch.device("cpu"))
    assert again.of(family, info)["fast"] == COSTS and again.of(family, info)["paper"].tune_step_s == 2.0


def test_of_forgets_with_another_family_size_program_device_or_settings(prices, family, info, monkeypatch) -> None:
    prices.keep(family, info, {"fast": COSTS})
    assert prices.of(replace(family, name="other"), info) == {}
    assert prices.of(family, replace(info, width=info.width * 2)) == {}
    for changed in ("program", "torch", "device", "threads"):
        other = Prices(prices.folder, torch.device("cpu"))
        other._about = {**other._about, changed: "another"}
        assert other.of(family, info) == {}
    monkeypatch.setattr(Settings, "preset", staticmethod(lambda name: replace(Settings(), seed=1)))
    assert prices.of(family, info) == {}


@pytest.mark.parametrize("content", ["", "[1]", "{", json.dumps({"fast": {"read_s": 1}})])
def test_of_takes_a_damaged_file_for_none(prices, family, info, content) -> None:
    prices.keep(family, info, {"fast": COSTS})
    (path,) = prices.folder.iterdir()
    path.write_text(content)
    assert prices.of(family, info) == {}


def test_keep_deletes_the_oldest_when_there_are_many(prices, family, info, monkeypatch) -> None:
    monkeypatch.setattr("stitch.page.prices._KEPT", 2)
    for width in (100, 200, 300):
        prices.keep(family, replace(info, width=width), {"fast": COSTS})
    assert len(list(prices.folder.iterdir())) == 2
