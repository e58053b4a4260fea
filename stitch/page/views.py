"""What the page says, as HTML: nothing here knows a widget or a network."""

import base64
import html
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from stitch.core.records import ClipInfo
from stitch.core.words import size_text, spoken
from stitch.page.families import Card
from stitch.page.jobs import Job
from stitch.page.work import small
from stitch.study.estimate import Estimate
from stitch.video.timeline import spoken as spoken_rate

STAGES = {
    "track": "Follow the face",
    "align": "Cut it out",
    "invert": "Find its likeness",
    "tune": "Learn this face",
    "stitching": "Edit and stitch",
    "merge": "Put it back",
}
DRAWN = {
    "track": "faces found", "align": "cut out", "tune": "original and as the network draws it by now",
    "stitching": "edited and stitched", "merge": "finished",
}
_PICTURE_PX = 340


def head(notice: str) -> str:
    """The top of the page: what this is, and the way through it."""
    said = f"<p class='notice' role='note'>{html.escape(notice)}</p>" if notice else ""
    return (
        "<header class='masthead'><div><h1>Stitch</h1>"
        "<p>Change a face in a video so that the result looks filmed. The head still moves, speaks and blinks as it "
        "did; the background and the sound stay.</p></div>"
        "<ol class='way'><li><b>Choose a clip</b><span>a few seconds with one face</span></li>"
        "<li><b>Move a slider</b><span>the preview follows</span></li>"
        "<li><b>Render</b><span>watch it happen, take it with you</span></li></ol></header>" + said
    )


def section(title: str, hint: str = "", number: int | None = None) -> str:
    """A heading; what a visitor does one after another has a number."""
    told = f"<span>{html.escape(hint)}</span>" if hint else ""
    place = "" if number is None else f"<i>{number}</i>"
    return f"<h2 class='step'>{place}{html.escape(title)}{told}</h2>"


CONSENT = (
    "<p class='consent'>Use faces whose owners agreed. Clips stay in a private folder of this machine that only your "
    "browser can open, and are deleted when you delete the run or it expires. Every result says in its metadata that "
    "it was edited.</p>"
)


def facts(info: ClipInfo, people: int, lost: int, cuts: int) -> str:
    """What was read of a clip."""
    length_s = info.frames / float(info.rate)
    chips = [
        f"{info.width} × {info.height}", f"{spoken_rate(info.rate)} frames/s", f"{length_s:.1f} s",
        "with sound" if info.audio else "no sound",
    ]
    if people >= 0:
        chips.append({0: "no face found", 1: "1 face"}.get(people, f"{people} faces"))
        chips += [f"no face in {lost} frames: they stay as they are"] if lost and people else []
        chips += [f"{cuts} cut{'s' * (cuts > 1)}"] if cuts else []
    notes = "".join(f"<small>{html.escape(note)}</small>" for note in info.notes)
    return "<div class='facts'>" + "".join(f"<span>{html.escape(chip)}</span>" for chip in chips) + f"</div>{notes}"


def price(estimate: Estimate, prepared: bool, frames: int) -> str:
    """What a render will cost, before anything runs."""
    if prepared:
        return (
            f"<p class='price'>About <b>{spoken(estimate.edit_s)}</b> on this device. "
            "This face is learned already, so only the edit itself is left.</p>"
        )
    return (
        f"<p class='price'>About <b>{spoken(estimate.total_s)}</b> on this device for {frames} frames, "
        "<span title='One step of each kind was measured here, times how many there will be'>measured</span>; "
        f"another look afterwards {spoken(estimate.edit_s)}.</p>"
    )


def card(one: Card, in_use: str) -> str:
    """A family of weights, before anything of it is fetched.

    Args:
        one: the family.
        in_use: name of the family that edits now.
    """
    size = f"{size_text(one.to_fetch)} of {size_text(one.size)} to fetch" if one.to_fetch else size_text(one.size)
    rows = [
        ("Makes", f"{one.edits} sliders" + (" and free text" if one.texts else "; free text is not available")),
        ("Size", size + ("" if one.to_fetch else ", all here")),
        ("Licence", "; ".join(one.licences)),
    ]
    told = "".join(f"<dt>{name}</dt><dd>{html.escape(said)}</dd>" for name, said in rows)
    notes = ["It wants a GPU; on this machine's processor a clip would take hours."] if one.needs_gpu else []
    if one.name != in_use and one.to_fetch:
        notes.append(f"Until it is here, the {in_use} family goes on serving.")
    small_print = "".join(f"<small>{html.escape(note)}</small>" for note in notes)
    badge = "<em>in use</em>" if one.name == in_use else ""
    return f"<div class='family'><b>{html.escape(one.title)}</b>{badge}<dl>{told}</dl>{small_print}</div>"


def fetching(job: Job, to_fetch: int, size: int) -> str:
    """A family on its way here.

    Args:
        job: that fetches it.
        to_fetch: bytes still missing.
        size: bytes of all its files.
    """
    if job.state == "waiting":
        return _bar("Waiting to fetch", "another family is being fetched", 0.0)
    if job.unit != "byte" or not job.total:
        return _bar("Opening the networks" if job.stage == "load" else "Getting ready", "", 1.0)
    doing = "Checking" if job.stage.startswith("check ") else "Fetching"
    parts = [f"{size_text(max(0, size - to_fetch))} of {size_text(size)}"]
    if job.rate and doing == "Fetching":
        parts += [f"{size_text(round(job.rate))}/s", f"about {spoken(to_fetch / job.rate)} left"]
    title = f"{doing} {job.stage.removeprefix('check ')}"
    said = "You may go on with the family in use, or close this page: what has arrived is kept."
    return _bar(title, " · ".join(parts), 1 - to_fetch / size, " ".join([said, *job.notes[1:][-1:]]))


def ready(text: str = "Ready when you are.") -> str:
    """Nothing runs."""
    return f"<div class='status' role='status'><div class='line'><b>{html.escape(text)}</b></div></div>"


def note(text: str) -> str:
    """A remark."""
    return f"<p class='hint' role='status'>{html.escape(text)}</p>"


def problem(text: str) -> str:
    """What went wrong, in words."""
    said = text[:1].upper() + text[1:]
    return (
        f"<div class='status problem' role='alert'><div class='line'><b>That did not work</b></div>"
        f"<small>{html.escape(said)}</small></div>"
    )


def looking(job: Job, place: int) -> str:
    """A first look at a clip, while it happens."""
    if job.state == "waiting":
        return _bar("Waiting for the machine", f"{place} before you", 0.0)
    return _bar("Looking for faces", _count(job), _share(job))


def measuring(job: Job) -> str:
    """The price, while it is found out."""
    return _bar("Measuring how long a render takes here", _count(job) if job.state == "working" else "", _share(job))


def rendering(job: Job, place: int, total: int) -> str:
    """A render: its stages, where it is, the frames that are finished."""
    if job.state == "waiting":
        ahead = f"{place} job{'s' * (place != 1)} before yours, {total} in all"
        return _bar("In the queue", ahead, 0.0, "You may close this page: the work goes on and waits for you here.")
    names = list(STAGES)
    at = names.index(job.stage) if job.stage in names else 0
    steps = "".join(
        f"<li class='{'past' if number < at else 'now' if number == at else ''}'>{STAGES[name]}</li>"
        for number, name in enumerate(names)
    )
    left = job.left_s()
    parts = [_count(job)]
    parts += [f"{job.rate:.1f} {job.unit}s/s"] if job.rate else []
    parts += [f"about {spoken(left)} left"] if left is not None else []
    note = "".join(f"<small>{html.escape(note)}</small>" for note in job.notes)
    pictures = "".join(
        f"<figure><img alt='frame {index}' src='{_picture(image)}'><figcaption>frame {index}</figcaption></figure>"
        for index, image in list(job.pictures)[-4:]
    )
    title = "Stopping after this step" if job.stopping.is_set() else STAGES.get(job.stage, "Starting")
    body = _bar(title, " · ".join(part for part in parts if part), _share(job))
    heading = f"Newest frames, {DRAWN[job.drawn_by]}" if job.drawn_by in DRAWN else "Newest frames"
    strip = f"<p class='hint'>{heading}:</p><div class='strip'>{pictures}</div>" if pictures else ""
    return f"<ol class='stages'>{steps}</ol>{body}{strip}<div class='notes'>{note}</div>"


def stopped() -> str:
    """A render that was stopped."""
    return (
        "<div class='status' role='status'><div class='line'><b>Stopped</b></div>"
        "<small>What is finished is kept. Press Resume to go on from here.</small></div>"
    )


def finished(record: dict[str, Any]) -> str:
    """A result: what was done, and how well, each figure with its meaning."""
    measures = record["measures"]
    rows = []
    if "psnr_tuned_db" in measures:
        rows.append((f"{measures['psnr_tuned_db']:.1f} dB", "likeness", "How exactly the learned face redraws yours, "
                     "before any edit. Above 30 is hard to tell apart."))
    if "boundary_ratio" in measures:
        rows.append((f"{measures['boundary_ratio']:.0%}", "of the seam left", "The difference around the face after "
                     "stitching, compared with simply pasting it."))
    if "tl_id" in measures:
        rows.append((f"{measures['tl_id']:.3f}", "steadiness", "TL-ID: does the face stay the same person from frame "
                     "to frame? The source scores 1."))
    tiles = "".join(
        f"<div title='{html.escape(hint, quote=True)}'><b>{value}</b><span>{name}</span></div>"
        for value, name, hint in rows
    )
    notes = "".join(f"<small>{html.escape(note)}</small>" for note in record["notes"])
    count = f"{record['edited_frames']} of {record['frames']} frames, {spoken(record['took_s'])}"
    return (
        f"<div class='status' role='status'><div class='line'><b>Done: {html.escape(record['told'])}</b>"
        f"<span>{count}</span></div><div class='figures'>{tiles}</div>{notes}</div>"
    )


def summary(told: str) -> str:
    """The edits that are set."""
    return f"<p class='summary'>{html.escape(told) or 'Nothing is changed yet.'}</p>"


def _bar(title: str, said: str, share: float, note: str = "") -> str:
    small_print = f"<small>{html.escape(note)}</small>" if note else ""
    return (
        f"<div class='status' role='status'><div class='line'><b>{html.escape(title)}</b><span>{html.escape(said)}"
        f"</span></div><div class='bar'><i style='width:{100 * share:.1f}%'></i></div>{small_print}</div>"
    )


def _count(job: Job) -> str:
    return f"{job.done} of {job.total} {job.unit}s" if job.total else ""


def _share(job: Job) -> float:
    return job.done / job.total if job.total else 0.0


def _picture(image: np.ndarray) -> str:
    """A picture inside the text: no file of it is ever written."""
    shown = Image.fromarray(small(image, _PICTURE_PX))
    buffer = io.BytesIO()
    shown.save(buffer, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def label(title: str, told: Sequence[str], state: str, made: str) -> str:
    """A run in one line."""
    return " · ".join([title, *told, state, made])
