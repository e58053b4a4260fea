"""StyleGAN2 in the place of the family's generator: codes of the same W, one a picture, for other layers and sizes."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from stitch.__main__ import main
from stitch.core.errors import WeightsError
from stitch.core.records import Edit
from stitch.core.settings import PRESETS, Settings
from stitch.families import custom
from stitch.families.family import Refinement
from stitch.families.portrait.encoder import FaceEncoder
from stitch.families.portrait.generator import read_generator
from stitch.methods.stit import edit, pipeline
from stitch.networks.formats.checkpoints import save_module
from stitch.networks.mobilestylegan import MobileStyleGAN
from stitch.networks.rows import RowsEncoder
from stitch.networks.stylegan2 import Generator, Mapping
from stitch.runtime.optimizer import PAPER_STITCHING, Rates
from tests import golden, published
from tests.conftest import tiny_family
from tests.families.portrait import tiny
from tests.families.portrait.packages import fetched
from tests.families.portrait.test_encoder import small
from tests.stages import finish

FULL = {2**power: 8 for power in range(2, 11)}
"""Channels of a generator of the published one's layers and sizes, but for its width."""


class Sizes:
    """The portrait family's, at the one size that it draws at in the tests."""

    known = (32,)

    def at(self, size: int) -> MobileStyleGAN:
        return tiny.generator(size)


@pytest.fixture
def portrait():
    """A family of the portrait family's make: one code a picture, for seven layers."""
    generator = tiny.generator()
    return replace(
        tiny_family(), name="portrait", generator=generator, sizes=Sizes(),
        encoder=RowsEncoder(small().eval().requires_grad_(False), generator.num_ws),
        refinement=Refinement(0.1 * torch.eye(8)[:3], 4, 0.03, 0.008), relevance=None, style_std=None,
        tune_rates=Rates(3e-4, pivot=100.0, rise=0.1), stitching_rates=Rates(2e-4, affine=0.0),
    )  # fmt: skip


def copied(mapping: torch.nn.Module, to: Mapping) -> None:
    """One mapping network's weights in the other's scale."""
    for index, layer in enumerate(mapping.fc):
        ours = to.get_submodule(f"fc{index}")
        ours.weight.data.copy_(layer.weight / ours.weight_gain)
        ours.bias.data.copy_(layer.bias / ours.bias_gain)


def stylegan2(path, like: MobileStyleGAN | None = None, **sizes):
    """A file of a StyleGAN2 generator; with the mapping network of another one."""
    torch.manual_seed(4)
    usual = {"resolution": 64, "style_dim": 8, "mapping_layers": 2, "channels": {4: 8, 8: 8, 16: 8, 32: 8, 64: 8}}
    generator = Generator(**{**usual, **sizes})
    if like is not None:
        copied(like.mapping, generator.mapping)
    save_module(path, generator)
    return path


def test_with_generator_repeats_the_one_code_for_another_number_of_layers(portrait, tmp_path):
    mixed = custom.with_generator(portrait, stylegan2(tmp_path / "g.safetensors"))
    crops = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    found = mixed.encoder(crops)
    assert found.shape == (2, 10, 8) and torch.equal(found[:, 3], portrait.encoder(crops)[:, 0])
    assert mixed.generator(found).shape == (2, 3, 64, 64)
    assert mixed.sizes is None and mixed.at_size(64) is mixed
    with pytest.raises(WeightsError, match="size 32: the family portrait draws at 64 px"):
        mixed.at_size(32)


def test_with_generator_of_another_make_tunes_at_the_papers_rates_but_moves_pivots_as_before(portrait, tmp_path):
    mixed = custom.with_generator(portrait, stylegan2(tmp_path / "g.safetensors"))
    rates = mixed.tune_rates
    assert rates.learning_rate == 3e-5 and rates.pivot * rates.learning_rate == pytest.approx(100 * 3e-4)
    assert mixed.stitching_rates == PAPER_STITCHING and "rates that the paper gives" in mixed.notes[0]
    own = custom.with_generator(tiny_family(), stylegan2(tmp_path / "g.safetensors", resolution=32))
    assert own.tune_rates == tiny_family().tune_rates and "paper" not in own.notes[0]


def test_with_generator_says_whether_it_has_the_familys_w(portrait, tmp_path):
    same = custom.with_generator(portrait, stylegan2(tmp_path / "same.safetensors", portrait.generator))
    other = custom.with_generator(portrait, stylegan2(tmp_path / "other.safetensors"))
    assert "same.safetensors: it has the W of the family's own generator" in same.notes[0]
    assert "a guess for any other" in other.notes[0]
    assert not custom.share_w(same.generator, Generator(64, 8, 2, FULL, z_dim=6))


def test_with_generator_refuses_another_length_of_codes(portrait, tmp_path):
    path = stylegan2(tmp_path / "g.safetensors", style_dim=6)
    with pytest.raises(WeightsError, match="g.safetensors: draws from codes of 6 numbers, .* finds codes of 8; use a"):
        custom.with_generator(portrait, path)


def test_a_clip_is_edited_with_the_mixture(portrait, clip, tmp_path):
    mixed = custom.with_generator(portrait, stylegan2(tmp_path / "g.safetensors", portrait.generator))
    draft = PRESETS["draft"]
    settings = replace(
        Settings(), tune=replace(draft.tune, epochs=1, least_steps=0, move_pivots=True, batch=1),
        stitching=replace(draft.stitching, steps=1, shared_steps=2),
    )
    prepared, _ = finish(pipeline.prepare(clip, tmp_path / "run", settings, mixed))
    assert prepared.crops.images.shape[1:] == (64, 64, 3) and prepared.pivots.w.shape[1:] == (10, 8)
    assert torch.equal(prepared.pivots.w, prepared.pivots.w[:, :1].expand_as(prepared.pivots.w)), "one code a picture"
    result, _ = finish(pipeline.edit_video(prepared, [Edit("smile", 1)], tmp_path / "out.mp4", settings, mixed))
    assert result.edited_frames == 8 and any("has the W" in note for note in result.notes)


@torch.no_grad()
def test_published_layers_are_drawn_from_the_familys_one_code(portrait, tmp_path):
    """18 codes of 512 numbers, 1024 px and noise maps, out of a file of the published layout."""
    torch.manual_seed(5)
    generator = Generator(1024, 512, 8, FULL)
    copied(MobileStyleGAN(32, 512, 8, tiny.CHANNELS).mapping, generator.mapping)
    for name, strength in generator.named_parameters():
        if name.endswith("noise_strength"):
            strength.fill_(0.1)
    state = {key: tensor for key, tensor in generator.state_dict().items() if key != "mapping.w_avg"}
    torch.save({"g_ema": published.to_rosinality(state), "latent_avg": generator.w_avg}, tmp_path / "ffhq.pt")
    own = MobileStyleGAN(32, 512, 8, {4: 8, 8: 16, 16: 8}).requires_grad_(False)
    encoder = RowsEncoder(FaceEncoder().eval().requires_grad_(False), own.num_ws)
    vectors = {name: replace(one, vector=torch.eye(512)[0]) for name, one in portrait.directions.items()}
    mixed = custom.with_generator(
        replace(portrait, generator=own, encoder=encoder, directions=vectors), tmp_path / "ffhq.pt"
    )
    pivots = mixed.encoder(torch.zeros(1, 3, 1024, 1024))
    codes = edit.resolve([Edit("smile", 2.0)], mixed).codes(pivots, [0.0], mixed.generator)
    drawn = edit.render(mixed.generator, codes)
    assert codes.shape == (1, 18, 512) and drawn.shape == (1, 3, 1024, 1024) and drawn.isfinite().all()
    assert not torch.equal(drawn, edit.render(mixed.generator, codes, "none"))


def test_generator_of_another_family_is_fetched_by_its_name(family, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("stitch.families.miniature.family.load", lambda *_: family)
    folder = tmp_path / "mine"
    folder.mkdir()
    path = stylegan2(tmp_path / "g.safetensors", resolution=32)
    path.rename(folder / "ffhq.pt")
    given = ["edits", "--generator", "ffhq", "--weights", str(folder)]
    assert main(given) == 1
    assert f"{folder / 'ffhq.pt'}: " in capsys.readouterr().err, "a .pt of another kind inside: taken, and read"
    state = {key: t for key, t in Generator(32, 8, 2, FULL).state_dict().items() if key != "mapping.w_avg"}
    torch.save({"g_ema": published.to_rosinality(state), "latent_avg": torch.zeros(8)}, folder / "ffhq.pt")
    assert main(given) == 0
    assert main(["edits", "--generator", "ffhq", "--weights", str(tmp_path)]) == 1


@pytest.mark.slow
@torch.no_grad()
def test_stylegan2s_mapping_network_gives_the_golden_codes_with_the_familys_weights():
    """Its W is StyleGAN2's: the same layers in the same order; the published file has these weights."""
    path = golden.FOLDER / "c12_mobile.npz"
    if not path.exists():
        pytest.skip(f"no golden case {path}")
    case = {name: torch.from_numpy(values) for name, values in np.load(path).items()}
    mapping = Mapping(512, 512, 8, 512)
    copied(read_generator(fetched()).mapping, mapping)
    torch.testing.assert_close(mapping(case["z"]), case["w"], atol=1e-4, rtol=0)
