"""The card of the check: what any file says about itself, Stitch's or not."""

from pathlib import Path

import gradio as gr

from stitch.core.errors import VideoError
from stitch.page.parts import part
from stitch.page.shared import DEVICE, Card, Shared, Updates, Visit
from stitch.page.wording import plainly

_NONE = {"text": "Was a clip or a picture edited here, and is it as it was then? The file is looked at and not kept."}


class CheckCard(Card):
    """Credentials, watermark and metadata of a file."""

    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        with gr.Column(elem_classes="card", elem_id="check"):
            gr.HTML("<h2 class='step'>Check a file<span>whoever made it</span></h2>")
            self.file = gr.File(label="Clip or picture", show_label=False, file_types=["video", "image"], height=120,
                                elem_id="check-file")
            self.found = part("status", _NONE, elem_id="check-found")
        shared.on(self.file.upload, self.check, self.found, self.file, **DEVICE)

    def check(self, visit: Visit) -> Updates:
        """A file was given."""
        if not visit[self.file]:
            raise VideoError("choose a file first")
        report = self.shared.desk.check(Path(visit[self.file]))
        notes = [*report.sentences] if not report.unread else [
            one for one in report.sentences if report.unread not in one] + [
            f"the pixels cannot be read: {plainly(report.unread)}"]
        return {self.file: None, self.found: {
            "title": report.title, "notes": [one[:1].upper() + one[1:] for one in notes],
            "problem": report.state == "broken"}}
