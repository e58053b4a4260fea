"""What happens in step 2: sliders and words become a look, and a look is kept, shared, loaded and started from."""

from typing import Any

import gradio as gr

from stitch.core.errors import EditError
from stitch.page import looks, views
from stitch.page.looks import Look
from stitch.page.sessions import Entry
from stitch.page.widgets import Widgets, ends
from stitch.stit.pipeline import describe


class LookEvents(Widgets):
    """Looks, and the sliders that a family in use has for them."""

    @property
    def dressed(self) -> list[Any]:
        """The widgets that `_dressed` and `_set` change."""
        return [*self.look_widgets, *self.groups.values(), *self.starters.values(), self.with_words, self.no_words,
                self.summary]

    def starter(self, title: str) -> list[Any]:
        """A starting point was chosen."""
        return self._values(looks.from_plain({"sliders": looks.starters(self.names)[title]}))

    def save_look(self, saved: dict[str, Any], title: str, *values: Any) -> dict[Any, Any]:
        """Keep the look in this browser."""
        title = " ".join(title.split())[:40]
        try:
            if not title:
                raise EditError("give the look a name first")
            kept = {**(saved if isinstance(saved, dict) else {}), title: self._look(values).plain()}
        except EditError as error:
            return {self.summary: views.problem(str(error))}
        return {self.saved: kept, self.look_choice: gr.update(choices=sorted(kept), value=title),
                self.summary: views.summary(f"Saved as “{title}”.")}

    def load_look(self, saved: dict[str, Any], title: str | None, family: str) -> dict[Any, Any]:
        """Take a saved look up again."""
        try:
            if not isinstance(saved, dict) or title not in saved:
                raise EditError("choose a saved look first")
            return self._set(looks.from_plain(saved[title]), family)
        except EditError as error:
            return {self.summary: views.problem(str(error))}

    def share_look(self, *values: Any) -> dict[Any, Any]:
        """Letters of a link to this look; the browser puts its own address before them."""
        try:
            return {self.link: self._look(values).link()}
        except EditError as error:
            return {self.summary: views.problem(str(error))}

    def _dressed(self, family: str) -> dict[Any, Any]:
        """The sliders, starting points and words of a family, and of no other."""
        ours, texts = self.families.sliders(family), self.families.texts(family)
        starters = looks.starters(list(ours))
        updates: dict[Any, Any] = {
            self.sliders[name]: gr.update(visible=True, info=ends(ours[name])) if name in ours
            else gr.update(visible=False, value=0)
            for name in self.names
        }
        updates |= {
            self.groups[group]: gr.update(visible=any(name in ours for name in names))
            for group, names in self.grouped.items()
        }
        updates |= {button: gr.update(visible=title in starters) for title, button in self.starters.items()}
        return updates | {self.with_words: gr.update(visible=texts), self.no_words: gr.update(visible=not texts)}

    def _set(self, look: Look, family: str) -> dict[Any, Any]:
        """Show a look on a family's sliders, and say what it lacks.

        Raises:
            EditError: the look cannot be read.
        """
        ours = self.families.sliders(family)
        unknown = sorted(set(look.sliders) - set(ours))
        told = f"This family has no {', '.join(unknown)}." if unknown else describe(look.edits())
        kept = {name: value for name, value in look.sliders.items() if name in ours}
        values = self._values(looks.from_plain(look.plain() | {"sliders": kept}))
        updates = self._dressed(family)
        for widget, value in zip(self.look_widgets, values, strict=True):
            updates[widget] = {**updates.get(widget, {}), **gr.update(value=value)}
        return updates | {self.summary: views.summary(told)}

    def _look_of(self, entry: Entry) -> dict[Any, Any]:
        """The look of a run, on the sliders of its family."""
        about = entry.about
        return self._set(looks.from_plain(about.look), about.family) if about.look else self._dressed(about.family)

    def _look(self, values: Any) -> Look:
        """What the widgets say."""
        words, neutral, strength, channels, course, begin_s, end_s, points, *sliders = values
        return looks.from_values(
            self.names, sliders, words=words or "", neutral=neutral or "a face", words_strength=float(strength),
            channels=int(channels or 0), course=course, begin_s=float(begin_s or 0), end_s=float(end_s or 0),
            points=points or "",
        )

    def _values(self, look: Look) -> list[Any]:
        """What the widgets shall say."""
        sliders = [max(-looks.RANGE, min(looks.RANGE, look.sliders.get(name, 0.0))) for name in self.names]
        return [look.words, look.neutral, look.words_strength, look.channels, look.course, look.begin_s, look.end_s,
                look.points, *sliders]
