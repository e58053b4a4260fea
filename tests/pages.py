"""A page with the untrained family, served for tests."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import gradio as gr

import app
from stitch.page.actions import Page
from stitch.page.sessions import Limits
from stitch.settings import Settings
from tests.conftest import tiny_family

LIMITS = Limits(largest_bytes=3 * 2**20, longest_s=20.0)


@dataclass(frozen=True)
class Served:
    """A page that is being served."""

    page: Page
    blocks: gr.Blocks
    address: str


def short_settings(name: str) -> Settings:
    """The draft preset, with almost no steps."""
    settings = Settings()
    return replace(
        settings,
        tune=replace(settings.tune, epochs={"draft": 2, "fast": 3}.get(name, 400), batch=4, locality_weight=0.0),
        stitching=replace(settings.stitching, steps=3, chunk=2),
    )


@contextmanager
def served(root: Path, patch) -> Iterator[Served]:
    """Serve a page whose presets take a moment; "paper" takes so long that it can be stopped."""
    patch.setattr(Settings, "preset", staticmethod(short_settings))
    page, blocks = app.build(tiny_family(), root, limits=LIMITS)
    try:
        yield Served(page, blocks, app.serve(page, blocks, block=False))
    finally:
        blocks.close()
