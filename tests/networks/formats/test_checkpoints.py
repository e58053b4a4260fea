"""Files of weights: both layouts, our own format, and everything that must be refused."""

import pickle
from pathlib import Path

import pytest
import torch

from stitch.core.errors import WeightsError
from stitch.networks.e4e import Encoder, Inverter
from stitch.networks.formats import checkpoints
from stitch.networks.stylegan2 import Generator, low_pass
from tests.published import to_rosinality


def small_generator(conv_clamp: float | None = None) -> Generator:
    torch.manual_seed(0)
    generator = Generator(16, 8, 2, {4: 6, 8: 5, 16: 4}, conv_clamp=conv_clamp, z_dim=7)
    for tensor in [*generator.parameters(), generator.w_avg]:
        tensor.data.normal_()
    return checkpoints.freeze(generator)


def small_encoder() -> Encoder:
    torch.manual_seed(0)
    sizes = {"input_size": 64, "style_dim": 8, "num_ws": 6, "coarse": 2, "middle": 4, "reduction": 2}
    return checkpoints.freeze(Encoder(widths=(4, 4, 6, 8, 10), depths=(1, 2, 1, 2), **sizes))


def assert_same(first: torch.nn.Module, second: torch.nn.Module) -> None:
    ours, theirs = first.state_dict(), second.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_generator_from_state_reads_every_size():
    generator = small_generator()
    again = checkpoints.generator_from_state(generator.state_dict())
    assert again.arguments == generator.arguments
    assert_same(again, generator)
    assert not again.training and not any(p.requires_grad for p in again.parameters())


def test_generator_from_state_takes_rosinalitys_names():
    generator = small_generator()
    again = checkpoints.generator_from_state(to_rosinality(generator.state_dict()), generator.w_avg)
    assert_same(again, generator)


def test_generator_from_state_takes_one_mean_code_per_layer():
    generator = small_generator()
    again = checkpoints.generator_from_state(to_rosinality(generator.state_dict()), generator.w_avg.expand(6, -1))
    assert torch.allclose(again.w_avg, generator.w_avg, atol=1e-6)


def test_generator_from_state_checks_the_filter():
    state = small_generator().state_dict()
    good = {**state, "synthesis.b8.resample_filter": low_pass() / 4}
    checkpoints.generator_from_state(good)
    with pytest.raises(WeightsError, match="filter is not"):
        checkpoints.generator_from_state({**state, "synthesis.b8.resample_filter": torch.ones(4, 4) / 16})


@pytest.mark.parametrize(
    "spoil",
    [
        lambda state: state.pop("synthesis.b8.conv0.affine.weight"),
        lambda state: state.pop("synthesis.b4.const"),
        lambda state: state.pop("mapping.fc0.weight"),
        lambda state: state.update({"head.weight": torch.zeros(1)}),
        lambda state: state.update({"synthesis.b8.torgb.bias": torch.zeros(4)}),
    ],
)
def test_generator_from_state_refuses_other_weights(spoil):
    state = dict(small_generator().state_dict())
    spoil(state)
    with pytest.raises(WeightsError, match="use another file"):
        checkpoints.generator_from_state(state)


def test_generator_from_state_refuses_rosinality_without_its_mean_code():
    with pytest.raises(WeightsError, match="latent_avg: missing"):
        checkpoints.generator_from_state(to_rosinality(small_generator().state_dict()))


@pytest.mark.parametrize("key", ["classifier.weight", "convs.0.strange", "style.x.weight"])
def test_generator_from_state_refuses_strange_names(key):
    generator = small_generator()
    state = to_rosinality(generator.state_dict()) | {key: torch.zeros(1)}
    with pytest.raises(WeightsError, match="use another file"):
        checkpoints.generator_from_state(state, generator.w_avg)


def test_load_generator_reads_published_files(tmp_path: Path):
    generator = small_generator()
    rosinality = to_rosinality(generator.state_dict())
    torch.save({"g_ema": rosinality, "latent_avg": generator.w_avg, "d": {}}, tmp_path / "ffhq.pt")
    e4e = {f"decoder.{key}": tensor for key, tensor in rosinality.items()}
    e4e |= {f"encoder.{key}": tensor for key, tensor in small_encoder().state_dict().items()}
    opts = {"encoder_type": "Encoder4Editing", "device": "cuda:0"}
    averages = generator.w_avg.expand(6, -1).clone()
    torch.save({"state_dict": e4e, "latent_avg": averages, "opts": opts}, tmp_path / "e4e.pt")
    torch.save(generator.state_dict(), tmp_path / "bare.pth")
    for name in ("ffhq.pt", "bare.pth"):
        assert_same(checkpoints.load_generator(tmp_path / name), generator)
    found = checkpoints.load_generator(tmp_path / "e4e.pt")
    assert torch.allclose(found.w_avg, generator.w_avg, atol=1e-6)
    inverter = checkpoints.load_inverter(tmp_path / "e4e.pt")
    assert_same(inverter.encoder, small_encoder())
    assert torch.equal(inverter.latent_avg, averages)


def test_encoder_from_state_reads_every_size():
    encoder = small_encoder()
    again = checkpoints.encoder_from_state(encoder.state_dict())
    assert again.arguments == encoder.arguments
    assert_same(again, encoder)


def test_encoder_from_state_refuses_other_weights():
    with pytest.raises(WeightsError, match="no e4e encoder"):
        checkpoints.encoder_from_state(small_generator().state_dict())


@pytest.mark.parametrize("kind", [Generator, Encoder, Inverter])
def test_save_module_comes_back_equal(tmp_path: Path, kind):
    encoder = small_encoder()
    module = {Generator: small_generator(2.5), Encoder: encoder, Inverter: Inverter(encoder, torch.ones(6, 8))}[kind]
    path = tmp_path / "network.safetensors"
    checkpoints.save_module(path, module, {"licence": "MIT"})
    again = checkpoints.load_module(path, kind)
    assert_same(again, module)
    assert again.arguments == module.arguments
    assert checkpoints.load_metadata(path)["licence"] == "MIT"
    assert [entry.name for entry in tmp_path.iterdir()] == ["network.safetensors"]


def test_load_generator_and_inverter_read_our_own_files(tmp_path: Path):
    generator, inverter = small_generator(2.5), Inverter(small_encoder(), torch.ones(6, 8))
    checkpoints.save_module(tmp_path / "g.safetensors", generator)
    checkpoints.save_module(tmp_path / "e.safetensors", inverter)
    assert checkpoints.load_generator(tmp_path / "g.safetensors").conv_clamp == 2.5
    assert_same(checkpoints.load_inverter(tmp_path / "e.safetensors"), inverter)


def test_save_module_in_half_precision_comes_back_in_single(tmp_path: Path):
    generator = small_generator()
    path = tmp_path / "network.safetensors"
    checkpoints.save_module(path, generator, dtype=torch.float16)
    again = checkpoints.load_module(path, Generator)
    for key, tensor in again.state_dict().items():
        assert tensor.dtype == torch.float32
        assert torch.allclose(tensor, generator.state_dict()[key], rtol=1e-3, atol=1e-4)


def test_save_module_keeps_the_old_file_when_it_fails(tmp_path: Path):
    path = tmp_path / "network.safetensors"
    checkpoints.save_module(path, small_generator())
    before = path.read_bytes()
    with pytest.raises(TypeError):
        checkpoints.save_module(path, small_generator(), {"licence": 3})
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["network.safetensors"]


def test_load_module_refuses_another_network(tmp_path: Path):
    path = tmp_path / "network.safetensors"
    checkpoints.save_module(path, small_generator())
    with pytest.raises(WeightsError, match="holds Generator, expected Encoder"):
        checkpoints.load_module(path, Encoder)


def test_load_checkpoint_refuses_what_is_no_weights(tmp_path: Path):
    with pytest.raises(WeightsError, match="no such weights file"):
        checkpoints.load_checkpoint(tmp_path / "missing.pt")
    for name in ("text.pt", "text.safetensors"):
        (tmp_path / name).write_text("not weights at all")
        with pytest.raises(WeightsError, match="not a"):
            checkpoints.load_checkpoint(tmp_path / name)
    (tmp_path / "empty.pth").touch()
    with pytest.raises(WeightsError, match="damaged"):
        checkpoints.load_checkpoint(tmp_path / "empty.pth")
    (tmp_path / "ffhq.pkl").touch()
    with pytest.raises(WeightsError, match="not a PyTorch file of weights"):
        checkpoints.load_checkpoint(tmp_path / "ffhq.pkl")
    torch.save(torch.zeros(3), tmp_path / "tensor.pt")
    with pytest.raises(WeightsError, match="holds a Tensor"):
        checkpoints.load_checkpoint(tmp_path / "tensor.pt")


def test_load_checkpoint_refuses_a_truncated_file(tmp_path: Path):
    path = tmp_path / "cut.pt"
    torch.save(small_generator().state_dict(), path)
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(WeightsError, match="damaged"):
        checkpoints.load_checkpoint(path)


class Hostile:
    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("by_torch", [True, False])
def test_load_checkpoint_never_runs_what_is_pickled(tmp_path: Path, by_torch):
    mark, path = tmp_path / "ran", tmp_path / "hostile.pt"
    content = {"weight": Hostile(mark)}
    if by_torch:
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(content))
    with pytest.raises(WeightsError, match="refused"):
        checkpoints.load_checkpoint(path)
    assert not mark.exists()
