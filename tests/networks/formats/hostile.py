"""Hostile files: pickles that would run something, grow without end or never finish, and archives of PyTorch's."""

import io
import pickle
import re
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import torch

MARK = "ran"
"""Name of the file that a hostile file makes, in the current folder, if it is run."""


class Calls:
    """Pickles as a call."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


class Named:
    """Pickles as a call of a name that need not exist."""

    def __init__(self, module: str, name: str, *arguments):
        self.name, self.arguments = f"{module}\n{name}", arguments

    def dumps(self) -> bytes:
        return b"\x80\x03c" + self.name.encode() + b"\n" + pickle.dumps(self.arguments, 2)[2:-1] + b"R."


def storage_bytes(content: bytes = struct.pack("<4f", 1, 2, 3, 4)) -> bytes:
    """A storage of four numbers as NVIDIA's pickles nest it, or with other bytes at its end."""
    stream = io.BytesIO()
    untyped = torch.tensor([1.0, 2.0, 3.0, 4.0]).untyped_storage()
    typed = torch.storage.TypedStorage(wrap_storage=untyped, dtype=torch.float32, _internal=True)
    torch.save(typed, stream, _use_new_zipfile_serialization=False)
    return stream.getvalue()[:-16] + content


def tensor_of(size: tuple[int, ...], stride: tuple[int, ...], storage: bytes | None = None) -> bytes:
    """A tensor as NVIDIA's pickles hold it, as a whole pickle of its own."""
    text = b"\x80\x03ctorch._utils\n_rebuild_tensor_v2\n(ctorch.storage\n_load_from_bytes\n"
    text += pickle.dumps((storage_bytes() if storage is None else storage,), 3)[2:-1] + b"R"
    rest = b"".join(pickle.dumps(value, 3)[2:-1] for value in (0, size, stride, False))
    return text + rest + b"ccollections\nOrderedDict\n)RtR."


def network_of(value: bytes) -> bytes:
    """A network pickle whose generator has one parameter, pickled as `value`."""
    head = pickle.dumps({"type": "class", "version": 6, "module_src": "raise SystemExit", "class_name": "Generator"}, 2)
    state = b"}(X\x0b\x00\x00\x00_parameters}X\x01\x00\x00\x00a" + value[2:-1] + b"su"
    made = b"ctorch_utils.persistence\n_reconstruct_persistent_obj\n" + head[2:-1] + b"X\x05\x00\x00\x00state" + state
    return b"\x80\x03}X\x05\x00\x00\x00G_ema" + made + b"s\x85Rs."


def nested(inside: object, keys: bytes = b"]") -> bytes:
    """A storage whose own pickle holds something else, then a list of keys."""
    stream = io.BytesIO()
    for value in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}, inside):
        pickle.dump(value, stream, 2)
    return tensor_of((4,), (1,), stream.getvalue() + b"\x80\x02" + keys + b".")


def archive(path: Path, program: bytes, storages: dict[str, bytes], compress: int = zipfile.ZIP_STORED) -> None:
    """PyTorch's zip format with a program of our own."""
    with zipfile.ZipFile(path, "w", compress) as written:
        written.writestr("w/data.pkl", program)
        for key, content in storages.items():
            written.writestr(f"w/data/{key}", content)
        written.writestr("w/version", "3\n")


def torch_tensor(size: tuple[int, ...], stride: tuple[int, ...], count: int) -> bytes:
    """The program of a PyTorch file with one tensor."""
    identity = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu"
    identity += pickle.dumps(count, 2)[2:-1] + b"tQ"
    rest = b"".join(pickle.dumps(value, 2)[2:-1] for value in (0, size, stride, False))
    made = b"ctorch._utils\n_rebuild_tensor_v2\n(" + identity + rest + b"ccollections\nOrderedDict\n)RtR"
    return b"\x80\x02}X\x01\x00\x00\x00a" + made + b"s."


def doubled(levels: int) -> bytes:
    """A pair of the same pair twice, and so on: small in the file, endless to walk, to hash or to write out."""
    return b")" + b"".join(b"q%ch%c\x86" % (level, level) for level in range(levels))


def nesting(levels: int) -> bytes:
    return b"\x80\x03" + b"]" * levels + b"a" * (levels - 1) + b"."


def itself() -> bytes:
    values: dict = {}
    values["a"] = [values]
    return pickle.dumps(values, 3)


def mark() -> str:
    return f"open({MARK!r}, 'w').write('x')"


def shell() -> Calls:
    import os

    return Calls(os.system, f"touch {MARK}")


PLAIN: dict[str, Callable[[], bytes]] = {
    "reduce to os.system": lambda: pickle.dumps(shell(), 3),
    "reduce to os.system, protocol 4": lambda: pickle.dumps({"a": shell()}, 4),
    "reduce to builtins.eval": lambda: pickle.dumps({"weight": Calls(eval, mark())}, 3),
    "eval by its old name": lambda: Named("__builtin__", "eval", mark()).dumps(),
    "getattr of a module": lambda: Named("builtins", "getattr", "x", "y").dumps(),
    "nested storage with a pickle in it": lambda: network_of(nested(shell())),
    "look-alike module": lambda: network_of(Named("torch._utils_", "_rebuild_tensor_v2", mark()).dumps()),
    "look-alike letter": lambda: b"\x80\x04\x8c\x0dt\xd0\xberch._utils\x8c\x12_rebuild_tensor_v2\x93)R.",
    "name within a known module": lambda: network_of(Named("torch.storage", "os.system", f"touch {MARK}").dumps()),
    "2^40-element shape": lambda: network_of(tensor_of((1 << 40,), (1,))),
    "2^40 repeats of one number": lambda: network_of(tensor_of((1 << 20, 1 << 20), (0, 0))),
    "offset beyond the storage": lambda: network_of(tensor_of((4,), (2,))),
    "storage longer than its bytes": lambda: network_of(tensor_of((4,), (1,), storage_bytes(b"\0"))),
    "huge memo": lambda: b"\x80\x03}r\xff\xff\xff\x7fj\xff\xff\xff\x7f0.",
    "number of 2^31 digits": lambda: b"\x80\x03\x8b\xff\xff\xff\x7f1.",
    "bytes longer than the file": lambda: b"\x80\x04\x8e" + struct.pack("<Q", 1 << 40) + b"x.",
    "frame longer than the file": lambda: b"\x80\x04\x95" + struct.pack("<Q", 1 << 60) + b"\x8e.",
    "doubled key": lambda: b"\x80\x03}(" + doubled(60) + b"K\x01u.",
    "nested in itself": itself,
    "nested 2000 deep": lambda: nesting(2_000),
    "bytearray of 2^40": lambda: Named("builtins", "bytearray", 1 << 40).dumps(),
    "persistent id": lambda: b"\x80\x03(X\x07\x00\x00\x00storageK\x01tQ.",
    "extension code": lambda: b"\x80\x03\x82\x01.",
    "list as key": lambda: b"\x80\x03}]K\x01s.",
    "name of a megabyte as key": lambda: pickle.dumps({"a" * (1 << 20): 1}, 3),
    "number of 2000 digits as key": lambda: pickle.dumps({1 << 2000: 1}, 3),
    "doubled kind of number": lambda: b"\x80\x03cnumpy\ndtype\n" + doubled(60) + b"\x85R.",
    "doubled class name": lambda: network_of(tensor_of((4,), (1,))).replace(
        b"X\x09\x00\x00\x00Generator", doubled(60)
    ),
    "doubled storage keys": lambda: network_of(nested(4, doubled(60))),
    "doubled key of pairs": lambda: b"\x80\x02ccollections\nOrderedDict\n]](" + doubled(60) + b"K\x01ea\x85R.",
    "set of doubled tuples": lambda: b"\x80\x04\x8f(" + doubled(60) + b"\x90.",
    "constructor given attributes": lambda: network_of(
        b"\x80\x03ctorch._utils\n_rebuild_tensor_v2\n}X\x04\x00\x00\x00makeK\x01sb."
    ),
    "constructor given slots": lambda: b"\x80\x03ctorch\nSize\nN}X\x04\x00\x00\x00makeK\x01s\x86b.",
    "class given attributes": lambda: b"\x80\x03cargparse\nNamespace\n}X\x05\x00\x00\x00clearK\x01sb.",
    "storage given attributes": lambda: network_of(
        b"\x80\x03ctorch.storage\n_load_from_bytes\n"
        + pickle.dumps(storage_bytes(), 3)[2:-1]
        + b"\x85R}X\x05\x00\x00\x00countK\x7fsb."
    ),
    "kind of storage called": lambda: b"\x80\x03ctorch\nFloatStorage\nK\x04\x85R.",
    "new object of a constructor": lambda: b"\x80\x03ctorch\nSize\n)\x81.",
    "new object of a text": lambda: b"\x80\x03X\x01\x00\x00\x00a)\x81.",
    "text called": lambda: b"\x80\x03X\x01\x00\x00\x00a)R.",
    "duplicates": lambda: b"\x80\x03]" + b"2" * 1000 + b"0" * 1000 + b".",
    "long number of 4 GiB": lambda: b"\x80\x03\x8b\xff\xff\xff\x7f" + b"1" * 100 + b".",
    "value below a mark": lambda: b"\x80\x03](K\x01\x86.",
    "nothing to end with": lambda: b"\x80\x03.",
    "never remembered": lambda: b"\x80\x03h\x07.",
    "list 100000 deep": lambda: nesting(100_000),
    "tuple 100000 deep": lambda: b"\x80\x03)" + b"\x85" * 100_000 + b".",
    "list of what is not kept is a number": lambda: network_of(tensor_of((4,), (1,))).replace(
        b"}(X\x0b\x00\x00\x00", b"}(X\x1b\x00\x00\x00_non_persistent_buffers_setK\x05X\x0b\x00\x00\x00"
    ),
    "text protocol": lambda: pickle.dumps(shell(), 0),
    "wrong magic": lambda: b"\x80\x02\x8a\n" + b"\x01" * 10 + b".",
    "TensorFlow network": lambda: Named("dnnlib.tflib.network", "Network").dumps(),
    "no network": lambda: pickle.dumps({"a": [1, 2.5, None, "x"]}, 3),
    "empty": bytes,
    "HTML page": lambda: b"<!DOCTYPE html><html>404</html>",
}


def torch_files(folder: Path) -> dict[str, Path]:
    """Hostile files in PyTorch's formats."""
    paths = {}

    def path(name: str) -> Path:
        paths[name] = folder / f"{re.sub('[^a-z0-9]+', '_', name)}.pt"
        return paths[name]

    torch.save({"weight": shell()}, path("reduce to os.system"))
    torch.save({"weight": shell()}, path("the same, older format"), _use_new_zipfile_serialization=False)
    torch.save({"weight": torch.zeros(100)}, path("cut short"))
    paths["cut short"].write_bytes(paths["cut short"].read_bytes()[:-200])
    torch.save({"weight": torch.zeros(100)}, path("older format cut short"), _use_new_zipfile_serialization=False)
    paths["older format cut short"].write_bytes(paths["older format cut short"].read_bytes()[:-20])
    archive(path("zip bomb"), torch_tensor((1 << 24,), (1,), 1 << 24), {"0": bytes(1 << 26)}, zipfile.ZIP_DEFLATED)
    archive(path("shape of 2^40"), torch_tensor((1 << 40,), (1,), 4), {"0": bytes(16)})
    archive(path("storage of 2^40"), torch_tensor((4,), (1,), 1 << 40), {"0": bytes(16)})
    archive(path("2^40 repeats"), torch_tensor((1 << 40,), (0,), 4), {"0": bytes(16)})
    archive(path("bytearray"), Named("builtins", "bytearray", 1 << 40).dumps(), {})
    archive(path("nested in itself"), itself().replace(b"\x80\x03", b"\x80\x02"), {})
    archive(path("no program"), b"", {})
    with zipfile.ZipFile(path("another archive"), "w") as written:
        written.writestr("word/document.xml", "<x/>")
    torch.jit.script(torch.nn.Linear(1, 1)).save(str(path("torchscript")))
    many = b"\x80\x02](" + torch_tensor((1 << 20,), (0,), 4)[14:-2] + b"q\x00" + b"h\x00" * 5 + b"e."
    archive(path("a list"), many, {"0": bytes(16)})
    return paths
