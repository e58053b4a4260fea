"""The card of the runs: everything that this browser keeps here."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import gradio as gr

from stitch.core.errors import StitchError
from stitch.page.parts import part
from stitch.page.shared import Card, Shared, Updates, Visit
from stitch.page.wording import kept_for, told
from stitch.runtime.jobs import Job
from stitch.service.sessions import Entry

_STATES = {"new": "not rendered"}


class RunsCard(Card):
    """Runs are opened again, and deleted after a second press.

    Args:
        shared: what all cards share.
        opened: the page's updates for a run of a visit.
        closed: and for none.
    """

    def __init__(
        self, shared: Shared, opened: Callable[[Visit, Entry], Updates], closed: Callable[[Visit], Updates]
    ) -> None:
        self.shared = shared
        self._none = {"text": kept_for(shared.store.limits.kept_s)}
        with gr.Column(elem_classes="card", elem_id="your-runs"):
            gr.HTML("<h2 class='step'>Your runs<span>for this browser alone</span></h2>")
            self.said = part("status", self._none, elem_id="runs-said")
            self.list = gr.Radio([], label="Your runs", show_label=False, container=False, elem_id="runs")
            with gr.Row(visible=False) as self.buttons:
                self.open = gr.Button("Open", size="sm", elem_id="open", min_width=90)
                self.delete = gr.Button("Delete", size="sm", elem_id="delete", min_width=90)
            with gr.Row(visible=False) as self.sure:
                self.yes = gr.Button("Delete it with all its files", size="sm", variant="stop", elem_id="delete-yes")
                self.no = gr.Button("Keep it", size="sm", elem_id="delete-no")

        def asked(on: bool) -> Updates:
            return {self.sure: gr.update(visible=on), self.buttons: gr.update(visible=not on)}

        def remove(visit: Visit) -> Updates:
            self.remove(visit)
            gone = visit[self.list] == visit.name
            shown = closed(visit) if gone else self.listed(visit)
            return asked(False) | shown | {self.said: {"text": "Deleted."}}

        shared.on(self.open.click, lambda visit: opened(visit, self._chosen(visit)), self.said, self.list)
        shared.on(self.delete.click, lambda visit: asked(True), self.said)
        shared.on(self.no.click, lambda visit: asked(False), self.said)
        shared.on(self.yes.click, remove, self.said, self.list)

    def remove(self, visit: Visit) -> None:
        """Delete the chosen run with all its files.

        Raises:
            RunError: it is being rendered.
        """
        self.shared.desk.delete(self._chosen(visit))

    def follow(self, visit: Visit, job: Job) -> Updates:
        """What a render has made of a run."""
        return self.listed(visit) if job.kind == "render" and not job.active else {}

    def listed(self, visit: Visit, name: str | None = None) -> Updates:
        """The list of this browser's runs.

        Args:
            visit: of the browser.
            name: of the run that is open; None is the visit's.
        """
        name = visit.name if name is None else name
        known = [(self._line(entry), entry.name) for entry in visit.session.runs()]
        return {
            self.list: gr.update(choices=known, value=name if name in [one for _, one in known] else None),
            self.buttons: gr.update(visible=bool(known)), self.said: None if known else self._none,
        }

    def _chosen(self, visit: Visit) -> Entry:
        return replace(visit, name=visit[self.list] or "").entry

    def _line(self, entry: Entry) -> str:
        about, job = entry.about, self.shared.desk.jobs(entry).get("render")
        family = self.shared.families.label(about.family) if about.family != self.shared.first else ""
        changed = ""
        with suppress(StitchError):
            changed = told(about.look)
        state = "being worked on" if job is not None and job.active else _STATES.get(about.state, about.state)
        made = time.strftime("%d %b %H:%M", time.localtime(about.made))
        return " · ".join(one for one in (about.title, family, changed, state, made) if one)
