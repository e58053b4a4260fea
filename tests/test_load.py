"""Files of weights: both layouts, our own format, and everything that must be refused."""

import pickle
from pathlib import Path

import pytest
import torch

from stitch.errors import WeightsError
from stitch.networks import load
from stitch.networks.e4e import Encoder, Inverter
from stitch.networks.stylegan2 import Generator, low_pass


def small_generator(conv_clamp: float | None = None) -> Generator:
    torch.manual_seed(0)
    generator = Generator(16, 8, 2, {4: 6, 8: 5, 16: 4}, conv_clamp=conv_clamp, z_dim=7)
    for tensor in [*generator.parameters(), generator.w_avg]:
        tensor.data.normal_()
    return load.freeze(generator)


def small_encoder() -> Encoder:
    torch.manual_seed(0)
    sizes = {"input_size": 64, "style_dim": 8, "num_ws": 6, "coarse": 2, "middle": 4, "reduction": 2}
    return load.freeze(Encoder(widths=(4, 4, 6, 8, 10), depths=(1, 2, 1, 2), **sizes))


def to_rosinality(generator: Generator) -> dict[str, torch.Tensor]:
    """The reverse of the table in the golden README, written down independently."""
    state = generator.state_dict()
    result = {}
    for index in range(generator.mapping_layers):
        for name in ("weight", "bias"):
            result[f"style.{index + 1}.{name}"] = state[f"mapping.fc{index}.{name}"]
    result["input.input"] = state["synthesis.b4.const"][None]
    places = {"conv1": "b4.conv1", "to_rgb1": "b4.torgb", "to_rgbs.0": "b8.torgb", "to_rgbs.1": "b16.torgb"}
    places |= {"convs.0": "b8.conv0", "convs.1": "b8.conv1", "convs.2": "b16.conv0", "convs.3": "b16.conv1"}
    for old, new in places.items():
        new = f"synthesis.{new}"
        result[f"{old}.conv.weight"] = state[f"{new}.weight"][None]
        result[f"{old}.conv.modulation.weight"] = state[f"{new}.affine.weight"]
        result[f"{old}.conv.modulation.bias"] = state[f"{new}.affine.bias"]
        if "rgb" in old:
            result[f"{old}.bias"] = state[f"{new}.bias"].reshape(1, 3, 1, 1)
        else:
            result[f"{old}.activate.bias"] = state[f"{new}.bias"]
            result[f"{old}.noise.weight"] = state[f"{new}.noise_strength"].reshape(1)
    for index, place in enumerate(["b4.conv1", "b8.conv0", "b8.conv1", "b16.conv0", "b16.conv1"]):
        result[f"noises.noise_{index}"] = state[f"synthesis.{place}.noise_const"][None, None]
    for key in ("convs.0.conv.blur.kernel", "convs.2.conv.blur.kernel", "to_rgbs.0.upsample.kernel"):
        result[key] = low_pass()
    return result


def assert_same(first: torch.nn.Module, second: torch.nn.Module) -> None:
    ours, theirs = first.state_dict(), second.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_generator_from_state_reads_every_size():
    generator = small_generator()
    again = load.generator_from_state(generator.state_dict())
    assert again.arguments == generator.arguments
    assert_same(again, generator)
    assert not again.training and not any(p.requires_grad for p in again.parameters())


def test_generator_from_state_takes_rosinalitys_names():
    generator = small_generator()
    again = load.generator_from_state(to_rosinality(generator), generator.w_avg)
    assert_same(again, generator)


def test_generator_from_state_takes_one_mean_code_per_layer():
    generator = small_generator()
    again = load.generator_from_state(to_rosinality(generator), generator.w_avg.expand(6, -1))
    assert torch.allclose(again.w_avg, generator.w_avg, atol=1e-6)


def test_generator_from_state_checks_the_filter():
    state = small_generator().state_dict()
    good = {**state, "synthesis.b8.resample_filter": low_pass() / 4}
    load.generator_from_state(good)
    with pytest.raises(WeightsError, match="filter is not"):
        load.generator_from_state({**state, "synthesis.b8.resample_filter": torch.ones(4, 4) / 16})


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
        load.generator_from_state(state)


def test_generator_from_state_refuses_rosinality_without_its_mean_code():
    with pytest.raises(WeightsError, match="latent_avg: missing"):
        load.generator_from_state(to_rosinality(small_generator()))


@pytest.mark.parametrize("key", ["classifier.weight", "convs.0.strange", "style.x.weight"])
def test_generator_from_state_refuses_strange_names(key):
    generator = small_generator()
    state = to_rosinality(generator) | {key: torch.zeros(1)}
    with pytest.raises(WeightsError, match="use another file"):
        load.generator_from_state(state, generator.w_avg)


def test_load_generator_reads_published_files(tmp_path: Path):
    generator = small_generator()
    rosinality = to_rosinality(generator)
    torch.save({"g_ema": rosinality, "latent_avg": generator.w_avg, "d": {}}, tmp_path / "ffhq.pt")
    e4e = {f"decoder.{key}": tensor for key, tensor in rosinality.items()}
    e4e |= {f"encoder.{key}": tensor for key, tensor in small_encoder().state_dict().items()}
    opts = {"encoder_type": "Encoder4Editing", "device": "cuda:0"}
    averages = generator.w_avg.expand(6, -1).clone()
    torch.save({"state_dict": e4e, "latent_avg": averages, "opts": opts}, tmp_path / "e4e.pt")
    torch.save(generator.state_dict(), tmp_path / "bare.pth")
    for name in ("ffhq.pt", "bare.pth"):
        assert_same(load.load_generator(tmp_path / name), generator)
    found = load.load_generator(tmp_path / "e4e.pt")
    assert torch.allclose(found.w_avg, generator.w_avg, atol=1e-6)
    inverter = load.load_inverter(tmp_path / "e4e.pt")
    assert_same(inverter.encoder, small_encoder())
    assert torch.equal(inverter.latent_avg, averages)


def test_encoder_from_state_reads_every_size():
    encoder = small_encoder()
    again = load.encoder_from_state(encoder.state_dict())
    assert again.arguments == encoder.arguments
    assert_same(again, encoder)


def test_encoder_from_state_refuses_other_weights():
    with pytest.raises(WeightsError, match="no e4e encoder"):
        load.encoder_from_state(small_generator().state_dict())


@pytest.mark.parametrize("kind", [Generator, Encoder, Inverter])
def test_save_module_comes_back_equal(tmp_path: Path, kind):
    encoder = small_encoder()
    module = {Generator: small_generator(2.5), Encoder: encoder, Inverter: Inverter(encoder, torch.ones(6, 8))}[kind]
    path = tmp_path / "network.safetensors"
    load.save_module(path, module, {"licence": "MIT"})
    again = load.load_module(path, kind)
    assert_same(again, module)
    assert again.arguments == module.arguments
    assert load.load_metadata(path)["licence"] == "MIT"
    assert [entry.name for entry in tmp_path.iterdir()] == ["network.safetensors"]


def test_load_generator_and_inverter_read_our_own_files(tmp_path: Path):
    generator, inverter = small_generator(2.5), Inverter(small_encoder(), torch.ones(6, 8))
    load.save_module(tmp_path / "g.safetensors", generator)
    load.save_module(tmp_path / "e.safetensors", inverter)
    assert load.load_generator(tmp_path / "g.safetensors").conv_clamp == 2.5
    assert_same(load.load_inverter(tmp_path / "e.safetensors"), inverter)


def test_save_module_in_half_precision_comes_back_in_single(tmp_path: Path):
    generator = small_generator()
    path = tmp_path / "network.safetensors"
    load.save_module(path, generator, dtype=torch.float16)
    again = load.load_module(path, Generator)
    for key, tensor in again.state_dict().items():
        assert tensor.dtype == torch.float32
        assert torch.allclose(tensor, generator.state_dict()[key], rtol=1e-3, atol=1e-4)


def test_save_module_keeps_the_old_file_when_it_fails(tmp_path: Path):
    path = tmp_path / "network.safetensors"
    load.save_module(path, small_generator())
    before = path.read_bytes()
    with pytest.raises(TypeError):
        load.save_module(path, small_generator(), {"licence": 3})
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["network.safetensors"]


def test_load_module_refuses_another_network(tmp_path: Path):
    path = tmp_path / "network.safetensors"
    load.save_module(path, small_generator())
    with pytest.raises(WeightsError, match="holds Generator, expected Encoder"):
        load.load_module(path, Encoder)


def test_load_checkpoint_refuses_what_is_no_weights(tmp_path: Path):
    with pytest.raises(WeightsError, match="no such weights file"):
        load.load_checkpoint(tmp_path / "missing.pt")
    for name in ("text.pt", "text.safetensors"):
        (tmp_path / name).write_text("not weights at all")
        with pytest.raises(WeightsError, match="not a"):
            load.load_checkpoint(tmp_path / name)
    (tmp_path / "empty.pth").touch()
    with pytest.raises(WeightsError, match="damaged"):
        load.load_checkpoint(tmp_path / "empty.pth")
    (tmp_path / "ffhq.pkl").touch()
    with pytest.raises(WeightsError, match="not a PyTorch file of weights"):
        load.load_checkpoint(tmp_path / "ffhq.pkl")
    torch.save(torch.zeros(3), tmp_path / "tensor.pt")
    with pytest.raises(WeightsError, match="holds a Tensor"):
        load.load_checkpoint(tmp_path / "tensor.pt")


def test_load_checkpoint_refuses_a_truncated_file(tmp_path: Path):
    path = tmp_path / "cut.pt"
    torch.save(small_generator().state_dict(), path)
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(WeightsError, match="damaged"):
        load.load_checkpoint(path)


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
        load.load_checkpoint(path)
    assert not mark.exists()
