"""An evaluation to look at: evaluation.json, and one page that needs nothing else, not even a network."""

import base64
import io
import json
from collections.abc import Generator
from contextlib import closing
from fractions import Fraction
from itertools import count, islice
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import av
import jinja2
import numpy as np
from av.video.frame import VideoFrame
from markupsafe import Markup
from PIL import Image

from stitch.core.events import Event, Progress
from stitch.core.images import jpeg_address
from stitch.runtime.disk import disk_errors, write_whole
from stitch.study.evaluate.measures import Evaluation, Measure
from stitch.study.evaluate.plots import plots
from stitch.study.report import face_of, worst_rows
from stitch.video.colour import BT709, FULL, LIMITED

RECORD, PAGE = "evaluation.json", "evaluation.html"
ASSETS = Path(__file__).parent / "assets"

_WIDTH_PX, _CRF, _MOST_FRAMES = 480, 26, 1500
_FACE_PX, _WORST = 300, 8
_AMPLIFIED = 4
_GROUPS = (
    ("The person", ("tl_id", "tg_id", "identity")),
    ("Over time", ("flicker", "jitter")),
    ("The rest of the picture", ("boundary_ratio", "ring", "background_mean", "background_largest")),
    ("What was learned", ("psnr_tuned_db", "ssim", "lpips")),
)


def check_folder(folder: Path) -> None:
    """Refuse, before any work, a folder that cannot be written; it is made if it is not there.

    Raises:
        RunError: it is a file, or nothing can be written there.
    """
    with disk_errors(f"report folder {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):  # asking for permission tells less than trying
            pass


def write(folder: Path, found: Evaluation) -> Generator[Event, None, Path]:
    """Write evaluation.json and evaluation.html.

    Args:
        folder: where they go.
        found: what they tell.
    Yields:
        Progress in frames.
    Returns:
        The page.
    Raises:
        RunError: the folder cannot be written.
        VideoError: a clip can no longer be read.
    """
    rate, several = float(found.pair.rate), len(found.pair) > 1
    worst = _worst(found)
    clips = (yield from _clips(found)) if several else [jpeg_address(one, 2 * _WIDTH_PX) for one in found.pair.at(0)]
    record = found.record(per_frame=True)
    record["worst_frames"] = [{"frame": one["frame"], "at_s": one["at_s"], "why": one["why"]} for one in worst]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(ASSETS), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("page.html.j2").render(
        found=found, record=record, several=several, clips=clips, worst=worst, rate=rate, amplified=_AMPLIFIED,
        groups=_groups(found), missing=_missing(found), summary=summary(found), attributes=_attributes(found),
        shown=min(len(found.pair), _MOST_FRAMES), names=_names(found),
        plots=plots(record["per_frame"], rate) if several else [],
        asset=lambda name: Markup((ASSETS / name).read_text()),  # nosec B704  # files that come with Stitch
    )
    with disk_errors(f"report folder {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / RECORD, json.dumps(record, indent=1, allow_nan=False).encode())
        write_whole(folder / PAGE, page.encode())
    return folder / PAGE


def summary(found: Evaluation) -> str:
    """All verdicts in a sentence."""
    judged = [one for one in found.measures if one.verdict]
    if not judged:
        return "Nothing could be judged."
    by = {verdict: [one.title for one in judged if one.verdict == verdict] for verdict in ("good", "fair", "poor")}
    said = [f"{verdict.capitalize()}: {', '.join(by[verdict])}." for verdict in ("fair", "poor") if by[verdict]]
    good = f"{len(by['good'])} of {len(judged)}" if said else f"All {len(judged)}"
    return " ".join([f"{good} measures are good.", *said])


def _names(found: Evaluation) -> list[str]:
    """Of both clips, with their folders where they are called the same."""
    paths = [side.info.path for side in (found.pair.original, found.pair.edited)]
    same = paths[0].name == paths[1].name
    return [str(Path(path.absolute().parent.name, path.name)) if same else path.name for path in paths]


def _groups(found: Evaluation) -> list[tuple[str, list[Measure]]]:
    """Measures with a value, under their headings; what was asked for comes first."""
    by_name = {one.name: one for one in found.measures if one.value is not None}
    asked = [one for name, one in by_name.items() if name.startswith("edit ")]
    groups = [("What was asked for", asked)] + [
        (title, [by_name[name] for name in names if name in by_name]) for title, names in _GROUPS
    ]
    return [(title, measures) for title, measures in groups if measures]


def _missing(found: Evaluation) -> dict[str, list[str]]:
    """Titles of what is not there, by the reason."""
    reasons: dict[str, list[str]] = {}
    for one in found.measures:
        if one.reason:
            reasons.setdefault(one.reason, []).append(one.title)
    return reasons


def _attributes(found: Evaluation) -> list[tuple[str, float, float]]:
    """Name, move in std and its share of the largest, the largest first."""
    rounded = {name: round(value, 2) + 0.0 for name, value in found.attributes.items()}  # no minus before a zero
    ordered = sorted(rounded.items(), key=lambda one: -abs(one[1]))
    largest = max([1.0, *(abs(value) for _, value in ordered)])
    return [(name.replace("_", " "), value, value / largest) for name, value in ordered]


def _worst(found: Evaluation) -> list[dict[str, Any]]:
    """Frames that deserve a look: original, edited and their difference."""
    columns = found.columns
    reasons = [
        (columns["identity"], "least like the person"),
        (-np.abs(columns["tl_id"] - 1), "changes most from the frame before"),
        (columns["flicker_original"] - columns["flicker_edited"], "flickers most"),
        *([(-columns["ring_stitched"], "clearest seam")] if "ring_stitched" in columns else []),
        (-columns["background_mean"], "background changes most"),
    ]
    reasons = [(column, why) for column, why in reasons
               if np.isfinite(column).any() and (len(column) == 1 or np.nanmax(column) - np.nanmin(column) > 1e-6)]
    chosen = worst_rows(reasons, max(_WORST, len(reasons))) if reasons else {}
    worst = []
    for moment, why in chosen.items():
        frames, quad = found.pair.at(moment), found.faces.quads[moment]
        if np.isfinite(quad).all() and "background" not in why:
            frames = face_of(frames[0], quad), face_of(frames[1], quad)
        difference = np.abs(frames[0].astype(np.int16) - frames[1]) * _AMPLIFIED
        pictures = (*frames, np.minimum(difference, 255).astype(np.uint8))
        worst.append({"frame": moment, "at_s": round(moment / float(found.pair.rate), 4), "why": why,
                      "pictures": [jpeg_address(picture, _FACE_PX) for picture in pictures]})
    return worst


def _clips(found: Evaluation) -> Generator[Event, None, list[str]]:
    """Both clips, small, as addresses that hold them."""
    width, height = found.pair.size
    factor = min(1.0, _WIDTH_PX / width)
    size = tuple(max(2, 2 * round(side * factor / 2)) for side in (width, height))
    total = min(len(found.pair), _MOST_FRAMES)
    files = [io.BytesIO(), io.BytesIO()]
    writers = [_small(file, (size[0], size[1]), found.pair.rate) for file in files]
    for one in writers:
        next(one)
    with closing(found.pair.frames()) as both:
        for moment, frames in enumerate(islice(both, total)):
            for one, frame in zip(writers, frames, strict=True):
                one.send(frame)
            yield Progress("report", moment + 1, total)
    for one in writers:
        one.close()
    return ["data:video/mp4;base64," + base64.b64encode(file.getvalue()).decode() for file in files]


def _small(file: io.BytesIO, size: tuple[int, int], rate: Fraction) -> Generator[None, np.ndarray, None]:
    """A small H.264 mp4 of the frames that are sent, whole once it is closed. `video.files.Writer` writes results, with
    their sound and a mark of who edited them: these are views of a page, one of them of a clip that nobody edited."""
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": str(_CRF), "preset": "veryfast"})
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        context = stream.codec_context
        context.thread_count, context.time_base = 1, 1 / rate
        context.gop_size = max(1, round(rate / 2))  # so that a player finds any frame soon
        context.color_primaries = context.color_trc = context.colorspace = BT709
        context.color_range = LIMITED
        try:
            for number in count():
                frame = yield
                small = Image.fromarray(frame).resize(size, Image.Resampling.LANCZOS)
                picture = VideoFrame.from_ndarray(np.asarray(small), format="rgb24").reformat(
                    format="yuv420p", dst_colorspace=BT709, src_color_range=FULL, dst_color_range=LIMITED
                )
                picture.pts, picture.time_base = number, 1 / rate
                container.mux(stream.encode(picture))
        finally:
            container.mux(stream.encode(None))

