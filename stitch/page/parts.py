"""The page's own parts: small HTML components whose values are plain, drawn by the browser, so that nothing is kept."""

from pathlib import Path
from typing import Any

import gradio as gr
from gradio import processing_utils
from gradio.data_classes import FileData

from stitch.page.guard import no_links
from stitch.runtime.jobs import Job

ASSETS = Path(__file__).with_name("assets")
_PRELUDE = """const esc = (text) => String(text ?? '').replace(/[&<>"'`]/g, (sign) => `&#${sign.charCodeAt(0)};`);
if (!value) return '';"""


def part(name: str, value: Any = None, **options: Any) -> gr.HTML:
    """A component drawn by `assets/NAME.view.js` from its value, with `assets/NAME.js` to listen to the visitor.

    The value is only ever data of that program: text in it stays text.
    """
    view, script = ASSETS / f"{name}.view.js", ASSETS / f"{name}.js"
    drawn = f"${{(() => {{{_PRELUDE}\n{view.read_text()}}})()}}" if view.is_file() else ""
    return gr.HTML(value, html_template=drawn, js_on_load=script.read_text() if script.is_file() else None, **options)


def choices(items: list[dict[str, Any]], label: str, title: str = "") -> dict[str, Any]:
    """The value of a part "choices": buttons with id, label, and perhaps picture, note and pressed."""
    return {"items": items, "label": label, "title": title}


def progress(job: Job, title: str, *said: str) -> dict[str, Any]:
    """The value of a part "status": how far a job is."""
    share = job.done / job.total if job.total else 0.0
    return {"title": title, "said": " · ".join(one for one in said if one), "share": share}


def wipe(views: dict[str, tuple[str, str]], labels: tuple[str, str], shown: str = "", offset_s: float | None = None,
         ) -> dict[str, Any]:
    """The value of a part "wipe": two pictures or two videos with a divider between them.

    Args:
        views: name -> addresses of left and right.
        labels: of left and right.
        shown: name of the view that is shown first.
        offset_s: for videos: where in the left one the right one begins; None are pictures.
    """
    named = [{"name": name, "left": left, "right": right} for name, (left, right) in views.items()]
    return {"views": named, "labels": labels, "shown": shown, "video": offset_s is not None, "offset_s": offset_s or 0}


def address(path: Path) -> str:
    """Where the browser finds a file of the served folders."""
    return f"/gradio_api/file={path}"


def clip_input(**options: Any) -> gr.Video:
    """A video that is shown as it lies: gradio would keep a playable copy in its cache (`playable`)."""
    video = gr.Video(**options)
    no_links(video)
    video.postprocess = lambda value: FileData(path=value, orig_name=Path(value).name) if value else None  # type: ignore
    return video


def playable(clip: Path) -> Path:
    """The clip, or beside it a copy that browsers can play."""
    if not processing_utils.ffmpeg_installed() or processing_utils.video_is_playable(str(clip)):
        return clip
    made = Path(processing_utils.convert_video_to_playable_mp4(str(clip), cache_dir=str(clip.parent)))
    return clip if made == clip else made.replace(clip.parent / "playable.mp4")
