"""Families are found by their folders: a third one is a folder more."""

import ast
import sys
from pathlib import Path

import pytest
import torch

import stitch.families
from stitch.__main__ import main
from stitch.families import load
from tests.conftest import tiny_family

PACKAGE = Path(stitch.families.__path__[0])

DISCS = '''
"""Coloured discs."""

from stitch.families.about import About, Slider

ABOUT = About(
    name="discs", title="Discs: for tests", label="Discs", licence="none", parts=(),
    sliders=(Slider("smile", "Expression", "the corners of the mouth", "sad", "happy"),),
    load=lambda files, device: __import__("tests.families.test_load").families.test_load.discs(),
    picture_tower=lambda files, device: None,
)
'''


def discs():
    return tiny_family()


@pytest.fixture
def third(tmp_path, monkeypatch):
    """A further family, of one file."""
    (tmp_path / "discs").mkdir()
    (tmp_path / "discs" / "__init__.py").write_text(DISCS)
    monkeypatch.setattr(stitch.families, "__path__", [*stitch.families.__path__, str(tmp_path)])
    yield
    sys.modules.pop("stitch.families.discs", None)


def test_known_finds_a_third_family_of_one_file(third, capsys, clip, tmp_path):
    assert set(load.known()) >= {"discs", "miniature", "ffhq"}
    assert load.load_family("discs", torch.device("cpu")).generator.resolution == 32
    assert main(["edits", "--family", "discs"]) == 0 and "smile" in capsys.readouterr().out
    assert main(["weights", "list", "--family", "discs"]) == 0
    common = ["--family", "discs", "--end", "0.1", "--epochs", "1", "--steps", "1"]
    assert main(["edit", str(clip), "-o", str(tmp_path / "out.mp4"), "--edit", "smile=1", *common]) == 0


def test_page_offers_a_third_family_of_one_file(third):
    families = pytest.importorskip("stitch.service.families").Families(torch.device("cpu"))
    assert "discs" in families.names and families.label("discs") == load.about("discs").label and families.told("discs")
    families("discs")
    assert set(families.sliders("discs")) >= {"smile"}


def test_families_have_an_order_and_the_first_serves_unless_another_is_named(monkeypatch):
    assert list(load.known())[:3] == ["portrait", "miniature", "ffhq"]
    assert load.fallback() == "miniature"
    monkeypatch.setenv("STITCH_FAMILY", "ffhq")
    assert load.default() == "ffhq"
    monkeypatch.delenv("STITCH_FAMILY")
    assert load.default() == "portrait"


def test_commands_take_the_family_of_the_environment(monkeypatch, capsys):
    monkeypatch.setenv("STITCH_FAMILY", "nobody")
    assert main(["edits"]) == 1
    assert "family 'nobody': not known; the families are portrait, miniature, ffhq" in capsys.readouterr().err


def test_no_code_asks_for_a_family_by_name_outside_its_own_folder():
    names = set(load.known())
    found = []
    for path in [*Path("stitch").rglob("*.py"), Path("app.py"), Path("weights.py")]:
        if names & set(path.parts):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Compare):
                sides = (side for side in (node.left, *node.comparators) if isinstance(side, ast.Constant))
                found += [f"{path}:{node.lineno}" for side in sides if side.value in names]
    assert found == []
