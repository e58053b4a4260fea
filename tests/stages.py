"""Drives a stage, a generator that yields events and returns its record."""

from collections.abc import Generator
from typing import Any


def finish(stage: Generator[Any, None, Any]) -> tuple[Any, list[Any]]:
    """Runs a stage to its end: what it returns, and the events it yielded."""
    events = []
    while True:
        try:
            events.append(next(stage))
        except StopIteration as end:
            return end.value, events
