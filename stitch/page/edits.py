"""The card of the edits: sliders, starting points and words become a look, which is kept, shared and taken up again."""

from collections.abc import Sequence
from typing import Any

import gradio as gr

from stitch.core import looks
from stitch.core.errors import EditError
from stitch.core.looks import Look
from stitch.families.about import Slider
from stitch.page.parts import choices, part
from stitch.page.sessions import Entry
from stitch.page.shared import Shared, Updates
from stitch.stit.pipeline import describe

LINK = "(letters) => letters ? location.origin + location.pathname + '?look=' + letters : ''"


class EditsCard:
    """There is a slider for every direction of every family; those of the family in use are shown."""

    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        families, first = shared.families, shared.first
        ours = families.sliders(first)
        self.all: dict[str, Slider] = dict(ours)
        for name in families.names:
            self.all |= {key: one for key, one in families.sliders(name).items() if key not in self.all}
        self.grouped: dict[str, list[str]] = {}
        for name, one in self.all.items():
            self.grouped.setdefault(one.group, []).append(name)
        self.saved = gr.BrowserState({}, storage_key="stitch-looks", secret="stitch")
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
                            -looks.RANGE, looks.RANGE, 0, step=0.1, label=name.replace("_", " ").capitalize(),
                            info=_ends(ours.get(name, self.all[name])), buttons=["reset"], elem_id=f"edit-{name}",
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
        self.values: list[Any] = [self.words, self.neutral, self.strength, self.channels, self.course, self.begin,
                                  self.end, self.points, *self.sliders.values()]

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
        with gr.Row(elem_classes="line-up"):
            self.look_name = gr.Textbox(label="Save this look as", max_length=40, scale=3, min_width=140)
            self.save = gr.Button("Save", scale=1, min_width=70, size="sm")
        with gr.Row(elem_classes="line-up"):
            self.kept = gr.Dropdown([], label="Saved in this browser", scale=3, min_width=140)
            self.load = gr.Button("Load", scale=1, min_width=70, size="sm")
        with gr.Row(elem_classes="line-up"):
            self.link = gr.Textbox(label="Link to this look", buttons=["copy"], interactive=False, scale=3,
                                   min_width=140, elem_id="link")
            self.share = gr.Button("Get the link", scale=1, min_width=70, size="sm")

    @property
    def widgets(self) -> list[Any]:
        """Those that ever change."""
        return [*self.values, *self.groups.values(), self.starters, self.with_words, self.no_words, self.saved,
                self.kept, self.link, self.summary]

    @property
    def changes(self) -> list[Any]:
        """Events after which a new preview is due, whoever caused them: hand, keyboard or program."""
        moved: list[Any] = [*self.sliders.values(), self.strength, self.channels, self.course, self.begin, self.end]
        return [widget.change for widget in moved] + [self.words.submit, self.try_words.click, self.neutral.submit,
                                                      self.points.submit]

    def wire(self) -> None:
        """Hear what is touched, once all cards are placed."""
        shared = self.shared
        shared.on([*self.changes, shared.wanted.change], self.say, [shared.family, *self.values], self.summary,
                  trigger_mode="always_last")
        shared.on(self.starters.select, self.start_from, [shared.family, *self.values], self.summary)
        shared.on(self.suggestions.select, self.suggest, [], self.summary)
        shared.on(self.reset.click, self.clear, [shared.family], self.summary)
        shared.on(self.save.click, self.keep, [self.saved, self.look_name, *self.values], self.summary)
        shared.on(self.load.click, self.take_up, [self.saved, self.kept, shared.family], self.summary)
        shared.on(self.share.click, self.shared_link, self.values, self.summary).then(
            None, self.link, self.link, js=LINK, api_visibility="private")

    def say(self, secret: str, name: str, family: str, *values: Any) -> Updates:
        """Something was set: it is said at once, and kept with the clip."""
        look = self.look(values)
        if name:
            self.shared.entry(secret, name).change(look=look.plain())
        return self.told(look, family)

    def start_from(self, secret: str, name: str, chosen: gr.EventData, family: str, *values: Any) -> Updates:
        """A starting point was pressed: its own sliders move and no other; pressed once more they go back."""
        look = self.look(values)
        moves = looks.starters(list(self.shared.families.sliders(family))).get(str(chosen.id), {})
        if moves.items() <= look.sliders.items():
            moves = dict.fromkeys(moves, 0.0)
        updates: Updates = {self.sliders[slider]: value for slider, value in moves.items()}
        for group, names in self.grouped.items():
            if moves.keys() & names:
                updates[self.groups[group]] = gr.update(open=True)
        return updates

    def suggest(self, secret: str, name: str, chosen: gr.EventData) -> Updates:
        """A suggestion was pressed."""
        return {self.words: str(chosen.id)[:200], **self.shared.again()}

    def clear(self, secret: str, name: str, family: str) -> Updates:
        """Back to the face as it is."""
        return self.set(Look(), family) | self.shared.again()

    def keep(self, secret: str, name: str, saved: Any, title: str, *values: Any) -> Updates:
        """Keep the look in this browser."""
        title = " ".join(title.split())[:40]
        if not title:
            raise EditError("give the look a name first")
        kept = {**(saved if isinstance(saved, dict) else {}), title: self.look(values).plain()}
        return {self.saved: kept, self.kept: gr.update(choices=sorted(kept), value=title),
                self.summary: {"text": f"Saved as “{title}”."}}

    def take_up(self, secret: str, name: str, saved: Any, title: str | None, family: str) -> Updates:
        """Take a saved look up again."""
        if not isinstance(saved, dict) or title not in saved:
            raise EditError("choose a saved look first")
        return self.set(looks.from_plain(saved[title]), family) | self.shared.again()

    def shared_link(self, secret: str, name: str, *values: Any) -> Updates:
        """Letters of a link to this look; the browser puts its own address before them."""
        return {self.link: self.look(values).link()}

    def opened(self, entry: Entry) -> Updates:
        """The look of a run, on the sliders of its family."""
        about = entry.about
        return self.set(looks.from_plain(about.look), about.family)

    def closed(self) -> Updates:
        """No run is open: what is set stays for the next clip."""
        return {}

    def look(self, values: Sequence[Any]) -> Look:
        """What the widgets say.

        Raises:
            EditError: it cannot be read.
        """
        words, neutral, strength, channels, course, begin_s, end_s, points, *sliders = values
        return looks.from_plain({
            "sliders": {name: value for name, value in zip(self.sliders, sliders, strict=True) if value},
            "words": words or "", "neutral": neutral or "a face", "words_strength": strength or 0.0,
            "channels": channels or 0, "course": course, "begin_s": begin_s or 0.0, "end_s": end_s or 0.0,
            "points": points or "",
        })

    def told(self, look: Look, family: str) -> Updates:
        """What a look does, and which starting points it holds."""
        return {self.starters: self._starters(family, look),
                self.summary: {"text": describe(look.edits()) or "Nothing is changed yet."}}

    def set(self, look: Look, family: str) -> Updates:
        """Show a look on the sliders of a family and of no other, and say what it lacks."""
        ours, texts = self.shared.families.sliders(family), self.shared.families.texts(family)
        values: list[Any] = [look.words, look.neutral, look.words_strength, look.channels, look.course, look.begin_s,
                             look.end_s, look.points]
        updates: Updates = dict(zip(self.values, values, strict=False))
        for name, slider in self.sliders.items():
            value = max(-looks.RANGE, min(looks.RANGE, look.sliders.get(name, 0.0))) if name in ours else 0
            told = {"info": _ends(ours[name])} if name in ours else {}
            updates[slider] = gr.update(visible=name in ours, value=value, **told)
        for group, names in self.grouped.items():
            updates[self.groups[group]] = gr.update(visible=any(name in ours for name in names))
        updates |= {self.with_words: gr.update(visible=texts), self.no_words: None if texts else _NO_WORDS}
        unknown = sorted(set(look.sliders) - set(ours))
        updates |= self.told(look, family)
        return updates | ({self.summary: {"text": f"This family has no {', '.join(unknown)}."}} if unknown else {})

    def _starters(self, family: str, look: Look) -> dict[str, Any]:
        possible = looks.starters(list(self.shared.families.sliders(family)))
        return choices([{"id": title, "label": title, "pressed": moves.items() <= look.sliders.items()}
                        for title, moves in possible.items()], "Starting points")


_NO_WORDS = {"text": "The faces in use do not understand words; their sliders do the work."}


def _ends(one: Slider) -> str:
    """What the two ends of a slider mean."""
    return f"← {one.low} · {one.high} →" if one.low else one.description
