"""Finding and verifying files of weights, and the families that can be loaded."""

import hashlib

import pytest
import torch

import weights
from stitch.errors import StitchError, WeightsError
from tests.golden import REAL, needs_real


@pytest.fixture
def bundled(tmp_path, monkeypatch):
    """A table of one part, and its file."""
    content = b"weights" * 9
    (tmp_path / "generator.safetensors").write_bytes(content)
    row = weights.Part(
        "miniature", "generator", "generator.safetensors", len(content), hashlib.sha256(content).hexdigest(), "MIT"
    )
    monkeypatch.setattr(weights, "BUNDLED", tmp_path)
    monkeypatch.setattr(weights, "TABLE", (row,))
    return tmp_path / row.file


def test_find_returns_a_verified_file(bundled):
    assert weights.find("miniature", "generator") == bundled


@pytest.mark.parametrize("content", [b"", b"weights" * 8, b"Weights" + b"weights" * 8])
def test_find_refuses_a_damaged_file(bundled, content):
    bundled.write_bytes(content)
    with pytest.raises(WeightsError, match=r"generator\.safetensors: damaged or replaced; install Stitch again"):
        weights.find("miniature", "generator")


def test_find_refuses_what_is_not_there(bundled):
    bundled.unlink()
    with pytest.raises(WeightsError, match=r"generator\.safetensors: missing"):
        weights.find("miniature", "generator")
    with pytest.raises(WeightsError, match="no part 'encoder'; it has generator"):
        weights.find("miniature", "encoder")
    with pytest.raises(WeightsError, match="full-size family is not in this release yet"):
        weights.find("ffhq", "generator")
    with pytest.raises(WeightsError, match="families are miniature, ffhq"):
        weights.find("portraits", "generator")


def test_find_takes_a_users_own_file_first_and_holds_it_to_no_hash(bundled, tmp_path):
    own = tmp_path / "own"
    own.mkdir()
    assert weights.find("miniature", "generator", own) == bundled
    (own / "generator.safetensors").write_bytes(b"mine")
    assert weights.find("miniature", "generator", own) == own / "generator.safetensors"


def test_find_own_names_what_it_looks_for(tmp_path):
    with pytest.raises(WeightsError, match=r"name the folder .* with --weights"):
        weights.find_own("retinaface", None)
    with pytest.raises(WeightsError, match=r"holds no file for retinaface; put detection_Resnet50_Final\.pth"):
        weights.find_own("retinaface", tmp_path)
    (tmp_path / "detection_mobilenet0.25_Final.pth").write_bytes(b"")
    assert weights.find_own("retinaface", tmp_path).name == "detection_mobilenet0.25_Final.pth"


def test_table_is_what_lies_on_the_disk():
    bundled = [row for row in weights.TABLE if not row.sources]
    assert {row.family for row in bundled} == {"miniature"}
    for row in bundled:
        assert weights.find(row.family, row.name).stat().st_size <= 10e6, "each file stays below 10 MB"
    assert sum(row.size for row in bundled) <= 40e6


def test_rows_on_disk_are_python_for_the_table(bundled):
    rows = eval(f"[{weights.rows_on_disk()}]", {"Part": weights.Part, "DRAWN": "MIT"})
    assert rows == list(weights.TABLE)


def test_load_family_refuses_other_families_in_words():
    for name, words in (("ffhq", "not in this release yet; use --family miniature"), ("x", "not known")):
        with pytest.raises(WeightsError, match=words):
            weights.load_family(name, torch.device("cpu"))


def test_device_refuses_what_this_machine_has_not(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert weights.device("auto") == torch.device("cpu")
    with pytest.raises(StitchError, match="device cuda: this machine has none"):
        weights.device("cuda")


@pytest.mark.skipif(not weights.TABLE, reason="the miniature family has no weights yet")
def test_load_family_is_whole_and_frozen():
    family = weights.load_family("miniature", torch.device("cpu"))
    assert len(family.directions) >= 8
    assert not any(parameter.requires_grad for parameter in family.generator.parameters())


@needs_real
@pytest.mark.skipif(not weights.TABLE, reason="the miniature family has no weights yet")
def test_load_family_takes_a_users_face_detector():
    family = weights.load_family("miniature", torch.device("cpu"), "retinaface", REAL)
    assert type(family.detector).__name__ == "RetinaFaceDetector"
