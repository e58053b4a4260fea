"""Telling what a file of weights is for."""

import os
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from stitch.networks.formats import kinds
from stitch.networks.formats.kinds import kind_of
from tests import golden
from tests.golden import REAL, needs_golden, needs_real


def state(kind):
    return {name: torch.zeros(2) for name in kinds._SIGNS[kind]}


@pytest.mark.parametrize("kind", sorted(kinds._SIGNS))
@pytest.mark.parametrize("layout", ["bare", "parallel", "state_dict", "old", "safetensors"])
def test_kind_of_tells_each_network_in_each_layout(tmp_path, kind, layout):
    tensors = state(kind)
    if layout == "safetensors":
        save_file(tensors, path := tmp_path / "file.safetensors")
    else:
        path = tmp_path / "file.pth"
        content = {"bare": tensors, "old": tensors, "state_dict": {"state_dict": tensors, "opts": {"a": 1}}}.get(
            layout, {f"module.{name}": tensor for name, tensor in tensors.items()}
        )
        torch.save(content, path, _use_new_zipfile_serialization=layout != "old")
    assert kind_of(path) == kind


@pytest.mark.parametrize("kind", sorted(kinds._SIGNS))
def test_kind_of_wants_all_signs(tmp_path, kind):
    tensors = state(kind)
    tensors.pop(min(tensors))
    torch.save(tensors, tmp_path / "file.pt")
    assert kind_of(tmp_path / "file.pt") is None


@needs_golden
@pytest.mark.parametrize(
    ("kind", "manifest"),
    [("encoder", "e4e_encoder_1024"), ("parser", "bisenet19"), ("identity", "arcface_ir_se50"),
     ("perceptual", "lpips_alexnet")],
)
def test_signs_are_names_of_the_published_files(kind, manifest):
    names = {row["key"] for row in golden.manifest(manifest)["tensors"]} | {"latent_avg"}
    assert {one for one, signs in kinds._SIGNS.items() if signs <= names} == {kind}


def test_signs_are_names_of_the_landmark_network():
    import stitch.networks.facexlib  # noqa: F401  (makes facexlib importable)

    # isort: split
    from facexlib.alignment.awing_arch import FAN

    with torch.device("meta"):
        names = set(FAN(num_modules=4, num_landmarks=98, device="cpu").state_dict())
    assert {kind for kind, signs in kinds._SIGNS.items() if signs <= names} == {"landmarks"}


@needs_real
def test_kind_of_tells_a_published_detector():
    assert kind_of(REAL / "detection_mobilenet0.25_Final.pth") == "detector"


@pytest.mark.parametrize(("shape", "kind"), [((6048, 512), "relevance"), ((18, 512), None), ((6048,), None)])
def test_kind_of_tells_relevance_by_its_shape(tmp_path, shape, kind):
    np.save(tmp_path / "mine.npy", np.zeros(shape, np.float16))
    assert kind_of(tmp_path / "mine.npy") == kind


class Hostile:
    def __reduce__(self):
        return os.system, ("touch hostile_ran",)


def test_kind_of_runs_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save(state("parser") | {"x": Hostile()}, tmp_path / "a.pth")
    torch.save(state("parser") | {"x": Hostile()}, tmp_path / "b.pth", _use_new_zipfile_serialization=False)
    np.save(tmp_path / "c.npy", np.array([Hostile()], object), allow_pickle=True)
    (tmp_path / "d.pt").write_bytes(b"rubbish")
    (tmp_path / "e.txt").write_text("cp.resnet.conv1.weight")
    assert [kind_of(path) for path in sorted(tmp_path.iterdir())] == [None] * 5
    assert not (tmp_path / "hostile_ran").exists()


def test_kind_of_unfolds_nothing(tmp_path):
    torch.save(state("parser"), tmp_path / "a.pt")
    assert kind_of(tmp_path / "a.pt") == "parser"
    with zipfile.ZipFile(tmp_path / "a.pt") as plain:
        content = {name: plain.read(name) for name in plain.namelist()}
    with zipfile.ZipFile(tmp_path / "b.pt", "w", zipfile.ZIP_DEFLATED) as folded:
        for name, entry in content.items():
            folded.writestr(name, entry)
    assert kind_of(tmp_path / "b.pt") is None
