"""Time on the device: all that a task wants, or slices of it as on ZeroGPU, where each runs in another process.

In the main process ZeroGPU lets nobody but the main thread touch a tensor: what lies there are zeros. So a family is
asked for, and loaded where it is not yet, by the function that owns the device and by nothing else.
"""

import math
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from stitch.core.errors import StitchError
from stitch.runtime.jobs import Again, Work

LONGEST_S = 110.0
_MARGIN_S = 8.0
_CUT_OFF = "GPU task aborted"  # what `spaces` says when a slice ends before the task has


@dataclass(frozen=True)
class Task:
    """Work that wants a family, as plain values that cross into another process.

    Attributes:
        family: whose networks it wants, by name.
        work: a module's function: takes the loaded family and what is given, yields events, then `Done`; started anew
            it goes on from what is kept.
        given: plain values.
        slice_s: how long it may work at once where time is dealt out.
    """

    family: str
    work: Callable[..., Work]
    given: tuple[Any, ...] = ()
    slice_s: float = 60.0

    def run(self, family: Any) -> Work:
        """The work, with its family loaded."""
        return self.work(family, *self.given)


@dataclass(frozen=True)
class _Refused:
    """A problem in words, on its way out of the other process, which would let nothing of it through but its name."""

    error: StitchError


def owner(family_of: Callable[[str], Any], on_device: Callable[..., Any] | None = None) -> Callable[[Task], Work]:
    """The one function that owns the device while a task runs.

    Args:
        family_of: loads a family once.
        on_device: ZeroGPU's decorator, or None: then a task has all the time it wants.
    Returns:
        Starts a task; where time is dealt out it ends with `Again` when its slice is over.
    """

    def whole(task: Task) -> Work:
        yield from task.run(family_of(task.family))

    if on_device is None:
        return whole

    def work(task: Task) -> Any:
        began = time.monotonic()
        try:
            with closing(whole(task)) as events:
                for event in events:
                    yield event
                    if time.monotonic() - began > task.slice_s - _MARGIN_S:
                        yield Again()
                        return
        except StitchError as error:
            yield _Refused(error)

    dealt_out = on_device(duration=lambda task: math.ceil(task.slice_s))(work)

    def slice_of(task: Task) -> Work:
        try:
            with closing(dealt_out(task)) as events:
                for event in events:
                    if isinstance(event, _Refused):
                        raise event.error
                    yield event
        except Exception as error:
            message = getattr(error, "message", None)  # what `gradio.Error` says to people
            if message is None:
                raise
            if message != _CUT_OFF:
                raise StitchError(message) from error  # such as that somebody's time for today is used up
            yield Again(cut=True)

    return slice_of
