"""Reads pickled weights without running them: the published files are pickles, and a pickle is a program.

The standard library's unpickler carries it out, but finds no name except the few in `standins`, which are constructors
of ours; every other name is refused. Before that, `pickletools` walks through the steps: only those that build plain
values are let through, and none that would take room or time without end.
"""

import io
import mmap
import pickle  # nosec B403  # the reader below finds no class and calls nothing
import pickletools  # nosec B403  # lists steps and does none
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import torch

from stitch.networks.formats.standins import (
    CLASSES,
    CONSTRUCTORS,
    DTYPES,
    LARGEST_REPEAT,
    PLAIN,
    Module,
    Refused,
    StandIn,
    Storage,
    Totals,
    is_key,
)

DEEPEST = 64
"""Containers inside containers. A network's blocks nest fewer than thirty deep."""
MOST_USES = 4
"""So many times as much as is stored may all tensors of a file show together (weights tied to each other do)."""

LEGACY_MAGIC, _LEGACY_PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
_PUTS, _GETS = ("BINPUT", "LONG_BINPUT", "MEMOIZE"), ("BINGET", "LONG_BINGET")
_TO_MARK = ("TUPLE", "APPENDS", "SETITEMS", "ADDITEMS")
_TEXTS = "BINUNICODE SHORT_BINUNICODE BINUNICODE8 BINSTRING SHORT_BINSTRING".split()  # Python 2 wrote LPIPS's weights
_STEPS = {
    *"PROTO FRAME STOP MARK NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 BINFLOAT BINBYTES".split(),
    *"SHORT_BINBYTES BINBYTES8 EMPTY_LIST EMPTY_SET EMPTY_DICT EMPTY_TUPLE TUPLE1 TUPLE2 TUPLE3 APPEND".split(),
    *"SETITEM GLOBAL STACK_GLOBAL REDUCE NEWOBJ BUILD BINPERSID".split(), *_TEXTS, *_PUTS, *_GETS, *_TO_MARK,
}  # fmt: skip

_FAULTS = (pickle.UnpicklingError, EOFError, AttributeError, ValueError, LookupError, TypeError, OverflowError,
           MemoryError, RecursionError)  # fmt: skip

Fetch = Callable[[torch.dtype, str, int], Storage]
"""(kind of number, key, count) -> the storage that a file keeps under this key; raises `Refused`."""


def read(path: Path) -> Any:
    """A whole plain pickle: NVIDIA's network files, StyleCLIP's statistics.

    Args:
        path: an existing file.
    Returns:
        Plain values, `Module`, `View` and `Array` in lists, tuples, sets and dicts.
    Raises:
        Refused: not such a file, damaged, or with anything else inside.
        OSError: it cannot be opened.
    """
    with open(path, "rb") as file, mapped(file) as content:
        return load(content)


def begins_like_one(path: Path) -> bool:
    """Whether a file begins as a binary pickle does."""
    with open(path, "rb") as file:
        start = file.read(2)
    return len(start) == 2 and start[0] == 0x80 and 2 <= start[1] <= 5


def mapped(file: BinaryIO) -> mmap.mmap:
    """A file's content; reading past its end gives less instead of making room for what a length promises.

    Raises:
        Refused: the file is empty.
    """
    try:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except ValueError as error:
        raise Refused("the file is empty") from error


def load(stream: Any, fetch: Fetch | None = None, totals: Totals | None = None) -> Any:
    """Reads one pickle from where a binary stream stands, and leaves it behind its end.

    Args:
        stream: an open map of a file, or bytes in memory: its reads end where it ends.
        fetch: finds a storage by its key; None where the file has none.
        totals: of the pickle that this one is nested in.
    Raises:
        Refused: damaged, too large, or anything but plain values and tensors.
    """
    totals = totals or Totals()
    try:
        begin = stream.tell()
        _check_steps(stream, totals)
        stream.seek(begin)
        result = _Reader(stream, fetch, totals).load()
        _check_depth(result, 0, set())
    except _FAULTS as error:
        raise Refused(f"it is damaged or cut short ({str(error)[:120]})") from error
    if totals.shown > MOST_USES * sum(totals.stored.values()) + LARGEST_REPEAT:
        raise Refused("its tensors show the same few numbers over and over")
    return result


def _check_steps(stream: Any, totals: Totals) -> None:
    """Walks through a pickle and carries nothing out; of every value it knows whether it may be a key."""
    stack: list[bool] = []
    marks: list[list[bool]] = []
    memo: dict[int, bool] = {}
    argument: Any
    for step, argument, _ in pickletools.genops(stream):
        totals.count()
        name = step.name
        if name not in _STEPS:
            raise Refused(f"it uses pickle's step {name}, which files of weights do without")
        if name == "PROTO" and argument not in range(2, 6):
            raise Refused(f"it is a pickle of protocol {argument}")
        if name == "MARK":
            marks.append(stack)
            stack = []
        elif name in _TO_MARK:
            items, stack = stack, marks.pop()
            if not all({"SETITEMS": items[::2], "ADDITEMS": items}.get(name, [])):
                raise Refused("a tuple is used as a key, or what is no short name or small number")
            stack += [False] * (name == "TUPLE")
        elif name in _PUTS:
            index = len(memo) if argument is None else argument
            if index > totals.steps:
                raise Refused("it is damaged: it remembers more than it has")
            memo[index] = stack[-1]
        elif name in _GETS:
            stack.append(memo[argument])
        else:
            if name == "SETITEM" and not stack[-2]:
                raise Refused("a tuple is used as a key, or what is no short name or small number")
            kept = len(stack) - len(step.stack_before)
            if kept < 0:
                raise Refused("it is damaged: a value is missing")
            stack[kept:] = [name != "GLOBAL" and is_key(argument)] * len(step.stack_after)


class _Reader(pickle.Unpickler):
    """The standard unpickler, for which no name exists but those of `_CONSTRUCTORS` and of kinds of numbers."""

    def __init__(self, stream: Any, fetch: Fetch | None, totals: Totals) -> None:
        super().__init__(stream, encoding="latin1")
        self.fetch, self.totals = fetch, totals

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in CLASSES:
            return CLASSES[module, name]
        if (module, name) in PLAIN or (module, name) in _MAKERS:
            return StandIn(name, self.totals, _MAKERS.get((module, name)))
        if module.startswith("dnnlib.tflib"):
            raise Refused("it is a network of the TensorFlow program (StyleGAN, or StyleGAN2's first release)")
        raise Refused(f"it asks for {module[:80]}.{name[:80]}, which would have to be run")

    def persistent_load(self, identity: Any) -> Storage:
        if self.fetch is None or not isinstance(identity, tuple) or len(identity) not in (5, 6):
            raise Refused("it refers to a part that it does not have")
        word, kind, key, _, count = identity[:5]
        if word != "storage" or not isinstance(kind, StandIn) or kind.name not in DTYPES or not isinstance(key, str):
            raise Refused("it refers to a part that is no storage")
        if type(count) is not int or not 0 <= count < 1 << 62 or identity[5:] not in ((), (None,)):
            raise Refused(f"storage {key[:20]!r} is described in no known way")
        self.totals.stored[key] = count
        return self.fetch(DTYPES[kind.name], key, count)


def _check_depth(value: Any, depth: int, done: set[int]) -> None:
    """Refuses what is nested too deep, or in itself; each container is looked at once per depth bound."""
    if isinstance(value, Module):
        value = value.state
    if not isinstance(value, list | tuple | dict) or id(value) in done:
        return
    if depth > DEEPEST:
        raise Refused(f"it nests more than {DEEPEST} deep, or in itself")
    for item in value.values() if isinstance(value, dict) else value:
        _check_depth(item, depth + 1, done)
    done.add(id(value))


def _nested(totals: Totals, content: Any) -> Storage:
    """torch.storage._load_from_bytes: one storage as a file of PyTorch's older format."""
    if not isinstance(content, bytes):
        raise Refused("a storage has no content")
    storage, begins = legacy(io.BytesIO(content), len(content), totals)
    if not isinstance(storage, Storage):
        raise Refused("a storage holds something else")
    totals.stored[id(content)] = storage.count
    # A part of what was read, not a copy: a file may name the same bytes any number of times.
    begin, length = begins[id(storage)], storage.count * storage.dtype.itemsize
    return Storage(storage.dtype, storage.count, memoryview(content)[begin : begin + length])


def legacy(stream: Any, size: int, totals: Totals) -> tuple[Any, dict[int, int]]:
    """PyTorch's older format: five pickles, then the storages.

    Args:
        stream: as `load`, at its beginning.
        size: bytes in all.
        totals: as `load`.
    Returns:
        The content, and where the numbers of each storage begin, by the storage's id.
    Raises:
        Refused: as `load`, or a storage is not as the file says.
    """
    declared: dict[str, Storage] = {}

    def fetch(dtype: torch.dtype, key: str, count: int) -> Storage:
        if count * dtype.itemsize > size:
            raise Refused(f"storage {key[:20]!r} says it is larger than the file")
        before = declared.setdefault(key, Storage(dtype, count))
        if (before.dtype, before.count) != (dtype, count):
            raise Refused(f"storage {key[:20]!r} is described in two ways")
        return before

    if load(stream, None, totals) != LEGACY_MAGIC or load(stream, None, totals) != _LEGACY_PROTOCOL:
        raise Refused("it is not in a format of PyTorch's")
    facts = load(stream, None, totals)
    if not isinstance(facts, dict) or facts.get("little_endian") is not True:
        raise Refused("it was written by a machine of another byte order")
    content, keys = load(stream, fetch, totals), load(stream, None, totals)
    if not isinstance(keys, list) or not all(map(is_key, keys)) or sorted(map(str, keys)) != sorted(declared):
        raise Refused("its storages are not those it uses")
    begins: dict[int, int] = {}
    for storage in map(declared.__getitem__, keys):
        length = storage.count * storage.dtype.itemsize
        if int.from_bytes(stream.read(8), "little") != storage.count or stream.tell() + length > size:
            raise Refused("a storage is cut short, or of another size than it says")
        begins[id(storage)] = stream.tell()
        stream.seek(length, io.SEEK_CUR)
    return content, begins


_MAKERS = CONSTRUCTORS | {("torch.storage", "_load_from_bytes"): _nested}
