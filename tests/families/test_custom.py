"""A generator of one's own in a family's place, and its table of text relevance."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from stitch.__main__ import main
from stitch.core.errors import EditError, WeightsError
from stitch.core.records import Edit, Relevance, Text
from stitch.families import custom, relevance
from stitch.methods.stit.edit import resolve
from stitch.networks.formats.checkpoints import save_module
from stitch.networks.stylegan2 import Generator


def saved(path, **sizes):
    """A generator file; without sizes one that fits the tests' family."""
    torch.manual_seed(3)
    usual = {"resolution": 32, "style_dim": 8, "mapping_layers": 2, "channels": {4: 8, 8: 8, 16: 8, 32: 8}}
    save_module(path, Generator(**{**usual, **sizes}))
    return path


def test_with_generator_keeps_all_edits_where_the_channels_agree(family, tmp_path):
    changed = custom.with_generator(family, saved(tmp_path / "mine.safetensors"))
    code = torch.ones(1, 8, 8)
    assert not torch.equal(changed.generator(code), family.generator(code))
    assert len(resolve([Edit("smile", 1.0), Text("a face with glasses")], changed).shifts) == 1
    assert "mine.safetensors" in changed.notes[0] and "guess" in changed.notes[0]


def test_with_generator_of_other_widths_leaves_text_edits_out(family, tmp_path):
    path = saved(tmp_path / "mine.safetensors", channels={4: 6, 8: 6, 16: 6, 32: 6})
    changed = custom.with_generator(family, path)
    assert len(resolve([Edit("smile", 1.0)], changed).directions) == 1
    with pytest.raises(EditError, match="no table of text relevance; measure it once with 'python -m stitch relevance"):
        resolve([Text("a face with glasses")], changed)


def table_of(path, generator, length=6):
    channels = sum(layer.dimension for layer in generator.layers if layer.is_conv)
    relevance.save(path, Relevance(torch.randn(channels, length), torch.full((channels,), 3.0)), generator)
    return path


def test_with_relevance_brings_text_edits_back(family, tmp_path):
    changed = custom.with_generator(family, saved(tmp_path / "mine.safetensors", channels={4: 6, 8: 6, 16: 6, 32: 6}))
    whole = custom.with_relevance(changed, table_of(tmp_path / "table.safetensors", changed.generator))
    (shift,) = resolve([Text("a face with glasses")], whole).shifts
    assert [len(step) for step in shift] == [layer.dimension for layer in changed.generator.layers]
    assert max(step.abs().max() for step in shift) == pytest.approx(3.0 * 2.0), "counted in the channels' std"


def test_with_relevance_refuses_a_table_of_another_generator_or_encoder(family, tmp_path):
    other = custom.with_generator(family, saved(tmp_path / "mine.safetensors"))
    table = table_of(tmp_path / "table.safetensors", family.generator)
    with pytest.raises(WeightsError, match="table.safetensors: measured for another generator; .* stitch relevance"):
        custom.with_relevance(other, table)
    wide = table_of(tmp_path / "wide.safetensors", family.generator, length=7)
    with pytest.raises(WeightsError, match="wide.safetensors: of embeddings of 7 numbers, .* reads texts as 6"):
        custom.with_relevance(family, wide)
    with pytest.raises(WeightsError, match="without its text encoder"):
        custom.with_relevance(replace(family, text_encoder=None), table)


@pytest.mark.parametrize(
    "sizes, words",
    [
        ({"resolution": 16, "channels": {4: 8, 8: 8, 16: 8}}, "draws 16 px from 6 codes of 8 .* finds 8 codes of 8"),
        ({"style_dim": 6}, "draws 32 px from 8 codes of 6 numbers, .* finds 8 codes of 8"),
    ],
)
def test_with_generator_refuses_one_that_the_encoder_has_no_codes_for(family, tmp_path, sizes, words):
    with pytest.raises(WeightsError, match=f"mine.safetensors: {words}"):
        custom.with_generator(family, saved(tmp_path / "mine.safetensors", **sizes))


def test_edit_draws_with_the_generator_asked_for(family, clip, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("stitch.families.miniature.family.load", lambda *_: family)
    path = saved(tmp_path / "mine.safetensors")
    common = ["edit", str(clip), "-o", str(tmp_path / "out.mp4"), "--edit", "smile=1", "--end", "0.1"]
    common += ["--epochs", "1", "--steps", "1"]
    assert main([*common, "--generator", str(path)]) == 0
    assert "note: generator mine.safetensors" in capsys.readouterr().err
    assert main([*common, "--generator", str(clip)]) == 1
    assert f"{clip}: refused" in capsys.readouterr().err


class Shades(torch.nn.Module):
    """A picture tower as long as the tests' texts."""

    def forward(self, images):
        return torch.cat([images.mean((2, 3)), images.std((2, 3))], dim=1)


def test_relevance_makes_the_table_that_edit_takes(family, clip, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("stitch.families.miniature.family.load", lambda *_: family)
    monkeypatch.setattr("stitch.families.load.picture_tower", lambda *_: Shades())
    mine = saved(tmp_path / "mine.safetensors", channels={4: 2, 8: 2, 16: 2, 32: 2})
    table = tmp_path / "table.safetensors"
    edit = ["edit", str(clip), "-o", str(tmp_path / "out.mp4"), "--text", "a face with glasses", "--end", "0.1"]
    edit += ["--epochs", "1", "--steps", "1", "--generator", str(mine)]
    assert main(edit) == 1
    assert "python -m stitch relevance --out" in capsys.readouterr().err
    assert main(["relevance", "--out", str(table), "--generator", str(mine), "--samples", "2"]) == 0
    told = capsys.readouterr()
    assert "note: relevance of 14 style channels: 56 pictures" in told.err and "--relevance" in told.out
    assert main([*edit, "--relevance", str(table)]) == 0
    capsys.readouterr()
    assert main(["edit", str(clip), "-o", str(tmp_path / "o.mp4"), "--text", "a beard", "--relevance", str(table)]) == 1
    assert "and this generator has" in capsys.readouterr().err


def test_relevance_stopped_goes_on_with_the_same_command(family, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("stitch.families.miniature.family.load", lambda *_: family)
    calls = []

    class Pressed(Shades):
        def forward(self, images):
            calls.append(1)
            if len(calls) == 20:
                raise KeyboardInterrupt
            return super().forward(images)

    monkeypatch.setattr("stitch.families.load.picture_tower", lambda *_: Pressed())
    mine = saved(tmp_path / "mine.safetensors", channels={4: 2, 8: 2, 16: 2, 32: 2})
    command = ["relevance", "--out", str(tmp_path / "t.safetensors"), "--samples", "2", "--generator", str(mine)]
    assert main(command) == 130
    assert "the same command goes on from here" in capsys.readouterr().err
    assert main(command) == 0
    assert "of which 7 are there already" in capsys.readouterr().err


@pytest.fixture
def squint(tmp_path, family):
    """One direction in three kinds of file, and in three shapes."""
    vector = torch.randn(8, generator=torch.Generator().manual_seed(5))
    np.save(tmp_path / "squint.npy", vector.numpy().astype(np.float64))
    torch.save(3 * vector[None], tmp_path / "squint.pt")
    rows = 0.1 * vector.expand(family.generator.num_ws, 8)
    save_file({"direction": rows.contiguous()}, tmp_path / "squint.safetensors")
    return tmp_path, vector


@pytest.mark.parametrize("suffix", custom.DIRECTION_SUFFIXES)
def test_with_direction_does_not_mind_the_file_its_shape_or_its_length(family, squint, suffix):
    folder, vector = squint
    made = custom.with_direction(family, "squint", folder / f"squint{suffix}").directions["squint"]
    assert torch.allclose(made.vector, vector / vector.norm(), atol=1e-5) and made.group == "Your own"
    plain = custom.with_direction(family, "squint", folder / "squint.npy").directions["squint"]
    assert made.unit == pytest.approx(plain.unit, rel=1e-4)


def test_with_direction_calibrates_one_of_the_familys_own_as_the_family_does(family, tmp_path):
    only = replace(family, directions={"smile": family.directions["smile"]})
    np.save(tmp_path / "again.npy", 7 * only.directions["smile"].vector.numpy())
    made = custom.with_direction(only, "again", tmp_path / "again.npy").directions
    assert made["again"].unit == pytest.approx(made["smile"].unit, rel=1e-4) and list(made) == ["smile", "again"]


def test_with_direction_takes_equal_rows_made_for_another_number_of_layers(family, tmp_path):
    vector = torch.randn(8, generator=torch.Generator().manual_seed(6))
    np.save(tmp_path / "rows.npy", vector.expand(18, 8).numpy())
    made = custom.with_direction(family, "rows", tmp_path / "rows.npy").directions["rows"]
    assert torch.allclose(made.vector, vector / vector.norm(), atol=1e-6)


def test_with_direction_keeps_rows_that_differ(family, tmp_path):
    rows = torch.randn(family.generator.num_ws, 8, generator=torch.Generator().manual_seed(6))
    np.save(tmp_path / "rows.npy", rows.numpy())
    made = custom.with_direction(family, "rows", tmp_path / "rows.npy").directions["rows"]
    assert made.vector.shape == rows.shape and made.vector.norm(dim=1).mean() == pytest.approx(1, rel=1e-5)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros(8), "zero everywhere"),
        (np.ones(7), "no direction for 8 codes of 8 numbers"),
        (np.arange(24.0).reshape(3, 8), "no direction for 8 codes"),
        (np.full(8, np.nan), "no direction"),
        (np.float64(1), "no direction"),
    ],
)
def test_with_direction_refuses_what_is_none(family, tmp_path, array, words):
    np.save(tmp_path / "bad.npy", array)
    with pytest.raises(WeightsError, match=f"bad.npy: .*{words}"):
        custom.with_direction(family, "bad", tmp_path / "bad.npy")


def test_with_direction_refuses_files_without_one_and_names_that_are_none(family, squint):
    folder, _ = squint
    save_file({"one": torch.ones(8), "two": torch.ones(8)}, folder / "two.safetensors")
    with pytest.raises(WeightsError, match="two.safetensors: holds 2 arrays"):
        custom.with_direction(family, "two", folder / "two.safetensors")
    with pytest.raises(WeightsError, match="no such weights file"):
        custom.with_direction(family, "gone", folder / "gone.npy")
    with pytest.raises(WeightsError, match="is no name for an edit"):
        custom.with_direction(family, "a=b", folder / "squint.npy")
    with pytest.raises(WeightsError, match="no folder of directions"):
        custom.directions_in(folder / "none")


def test_direction_on_the_command_line_is_an_edit_like_the_others(family, clip, squint, monkeypatch, capsys):
    monkeypatch.setattr("stitch.families.miniature.family.load", lambda *_: family)
    folder, _ = squint
    (many := folder / "many").mkdir()
    for name in ("frown", "wink"):
        shutil.copy(folder / "squint.npy", many / f"{name}.npy")
    given = ["--direction", f"squint={folder / 'squint.pt'}", "--direction", str(many)]
    assert main(["edits", *given]) == 0
    told = capsys.readouterr().out
    assert all(name in told for name in ("smile", "squint", "frown", "wink", "from squint.pt", "more), yours"))
    common = ["edit", str(clip), "-o", str(folder / "out.mp4"), "--end", "0.1", "--epochs", "1", "--steps", "1"]
    common += ["--run", str(folder / "run"), "--edit", "squint=2"]
    assert main([*common, *given]) == 0
    edits = {one.name for one in (folder / "run" / "edits").iterdir()}
    capsys.readouterr()
    assert main(common) == 1 and "'squint': no such edit" in capsys.readouterr().err
    np.save(folder / "squint.npy", -np.load(folder / "squint.npy"))
    assert main([*common, "--direction", f"squint={folder / 'squint.npy'}"]) == 0
    assert {one.name for one in (folder / "run" / "edits").iterdir()} > edits, "another file is another edit"
    with pytest.raises(SystemExit):
        main([*common, "--direction", "squint="])
