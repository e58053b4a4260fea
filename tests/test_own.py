"""A generator of one's own in a family's place."""

import pytest
import torch

from stitch import own
from stitch.__main__ import main
from stitch.edit import resolve
from stitch.errors import EditError, WeightsError
from stitch.networks.load import save_module
from stitch.networks.stylegan2 import Generator
from stitch.records import Edit, Text


def saved(path, **sizes):
    """A generator file; without sizes one that fits the tests' family."""
    torch.manual_seed(3)
    usual = {"resolution": 32, "style_dim": 8, "mapping_layers": 2, "channels": {4: 8, 8: 8, 16: 8, 32: 8}}
    save_module(path, Generator(**{**usual, **sizes}))
    return path


def test_with_generator_keeps_all_edits_where_the_channels_agree(family, tmp_path):
    changed = own.with_generator(family, saved(tmp_path / "mine.safetensors"))
    code = torch.ones(1, 8, 8)
    assert not torch.equal(changed.generator(code), family.generator(code))
    assert len(resolve([Edit("smile", 1.0), Text("a face with glasses")], changed).shifts) == 1
    assert "mine.safetensors" in changed.notes[0] and "guess" in changed.notes[0]


def test_with_generator_of_other_widths_leaves_text_edits_out(family, tmp_path):
    path = saved(tmp_path / "mine.safetensors", channels={4: 6, 8: 6, 16: 6, 32: 6})
    changed = own.with_generator(family, path)
    assert len(resolve([Edit("smile", 1.0)], changed).directions) == 1
    with pytest.raises(EditError, match="has no text edits"):
        resolve([Text("a face with glasses")], changed)


@pytest.mark.parametrize(
    "sizes, words",
    [
        ({"resolution": 16, "channels": {4: 8, 8: 8, 16: 8}}, "draws 16 px from 6 codes of 8 .* finds 8 codes of 8"),
        ({"style_dim": 6}, "draws 32 px from 8 codes of 6 numbers, .* finds 8 codes of 8"),
    ],
)
def test_with_generator_refuses_one_that_the_encoder_has_no_codes_for(family, tmp_path, sizes, words):
    with pytest.raises(WeightsError, match=f"mine.safetensors: {words}"):
        own.with_generator(family, saved(tmp_path / "mine.safetensors", **sizes))


def test_edit_draws_with_the_generator_asked_for(family, clip, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("stitch.miniature.family.load", lambda *_: family)
    path = saved(tmp_path / "mine.safetensors")
    common = ["edit", str(clip), "-o", str(tmp_path / "out.mp4"), "--edit", "smile=1", "--end", "0.1"]
    common += ["--epochs", "1", "--steps", "1"]
    assert main([*common, "--generator", str(path)]) == 0
    assert "note: generator mine.safetensors" in capsys.readouterr().err
    assert main([*common, "--generator", str(clip)]) == 1
    assert f"{clip}: refused" in capsys.readouterr().err
