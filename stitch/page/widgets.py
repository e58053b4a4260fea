"""The page's widgets: what there is, where it stands and what it is called; others say what happens with them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gradio as gr

from stitch.families.ffhq import Slider
from stitch.families.load import known
from stitch.page import looks, views
from stitch.page.families import Families

QUALITIES = {"Draft: quickest": "draft", "Good": "fast", "Best: as in the paper": "paper"}
# Faces of more pixels than the networks draw gain nothing and would be turned away by a page with limits.
CAMERA = {"video": {"width": {"ideal": 1280}, "height": {"ideal": 720}, "frameRate": {"ideal": 25}}}


class Widgets:
    """All widgets of the page, once `_place` has made them inside a `gr.Blocks`.

    There is a slider for every direction of every family; those of the family in use are shown.

    Args:
        families: which families there are.
        first: the one in use until a visitor chooses another.
        example: a clip to try, if there is one.
        notice: a sentence that every visitor should read, may be empty.
    """

    def __init__(self, families: Families, first: str, example: Path | None, notice: str) -> None:
        self.families, self.first, self.example, self.notice = families, first, example, notice
        others = [name for name in families.names if name != first]
        self.all_sliders: dict[str, Slider] = {}
        for name in (first, *others):
            self.all_sliders = {**families.sliders(name), **self.all_sliders}
        ours = families.sliders(first)
        self.names = [*ours, *(name for name in self.all_sliders if name not in ours)]

    def _place(self) -> None:
        """Make them, from top to bottom."""
        self.secret = gr.BrowserState("", storage_key="stitch-browser", secret="stitch")
        self.current = gr.BrowserState("", storage_key="stitch-run", secret="stitch")
        self.saved = gr.BrowserState({}, storage_key="stitch-looks", secret="stitch")
        self.in_use = gr.State(self.first)
        self.at, self.jump_to = gr.Number(0, visible=False), gr.Number(0, visible=False)
        self.moments = gr.State([])
        gr.HTML(views.head(self.notice))
        with gr.Row(equal_height=False, elem_id="columns"):
            with gr.Column(scale=5, min_width=320, elem_id="left"):
                self._clip()
                self._edits()
                self._runs()
                self._family()
            with gr.Column(scale=6, min_width=320, elem_id="right"):
                self._preview()
                self._render()

    def _clip(self) -> None:
        with gr.Column(elem_classes="card", elem_id="step-clip"):
            gr.HTML(views.section("Clip", "a few seconds with one face", 1))
            # Clips are taken once the page knows whose browser this is (`Page.arrive`).
            self.clip = gr.Video(
                show_label=False, sources=["upload", "webcam"], elem_id="clip", interactive=False,
                webcam_options=gr.WebcamOptions(mirror=False, constraints=CAMERA),
            )
            self.try_example = gr.Button(
                "Try it with the example clip", size="sm", visible=self.example is not None, elem_id="example",
                interactive=False,
            )
            self.facts = gr.HTML(views.CONSENT, elem_id="facts")
            self.faces = gr.Gallery(
                label="Whose face? Who is seen most is chosen.", columns=6, height=150, allow_preview=False,
                visible=False, elem_id="faces", object_fit="cover", buttons=[], interactive=False,
            )
            with gr.Row(visible=False, elem_id="trim", elem_classes="sliders") as self.trim:
                self.begin = gr.Slider(0, 1, 0, step=0.01, label="Begins at (s)", buttons=[], min_width=130)
                self.end = gr.Slider(0, 1, 1, step=0.01, label="Ends at (s)", buttons=[], min_width=130)

    def _edits(self) -> None:
        with gr.Column(elem_classes="card", elem_id="step-edits"):
            gr.HTML(views.section("Edits", "in the middle, a slider changes nothing", 2))
            ours = self.families.sliders(self.first)
            with gr.Row(elem_classes="starters"):
                self.starters = {
                    title: gr.Button(title, size="sm", visible=title in looks.starters(list(ours)))
                    for title in looks.starters(self.names)
                }
                self.reset = gr.Button("Reset", size="sm", elem_id="reset")
            self.sliders: dict[str, gr.Slider] = {}
            self.groups: dict[str, gr.Accordion] = {}
            for place, (group, names) in enumerate(self.grouped.items()):
                shown = any(name in ours for name in names)
                with gr.Accordion(group, open=place == 0, elem_classes="group", visible=shown) as self.groups[group]:
                    with gr.Row(elem_classes="sliders"):
                        self.sliders |= {name: self._slider(name, ours) for name in names}
            with gr.Accordion("In your own words", open=False, elem_classes="group"):
                self._words(self.families.texts(self.first))
            with gr.Accordion("Strength over time", open=False, elem_classes="group"):
                self._course()
            with gr.Accordion("Save and share this look", open=False, elem_classes="group"):
                self._looks()
            self.summary = gr.HTML(views.summary(""), elem_id="summary")
        self.look_widgets: list[Any] = [
            self.words, self.neutral, self.words_strength, self.channels, self.course, self.course_begin,
            self.course_end, self.points, *(self.sliders[name] for name in self.names),
        ]

    @property
    def grouped(self) -> dict[str, list[str]]:
        """All sliders' names by their heading."""
        groups: dict[str, list[str]] = {}
        for name in self.names:
            groups.setdefault(self.all_sliders[name].group, []).append(name)
        return groups

    def _slider(self, name: str, shown: Mapping[str, Slider]) -> gr.Slider:
        return gr.Slider(
            -looks.RANGE, looks.RANGE, 0, step=0.1, label=name.replace("_", " ").capitalize(), min_width=150,
            info=ends(shown.get(name, self.all_sliders[name])), buttons=["reset"], elem_id=f"edit-{name}",
            visible=name in shown,
        )

    def _words(self, texts: bool) -> None:
        self.no_words = gr.HTML(
            views.note("The family in use does not understand words; its sliders do the work."), visible=not texts
        )
        with gr.Column(visible=texts) as self.with_words:
            self.words = gr.Textbox(
                label="What should the face be?", info="One description a line; several are mixed.", lines=2,
                placeholder="a face with glasses", max_length=600, elem_id="words",
            )
            gr.Examples([[one] for one in looks.SUGGESTIONS], self.words, label="Suggestions", api_visibility="private")
            with gr.Row(elem_classes="sliders"):
                self.words_strength = gr.Slider(
                    -3, 3, 2, step=0.1, label="Strength", info="of the words", buttons=["reset"]
                )
                self.channels = gr.Slider(
                    0, 200, 0, step=1, label="How much may change", buttons=["reset"],
                    info="style channels; few change one thing alone, 0 leaves it to the family",
                )
            self.neutral = gr.Textbox("a face", label="What is it now?", info="The words are measured against these.",
                                      max_length=200)

    def _course(self) -> None:
        self.course = gr.Radio(list(looks.COURSES.items()), value="steady", show_label=False, container=False)
        with gr.Row():
            self.course_begin = gr.Number(0, minimum=0, label="From (s)", min_width=110)
            self.course_end = gr.Number(1, minimum=0, label="To (s)", min_width=110)
        self.points = gr.Textbox(
            "0@0, 1@1", label="Own points", info="Share of the strength @ seconds: 0@0, 1@1.5, 0@3", max_length=200
        )

    def _looks(self) -> None:
        with gr.Row(elem_classes="line-up"):
            self.look_name = gr.Textbox(label="Save this look as", max_length=40, scale=3, min_width=140)
            self.save = gr.Button("Save", scale=1, min_width=70, size="sm")
        with gr.Row(elem_classes="line-up"):
            self.look_choice = gr.Dropdown([], label="Saved in this browser", scale=3, min_width=140)
            self.load = gr.Button("Load", scale=1, min_width=70, size="sm")
        with gr.Row(elem_classes="line-up"):
            self.link = gr.Textbox(label="Link to this look", buttons=["copy"], interactive=False, scale=3,
                                   min_width=140, elem_id="link")
            self.share = gr.Button("Make", scale=1, min_width=70, size="sm")

    def _preview(self) -> None:
        with gr.Column(elem_classes="card", elem_id="step-preview"):
            gr.HTML(views.section("Preview", "the frame at the player's position: original | edited"))
            self.compare = gr.ImageSlider(
                show_label=False, interactive=False, max_height=420, elem_id="preview", buttons=["fullscreen"],
                type="numpy", format="jpeg",
            )
            self.preview_note = gr.HTML(views.note("Choose a clip, then move a slider."), elem_id="preview-note")
            with gr.Row(elem_id="preview-buttons"):
                self.look_now = gr.Button("Preview this frame", size="sm", elem_id="look-now", min_width=120)
                self.grid = gr.Button("Compare strengths", size="sm", elem_id="compare", min_width=120)
            self.sheet_of_strengths = gr.Image(
                show_label=False, interactive=False, visible=False, buttons=["fullscreen", "download"], elem_id="grid"
            )

    def _render(self) -> None:
        with gr.Column(elem_classes="card", elem_id="step-render"):
            gr.HTML(views.section("Render", number=3))
            self.quality = gr.Radio(list(QUALITIES.items()), value="fast", label="Quality", elem_id="quality")
            self.badge = gr.Checkbox(False, label="Write “edited” in a corner of the picture", container=False)
            self.price = gr.HTML("", elem_id="price")
            with gr.Row():
                self.start = gr.Button("Render the clip", variant="primary", scale=4, elem_id="render", min_width=160)
                self.stop = gr.Button("Stop", scale=1, min_width=90, elem_id="stop", interactive=False)
            self.status = gr.HTML(views.ready(), elem_id="status")
            with gr.Column(visible=False, elem_id="finished") as self.finished:
                self.edited = gr.Video(show_label=False, interactive=False, buttons=["download"], elem_id="result")
                with gr.Tabs(elem_classes="tabs"):
                    with gr.Tab("Side by side"):
                        self.beside = gr.Video(show_label=False, interactive=False, buttons=["download"])
                    with gr.Tab("Stage by stage"):
                        self.stages = gr.Image(
                            show_label=False, interactive=False, type="filepath", buttons=["download", "fullscreen"]
                        )
                    with gr.Tab("Files"):
                        self.files = gr.Files(show_label=False, interactive=False, elem_id="files")
                gr.HTML(views.section("Quality", "frames worth a second look; choose one to see it in the player"))
                self.worst = gr.Gallery(
                    show_label=False, columns=3, height="auto", allow_preview=False, buttons=[], interactive=False,
                    elem_id="worst", object_fit="cover",
                )
                with gr.Accordion("Over the frames", open=False):
                    plot = dict(x="seconds", y="value", color="what", height=210, buttons=[])
                    self.plots = [
                        gr.LinePlot(title=title, **plot)  # type: ignore[arg-type]
                        for title in (
                            "Identity, the source is 1: neighbours (TL-ID), all frames (TG-ID)",
                            "Difference around the face, levels of 255",
                            "How exactly the face is redrawn, dB",
                        )
                    ]

    def _runs(self) -> None:
        with gr.Column(elem_classes="card", elem_id="your-runs"):
            gr.HTML(views.section("Your runs", "for this browser alone"))
            self.no_runs = gr.HTML(views.note("Every clip that you choose is kept here, until you delete it."))
            self.runs = gr.Radio([], show_label=False, container=False, elem_id="runs")
            with gr.Row(visible=False) as self.run_buttons:
                self.reopen = gr.Button("Open", size="sm", elem_id="open", min_width=90)
                self.delete = gr.Button("Delete", size="sm", variant="stop", elem_id="delete", min_width=90)

    def _family(self) -> None:
        others = [name for name in self.families.names if name != self.first]
        choices = [(known()[name].label, name) for name in (self.first, *others)]
        with gr.Column(elem_classes="card", elem_id="networks"):
            gr.HTML(views.section("Networks", "what draws the faces"))
            self.family_choice = gr.Radio(
                choices, value=self.first, show_label=False, container=False, elem_id="family"
            )
            self.family_card = gr.HTML(views.card(self.families.card(self.first), self.first), elem_id="family-card")
            with gr.Row():
                self.fetch = gr.Button("Fetch", size="sm", visible=False, elem_id="fetch", min_width=120)
                self.fetch_stop = gr.Button(
                    "Stop fetching", size="sm", visible=False, elem_id="fetch-stop", min_width=120
                )


def ends(one: Slider) -> str:
    """What the two ends of a slider mean."""
    return f"← {one.low} · {one.high} →" if one.low else one.description
