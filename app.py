"""The page: widgets in, events out. `python app.py --port 7860`."""

import argparse
import html
import os
import sys
import tempfile
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

import weights
from stitch import pipeline
from stitch.edit import resolve
from stitch.errors import EditError, StitchError, VideoError
from stitch.events import Notice, Preview, Progress
from stitch.family import Family
from stitch.records import Edit, EditResult, Text
from stitch.settings import Settings
from stitch.video import probe

SAMPLE = weights.BUNDLED.parent / "samples" / "demo.mp4"
LARGEST_FILE = "200mb"
LONGEST_CLIP_S = 30.0
KEPT_S = 6 * 3600
PREVIEW_PX = 512

STAGES = {
    "track": "Finding the face",
    "align": "Cutting out the face",
    "invert": "Finding its place in the generator",
    "tune": "Learning this face",
    "stitching": "Editing and stitching",
    "merge": "Putting the face back",
}
QUALITIES = {"Draft, quickest": "draft", "Fast": "fast", "As in the paper, slowest": "paper"}

CSS = """
.gradio-container { max-width: 1240px !important; margin: 0 auto !important; }
#head h1 { font-size: 2.2rem; font-weight: 700; letter-spacing: -0.03em; margin: 0.6rem 0 0.1rem; }
#head p { color: var(--body-text-color-subdued); margin: 0 0 0.4rem; }
.html-container { padding: 0 !important; }
.step h3 { margin: 0.4rem 0 0 !important; font-weight: 600; }
.stitch-status { background: var(--block-background-fill); border: 1px solid var(--border-color-primary);
  border-radius: 8px; padding: 14px 16px; }
.stitch-status .line { display: flex; justify-content: space-between; gap: 12px; font-variant-numeric: tabular-nums; }
.stitch-status .line span { color: var(--body-text-color-subdued); white-space: nowrap; }
.stitch-status .bar { height: 6px; border-radius: 3px; background: var(--border-color-primary); margin-top: 10px; }
.stitch-status .bar i { display: block; height: 100%; border-radius: 3px; background: var(--color-accent); }
.stitch-status.problem { border-color: var(--error-border-color, #e11d48); }
.stitch-status small { display: block; color: var(--body-text-color-subdued); margin-top: 8px; }
"""


@dataclass(frozen=True, eq=False)
class Shown:
    """What the right half of the page shows; None leaves a widget as it is."""

    status: str
    preview: np.ndarray | None = None
    edited: Path | None = None
    comparison: Path | None = None
    sheet: Path | None = None

    def updates(self) -> tuple[Any, ...]:
        """One update for each output widget, in the order of `build`."""
        preview = gr.skip() if self.preview is None else gr.update(value=self.preview, visible=True)
        if self.edited is None:
            return self.status, preview, *[gr.skip()] * 4
        files = (str(self.edited), str(self.comparison), str(self.sheet))
        return self.status, gr.update(visible=False), *files, gr.update(visible=True)


def render(
    family: Family,
    clip: str | None,
    start_s: float | None,
    end_s: float | None,
    text: str,
    text_strength: float,
    quality: str,
    *strengths: float,
) -> Iterator[tuple[Any, ...]]:
    """One press of the button: yields what the page shows, until the result stands there.

    Args:
        family: loaded.
        clip: path of the upload.
        start_s, end_s: trim, seconds; empty is the whole clip.
        text: free-text edit, may be empty.
        text_strength: of it.
        quality: a key of `QUALITIES`.
        strengths: one per direction of the family, in its order; 0 leaves it out.
    Yields:
        Updates in the order of the page's output widgets.
    """
    with tempfile.TemporaryDirectory(prefix="stitch-", ignore_cleanup_errors=True) as folder:
        try:
            if not clip:
                raise VideoError("choose a clip first: upload one, or take the sample")
            chosen = [Edit(name, value) for name, value in zip(family.directions, strengths, strict=True) if value]
            edits: list[Edit | Text] = [*chosen, *([Text(text, strength=text_strength)] if text.strip() else [])]
            if not edits:
                raise EditError("nothing to change yet: move a slider, or say in words what the face should be")
            settings = Settings.preset(QUALITIES[quality])  # type: ignore[arg-type]
            settings = replace(settings, video=replace(settings.video, start_s=start_s or 0.0, end_s=end_s or None))
            for shown in _work(family, Path(clip), edits, settings, Path(folder)):
                yield shown.updates()
        except StitchError as error:
            yield Shown(_status("That did not work", note=str(error), problem=True)).updates()


def build(family: Family) -> gr.Blocks:
    """The page for one family.

    Args:
        family: loaded; its directions become the sliders.
    """
    with gr.Blocks(title="Stitch", analytics_enabled=False, delete_cache=(3600, KEPT_S)) as page:
        gr.HTML(
            "<div id='head'><h1>Stitch</h1><p>Change a face in a video so that the result looks filmed. "
            "Your clip stays on this machine.</p></div>"
        )
        with gr.Row(equal_height=False):
            with gr.Column(scale=5, min_width=320):
                gr.Markdown("### 1. Clip", elem_classes="step")
                clip = gr.Video(show_label=False, sources=["upload"], height=280)
                if SAMPLE.is_file():
                    gr.Button("Use the sample clip", size="sm").click(
                        lambda: str(SAMPLE), outputs=clip, queue=False, api_visibility="private"
                    )
                gr.Markdown("### 2. Edits", elem_classes="step")
                sliders = _sliders(family)
                with gr.Group(visible=family.text_encoder is not None and family.relevance is not None):
                    text = gr.Textbox(label="In your own words", placeholder="a face with glasses", max_length=200)
                    text_strength = gr.Slider(-3, 3, 2, step=0.1, label="Strength of the words", buttons=[])
                with gr.Accordion("Trim and quality", open=False):
                    with gr.Row():
                        start_s = gr.Number(label="From (s)", minimum=0, value=None, min_width=90)
                        end_s = gr.Number(label="To (s)", minimum=0, value=None, min_width=90)
                    quality = gr.Radio(list(QUALITIES), value="Fast", label="Quality")
            with gr.Column(scale=6, min_width=320):
                gr.Markdown("### 3. Result", elem_classes="step")
                with gr.Row():
                    run = gr.Button("Edit the clip", variant="primary", scale=4)
                    stop = gr.Button("Stop", scale=1, min_width=80)
                status = gr.HTML(
                    _status("Ready", note="The first edit of a clip takes longest; later ones reuse it."), padding=False
                )
                preview = gr.Image(show_label=False, interactive=False, height=360, buttons=[], visible=False)
                with gr.Column(visible=False) as finished:
                    edited = gr.Video(show_label=False, interactive=False, buttons=["download"])
                    with gr.Tab("Side by side"):
                        comparison = gr.Video(show_label=False, interactive=False, buttons=["download"])
                    with gr.Tab("Stage by stage"):
                        sheet = gr.Image(
                            show_label=False, interactive=False, type="filepath", buttons=["download", "fullscreen"]
                        )
        gr.Markdown(
            f"Family of weights: **{family.name}** ({family.licence}). Edit only faces whose owners agree; "
            "every result says in its metadata that it was edited."
        )
        working = run.click(
            partial(render, family), [clip, start_s, end_s, text, text_strength, quality, *sliders],
            [status, preview, edited, comparison, sheet, finished],
            concurrency_limit=1, concurrency_id="work", show_progress="hidden", api_name="edit",
        )
        stop.click(
            lambda: _status("Stopped", note="What is finished is kept: the same edit goes on from here."),
            outputs=status, cancels=working, queue=False, api_visibility="private",
        )
    return page


def serve(page: gr.Blocks, host: str | None = None, port: int | None = None, block: bool = True) -> str:
    """Serve the page until it is stopped.

    Args:
        page: of `build`.
        host: None is this machine alone.
        port: None is the first free one from 7860.
        block: wait; else return at once.
    Returns:
        Its address.
    """
    os.environ.setdefault("GRADIO_RUN_HISTORY", "False")  # people's clips are private: gradio keeps no record of them
    page.queue(default_concurrency_limit=1, max_size=20)
    _, address, _ = page.launch(
        server_name=host, server_port=port, max_file_size=LARGEST_FILE, allowed_paths=[str(SAMPLE.parent)],
        css=CSS, theme=_theme(), footer_links=[], prevent_thread_lock=not block,
    )
    return address


def main() -> int:
    """Load the family and serve the page."""
    parser = argparse.ArgumentParser(description="Serve Stitch's page.")
    parser.add_argument("--port", type=int, help="the first free one from 7860 unless given")
    parser.add_argument("--host", help="127.0.0.1 unless given")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda", "mps"), help="(auto)")
    arguments = parser.parse_args()
    try:
        family = weights.load_family(weights.FAMILIES[0], weights.device(arguments.device))
        serve(build(family), arguments.host, arguments.port)
    except (StitchError, OSError) as error:  # gradio raises the latter when the port is taken
        print(f"stitch: error: {error}", file=sys.stderr)
        return 1
    return 0


def _work(
    family: Family, clip: Path, edits: list[Edit | Text], settings: Settings, folder: Path
) -> Iterator[Shown]:
    """All six rooms, each event as what the page shows."""
    info = probe(clip, settings.video)
    length_s = info.frames / float(info.rate)
    if length_s > LONGEST_CLIP_S:
        raise VideoError(f"the clip is {length_s:.0f} s long and this page takes {LONGEST_CLIP_S:.0f} s; trim it below")
    resolve(edits, family)
    prepared = yield from _shown(pipeline.prepare(clip, None, settings, family))
    name = Path(clip.name).stem[:60]
    outputs = [folder / f"{name}_edited.mp4", folder / f"{name}_comparison.mp4", folder / f"{name}_stages.png"]
    result = yield from _shown(pipeline.edit_video(prepared, edits, outputs[0], settings, family, *outputs[1:]))
    yield Shown(_told(result, pipeline.describe(edits)), None, *outputs)


def _shown(work: Generator[Any, None, Any]) -> Generator[Shown, None, Any]:
    """Drive a room's generator; its events become what the page shows, at most a few a second."""
    clock = _Clock()
    preview: np.ndarray | None = None
    note, drawn = "", 0.0
    try:
        while True:
            event = next(work)
            if isinstance(event, Preview):
                preview = _legible(event.image)
            elif isinstance(event, Notice):
                note = event.message
            elif isinstance(event, Progress):
                now = time.monotonic()
                left = clock.left_s(event)
                if now - drawn > 0.25 or event.done == event.total:
                    title = STAGES.get(event.stage, event.stage)
                    yield Shown(_status(title, event.done, event.total, left, note), preview)
                    drawn, preview = now, None
    except StopIteration as end:
        return end.value
    finally:
        work.close()


def _legible(image: np.ndarray) -> np.ndarray:
    """A small picture enlarged, so that a crop of a small generator can be seen."""
    factor = PREVIEW_PX // max(image.shape[:2])
    if factor < 2:
        return image
    height, width = (side * factor for side in image.shape[:2])
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))


class _Clock:
    """Time left in a stage, from its own pace."""

    def __init__(self) -> None:
        self._stage, self._began, self._first = "", 0.0, 0

    def left_s(self, event: Progress) -> float | None:
        """Seconds left, or None while nobody can know."""
        if event.stage != self._stage:
            self._stage, self._began, self._first = event.stage, time.monotonic(), event.done
        done = event.done - self._first
        return (time.monotonic() - self._began) / done * (event.total - event.done) if done > 0 else None


def _sliders(family: Family) -> list[gr.Slider]:
    """A slider for each direction, in the family's order, two in a row."""
    sliders = []
    names = list(family.directions)
    for place in range(0, len(names), 2):
        with gr.Row():
            for name in names[place : place + 2]:
                one = family.directions[name]
                hint = f"{one.low} to {one.high}" if one.low else one.description
                sliders.append(
                    gr.Slider(
                        -3, 3, 0, step=0.1, label=name.replace("_", " ").capitalize(), info=hint, min_width=140,
                        buttons=["reset"],
                    )
                )
    return sliders


def _theme() -> gr.themes.Base:
    """Plain labels instead of coloured tags, and the reader's own typeface."""
    fonts = ["ui-sans-serif", "system-ui", "sans-serif"]
    return gr.themes.Default(primary_hue="indigo", neutral_hue="slate", font=fonts, radius_size="md").set(
        block_title_background_fill="transparent", block_title_padding="0", block_title_text_weight="600",
        block_title_text_color="*body_text_color", block_label_background_fill="transparent",
    )


def _told(result: EditResult, edits: str) -> str:
    measures = result.measures
    parts = [f"{result.edited_frames} of {result.info.frames} frames edited"]
    if "psnr_tuned_db" in measures:
        parts.append(f"reconstruction {measures['psnr_tuned_db']:.1f} dB")
    if "tl_id" in measures:
        parts.append(f"identity over time {measures['tl_id']:.3f} (1 is the source)")
    return _status(f"Done: {edits}", note=", ".join(parts) + ". " + " ".join(result.notes))


def _status(
    title: str, done: int = 0, total: int = 0, left_s: float | None = None, note: str = "", problem: bool = False
) -> str:
    """The status box as HTML."""
    count = f"{done} / {total}" if total else ""
    count += f" · about {left_s:.0f} s left in this step" if left_s is not None and total else ""
    bar = f"<div class='bar'><i style='width:{100 * done / total:.1f}%'></i></div>" if total else ""
    small = f"<small>{html.escape(note)}</small>" if note else ""
    kind = "stitch-status problem" if problem else "stitch-status"
    return (
        f"<div class='{kind}' role='status'><div class='line'><b>{html.escape(title)}</b><span>{count}</span></div>"
        f"{bar}{small}</div>"
    )


if __name__ == "__main__":
    sys.exit(main())
