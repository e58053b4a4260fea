"""The card of the render: how good, how long, and how far it is."""

from typing import Any, get_args

import gradio as gr

from stitch.core.errors import RunError, VideoError
from stitch.core.images import jpeg_address
from stitch.core.settings import Preset
from stitch.core.words import spoken
from stitch.page import tasks
from stitch.page.clip import trimmed
from stitch.page.edits import EditsCard
from stitch.page.parts import part
from stitch.page.sessions import Entry
from stitch.page.shared import Shared, Updates, plainly, problem
from stitch.runtime import runs, slices
from stitch.runtime.jobs import Job
from stitch.video.files import probe

QUALITIES = {"Draft: quickest": "draft", "Good": "fast", "Best: as in the paper": "paper"}
STAGES = {
    "track": "Follow the face", "align": "Cut it out", "invert": "Find its likeness", "tune": "Learn this face",
    "stitching": "Edit and stitch", "merge": "Put it back",
}
DRAWN = {
    "track": "faces found", "align": "cut out", "tune": "original and as the network draws it by now",
    "stitching": "edited and stitched", "merge": "finished",
}


class RenderCard:
    """Renders go on when the page is closed, and are found again."""

    def __init__(self, shared: Shared, edits: EditsCard) -> None:
        self.shared, self.edits = shared, edits
        with gr.Column(elem_classes="card", elem_id="step-render"):
            gr.HTML("<h2 class='step'><i>3</i>Render</h2>")
            self.quality = gr.Radio(list(QUALITIES.items()), value="fast", label="Quality", elem_id="quality")
            self.badge = gr.Checkbox(False, label="Write “edited” in a corner of the picture", container=False)
            self.price = part("status", None, elem_id="price")
            with gr.Row():
                self.start = gr.Button("Render the clip", variant="primary", scale=4, elem_id="render", min_width=160)
                self.stop = gr.Button("Stop", scale=1, min_width=90, elem_id="stop", interactive=False)
            self.status = part("status", _READY, elem_id="status")

    @property
    def widgets(self) -> list[Any]:
        """Those that ever change."""
        return [self.quality, self.price, self.start, self.stop, self.status]

    def wire(self, trim: Any, runs_card: Any) -> None:
        """Hear what is touched, once all cards are placed."""
        shared = self.shared
        shared.on([self.quality.input, trim.release], self.priced, [trim, self.quality], self.price,
                  trigger_mode="always_last")
        shared.on(self.start.click, lambda *given: self.begin(*given) | runs_card.listed(*given[:2]),
                  [trim, self.quality, self.badge, *self.edits.values], self.status)
        shared.on(self.stop.click, self.halt, [], self.status, queue=False)

    def priced(self, secret: str, name: str, trim: Any, quality: str) -> Updates:
        """The part or the quality has changed."""
        if not name:
            return {}
        entry = self.shared.entry(secret, name)
        entry.change(**trimmed(probe(entry.clip), trim), quality=_known(quality))
        return {self.price: self._price(entry)}

    def begin(self, secret: str, name: str, trim: Any, quality: str, badge: bool, *values: Any) -> Updates:
        """The clip is to be rendered, or a stopped render goes on."""
        shared, entry = self.shared, self.shared.entry(secret, name)
        info, look = probe(entry.clip), self.edits.look(values)
        entry.change(**trimmed(info, trim), quality=_known(quality), look=look.plain())
        choice = shared.choice(entry, badge=bool(badge))
        choice.edits()
        length_s, most_s = (choice.end_s or info.end_s) - choice.begin_s, shared.store.limits.longest_s
        if length_s > most_s + 0.05:
            raise VideoError(f"{length_s:.0f} s are chosen and this page renders {most_s:.0f} s at a time; choose a "
                             "shorter part in step 1")
        stages, begun = self._stages(entry), choice.work.exists()
        slice_s = min(slices.LONGEST_S, 1.3 * (sum(stages.values()) or slices.LONGEST_S) + 15)
        before = entry.about.state
        entry.change(state="stopped")  # what is true should this process end now
        shared.worker.stop(shared.jobs(entry).get("measure"))  # it keeps nobody from what they want to do next
        job = Job(entry.browser, entry.name, "render", tasks.Render(choice, slice_s, fresh=not begun), stages)
        try:
            shared.worker.submit(job)
        except RunError:
            entry.change(state=before)
            raise
        started = {self.status: {"title": "Starting"}, shared.timer: gr.Timer(active=True)}
        return started | self._buttons(job, "stopped")

    def halt(self, secret: str, name: str) -> Updates:
        """Stop was pressed."""
        job = self.shared.jobs(self.shared.entry(secret, name)).get("render")
        if job is None or not job.active:
            return {self.status: {"title": "Nothing runs."}}
        self.shared.worker.stop(job)
        return {self.status: self._rendering(job) if job.active else _STOPPED}

    def opened(self, entry: Entry) -> Updates:
        """A run, as it is now."""
        about, job = entry.about, self.shared.jobs(entry).get("render")
        failed = problem(job.error) if job is not None and job.error else _STOPPED
        status = {"stopped": _STOPPED, "failed": failed, "done": _done(entry)}.get(about.state, _READY)
        return {
            self.quality: about.quality, self.price: self._price(entry), **self._buttons(job, about.state),
            self.status: self._rendering(job) if job is not None and job.active else status,
        }

    def closed(self) -> Updates:
        """No run is open."""
        return {self.status: _READY, self.price: None, **self._buttons(None, "new")}

    def underway(self, entry: Entry, job: Job) -> Updates:
        """How far a render is, or the measuring of its price."""
        if job.kind == "measure":
            said = f"{job.done} of {job.total}" if job.total else ""
            return {self.price: {"title": "Measuring how long a render takes here", "said": said, "share": _share(job)}}
        return {self.status: self._rendering(job), **self._buttons(job, "stopped")}

    def ended(self, entry: Entry, job: Job) -> Updates:
        """A render has ended, or its price is known."""
        if job.kind == "measure":
            return {self.price: self._price(entry)}
        told = {"done": _done(entry), "stopped": _STOPPED}.get(job.state, problem(job.error))
        return {self.price: self._price(entry), self.status: told, **self._buttons(job, entry.about.state)}

    def _stages(self, entry: Entry) -> dict[str, float]:
        """Seconds that each stage will take; those that are done already are left out."""
        about, info = entry.about, probe(entry.clip)
        frames = max(1, round(((about.end_s or info.end_s) - about.begin_s) * float(info.rate)))
        stages = self.shared.prices.stages(about.family, info, about.quality, frames)
        done = runs.is_prepared(self.shared.choice(entry).work)
        return {stage: cost for stage, cost in stages.items() if not done or stage in ("stitching", "merge")}

    def _price(self, entry: Entry) -> dict[str, Any] | None:
        about, info, stages = entry.about, probe(entry.clip), self._stages(entry)
        if not stages:
            self.shared.measure(entry)
            return None
        total = spoken(sum(stages.values()))
        if "tune" not in stages:
            return {"text": f"About {total} on this device: this face is learned already, so only the edit is left."}
        frames = max(1, round(((about.end_s or info.end_s) - about.begin_s) * float(info.rate)))
        return {"text": f"About {total} on this device for {frames} frames; another look afterwards "
                        f"{spoken(stages['stitching'] + stages['merge'])}."}

    def _buttons(self, job: Job | None, state: str) -> Updates:
        active = job is not None and job.active
        title = "Rendering" if active else "Resume" if state in ("stopped", "failed") else "Render the clip"
        return {self.start: gr.update(value=title, interactive=not active), self.stop: gr.update(interactive=active)}

    def _rendering(self, job: Job) -> dict[str, Any]:
        """A render: its stages, where it is, the frames that are finished."""
        place, total = self.shared.worker.place(job)
        if job.state == "waiting":
            return {"title": "In the queue", "said": f"{place} before yours, {total} in all", "share": 0.0,
                    "notes": ["You may close this page: the work goes on and waits for you here."]}
        at, left = list(STAGES).index(job.stage) if job.stage in STAGES else 0, job.left_s()
        parts = [f"{job.done} of {job.total} {job.unit}s" if job.total else "",
                 f"about {spoken(left)} left" if left is not None else ""]
        return {
            "title": "Stopping after this step" if job.stopping.is_set() else STAGES.get(job.stage, "Starting"),
            "said": " · ".join(one for one in parts if one), "share": _share(job),
            "stages": [(title, "past" if number < at else "now" if number == at else "")
                       for number, title in enumerate(STAGES.values())],
            "notes": [plainly(note) for note in job.notes],
            "heading": f"Newest frames, {DRAWN.get(job.drawn_by, '')}:",
            "pictures": [{"picture": jpeg_address(image, 340), "label": f"frame {index}"}
                         for index, image in list(job.pictures)[-4:]],
        }


_READY = {"title": "Ready when you are."}
_STOPPED = {"title": "Stopped", "notes": ["What is finished is kept. Press Resume to go on from here."]}


def _done(entry: Entry) -> dict[str, Any]:
    """What was made last."""
    made = entry.versions().get(entry.about.result)
    if made is None:
        return _READY
    took = f", {spoken(made['took_s'])}" if made["took_s"] else ""
    said = f"{made['edited_frames']} of {made['frames']} frames{took}"
    return {"title": f"Done: {made['told']}", "said": said, "notes": [plainly(note) for note in made["notes"]]}


def _known(quality: str) -> str:
    if quality not in get_args(Preset):
        raise RunError("choose one of the qualities")
    return quality


def _share(job: Job) -> float:
    return job.done / job.total if job.total else 0.0
