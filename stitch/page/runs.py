"""The card of the runs: everything that this browser keeps here."""

import time
from typing import Any

import gradio as gr

from stitch.core import looks
from stitch.core.errors import RunError, StitchError
from stitch.page.parts import part
from stitch.page.sessions import Entry
from stitch.page.shared import Shared, Updates
from stitch.stit.pipeline import describe

_STATES = {"new": "not rendered"}
_NONE = {"text": "Every clip that you choose is kept here, until you delete it."}


class RunsCard:
    """Runs are opened again, and deleted after a second press."""

    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        with gr.Column(elem_classes="card", elem_id="your-runs"):
            gr.HTML("<h2 class='step'>Your runs<span>for this browser alone</span></h2>")
            self.said = part("status", _NONE, elem_id="runs-said")
            self.list = gr.Radio([], label="Your runs", show_label=False, container=False, elem_id="runs")
            with gr.Row(visible=False) as self.buttons:
                self.open = gr.Button("Open", size="sm", elem_id="open", min_width=90)
                self.delete = gr.Button("Delete", size="sm", elem_id="delete", min_width=90)
            with gr.Row(visible=False) as self.sure:
                self.yes = gr.Button("Delete it with all its files", size="sm", variant="stop", elem_id="delete-yes")
                self.no = gr.Button("Keep it", size="sm", elem_id="delete-no")

    @property
    def widgets(self) -> list[Any]:
        """Those that ever change."""
        return [self.said, self.list, self.buttons, self.sure]

    def wire(self, opened: Any, closed: Any) -> None:
        """Hear what is touched, once all cards are placed.

        Args:
            opened: the page's updates for a run.
            closed: and for none.
        """
        shared = self.shared

        def asked(on: bool) -> Updates:
            return {self.sure: gr.update(visible=on), self.buttons: gr.update(visible=not on)}

        shared.on(self.open.click, lambda secret, name, chosen: opened(secret, shared.entry(secret, chosen or "")),
                  [self.list], self.said)
        shared.on(self.delete.click, lambda secret, name: asked(True), [], self.said)
        shared.on(self.no.click, lambda secret, name: asked(False), [], self.said)

        def remove(secret: str, name: str, chosen: str | None) -> Updates:
            self.remove(secret, chosen)
            gone = closed() if chosen == name else {}
            return asked(False) | gone | self.listed(secret, "" if gone else name) | {self.said: {"text": "Deleted."}}

        shared.on(self.yes.click, remove, [self.list], self.said)

    def remove(self, secret: str, chosen: str | None) -> None:
        """Delete a run with all its files; what only prepares it is stopped first.

        Raises:
            RunError: it is being rendered.
        """
        session, jobs = self.shared.store.session(secret), self.shared.jobs(self.shared.entry(secret, chosen or ""))
        if "render" in jobs and jobs["render"].active:
            raise RunError("this run is being worked on; stop it first")
        for job in jobs.values():
            self.shared.worker.stop(job)
        session.delete(chosen or "")

    def listed(self, secret: str, name: str) -> Updates:
        """The list of this browser's runs.

        Args:
            secret: of the browser.
            name: of the run that is open.
        """
        entries = self.shared.store.session(secret).runs() if secret else []
        known = [(self._line(entry), entry.name) for entry in entries]
        return {
            self.list: gr.update(choices=known, value=name if name in [one for _, one in known] else None),
            self.buttons: gr.update(visible=bool(known)), self.said: None if known else _NONE,
        }

    def _line(self, entry: Entry) -> str:
        about = entry.about
        told = [self.shared.families.label(about.family)] if about.family != self.shared.first else []
        try:
            told += [describe(looks.from_plain(about.look).edits())]
        except StitchError:
            pass
        job = self.shared.jobs(entry).get("render")
        state = "being worked on" if job is not None and job.active else _STATES.get(about.state, about.state)
        made = time.strftime("%d %b %H:%M", time.localtime(about.made))
        return " · ".join(one for one in (about.title, *told, state, made) if one)
