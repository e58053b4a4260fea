"""Reads pickled weights without running them: the published files are pickles, and a pickle is a program.

`pickletools` decodes the program; the small machine here carries it out on plain values, and has no way to call
anything. A name inside a file is looked up in a table of the few constructors that files of weights need, each of which
is written out below; every other name is refused. Sizes are checked before anything of that size is made.
"""

import io
import math
import mmap
import pickletools
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

MOST_STEPS = 2_000_000
"""Steps of a pickle. The largest published file takes fewer than a tenth of them."""
DEEPEST = 64
"""Containers inside containers. A network's blocks nest fewer than thirty deep."""
LARGEST_REPEAT = 1 << 20
"""A tensor may repeat what is stored (stride 0) up to so many elements; beyond, it has at most what is stored."""
MOST_USES = 4
"""So many times as much as is stored may all tensors of a file show together (weights tied to each other do)."""
LARGEST_INDEX = 1 << 24

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
_DTYPES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
_NUMBERS = {"f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"}


class Refused(Exception):
    """Why a file is not read: a clause without the file's name."""


@dataclass(frozen=True)
class Name:
    """A name that the file asks for; nothing is imported."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(frozen=True, eq=False)
class Storage:
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
class View:
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
class Module:
    """A pickled network of NVIDIA's programs: its class's name and its attributes. Its source text is dropped."""

    class_name: str
    state: dict[str, Any]


@dataclass(eq=False)
class Array:
    """A NumPy array; pickles first make it empty, then fill it."""

    values: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))


@dataclass(eq=False)
class _Kind:
    """A NumPy dtype."""

    code: str


Fetch = Callable[[torch.dtype, str, int], Storage]
"""(kind of number, key, count) -> the storage that a file keeps under this key; raises `Refused`."""


def read(path: Path) -> Any:
    """A whole plain pickle: NVIDIA's network files, StyleCLIP's statistics.

    Args:
        path: an existing file.
    Returns:
        Plain values, `Module`, `View` and `Array` in lists, tuples and dicts.
    Raises:
        Refused: not such a file, damaged, or with anything else inside.
        OSError: it cannot be opened.
    """
    with open(path, "rb") as file, _mapped(file) as content:
        return Machine().run(content)


def check_torch(path: Path) -> None:
    """Makes sure, before PyTorch reads one of its files, that it holds weights and nothing that grows while it is read.

    Args:
        path: an existing file in PyTorch's zip format or its older one.
    Raises:
        Refused: not such a file, damaged, or with anything else inside.
        OSError: it cannot be opened.
    """
    with open(path, "rb") as file:
        # As PyTorch tells them apart: an archive at the end of a file of the older format is not looked at.
        if file.read(4) == b"PK\x03\x04":
            _check_archive(file, path.stat().st_size)
            return
        with _mapped(file) as content:
            _legacy(content, len(content))


def is_torch(path: Path) -> bool:
    """Whether a file begins as PyTorch's files do (the zip format, or the older one's magic number)."""
    with open(path, "rb") as file:
        start = file.read(16)
    return start.startswith(b"PK\x03\x04") or (
        start.startswith(b"\x80\x02\x8a\n") and int.from_bytes(start[4:14], "little") == _LEGACY_MAGIC
    )


def is_pickle(path: Path) -> bool:
    """Whether a file begins as a binary pickle does."""
    with open(path, "rb") as file:
        start = file.read(2)
    return len(start) == 2 and start[0] == 0x80 and 2 <= start[1] <= 5


def _mapped(file: BinaryIO) -> mmap.mmap:
    """A file's content; reading past its end gives less instead of making room for what a length promises."""
    try:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except ValueError as error:
        raise Refused("the file is empty") from error


def _check_archive(file: BinaryIO, size: int) -> None:
    """PyTorch's zip format: nothing compressed, nothing twice, every storage as large as it says."""
    try:
        with zipfile.ZipFile(file) as archive:
            entries = {entry.filename: entry for entry in archive.infolist()}
            programs = [name for name in entries if name.endswith("/data.pkl")]
            if len(programs) != 1:
                raise Refused("it is an archive, but not one of PyTorch's weights")
            root = programs[0].removesuffix("data.pkl")
            if f"{root}constants.pkl" in entries or any(name.startswith(f"{root}code/") for name in entries):
                raise Refused("it is a TorchScript program")
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries.values()):
                raise Refused("parts of it are compressed, which PyTorch never does: they could unpack to any size")
            if len(entries) != len(archive.infolist()) or sum(entry.file_size for entry in entries.values()) > size:
                raise Refused("its parts overlap, so that it would unpack to more than the file's size")

            def fetch(dtype: torch.dtype, key: str, count: int) -> Storage:
                entry = entries.get(f"{root}data/{key}")
                if entry is None or entry.file_size != count * dtype.itemsize:
                    raise Refused(f"storage {key!r} is missing or of another size than it says")
                return Storage(dtype, count)

            Machine(fetch).run(io.BytesIO(archive.read(programs[0])))
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError) as error:
        raise Refused(f"it is damaged or cut short ({error})") from error


def _legacy(stream: Any, size: int) -> tuple[Any, dict[int, int]]:
    """PyTorch's older format: five pickles, then the storages.

    Args:
        stream: positioned at its beginning.
        size: bytes in all.
    Returns:
        The content, and where the numbers of each storage begin, by the storage's id.
    """
    declared: dict[str, Storage] = {}

    def fetch(dtype: torch.dtype, key: str, count: int) -> Storage:
        if count * dtype.itemsize > size:
            raise Refused(f"storage {key!r} says it is larger than the file")
        before = declared.setdefault(key, Storage(dtype, count))
        if (before.dtype, before.count) != (dtype, count):
            raise Refused(f"storage {key!r} is described in two ways")
        return before

    if Machine().run(stream) != _LEGACY_MAGIC or Machine().run(stream) != _LEGACY_PROTOCOL:
        raise Refused("it is not in a format of PyTorch's")
    machine_facts = Machine().run(stream)
    if not isinstance(machine_facts, dict) or machine_facts.get("little_endian") is not True:
        raise Refused("it was written by a machine of another byte order")
    content, keys = Machine(fetch).run(stream), Machine().run(stream)
    if not isinstance(keys, list) or sorted(map(str, keys)) != sorted(declared):
        raise Refused("its storages are not those it uses")
    begins: dict[int, int] = {}
    for key in keys:
        storage = declared[key]
        length = storage.count * storage.dtype.itemsize
        if int.from_bytes(stream.read(8), "little") != storage.count or stream.tell() + length > size:
            raise Refused(f"storage {key!r} is cut short, or of another size than it says")
        begins[id(storage)] = stream.tell()
        stream.seek(length, io.SEEK_CUR)
    return content, begins


class Machine:
    """One pickle's machine: a stack of plain values, a memo, and no calls.

    Args:
        fetch: finds a storage by its key; None where the file has none.
    """

    def __init__(self, fetch: Fetch | None = None) -> None:
        self._fetch = fetch
        self._stack: list[Any] = []
        self._marks: list[list[Any]] = []
        self._memo: dict[int, Any] = {}
        self._stored: dict[Any, int] = {}
        self._shown = 0
        self._steps = 0

    def run(self, stream: Any) -> Any:
        """Reads one pickle from where a binary stream stands, and leaves it behind its end.

        Raises:
            Refused: damaged, too large, or anything but plain values and tensors.
        """
        try:
            for step, argument, _ in pickletools.genops(stream):
                self._count(1)
                if step.name == "STOP":
                    result = self._pop()
                    _check_depth(result, 0, set())
                    if self._shown > MOST_USES * sum(self._stored.values()) + LARGEST_REPEAT:
                        raise Refused("its tensors show the same few numbers over and over")
                    return result
                self._step(step.name, argument)
        except (ValueError, IndexError, KeyError, TypeError, OverflowError, MemoryError, UnicodeError) as error:
            raise Refused(f"it is damaged or cut short ({str(error)[:120]})") from error
        raise Refused("it is cut short")

    def _count(self, steps: int) -> None:
        self._steps += steps
        if self._steps > MOST_STEPS:
            raise Refused(f"it takes more than {MOST_STEPS} steps to read")

    def _pop(self) -> Any:
        if not self._stack:
            raise Refused("it is damaged: a value is missing")
        return self._stack.pop()

    def _popped_mark(self) -> list[Any]:
        if not self._marks:
            raise Refused("it is damaged: a mark is missing")
        items, self._stack = self._stack, self._marks.pop()
        return items

    def _top(self, kind: type) -> Any:
        if not self._stack or not isinstance(self._stack[-1], kind):
            raise Refused("it is damaged: a value is of another kind than it is used as")
        return self._stack[-1]

    def _step(self, name: str, argument: Any) -> None:
        """One opcode, by its name in `pickletools`."""
        stack = self._stack
        match name:
            case "PROTO" if not 2 <= argument <= 5:
                raise Refused(f"it is a pickle of protocol {argument}")
            case "PROTO" | "FRAME":
                pass
            case "NONE":
                stack.append(None)
            case "NEWTRUE" | "NEWFALSE":
                stack.append(name == "NEWTRUE")
            case "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINFLOAT":
                stack.append(argument)
            case "BINUNICODE" | "SHORT_BINUNICODE" | "BINUNICODE8" | "BINBYTES" | "SHORT_BINBYTES" | "BINBYTES8":
                stack.append(argument)
            case "BINSTRING" | "SHORT_BINSTRING":  # Python 2 wrote LPIPS's weights
                stack.append(argument)
            case "MARK":
                self._marks.append(stack)
                self._stack = []
            case "EMPTY_LIST" | "EMPTY_SET":
                stack.append([])
            case "EMPTY_DICT":
                stack.append({})
            case "EMPTY_TUPLE":
                stack.append(())
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                items = [self._pop() for _ in range(int(name[-1]))]
                stack.append(tuple(reversed(items)))
            case "TUPLE":
                items = self._popped_mark()
                self._stack.append(tuple(items))
            case "APPEND":
                item = self._pop()
                self._top(list).append(item)
            case "APPENDS" | "ADDITEMS":
                items = self._popped_mark()
                self._top(list).extend(items)
            case "SETITEM":
                value, key = self._pop(), self._pop()
                self._top(dict)[_checked_key(key)] = value
            case "SETITEMS":
                items = self._popped_mark()
                target = self._top(dict)
                for key, value in zip(items[::2], items[1::2], strict=True):
                    target[_checked_key(key)] = value
            case "BINPUT" | "LONG_BINPUT":
                self._memo[argument] = self._top(object)
            case "MEMOIZE":
                self._memo[len(self._memo)] = self._top(object)
            case "BINGET" | "LONG_BINGET":
                stack.append(self._memo[argument])
            case "GLOBAL":
                stack.append(_known(*argument.split(" ", 1)))
            case "STACK_GLOBAL":
                item, module = self._pop(), self._pop()
                stack.append(_known(module, item))
            case "REDUCE" | "NEWOBJ":
                arguments, called = self._pop(), self._pop()
                stack.append(self._made(called, arguments))
            case "BUILD":
                state = self._pop()
                _build(self._top(object), state)
            case "BINPERSID":
                stack.append(self._storage(self._pop()))
            case _:
                raise Refused(f"it uses pickle's step {name}, which files of weights do without")

    def _made(self, called: Any, arguments: Any) -> Any:
        """What one of the known constructors makes of its arguments."""
        if not isinstance(called, Name) or not isinstance(arguments, tuple):
            raise Refused("it is damaged: something that is no constructor is called")
        make = _CONSTRUCTORS.get((called.module, called.name))
        if make is None:
            raise Refused(f"{called} is used as a constructor")
        made = make(*arguments)
        if make is _entries:
            self._count(len(made))
        if make is _nested:
            self._stored[id(arguments[0])] = made.count
        elif make is _view:
            self._shown += math.prod(made.size)
        return made

    def _storage(self, identity: Any) -> Storage:
        """The storage that PyTorch's persistent id speaks of."""
        if self._fetch is None or not isinstance(identity, tuple) or len(identity) not in (5, 6):
            raise Refused("it refers to a part that it does not have")
        word, kind, key, _, count = identity[:5]
        if word != "storage" or not isinstance(kind, Name) or kind.name not in _DTYPES or not isinstance(key, str):
            raise Refused("it refers to a part that is no storage")
        if type(count) is not int or count < 0 or identity[5:] not in ((), (None,)):
            raise Refused(f"storage {key!r} is described in no known way")
        self._stored[key] = count
        return self._fetch(_DTYPES[kind.name], key, count)


def _known(module: Any, name: Any) -> Name:
    """A name that files of weights use."""
    if (module, name) in _CONSTRUCTORS or (module, name) in _PLAIN_NAMES:
        return Name(module, name)
    if isinstance(module, str) and module.startswith("dnnlib.tflib"):
        raise Refused("it is a network of the TensorFlow program (StyleGAN, or StyleGAN2's first release)")
    raise Refused(f"it asks for {str(module)[:80]}.{str(name)[:80]}, which would have to be run")


def _checked_key(key: Any) -> Any:
    """Keys are names or small numbers: hashing them takes no time."""
    if isinstance(key, str) or (type(key) is int and abs(key) <= LARGEST_INDEX):
        return key
    raise Refused(f"a {type(key).__name__} is used as a key")


def _check_depth(value: Any, depth: int, done: set[int]) -> None:
    """Refuses what is nested too deep, or in itself; each container is looked at once per depth bound."""
    if isinstance(value, Module):
        value = value.state
    if not isinstance(value, list | tuple | dict):
        return
    if depth > DEEPEST:
        raise Refused(f"it nests more than {DEEPEST} deep, or in itself")
    if id(value) in done:
        return
    for item in value.values() if isinstance(value, dict) else value:
        _check_depth(item, depth + 1, done)
    done.add(id(value))


def _build(target: Any, state: Any) -> None:
    """Fills what a constructor left empty; attributes of dicts (a state dict's versions) are dropped."""
    if isinstance(target, Array) and isinstance(state, tuple) and len(state) == 5:
        _, shape, kind, by_column, content = state
        if by_column is not False or not isinstance(kind, _Kind) or not isinstance(content, bytes):
            raise Refused("an array is stored in no known way")
        _check_counts(shape)
        if math.prod(shape) * np.dtype(kind.code).itemsize != len(content):
            raise Refused(f"an array of shape {list(shape)} has {len(content)} bytes")
        target.values = np.frombuffer(content, np.dtype(kind.code).newbyteorder("<")).reshape(shape)
    elif isinstance(target, _Kind) and isinstance(state, tuple) and len(state) > 2 and state[1] in ("<", "|"):
        pass
    elif not isinstance(target, dict) or not isinstance(state, dict):
        raise Refused("it is damaged: a value is filled that is complete")


def _check_counts(numbers: Any) -> None:
    if not isinstance(numbers, tuple) or len(numbers) > 8:
        raise Refused("a tensor's shape is no list of a few numbers")
    if not all(type(number) is int and 0 <= number < 1 << 62 for number in numbers):
        raise Refused("a tensor's shape has an entry that is no size")


def _view(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> View:
    """torch._utils._rebuild_tensor_v2; hooks and gradients are dropped."""
    if not isinstance(storage, Storage):
        raise Refused("a tensor has no storage")
    for numbers in ((offset,), size, stride):
        _check_counts(numbers)
    elements = math.prod(size)
    reach = offset + sum((side - 1) * step for side, step in zip(size, stride, strict=True)) + 1
    if elements and (reach > storage.count or elements > max(storage.count, LARGEST_REPEAT)):
        raise Refused(f"a tensor of shape {list(size)} ({elements} elements) has a storage of {storage.count}")
    return View(storage, offset, size, stride)


def _parameter(view: Any, *_: Any) -> View:
    """torch._utils._rebuild_parameter."""
    if not isinstance(view, View):
        raise Refused("a parameter is no tensor")
    return view


def _nested(content: Any) -> Storage:
    """torch.storage._load_from_bytes: one storage as a file of PyTorch's older format."""
    if not isinstance(content, bytes):
        raise Refused("a storage has no content")
    storage, begins = _legacy(io.BytesIO(content), len(content))
    if not isinstance(storage, Storage):
        raise Refused("a storage holds something else")
    begin = begins[id(storage)]
    # A part of what was read, not a copy: a file may name the same bytes any number of times.
    return Storage(
        storage.dtype, storage.count, memoryview(content)[begin : begin + storage.count * storage.dtype.itemsize]
    )


def _module(meta: Any) -> Module:
    """torch_utils.persistence._reconstruct_persistent_obj; the source text in it is not looked at."""
    if not isinstance(meta, dict) or meta.get("type") != "class" or not isinstance(meta.get("state"), dict):
        raise Refused("a network is described in no known way")
    return Module(str(meta.get("class_name")), meta["state"])


def _entries(pairs: Any = ()) -> dict[Any, Any]:
    """collections.OrderedDict, dnnlib.util.EasyDict, argparse.Namespace: to be filled, or (by Python 2) of pairs."""
    return {_checked_key(key): value for key, value in pairs}


def _items(items: Any = ()) -> Any:
    """builtins.set, torch.Size: the very list that it would be made of."""
    return items


def _kind(code: Any, *_: Any) -> _Kind:
    """numpy.dtype, of numbers only."""
    if code not in _NUMBERS:
        raise Refused(f"an array holds {str(code)[:20]!r} instead of numbers")
    return _Kind(code)


def _array(*_: Any) -> Array:
    """numpy.core.multiarray._reconstruct: empty, to be filled."""
    return Array()


def _scalar(kind: Any, content: Any) -> int | float:
    """numpy.core.multiarray.scalar."""
    if not isinstance(kind, _Kind) or not isinstance(content, bytes) or len(content) != np.dtype(kind.code).itemsize:
        raise Refused("a number is stored in no known way")
    return np.frombuffer(content, np.dtype(kind.code).newbyteorder("<"))[0].item()


_CONSTRUCTORS: Mapping[tuple[Any, Any], Callable[..., Any]] = {
    ("collections", "OrderedDict"): _entries,
    ("argparse", "Namespace"): _entries,
    ("dnnlib.util", "EasyDict"): _entries,
    ("builtins", "set"): _items,
    ("__builtin__", "set"): _items,
    ("torch", "Size"): _items,
    ("torch._utils", "_rebuild_tensor_v2"): _view,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch.storage", "_load_from_bytes"): _nested,
    ("torch_utils.persistence", "_reconstruct_persistent_obj"): _module,
    ("numpy", "dtype"): _kind,
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy._core.multiarray", "scalar"): _scalar,
    ("numpy.core.multiarray", "_reconstruct"): _array,
    ("numpy._core.multiarray", "_reconstruct"): _array,
}
_PLAIN_NAMES = {("torch", name) for name in _DTYPES} | {("numpy", "ndarray")}
