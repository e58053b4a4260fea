"""The page's endpoints for programs and for language models (MCP): few, typed, with the page's own limits and queue."""

import logging
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import wraps
from pathlib import Path
from typing import Any, get_args

import gradio as gr

from stitch.core import looks
from stitch.core.errors import EditError, StitchError, VideoError, without_words
from stitch.core.settings import Preset
from stitch.page.guard import no_links
from stitch.page.shared import DEVICE, Shared
from stitch.page.wording import plainly
from stitch.runtime.jobs import BROKEN
from stitch.runtime.slices import Task
from stitch.service import tasks
from stitch.service.sessions import Entry, Store

QUALITIES: tuple[str, ...] = get_args(Preset)
_ASK_EVERY_S = 0.2
_TOLD = ("told", "disclosure", "frames", "edited_frames", "measures", "notes", "took_s")
_LARGEST = 1e9
_log = logging.getLogger(__name__)


def endpoints(shared: Shared) -> None:
    """Add the endpoints to the page that is being built.

    Args:
        shared: whose family, queue and limits they use.
    """
    with gr.Row(visible=False):
        clip = gr.File(label="clip", file_types=["video", ".gif"], type="filepath")
        no_links(clip)
        edits, words = gr.JSON({"smile": 2.0}, label="edits"), gr.Textbox("", label="words")
        quality = gr.Dropdown(list(QUALITIES), value="fast", label="quality")
        part_s, agreed = gr.JSON([], label="part_s"), gr.Checkbox(False, label="agreed")
        face, at_s = gr.Number(1, precision=0, label="face"), gr.Number(0, label="at_s")
        edited, beside = gr.File(label="edited"), gr.File(label="side_by_side")
        report, picture = gr.JSON(label="report"), gr.File(label="picture")
        run_edit, run_preview, run_inspect = gr.Button(), gr.Button(), gr.Button()

    def taken(clip: str | None, edits: Any, words: str, face: int) -> Entry:
        """A run of a browser of its own: nobody else knows its name."""
        look = looks.from_plain({"sliders": edits or {}, "words": words or ""})
        entry = shared.desk.take(shared.store.session(shared.store.new_secret()), _path(clip), shared.first)
        entry.change(look=look.plain(), face=max(1, int(_number("face", face))), fleeting=True).edits()
        return entry

    def list_edits() -> list[dict]:  # type: ignore[type-arg]
        """List the named edits that can be made, with what their two ends mean.

        Returns:
            One record for each edit: name, group, low, high and description. Strengths lie between -3 and 3.
        """
        return [asdict(one) for one in shared.families.sliders(shared.first).values()]

    def inspect_clip(clip: str) -> dict[str, Any]:
        """Read what a clip is, without editing it.

        Args:
            clip: a video file with a face in it.
        Returns:
            Width and height in pixels, frames a second, number of frames, length in seconds, whether it has sound.
        """
        path = _path(clip)
        info = shared.store.limits.checked(path, "clip")
        shared.store.received(path)
        return {
            "width": info.width, "height": info.height, "frames_per_s": float(info.rate), "frames": info.frames,
            "length_s": info.frames / float(info.rate), "sound": info.audio, "notes": list(info.notes),
        }

    def preview_frame(clip: str, edits: dict[str, float], words: str, at_s: float, face: int) -> str:
        """Edit one frame of a clip quickly, before the face is learned.

        Args:
            clip: a video file with a face in it.
            edits: names of edits and their strengths from -3 to 3, such as {"smile": 2}.
            words: what the face should be, in free text; may be empty.
            at_s: which moment of the clip, in seconds.
            face: which face, counted from 1, who is seen most surely and longest.
        Returns:
            The edited frame.
        """
        entry = taken(clip, edits, words, face)
        shared.desk.at_once(Task(shared.first, tasks.find_faces, (entry,)))
        path = entry.shown / "preview.jpg"
        path.write_bytes(shared.desk.preview(tasks.preview_frame, entry, _number("at_s", at_s)).frame())
        return str(path)

    def edit_clip(
        clip: str, edits: dict[str, float], words: str, quality: str, part_s: list[float], face: int, agreed: bool
    ) -> tuple[str, str, dict[str, Any]]:
        """Edit one face in a clip so that the result looks filmed. Takes minutes. Ask the person first.

        Args:
            clip: a video file with a face in it.
            edits: names of edits and their strengths from -3 to 3, such as {"smile": 2, "age": -1}.
            words: what the face should be, in free text; may be empty.
            quality: "draft" is quickest, "fast" is good, "paper" is best.
            part_s: where the part to edit begins and ends, in seconds, such as [0, 2.5]; empty is all of the clip.
            face: which face, counted from 1, who is seen most surely and longest.
            agreed: whether the person with that face agreed to be edited. Nobody is edited who did not; it is asked of
                each face anew, and kept with the time until the run is deleted.
        Returns:
            The edited clip, original and edited side by side, and a report with measures and a sentence to publish with
            the clip ("disclosure"). The clip is signed and marked as edited with AI.
        """
        if quality not in QUALITIES:
            raise EditError(f"quality {str(quality)[:20]!r}: take one of {', '.join(QUALITIES)}")
        if agreed is not True:
            raise EditError("agreed: nobody is edited who was not asked; say true when this person agreed")
        begin_s, end_s = _part(part_s)
        entry = taken(clip, edits, words, face)
        entry.change(quality=quality, begin_s=begin_s, end_s=end_s, consent={str(entry.about.face): time.time()})
        job = shared.desk.render(entry)
        try:
            while job.active:
                time.sleep(_ASK_EVERY_S)
        except BaseException:
            shared.desk.worker.stop(job)
            raise
        if job.state != "done":
            raise StitchError(job.error or "the edit was stopped")
        made, folder = entry.versions()[job.record], entry.shown / job.record
        told = {name: made[name] for name in _TOLD}
        return str(folder / "edited.mp4"), str(folder / "side_by_side.mp4"), told

    gr.api(list_edits, api_name="edits", concurrency_limit=None)
    run_inspect.click(in_words(inspect_clip, shared.store), [clip], [report], api_name="inspect")
    run_preview.click(
        in_words(preview_frame, shared.store), [clip, edits, words, at_s, face], [picture], api_name="preview", **DEVICE
    )
    run_edit.click(in_words(edit_clip, shared.store), [clip, edits, words, quality, part_s, face, agreed],
                   [edited, beside, report], api_name="edit", concurrency_limit=4)


def in_words(fn: Callable[..., Any], store: Store) -> Callable[..., Any]:
    """An endpoint whose problems are words: callers see the error's text and no traceback; no clip of theirs stays.

    Args:
        fn: its first argument is the clip.
        store: that uploads come to.
    """

    @wraps(fn)
    def called(clip: str | None, *args: Any, **kwargs: Any) -> Any:
        try:
            return fn(clip, *args, **kwargs)
        except Exception as error:
            if clip and isinstance(clip, str):
                store.received(Path(clip))
            if isinstance(error, StitchError):
                raise gr.Error(plainly(str(error)), print_exception=False) from error
            _log.error("a call of the page failed: %s", without_words(error))
            raise gr.Error(BROKEN, print_exception=False) from None

    return called


def _number(name: str, given: Any) -> float:
    """A number that a program gave; nothing is 0.

    Raises:
        EditError: it is none.
    """
    if given is None:
        return 0.0
    if isinstance(given, bool) or not isinstance(given, int | float) or not abs(given) < _LARGEST:
        raise EditError(f"{name}: {str(given)[:20]!r} is not a number that it can be; give another one")
    return float(given)


def _part(given: Any) -> tuple[float, float | None]:
    """Begin and end of a part, in seconds; None is the clip's end.

    Raises:
        EditError: not two numbers.
    """
    if not given:
        return 0.0, None
    if not isinstance(given, list | tuple) or len(given) != 2:
        raise EditError(f"part_s: {str(given)[:20]!r} is not begin and end in seconds; give such as [0, 2.5], or []")
    begin_s, end_s = (_number("part_s", one) for one in given)
    return begin_s, end_s


def _path(clip: str | None) -> Path:
    if not isinstance(clip, str) or not clip:
        raise VideoError("name a clip: a video file with a face in it")
    return Path(clip)
