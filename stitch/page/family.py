"""The card of the family: whose faces can be drawn is said first, then it is fetched if asked, then it edits."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import gradio as gr

from stitch.core.errors import RunError, StitchError
from stitch.core.words import size_text, spoken
from stitch.families.load import about
from stitch.page.parts import part, progress
from stitch.page.shared import Card, Shared, Updates, Visit
from stitch.page.wording import plainly, problem
from stitch.runtime.jobs import Job, Worker
from stitch.runtime.slices import Task
from stitch.service import tasks
from stitch.service.sessions import Entry


class FamilyCard(Card):
    """Families of weights. Fetching one has a queue of its own and keeps nobody from rendering.

    Args:
        shared: what all cards share.
        used: the page's updates for a visit when another family edits.
        values: widgets that `used` asks for.
    """

    def __init__(self, shared: Shared, used: Callable[[Visit, str], Updates], values: list[Any]) -> None:
        self.shared, self.used = shared, used
        self.fetcher = Worker(shared.families.fetched, lambda job, state: None)
        self.arrived = gr.State(0.0)
        names = [shared.first, *(name for name in shared.families.names if name != shared.first)]
        with gr.Column(elem_classes="card", elem_id="networks"):
            gr.HTML("<h2 class='step'>Which faces<span>what the networks know</span></h2>")
            self.choice = gr.Radio([(shared.families.label(name), name) for name in names], value=shared.first,
                                   label="Which faces", show_label=False, container=False, elem_id="family")
            self.card = part("status", self._card(shared.first, shared.first), elem_id="family-card")
            with gr.Row():
                self.fetch = gr.Button("Fetch", size="sm", visible=False, elem_id="fetch", min_width=120)
                self.halt = gr.Button("Stop fetching", size="sm", visible=False, elem_id="fetch-stop", min_width=120)
        shared.on([self.choice.input, self.arrived.change], self.choose, self.card, self.choice, *values)
        shared.on(self.fetch.click, self.begin, self.card, self.choice)
        shared.on(self.halt.click, self.end, self.card, self.choice, queue=False)

    def choose(self, visit: Visit) -> Updates:
        """A family was pointed at: say what it is; if it is here and whole, it edits from now on."""
        chosen = visit[self.choice]
        if self.shared.families.to_fetch(chosen):
            return self._shown(visit)
        try:
            self.shared.desk.at_once(Task(chosen, tasks.load))
        except StitchError as error:
            said = problem(f"{error}. {self._meanwhile(visit)}")
            return {self.choice: visit.family, **self._buttons(0, False),
                    self.card: self._card(visit.family, visit.family) | said}
        return {**self.used(visit, chosen), **self._in_use(chosen)}

    def begin(self, visit: Visit) -> Updates:
        """What is missing of a family is to be fetched."""
        chosen = visit[self.choice]
        if chosen not in self.shared.families.names:
            raise RunError("choose one of the families")
        with suppress(RunError):  # pressed twice
            self.fetcher.submit(Job(visit.session.browser, chosen, "fetch", chosen))
        return {self.shared.secret: visit.secret, self.shared.timer: gr.Timer(active=True), **self._shown(visit)}

    def end(self, visit: Visit) -> Updates:
        """Stop fetching; what has arrived is kept."""
        self.fetcher.stop(self.fetching(visit))
        return {}

    def fetching(self, visit: Visit) -> Job | None:
        """This browser's newest fetch of the family that is pointed at, if there is one."""
        return self.fetcher.of(visit.session.browser, visit[self.choice], "fetch")

    def opened(self, entry: Entry) -> Updates:
        """A run, with the family that it is set to."""
        return self._in_use(entry.about.family)

    def follow(self, visit: Visit, job: Job) -> Updates:
        """How far a fetch is; what arrived whole is used."""
        if job.kind != "fetch":
            return {}
        return self._shown(visit) | ({self.arrived: float(job.number)} if job.state == "done" else {})

    def _in_use(self, family: str) -> Updates:
        return {self.shared.family: family, self.choice: family, self.card: self._card(family, family),
                **self._buttons(0, False)}

    def _shown(self, visit: Visit) -> Updates:
        """The family that is pointed at: what can be done about it, and what came of it."""
        chosen, job = visit[self.choice], self.fetching(visit)
        missing, card = self.shared.families.to_fetch(chosen), self._card(chosen, visit.family)
        if job is not None and job.active:
            card |= self._progress(job, missing)
        elif job is not None and job.state == "failed":
            card |= problem(f"{job.error}. {self._meanwhile(visit)}")
        elif job is not None and job.state == "stopped":
            card["notes"] = ["Stopped. What has arrived is kept; fetching goes on from there."]
        return {self.choice: chosen, self.card: card, **self._buttons(missing, job is not None and job.active)}

    def _buttons(self, missing: int, active: bool) -> Updates:
        fetch = gr.update(visible=bool(missing) and not active, value=f"Fetch {size_text(missing)} now")
        return {self.fetch: fetch, self.halt: gr.update(visible=active)}

    def _meanwhile(self, visit: Visit) -> str:
        return f"“{self.shared.families.label(visit.family)}” goes on serving"

    def _card(self, chosen: str, in_use: str) -> dict[str, Any]:
        families = self.shared.families
        notes = [f"Until it is here, “{families.label(in_use)}” goes on serving."]
        return {
            "text": about(chosen).title + ": in use" * (chosen == in_use), "rows": families.told(chosen),
            "notes": notes if chosen != in_use and families.to_fetch(chosen) else [],
        }

    def _progress(self, job: Job, missing: int) -> dict[str, Any]:
        """A family on its way here."""
        if job.state == "waiting" or job.unit != "byte" or not job.total:
            return {"title": "Getting ready", "share": 0.0}
        doing = "Checking" if job.stage.startswith("check ") else "Fetching"
        parts = [f"{size_text(missing)} left"]
        if job.rate and doing == "Fetching":
            parts += [f"{size_text(round(job.rate))}/s", f"about {spoken(missing / job.rate)}"]
        said = "You may go on with the faces in use, or close this page: what has arrived is kept."
        return progress(job, f"{doing} {job.stage.removeprefix('check ')}", *parts) | {
            "notes": [said, *map(plainly, job.notes[1:][-1:])]}
