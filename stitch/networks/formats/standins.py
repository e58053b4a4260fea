"""What a pickle of weights may make: plain records in place of every class and function that such files name.

Nothing here calls what a file chose, and nothing makes room for numbers that the file does not hold.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

MOST_STEPS = 2_000_000
"""Steps of a pickle. The largest published file takes fewer than a tenth of them."""
LARGEST_REPEAT = 1 << 20
"""A tensor may repeat what is stored (stride 0) up to so many elements; beyond, it has at most what is stored."""
LARGEST_INDEX, LONGEST_NAME = 1 << 24, 1024
"""Of the keys of dicts."""

DTYPES = {
    "FloatStorage": torch.float32, "DoubleStorage": torch.float64, "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16, "LongStorage": torch.int64, "IntStorage": torch.int32,
    "ShortStorage": torch.int16, "CharStorage": torch.int8, "ByteStorage": torch.uint8, "BoolStorage": torch.bool,
}  # fmt: skip
_NUMBERS = {"f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"}


class Refused(Exception):
    """Why a file is not read: a clause without the file's name."""


class _Sealed:
    """What a pickle cannot fill; a class without this would let it set any attribute."""

    def __setstate__(self, state: Any) -> None:
        raise Refused("it is damaged: a value is filled that is complete")


@dataclass(frozen=True, eq=False)
class Storage(_Sealed):
    """Stored numbers.

    Attributes:
        dtype: of the numbers.
        count: how many.
        content: their bytes, little-endian, a part of what was read; None where the file's own reader fetches them.
    """

    dtype: torch.dtype
    count: int
    content: memoryview | None = None


@dataclass(frozen=True, eq=False)
class View(_Sealed):
    """A tensor as the file describes it, within the bounds of its storage."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]

    def tensor(self) -> Tensor:
        """The tensor itself, on the CPU.

        Raises:
            ValueError: the storage has no content.
        """
        if self.storage.content is None:
            raise ValueError("tensor: got a storage without content, expected one with it")
        if math.prod(self.size) == 0:
            return torch.empty(self.size, dtype=self.storage.dtype)
        numbers = torch.frombuffer(bytearray(self.storage.content), dtype=self.storage.dtype)
        return numbers.as_strided(self.size, self.stride, self.offset).clone()


@dataclass(frozen=True, eq=False)
class Module(_Sealed):
    """A pickled network of NVIDIA's programs: its class's name and its attributes. Its source text is dropped."""

    class_name: str
    state: dict[str, Any]


class Entries(dict[Any, Any]):
    """collections.OrderedDict, dnnlib.util.EasyDict, argparse.Namespace; attributes (a state dict's versions) drop."""

    def __init__(self) -> None:
        super().__init__()

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, dict):
            raise Refused("it is damaged: a value is filled that is complete")


@dataclass(eq=False)
class _Kind:
    """A NumPy dtype, of numbers only."""

    code: Any

    def __post_init__(self) -> None:
        if not isinstance(self.code, str) or self.code not in _NUMBERS:
            raise Refused(f"an array holds {_short(self.code)} instead of numbers")

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) < 3 or state[1] not in ("<", "|"):
            raise Refused("an array is of another byte order")

    def numbers(self, content: Any, count: int) -> np.ndarray:
        dtype = np.dtype(self.code).newbyteorder("<")
        if not isinstance(content, bytes) or len(content) != count * dtype.itemsize:
            raise Refused(f"an array of {count} numbers is stored in another size")
        return np.frombuffer(content, dtype)


@dataclass(eq=False)
class Array:
    """A NumPy array; pickles first make it empty, then fill it."""

    values: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, by_column, content = state
        if by_column is not False or not isinstance(kind, _Kind):
            raise Refused("an array is stored in no known way")
        _check_counts(shape)
        self.values = kind.numbers(content, math.prod(shape)).reshape(shape)


@dataclass
class Totals:
    """What a pickle and those nested in it take together.

    Attributes:
        steps: so far.
        stored: elements of every storage.
        shown: elements of all tensors.
    """

    steps: int = 0
    stored: dict[Any, int] = field(default_factory=dict)
    shown: int = 0

    def count(self) -> None:
        """One more step.

        Raises:
            Refused: there are too many.
        """
        self.steps += 1
        if self.steps > MOST_STEPS:
            raise Refused(f"it takes more than {MOST_STEPS} steps to read")


@dataclass(frozen=True, eq=False)
class StandIn(_Sealed):
    """What stands for a name of a file; calling it calls one of the functions below, or nothing at all."""

    name: str
    totals: Totals
    make: Callable[..., Any] | None = None

    def __call__(self, *arguments: Any) -> Any:
        if self.make is None:
            raise Refused(f"{self.name} is used as a constructor")
        return self.make(self.totals, *arguments)


def is_key(value: Any) -> bool:
    """Keys are names or small numbers: hashing them takes no time."""
    return isinstance(value, str) and len(value) <= LONGEST_NAME or type(value) is int and abs(value) <= LARGEST_INDEX


def _short(value: Any) -> str:
    """A value in a message; what is no text may be larger written out than it is."""
    return repr(value[:20]) if isinstance(value, str) else f"a {type(value).__name__}"


def _check_counts(numbers: Any) -> None:
    if not isinstance(numbers, tuple) or len(numbers) > 8:
        raise Refused("a tensor's shape is no list of a few numbers")
    if not all(type(number) is int and 0 <= number < 1 << 62 for number in numbers):
        raise Refused("a tensor's shape has an entry that is no size")


def _view(totals: Totals, storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> View:
    """torch._utils._rebuild_tensor_v2; hooks and gradients are dropped."""
    if not isinstance(storage, Storage):
        raise Refused("a tensor has no storage")
    for numbers in ((offset,), size, stride):
        _check_counts(numbers)
    elements = math.prod(size)
    reach = offset + sum((side - 1) * step for side, step in zip(size, stride, strict=True)) + 1
    if elements and (reach > storage.count or elements > max(storage.count, LARGEST_REPEAT)):
        raise Refused(f"a tensor of shape {list(size)} ({elements} elements) has a storage of {storage.count}")
    totals.shown += elements
    return View(storage, offset, size, stride)


def _parameter(_totals: Totals, view: Any, *_: Any) -> View:
    """torch._utils._rebuild_parameter."""
    if not isinstance(view, View):
        raise Refused("a parameter is no tensor")
    return view


def _module(_: Totals, meta: Any) -> Module:
    """torch_utils.persistence._reconstruct_persistent_obj; the source text in it is not looked at."""
    kind, name, state = map(meta.get, ("type", "class_name", "state")) if isinstance(meta, dict) else (None,) * 3
    if kind != "class" or not isinstance(name, str) or not isinstance(state, dict):
        raise Refused("a network is described in no known way")
    return Module(name, state)


def _entries(totals: Totals, pairs: Any = ()) -> Entries:
    """collections.OrderedDict: to be filled, or (by Python 2) of pairs."""
    made = Entries()
    for key, value in pairs:
        totals.count()
        if not is_key(key):
            raise Refused(f"{_short(key)} is used as a key")
        made[key] = value
    return made


def _scalar(_: Totals, kind: Any, content: Any) -> int | float:
    """numpy.core.multiarray.scalar."""
    if not isinstance(kind, _Kind):
        raise Refused("a number is stored in no known way")
    return kind.numbers(content, 1)[0].item()


CONSTRUCTORS: dict[tuple[str, str], Callable[..., Any]] = {
    ("collections", "OrderedDict"): _entries,
    ("torch._utils", "_rebuild_tensor_v2"): _view,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch_utils.persistence", "_reconstruct_persistent_obj"): _module,
    ("numpy", "dtype"): lambda _totals, code, *_: _Kind(code),
    # set and torch.Size stay the very list that they would be made of.
    ("builtins", "set"): lambda _totals, items=(): items,
    ("__builtin__", "set"): lambda _totals, items=(): items,
    ("torch", "Size"): lambda _totals, items=(): items,
    **{(f"numpy.{core}.multiarray", "scalar"): _scalar for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "_reconstruct"): lambda *_: Array() for core in ("core", "_core")},
}
CLASSES = {("argparse", "Namespace"): Entries, ("dnnlib.util", "EasyDict"): Entries}
PLAIN = {("torch", name) for name in DTYPES} | {("numpy", "ndarray")}
