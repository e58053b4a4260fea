"""Choosing a family on the page: told before anything is fetched, fetched when asked for, used from then on."""

from types import SimpleNamespace

import pytest
import torch
from huggingface_hub import constants

pytest.importorskip("gradio")

import app
from stitch.core.errors import WeightsError
from stitch.families import load
from stitch.service.families import Families
from tests.conftest import tiny_family
from tests.hub import Hub
from tests.pages import fetchable, visit
from tests.stages import eventually


@pytest.fixture
def hub(monkeypatch):
    hub = Hub()
    fetchable(hub, monkeypatch)
    yield hub
    hub.close()


@pytest.fixture
def page(tmp_path):
    page, _ = app.build(tiny_family(), tmp_path / "page")
    return page


@pytest.fixture
def secret(page) -> str:
    return page.shared.store.new_secret()


def until_done(page, secret, family) -> dict:
    """Follow a fetch to its end: what is shown then."""
    eventually(lambda: not page.which.fetching(at(page, secret, family)).active)
    return page.tick(at(page, secret, family))


def at(page, secret, family, name="", **sliders):
    """Somebody who points at a family."""
    return visit(page, secret, name, {page.which.choice: family}, **sliders)


def words_of(card: dict) -> str:
    return str([*card.values()])


def test_card_tells_all_before_anything_is_fetched_or_loaded(page, hub, secret) -> None:
    shown = page.which.choose(at(page, secret, "ffhq"))
    for words in ("2 sliders", "non-commercial", "14 kB of 14 kB to fetch", "wants a GPU", "“Miniature” goes on"):
        assert words in words_of(shown[page.which.card])
    assert shown[page.which.fetch]["visible"] and page.shared.family not in shown and hub.requests == []


def test_fetched_family_is_used_in_this_session(page, hub, secret) -> None:
    page.which.begin(at(page, secret, "ffhq"))
    shown = until_done(page, secret, "ffhq")
    assert "all here" in words_of(shown[page.which.card]) and not shown[page.which.fetch]["visible"]
    assert shown[page.which.arrived]  # changes, after which it is chosen
    used = page.which.choose(at(page, secret, "ffhq"))
    assert used[page.shared.family] == "ffhq" and "in use" in words_of(used[page.which.card])
    visible = {name: used[slider]["visible"] for name, slider in page.edits.sliders.items()}
    assert {name for name, seen in visible.items() if seen} == {"smile", "yaw"}
    back = page.use(visit(page, secret), "miniature")
    assert {name for name, slider in page.edits.sliders.items() if back[slider]["visible"]} == {"smile", "age"}


def test_use_keeps_the_open_clip_its_look_and_its_preview(page, hub, secret, clip) -> None:
    page.which.begin(at(page, secret, "ffhq"))
    until_done(page, secret, "ffhq")
    page.which.choose(at(page, secret, "ffhq"))
    name = page.take(visit(page, secret, age=1.0, smile=2.0), str(clip))[page.shared.name]
    used = page.use(visit(page, secret, name, age=1.0, smile=2.0), "ffhq")
    entry = visit(page, secret, name).entry
    assert entry.about.family == "ffhq" and len(page.shared.store.session(secret).runs()) == 1
    assert used[page.edits.sliders["smile"]]["value"] == 2.0
    assert page.preview.frame not in used and page.clip.clip not in used  # what is seen stays until there is better
    opened = page.opened(visit(page, secret), entry)
    assert opened[page.shared.family] == "ffhq" and not opened[page.edits.sliders["age"]]["visible"]
    assert page.use(visit(page, secret, name), "miniature")[page.edits.sliders["age"]]["visible"]


def test_fetch_without_network_says_so_and_the_page_goes_on(page, hub, secret, monkeypatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    page.which.begin(at(page, secret, "ffhq"))
    shown = until_done(page, secret, "ffhq")
    said = words_of(shown[page.which.card])
    assert "HF_HUB_OFFLINE" in said and "“Miniature” goes on" in said and "Traceback" not in said
    assert shown[page.which.fetch]["visible"]
    assert page.shared.family not in page.which.choose(at(page, secret, "ffhq"))


def test_fetch_of_a_file_that_nobody_has_says_so(page, hub, secret) -> None:
    hub.linked.clear()
    page.which.begin(at(page, secret, "ffhq"))
    assert "no source gave the right file" in words_of(until_done(page, secret, "ffhq")[page.which.card])


def test_stopped_fetch_keeps_what_has_arrived(page, hub, secret) -> None:
    page.which.begin(at(page, secret, "ffhq"))
    job = page.which.fetching(at(page, secret, "ffhq"))
    page.which.end(at(page, secret, "ffhq"))
    until_done(page, secret, "ffhq")
    assert job.state in ("stopped", "done")
    page.which.begin(at(page, secret, "ffhq"))
    assert "all here" in words_of(until_done(page, secret, "ffhq")[page.which.card])


def test_broken_family_leaves_the_other_in_use(page, hub, secret, monkeypatch) -> None:
    def broken(name, device):
        raise WeightsError("parser: not a network that is known")

    monkeypatch.setattr(load, "load_family", broken)
    monkeypatch.setattr(page.shared.families, "to_fetch", lambda name: 0)
    shown = page.which.choose(at(page, secret, "ffhq"))
    assert "not a network that is known" in words_of(shown[page.which.card]) and page.shared.family not in shown
    assert shown[page.which.choice] == "miniature"


def test_sliders_of_the_manifest_are_those_that_ffhq_shows() -> None:
    from stitch.families.ffhq import SLIDERS

    assert set(Families(torch.device("cpu")).sliders("ffhq")) == {slider.name for slider in SLIDERS}


def test_first_of_falls_back_and_says_why(monkeypatch, family) -> None:
    def missing(name, device):
        raise WeightsError(f"family {name}: its weights are not on this machine")

    monkeypatch.setattr(load, "load_family", missing)
    served, said = Families(torch.device("cpu"), family).first_of("ffhq", "miniature")
    assert served is family and "not on this machine" in said


@pytest.mark.parametrize(
    ("missing", "wants_gpu", "fetched"), [(1000, False, True), (0, False, False), (1000, True, False)]
)
def test_the_page_fetches_its_family_at_the_start_unless_that_takes_gigabytes(
    monkeypatch, missing, wants_gpu, fetched
) -> None:
    asked = []

    def fetch(parts):
        asked.append(parts)
        raise WeightsError("no network")
        yield

    monkeypatch.setattr(app.load, "about", lambda name: SimpleNamespace(wants_gpu=wants_gpu))
    monkeypatch.setattr(app.load, "needed", lambda name: [name])
    monkeypatch.setattr(app.local, "fetch", fetch)
    app.bring(SimpleNamespace(to_fetch=lambda name: missing), "some")
    assert asked == ([["some"]] if fetched else [])
