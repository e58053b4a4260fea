"""The card of the family: whose faces can be drawn is said first, then it is fetched if asked, then it edits."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import gradio as gr

from stitch.core.errors import RunError, StitchError
from stitch.core.words import size_text, spoken
from stitch.families.load import about
from stitch.page import tasks
from stitch.page.parts import part
from stitch.page.sessions import Entry
from stitch.page.shared import Shared, Updates, plainly, problem
from stitch.runtime.jobs import Job, Worker


class FamilyCard:
    """Families of weights. Fetching one has a queue of its own and keeps nobody from rendering."""

    def __init__(self, shared: Shared) -> None:
        self.shared = shared
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

    @property
    def widgets(self) -> list[Any]:
        """Those that ever change."""
        return [self.choice, self.card, self.fetch, self.halt, self.arrived]

    def wire(self, used: Callable[[str, str, str, list[Any]], Updates], values: list[Any]) -> None:
        """Hear what is touched, once all cards are placed.

        Args:
            used: the page's updates for another family: secret, name of the run, family, what is set.
            values: widgets of what is set.
        """
        shared, now = self.shared, [self.choice, self.shared.family]

        def choose(secret: str, name: str, chosen: str, in_use: str, *given: Any) -> Updates:
            updates = self.choose(secret, chosen, in_use)
            return updates | used(secret, name, chosen, list(given)) if shared.family in updates else updates

        shared.on(self.choice.input, choose, [*now, *values], self.card)
        shared.on(self.fetch.click, self.begin, now, self.card)
        shared.on(self.halt.click, self.end, [self.choice], self.card, queue=False)
        shared.on(self.arrived.change, choose, [*now, *values], self.card)

    def choose(self, secret: str, chosen: str, in_use: str) -> Updates:
        """A family was pointed at: say what it is; if it is here and whole, it edits from now on."""
        if self.shared.families.to_fetch(chosen):
            return self.shown(secret, chosen, in_use)
        try:
            with self.shared.turns.take(at_once=True):
                for _ in self.shared.run(tasks.Open(chosen)):
                    pass
        except StitchError as error:
            return self.shown(secret, in_use, in_use, str(error) + self._meanwhile(in_use))
        return {self.shared.family: chosen, **self.shown(secret, chosen, chosen)}

    def begin(self, secret: str, name: str, chosen: str, in_use: str) -> Updates:
        """What is missing of a family is to be fetched."""
        if chosen not in self.shared.families.names:
            raise RunError("choose one of the families")
        secret = self.shared.known(secret)
        with suppress(RunError):  # pressed twice
            self.fetcher.submit(Job(self.shared.store.session(secret).browser, chosen, "fetch", chosen))
        followed = {self.shared.secret: secret, self.shared.timer: gr.Timer(active=True)}
        return followed | self.shown(secret, chosen, in_use)

    def end(self, secret: str, name: str, chosen: str) -> Updates:
        """Stop fetching; what has arrived is kept."""
        self.fetcher.stop(self.fetching(secret, chosen))
        return {}

    def fetching(self, secret: str, chosen: str) -> Job | None:
        """This browser's newest fetch of a family, if there is one."""
        try:
            return self.fetcher.of(self.shared.store.session(secret).browser, chosen, "fetch")
        except RunError:
            return None  # whoever keeps nothing here fetches nothing

    def opened(self, entry: Entry) -> Updates:
        """A run, with the family that it is set to."""
        family = entry.about.family
        return {self.shared.family: family, self.choice: family, self.card: self._card(family, family),
                self.fetch: gr.update(visible=False), self.halt: gr.update(visible=False)}

    def closed(self) -> Updates:
        """No run is open: the family stays."""
        return {}

    def ended(self, secret: str, job: Job, chosen: str, in_use: str) -> Updates:
        """A fetch has ended: what arrived whole is used."""
        if job.state == "done":
            return {**self.shown(secret, chosen, in_use), self.arrived: float(job.number)}
        said = job.error + self._meanwhile(in_use)
        stopped = "Stopped. What has arrived is kept; fetching goes on from there."
        return self.shown(secret, chosen, in_use, said if job.state == "failed" else "", stopped)

    def shown(self, secret: str, chosen: str, in_use: str, failed: str = "", note: str = "") -> Updates:
        """A family's card, and what can be done about it.

        Args:
            secret: of the browser.
            chosen: the family that is pointed at.
            in_use: the one that edits.
            failed: what went wrong.
            note: what else there is to say.
        """
        job, missing = self.fetching(secret, chosen), self.shared.families.to_fetch(chosen)
        active = job is not None and job.active
        card = self._card(chosen, in_use)
        if job is not None and active:
            card |= self._progress(job, missing)
        elif failed:
            card |= problem(failed)
        elif note:
            card["notes"] = [note]
        return {
            self.choice: chosen, self.card: card, self.halt: gr.update(visible=active),
            self.fetch: gr.update(visible=bool(missing) and not active, value=f"Fetch {size_text(missing)} now"),
        }

    def _meanwhile(self, in_use: str) -> str:
        return f". “{self.shared.families.label(in_use)}” goes on serving"

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
        return {"title": f"{doing} {job.stage.removeprefix('check ')}", "said": " · ".join(parts),
                "share": job.done / job.total, "notes": [said, *map(plainly, job.notes[1:][-1:])]}
