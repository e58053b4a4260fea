"""Finding and verifying files of weights, and the families that can be loaded."""

import hashlib
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import weights
from stitch.core.errors import StitchError, WeightsError
from stitch.families import load, miniature
from stitch.families.ffhq import family as ffhq
from stitch.families.load import Own
from stitch.families.miniature import train
from stitch.runtime import device
from stitch.store.checksums import GIT_BLOB, SHA256
from stitch.store.local import Part
from tests.conftest import tiny_family
from tests.golden import REAL, needs_real

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def bundled(tmp_path, monkeypatch):
    """A table of one bundled part, and its file."""
    content = b"weights" * 9
    (tmp_path / "generator.safetensors").write_bytes(content)
    row = Part(
        "miniature", "generator", "generator.safetensors", len(content), hashlib.sha256(content).hexdigest(), "MIT",
        folder=tmp_path,
    )
    families = load.known()
    only = {"miniature": replace(families["miniature"], parts=(row,)), "ffhq": families["ffhq"]}
    monkeypatch.setattr(load, "known", lambda: only)
    return tmp_path / row.file


def test_find_returns_a_verified_file(bundled):
    assert load.find("miniature", "generator") == bundled


@pytest.mark.parametrize("content", [b"", b"weights" * 8, b"Weights" + b"weights" * 8])
def test_find_refuses_a_damaged_bundled_file_and_leaves_it(bundled, content):
    bundled.write_bytes(content)
    with pytest.raises(WeightsError, match=r"generator\.safetensors: missing, damaged or replaced; install"):
        load.find("miniature", "generator")
    assert bundled.exists()


def test_find_refuses_what_is_not_there(bundled):
    bundled.unlink()
    with pytest.raises(WeightsError, match=r"generator\.safetensors: missing"):
        load.find("miniature", "generator")
    with pytest.raises(WeightsError, match="no part 'encoder'; it has generator"):
        load.find("miniature", "encoder")
    with pytest.raises(WeightsError, match="families are miniature, ffhq"):
        load.find("portraits", "generator")


def test_table_is_what_lies_on_the_disk():
    bundled = [row for row in weights.TABLE if not row.sources]
    assert {row.family for row in bundled} == {"miniature", "portrait", "ffhq"}
    assert [row.name for row in bundled if row.family == "ffhq"] == ["child", "directions"], "lent by portrait"
    for row in bundled:
        assert load.find(row.family, row.name).stat().st_size == row.size <= 10e6, "each file stays below 10 MB"
    assert sum(row.size for row in bundled) <= 45e6, "the whole repository stays below 60 MB"


def test_table_names_each_part_and_each_file_once():
    for family in load.known():
        rows = load.parts_of(family, optional=True)
        assert len({row.name for row in rows}) == len({row.file for row in rows}) == len(rows) > 0


def test_table_holds_every_fetched_file_to_a_digest_and_lists_plain_addresses_last():
    for row in (row for row in load.parts_of("ffhq", optional=True) if not row.folder):
        assert len(row.digest) in (SHA256, GIT_BLOB) and set(row.digest) <= set("0123456789abcdef"), row.name
        assert row.size > 0 and row.licence
        hub = [source.startswith("hf://") for source in row.sources]
        assert hub == sorted(hub, reverse=True) and len(row.sources) == len(set(row.sources)) > 0
        for source in row.sources:
            assert re.fullmatch(r"hf://(spaces/)?[\w-]+/[\w.-]+(/[\w.-]+)+|https://[\w./-]+", source), source


def test_table_fetches_no_generator_beside_the_encoders_unless_named():
    names = [row.name for row in load.parts_of("ffhq")]
    assert "encoder" in names and not any(name.startswith(("generator", "landmarks")) for name in names)
    assert [row.name for row in load.parts_of("ffhq", ["generator"])] == ["generator"]


def test_parts_of_takes_parts_by_name_and_all_directions_at_once():
    assert [row.name for row in load.parts_of("ffhq", ["clip", "encoder"])] == ["encoder", "clip"]
    directions = [row.name for row in load.parts_of("ffhq", ["direction"])]
    assert len(directions) == 9 and all(name.startswith("direction.") for name in directions)
    with pytest.raises(WeightsError, match="no part 'encode'; it has encoder, parser"):
        load.parts_of("ffhq", ["encoder", "encode"])


def test_rows_on_disk_are_python_for_the_miniature_familys_table(capsys):
    assert train.main(["--rows"]) == 0
    assert tuple(eval(f"[{capsys.readouterr().out}]")) == miniature.ROWS


def test_weights_as_a_program_is_the_weights_command():
    def said(*program):
        return subprocess.run(
            [sys.executable, *program], cwd=REPOSITORY, capture_output=True, text=True, check=True
        ).stdout

    assert "family miniature" in said("weights.py", "list")
    assert said("weights.py", "where") == said("-m", "stitch", "weights", "where")


def test_needed_adds_what_the_tracker_wants(full_size):
    assert [row.name for row in load.needed("miniature", "retinaface") if row.family == "ffhq"] == ["detector"]
    filmed = [row.name for row in load.needed("miniature", "fan") if row.family == "ffhq"]
    assert filmed == ["detector", "landmarks"]
    with_fan = [row.name for row in load.needed("ffhq", "fan")]
    assert with_fan == [row.name for row in load.needed("ffhq")] + ["landmarks"]


def test_load_family_refuses_other_families_in_words():
    with pytest.raises(WeightsError, match="not known"):
        load.load_family("x", torch.device("cpu"))


@pytest.fixture
def full_size(monkeypatch):
    """What the loaders of the full-size family are asked for; it is the tests' own."""
    asked = []
    monkeypatch.setattr(ffhq, "load", lambda *given: (asked.append(given), tiny_family())[1])
    monkeypatch.setattr(ffhq, "detector", lambda *given: (asked.append(given), "lent")[1])
    return asked


@pytest.mark.parametrize("tracker", load.trackers())
def test_load_family_gives_the_full_size_family_its_files(full_size, tmp_path, tracker):
    for row in load.parts_of("ffhq", optional=True):
        (tmp_path / row.file).write_bytes(b"")
    place = torch.device("cpu")
    family = load.load_family("ffhq", place, tracker, Own(tmp_path))
    (files, where), *lent = full_size
    assert where == place and (family.detector == "lent") == (tracker != "family") == bool(lent)
    assert not lent or lent == [(files, tracker, place)]
    assert files["encoder"] == tmp_path / "e4e_ffhq_encode.pt" and files["direction.yaw"] == tmp_path / "yaw.npy"
    assert ("landmarks" in files) == (tracker == "fan") and "generator" not in files


def test_load_family_fetches_nothing(full_size):
    with pytest.raises(WeightsError, match=r"family ffhq: encoder, parser, .* not here yet \(2.4 GB\); fetch with"):
        load.load_family("ffhq", torch.device("cpu"))


def test_device_refuses_what_this_machine_has_not(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device.chosen("auto") == torch.device("cpu")
    with pytest.raises(StitchError, match="device cuda: this machine has none"):
        device.chosen("cuda")


def test_load_family_is_whole_and_frozen():
    family = load.load_family("miniature", torch.device("cpu"))
    assert len(family.directions) >= 8
    assert not any(parameter.requires_grad for parameter in family.generator.parameters())


@needs_real
def test_load_family_takes_a_users_face_detector():
    family = load.load_family("miniature", torch.device("cpu"), "retinaface", Own(REAL))
    assert type(family.detector).__name__ == "RetinaFaceDetector"


@torch.no_grad()
def test_load_picture_tower_of_the_miniature_family_sees_as_its_clip_does():
    tower = load.picture_tower("miniature", torch.device("cpu"))
    clip = load.load_family("miniature", torch.device("cpu")).text_encoder
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert torch.equal(tower(images), clip.encode_image(images))
