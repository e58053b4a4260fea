"""The card of the preview: the frame at the player's position, original and edited, whoever changed what."""

from typing import Any

import gradio as gr

from stitch.page.clip import ClipCard
from stitch.page.edits import EditsCard
from stitch.page.parts import part, wipe
from stitch.page.shared import DEVICE, Card, Shared, Updates, Visit
from stitch.service import tasks
from stitch.service.sessions import Entry

_NO_CLIP = {"text": "Choose a clip, then move a slider."}


class PreviewCard(Card):
    """One frame, or a grid of strengths."""

    def __init__(self, shared: Shared, clip: ClipCard, edits: EditsCard) -> None:
        self.shared, self.clip, self.edits = shared, clip, edits
        with gr.Column(elem_classes="card", elem_id="step-preview"):
            gr.HTML("<h2 class='step'>Preview<span>the frame at the player's position</span></h2>")
            self.frame = part("wipe", None, elem_id="preview")
            self.note = part("status", _NO_CLIP, elem_id="preview-note")
            with gr.Row(elem_id="preview-buttons"):
                self.now = gr.Button("Preview this frame", size="sm", elem_id="look-now", min_width=120)
                self.compare = gr.Button("Compare strengths", size="sm", elem_id="compare", min_width=120)
            self.grid = part("status", None, elem_id="grid")
            self.fit = part("status", None, elem_id="fit")
        asked = [clip.position, *edits.values]
        # At most one preview is made and one waits.
        shared.on([*edits.changes, shared.wanted.change, clip.position.input, self.now.click], self.look, self.note,
                  *asked, trigger_mode="always_last", **DEVICE)
        shared.on(self.compare.click, self.strengths, self.note, *asked, **DEVICE)

    def look(self, visit: Visit) -> Updates:
        """Something has changed: what is set is shown on the clip's frame."""
        if not visit.name:
            return {self.note: _NO_CLIP}
        entry = self.edits.kept_in(visit)
        if entry.about.people < 0:
            said = self.shared.desk.find_faces(entry) or "The clip is being searched for faces; the preview follows."
            return {self.note: {"text": said}, self.shared.timer: gr.Timer(active=True)}
        made = self.shared.desk.preview(tasks.preview_frame, entry, visit[self.clip.position])
        fit = self._fit(entry.about.family, made)
        return {self.frame: wipe(made.views, ("original", "edited")), self.note: {"text": made.note}, self.fit: fit}

    def strengths(self, visit: Visit) -> Updates:
        """A grid of strengths was asked for."""
        made = self.shared.desk.preview(tasks.preview_strengths, self.edits.kept_in(visit), visit[self.clip.position])
        pictures = [{"picture": sheet, "label": made.note} for sheet, _ in made.views.values()]
        grid = {"pictures": pictures, "heading": "Strengths compared"} if pictures else None
        return {self.grid: grid, self.note: {"text": made.note}}

    def opened(self, entry: Entry) -> Updates:
        """Another run: its preview is on its way."""
        return {self.grid: None, self.fit: None, self.note: {"text": "Move a slider: this is where it shows."}}

    def closed(self) -> Updates:
        """No run is open."""
        return {self.frame: None, self.grid: None, self.fit: None, self.note: _NO_CLIP}

    def _fit(self, family: str, made: tasks.Pictures) -> dict[str, Any] | None:
        """Whether the family can edit this face at all, before anybody renders."""
        if made.likeness is None or made.likeness >= made.least_likeness:
            return None
        families = self.shared.families
        others = "” or “".join(families.label(name) for name in families.names if name != family)
        return {"title": "This face is hardly known here: the result will not look like the person", "problem": True,
                "notes": [
                    f"“{families.label(family)}” was made for other faces. "
                    + f"Choose “{others}” below, under “Which faces”." * bool(others),
                    f"(Likeness before learning: {max(0, made.likeness):.0%}; its own faces have "
                    f"{made.least_likeness:.0%} and more.)",
                ]}
