"""What the page shows of a run, whoever asks and whenever: its clip, its price, how far its jobs are, its result."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pandas as pd
from PIL import Image

from stitch.core.errors import StitchError
from stitch.core.records import ClipInfo
from stitch.core.settings import Settings
from stitch.page import looks, views, work
from stitch.page.families import Families
from stitch.page.jobs import Job, Turns, Work, Worker
from stitch.page.prices import Prices
from stitch.page.sessions import Entry, Session, Store
from stitch.page.slices import Task
from stitch.page.widgets import Widgets
from stitch.runtime import runs
from stitch.stit.pipeline import describe
from stitch.study import estimate
from stitch.video.files import probe

STATES = {"new": "not rendered", "stopped": "stopped", "failed": "failed", "done": "done"}
NO_FACE = "no face was found in this clip: use one that shows a face from the front"


class Shown(Widgets):
    """A run on the page.

    Args:
        families: loads families by name.
        first: name of the family in use until a visitor chooses another.
        store: of the browsers' runs.
        run: starts a task (`slices.owner`).
        freed: called after every job, to give memory back.
        example: a clip to try, if there is one.
        notice: a sentence that every visitor should read, may be empty.
    """

    def __init__(
        self, families: Families, first: str, store: Store, run: Callable[[Task], Work], freed: Callable[[], None],
        example: Path | None = None, notice: str = "",
    ) -> None:
        super().__init__(families, first, example, notice)
        self.store, self.run, self.turns = store, run, Turns()
        self.worker = Worker(run, self._ended, freed, self.turns)
        self.prices = Prices(store.root / "prices", families.device)

    @property
    def opened(self) -> list[Any]:
        """The widgets that `_opened` and `_outcome` change."""
        return [
            self.clip, self.try_example, self.facts, self.faces, self.trim, self.begin, self.end, self.quality,
            self.price, self.status, self.finished, self.edited, self.beside, self.stages, self.files, self.worst,
            self.moments, *self.plots, self.start, self.stop, self.runs, self.run_buttons, self.no_runs, self.compare,
            self.preview_note, self.sheet_of_strengths,
        ]

    def _opened(self, entry: Entry) -> dict[Any, Any]:
        """Everything about a run, as it is now."""
        about, info = entry.about, probe(entry.clip)
        job = self.worker.of(entry.browser, entry.name)
        result = entry.result
        updates: dict[Any, Any] = {
            self.clip: str(entry.clip), self.try_example: gr.update(visible=False),
            self.facts: views.facts(info, about.people, about.lost, about.cuts),
            self.faces: self._faces(entry),
            self.trim: gr.update(visible=True),
            self.begin: gr.update(maximum=round(info.end_s, 2), value=about.begin_s),
            self.end: gr.update(maximum=round(info.end_s, 2), value=round(about.end_s or info.end_s, 2)),
            self.quality: about.quality, self.price: self._price(entry),
            self.compare: None, self.sheet_of_strengths: gr.update(visible=False),
            self.preview_note: views.note("Move a slider: this is where it shows."),
        }
        if job is None or job.kind == "look" or not job.active:
            why = views.problem(job.error) if job is not None and job.error else views.stopped()
            updates[self.status] = {"stopped": views.stopped(), "failed": why}.get(about.state, views.ready())
        updates |= self._buttons(job if job is not None and job.kind == "render" else None, about.state)
        return updates | (self._result(result) if result is not None else {self.finished: gr.update(visible=False)})

    def _closed(self, said: str) -> dict[Any, Any]:
        """No run is open."""
        return {
            self.clip: None, self.try_example: gr.update(visible=self.example is not None),
            self.facts: views.CONSENT, self.status: views.ready(said), self.faces: gr.update(visible=False),
            self.trim: gr.update(visible=False), self.price: "", self.finished: gr.update(visible=False),
            self.edited: None, self.beside: None, self.compare: None,
            self.sheet_of_strengths: gr.update(visible=False),
            self.preview_note: views.note("Choose a clip, then move a slider."), **self._buttons(None, "new"),
        }

    def _faces(self, entry: Entry) -> Any:
        pictures = work.people(entry.folder)
        return gr.update(
            value=[(np.asarray(Image.open(path)), f"{number}") for number, path in enumerate(pictures, 1)],
            visible=len(pictures) > 1, label=f"Whose face? Face {entry.about.face} is edited.",
        )

    def _buttons(self, job: Job | None, state: str) -> dict[Any, Any]:
        """What can be pressed now.

        Args:
            job: the newest render, if there is one.
            state: of the run.
        """
        active = job is not None and job.active
        title = "Rendering" if active else "Resume" if state in ("stopped", "failed") else "Render the clip"
        return {
            self.start: gr.update(value=title, interactive=not active), self.stop: gr.update(interactive=active)
        }

    def _result(self, folder: Path) -> dict[Any, Any]:
        record = work.result_of(folder)
        columns, rate, worst = record["per_frame"], record["rate"], record["worst"]
        seconds = [index / rate for index in columns.get("frames", [])]

        def plot(**lines: str) -> pd.DataFrame:
            rows = [(second, value, what) for what, column in lines.items()
                    for second, value in zip(seconds, columns.get(column, []), strict=False) if value is not None]
            return pd.DataFrame(rows, columns=["seconds", "value", "what"])

        frames = (
            plot(neighbours="tl_id", all="tg_id"), plot(before="ring_naive", after="ring_stitched"),
            plot(encoder="psnr_inversion_db", learned="psnr_tuned_db"),
        )
        names = ("all.zip", "edited.mp4", "side_by_side.mp4", "stages.png", "settings.json")
        return {
            self.finished: gr.update(visible=True), self.status: views.finished(record),
            self.edited: str(folder / "edited.mp4"), self.beside: str(folder / "side_by_side.mp4"),
            self.stages: str(folder / "stages.png"), self.files: [str(folder / name) for name in names],
            self.worst: [(str(folder / one["picture"]), f"{one['at_s']:.2f} s: {one['why']}") for one in worst],
            self.moments: [one["at_s"] for one in worst],
            **dict(zip(self.plots, frames, strict=True)),
        }

    def _underway(self, entry: Entry, job: Job) -> dict[Any, Any]:
        """How far a job is."""
        place, total = self.worker.place(job)
        if job.kind == "look":
            return {self.facts: views.facts(probe(entry.clip), -1, 0, 0) + views.looking(job, place)}
        if job.kind == "measure":
            return {self.price: views.measuring(job)}
        return {self.status: views.rendering(job, place, total), **self._buttons(job, "stopped")}

    def _outcome(self, entry: Entry, job: Job) -> dict[Any, Any]:
        """What the page shows when a job has ended."""
        try:
            about = entry.about
            if job.kind == "measure":
                return {self.price: self._price(entry)}
            updates = self._run_list(self.store.session_of(entry.browser), entry.name)
            if job.kind == "look":
                said = views.facts(probe(entry.clip), about.people, about.lost, about.cuts)
                said += views.problem(job.error) if job.state == "failed" else ""
                said += views.problem(NO_FACE) if about.people == 0 else ""
                return updates | {self.facts: said, self.faces: self._faces(entry), self.price: self._price(entry)}
            updates |= self._buttons(job, about.state)
            if job.state == "done" and entry.result is not None:
                return updates | self._result(entry.result) | {self.price: self._price(entry)}
            return updates | {self.status: views.stopped() if job.state == "stopped" else views.problem(job.error)}
        except StitchError as error:
            return {self.status: views.problem(str(error))}

    def _ended(self, job: Job, state: str) -> None:
        """Keep what a job found; called by the worker."""
        entry = self.store.session_of(job.browser).entry(job.run)
        try:
            if job.kind == "measure":
                if state == "done":
                    self.prices.keep(self.families(job.task.family), probe(job.task.clip), job.record)
            elif job.kind == "look":
                if state == "done":
                    found: work.Looked = job.record
                    entry.change(people=found.people, lost=found.lost, cuts=found.cuts)
            elif state == "done":
                entry.change(state="done", result=job.record)
            else:
                entry.change(state=state)
        except StitchError:
            return  # the run was deleted meanwhile

    def _estimate(self, entry: Entry, info: ClipInfo) -> tuple[estimate.Estimate | None, int]:
        """What the run will cost, None if nothing was measured yet, and how many frames it has."""
        about = entry.about
        length_s = (about.end_s or info.end_s) - about.begin_s
        frames = max(1, round(length_s * float(info.rate)))
        try:
            family = self.families(about.family)
        except StitchError:
            return None, frames  # its weights are gone; rendering will say so
        costs = self.prices.of(family, info).get(about.quality)
        settings = Settings.preset(about.quality)  # type: ignore[arg-type]
        if costs is None:
            return None, frames
        return estimate.price(costs, frames, settings, family.generator.resolution), frames

    def _price(self, entry: Entry) -> str:
        known, frames = self._estimate(entry, probe(entry.clip))
        if known is None:
            return ""
        about = entry.about
        choice = work.Choice(about.family, entry.clip, entry.folder, entry.shown, about.face, about.begin_s,
                             about.end_s, about.quality, {})
        return views.price(known, runs.is_prepared(choice.work), frames)

    def _run_list(self, session: Session, name: str) -> dict[Any, Any]:
        """The list of this browser's runs.

        Args:
            session: the browser.
            name: of the run that is open.
        """
        choices = []
        for entry in session.runs():
            about = entry.about
            told = [about.family] if about.family != self.first else []
            told += [describe(looks.from_plain(about.look).edits())] if about.look else []
            made = time.strftime("%d %b %H:%M", time.localtime(about.made))
            job = self.worker.of(entry.browser, entry.name)
            state = "being worked on" if job is not None and job.active else STATES.get(about.state, about.state)
            choices.append((views.label(about.title, told, state, made), entry.name))
        known = [value for _, value in choices]
        return {
            self.runs: gr.update(choices=choices, value=name if name in known else None),
            self.run_buttons: gr.update(visible=bool(known)), self.no_runs: gr.update(visible=not known),
        }
