"""The card of the edits: sliders, starting points and words become a look, which is kept, shared and taken up again."""

from typing import Any

import gradio as gr

from stitch.core import looks
from stitch.core.errors import EditError
from stitch.core.looks import Look
from stitch.families.about import Slider
from stitch.page.parts import choices, part
from stitch.page.shared import Card, Shared, Updates, Visit
from stitch.page.wording import spaced, told
from stitch.service.sessions import Entry

LINK = "(link) => !link || link.includes(':') ? link : location.origin + location.pathname + '?look=' + link"
_NO_WORDS = {"text": "The faces in use do not understand words; their sliders do the work."}


class EditsCard(Card):
    """There is a slider for every direction of every family; those of the family in use are shown."""

    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        families, first = shared.families, shared.first
        ours = families.sliders(first)
        every: dict[str, Slider] = {}
        for family in (first, *families.names):
            every |= {name: one for name, one in families.sliders(family).items() if name not in every}
        self.grouped: dict[str, list[str]] = {}
        for name, one in every.items():
            self.grouped.setdefault(one.group, []).append(name)
        self.saved = gr.BrowserState({}, storage_key="stitch-looks", secret="stitch")  # nosec B106  # hides nothing: it is the visitor's own
        self.sliders: dict[str, gr.Slider] = {}
        self.groups: dict[str, gr.Accordion] = {}
        with gr.Column(elem_classes="card", elem_id="step-edits"):
            gr.HTML("<h2 class='step'><i>2</i>Edits<span>in the middle, a slider changes nothing</span></h2>")
            with gr.Row(elem_classes="line-up"):
                self.starters = part("choices", self._starters(first, Look()), elem_id="starters", min_width=200)
                self.reset = gr.Button("Reset", size="sm", elem_id="reset", scale=0, min_width=80)
            for place, (group, names) in enumerate(self.grouped.items()):
                shown = any(name in ours for name in names)
                with gr.Accordion(group, open=place == 0, elem_classes="group", visible=shown) as self.groups[group]:
                    with gr.Row(elem_classes="sliders"):
                        self.sliders |= {name: gr.Slider(
                            -looks.RANGE, looks.RANGE, 0, step=0.1, label=spaced(name).capitalize(),
                            info=_ends(every[name]), buttons=["reset"], elem_id=f"edit-{name}",
                            visible=name in ours, min_width=150,
                        ) for name in names}
            with gr.Accordion("In your own words", open=False, elem_classes="group"):
                self._place_words(families.texts(first))
            with gr.Accordion("Strength over time", open=False, elem_classes="group"):
                self.course = gr.Radio(list(looks.COURSES.items()), value="steady", label="How the strength runs")
                with gr.Row():
                    self.begin = gr.Number(0, minimum=0, label="From (s)", min_width=110)
                    self.end = gr.Number(1, minimum=0, label="To (s)", min_width=110)
                self.points = gr.Textbox(looks.POINTS, label="Points of your own", max_length=200,
                                         info="How much of the strength at which second")
            with gr.Accordion("Save and share this look", open=False, elem_classes="group"):
                self._place_looks()
            self.summary = part("status", {"text": "Nothing is changed yet."}, elem_id="summary")
        self.fields: dict[str, Any] = {
            "words": self.words, "neutral": self.neutral, "words_strength": self.strength, "channels": self.channels,
            "course": self.course, "begin_s": self.begin, "end_s": self.end, "points": self.points,
        }
        self.values = [*self.fields.values(), *self.sliders.values()]
        moved: list[Any] = [*self.sliders.values(), self.strength, self.channels, self.course, self.begin, self.end]
        # After these a new preview is due, whoever caused them: hand, keyboard or program.
        self.changes = [widget.change for widget in moved] + [
            self.words.submit, self.try_words.click, self.neutral.submit, self.points.submit]
        self._listen()

    def _place_words(self, texts: bool) -> None:
        self.no_words = part("status", None if texts else _NO_WORDS, elem_id="no-words")
        with gr.Column(visible=texts) as self.with_words:
            with gr.Row(elem_classes="line-up"):
                self.words = gr.Textbox(
                    label="What should the face be?", info="Several are mixed: put ; between them.", scale=3,
                    placeholder="a face with glasses", max_length=600, elem_id="words", min_width=140,
                )
                self.try_words = gr.Button("Try", size="sm", scale=0, min_width=70, elem_id="try-words")
            items = [{"id": one, "label": one} for one in looks.SUGGESTIONS]
            self.suggestions = part("choices", choices(items, "Suggestions"), elem_id="suggestions")
            self.strength = gr.Slider(-3, 3, 2, step=0.1, label="Strength of the words", buttons=["reset"])
            with gr.Accordion("Advanced", open=False):
                self.channels = gr.Slider(
                    0, 200, 0, step=1, label="How much may change", buttons=["reset"],
                    info="Style channels: few change one thing alone; 0 leaves it to the program.",
                )
                self.neutral = gr.Textbox("a face", label="What is it now?", max_length=200,
                                          info="The words are measured against these.")

    def _place_looks(self) -> None:
        first: dict[str, Any] = {"scale": 3, "min_width": 140}
        second: dict[str, Any] = {"scale": 1, "min_width": 70, "size": "sm"}
        with gr.Row(elem_classes="line-up"):
            self.look_name = gr.Textbox(label="Save this look as", max_length=40, **first)
            self.save = gr.Button("Save", **second)
        with gr.Row(elem_classes="line-up"):
            self.kept = gr.Dropdown([], label="Saved in this browser", **first)
            self.load = gr.Button("Load", **second)
        with gr.Row(elem_classes="line-up"):
            self.link = gr.Textbox(label="Link to this look", buttons=["copy"], interactive=False, elem_id="link",
                                   **first)
            self.share = gr.Button("Get the link", **second)

    def _listen(self) -> None:
        on, summary, values = self.shared.on, self.summary, self.values
        on([*self.changes, self.shared.wanted.change], self.say, summary, *values, trigger_mode="always_last")
        on(self.starters.select, self.start_from, summary, *values)
        on(self.suggestions.select, self.suggest, summary)
        on(self.reset.click, lambda visit: self.set(Look(), visit.family) | self.shared.again(), summary)
        on(self.save.click, self.keep, summary, self.saved, self.look_name, *values)
        on(self.load.click, self.take_up, summary, self.saved, self.kept)
        on(self.share.click, lambda visit: {self.link: self.look(visit).link()}, summary, *values)
        self.link.change(None, self.link, self.link, js=LINK, api_visibility="private")  # it knows its own address

    def say(self, visit: Visit) -> Updates:
        """Something was set: it is said at once, and kept with the clip."""
        if visit.name:
            self.kept_in(visit)
        return self._told(self.look(visit), visit.family)

    def start_from(self, visit: Visit, chosen: gr.EventData) -> Updates:
        """A starting point was pressed: its own sliders move and no other; pressed once more they go back."""
        moves = looks.starters(list(self.shared.families.sliders(visit.family))).get(str(chosen.id), {})
        if moves.items() <= self.look(visit).sliders.items():
            moves = dict.fromkeys(moves, 0.0)
        opened = {self.groups[group]: gr.update(open=True) for group, names in self.grouped.items()
                  if moves.keys() & names}
        return {self.sliders[slider]: value for slider, value in moves.items()} | opened

    def suggest(self, visit: Visit, chosen: gr.EventData) -> Updates:
        """A suggestion was pressed."""
        return {self.words: str(chosen.id)[:200], **self.shared.again()}

    def keep(self, visit: Visit) -> Updates:
        """Keep the look in this browser."""
        title = " ".join(visit[self.look_name].split())[:40]
        if not title:
            raise EditError("give the look a name first")
        kept = {**self._saved(visit), title: self.look(visit).plain()}
        return {self.saved: kept, self.kept: gr.update(choices=sorted(kept), value=title),
                self.summary: {"text": f"Saved as “{title}”."}}

    def take_up(self, visit: Visit) -> Updates:
        """Take a saved look up again."""
        saved, title = self._saved(visit), visit[self.kept]
        if title not in saved:
            raise EditError("choose a saved look first")
        return self.set(looks.from_plain(saved[title]), visit.family) | self.shared.again()

    def arrived(self, visit: Visit) -> Updates:
        """Somebody is here: what this browser saved can be chosen."""
        return {self.kept: gr.update(choices=sorted(self._saved(visit)))}

    def opened(self, entry: Entry) -> Updates:
        """The look of a run, on the sliders of its family."""
        about = entry.about
        return self.set(looks.from_plain(about.look), about.family)

    def look(self, visit: Visit) -> Look:
        """What the widgets say.

        Raises:
            EditError: it cannot be read.
        """
        plain = {field: visit[widget] or type(getattr(Look(), field))() for field, widget in self.fields.items()}
        sliders = {name: visit[slider] for name, slider in self.sliders.items() if visit[slider]}
        return looks.from_plain({**plain, "sliders": sliders})

    def kept_in(self, visit: Visit) -> Entry:
        """The open run, set to the look that the page shows."""
        entry = visit.entry
        entry.change(look=self.look(visit).plain())
        return entry

    def set(self, look: Look, family: str) -> Updates:
        """Show a look on the sliders of a family and of no other, and say what it lacks."""
        ours, texts = self.shared.families.sliders(family), self.shared.families.texts(family)
        updates: Updates = {widget: getattr(look, field) for field, widget in self.fields.items()}
        for name, slider in self.sliders.items():
            value = max(-looks.RANGE, min(looks.RANGE, look.sliders.get(name, 0.0))) if name in ours else 0
            info = {"info": _ends(ours[name])} if name in ours else {}
            updates[slider] = gr.update(visible=name in ours, value=value, **info)
        for group, names in self.grouped.items():
            updates[self.groups[group]] = gr.update(visible=any(name in ours for name in names))
        updates |= {self.with_words: gr.update(visible=texts), self.no_words: None if texts else _NO_WORDS}
        unknown = ", ".join(spaced(name) for name in sorted(set(look.sliders) - set(ours)))
        lacking = {self.summary: {"text": f"This family has no {unknown}."}} if unknown else {}
        return updates | self._told(look, family) | lacking

    def _told(self, look: Look, family: str) -> Updates:
        """What a look does, and which starting points it holds."""
        return {self.starters: self._starters(family, look),
                self.summary: {"text": told(look.plain()) or "Nothing is changed yet."}}

    def _starters(self, family: str, look: Look) -> dict[str, Any]:
        possible = looks.starters(list(self.shared.families.sliders(family)))
        return choices([{"id": title, "label": title, "pressed": moves.items() <= look.sliders.items()}
                        for title, moves in possible.items()], "Starting points")

    def _saved(self, visit: Visit) -> dict[str, Any]:
        return visit[self.saved] if isinstance(visit[self.saved], dict) else {}


def _ends(one: Slider) -> str:
    """What the two ends of a slider mean."""
    return f"← {one.low} · {one.high} →" if one.low else one.description
