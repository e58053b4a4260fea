"""What happens when the page's widgets are touched: here the preview, the render and the runs, and what calls what.

The clip, the look and the family have modules of their own; `views`, `shown` and `work` say what comes of it.
"""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
import torch

from stitch.core.errors import EditError, RunError, StitchError, VideoError
from stitch.families.family import Family
from stitch.page import looks, slices, views, work
from stitch.page.clip_events import trimmed
from stitch.page.families import Families
from stitch.page.family_events import FamilyEvents
from stitch.page.jobs import Job, Work
from stitch.page.looks import Look
from stitch.page.sessions import Entry, Store
from stitch.page.widgets import QUALITIES
from stitch.stit.pipeline import describe
from stitch.video.files import probe

_FOLLOW_S = 0.6
_NO_CLIP = "choose a clip first: upload one, record one, or take the example"
DEVICE = "device"  # everything that computes outside the worker takes its turn under this name

# The player's position enters as the first input.
PLAYER = """(...given) => {
  const player = document.querySelector('#clip video'); given[0] = player ? player.currentTime : 0; return given; }"""
JUMP = """(at) => {
  const player = document.querySelector('#result video');
  if (player) { player.currentTime = at; player.scrollIntoView({block: 'center'}); } }"""
LINK = "(letters) => letters ? location.origin + location.pathname + '?look=' + letters : ''"


class Page(FamilyEvents):
    """The page of one server.

    Args:
        family: in use until a visitor chooses another; the one of the endpoints.
        families: loads families by name.
        store: of the browsers' runs.
        run: starts a task (`slices.owner`).
        example: a clip to try, if there is one.
        notice: a sentence that every visitor should read, may be empty.
    """

    def __init__(
        self, family: Family, families: Families, store: Store, run: Callable[[slices.Task], Work],
        example: Path | None = None, notice: str = "",
    ) -> None:
        super().__init__(families, family.name, store, run, _give_memory_back, example, notice)
        self.family = family

    def build(self, endpoints: Callable[["Page"], None]) -> gr.Blocks:
        """All widgets, wired.

        Args:
            endpoints: adds those that programs may call (`api.endpoints`).
        """
        with gr.Blocks(title="Stitch", analytics_enabled=False, delete_cache=(3600, 86400)) as blocks:
            self._place()
            endpoints(self)  # first, so that no event of the page takes their names
            self._wire(blocks)
        return blocks

    def _wire(self, blocks: gr.Blocks) -> None:
        private: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
        who = [self.secret, self.current]
        follow: dict[str, Any] = {
            "fn": self.follow, "inputs": who, "outputs": [self.current, *self.opened], "concurrency_limit": None,
            **private,
        }
        follow_price: dict[str, Any] = {
            "fn": self.follow_price, "inputs": who, "outputs": [self.price], "concurrency_limit": None, **private
        }
        set_now = [*who, self.begin, self.end, self.quality, *self.look_widgets]
        looking: dict[str, Any] = {
            "fn": self.preview, "inputs": [self.at, *set_now],
            "outputs": [self.compare, self.preview_note, self.summary], "js": PLAYER, "concurrency_id": DEVICE,
            "concurrency_limit": 1, "trigger_mode": "always_last", "show_progress": "minimal",
            "api_visibility": "private", "show_progress_on": [self.compare],
        }
        whole = [self.current, self.in_use, *self.opened, *self.dressed, *self.family_widgets]
        blocks.load(
            self.arrive, [*who, self.saved], [self.secret, self.look_choice, *whole], **private
        ).then(**follow).then(**follow_price)
        family_now = [self.secret, self.family_choice, self.in_use]
        follow_fetch: dict[str, Any] = {
            "fn": self.follow_fetch, "inputs": family_now, "outputs": self.family_widgets, "concurrency_limit": None,
            **private,
        }
        choose: dict[str, Any] = {
            "fn": self.choose_family, "inputs": [*who, self.family_choice, self.in_use], "outputs": whole, **private
        }

        for source in (self.clip.upload, self.clip.stop_recording):
            taken = source(self.take, [self.secret, self.clip, self.in_use], whole, **private)
            taken.then(**follow).then(**looking).then(**follow_price)
        taken = self.try_example.click(self.take_example, [self.secret, self.in_use], whole, **private)
        taken.then(**follow).then(**looking).then(**follow_price)
        self.clip.clear(self.drop, None, whole, **private)
        self.faces.select(self.choose_face, who, [self.faces, self.price], **private).then(**looking)
        for widget in (self.begin.release, self.end.release, self.quality.input):  # the visitor's hand alone
            widget(self.priced, [*who, self.begin, self.end, self.quality], [self.price], **private)

        for slider in (*self.sliders.values(), self.words_strength, self.channels):
            slider.release(**looking)
        self.words.submit(**looking)
        self.look_now.click(**looking)
        self.grid.click(
            self.preview_grid, [self.at, *set_now], [self.sheet_of_strengths, self.preview_note], js=PLAYER,
            concurrency_id=DEVICE, api_visibility="private", show_progress_on=[self.preview_note],
        )
        for title, button in self.starters.items():
            button.click(lambda title=title: self.starter(title), None, self.look_widgets, **private).then(**looking)
        self.reset.click(lambda: self._values(Look()), None, self.look_widgets, **private).then(**looking)

        self.save.click(self.save_look, [self.saved, self.look_name, *self.look_widgets],
                        [self.saved, self.look_choice, self.summary], **private)
        self.load.click(self.load_look, [self.saved, self.look_choice, self.in_use], self.dressed, **private).then(
            **looking)
        self.share.click(self.share_look, self.look_widgets, [self.link, self.summary], **private).then(
            None, self.link, self.link, js=LINK, api_visibility="private"
        )

        self.start.click(
            self.begin_render, [*set_now, self.badge],
            [self.status, self.finished, self.start, self.stop, self.runs, self.run_buttons, self.no_runs], **private,
        ).then(**follow)
        self.stop.click(self.stop_render, who, [self.status], queue=False, **private)
        self.worst.select(self.jump, [self.moments], [self.jump_to], **private).then(
            None, self.jump_to, None, js=JUMP, api_visibility="private"
        )
        self.reopen.click(self.open_run, [self.secret, self.runs], whole, **private).then(**follow)
        self.delete.click(self.delete_run, [*who, self.runs], whole, **private)

        chosen = self.family_choice.input(**choose)
        fetched = self.fetch.click(self.begin_fetch, family_now, self.family_widgets, **private).then(**follow_fetch)
        for ready in (chosen, fetched.then(**choose)):
            ready.then(**follow).then(**looking).then(**follow_price)
        self.fetch_stop.click(self.stop_fetch, [self.secret, self.family_choice], None, queue=False, **private)

    # What the widgets do. Each returns updates of the widgets that change.

    def arrive(self, secret: str, name: str, saved: dict[str, Any], request: gr.Request) -> dict[Any, Any]:
        """A page is opened or reloaded: find this browser's run again."""
        try:
            session = self.store.session(secret)
        except RunError:
            secret = self.store.new_secret()
            session = self.store.session(secret)
        self.store.expire(self.worker.busy())
        updates: dict[Any, Any] = {
            self.secret: secret, self.look_choice: gr.update(choices=sorted(saved if isinstance(saved, dict) else {})),
            self.try_example: gr.update(interactive=True), self.clip: gr.update(interactive=True),
            **self._run_list(session, name),
        }
        family = self.first
        try:
            entry = session.open(name)
            updates |= self._run_shown(secret, entry)
            family = entry.about.family
            updates[self.clip] = gr.update(value=str(entry.clip), interactive=True)
        except StitchError:
            updates[self.current] = ""
        letters = request.query_params.get("look") if request else None
        if letters:
            try:
                updates |= self._set(looks.from_link(letters), family)
            except EditError as error:
                updates[self.summary] = views.problem(str(error))
        return updates

    def preview(self, at_s: float, *given: Any) -> dict[Any, Any]:
        """A slider was let go: the frame at the player's position, original | edited."""
        try:
            choice, look = self._choice(*given)
            if choice is None:
                return {self.preview_note: views.note(_NO_CLIP[:1].upper() + _NO_CLIP[1:] + "."),
                        self.summary: views.summary(describe(look.edits()))}
            with self.turns.at_once():
                made = work.pictures(self.run, work.Preview(choice, float(at_s or 0.0)))
        except StitchError as error:
            return {self.preview_note: views.problem(str(error))}
        return {
            self.compare: (made.original, made.edited), self.preview_note: views.note(made.note),
            self.summary: views.summary(describe(look.edits())),
        }

    def preview_grid(self, at_s: float, *given: Any) -> dict[Any, Any]:
        """A grid of strengths was asked for."""
        try:
            choice, _ = self._choice(*given)
            if choice is None:
                raise VideoError(_NO_CLIP)
            with self.turns.at_once():
                made = work.pictures(self.run, work.Preview(choice, float(at_s or 0.0), grid=True))
        except StitchError as error:
            return {self.preview_note: views.problem(str(error))}
        return {
            self.sheet_of_strengths: gr.update(value=made.edited, visible=True),
            self.preview_note: views.note(made.note),
        }

    def begin_render(self, *given: Any) -> dict[Any, Any]:
        """The clip is to be rendered, or a stopped render goes on."""
        *chosen, badge = given
        try:
            choice, look = self._choice(*chosen)
            if choice is None:
                raise VideoError(_NO_CLIP)
            choice = replace(choice, badge=bool(badge))
            choice.edits(self.families(choice.family))
            session = self.store.session(chosen[0])
            entry = session.open(chosen[1])
            info = probe(entry.clip)
            length_s = (choice.end_s or info.end_s) - choice.begin_s
            if length_s > self.store.limits.longest_s + 0.05:
                most = f"this page renders {self.store.limits.longest_s:.0f} s at a time"
                raise VideoError(f"{length_s:.0f} s are chosen and {most}; trim the clip in step 1")
            known, _ = self._estimate(entry, info)
            stages = {} if known is None else known.stages
            total_s = sum(stages.values()) or slices.LONGEST_S
            task = work.Render(choice, slice_s=min(slices.LONGEST_S, 1.3 * total_s + 15))
            entry.change(look=look.plain(), state="stopped")  # what is true should this process end now
            self._stop_measuring(entry)
            job = Job(entry.browser, entry.name, "render", task, stages)
            self.worker.submit(job)
        except StitchError as error:
            return {self.status: views.problem(str(error))}
        return {
            self.status: views.ready("Starting"), self.finished: gr.update(visible=False),
            **self._buttons(job, "stopped"), **self._run_list(session, entry.name),
        }

    def stop_render(self, secret: str, name: str) -> str:
        """Stop was pressed."""
        try:
            entry = self.store.session(secret).open(name)
        except StitchError:
            return views.ready("Nothing runs.")
        job = self.worker.of(entry.browser, entry.name)
        if job is None or not job.active:
            return views.ready("Nothing runs.")
        self.worker.stop(job)
        return views.rendering(job, 0, 1) if job.active else views.stopped()

    async def follow(self, secret: str, name: str) -> AsyncIterator[dict[Any, Any]]:
        """Show how far the work on this browser's run is, until it ends; then show what it made."""
        async for updates in self._followed(secret, name, lambda entry: self.worker.of(entry.browser, entry.name)):
            yield updates

    async def follow_price(self, secret: str, name: str) -> AsyncIterator[dict[Any, Any]]:
        """Show how the price of this browser's run is found out, until it is known."""
        async for updates in self._followed(secret, name, self._measuring):
            yield updates

    async def _followed(
        self, secret: str, name: str, job_of: Callable[[Entry], Job | None]
    ) -> AsyncIterator[dict[Any, Any]]:
        try:
            entry = self.store.session(secret).open(name)
            job = job_of(entry)
        except StitchError:
            job = None
        if job is None:
            yield {self.price: gr.skip()}
            return
        while job.active:
            yield self._underway(entry, job)
            await asyncio.sleep(_FOLLOW_S)
        yield await asyncio.to_thread(self._outcome, entry, job)

    def jump(self, moments: list[float], chosen: gr.SelectData) -> float:
        """A doubtful frame was chosen: when it is shown."""
        return moments[chosen.index] if isinstance(chosen.index, int) and chosen.index < len(moments) else 0.0

    def open_run(self, secret: str, name: str | None) -> dict[Any, Any]:
        """An earlier run is opened again."""
        try:
            return self._run_shown(secret, self.store.session(secret).open(name or ""))
        except StitchError as error:
            return {self.status: views.problem(str(error))}

    def delete_run(self, secret: str, name: str, chosen: str | None) -> dict[Any, Any]:
        """An earlier run is deleted with all its files."""
        try:
            session = self.store.session(secret)
            entry = session.open(chosen or "")
            job = self.worker.of(entry.browser, entry.name)
            if job is not None and job.active:
                raise RunError("this run is being worked on; stop it first")
            session.delete(entry.name)
        except StitchError as error:
            return {self.status: views.problem(str(error))}
        gone = {self.current: "", **self._closed("Deleted.")} if chosen == name else {}
        return {**gone, **self._run_list(session, name)}

    def _run_shown(self, secret: str, entry: Entry) -> dict[Any, Any]:
        """A run with its look and its family."""
        family = entry.about.family
        return {
            self.current: entry.name, self.in_use: family, **self._opened(entry), **self._look_of(entry),
            **self._family_shown(secret, family, family),
        }

    def _choice(
        self, secret: str, name: str, begin_s: float, end_s: float, quality: str, *values: Any
    ) -> tuple[work.Choice | None, Look]:
        """What is set on the page; no choice without a clip."""
        look = self._look(values)
        if not name:
            return None, look
        entry = self.store.session(secret).open(name)
        if quality not in QUALITIES.values():
            raise RunError("choose one of the qualities")
        about = entry.change(**trimmed(probe(entry.clip), begin_s, end_s), quality=quality)
        return (
            work.Choice(about.family, entry.clip, entry.folder, entry.shown, about.face, about.begin_s, about.end_s,
                        about.quality, look.plain(), title=about.title),
            look,
        )


def _give_memory_back() -> None:
    """After a job: what it held is gone, and the device's memory is free for others."""
    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
