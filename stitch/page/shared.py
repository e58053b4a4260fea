"""What the cards of the page share: who does the work, whose run is open, and how an event is heard."""

import gc
import logging
import re
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import Any, Protocol

import gradio as gr
import torch

from stitch.core.errors import RunError, StitchError
from stitch.page import tasks
from stitch.page.families import Families
from stitch.page.sessions import Entry, Store
from stitch.runtime.jobs import BROKEN, Job, Turns, Work, Worker
from stitch.runtime.slices import Task
from stitch.study.prices import Prices
from stitch.video.files import probe

Updates = dict[Any, Any]
"""What an event returns: a widget -> what becomes of it."""

FOLLOW_S = 0.6
_PATH = re.compile(r"\s?(?<![\w.:/])/(?:[^\s/:;,']+/)+[^\s:;,']*")
_COMMAND = re.compile(r"[,;]?\s*(?:or |and )?[^,;]*(?:--[a-z]|python |'stitch |python -m)[^,;]*")
_NONE = "none"  # browsers are not told to store an empty text: what was open would be found again
_log = logging.getLogger(__name__)


class Card(Protocol):
    """One card of the page: its widgets and what happens when they are touched."""

    @property
    def widgets(self) -> list[Any]:
        """Those that ever change."""
        ...

    def opened(self, entry: Entry) -> Updates:
        """A run, as it is now."""
        ...

    def closed(self) -> Updates:
        """No run is open."""
        ...


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
        self.turns, self.everything = Turns(), list[Any]()
        self.worker = Worker(run, self._ended, _give_memory_back, self.turns)
        self.prices = Prices(store.root / "prices", families.device)

    def place(self) -> None:
        """Make the widgets that nobody sees."""
        self.secret = gr.BrowserState("", storage_key="stitch-browser", secret="stitch")
        self.name = gr.BrowserState("", storage_key="stitch-run", secret="stitch")
        self.family = gr.State(self.first)
        self.wanted = gr.State(0.0)  # changes when a new preview is due
        self.seen = gr.State({})  # which ended jobs are shown: kind -> number
        self.timer = gr.Timer(FOLLOW_S, active=False)

    @property
    def widgets(self) -> list[Any]:
        """Those that ever change."""
        return [self.secret, self.name, self.family, self.wanted, self.seen, self.timer]

    def on(
        self, triggers: Any, fn: Callable[..., Updates], inputs: Sequence[Any] = (), where: Any = None, **options: Any
    ) -> Any:
        """Hear an event: `fn` takes the browser's secret, the open run's name and `inputs`, and returns `Updates`.

        Args:
            triggers: one or several events.
            where: the part that says what went wrong.
            options: of gradio's events.
        """

        @wraps(fn)
        def heard(secret: str, name: str, *given: Any) -> Updates:
            try:
                updates = fn(secret, "" if name == _NONE else name, *given)
                return updates | ({self.name: _NONE} if updates.get(self.name) == "" else {})
            except StitchError as error:
                return {where: problem(str(error))}
            except Exception:
                _log.exception("an event of the page failed")
                return {where: problem(BROKEN)}

        given: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"} | options
        return gr.on(triggers, heard, [self.secret, self.name, *inputs], self.everything, **given)

    def known(self, secret: str) -> str:
        """The browser's secret, or a new one where it has none: whoever keeps nothing here needs none."""
        try:
            self.store.session(secret)
            return secret
        except RunError:
            return self.store.new_secret()

    def entry(self, secret: str, name: str) -> Entry:
        """The open run of a browser.

        Raises:
            RunError: none is open, or it is gone.
        """
        if not name:
            raise RunError("choose a clip first: upload one, record one, or take an example")
        return self.store.session(secret).open(name)

    def again(self) -> Updates:
        """A new preview is due."""
        return {self.wanted: time.time()}

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
        """Ask for the faces of a run's clip, and what it will cost, unless they are known: why that cannot be now."""
        about, jobs = entry.about, self.jobs(entry)
        try:
            known = jobs.get("survey")
            tried = known is not None and known.task.family == about.family and known.state != "stopped"
            if about.people < 0 and not tried:
                if known is not None and known.active:
                    self.worker.stop(known)
                task = tasks.FindFaces(about.family, entry.clip, entry.folder)
                self.worker.submit(Job(entry.browser, entry.name, "survey", task))
        except RunError as error:
            return str(error)
        return ""

    def measure(self, entry: Entry) -> None:
        """Ask what a render costs, once for each family; where too many wait it stays unknown."""
        known, family = self.jobs(entry).get("measure"), entry.about.family
        if known is None or (known.task.family != family and not known.active):
            with suppress(RunError):
                self.worker.submit(Job(entry.browser, entry.name, "measure", tasks.Measure(family, entry.clip)))

    def choice(self, entry: Entry, **more: Any) -> tasks.Choice:
        """What a run is set to."""
        about = entry.about
        return tasks.Choice(
            about.family, entry.clip, entry.folder, entry.shown, about.face, about.begin_s, about.end_s, about.quality,
            about.look, title=about.title, **more,
        )

    def _ended(self, job: Job, state: str) -> None:
        """Keep what a job found; called by the worker."""
        entry = self.store.entry(job.browser, job.run)
        try:
            if job.kind == "render":
                entry.change(state=state, **({"result": job.record} if state == "done" else {}))
                if state == "done" and job.task.fresh:
                    choice = job.task.choice
                    self.prices.learn(choice.family, probe(entry.clip), choice.quality, job.estimate, job.took)
            elif state == "done" and job.kind == "measure":
                self.prices.keep(job.task.family, probe(entry.clip), job.record)
            elif state == "done" and job.task.family == entry.about.family:
                entry.change(**job.record)
        except RunError:
            return  # the run was deleted meanwhile


def plainly(text: str) -> str:
    """A message without what only the keeper of the machine can use: paths, and options of a command line."""
    said = _COMMAND.sub("", _PATH.sub("", text)).strip(" ;,:")
    return said or "that is not possible here"


def problem(text: str) -> dict[str, Any]:
    """What went wrong, in words, for a part "status"."""
    said = plainly(text)
    return {"title": "That did not work", "notes": [said[:1].upper() + said[1:]], "problem": True}


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
