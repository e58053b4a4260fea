"""The card of the render: how good, how long, and how far it is."""

import time
from collections.abc import Callable
from typing import Any, get_args

import gradio as gr

from stitch.core.errors import RunError
from stitch.core.images import jpeg_address
from stitch.core.settings import Corner, Preset
from stitch.core.words import spoken
from stitch.page.clip import ClipCard, trimmed
from stitch.page.edits import EditsCard
from stitch.page.parts import part, progress
from stitch.page.shared import Card, Shared, Updates, Visit
from stitch.page.wording import plainly, problem, told
from stitch.runtime.jobs import Job
from stitch.service.sessions import Entry
from stitch.video.files import probe
from stitch.video.trust import disclosure

QUALITIES = {"Draft: quickest": "draft", "Good": "fast", "Best: as in the paper": "paper"}
STAGES = {
    "track": "Follow the face", "align": "Cut it out", "invert": "Find its likeness", "tune": "Learn this face",
    "stitching": "Edit and stitch", "merge": "Put it back",
}
DRAWN = {
    "track": "faces found", "align": "cut out", "tune": "original and as the network draws it by now",
    "stitching": "the edited face", "merge": "finished",
}
_PLACES = {"Lower right": "bottom-right", "Lower left": "bottom-left", "Upper right": "top-right",
           "Upper left": "top-left"}
_AGREED = "The person whose face is edited agreed to it"
_READY = {"title": "Ready when you are."}
_STOPPED = {"title": "Stopped", "notes": ["What is finished is kept. Press Resume to go on from here."]}


class RenderCard(Card):
    """Renders go on when the page is closed, and are found again.

    Args:
        shared: what all cards share.
        clip, edits: the cards that say what is rendered.
        started: updates of others when a render was asked for.
    """

    def __init__(
        self, shared: Shared, clip: ClipCard, edits: EditsCard, started: Callable[[Visit], Updates]
    ) -> None:
        self.shared, self.clip, self.edits, self.started = shared, clip, edits, started
        with gr.Column(elem_classes="card", elem_id="step-render"):
            gr.HTML("<h2 class='step'><i>3</i>Render</h2>")
            self.quality = gr.Radio(list(QUALITIES.items()), value="fast", label="Quality", elem_id="quality")
            with gr.Accordion("Say that it was edited", open=False, elem_classes="group"):
                self.badge = gr.Checkbox(False, label="Write it in a corner of the picture", container=False)
                with gr.Row():
                    self.place = gr.Dropdown(list(_PLACES.items()), value="bottom-right", label="Corner", min_width=120)
                    self.language = gr.Dropdown([(disclosure.badge(one), one) for one in disclosure.LANGUAGES],
                                                value=disclosure.LANGUAGES[0], label="Words", min_width=120)
            self.consent = gr.Checkbox(False, label=_AGREED, container=False, elem_id="consent")
            self.price = part("status", None, elem_id="price")
            with gr.Row():
                self.start = gr.Button("Render the clip", variant="primary", scale=4, elem_id="render", min_width=160)
                self.stop = gr.Button("Stop", scale=1, min_width=90, elem_id="stop", interactive=False)
            self.status = part("status", _READY, elem_id="status")
        asked = [clip.trim, self.quality, self.badge, self.place, self.language]
        shared.on([self.quality.input, clip.trim.release], self.priced, self.price, *asked, trigger_mode="always_last")
        shared.on(self.start.click, self.begin, self.status, *asked, *edits.values)
        shared.on(self.consent.input, self.agree, self.status, self.consent, queue=False)
        shared.on(self.stop.click, self.halt, self.status, queue=False)

    def priced(self, visit: Visit) -> Updates:
        """The part or the quality has changed."""
        if not visit.name:
            return {}
        return {self.price: self._price(self._kept_in(visit)), **self.shared.again()}

    def agree(self, visit: Visit) -> Updates:
        """The tick that says that the person agreed was set or taken away."""
        entry = visit.entry
        others = {face: when for face, when in entry.about.consent.items() if face != str(entry.about.face)}
        entry.change(consent=others | ({str(entry.about.face): time.time()} if visit[self.consent] else {}))
        return self.consented(entry)

    def begin(self, visit: Visit) -> Updates:
        """The clip is to be rendered, or a stopped render goes on."""
        if not visit.entry.about.agreed:
            raise RunError("tick first that the person whose face is edited agreed to it; where several are edited, "
                           "each is asked")
        self.edits.kept_in(visit)
        job = self.shared.desk.render(self._kept_in(visit))
        starting = {self.status: {"title": "Starting"}, self.shared.timer: gr.Timer(active=True)}
        return starting | self._buttons(job, "stopped") | self.started(visit)

    def halt(self, visit: Visit) -> Updates:
        """Stop was pressed."""
        job = self.shared.desk.jobs(visit.entry).get("render")
        if job is None or not job.active:
            return {self.status: {"title": "Nothing runs."}}
        self.shared.desk.worker.stop(job)
        return {self.status: self._rendering(job) if job.active else _STOPPED}

    def opened(self, entry: Entry) -> Updates:
        """A run, as it is now."""
        about, job = entry.about, self.shared.desk.jobs(entry).get("render")
        return {self.quality: about.quality, self.badge: about.badge, self.place: about.badge_place,
                self.language: about.language, **self.consented(entry), self.price: self._price(entry),
                **self._now(entry, job)}

    def closed(self) -> Updates:
        """No run is open."""
        agreed = gr.update(value=False, label=_AGREED, visible=True)
        return {self.status: _READY, self.price: None, self.consent: agreed, **self._buttons(None, "new")}

    def follow(self, visit: Visit, job: Job) -> Updates:
        """How far a render is, or the measuring of its price, and what came of it."""
        if job.kind not in ("survey", "render", "measure"):
            return {}
        entry = visit.entry
        if job.kind == "survey":  # each of several has to be asked, which is known at its end
            return {} if job.active or entry.about.people < 2 else self.consented(entry)
        if job.kind == "measure" and job.active:
            said = f"{job.done} of {job.total}" if job.total else ""
            return {self.price: progress(job, "Measuring how long a render takes here", said)}
        price = {} if job.active else {self.price: self._price(entry)}
        return price if job.kind == "measure" else price | self._now(entry, job)

    def _kept_in(self, visit: Visit) -> Entry:
        """The open run, set to the part and the quality that the page shows."""
        entry, quality = visit.entry, visit[self.quality]
        if quality not in get_args(Preset):
            raise RunError("choose one of the qualities")
        place, language = visit[self.place], visit[self.language]
        if place not in get_args(Corner) or language not in disclosure.LANGUAGES:
            raise RunError("choose one of the corners and one of the languages")
        part_now = trimmed(probe(entry.clip), visit[self.clip.trim])
        entry.change(**part_now, quality=quality, badge=bool(visit[self.badge]), badge_place=place,
                     language=language)
        return entry

    def consented(self, entry: Entry) -> Updates:
        """The tick for the face that is edited now; nobody is asked about somebody who does not exist."""
        about = entry.about
        label = f"Face {about.face}: this person agreed to be edited" if about.people > 1 else _AGREED
        if when := about.consent.get(str(about.face)):
            label += f" (noted {time.strftime('%d %b %H:%M', time.localtime(when))})"
        return {self.consent: gr.update(value=about.agreed, label=label, visible=not about.nobody)}

    def _now(self, entry: Entry, job: Job | None) -> Updates:
        """How far the newest render is, or what came of it."""
        if job is not None and job.active:
            return {self.status: self._rendering(job), **self._buttons(job, "stopped")}
        state, status = entry.about.state, dict[str, Any](_READY)
        if job is not None and job.state == "failed":
            status = problem(job.error)
        elif state in ("stopped", "failed"):
            status = _STOPPED
        elif state == "done" and (made := entry.versions().get(entry.about.result)):
            took = f", {spoken(made['took_s'])}" if made["took_s"] else ""
            said = f"{made['edited_frames']} of {made['frames']} frames{took}"
            status = {"title": f"Done: {told(made['look'])}", "said": said, "notes": [*map(plainly, made["notes"])]}
        return {self.status: status, **self._buttons(job, state)}

    def _price(self, entry: Entry) -> dict[str, Any] | None:
        stages, info = self.shared.desk.costs(entry), probe(entry.clip)
        if not stages:
            self.shared.desk.measure(entry)
            return None
        total = spoken(sum(stages.values()))
        if "tune" not in stages:
            return {"text": f"About {total} on this device: this face is learned already, so only the edit is left."}
        return {"text": f"About {total} on this device for {entry.about.frames(info)} frames; another look afterwards "
                        f"{spoken(stages['stitching'] + stages['merge'])}."}

    def _buttons(self, job: Job | None, state: str) -> Updates:
        active = job is not None and job.active
        title = "Rendering" if active else "Resume" if state in ("stopped", "failed") else "Render the clip"
        return {self.start: gr.update(value=title, interactive=not active), self.stop: gr.update(interactive=active)}

    def _rendering(self, job: Job) -> dict[str, Any]:
        """A render: its stages, where it is, the frames that are finished."""
        place, total = self.shared.desk.worker.place(job)
        if job.state == "waiting":
            notes = ["You may close this page: the work goes on and waits for you here."]
            return progress(job, "In the queue", f"{place} before yours, {total} in all") | {"notes": notes}
        at, left = list(STAGES).index(job.stage) if job.stage in STAGES else 0, job.left_s()
        said = [f"{job.done} of {job.total} {job.unit}s" if job.total else "",
                f"about {spoken(left)} left" if left is not None else ""]
        title = "Stopping after this step" if job.stopping.is_set() else STAGES.get(job.stage, "Starting")
        return progress(job, title, *said) | {
            "stages": [(name, "past" if number < at else "now" if number == at else "")
                       for number, name in enumerate(STAGES.values())],
            "notes": [*map(plainly, job.notes)],
            "heading": f"Newest frames, {DRAWN.get(job.drawn_by, '')}:",
            "pictures": [{"picture": jpeg_address(image, 340), "label": f"frame {index}"}
                         for index, image in list(job.pictures)[-4:]],
        }
