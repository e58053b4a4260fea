"""What the cards of the page share: who does the work, whose run is open, and how an event is heard."""

import gc
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import gradio as gr
import torch

from stitch.core.errors import RunError, StitchError, VideoError
from stitch.page import tasks
from stitch.page.families import Families
from stitch.page.sessions import Entry, Session, Store
from stitch.page.wording import problem
from stitch.runtime import runs, slices
from stitch.runtime.jobs import BROKEN, Done, Job, Turns, Work, Worker
from stitch.runtime.slices import Task
from stitch.study.prices import Prices
from stitch.video.files import probe

Updates = dict[Any, Any]
"""What an event returns: a widget -> what becomes of it."""

DEVICE: dict[str, Any] = {"concurrency_id": "device", "concurrency_limit": 1}
"""Everything that computes outside the worker takes its turn."""
FOLLOW_S = 0.6
_NONE = "none"  # browsers are not told to store an empty text: what was open would be found again
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Visit:
    """What comes with an event: whose browser it is, which run is open there, and what its widgets say.

    Attributes:
        store: of all browsers.
        secret: of this one; a new one where it has none.
        name: of the run that is open; empty if none is.
        family: the one in use.
        said: widget -> value, of those that the event asked for.
    """

    store: Store
    secret: str
    name: str
    family: str
    said: Mapping[Any, Any]

    def __getitem__(self, widget: Any) -> Any:
        """What a widget says; None if it was not asked."""
        return self.said.get(widget)

    @property
    def session(self) -> Session:
        """The runs of this browser."""
        return self.store.session(self.secret)

    @property
    def entry(self) -> Entry:
        """The open run.

        Raises:
            RunError: none is open, or it is gone.
        """
        if not self.name:
            raise RunError("choose a clip first: upload one, record one, or take an example")
        return self.session.open(self.name)


class Card:
    """One card of the page: its widgets and what happens when they are touched."""

    def opened(self, entry: Entry) -> Updates:
        """A run, as it is now."""
        return {}

    def closed(self) -> Updates:
        """No run is open."""
        return {}

    def follow(self, visit: Visit, job: Job) -> Updates:
        """Work that this browser asked for is under way, or has just ended."""
        return {}


class Shared:
    """Made once for a page; its widgets are a visitor's own.

    Args:
        families: loads families by name.
        first: name of the family in use until a visitor chooses another.
        store: of the browsers' runs.
        run: starts a task (`slices.owner`).
        example: a clip to try, if there is one.
    """

    def __init__(
        self, families: Families, first: str, store: Store, run: Callable[[Task], Work], example: Path | None = None
    ) -> None:
        self.families, self.first, self.store, self.run, self.example = families, first, store, run, example
        self.turns = Turns()
        self.worker = Worker(run, self._ended, _give_memory_back, self.turns)
        self.prices = Prices(store.root / "prices", families.device)
        self._events: list[tuple[Any, Callable[[Mapping[Any, Any]], Updates], set[Any], dict[str, Any]]] = []

    def place(self) -> None:
        """Make the widgets that nobody sees."""
        self.secret = gr.BrowserState("", storage_key="stitch-browser", secret="stitch")
        self.name = gr.BrowserState("", storage_key="stitch-run", secret="stitch")
        self.family = gr.State(self.first)
        self.wanted = gr.State(0.0)  # changes when a new preview is due
        self.seen = gr.State({})  # which ended jobs are shown: kind -> number
        self.timer = gr.Timer(FOLLOW_S, active=False)

    def on(self, triggers: Any, fn: Callable[..., Updates], where: Any, *asked: Any, **options: Any) -> None:
        """Hear an event, once all cards are placed (`listen`).

        Args:
            triggers: one or several events.
            fn: takes the `Visit`, and what else gradio gives by its annotation; returns updates of any widgets.
            where: the part that says what went wrong.
            asked: widgets whose values the visit should hold.
            options: of gradio's events.
        """

        @wraps(fn)
        def heard(said: Mapping[Any, Any], *given: Any) -> Updates:
            try:
                updates = fn(self.visit(said), *given)
                return updates | ({self.name: _NONE} if updates.get(self.name) == "" else {})
            except StitchError as error:
                return {where: problem(str(error))}
            except Exception:
                _log.exception("an event of the page failed")
                return {where: problem(BROKEN)}

        self._events.append((triggers, heard, {self.secret, self.name, self.family, *asked}, options))

    def listen(self, widgets: list[Any]) -> None:
        """From now on all events are heard.

        Args:
            widgets: everything that may change.
        """
        given: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
        for triggers, heard, asked, options in self._events:
            gr.on(triggers, heard, asked, widgets, **given | options)

    def visit(self, said: Mapping[Any, Any]) -> Visit:
        """Who comes with these values, and what for."""
        name = said.get(self.name) or ""
        secret, family = self.store.known(said.get(self.secret)), said.get(self.family) or self.first
        return Visit(self.store, secret, "" if name == _NONE else name, family, said)

    def again(self) -> Updates:
        """A new preview is due."""
        return {self.wanted: time.time()}

    def take(self, session: Session, upload: Path, family: str, title: str | None = None) -> Entry:
        """Take a clip in; what was uploaded lies in the run's folder alone from then on.

        Raises:
            StitchError: it cannot be taken.
        """
        self.store.expire(self.worker.busy())
        try:
            entry, _ = session.add(upload, family, title)
        finally:
            self.store.received(upload)
        return entry

    # The work for a run.

    def jobs(self, entry: Entry) -> dict[str, Job]:
        """The newest jobs of a run by their kind."""
        found = {kind: self.worker.of(entry.browser, entry.name, kind) for kind in ("survey", "measure", "render")}
        return {kind: job for kind, job in found.items() if job is not None}

    def busy(self, entry: Entry) -> bool:
        """Whether something of a run is still to come."""
        jobs, about = self.jobs(entry), entry.about
        survey = jobs.get("survey")
        failed = survey is not None and survey.state == "failed" and survey.task.family == about.family
        return any(job.active for job in jobs.values()) or (about.people < 0 and not failed)

    def find_faces(self, entry: Entry) -> str:
        """Ask for the faces of a run's clip, unless they are known: why that cannot be now."""
        family, job = entry.about.family, self.jobs(entry).get("survey")
        tried = job is not None and job.task.family == family and job.state != "stopped"
        if entry.about.people >= 0 or tried:
            return ""
        try:
            self.worker.stop(job)
            self._submit(entry, "survey", Task(family, tasks.find_faces, (entry,)))
        except RunError as error:
            return str(error)
        return ""

    def costs(self, entry: Entry) -> dict[str, float]:
        """Seconds that each stage of a render will take, without those that are done; empty until it was measured."""
        about, info = entry.about, probe(entry.clip)
        stages = self.prices.stages(about.family, info, about.quality, about.frames(info))
        done = runs.is_prepared(entry.work(about))
        return {stage: cost for stage, cost in stages.items() if not done or stage in ("stitching", "merge")}

    def measure(self, entry: Entry) -> None:
        """Ask what a render costs, once for each family; where too many wait it stays unknown."""
        known, family = self.jobs(entry).get("measure"), entry.about.family
        if known is None or (known.task.family != family and not known.active):
            with suppress(RunError):
                self._submit(entry, "measure", Task(family, tasks.measure, (entry,)))

    def render(self, entry: Entry) -> Job:
        """Ask for a render of what is set, or go on with one that was stopped.

        Raises:
            StitchError: there is nothing to change, the part is too long, or too many wait.
        """
        about, longest_s = entry.about, self.store.limits.longest_s
        about.edits()
        length_s = about.length_s(probe(entry.clip))
        if self.store.limits.too_long(length_s):
            raise VideoError(f"{length_s:.0f} s are chosen and this page renders {longest_s:.0f} s at a time; choose a "
                             "shorter part")
        stages, fresh = self.costs(entry), not entry.work(about).exists()
        slice_s = min(slices.LONGEST_S, 1.3 * (sum(stages.values()) or slices.LONGEST_S) + 15)
        entry.change(state="stopped")  # what is true should this process end now
        self.worker.stop(self.jobs(entry).get("measure"))  # it keeps nobody from what they want to do next
        task = Task(about.family, tasks.render, (entry, about), slice_s)
        try:
            return self._submit(entry, "render", task, stages, fresh)
        except RunError:
            entry.change(state=about.state)
            raise

    def at_once(self, task: Task) -> Any:
        """What a task makes that somebody waits for.

        Raises:
            StitchError: it could not be made.
        """
        with self.turns.take(at_once=True), closing(self.run(task)) as work:
            for event in work:
                if isinstance(event, Done):
                    return event.record
        raise StitchError("this took too long; try again")

    def preview(self, work: Callable[..., Work], entry: Entry, at_s: Any) -> tasks.Pictures:
        """A run's clip at a time with what is set, at once.

        Args:
            work: `tasks.preview_frame` or `tasks.preview_strengths`.
            entry: the run.
            at_s: the player's position, seconds into the file.
        Raises:
            StitchError: it could not be made.
        """
        about = entry.about
        return self.at_once(Task(about.family, work, (entry, about, float(at_s or 0.0)), slice_s=20.0))

    def _submit(
        self, entry: Entry, kind: str, task: Task, stages: dict[str, float] | None = None, fresh: bool = False
    ) -> Job:
        job = Job(entry.browser, entry.name, kind, task, stages or {}, fresh)
        self.worker.submit(job)
        return job

    def _ended(self, job: Job, state: str) -> None:
        """Keep what a job found; called by the worker."""
        entry = Entry(self.store.root, job.browser, job.run)
        with suppress(RunError):  # the run was deleted meanwhile
            if job.kind == "render":
                entry.change(state=state, **({"result": job.record} if state == "done" else {}))
                if state == "done" and job.fresh:
                    _, about = job.task.given
                    self.prices.learn(about.family, probe(entry.clip), about.quality, job.estimate, job.took)
            elif state == "done" and job.kind == "measure":
                self.prices.keep(job.task.family, probe(entry.clip), job.record)
            elif state == "done" and job.task.family == entry.about.family:
                entry.change(**job.record)


def merged(*updates: Updates) -> Updates:
    """Updates of several cards; a widget that two speak of gets all that both say."""
    whole: Updates = {}
    for one in updates:
        for widget, said in one.items():
            before = whole.get(widget)
            both = isinstance(before, dict) and isinstance(said, dict) and "__type__" in before and "__type__" in said
            whole[widget] = {**before, **said} if both else said  # type: ignore[dict-item]
    return whole


def _give_memory_back() -> None:
    """After a job: what it held is gone, and the device's memory is free for others."""
    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
