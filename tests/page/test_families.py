"""Choosing a family on the page: told before anything is fetched, fetched when asked for, used from then on."""

import asyncio

import pytest
import torch
from huggingface_hub import constants

pytest.importorskip("gradio")

import app
from stitch.core.errors import WeightsError
from stitch.families import load
from stitch.page.families import Families
from tests.conftest import draw_clip, tiny_family
from tests.hub import Hub
from tests.pages import fetchable
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
    return page.store.new_secret()


def until_done(page, secret, family) -> dict:
    """Follow a fetch to its end: the last thing shown."""

    async def followed():
        return [updates async for updates in page.follow_fetch(secret, family, "miniature")]

    return asyncio.run(followed())[-1]


def test_card_tells_all_before_anything_is_fetched_or_loaded(page, hub, secret) -> None:
    shown = page.choose_family(secret, "", "ffhq", "miniature")
    card = shown[page.family_card]
    for words in ("2 sliders", "non-commercial", "14 kB of 14 kB to fetch", "wants a GPU", "miniature family goes on"):
        assert words in card
    assert shown[page.fetch]["visible"] and page.in_use not in shown and hub.requests == []


def test_fetched_family_is_used_in_this_session(page, hub, secret) -> None:
    page.begin_fetch(secret, "ffhq", "miniature")
    shown = until_done(page, secret, "ffhq")
    assert "all here" in shown[page.family_card] and not shown[page.fetch]["visible"]
    used = page.choose_family(secret, "", "ffhq", "miniature")
    assert used[page.in_use] == "ffhq" and "in use" in used[page.family_card]
    visible = {name: used[slider]["visible"] for name, slider in page.sliders.items()}
    assert {name for name, seen in visible.items() if seen} == {"smile", "yaw"}
    back = page.choose_family(secret, "", "miniature", "ffhq")
    assert {name for name, slider in page.sliders.items() if back[slider]["visible"]} == {"smile", "age"}


def test_run_keeps_its_family_and_its_clip_is_taken_again_for_another(page, hub, secret, clip) -> None:
    first = page.take(secret, str(clip), "miniature")[page.current]
    session = page.store.session(secret)
    session.open(first).change(state="stopped", look={"sliders": {"age": 1.0}})  # something was made with it
    page.begin_fetch(secret, "ffhq", "miniature")
    until_done(page, secret, "ffhq")
    second = page.choose_family(secret, first, "ffhq", "miniature")[page.current]
    assert second != first and session.open(second).about.title == session.open(first).about.title
    assert [session.open(name).about.family for name in (first, second)] == ["miniature", "ffhq"]
    opened = page.open_run(secret, first)
    assert opened[page.in_use] == "miniature" and opened[page.sliders["age"]]["visible"]
    assert opened[page.sliders["age"]]["value"] == 1.0 and not opened[page.sliders["yaw"]]["visible"]


def test_clip_with_which_nothing_was_made_moves_to_the_new_family(page, hub, secret, tmp_path) -> None:
    first = page.take(secret, str(draw_clip(tmp_path / "new.mp4", frames=4)), "miniature")[page.current]
    page.begin_fetch(secret, "ffhq", "miniature")
    until_done(page, secret, "ffhq")
    second = page.choose_family(secret, first, "ffhq", "miniature")[page.current]
    assert [entry.name for entry in page.store.session(secret).runs()] == [second]


def test_fetch_without_network_says_so_and_the_page_goes_on(page, hub, secret, monkeypatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    page.begin_fetch(secret, "ffhq", "miniature")
    shown = until_done(page, secret, "ffhq")
    assert "HF_HUB_OFFLINE" in shown[page.family_card] and "miniature family goes on" in shown[page.family_card]
    assert shown[page.fetch]["visible"] and "Traceback" not in shown[page.family_card]
    assert page.in_use not in page.choose_family(secret, "", "ffhq", "miniature")


def test_fetch_of_a_file_that_nobody_has_says_so(page, hub, secret) -> None:
    hub.linked.clear()
    page.begin_fetch(secret, "ffhq", "miniature")
    shown = until_done(page, secret, "ffhq")
    assert "no source gave the right file" in shown[page.family_card]


def test_stopped_fetch_keeps_what_has_arrived(page, hub, secret) -> None:
    page.begin_fetch(secret, "ffhq", "miniature")
    job = page.fetcher.of(page.store.session(secret).browser, "ffhq")
    page.stop_fetch(secret, "ffhq")
    eventually(lambda: not job.active)
    assert job.state in ("stopped", "done")
    page.begin_fetch(secret, "ffhq", "miniature")
    assert "all here" in until_done(page, secret, "ffhq")[page.family_card]


def test_broken_family_leaves_the_other_in_use(page, hub, secret, monkeypatch) -> None:
    def broken(name, device):
        raise WeightsError("parser: not a network that is known")

    monkeypatch.setattr(load, "load_family", broken)
    monkeypatch.setattr(page.families, "to_fetch", lambda name: 0)
    shown = page.choose_family(secret, "", "ffhq", "miniature")
    assert "not a network that is known" in shown[page.family_card] and page.in_use not in shown
    assert shown[page.family_choice] == "miniature"


def test_sliders_of_the_manifest_are_those_that_ffhq_shows() -> None:
    from stitch.families.ffhq import SLIDERS

    assert set(Families(torch.device("cpu")).sliders("ffhq")) == {slider.name for slider in SLIDERS}


def test_first_of_falls_back_and_says_why(monkeypatch, family) -> None:
    def missing(name, device):
        raise WeightsError(f"family {name}: its weights are not on this machine")

    monkeypatch.setattr(load, "load_family", missing)
    served, said = Families(torch.device("cpu"), family).first_of("ffhq", "miniature")
    assert served is family and "not on this machine" in said
