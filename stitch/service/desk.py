"""The work for the runs of many people: in turn on one device, found again by whoever asked for it."""

import gc
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import torch

from stitch.core.errors import RunError, StitchError, VideoError
from stitch.runtime import runs, slices
from stitch.runtime.jobs import Done, Job, Turns, Work, Worker
from stitch.runtime.slices import Task
from stitch.service import tasks
from stitch.service.families import Families
from stitch.service.sessions import Entry, Session, Store
from stitch.study.prices import Prices
from stitch.video.files import probe
from stitch.video.trust import verify
from stitch.video.trust.verify import Report


class Desk:
    """Takes clips in, and does what is asked for them.

    Args:
        families: loads families by name.
        store: of everybody's runs.
        run: starts a task (`slices.owner`).
    """

    def __init__(self, families: Families, store: Store, run: Callable[[Task], Work]) -> None:
        self.families, self.store, self._run = families, store, run
        self.turns = Turns()
        self.worker = Worker(run, self._ended, _give_memory_back, self.turns)
        self.prices = Prices(store.root / "prices", families.device)

    def take(self, session: Session, upload: Path, family: str, title: str | None = None) -> Entry:
        """Take a clip in; what was uploaded lies in the run's folder alone from then on.

        Raises:
            StitchError: it cannot be taken.
        """
        self.expire()
        try:
            entry, _ = session.add(upload, family, title)
        finally:
            self.store.received(upload)
        return entry

    def check(self, upload: Path) -> Report:
        """What a file says about itself; nothing of it stays here.

        Raises:
            StitchError: there is no such file.
        """
        try:
            return verify.check(upload)
        finally:
            self.store.received(upload)

    def expire(self) -> None:
        """Delete what nobody touched for long, and let go of what is known of it in memory."""
        self.store.expire(self.worker.busy())
        self.worker.forget(self._gone)

    def keep_tidy(self, every_s: float = 600.0) -> Callable[[], None]:
        """Expire now and then, whether anybody comes or not: what ends that."""
        ended = threading.Event()

        def tidy() -> None:
            while not ended.wait(every_s):
                with suppress(OSError, StitchError):
                    self.expire()

        threading.Thread(target=tidy, name="stitch-tidy", daemon=True).start()
        return ended.set

    def delete(self, entry: Entry) -> None:
        """Delete a run with all its files, on the disk and in memory; what only prepares it is stopped first.

        Raises:
            RunError: it is being rendered.
        """
        jobs = self.jobs(entry)
        if "render" in jobs and jobs["render"].active:
            raise RunError("this run is being worked on; stop it first")
        for job in jobs.values():
            self.worker.stop(job)
        entry.delete()
        self.worker.forget(self._gone)

    def _gone(self, browser: str, run: str) -> bool:
        return bool(run) and not (Entry(self.store.root, browser, run).folder / "about.json").is_file()

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
        with self.turns.take(at_once=True), closing(self._run(task)) as work:
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
        if self._gone(job.browser, job.run):  # deleted meanwhile: so is what the job made since
            entry.delete()
            job.pictures.clear()
        with suppress(RunError):
            if job.kind == "render":
                entry.change(state=state, **({"result": job.record} if state == "done" else {}))
                if state == "done" and job.fresh:
                    _, about = job.task.given
                    self.prices.learn(about.family, probe(entry.clip), about.quality, job.estimate, job.took)
            elif state == "done" and job.kind == "measure":
                self.prices.keep(job.task.family, probe(entry.clip), job.record)
            elif state == "done" and job.task.family == entry.about.family:
                entry.change(**job.record)


def _give_memory_back() -> None:
    """After a job: what it held is gone, and the device's memory is free for others."""
    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
