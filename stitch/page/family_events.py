"""What happens where a family is chosen: what it can do is said first, then it is fetched if asked, then it edits."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import gradio as gr

from stitch.core.errors import RunError, StitchError
from stitch.core.words import size_text
from stitch.page import views
from stitch.page.clip_events import ClipEvents
from stitch.page.jobs import Job, Worker
from stitch.page.look_events import LookEvents

_FOLLOW_S = 0.5


class FamilyEvents(ClipEvents, LookEvents):
    """Families of weights. Fetching one has a queue of its own and keeps nobody from rendering."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fetcher = Worker(self.families.fetched, lambda job, state: None)

    @property
    def family_widgets(self) -> list[Any]:
        """The widgets that `_family_shown` changes."""
        return [self.family_choice, self.family_card, self.fetch, self.fetch_stop]

    def choose_family(self, secret: str, name: str, chosen: str, in_use: str) -> dict[Any, Any]:
        """A family was pointed at: say what it is; if it is here, it edits from now on.

        A run keeps the family that it was made with: an open clip is taken once more for the new one.
        """
        try:
            if self.families.to_fetch(chosen):
                return self._family_shown(secret, chosen, in_use)
            self.families(chosen)  # opened here, so that what is wrong with it is said here
            updates = {self.in_use: chosen, **self._dressed(chosen), **self._family_shown(secret, chosen, chosen)}
            if not name:
                return updates
            session = self.store.session(secret)
            entry = session.open(name)
            about = entry.about
            if about.family == chosen:
                return updates
            updates |= self._take(secret, Path(entry.clip), chosen, about.title)
            job = self.worker.of(entry.browser, entry.name)
            if about.state == "new" and not (job is not None and job.active and job.kind == "render"):
                if job is not None:
                    self.worker.stop(job)
                session.delete(name)  # nothing was made with it
                updates |= self._run_list(session, updates[self.current])
            return updates
        except StitchError as error:
            said = views.problem(f"{error}. The {in_use} family goes on serving")
            return self._family_shown(secret, in_use, in_use, said)

    def begin_fetch(self, secret: str, chosen: str, in_use: str) -> dict[Any, Any]:
        """What is missing of a family is to be fetched."""
        try:
            if chosen not in self.families.names:
                raise RunError("choose one of the families")
            browser = self.store.session(secret).browser
            with suppress(RunError):  # pressed twice
                self.fetcher.submit(Job(browser, chosen, "fetch", chosen))
            return self._family_shown(secret, chosen, in_use)
        except StitchError as error:
            return {self.family_card: views.problem(str(error))}

    def stop_fetch(self, secret: str, chosen: str) -> None:
        """Stop fetching; what has arrived is kept."""
        job = self._fetching(secret, chosen)
        if job is not None:
            self.fetcher.stop(job)

    async def follow_fetch(self, secret: str, chosen: str, in_use: str) -> AsyncIterator[dict[Any, Any]]:
        """Show what arrives, until all of the family is here or it cannot be."""
        job = self._fetching(secret, chosen)
        if job is None:
            yield {self.family_card: gr.skip()}
            return
        while job.active:
            yield self._family_shown(secret, chosen, in_use)
            await asyncio.sleep(_FOLLOW_S)
        said = ""
        if job.state == "failed":
            said = views.problem(f"{job.error}. The {in_use} family goes on serving")
        elif job.state == "stopped":
            said = views.note("Stopped. What has arrived is kept; fetching goes on from there.")
        yield self._family_shown(secret, chosen, in_use, said)

    def _fetching(self, secret: str, chosen: str) -> Job | None:
        """This browser's newest fetch of a family, if there is one."""
        try:
            return self.fetcher.of(self.store.session(secret).browser, chosen)
        except RunError:
            return None

    def _family_shown(self, secret: str, chosen: str, in_use: str, said: str = "") -> dict[Any, Any]:
        """A family's card, and what can be done about it.

        Args:
            secret: of the browser.
            chosen: the family that is pointed at.
            in_use: the one that edits.
            said: what else there is to say, as HTML.
        """
        one, job = self.families.card(chosen), self._fetching(secret, chosen)
        active = job is not None and job.active
        progress = views.fetching(job, one.to_fetch, one.size) if job is not None and active else ""
        return {
            self.family_choice: chosen, self.family_card: views.card(one, in_use) + progress + said,
            self.fetch: gr.update(
                visible=bool(one.to_fetch) and not active, value=f"Fetch {size_text(one.to_fetch)} now"
            ),
            self.fetch_stop: gr.update(visible=active),
        }
