"""What happens in step 1: a clip is taken, looked at and measured, its face chosen, its part trimmed."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import gradio as gr

from stitch.core.errors import RunError, StitchError, VideoError
from stitch.core.records import ClipInfo
from stitch.page import views, work
from stitch.page.jobs import Job
from stitch.page.sessions import Entry
from stitch.page.shown import Shown
from stitch.video.files import probe

_PRICE = "price"  # the job that measures stands beside those of the runs, so that it keeps nobody from rendering


class ClipEvents(Shown):
    """Clips and what is known of them."""

    def take(self, secret: str, upload: str | None, family: str) -> dict[Any, Any]:
        """A clip was uploaded or recorded."""
        try:
            if not upload:
                raise VideoError("choose a clip first")
            return self._take(secret, Path(upload), family)
        except StitchError as error:
            return {self.facts: views.problem(str(error)), self.clip: None, self.current: ""}

    def take_example(self, secret: str, family: str) -> dict[Any, Any]:
        """The example was chosen."""
        return self.take(secret, None if self.example is None else str(self.example), family)

    def drop(self) -> dict[Any, Any]:
        """The clip was taken off the page; its run stays in the list."""
        return {self.current: "", **self._closed("Ready when you are.")}

    def choose_face(self, secret: str, name: str, chosen: gr.SelectData) -> dict[Any, Any]:
        """A face was chosen in the gallery."""
        try:
            entry = self.store.session(secret).open(name)
            about = entry.change(face=int(chosen.index) + 1)  # type: ignore[call-overload]
        except StitchError as error:
            return {self.price: views.problem(str(error))}
        return {self.faces: gr.update(label=f"Whose face? Face {about.face} is edited."),
                self.price: self._price(entry)}

    def priced(self, secret: str, name: str, begin_s: float, end_s: float, quality: str) -> str:
        """The trim or the quality has changed."""
        try:
            entry = self.store.session(secret).open(name)
            entry.change(**trimmed(probe(entry.clip), begin_s, end_s), quality=quality)
            return self._price(entry)
        except StitchError as error:
            return views.problem(str(error)) if name else ""

    def _take(self, secret: str, clip: Path, family: str, title: str | None = None) -> dict[Any, Any]:
        """Take a clip in for a family, and ask for what is to be known of it.

        Raises:
            StitchError: it cannot be taken.
        """
        session = self.store.session(secret)
        self.store.expire(self.worker.busy())
        entry, info = session.add(clip, family, title)
        self.worker.submit(Job(entry.browser, entry.name, "look", work.Look(family, entry.clip, entry.folder)))
        self._stop_measuring(entry)
        if not self.prices.of(self.families(family), info):
            with suppress(RunError):  # too many wait: then the price stays unknown
                self.worker.submit(Job(entry.browser, _PRICE, "measure", work.Measure(family, entry.clip)))
        return {
            self.current: entry.name, **self._opened(entry), **self._run_list(session, entry.name),
            self.finished: gr.update(visible=False),
        }

    def _measuring(self, entry: Entry) -> Job | None:
        """The job that measures for a run, if there is one."""
        job = self.worker.of(entry.browser, _PRICE)
        return job if job is not None and job.task.clip == entry.clip else None

    def _stop_measuring(self, entry: Entry) -> None:
        """Measuring keeps nobody from what they want to do next."""
        job = self.worker.of(entry.browser, _PRICE)
        if job is not None and job.active:
            self.worker.stop(job)


def trimmed(info: ClipInfo, begin_s: float, end_s: float) -> dict[str, Any]:
    """The part of a clip between two handles, as `About` keeps it.

    Raises:
        VideoError: it is empty.
    """
    step_s = 1 / float(info.rate)
    begin_s, end_s = float(begin_s or 0.0), float(end_s or info.end_s)
    if end_s <= begin_s + step_s / 2:
        raise VideoError(f"the part from {begin_s:g} s to {end_s:g} s is empty; move the end behind the beginning")
    return {"begin_s": begin_s, "end_s": None if end_s >= info.end_s - step_s / 2 else end_s}
