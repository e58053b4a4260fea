"""Drives a stage, a generator that yields events and returns its record; waits for what other threads do."""

import time
from collections.abc import Callable, Generator
from typing import Any

LONG_S = 600.0
"""Longer than anything takes on a busy machine: only what hangs ever waits for so long."""


def finish(stage: Generator[Any, None, Any]) -> tuple[Any, list[Any]]:
    """Runs a stage to its end: what it returns, and the events it yielded."""
    events = []
    while True:
        try:
            events.append(next(stage))
        except StopIteration as end:
            return end.value, events


def eventually(condition: Callable[[], object]) -> None:
    """Wait until something is so."""
    end = time.monotonic() + LONG_S
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.005)
