"""Work that goes on when the tab is closed: one job at a time, in turn, found again by whoever asked for it."""

import atexit
import contextvars
import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from stitch.core.errors import RunError, StitchError, without_words
from stitch.core.events import Event, Notice, Preview

MOST_WAITING = 20
MOST_OF_ONE = 3
PICTURES_KEPT = 6
MOST_CUT_OFF = 4
BROKEN = "something went wrong inside; what is finished is kept: try again"
_FINISHED_KEPT = 200
_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Done:
    """The last thing that a task yields: what it made."""

    record: Any


@dataclass(frozen=True)
class Again:
    """The last thing that a task yields when its time on the device is over and it wants more of it.

    Attributes:
        cut: it was cut off before it could ask; what it did since its last save is lost.
    """

    cut: bool = False


Work = Generator[Event | Done | Again, None, None]


class Turns:
    """Whose turn it is on the device: between two steps of a long job, whoever wants a picture goes first."""

    def __init__(self) -> None:
        self._taken, self._asking = False, 0
        self._changed = threading.Condition()

    @contextmanager
    def take(self, at_once: bool = False) -> Iterator[None]:
        """For one step of something long, or at once for something short that somebody waits for."""
        with self._changed:
            self._asking += at_once
            self._changed.wait_for(lambda: not self._taken and (at_once or not self._asking))
            self._asking -= at_once
            self._taken = True
        try:
            yield
        finally:
            with self._changed:
                self._taken = False
                self._changed.notify_all()


@dataclass(eq=False)
class Job:
    """One piece of work, and how far it is. Written by the worker, read by anybody.

    Attributes:
        browser, run: whose, and for which of its runs.
        kind: "survey", "measure", "render" or "fetch".
        task: what to do, plain values.
        estimate: seconds of each stage, as far as they are known.
        fresh: nothing of it was begun before, so that how long it takes says something.
        state: "waiting", "working", "done", "stopped" or "failed".
        stage, done, total, unit: of the newest progress.
        rate: units a second in this stage, 0 while nobody knows.
        took: seconds that were spent in each stage.
        pictures: the newest frames of the stage that drew the newest, (index, [H,W,3] uint8).
        drawn_by: which stage that is.
        notes: sentences for people.
        error: why it failed, in words.
        record: what it made.
        number: no two jobs have the same.
    """

    browser: str
    run: str
    kind: str
    task: Any
    estimate: dict[str, float] = field(default_factory=dict)
    fresh: bool = False
    state: str = "waiting"
    stage: str = ""
    done: int = 0
    total: int = 0
    unit: str = "frame"
    rate: float = 0.0
    took: dict[str, float] = field(default_factory=dict)
    pictures: deque[tuple[int, np.ndarray]] = field(default_factory=lambda: deque(maxlen=PICTURES_KEPT))
    drawn_by: str = ""
    notes: list[str] = field(default_factory=list)
    error: str = ""
    record: Any = None
    number: int = field(default_factory=itertools.count(1).__next__)
    stopping: threading.Event = field(default_factory=threading.Event)
    _began: float = 0.0
    _first: int = 0

    @property
    def key(self) -> tuple[str, str, str]:
        """What it is found by."""
        return self.browser, self.run, self.kind

    @property
    def active(self) -> bool:
        """Whether it still waits or works."""
        return self.state in ("waiting", "working")

    def left_s(self) -> float | None:
        """Seconds until it is done: this stage by its own pace, later ones by the estimate; None if nobody knows."""
        if self.state != "working" or not self.rate or not self.total:
            return None
        stages = list(self.estimate)
        later = stages[stages.index(self.stage) + 1 :] if self.stage in stages else []
        return (self.total - self.done) / self.rate + sum(self.estimate[stage] for stage in later)

    def hear(self, event: Event, now: float) -> None:
        """Take in what the stages say."""
        if isinstance(event, Notice):
            if event.message not in self.notes:
                self.notes.append(event.message)
        elif isinstance(event, Preview):
            if event.stage != self.drawn_by:
                self.pictures.clear()
                self.drawn_by = event.stage
            self.pictures.append((event.frame, event.image))
        else:
            if event.stage != self.stage:
                self.stage, self.rate = event.stage, 0.0
                self._began, self._first = now, event.done
            self.done, self.total, self.unit = event.done, event.total, event.unit
            self.took[self.stage] = now - self._began
            if self.done > self._first and now > self._began:
                self.rate = (self.done - self._first) / (now - self._began)


class Worker:
    """Does one job after another in a thread of its own.

    Args:
        run: starts a task: yields events, then `Done`, or `Again` to be started once more.
        ended: told about every job that ended and the state it ended in, before others can see it.
        freed: called after every job, to give memory back.
        turns: shared with whatever else uses the device; None shares it with nothing.
    """

    def __init__(
        self, run: Callable[[Any], Work], ended: Callable[[Job, str], None], freed: Callable[[], None] = lambda: None,
        turns: Turns | None = None,
    ) -> None:
        self._run, self._ended, self._freed, self._turns = run, ended, freed, turns or Turns()
        self._waiting: deque[tuple[Job, contextvars.Context]] = deque()
        self._jobs: dict[tuple[str, str, str], Job] = {}
        self._working: Job | None = None
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._loop, name="stitch-worker", daemon=True)
        self._thread.start()
        atexit.register(self._leave)

    def submit(self, job: Job) -> None:
        """Put a job at the end of the queue.

        Raises:
            RunError: this run is being worked on, or too many jobs wait.
        """
        with self._changed:
            known = self._jobs.get(job.key)
            if known is not None and known.active:
                raise RunError("this clip is being worked on; wait until it is done, or press Stop")
            mine = sum((other.browser, other.kind) == (job.browser, job.kind) for other in self._active())
            if mine >= MOST_OF_ONE:
                raise RunError(f"{mine} of your clips already wait here; wait for one, or stop it")
            if len(self._waiting) >= MOST_WAITING:
                raise RunError("too many people wait right now; try again in a few minutes")
            self._jobs.pop(job.key, None)
            self._jobs[job.key] = job
            finished = [key for key, other in self._jobs.items() if not other.active]
            for key in finished[: max(0, len(finished) - _FINISHED_KEPT)]:
                del self._jobs[key]
            # Whoever asked is known by the context of the request (ZeroGPU counts each person's time).
            self._waiting.append((job, contextvars.copy_context()))
            self._changed.notify_all()

    def of(self, browser: str, run: str, kind: str = "render") -> Job | None:
        """The newest job of a run."""
        return self._jobs.get((browser, run, kind))

    def place(self, job: Job) -> tuple[int, int]:
        """How many jobs come before this one, and how many there are in all."""
        with self._changed:
            active = self._active()
            return (active.index(job) if job in active else 0), len(active)

    def stop(self, job: Job | None) -> None:
        """Stop a job: at once if it waits, else after the step it is at. What is finished stays on the disk."""
        with self._changed:
            if job is not None:
                job.stopping.set()
            for waiting in [pair for pair in self._waiting if pair[0] is job]:
                self._waiting.remove(waiting)
                self._end(waiting[0], "stopped")

    def forget(self, gone: Callable[[str, str], bool]) -> None:
        """Let go of ended jobs, and of the pictures that they hold.

        Args:
            gone: told browser and run of a job, whether that run is deleted.
        """
        with self._changed:
            for key in [key for key, job in self._jobs.items() if not job.active and gone(job.browser, job.run)]:
                del self._jobs[key]

    def busy(self) -> set[tuple[str, str]]:
        """Browsers and names of runs that wait or are worked on."""
        with self._changed:
            return {(job.browser, job.run) for job in self._active()}

    def _leave(self) -> None:
        """The process ends: let the step end that is being done, which otherwise would be torn off in the middle."""
        self.stop(self._working)
        with self._turns.take(at_once=True):
            pass

    def _active(self) -> list[Job]:
        return ([self._working] if self._working else []) + [job for job, _ in self._waiting]

    def _loop(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
                job, context = self._waiting.popleft()
                self._working, job.state = job, "working"
            state, job.error = context.run(self._do, job)
            try:
                self._freed()
            except Exception as error:  # whatever it is, everybody waits for this thread
                _log.error("memory could not be given back: %s", without_words(error))
            with self._changed:
                self._working = None
                self._end(job, state)

    def _end(self, job: Job, state: str) -> None:
        try:
            self._ended(job, state)  # before anybody can see that it has ended, so that all it found is there by then
        except Exception as error:
            _log.error("what a job made could not be kept: %s", without_words(error))
            state, job.error = "failed", BROKEN
        job.state = state

    def _do(self, job: Job) -> tuple[str, str]:
        """Work until it is done, stopped or failed: the state it ended in, and why."""
        cut_off = 0
        try:
            while cut_off < MOST_CUT_OFF:
                with closing(self._run(job.task)) as work:
                    last = self._slice(job, work)
                if isinstance(last, Done):
                    job.record = last.record
                    return "done", ""
                if job.stopping.is_set():
                    return "stopped", ""
                cut_off += last is None or last.cut
            return "failed", "it was cut off again and again; press Resume to go on from what is kept"
        except StitchError as error:
            return "failed", str(error)
        except BaseException as error:  # not even an exit may end the thread that everybody waits for
            _log.error("a job of kind %s failed: %s", job.kind, without_words(error))
            return "failed", BROKEN

    def _slice(self, job: Job, work: Work) -> Done | Again | None:
        """Work as long as there is time: the last word, or None if there was none."""
        while not job.stopping.is_set():
            with self._turns.take():
                event = next(work, None)
            if event is None or isinstance(event, Done | Again):
                return event
            job.hear(event, time.monotonic())
        return None
