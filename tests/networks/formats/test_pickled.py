"""Pickled weights: what is read, and hostile files that every door refuses without running or growing anything."""

import collections
import io
import pickle
import re
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from stitch.core.errors import WeightsError
from stitch.networks.formats import checkpoints, generators, nvidia, pickled, standins
from tests import golden
from tests.networks.formats.hostile import MARK, PLAIN, network_of, shell, tensor_of, torch_files


def doors(path: Path) -> dict[str, Callable[[], object]]:
    return {
        "load_checkpoint": lambda: checkpoints.load_checkpoint(path),
        "load_generator": lambda: generators.load_generator(path),
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
        generators.load_generator(tmp_path / "hostile.pkl")


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
    monkeypatch.setattr(standins, "MOST_STEPS", 1000)
    (tmp_path / "endless.pkl").write_bytes(b"\x80\x03]" + b"(e" * 1000 + b".")
    with pytest.raises(WeightsError, match="more than 1000 steps"):
        generators.load_generator(tmp_path / "endless.pkl")


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
        generators.load_generator(path)


MEMORY = """
import resource, sys
from pathlib import Path
from stitch.core.errors import WeightsError
from stitch.networks.formats import checkpoints, generators
import argparse, torch, zipfile, pickletools, mmap
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
try:
    checkpoints.load_checkpoint(Path(sys.argv[1]))
except WeightsError:
    pass
before = peak()
for name in sys.argv[1:]:
    for door in (generators.load_generator, checkpoints.load_array, checkpoints.load_statistics):
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


def test_names_that_share_a_view_share_its_memory(tmp_path: Path):
    # 4 MiB of repeats of one number, under 60 names: a small file that could ask for any amount.
    view = tensor_of((1 << 20,), (0,))
    names = b"".join(b"X\x02\x00\x00\x00%02dh\x00" % number for number in range(60))
    content = network_of(view[:-1] + b"q\x00.").replace(b"su", b"s(" + names + b"uu", 1)
    (tmp_path / "n.pkl").write_bytes(content)
    state = nvidia.generator(tmp_path / "n.pkl").state()
    assert len(state) == 61 and len({tensor.data_ptr() for tensor in state.values()}) == 1


@golden.needs_golden
def test_network_pickles_hold_the_manifests_tensors():
    (tiny,) = [part for part in golden.load("c02").meta["cases"].values() if "globals_protocol3" in part]
    expected = golden.state(golden.manifest_of("nvidia", "tiny_pickle", golden.of_sizes(tiny["init_kwargs"])))
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
            generators.load_generator(tmp_path / "cut.pkl")


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
            generators.load_generator(tmp_path / "damaged.pkl")
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


def test_load_statistics_refuses_one_array_named_for_every_layer(tmp_path: Path):
    array = np.zeros(4, np.float32)
    (tmp_path / "S_mean_std").write_bytes(pickle.dumps([[array] * 1000, [array] * 1000], 4))
    with pytest.raises(WeightsError, match="no means and stds"):
        checkpoints.load_statistics(tmp_path / "S_mean_std")


def test_read_gives_plain_values(tmp_path: Path):
    values = {"a": [1, 2.5, None, True, "text", b"bytes", (1, (2,)), 1 << 40], 7: {"b": {}}, "set": {"a", 2}}
    for protocol in (3, 4, 5):
        plain = {**values, "set": sorted(values["set"], key=str)} if protocol < 4 else values
        (tmp_path / "plain.pkl").write_bytes(pickle.dumps(plain, protocol))
        assert pickled.read(tmp_path / "plain.pkl") == plain
