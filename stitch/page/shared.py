"""What the cards of the page share: who does the work, whose run is open, and how an event is heard."""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import gradio as gr

from stitch.core.errors import RunError, StitchError, without_words
from stitch.page.wording import problem
from stitch.runtime.jobs import BROKEN, Job, Work
from stitch.runtime.slices import Task
from stitch.service.desk import Desk
from stitch.service.families import Families
from stitch.service.sessions import Entry, Session, Store

Updates = dict[Any, Any]
"""What an event returns: a widget -> what becomes of it."""

DEVICE: dict[str, Any] = {"concurrency_id": "device", "concurrency_limit": 1}
"""Everything that computes outside the worker takes its turn."""
FOLLOW_S = 0.6
_NONE = "none"  # browsers are not told to store an empty text: what was open would be found again
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Visit:
    """What comes with an event: whose browser it is, which run is open there, and what its widgets say.

    Attributes:
        store: of all browsers.
        secret: of this one; a new one where it has none.
        name: of the run that is open; empty if none is.
        family: the one in use.
        said: widget -> value, of those that the event asked for.
    """

    store: Store
    secret: str
    name: str
    family: str
    said: Mapping[Any, Any]

    def __getitem__(self, widget: Any) -> Any:
        """What a widget says; None if it was not asked."""
        return self.said.get(widget)

    @property
    def session(self) -> Session:
        """The runs of this browser."""
        return self.store.session(self.secret)

    @property
    def entry(self) -> Entry:
        """The open run.

        Raises:
            RunError: none is open, or it is gone.
        """
        if not self.name:
            raise RunError("choose a clip first: upload one, record one, or take an example")
        return self.session.open(self.name)


class Card:
    """One card of the page: its widgets and what happens when they are touched."""

    def opened(self, entry: Entry) -> Updates:
        """A run, as it is now."""
        return {}

    def closed(self) -> Updates:
        """No run is open."""
        return {}

    def follow(self, visit: Visit, job: Job) -> Updates:
        """Work that this browser asked for is under way, or has just ended."""
        return {}


class Shared:
    """Made once for a page; its widgets are a visitor's own.

    Args:
        families: loads families by name.
        first: name of the family in use until a visitor chooses another.
        store: of the browsers' runs.
        run: starts a task (`slices.owner`).
        example: a clip to try, if there is one.
    """

    def __init__(
        self, families: Families, first: str, store: Store, run: Callable[[Task], Work], example: Path | None = None
    ) -> None:
        self.families, self.first, self.store, self.example = families, first, store, example
        self.desk = Desk(families, store, run)
        self._events: list[tuple[Any, Callable[[Mapping[Any, Any]], Updates], set[Any], dict[str, Any]]] = []

    def place(self) -> None:
        """Make the widgets that nobody sees."""
        self.secret = gr.BrowserState("", storage_key="stitch-browser", secret="stitch")  # nosec B106  # hides nothing: it is the visitor's own
        self.name = gr.BrowserState("", storage_key="stitch-run", secret="stitch")  # nosec B106  # hides nothing: it is the visitor's own
        self.family = gr.State(self.first)
        self.wanted = gr.State(0.0)  # changes when a new preview is due
        self.seen = gr.State({})  # which ended jobs are shown: kind -> number
        self.timer = gr.Timer(FOLLOW_S, active=False)

    def on(self, triggers: Any, fn: Callable[..., Updates], where: Any, *asked: Any, **options: Any) -> None:
        """Hear an event, once all cards are placed (`listen`).

        Args:
            triggers: one or several events.
            fn: takes the `Visit`, and what else gradio gives by its annotation; returns updates of any widgets.
            where: the part that says what went wrong.
            asked: widgets whose values the visit should hold.
            options: of gradio's events.
        """

        @wraps(fn)
        def heard(said: Mapping[Any, Any], *given: Any) -> Updates:
            try:
                updates = fn(self.visit(said), *given)
                return updates | ({self.name: _NONE} if updates.get(self.name) == "" else {})
            except StitchError as error:
                return {where: problem(str(error))}
            except Exception as error:
                _log.error("an event of the page failed: %s", without_words(error))
                return {where: problem(BROKEN)}

        self._events.append((triggers, heard, {self.secret, self.name, self.family, *asked}, options))

    def listen(self, widgets: list[Any]) -> None:
        """From now on all events are heard.

        Args:
            widgets: everything that may change.
        """
        given: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
        for triggers, heard, asked, options in self._events:
            gr.on(triggers, heard, asked, widgets, **given | options)

    def visit(self, said: Mapping[Any, Any]) -> Visit:
        """Who comes with these values, and what for."""
        name = said.get(self.name) or ""
        secret, family = self.store.known(said.get(self.secret)), said.get(self.family) or self.first
        return Visit(self.store, secret, "" if name == _NONE else name, family, said)

    def again(self) -> Updates:
        """A new preview is due."""
        return {self.wanted: time.time()}


def merged(*updates: Updates) -> Updates:
    """Updates of several cards; a widget that two speak of gets all that both say."""
    whole: Updates = {}
    for one in updates:
        for widget, said in one.items():
            before = whole.get(widget)
            both = isinstance(before, dict) and isinstance(said, dict) and "__type__" in before and "__type__" in said
            whole[widget] = {**before, **said} if both else said  # type: ignore[dict-item]
    return whole
