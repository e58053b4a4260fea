"""Files of weights: both layouts, our own format, and everything that must be refused."""

import json
import pickle
from contextlib import suppress
from pathlib import Path

import pytest
import safetensors.torch
import torch

from stitch.core.errors import WeightsError
from stitch.networks.e4e import Encoder, Inverter
from stitch.networks.formats import checkpoints, generators
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
    sizes = {"input_size": 64, "style_dim": 8, "num_ws": 6, "levels": (2, 4), "reduction": 2}
    return checkpoints.freeze(Encoder(widths=(4, 4, 6, 8, 10), depths=(1, 2, 1, 2), **sizes))


def assert_same(first: torch.nn.Module, second: torch.nn.Module) -> None:
    ours, theirs = first.state_dict(), second.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_generator_from_state_reads_every_size():
    generator = small_generator()
    again = generators.generator_from_state(generator.state_dict())
    assert again.arguments == generator.arguments
    assert_same(again, generator)
    assert not again.training and not any(p.requires_grad for p in again.parameters())


def test_generator_from_state_takes_rosinalitys_names():
    generator = small_generator()
    again = generators.generator_from_state(to_rosinality(generator.state_dict()), generator.w_avg)
    assert_same(again, generator)


def test_generator_from_state_takes_one_mean_code_per_layer():
    generator = small_generator()
    again = generators.generator_from_state(to_rosinality(generator.state_dict()), generator.w_avg.expand(6, -1))
    assert torch.allclose(again.w_avg, generator.w_avg, atol=1e-6)


def test_generator_from_state_checks_the_filter():
    state = small_generator().state_dict()
    good = {**state, "synthesis.b8.resample_filter": low_pass() / 4}
    generators.generator_from_state(good)
    with pytest.raises(WeightsError, match="filter is not"):
        generators.generator_from_state({**state, "synthesis.b8.resample_filter": torch.ones(4, 4) / 16})


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
        generators.generator_from_state(state)


HUGE = torch.empty(0, 1 << 40)
"""No number is stored, and a network of that size would need terabytes."""


def only_weights_errors(load) -> None:
    with suppress(WeightsError):
        load()


SPOILT = [HUGE, HUGE.T, HUGE[:, None, :], HUGE.T[:, :, None], torch.zeros(()), torch.zeros(3)]


@pytest.mark.parametrize("rosinality", [False, True])
@pytest.mark.parametrize("spoilt", SPOILT)
def test_generator_from_state_makes_no_room_for_what_is_not_there(rosinality, spoilt):
    generator = small_generator()
    whole = to_rosinality(generator.state_dict()) if rosinality else dict(generator.state_dict())
    for key in whole:
        only_weights_errors(lambda key=key: generators.generator_from_state({**whole, key: spoilt}, generator.w_avg))
        only_weights_errors(lambda key=key: generators.generator_from_checkpoint({**whole, key: spoilt}))
    for key in ("convs.99999999999.conv.weight", "style.99999999999.weight", "noises.noise_99999999999"):
        with pytest.raises(WeightsError):
            generators.generator_from_state({**whole, key: spoilt}, generator.w_avg)


@pytest.mark.parametrize("spoilt", [HUGE, HUGE.T, HUGE.T[:, :, None, None], torch.zeros(()), torch.zeros(3)])
def test_encoder_from_state_makes_no_room_for_what_is_not_there(spoilt):
    whole = dict(small_encoder().state_dict())
    for key in [key for key in whole if whole[key].shape != spoilt.shape]:
        with pytest.raises(WeightsError):
            checkpoints.encoder_from_state({**whole, key: spoilt})
    for key in ("body.99999999999.res_layer.1.weight", "styles.99999999999.linear.weight"):
        with pytest.raises(WeightsError):
            checkpoints.encoder_from_state({**whole, key: spoilt})


def test_load_module_makes_no_room_for_what_is_not_there(tmp_path: Path):
    path = tmp_path / "network.safetensors"
    generator = small_generator()
    for size in (1 << 20, 1 << 40):
        arguments = generator.arguments | {"style_dim": size}
        notes = {"network": "Generator", "arguments": json.dumps(arguments)}
        safetensors.torch.save_file(dict(generator.state_dict()), path, metadata=notes)
        with pytest.raises(WeightsError, match="use another file|fetch it again"):
            checkpoints.load_module(path, Generator)


@pytest.mark.parametrize("width", [3, 8, 13])
@pytest.mark.parametrize("layers", [1, 2, 4])
def test_generator_from_state_reads_the_mappings_width(tmp_path: Path, layers, width):
    torch.manual_seed(0)
    generator = checkpoints.freeze(Generator(16, 8, layers, {4: 6, 8: 5, 16: 4}, z_dim=7, mapping_width=width))
    again = generators.generator_from_state(generator.state_dict())
    assert_same(again, generator)
    checkpoints.save_module(tmp_path / "g.safetensors", generator)
    z = torch.randn(5, 7)
    for other in (again, generators.load_generator(tmp_path / "g.safetensors")):
        assert torch.equal(other.mapping(z), generator.mapping(z))
    # The published program's mapping network, written out.
    x = z / (z.square().mean(1, keepdim=True) + 1e-8).sqrt()
    for index in range(layers):
        layer = generator.mapping.get_submodule(f"fc{index}")
        x = x @ layer.weight.T * (0.01 / x.shape[1] ** 0.5) + 0.01 * layer.bias
        x = torch.where(x > 0, x, 0.2 * x) * 2**0.5
    assert torch.allclose(again.mapping(z), x, atol=1e-5)


def test_generator_from_state_refuses_rosinality_without_its_mean_code():
    with pytest.raises(WeightsError, match="latent_avg: missing"):
        generators.generator_from_state(to_rosinality(small_generator().state_dict()))


@pytest.mark.parametrize("key", ["classifier.weight", "convs.0.strange", "style.x.weight"])
def test_generator_from_state_refuses_strange_names(key):
    generator = small_generator()
    state = to_rosinality(generator.state_dict()) | {key: torch.zeros(1)}
    with pytest.raises(WeightsError, match="use another file"):
        generators.generator_from_state(state, generator.w_avg)


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
        assert_same(generators.load_generator(tmp_path / name), generator)
    found = generators.load_generator(tmp_path / "e4e.pt")
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
    assert generators.load_generator(tmp_path / "g.safetensors").conv_clamp == 2.5
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
