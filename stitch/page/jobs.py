"""Work that goes on when the tab is closed: one job at a time, in turn, found again by whoever asked for it."""

import contextvars
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from stitch.core.errors import RunError, StitchError
from stitch.core.events import Event, Notice, Preview

MOST_WAITING = 20
MOST_OF_ONE = 3
PICTURES_KEPT = 6
MOST_CUT_OFF = 4
_FINISHED_KEPT = 200


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
    def at_once(self) -> Iterator[None]:
        """For something short that somebody waits for: after the step that is being done."""
        with self._changed:
            self._asking += 1
            self._changed.wait_for(lambda: not self._taken)
            self._asking -= 1
            self._taken = True
        yield from self._given_back()

    @contextmanager
    def step(self) -> Iterator[None]:
        """For a step of something long: after all that is short."""
        with self._changed:
            self._changed.wait_for(lambda: not (self._taken or self._asking))
            self._taken = True
        yield from self._given_back()

    def _given_back(self) -> Iterator[None]:
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
        kind: "look", "measure", "render" or "fetch".
        task: what to do, plain values.
        estimate: seconds of each stage, as far as they are known.
        state: "waiting", "working", "done", "stopped" or "failed".
        stage, done, total, unit: of the newest progress.
        rate: units a second in this stage, 0 while nobody knows.
        pictures: the newest frames of the stage that drew the newest, (index, [H,W,3] uint8).
        drawn_by: which stage that is.
        notes: sentences for people.
        error: why it failed, in words.
        record: what it made.
    """

    browser: str
    run: str
    kind: str
    task: Any
    estimate: dict[str, float] = field(default_factory=dict)
    state: str = "waiting"
    stage: str = ""
    done: int = 0
    total: int = 0
    unit: str = "frame"
    rate: float = 0.0
    pictures: deque[tuple[int, np.ndarray]] = field(default_factory=lambda: deque(maxlen=PICTURES_KEPT))
    drawn_by: str = ""
    notes: list[str] = field(default_factory=list)
    error: str = ""
    record: Any = None
    stopping: threading.Event = field(default_factory=threading.Event)
    _began: float = 0.0
    _first: int = 0

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
        self._jobs: dict[tuple[str, str], Job] = {}
        self._working: Job | None = None
        self._changed = threading.Condition()
        threading.Thread(target=self._loop, name="stitch-worker", daemon=True).start()

    def submit(self, job: Job) -> None:
        """Put a job at the end of the queue.

        Raises:
            RunError: this run is being worked on, or too many jobs wait.
        """
        with self._changed:
            known = self._jobs.get((job.browser, job.run))
            if known is not None and known.active:
                raise RunError("this clip is being worked on; wait until it is done, or press Stop")
            mine = sum(other.browser == job.browser for other in self._active())
            if mine >= MOST_OF_ONE:
                raise RunError(f"{mine} of your clips already wait here; wait for one, or stop it")
            if len(self._waiting) >= MOST_WAITING:
                raise RunError("too many people wait right now; try again in a few minutes")
            self._jobs.pop((job.browser, job.run), None)
            self._jobs[job.browser, job.run] = job
            finished = [key for key, other in self._jobs.items() if not other.active]
            for key in finished[: max(0, len(finished) - _FINISHED_KEPT)]:
                del self._jobs[key]
            # Whoever asked is known by the context of the request (ZeroGPU counts each person's time).
            self._waiting.append((job, contextvars.copy_context()))
            self._changed.notify_all()

    def of(self, browser: str, run: str) -> Job | None:
        """The newest job of a run."""
        return self._jobs.get((browser, run))

    def place(self, job: Job) -> tuple[int, int]:
        """How many jobs come before this one, and how many there are in all."""
        with self._changed:
            active = self._active()
            return (active.index(job) if job in active else 0), len(active)

    def stop(self, job: Job) -> None:
        """Stop a job: at once if it waits, else after the step it is at. What is finished stays on the disk."""
        with self._changed:
            job.stopping.set()
            for waiting in [pair for pair in self._waiting if pair[0] is job]:
                self._waiting.remove(waiting)
                self._ended(job, "stopped")
                job.state = "stopped"

    def busy(self) -> set[tuple[str, str]]:
        """Browsers and names of runs that wait or are worked on."""
        with self._changed:
            return {(job.browser, job.run) for job in self._active()}

    def _active(self) -> list[Job]:
        return ([self._working] if self._working else []) + [job for job, _ in self._waiting]

    def _loop(self) -> None:
        while True:
            with self._changed:
                while not self._waiting:
                    self._changed.wait()
                job, context = self._waiting.popleft()
                self._working, job.state = job, "working"
            state, job.error = context.run(self._do, job)
            self._freed()
            self._ended(job, state)  # before anybody can see that it has ended, so that all it found is there by then
            with self._changed:
                self._working, job.state = None, state

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
        except Exception as error:  # a mistake of ours must not end the thread that everybody waits for
            print(f"stitch: {type(error).__name__} in a job: {error}", flush=True)
            return "failed", "something went wrong inside; what is finished is kept: press Resume to try again"

    def _slice(self, job: Job, work: Work) -> Done | Again | None:
        """Work as long as there is time: the last word, or None if there was none."""
        while not job.stopping.is_set():
            with self._turns.step():
                event = next(work, None)
            if event is None or isinstance(event, Done | Again):
                return event
            job.hear(event, time.monotonic())
        return None
