"""The card of the clip: one is taken in, its face is chosen, its part is trimmed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr

from stitch.core.errors import VideoError
from stitch.core.records import ClipInfo
from stitch.page.parts import choices, clip_input, part, playable, progress
from stitch.page.shared import Card, Shared, Updates, Visit
from stitch.page.wording import problem
from stitch.runtime.jobs import Job
from stitch.service import tasks
from stitch.service.sessions import Entry
from stitch.video.files import probe
from stitch.video.timeline import spoken

# Faces of more pixels than the networks draw gain nothing and would be turned away by a page with limits.
CAMERA = {"video": {"width": {"ideal": 1280}, "height": {"ideal": 720}, "frameRate": {"ideal": 25}}}
CONSENT = {"notes": [
    "Use faces whose owners agreed. Clips stay in a private folder of this machine that only your browser can open, "
    "and are deleted when you delete the run or it expires. Every result is signed and marked as edited with AI."
]}


class ClipCard(Card):
    """Clips, and what is known of them.

    Args:
        shared: what all cards share.
        chosen: updates of others when another face was chosen.
    """

    def __init__(self, shared: Shared, chosen: Callable[[Entry], Updates]) -> None:
        self.shared, self.chosen = shared, chosen
        with gr.Column(elem_classes="card", elem_id="step-clip"):
            gr.HTML("<h2 class='step'><i>1</i>Clip<span>a few seconds with one face</span></h2>")
            self.clip = clip_input(
                label="Clip", show_label=False, sources=["upload", "webcam"], elem_id="clip",
                webcam_options=gr.WebcamOptions(mirror=False, constraints=CAMERA), buttons=[],
            )
            self.position = part("position", 0.0, elem_id="position")
            self.example = gr.Button(
                "Try it with the example clip", size="sm", visible=shared.example is not None, elem_id="example"
            )
            self.facts = part("status", CONSENT, elem_id="facts")
            self.faces = part("choices", None, elem_id="faces")
            self.trim = part("trim", None, elem_id="trim")
        shared.on(self.faces.select, self.choose_face, self.facts)

    def add(self, visit: Visit, upload: str | None, family: str, title: str | None = None) -> Entry:
        """Take a clip in.

        Raises:
            StitchError: it cannot be taken.
        """
        if not upload:
            raise VideoError("choose a clip first")
        entry = self.shared.desk.take(visit.session, Path(upload), family, title)
        playable(entry.clip)
        if upload == str(self.shared.example):
            entry.change(nobody=True)
        return entry

    def choose_face(self, visit: Visit, chosen: gr.EventData) -> Updates:
        """A face was chosen."""
        entry = visit.entry
        if not str(chosen.id).isdigit() or not 1 <= int(chosen.id) <= entry.about.people:
            raise VideoError("choose one of the faces")
        entry.change(face=int(chosen.id))
        return {self.faces: self._people(entry), **self.chosen(entry), **self.shared.again()}

    def opened(self, entry: Entry) -> Updates:
        """A run, as it is now."""
        about, end_s = entry.about, round(probe(entry.clip).end_s, 2)
        part_now = {"begin": about.begin_s, "end": round(about.end_s or end_s, 2), "length": end_s, "step": 0.01}
        job, refused = self.shared.desk.jobs(entry).get("survey"), self.shared.desk.find_faces(entry)
        failed = job.error if job is not None and job.state == "failed" else refused
        return {
            self.clip: str(entry.player), self.position: 0.0, self.example: gr.update(visible=False),
            self.trim: part_now, self.faces: self._people(entry), self.facts: self._facts(entry, failed),
        }

    def closed(self) -> Updates:
        """No run is open."""
        return {
            self.clip: None, self.position: 0.0, self.facts: CONSENT, self.faces: None, self.trim: None,
            self.example: gr.update(visible=self.shared.example is not None),
        }

    def follow(self, visit: Visit, job: Job) -> Updates:
        """How far the search for faces is, and what it found."""
        if job.kind != "survey":
            return {}
        entry = visit.entry
        if not job.active:
            return {self.facts: self._facts(entry, job.error), self.faces: self._people(entry), **self.shared.again()}
        if job.state == "waiting":
            now = progress(job, "Waiting for the machine", f"{self.shared.desk.worker.place(job)[0]} before you")
        else:
            now = progress(job, "Looking for faces", f"{job.done} of {job.total} frames" if job.total else "")
        return {self.facts: self._facts(entry) | now}

    def _facts(self, entry: Entry, failed: str = "") -> dict[str, Any]:
        about, info, limits = entry.about, probe(entry.clip), self.shared.store.limits
        length_s = info.frames / float(info.rate)
        chips = [f"{info.width} × {info.height}", f"{spoken(info.rate)} frames/s", f"{length_s:.1f} s",
                 "with sound" if info.audio else "no sound"]
        if about.people >= 0:
            chips.append({0: "no face found", 1: "1 face"}.get(about.people, f"{about.people} faces"))
            chips += [f"no face in {about.lost} frames: they stay as they are"] if about.lost and about.people else []
            chips += [f"{about.cuts} cut{'s' * (about.cuts > 1)}"] if about.cuts else []
        if about.people == 0:
            failed = "No face was found in this clip: use one that shows a face from the front."
        most = f"{limits.longest_s:.0f} s are edited at a time here: choose which with the bar below."
        notes = [*info.notes, *[most] * limits.too_long(info.end_s)]
        return {"chips": chips} | (problem(failed) if failed else {"notes": notes})

    def _people(self, entry: Entry) -> dict[str, Any] | None:
        about = entry.about
        items = [{"id": number, "label": f"Face {number}", "picture": one, "pressed": number == about.face}
                 for number, one in enumerate(tasks.people(entry, about.family), 1)]
        title = "Whose face? The pressed one is edited."
        return choices(items, "Whose face is edited?", title) if len(items) > 1 else None


def trimmed(info: ClipInfo, trim: Any) -> dict[str, Any]:
    """The part of a clip between two handles, as `About` keeps it.

    Raises:
        VideoError: it is empty.
    """
    step_s = 1 / float(info.rate)
    trim = trim if isinstance(trim, dict) else {}
    begin_s, end_s = float(trim.get("begin") or 0.0), float(trim.get("end") or info.end_s)
    if not 0 <= begin_s < end_s - step_s / 2:
        raise VideoError(f"the part from {begin_s:g} s to {end_s:g} s is empty; move the end behind the beginning")
    return {"begin_s": begin_s, "end_s": None if end_s >= info.end_s - step_s / 2 else end_s}
