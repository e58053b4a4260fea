"""A page with the untrained family, served for tests."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gradio as gr
from huggingface_hub import constants

import app
from stitch.core.looks import Look
from stitch.core.settings import PRESETS, Presets, Settings
from stitch.families import load
from stitch.page.page import Page
from stitch.page.shared import Visit
from stitch.service.sessions import Limits
from stitch.store import local
from stitch.store.local import Part
from tests.conftest import tiny_family
from tests.hub import Hub

LIMITS = Limits(largest_bytes=3 * 2**20, longest_s=20.0)


@dataclass(frozen=True)
class Served:
    """A page that is being served."""

    page: Page
    blocks: gr.Blocks
    address: str


def short_settings(name: str, presets: Presets = PRESETS) -> Settings:
    """The draft preset, with almost no steps."""
    settings = Settings()
    return replace(
        settings,
        tune=replace(settings.tune, epochs={"draft": 2, "fast": 3}.get(name, 400), batch=4, locality_weight=0.0),
        stitching=replace(settings.stitching, steps=3, chunk=2),
    )


def fetchable(hub: Hub, patch) -> None:
    """Make the full-size family two small files on a server; once they are here it is the untrained one by its name."""
    patch.setattr(constants, "ENDPOINT", hub.url)
    patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}")
    parts = []
    for name in ("direction.smile", "direction.yaw"):
        content = name.encode() * 500
        hub.put("me/nets", f"{name}.pt", content)
        digest = hashlib.sha256(content).hexdigest()
        parts.append(Part("ffhq", name, f"{name}.pt", len(content), digest, "non-commercial", (f"hf://me/nets/{name}.pt",)))
    real_parts, real_load = load.needed, load.load_family

    def loaded(name, device):
        if name != "ffhq":
            return real_load(name, device)
        local.files_of(parts, None)
        family = tiny_family(1)
        yaw = replace(family.directions["smile"], low="left", high="right", group="Pose")
        return replace(family, name="ffhq", directions={"smile": family.directions["smile"], "yaw": yaw})

    patch.setattr(load, "needed", lambda name: parts if name == "ffhq" else real_parts(name))
    patch.setattr(load, "load_family", loaded)


@contextmanager
def served(root: Path, patch) -> Iterator[Served]:
    """Serve a page whose presets take a moment; "paper" takes so long that it can be stopped."""
    patch.setattr(Settings, "preset", staticmethod(short_settings))
    page, blocks = app.build(tiny_family(), root, limits=LIMITS)
    try:
        yield Served(page, blocks, app.serve(page, blocks, block=False))
    finally:
        blocks.close()


def visit(page: Page, secret: str = "", name: str = "", said: dict[Any, Any] | None = None, **sliders: float) -> Visit:
    """What comes with an event of a browser whose widgets say nothing but this."""
    shared, edits = page.shared, page.edits
    values = dict(edits.set(Look(sliders), shared.first))
    widgets = {widget: values[widget] for widget in edits.fields.values()}
    widgets |= {edits.sliders[slider]: value for slider, value in sliders.items()}
    widgets |= {page.which.choice: shared.first, page.render.quality: "draft", page.clip.position: 0.1}
    widgets |= {page.render.place: "bottom-right", page.render.language: "en"}
    return shared.visit({shared.secret: secret, shared.name: name, **widgets, **(said or {})})
