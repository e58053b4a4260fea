"""The front door of the page: `python app.py` on this machine, and what a Hugging Face Space starts."""

import argparse
import importlib.util
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from stitch.runtime import pages

if __name__ == "__main__":
    pages.restart()  # before anything large is loaded

try:
    import spaces  # before anything touches CUDA; only a Space has it
except ImportError:
    spaces = None

import gradio as gr
from starlette.middleware import Middleware

from stitch.cli.console import Console
from stitch.core.errors import StitchError
from stitch.families import load
from stitch.families.family import Family
from stitch.page.api import endpoints
from stitch.page.guard import Guard
from stitch.page.page import Page
from stitch.page.parts import ASSETS
from stitch.page.shared import Shared
from stitch.page.theme import STYLE, theme
from stitch.runtime import runs
from stitch.runtime.device import chosen
from stitch.runtime.slices import owner
from stitch.service.families import Families
from stitch.service.sessions import ON_A_SPACE, ON_A_SPACES_PROCESSOR, Limits, Store
from stitch.store import local

WAITING = 40


def on_a_space() -> bool:
    """Whether Hugging Face runs this."""
    return "SPACE_ID" in os.environ


def zero_gpu() -> Any:
    """ZeroGPU's decorator where time on the device is dealt out, else None."""
    dealt_out = os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true")
    return spaces.GPU if spaces is not None and dealt_out else None


def build(
    family: Family, root: Path, families: Families | None = None, limits: Limits | None = None, notice: str = ""
) -> tuple[Page, gr.Blocks]:
    """The page for a family.

    Args:
        family: loaded; its directions become the sliders.
        root: of the browsers' runs.
        families: the other families; None knows this one alone.
        limits: of every browser; None goes by where the page runs.
        notice: a sentence that every visitor should read.
    Returns:
        The page, and its widgets.
    """
    device = next(family.generator.parameters()).device
    families = families or Families(device, family)
    shared_limits = ON_A_SPACES_PROCESSOR if device.type == "cpu" and zero_gpu() is None else ON_A_SPACE
    store = Store(root, limits or (shared_limits if on_a_space() else Limits()))
    os.environ["GRADIO_TEMP_DIR"] = str(store.uploads)  # the one way to say where gradio keeps what arrives
    example = load.about(family.name).example
    lying = [store.served, ASSETS] + ([example.parent] if example else [])
    gr.set_static_paths(lying)  # sent from where they lie, never copied
    page = Page(Shared(families, family.name, store, owner(families, zero_gpu()), example), notice)
    return page, page.build(endpoints)


def serve(
    page: Page, blocks: gr.Blocks, host: str | None = None, port: int | None = None, block: bool = True
) -> str:
    """Serve the page until it is stopped.

    Args:
        page, blocks: of `build`.
        host: None is this machine alone.
        port: None is the first free one from 7860.
        block: wait; else return at once.
    Returns:
        Its address.
    """
    page.shared.desk.keep_tidy()
    blocks.queue(default_concurrency_limit=4, max_size=WAITING)
    _, address, _ = blocks.launch(
        server_name=host, server_port=port, max_file_size=page.shared.store.limits.largest_bytes,
        css_paths=STYLE, theme=theme(), footer_links=["api"], prevent_thread_lock=not block,
        # People's clips are private: gradio keeps no record of them and shows nobody what others do.
        run_history=False, enable_monitoring=False,
        app_kwargs={"middleware": [Middleware(Guard, limits=page.shared.store.limits)]},
        mcp_server=importlib.util.find_spec("mcp") is not None, ssr_mode=False,
        _frontend=False,  # else gradio asks the page for itself, and gives up where a busy machine takes three seconds
    )
    return address


def bring(families: Families, name: str) -> None:
    """Fetch what a family lacks, unless that is a matter of gigabytes: then a button of the page does it."""
    console = Console(as_json=False, quiet=False)
    with suppress(StitchError):  # said on the page, when the family cannot be loaded
        if families.to_fetch(name) and not load.about(name).wants_gpu:
            console.watch(local.fetch(load.needed(name)))


def main() -> int:
    """Load a family and serve the page."""
    names = tuple(load.known())
    parser = argparse.ArgumentParser(description="Serve Stitch's page.")
    parser.add_argument("--port", type=int, help="the first free one from 7860 unless given")
    parser.add_argument("--host", help="127.0.0.1 unless given")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda", "mps"), help="(auto)")
    parser.add_argument("--family", default=load.default(),
                        help=f"whose faces are drawn first: {', '.join(names)} ({load.default()}); without its files "
                             f"{load.fallback()} serves")
    parser.add_argument("--runs", type=Path, default=None, metavar="DIR", help="where browsers' runs are kept")
    arguments = parser.parse_args()
    try:
        families = Families(chosen(arguments.device))
        bring(families, arguments.family)
        family, missing = families.first_of(arguments.family, load.fallback())
        notice = f"{missing} Until then the {family.name} family serves: {family.licence}." if missing else ""
        page, blocks = build(family, arguments.runs or runs.page(), families, notice=notice)
        serve(page, blocks, arguments.host, arguments.port)
    except (StitchError, OSError) as error:  # gradio raises the latter when the port is taken
        print(f"stitch: error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
