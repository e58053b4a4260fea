"""Memory that runs out: work that is given up leaves nothing behind."""

import gc
import sys
from collections.abc import Callable, Generator
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.func import functional_call

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


def attempted(stage: Generator[E, None, T]) -> Generator[E, None, T | None]:
    """Drives a stage; None when the memory ran out, and then what the stage held is free again.

    Args:
        stage: not begun, and known to nobody else; other errors than those of memory go through.
    Yields:
        What the stage yields.
    Returns:
        What it returns, or None.
    """
    try:
        return (yield from stage)
    except (RuntimeError, MemoryError) as error:
        if not ran_out(error):
            raise
    _free()
    return None


def kept_bytes(network: nn.Module, *inputs: Tensor) -> int:
    """What a network's forward pass keeps for its way back, its own weights apart; counted without computing anything.

    Args:
        network: on any device; left as it is.
        inputs: of the pass, on the device "meta".
    """
    own = {
        name: torch.empty_like(tensor, device="meta").requires_grad_(isinstance(tensor, nn.Parameter))
        for name, tensor in (*network.named_parameters(), *network.named_buffers())
    }
    weights = {tensor.untyped_storage()._cdata for tensor in own.values()}
    kept = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in weights:
            kept[storage._cdata] = storage  # held, so that no other takes its place
        return tensor

    with torch.enable_grad(), saved_tensors_hooks(keep, lambda tensor: tensor):
        functional_call(network, own, inputs)
    return sum(storage.nbytes() for storage in kept.values())


def peak_memory_mib() -> int:
    """The most memory that this process has held, in MiB."""
    try:
        import resource
    except ImportError:  # not on Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1 << 20 if sys.platform == "darwin" else 1 << 10))


def _free() -> None:
    """Called when the error is gone: its traceback held the frames, and the frames held the tensors."""
    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
