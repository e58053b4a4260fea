"""The page: its cards in order, and what crosses from one to another."""

import shutil
from collections.abc import Callable
from contextlib import suppress

import gradio as gr

from stitch.core import looks
from stitch.core.errors import EditError, RunError, StitchError
from stitch.page import examples
from stitch.page.check import CheckCard
from stitch.page.clip import ClipCard
from stitch.page.edits import EditsCard
from stitch.page.family import FamilyCard
from stitch.page.parts import address, choices, part, wipe
from stitch.page.preview import PreviewCard
from stitch.page.render import RenderCard
from stitch.page.result import ResultCard
from stitch.page.runs import RunsCard
from stitch.page.shared import Card, Shared, Updates, Visit, merged
from stitch.page.wording import problem, told
from stitch.service.sessions import Entry

_HEAD = """<div><h1>Stitch</h1><p>Change a face in a video so that the result looks filmed. The head still moves, speaks
and blinks as it did; the background and the sound stay.</p></div>
<ol class='way'><li><b>Choose a clip</b><span>a few seconds with one face</span></li>
<li><b>Move a slider</b><span>the preview follows</span></li>
<li><b>Render</b><span>watch it happen, take it with you</span></li></ol>"""


class Page:
    """The page of one server.

    Args:
        shared: what its cards share.
        notice: a sentence that every visitor should read, may be empty.
    """

    def __init__(self, shared: Shared, notice: str = "") -> None:
        self.shared, self.notice = shared, notice

    def build(self, endpoints: Callable[[Shared], None]) -> gr.Blocks:
        """All widgets, wired.

        Args:
            endpoints: adds those that programs may call (`api.endpoints`).
        """
        with gr.Blocks(title="Stitch", analytics_enabled=False, delete_cache=(3600, 86400)) as blocks:
            self._place()
            self._wire(blocks)
            widgets = [*blocks.blocks.values()]
            endpoints(self.shared)  # first, so that no event of the page takes their names
            self.shared.listen([widget for widget in widgets if widget is not blocks])
        return blocks

    def _place(self) -> None:
        shared, made = self.shared, examples.known(self.shared.first)
        shared.place()
        items = [{"id": name, "label": told(one["look"]), "picture": one["poster"]} for name, one in made.items()]
        with gr.Row(elem_id="masthead"):
            gr.HTML(_HEAD, elem_id="head")
            if made and shared.example:
                name, one = next(iter(made.items()))
                sides = (address(shared.example), address(examples.FOLDER / shared.first / name / "edited.mp4"))
                part("wipe", wipe({"Clip": sides}, ("original", told(one["look"])), offset_s=0.0), elem_id="hero")
            self.wall = part("choices", choices(items if shared.example else [], "Finished examples",
                                                "Finished examples, one click away:"), elem_id="wall")
        part("status", {"text": self.notice} if self.notice else None, elem_id="notice")
        with gr.Row(equal_height=False, elem_id="columns"):
            with gr.Column(scale=5, min_width=320, elem_id="left"):
                self.clip = ClipCard(shared, lambda entry: self.render.consented(entry))
                self.edits = EditsCard(shared)
            with gr.Column(scale=6, min_width=320, elem_id="right"):
                self.preview = PreviewCard(shared, self.clip, self.edits)
                self.render = RenderCard(shared, self.clip, self.edits, lambda visit: self.runs.listed(visit))
                self.result = ResultCard(shared)
        with gr.Row(equal_height=False, elem_id="below"):
            self.runs = RunsCard(shared, self.opened, self.closed)
            self.which = FamilyCard(shared, self.use, self.edits.values)
            self.check = CheckCard(shared)
        self.cards: list[Card] = [
            self.clip, self.edits, self.preview, self.render, self.result, self.runs, self.which,
            self.check]

    def _wire(self, blocks: gr.Blocks) -> None:
        shared, clip, facts = self.shared, self.clip, self.clip.facts
        shared.on(blocks.load, self.arrive, self.edits.summary, self.edits.saved)
        shared.on(shared.timer.tick, self.tick, self.render.status, shared.seen, self.which.choice,
                  concurrency_limit=None)
        shared.on([clip.clip.upload, clip.clip.stop_recording], lambda visit: self.take(visit, visit[clip.clip]), facts,
                  clip.clip, *self.edits.values)
        shared.on(clip.example.click, lambda visit: self.take(visit, str(shared.example or "")), facts,
                  *self.edits.values)
        shared.on(clip.clip.clear, self.closed, facts)
        shared.on(self.wall.select, self.open_example, facts)

    # What crosses from one card to another.

    def arrive(self, visit: Visit, request: gr.Request) -> Updates:
        """A page is opened or reloaded: find this browser's run again."""
        self.shared.desk.expire()
        try:
            updates = self.opened(visit, visit.entry)
        except StitchError:
            updates = self.runs.listed(visit, "") | ({self.shared.name: ""} if visit.name else {})
        if letters := request.query_params.get("look"):
            try:
                family = updates.get(self.shared.family, self.shared.first)
                updates |= self.edits.set(looks.from_link(letters), family) | self.shared.again()
            except EditError as error:
                updates[self.edits.summary] = problem(str(error))
        return self.edits.arrived(visit) | updates

    def take(self, visit: Visit, upload: str | None) -> Updates:
        """A clip was uploaded or recorded; what was set before there was one is its look."""
        try:
            entry = self.clip.add(visit, upload, visit.family)
        except StitchError as error:
            return {self.shared.secret: visit.secret, self.clip.facts: problem(str(error)), self.clip.clip: None}
        if not visit.name:
            entry.change(look=self.edits.look(visit).plain())
        return self.opened(visit, entry)

    def open_example(self, visit: Visit, chosen: gr.EventData) -> Updates:
        """A finished example was chosen: a run of one's own that begins where it ended."""
        family = self.shared.first
        made = examples.known(family).get(chosen.id)
        if made is None:
            raise RunError("choose one of the examples")
        entry = self.clip.add(visit, str(self.shared.example), family, "example")
        shutil.copytree(examples.FOLDER / family / chosen.id, entry.shown / chosen.id)
        entry.change(look=made["look"], state="done", result=chosen.id)
        return self.opened(visit, entry)

    def use(self, visit: Visit, family: str) -> Updates:
        """Another family edits from now on: the open clip, its look and its versions stay."""
        look = self.edits.look(visit)
        if not visit.name:
            return self.edits.set(look, family) | self.shared.again()
        entry = visit.entry
        if entry.about.family != family:
            entry.change(family=family, people=-1, lost=0, cuts=0, face=1, look=look.plain())
        updates = self.opened(visit, entry)
        return {widget: said for widget, said in updates.items() if widget is not self.clip.clip}

    def opened(self, visit: Visit, entry: Entry) -> Updates:
        """Everything about a run of this visit's browser, as it is now."""
        shared = self.shared
        updates = merged(*(card.opened(entry) for card in self.cards), self.runs.listed(visit, entry.name))
        seen = {kind: job.number for kind, job in shared.desk.jobs(entry).items() if not job.active}
        return {**updates, shared.secret: visit.secret, shared.name: entry.name, shared.seen: seen,
                shared.timer: gr.Timer(active=shared.desk.busy(entry)), **shared.again()}

    def closed(self, visit: Visit) -> Updates:
        """No run is open."""
        updates = merged(*(card.closed() for card in self.cards), self.runs.listed(visit, ""))
        return updates | {self.shared.name: "", self.shared.seen: {}}

    def tick(self, visit: Visit) -> Updates:
        """Show how far the work is that this browser asked for, and what came of it."""
        updates: Updates = {}
        seen, working = dict(visit[self.shared.seen] or {}), False
        fetch = self.which.fetching(visit)
        jobs = [fetch] if fetch else []
        with suppress(RunError):
            entry = visit.entry
            self.shared.desk.find_faces(entry)
            working = self.shared.desk.busy(entry)
            jobs += self.shared.desk.jobs(entry).values()
        with suppress(RunError):  # the run may be deleted meanwhile
            for job in jobs:
                active = job.active
                if active or seen.get(job.kind) != job.number:
                    updates |= merged(*(card.follow(visit, job) for card in self.cards))
                working = working or active
                seen |= {} if active else {job.kind: job.number}
        return updates | {self.shared.seen: seen, self.shared.timer: gr.Timer(active=working)}
