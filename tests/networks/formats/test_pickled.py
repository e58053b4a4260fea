"""Pickled weights: what is read, and hostile files that every door refuses without running or growing anything."""

import collections
import io
import pickle
import re
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from stitch.core.errors import WeightsError
from stitch.networks.formats import checkpoints, nvidia, pickled
from tests import golden

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


def nested(inside: object) -> bytes:
    """A storage whose own pickle holds something else."""
    stream = io.BytesIO()
    for value in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}, inside, []):
        pickle.dump(value, stream, 2)
    return tensor_of((4,), (1,), stream.getvalue())


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


def doubling(levels: int) -> bytes:
    """A list of the same list twice, and so on: small in the file, endless to walk; then used as a key."""
    return b"\x80\x03}(]" + b"".join(b"q%ch%c\x86" % (level, level) for level in range(levels)) + b"K\x01u."


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
    "doubled key": lambda: doubling(60),
    "nested in itself": itself,
    "nested 2000 deep": lambda: nesting(2_000),
    "bytearray of 2^40": lambda: Named("builtins", "bytearray", 1 << 40).dumps(),
    "persistent id": lambda: b"\x80\x03(X\x07\x00\x00\x00storageK\x01tQ.",
    "extension code": lambda: b"\x80\x03\x82\x01.",
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


def doors(path: Path) -> dict[str, Callable[[], object]]:
    return {
        "load_checkpoint": lambda: checkpoints.load_checkpoint(path),
        "load_generator": lambda: checkpoints.load_generator(path),
        "load_inverter": lambda: checkpoints.load_inverter(path),
        "load_array": lambda: checkpoints.load_array(path),
        "load_statistics": lambda: checkpoints.load_statistics(path),
    }


def assert_refused(path: Path) -> None:
    for name, door in doors(path).items():
        with pytest.raises(WeightsError) as caught:
            door()
        assert str(path) in str(caught.value) or "generator" in str(caught.value), name
        assert re.search("fetch|use another|use a |install|export|use StyleCLIP", str(caught.value)), caught.value


@pytest.mark.parametrize("suffix", [".pkl", ".pt", ".safetensors", ""])
@pytest.mark.parametrize("name", PLAIN)
def test_every_door_refuses_a_hostile_pickle(tmp_path: Path, monkeypatch, name, suffix):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / f"hostile{suffix}"
    path.write_bytes(PLAIN[name]())
    assert_refused(path)
    assert not (tmp_path / MARK).exists()


REASONS = {
    "reduce to os.system": r"asks for (posix|nt)\.system",
    "reduce to builtins.eval": r"asks for builtins\.eval",
    "nested storage with a pickle in it": r"asks for (posix|nt)\.system",
    "look-alike module": r"asks for torch\._utils_\._rebuild_tensor_v2",
    "look-alike letter": r"asks for t.rch\._utils",
    "name within a known module": r"asks for torch\.storage\.os\.system",
    "2^40-element shape": r"1099511627776 elements\) has a storage of 4",
    "2^40 repeats of one number": r"1099511627776 elements\) has a storage of 4",
    "offset beyond the storage": r"4 elements\) has a storage of 4",
    "storage longer than its bytes": "cut short",
    "doubled key": "a tuple is used as a key",
    "nested in itself": "in itself",
    "nested 2000 deep": "nests more than 64 deep",
    "bytearray of 2^40": r"asks for builtins\.bytearray",
    "extension code": "step EXT1",
    "TensorFlow network": "TensorFlow",
    "no network": "without a network",
}


@pytest.mark.parametrize("name", REASONS)
def test_a_refusal_says_why(tmp_path: Path, name):
    (tmp_path / "hostile.pkl").write_bytes(PLAIN[name]())
    with pytest.raises(WeightsError, match=REASONS[name]):
        checkpoints.load_generator(tmp_path / "hostile.pkl")


TORCH_REASONS = {
    "zip bomb": "compressed",
    "shape of 2^40": "has a storage of 4",
    "storage of 2^40": "of another size than it says",
    "2^40 repeats": "has a storage of 4",
    "bytearray": r"asks for builtins\.bytearray",
    "nested in itself": "in itself",
    "torchscript": "TorchScript",
    "another archive": "not one of PyTorch's weights",
}


def test_a_refusal_of_a_file_of_pytorchs_says_why(tmp_path: Path):
    paths = torch_files(tmp_path)
    for name, reason in TORCH_REASONS.items():
        with pytest.raises(WeightsError, match=reason):
            checkpoints.load_checkpoint(paths[name])


def test_hostile_pickles_do_run_where_nothing_stops_them(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("reduce to os.system", "reduce to builtins.eval"):
        pickle.loads(PLAIN[name]())
        assert (tmp_path / MARK).exists()
        (tmp_path / MARK).unlink()


def test_every_door_refuses_a_hostile_file_of_pytorchs(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, path in torch_files(tmp_path).items():
        if name != "torchscript":
            assert_refused(path)
        else:
            with pytest.raises(WeightsError, match="refused"):
                checkpoints.load_checkpoint(path)
        assert not (tmp_path / MARK).exists(), name


def test_a_pickle_of_too_many_steps_is_refused(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(pickled, "MOST_STEPS", 1000)
    (tmp_path / "endless.pkl").write_bytes(b"\x80\x03]" + b"(e" * 1000 + b".")
    with pytest.raises(WeightsError, match="more than 1000 steps"):
        checkpoints.load_generator(tmp_path / "endless.pkl")


HEADERS = {
    "shape of 2^40": {"descr": "<f4", "fortran_order": False, "shape": (1 << 40,)},
    "objects": {"descr": "|O", "fortran_order": False, "shape": (1,)},
    "negative": {"descr": "<f4", "fortran_order": False, "shape": (-1,)},
    "no numbers": {"descr": "|V4", "fortran_order": False, "shape": (4,)},
}


@pytest.mark.parametrize("name", HEADERS)
def test_load_array_refuses_a_hostile_npy(tmp_path: Path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "direction.npy"
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, HEADERS[name])
        file.write(pickle.dumps(shell(), 3))
    with pytest.raises(WeightsError, match="not an array of numbers"):
        checkpoints.load_array(path)
    assert not (tmp_path / MARK).exists()


def test_load_array_refuses_pickled_objects_and_archives_of_arrays(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save(tmp_path / "objects.npy", np.array([shell()], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "several.npz", a=np.zeros(3))
    for name in ("objects.npy", "several.npz"):
        with pytest.raises(WeightsError):
            checkpoints.load_array(tmp_path / name)
    assert not (tmp_path / MARK).exists()


@pytest.mark.parametrize("shape, end", [([1 << 40], 16), ([4], 1 << 40), ([4], 12)])
def test_doors_refuse_a_hostile_safetensors(tmp_path: Path, shape, end):
    header = f'{{"a":{{"dtype":"F32","shape":{shape},"data_offsets":[0,{end}]}}}}'.encode()
    path = tmp_path / "a.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(16))
    with pytest.raises(WeightsError, match="not a safetensors file"):
        checkpoints.load_checkpoint(path)
    path.write_bytes(struct.pack("<Q", 1 << 40) + header)
    with pytest.raises(WeightsError, match="not a safetensors file"):
        checkpoints.load_generator(path)


MEMORY = """
import resource, sys
from pathlib import Path
from stitch.core.errors import WeightsError
from stitch.networks.formats import checkpoints
import argparse, torch, zipfile, pickletools, mmap
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
try:
    checkpoints.load_checkpoint(Path(sys.argv[1]))
except WeightsError:
    pass
before = peak()
for name in sys.argv[1:]:
    for door in (checkpoints.load_generator, checkpoints.load_array):
        try:
            door(Path(name))
        except WeightsError:
            continue
        sys.exit(f"{name} was not refused")
    print(name, round(peak() - before))
print(peak() - before)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="peak memory is read from the resource module")
def test_refusals_leave_memory_flat(tmp_path: Path):
    # In a process of its own, whose peak nothing else raised. The files promise from 64 MiB (the zip bomb) to 4 TiB.
    paths = []
    for number, name in enumerate(PLAIN):
        paths.append(tmp_path / f"{number}.pkl")
        paths[-1].write_bytes(PLAIN[name]())
    torches = torch_files(tmp_path)
    paths += [path for name, path in torches.items() if name not in ("torchscript", "cut short")]
    result = subprocess.run(
        [sys.executable, "-c", MEMORY, *map(str, paths)], capture_output=True, text=True, cwd=golden.REPOSITORY
    )
    assert result.returncode == 0, result.stderr
    assert float(result.stdout.split()[-1]) < 40, result.stdout
    assert not (golden.REPOSITORY / MARK).exists()


# --- what is read ----------------------------------------------------------------------------------------------------


def test_networks_leave_the_embedded_source_alone(tmp_path: Path):
    path = tmp_path / "n.pkl"
    path.write_bytes(network_of(tensor_of((2, 2), (1, 2))))
    assert b"raise SystemExit" in path.read_bytes()
    network = nvidia.networks(path)["G_ema"]
    assert network.class_name == "Generator" and network.conv_clamp is None
    assert torch.equal(network.state()["a"], torch.tensor([[1.0, 3.0], [2.0, 4.0]]))


@golden.needs_golden
def test_network_pickles_hold_the_manifests_tensors():
    expected = golden.state("nvidia_tiny_pickle")
    paths = sorted(golden.FOLDER.glob("c02_*.pkl"))
    assert paths
    for path in paths:
        state = nvidia.generator(path).state()
        assert list(state) == list(expected)
        assert all(torch.equal(state[key], tensor) for key, tensor in expected.items())
        assert checkpoints.load_checkpoint(path)["G_ema"].keys() == state.keys()


@golden.needs_golden
def test_truncated_network_pickles_are_refused(tmp_path: Path):
    content = next(golden.FOLDER.glob("c02_*.pkl")).read_bytes()
    for length in range(2, len(content) - 1, len(content) // 40):
        (tmp_path / "cut.pkl").write_bytes(content[:length])
        with pytest.raises(WeightsError, match="refused"):
            checkpoints.load_generator(tmp_path / "cut.pkl")


@golden.needs_golden
def test_damaged_network_pickles_raise_nothing_but_weights_errors(tmp_path: Path):
    content = bytearray(next(golden.FOLDER.glob("c02_*.pkl")).read_bytes())
    rng = np.random.default_rng(0)
    for _ in range(60):
        damaged = content.copy()
        for place in rng.integers(2, len(content), 12):
            damaged[place] = rng.integers(256)
        (tmp_path / "damaged.pkl").write_bytes(damaged)
        try:
            checkpoints.load_generator(tmp_path / "damaged.pkl")
        except WeightsError:
            continue


def test_both_formats_of_pytorch_are_read(tmp_path: Path):
    state = collections.OrderedDict(torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2)).state_dict())
    for new in (True, False):
        torch.save({"state_dict": state, "n": 3}, tmp_path / "w.pth", _use_new_zipfile_serialization=new)
        again = checkpoints.load_checkpoint(tmp_path / "w.pth")
        assert all(torch.equal(again["state_dict"][key], tensor) for key, tensor in state.items())


def test_files_of_python_2_are_read(tmp_path: Path):
    # As LPIPS's own weights: byte strings for text, and an ordered dict made of pairs.
    stream = io.BytesIO()
    for value in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}):
        pickle.dump(value, stream, 2)
    identity = b"(U\x07storagectorch\nFloatStorage\nU\x010U\x03cpuK\x02NtQ"
    rest = b"K\x00K\x02\x85K\x01\x85\x89ccollections\nOrderedDict\n)RtR"
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n(" + identity + rest
    stream.write(b"\x80\x02ccollections\nOrderedDict\n]](U\x01a" + tensor + b"ea\x85R.")
    stream.write(b"\x80\x02]U\x010a." + struct.pack("<q2f", 2, 1.5, 2.5))
    (tmp_path / "old.pth").write_bytes(stream.getvalue())
    assert checkpoints.load_checkpoint(tmp_path / "old.pth")["a"].tolist() == [1.5, 2.5]


def test_load_array_reads_arrays_and_tensors(tmp_path: Path):
    direction = np.arange(6.0).reshape(2, 3)
    np.save(tmp_path / "d.npy", direction.astype(np.float16))
    torch.save(torch.from_numpy(direction), tmp_path / "d.pt")
    torch.save(torch.from_numpy(direction), tmp_path / "e.pt", _use_new_zipfile_serialization=False)
    for name in ("d.npy", "d.pt", "e.pt"):
        found = checkpoints.load_array(tmp_path / name)
        assert found.dtype == torch.float32 and torch.equal(found, torch.from_numpy(direction).float())


@pytest.mark.parametrize("protocol", [3, 4])
def test_load_statistics_reads_the_stds(tmp_path: Path, protocol):
    stds = [np.arange(4, dtype=np.float32), np.ones(2, np.float32)]
    means = [array * 0 for array in stds]
    (tmp_path / "S_mean_std").write_bytes(pickle.dumps([means, stds], protocol))
    found = checkpoints.load_statistics(tmp_path / "S_mean_std")
    assert [tensor.tolist() for tensor in found] == [array.tolist() for array in stds]


def test_machine_reads_plain_values():
    values = {"a": [1, 2.5, None, True, "text", b"bytes", (1, (2,)), 1 << 40], 7: {"b": {}}}
    for protocol in (2, 3, 4):
        plain = {**values, "a": [value for value in values["a"] if protocol > 2 or not isinstance(value, bytes)]}
        assert pickled.Machine().run(io.BytesIO(pickle.dumps(plain, protocol))) == plain
