"""What happens when the page's widgets are touched. `views`, `looks` and `work` say what is shown then."""

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pandas as pd
import torch
from PIL import Image

from stitch import estimate, runs
from stitch.errors import EditError, RunError, StitchError, VideoError
from stitch.family import Family
from stitch.page import api, looks, views, work
from stitch.page.families import Families
from stitch.page.jobs import Job, Work, Worker
from stitch.page.looks import Look
from stitch.page.sessions import Entry, Session, Store
from stitch.page.widgets import QUALITIES, Widgets
from stitch.pipeline import describe
from stitch.records import ClipInfo
from stitch.settings import Settings
from stitch.video import probe

STATES = {"new": "not rendered", "stopped": "stopped", "failed": "failed", "done": "done"}
_FOLLOW_S = 0.6
DEVICE = "device"  # everything that computes outside the worker takes its turn under this name

# The player's position enters as the first input.
PLAYER = """(...given) => {
  const player = document.querySelector('#clip video'); given[0] = player ? player.currentTime : 0; return given; }"""
JUMP = """(at) => {
  const player = document.querySelector('#result video');
  if (player) { player.currentTime = at; player.scrollIntoView({block: 'center'}); } }"""
LINK = "(letters) => letters ? location.origin + location.pathname + '?look=' + letters : ''"


class Page(Widgets):
    """The page of one server.

    Args:
        family: whose sliders are shown.
        families: loads families by name.
        store: of the browsers' runs.
        run: starts a task (`work.owner`).
        example: a clip to try, if there is one.
        notice: a sentence that every visitor should read, may be empty.
    """

    def __init__(
        self,
        family: Family,
        families: Families,
        store: Store,
        run: Callable[[work.Task], Work],
        example: Path | None = None,
        notice: str = "",
    ) -> None:
        super().__init__(family, families, example, notice)
        self.store, self.run = store, run
        self.worker = Worker(run, self._ended, _give_memory_back)
        self.costs: dict[tuple[str, int, int], dict[str, estimate.Costs]] = {}

    def build(self) -> gr.Blocks:
        """All widgets, wired."""
        with gr.Blocks(title="Stitch", analytics_enabled=False, delete_cache=(3600, 86400)) as blocks:
            self._place()
            api.endpoints(self)  # first, so that no event of the page takes their names
            self._wire(blocks)
        return blocks

    def _wire(self, blocks: gr.Blocks) -> None:
        private: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
        who = [self.secret, self.current]
        opened = [
            self.clip, self.facts, self.faces, self.trim, self.begin, self.end, self.quality, self.price, self.status,
            self.finished, self.edited, self.beside, self.stages, self.files, self.worst, self.moments, *self.plots,
            self.start, self.runs, self.compare, self.preview_note, self.sheet_of_strengths,
        ]
        whole = [*opened, *self.look_widgets, self.summary]
        follow: dict[str, Any] = {
            "fn": self.follow, "inputs": who, "outputs": [self.current, *opened], "concurrency_limit": None, **private
        }
        blocks.load(
            self.arrive, [*who, self.saved],
            [self.secret, self.current, self.look_choice, self.try_example, *whole], **private
        ).then(**follow)

        taking = [self.current, *whole]
        for source, value in ((self.clip.upload, self.clip), (self.clip.stop_recording, self.clip)):
            source(self.take, [self.secret, value], taking, **private).then(**follow)
        self.try_example.click(self.take_example, [self.secret], taking, **private).then(**follow)
        self.faces.select(self.choose_face, who, [self.faces, self.price], **private)
        for widget in (self.begin.release, self.end.release, self.quality.change):
            widget(self.priced, [*who, self.begin, self.end, self.quality], [self.price], **private)

        set_now = [*who, self.begin, self.end, self.quality, *self.look_widgets]
        shown = [self.compare, self.preview_note, self.summary]
        looking: dict[str, Any] = {
            "fn": self.preview, "inputs": [self.at, *set_now], "outputs": shown, "js": PLAYER,
            "concurrency_id": DEVICE, "concurrency_limit": 1, "trigger_mode": "always_last", "show_progress": "minimal",
            "api_visibility": "private", "show_progress_on": [self.compare],
        }
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
        self.load.click(self.load_look, [self.saved, self.look_choice], [*self.look_widgets, self.summary],
                        **private).then(**looking)
        self.share.click(self.share_look, self.look_widgets, [self.link, self.summary], **private).then(
            None, self.link, self.link, js=LINK, api_visibility="private"
        )

        self.start.click(self.begin_render, [*set_now, self.badge], [self.status, self.finished, self.runs],
                         **private).then(**follow)
        self.stop.click(self.stop_render, who, [self.status], queue=False, **private)
        self.worst.select(self.jump, [self.moments], [self.jump_to], **private).then(
            None, self.jump_to, None, js=JUMP, api_visibility="private"
        )
        self.reopen.click(self.open_run, [self.secret, self.runs], taking, **private).then(**follow)
        self.delete.click(self.delete_run, [*who, self.runs], taking, **private)
        self.family_choice.change(self.choose_family, [self.family_choice], [self.family_choice, self.family_card],
                                  **private)

    # What the widgets do. Each returns updates of the widgets that change.

    def arrive(
        self, secret: str, name: str, saved: dict[str, Any], request: gr.Request
    ) -> dict[Any, Any]:
        """A page is opened or reloaded: find this browser's run again."""
        try:
            session = self.store.session(secret)
        except RunError:
            secret = self.store.new_secret()
            session = self.store.session(secret)
        self.store.expire(self.worker.busy())
        updates: dict[Any, Any] = {
            self.secret: secret, self.look_choice: gr.update(choices=sorted(saved if isinstance(saved, dict) else {})),
            self.runs: self._run_list(session, name), self.try_example: gr.update(interactive=True),
            self.clip: gr.update(interactive=True),
        }
        try:
            entry = session.open(name)
            updates |= self._opened(entry) | self._look_of(entry)
            updates[self.clip] = gr.update(value=str(entry.clip), interactive=True)
        except StitchError:
            updates[self.current] = ""
        letters = request.query_params.get("look") if request else None
        if letters:
            try:
                updates |= self._set(looks.from_link(letters))
            except EditError as error:
                updates[self.summary] = views.problem(str(error))
        return updates

    def take(self, secret: str, upload: str | None) -> dict[Any, Any]:
        """A clip was uploaded or recorded."""
        return self._take(secret, upload)

    def take_example(self, secret: str) -> dict[Any, Any]:
        """The example was chosen."""
        return self._take(secret, None if self.example is None else str(self.example))

    def _take(self, secret: str, upload: str | None) -> dict[Any, Any]:
        try:
            if not upload:
                raise VideoError("choose a clip first")
            session = self.store.session(secret)
            self.store.expire(self.worker.busy())
            entry, info = session.add(Path(upload), self.family.name)
            measured = (self.family.name, info.width, info.height) in self.costs
            self.worker.submit(
                Job(entry.browser, entry.name, "look",
                    work.Look(self.family.name, entry.clip, entry.folder, measure=not measured))
            )
        except StitchError as error:
            return {self.facts: views.problem(str(error)), self.current: gr.skip()}
        return {
            self.current: entry.name, self.runs: self._run_list(session, entry.name), **self._opened(entry),
            self.finished: gr.update(visible=False),
        }

    def choose_face(self, secret: str, name: str, chosen: gr.SelectData) -> dict[Any, Any]:
        """A face was chosen in the gallery."""
        entry = self.store.session(secret).open(name)
        about = entry.change(face=int(chosen.index) + 1)  # type: ignore[call-overload]
        return {self.faces: gr.update(label=f"Face {about.face} is edited."), self.price: self._price(entry)}

    def priced(self, secret: str, name: str, begin_s: float, end_s: float, quality: str) -> str:
        """The trim or the quality has changed."""
        try:
            entry = self.store.session(secret).open(name)
            info = probe(entry.clip)
            entry.change(**self._trimmed(info, begin_s, end_s), quality=quality)
            return self._price(entry)
        except StitchError as error:
            return views.problem(str(error)) if name else ""

    def preview(self, at_s: float, *given: Any) -> dict[Any, Any]:
        """A slider was let go: the frame at the player's position, original | edited."""
        try:
            choice, look = self._choice(*given)
            if choice is None:
                raise VideoError("choose a clip first: upload one, record one, or take the example")
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
                raise VideoError("choose a clip first: upload one, record one, or take the example")
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
                raise VideoError("choose a clip first: upload one, record one, or take the example")
            choice = replace(choice, badge=bool(badge))
            choice.edits(self.family)
            session = self.store.session(chosen[0])
            entry = session.open(chosen[1])
            info = probe(entry.clip)
            length_s = (choice.end_s or info.end_s) - choice.begin_s
            if length_s > self.store.limits.longest_s + 0.05:
                most = f"this page renders {self.store.limits.longest_s:.0f} s at a time"
                raise VideoError(f"{length_s:.0f} s are chosen and {most}; trim the clip in step 1")
            stages = self._stages(entry, info)
            total_s = sum(stages.values()) or work.LONGEST_SLICE_S
            task = work.Render(choice, slice_s=min(work.LONGEST_SLICE_S, 1.3 * total_s + 15))
            entry.change(look=look.plain(), state="stopped")  # what is true should this process end now
            self.worker.submit(Job(entry.browser, entry.name, "render", task, stages))
        except StitchError as error:
            return {self.status: views.problem(str(error))}
        return {
            self.status: views.ready("Starting"), self.finished: gr.update(visible=False),
            self.runs: self._run_list(session, entry.name),
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
        """Show how far this browser's job is, until it ends; then show what it made."""
        try:
            entry = self.store.session(secret).open(name)
        except StitchError:
            yield {self.current: gr.skip()}
            return
        job = self.worker.of(entry.browser, entry.name)
        if job is None:
            yield {self.current: gr.skip()}
            return
        while job.active:
            place, total = self.worker.place(job)
            if job.kind == "look":
                yield {self.facts: views.looking(job, place)}
            else:
                yield {self.status: views.rendering(job, place, total)}
            await asyncio.sleep(_FOLLOW_S)
        updates = await asyncio.to_thread(self._outcome, entry, job)
        yield updates

    def jump(self, moments: list[float], chosen: gr.SelectData) -> float:
        """A doubtful frame was chosen: when it is shown."""
        return moments[chosen.index] if isinstance(chosen.index, int) and chosen.index < len(moments) else 0.0

    def open_run(self, secret: str, name: str | None) -> dict[Any, Any]:
        """An earlier run is opened again."""
        try:
            session = self.store.session(secret)
            entry = session.open(name or "")
        except StitchError as error:
            return {self.status: views.problem(str(error))}
        return {self.current: entry.name, **self._opened(entry), **self._look_of(entry)}

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
        updates: dict[Any, Any] = {self.runs: self._run_list(session, name)}
        if chosen == name:
            updates |= {
                self.current: "", self.clip: None, self.facts: views.CONSENT, self.status: views.ready("Deleted."),
                self.faces: gr.update(visible=False), self.trim: gr.update(visible=False), self.price: "",
                self.finished: gr.update(visible=False), self.edited: None, self.beside: None, self.compare: None,
            }
        return updates

    def starter(self, title: str) -> list[Any]:
        """A starting point was chosen."""
        return self._values(looks.from_plain({"sliders": looks.starters(self.names)[title]}))

    def save_look(self, saved: dict[str, Any], title: str, *values: Any) -> dict[Any, Any]:
        """Keep the look in this browser."""
        try:
            if not title.strip():
                raise EditError("give the look a name first")
            kept = {**(saved if isinstance(saved, dict) else {}), title.strip()[:40]: self._look(values).plain()}
        except EditError as error:
            return {self.summary: views.problem(str(error))}
        return {self.saved: kept, self.look_choice: gr.update(choices=sorted(kept), value=title.strip()[:40]),
                self.summary: views.summary(f"Saved as “{title.strip()[:40]}”.")}

    def load_look(self, saved: dict[str, Any], title: str | None) -> dict[Any, Any]:
        """Take a saved look up again."""
        try:
            if not isinstance(saved, dict) or title not in saved:
                raise EditError("choose a saved look first")
            return self._set(looks.from_plain(saved[title]))
        except EditError as error:
            return {self.summary: views.problem(str(error))}

    def share_look(self, *values: Any) -> dict[Any, Any]:
        """Letters of a link to this look; the browser puts its own address before them."""
        try:
            return {self.link: self._look(values).link()}
        except EditError as error:
            return {self.summary: views.problem(str(error))}

    def choose_family(self, name: str) -> dict[Any, Any]:
        """Another family was asked for: say what it can do, or why it is not here."""
        try:
            card = views.card(self.families.card(name))
        except StitchError as error:
            return {self.family_card: views.problem(str(error)), self.family_choice: self.family.name}
        if name != self.family.name:
            card += views.ready(f"Start the page with --family {name} to edit with it.")
        return {self.family_card: card}

    # What the above share.

    def _look(self, values: Any) -> Look:
        words, neutral, strength, channels, course, begin_s, end_s, points, *sliders = values
        return looks.from_values(
            self.names, sliders, words=words or "", neutral=neutral or "a face", words_strength=float(strength),
            channels=int(channels or 0), course=course, begin_s=float(begin_s or 0), end_s=float(end_s or 0),
            points=points or "",
        )

    def _values(self, look: Look) -> list[Any]:
        sliders = [max(-looks.RANGE, min(looks.RANGE, look.sliders.get(name, 0.0))) for name in self.names]
        return [look.words, look.neutral, look.words_strength, look.channels, look.course, look.begin_s, look.end_s,
                look.points, *sliders]

    def _set(self, look: Look) -> dict[Any, Any]:
        unknown = sorted(set(look.sliders) - set(self.names))
        told = f"This family has no {', '.join(unknown)}." if unknown else describe(look.edits())
        return {**dict(zip(self.look_widgets, self._values(look), strict=True)), self.summary: views.summary(told)}

    def _look_of(self, entry: Entry) -> dict[Any, Any]:
        kept = entry.about.look
        return self._set(looks.from_plain(kept)) if kept else {}

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
        about = entry.change(**self._trimmed(probe(entry.clip), begin_s, end_s), quality=quality)
        return (
            work.Choice(about.family, entry.clip, entry.folder, entry.shown, about.face, about.begin_s, about.end_s,
                        about.quality, look.plain(), title=about.title),
            look,
        )

    def _trimmed(self, info: ClipInfo, begin_s: float, end_s: float) -> dict[str, Any]:
        step_s = 1 / float(info.rate)
        begin_s, end_s = float(begin_s or 0.0), float(end_s or info.end_s)
        if end_s <= begin_s + step_s / 2:
            raise VideoError(f"the part from {begin_s:g} s to {end_s:g} s is empty; move the end behind the beginning")
        return {"begin_s": begin_s, "end_s": None if end_s >= info.end_s - step_s / 2 else end_s}

    def _opened(self, entry: Entry) -> dict[Any, Any]:
        """Everything about a run, as it is now."""
        about, info = entry.about, probe(entry.clip)
        faces = work.people(entry.folder)
        job = self.worker.of(entry.browser, entry.name)
        result = entry.result
        updates: dict[Any, Any] = {
            self.clip: str(entry.clip),
            self.facts: views.facts(info, about.people, about.lost, about.cuts),
            self.faces: gr.update(
                value=[(np.asarray(Image.open(path)), f"{number}") for number, path in enumerate(faces, 1)],
                visible=len(faces) > 1, label=f"Whose face? Face {about.face} is edited.",
            ),
            self.trim: gr.update(visible=True),
            self.begin: gr.update(maximum=info.end_s, value=about.begin_s),
            self.end: gr.update(maximum=info.end_s, value=about.end_s or info.end_s),
            self.quality: about.quality, self.price: self._price(entry),
            self.compare: None, self.sheet_of_strengths: gr.update(visible=False),
            self.preview_note: views.note("Move a slider: this is where it shows."),
            self.start: "Resume" if about.state in ("stopped", "failed") else "Render the clip",
        }
        if job is None or job.kind == "look" or not job.active:
            why = views.problem(job.error) if job is not None and job.error else views.stopped()
            updates[self.status] = {"stopped": views.stopped(), "failed": why}.get(about.state, views.ready())
        updates |= self._result(result) if result is not None else {self.finished: gr.update(visible=False)}
        return updates

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

    def _outcome(self, entry: Entry, job: Job) -> dict[Any, Any]:
        """What the page shows when a job has ended."""
        session = self.store.session_of(entry.browser)
        updates: dict[Any, Any] = {self.runs: self._run_list(session, entry.name)}
        try:
            if job.kind == "look":
                about, info = entry.about, probe(entry.clip)
                said = views.facts(info, about.people, about.lost, about.cuts)
                if job.state == "failed":
                    said += views.problem(job.error)
                if about.people == 0:
                    said += views.problem("no face was found in this clip: use one that shows a face from the front")
                return updates | {self.facts: said, self.faces: self._opened(entry)[self.faces],
                                  self.price: self._price(entry)}
            if job.state == "done" and entry.result is not None:
                return updates | self._result(entry.result) | {
                    self.start: "Render the clip", self.price: self._price(entry)}
        except StitchError as error:
            return updates | {self.status: views.problem(str(error))}
        shown = views.stopped() if job.state == "stopped" else views.problem(job.error)
        return updates | {self.status: shown, self.start: "Resume"}

    def _ended(self, job: Job, state: str) -> None:
        """Keep what a job found; called by the worker."""
        entry = self.store.session_of(job.browser).entry(job.run)
        try:
            if job.kind == "look":
                if state == "done":
                    found: work.Looked = job.record
                    info = probe(entry.clip)
                    if found.costs:
                        self.costs[job.task.family, info.width, info.height] = found.costs
                    entry.change(people=found.people, lost=found.lost, cuts=found.cuts)
            elif state == "done":
                entry.change(state="done", result=job.record)
            else:
                entry.change(state=state)
        except StitchError:
            return  # the run was deleted meanwhile

    def _estimate(self, entry: Entry, info: ClipInfo) -> tuple[estimate.Estimate | None, int]:
        about = entry.about
        costs = self.costs.get((about.family, info.width, info.height), {}).get(about.quality)
        length_s = (about.end_s or info.end_s) - about.begin_s
        frames = max(1, round(length_s * float(info.rate)))
        settings = Settings.preset(about.quality)  # type: ignore[arg-type]
        known = None if costs is None else estimate.price(costs, frames, settings, self.family.generator.resolution)
        return known, frames

    def _prepared(self, entry: Entry) -> bool:
        about = entry.about
        choice = work.Choice(about.family, entry.clip, entry.folder, entry.shown, about.face, about.begin_s,
                             about.end_s, about.quality, {})
        return runs.is_prepared(choice.work)

    def _price(self, entry: Entry) -> str:
        known, frames = self._estimate(entry, probe(entry.clip))
        return "" if known is None else views.price(known, self._prepared(entry), frames)

    def _stages(self, entry: Entry, info: ClipInfo) -> dict[str, float]:
        known, _ = self._estimate(entry, info)
        return {} if known is None else known.stages

    def _run_list(self, session: Session, name: str) -> Any:
        choices = []
        for entry in session.runs():
            about = entry.about
            told = []
            if about.look:
                told = [describe(looks.from_plain(about.look).edits())]
            made = time.strftime("%d %b %H:%M", time.localtime(about.made))
            job = self.worker.of(entry.browser, entry.name)
            state = "being worked on" if job is not None and job.active else STATES.get(about.state, about.state)
            choices.append((views.label(about.title, told, state, made), entry.name))
        known = [value for _, value in choices]
        return gr.update(choices=choices, value=name if name in known else None)


def _give_memory_back() -> None:
    """After a job: what it held is gone, and the device's memory is free for others."""
    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
