"""The page: its cards in order, and what crosses from one to another."""

import shutil
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import gradio as gr

from stitch.core import looks
from stitch.core.errors import EditError, RunError, StitchError
from stitch.page import examples
from stitch.page.clip import ClipCard
from stitch.page.edits import EditsCard
from stitch.page.family import FamilyCard
from stitch.page.parts import address, choices, part, wipe
from stitch.page.preview import PreviewCard
from stitch.page.render import RenderCard
from stitch.page.result import ResultCard
from stitch.page.runs import RunsCard
from stitch.page.sessions import Entry
from stitch.page.shared import Card, Shared, Updates, merged, problem

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

    def _place(self) -> None:
        shared, made = self.shared, examples.known(self.shared.first)
        shared.place()
        self.asked = gr.State("")  # letters of the link that brought somebody here
        with gr.Row(elem_id="masthead"):
            gr.HTML(_HEAD, elem_id="head")
            if made and shared.example:
                sides = (address(shared.example), address(made[0].folder / "edited.mp4"))
                part("wipe", wipe({"Clip": sides}, ("original", made[0].told), offset_s=0.0), elem_id="hero")
        self.notice_said = part("status", {"text": self.notice} if self.notice else None, elem_id="notice")
        items = [{"id": one.name, "label": one.told, "picture": one.poster} for one in made if shared.example]
        self.wall = part("choices", choices(items, "Finished examples", "Finished examples, one click away:"),
                         elem_id="wall")
        with gr.Row(equal_height=False, elem_id="columns"):
            with gr.Column(scale=5, min_width=320, elem_id="left"):
                self.clip, self.edits = ClipCard(shared), EditsCard(shared)
            with gr.Column(scale=6, min_width=320, elem_id="right"):
                self.preview, self.render = PreviewCard(shared, self.edits), RenderCard(shared, self.edits)
                self.result = ResultCard(shared)
        with gr.Row(equal_height=False, elem_id="below"):
            self.runs, self.which = RunsCard(shared), FamilyCard(shared)
        self.cards: list[Card] = [self.clip, self.edits, self.preview, self.render, self.result, self.which]

    def _wire(self, blocks: gr.Blocks) -> None:
        shared, values, clip = self.shared, self.edits.values, self.clip
        shared.everything += [*shared.widgets, *self.runs.widgets]
        shared.everything += [widget for card in self.cards for widget in card.widgets]
        shared.on(blocks.load, self.arrive, [self.edits.saved], self.notice_said)
        shared.on(shared.timer.tick, self.tick, [shared.seen, self.which.choice, shared.family], self.render.status,
                  concurrency_limit=None)
        for source in (clip.clip.upload, clip.clip.stop_recording):
            shared.on(source, self.take, [clip.clip, shared.family, *values], clip.facts)
        shared.on(clip.example.click, self.take_example, [shared.family, *values], clip.facts)
        shared.on(clip.clip.clear, lambda secret, name: self.closed() | self.runs.listed(secret, ""), [], clip.facts)
        shared.on(self.wall.select, self.open_example, [], clip.facts)
        clip.wire()
        self.edits.wire()
        self.preview.wire(clip.position)
        self.render.wire(clip.trim, self.runs)
        self.result.wire()
        self.runs.wire(self.opened, self.closed)
        self.which.wire(self.use, values)

    # What crosses from one card to another.

    def arrive(self, secret: str, name: str, saved: Any, request: gr.Request) -> Updates:
        """A page is opened or reloaded: find this browser's run again."""
        self.shared.store.expire(self.shared.worker.busy())
        secret = secret if self.shared.known(secret) == secret else ""
        try:
            updates = self.opened(secret, self.shared.entry(secret, name))
        except StitchError:
            updates = self.runs.listed(secret, "") | ({self.shared.name: ""} if name else {})
        letters = request.query_params.get("look") if request else None
        if letters:
            try:
                family = updates.get(self.shared.family, self.shared.first)
                updates |= self.edits.set(looks.from_link(letters), family) | self.shared.again()
            except EditError as error:
                updates[self.edits.summary] = problem(str(error))
        kept = gr.update(choices=sorted(saved if isinstance(saved, dict) else {}))
        return {self.edits.kept: kept, **updates}

    def take(self, secret: str, name: str, upload: str | None, family: str, *values: Any) -> Updates:
        """A clip was uploaded or recorded; what was set before there was one is its look."""
        secret = self.shared.known(secret)
        try:
            entry = self.clip.add(secret, upload, family)
        except StitchError as error:
            return {self.shared.secret: secret, self.clip.facts: problem(str(error)), self.clip.clip: None}
        if not name:
            entry.change(look=self.edits.look(values).plain())
        return self.opened(secret, entry)

    def take_example(self, secret: str, name: str, family: str, *values: Any) -> Updates:
        """The example clip was chosen."""
        return self.take(secret, name, str(self.shared.example or ""), family, *values)

    def open_example(self, secret: str, name: str, chosen: gr.EventData) -> Updates:
        """A finished example was chosen: a run of one's own that begins where it ended."""
        secret = self.shared.known(secret)
        made = next((one for one in examples.known(self.shared.first) if one.name == chosen.id), None)
        if made is None:
            raise RunError("choose one of the examples")
        entry = self.clip.add(secret, str(self.shared.example), made.record["family"], "example")
        shutil.copytree(made.folder, entry.shown / made.name)
        entry.change(look=made.record["look"], state="done", result=made.name)
        return self.opened(secret, entry)

    def use(self, secret: str, name: str, family: str, values: list[Any]) -> Updates:
        """Another family edits from now on: the open clip, its look and its versions stay."""
        look = self.edits.look(values)
        if not name:
            return self.edits.set(look, family) | self.shared.again()
        entry = self.shared.entry(secret, name)
        if entry.about.family != family:
            entry.change(family=family, people=-1, lost=0, cuts=0, face=1, look=look.plain())
        updates = self.opened(secret, entry)
        return {widget: said for widget, said in updates.items() if widget is not self.clip.clip}

    def opened(self, secret: str, entry: Entry) -> Updates:
        """Everything about a run, as it is now."""
        shared = self.shared
        updates = merged(*(card.opened(entry) for card in self.cards), self.runs.listed(secret, entry.name))
        seen = {kind: job.number for kind, job in shared.jobs(entry).items() if not job.active}
        return {**updates, shared.secret: secret, shared.name: entry.name, shared.seen: seen,
                shared.timer: gr.Timer(active=shared.busy(entry)), **shared.again()}

    def closed(self) -> Updates:
        """No run is open."""
        return merged(*(card.closed() for card in self.cards)) | {self.shared.name: "", self.shared.seen: {}}

    def tick(self, secret: str, name: str, seen: dict[str, int], chosen: str, in_use: str) -> Updates:
        """Show how far the work is that this browser asked for, and what came of it."""
        updates, active, seen = {}, False, dict(seen or {})
        fetch = self.which.fetching(secret, chosen)
        if fetch is not None and fetch.active:
            updates, active = self.which.shown(secret, chosen, in_use), True
        elif fetch is not None and seen.get("fetch") != fetch.number:
            updates, seen["fetch"] = self.which.ended(secret, fetch, chosen, in_use), fetch.number
        with suppress(RunError):
            entry = self.shared.entry(secret, name)
            self.shared.find_faces(entry)
            active = active or self.shared.busy(entry)
            for kind, job in self.shared.jobs(entry).items():
                card = self.clip if kind == "survey" else self.render
                if job.active:
                    updates |= card.underway(entry, job)
                elif seen.get(kind) != job.number:
                    updates |= card.ended(entry, job)
                    seen[kind] = job.number
                    if kind == "render":
                        updates |= self.result.ended(entry, job) | self.runs.listed(secret, name)
        return updates | {self.shared.seen: seen, self.shared.timer: gr.Timer(active=active)}
