"""The card of the preview: the frame at the player's position, original and edited, whoever changed what."""

from typing import Any

import gradio as gr

from stitch.page import tasks
from stitch.page.edits import EditsCard
from stitch.page.parts import part, wipe
from stitch.page.sessions import Entry
from stitch.page.shared import Shared, Updates

DEVICE: dict[str, Any] = {"concurrency_id": "device", "concurrency_limit": 1}
"""Everything that computes outside the worker takes its turn."""
_FAR_DB = 5.0  # a face that is redrawn so much less exactly than the family's own is not of its world


class PreviewCard:
    """One frame, or a grid of strengths."""

    def __init__(self, shared: Shared, edits: EditsCard) -> None:
        self.shared, self.edits = shared, edits
        with gr.Column(elem_classes="card", elem_id="step-preview"):
            gr.HTML("<h2 class='step'>Preview<span>the frame at the player's position</span></h2>")
            self.frame = part("wipe", None, elem_id="preview")
            self.note = part("status", _NO_CLIP, elem_id="preview-note")
            with gr.Row(elem_id="preview-buttons"):
                self.now = gr.Button("Preview this frame", size="sm", elem_id="look-now", min_width=120)
                self.compare = gr.Button("Compare strengths", size="sm", elem_id="compare", min_width=120)
            self.grid = part("status", None, elem_id="grid")
            self.fit = part("status", None, elem_id="fit")

    @property
    def widgets(self) -> list[Any]:
        """Those that ever change."""
        return [self.frame, self.note, self.grid, self.fit]

    def wire(self, position: Any) -> None:
        """Hear what is touched, once all cards are placed: at most one preview is made and one waits."""
        shared = self.shared
        triggers = [*self.edits.changes, shared.wanted.change, position.input, self.now.click]
        shared.on(triggers, self.look, [position, *self.edits.values], self.note,
                  trigger_mode="always_last", **DEVICE)
        shared.on(self.compare.click, self.strengths, [position, *self.edits.values], self.note, **DEVICE)

    def look(self, secret: str, name: str, at_s: Any, *values: Any) -> Updates:
        """Something has changed: what is set is shown on the clip's frame."""
        if not name:
            return {self.note: _NO_CLIP}
        entry = self.shared.entry(secret, name)
        about = entry.change(look=self.edits.look(values).plain())
        if about.people < 0:
            said = self.shared.find_faces(entry) or "The clip is being searched for faces; the preview follows."
            return {self.note: {"text": said}, self.shared.timer: gr.Timer(active=True)}
        with self.shared.turns.take(at_once=True):
            made = tasks.pictures(self.shared.run, tasks.Preview(self.shared.choice(entry), float(at_s or 0.0)))
        return {
            self.frame: wipe(made.views, ("original", "edited")), self.note: {"text": made.note},
            self.fit: self._fit(about.family, made),
        }

    def strengths(self, secret: str, name: str, at_s: Any, *values: Any) -> Updates:
        """A grid of strengths was asked for."""
        entry = self.shared.entry(secret, name)
        entry.change(look=self.edits.look(values).plain())
        task = tasks.Preview(self.shared.choice(entry), float(at_s or 0.0), grid=True)
        with self.shared.turns.take(at_once=True):
            made = tasks.pictures(self.shared.run, task)
        ((sheet, _),) = made.views.values()
        return {self.grid: {"pictures": [{"picture": sheet, "label": made.note}], "heading": "Strengths compared"}
                if made.face else None, self.note: {"text": made.note}}

    def opened(self, entry: Entry) -> Updates:
        """Another run: its preview is on its way."""
        return {self.grid: None, self.fit: None, self.note: {"text": "Move a slider: this is where it shows."}}

    def closed(self) -> Updates:
        """No run is open."""
        return {self.frame: None, self.grid: None, self.fit: None, self.note: _NO_CLIP}

    def _fit(self, family: str, made: tasks.Pictures) -> dict[str, Any] | None:
        """Whether the family can edit this face at all, before anybody renders."""
        if made.likeness_db is None or not made.own_db or made.likeness_db > made.own_db - _FAR_DB:
            return None
        families = self.shared.families
        others = "” or “".join(families.label(name) for name in families.names if name != family)
        return {"title": "This face is hardly known here: the result will not look like the person", "problem": True,
                "notes": [
                    f"“{families.label(family)}” was made for other faces. "
                    + f"Choose “{others}” below, under “Which faces”." * bool(others),
                    f"(Likeness before learning: {made.likeness_db:.0f} dB; with its own faces {made.own_db:.0f} dB.)",
                ]}


_NO_CLIP = {"text": "Choose a clip, then move a slider."}
