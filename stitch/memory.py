"""When memory runs out: what counts as that, and work that is given up so that nothing of it stays behind."""

import gc
from collections.abc import Callable, Generator
from typing import TypeVar

import torch

E = TypeVar("E")
T = TypeVar("T")


def ran_out(error: BaseException) -> bool:
    """Whether an error says that there was no memory: a GPU's, PyTorch's own on a CPU, or Python's."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)


def fits(work: Callable[[], object]) -> bool:
    """Does a piece of work; False when the memory ran out, and then what it held is free again.

    Args:
        work: to be called once; other errors than those of memory go through.
    """
    try:
        work()
        return True
    except (RuntimeError, MemoryError) as error:
        if not ran_out(error):
            raise
    _free()
    return False


def attempted(room: Generator[E, None, T]) -> Generator[E, None, T | None]:
    """Drives a room; None when the memory ran out, and then what the room held is free again.

    Args:
        room: not begun, and known to nobody else; other errors than those of memory go through.
    Yields:
        What the room yields.
    Returns:
        What it returns, or None.
    """
    try:
        return (yield from room)
    except (RuntimeError, MemoryError) as error:
        if not ran_out(error):
            raise
    _free()
    return None


def _free() -> None:
    """Called when the error is gone: its traceback held the frames, and the frames held the tensors."""
    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
