import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from stitch.core.errors import WeightsError
from stitch.families.miniature.training.loop import Schedule
from stitch.families.portrait.generator import read_head, with_head
from stitch.families.portrait.training import heads
from stitch.networks.mobile_layers import inverse_wavelet
from tests.families.portrait import tiny

SCHEDULE = Schedule(steps=3, batch=2, learning_rate=1e-4, log_every=1)


def test_bands_are_undone_by_the_inverse_wavelet():
    images = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(inverse_wavelet(heads.bands(images)).permute(0, 3, 1, 2), images)


def test_regress_finds_a_picture_layer_that_exists():
    tail = heads.Tail(tiny.generator().truncated(16))
    with torch.no_grad():
        tail.picture.weight.copy_(torch.randn(12, 16, generator=torch.Generator().manual_seed(3)))
    rng = torch.Generator().manual_seed(1)
    x, w = torch.randn(40, 4, 4, 4, 2, generator=rng), torch.randn(40, 8, generator=rng)
    picture = tail(x, w)
    heads.regress(tail, [(x, w, picture)], ridge=1e-9)
    torch.testing.assert_close(tail(x, w), picture, atol=1e-3, rtol=1e-3)


def test_tail_draws_what_the_generator_draws():
    generator = tiny.generator().truncated(16)
    w = torch.randn(2, 8, generator=torch.Generator().manual_seed(1))
    tail, caught = heads.Tail(generator), []
    hook = generator.synthesis.conv.register_forward_hook(lambda _, __, output: caught.append(output))
    expected = generator(generator.broadcast(w))
    hook.remove()
    torch.testing.assert_close(tail(caught[0], w), expected)


def test_tail_of_a_part_equals_the_part_of_the_whole():
    tail = heads.Tail(tiny.generator(64).truncated(32))
    x, w = torch.randn(1, 8, 8, 4, 4, generator=torch.Generator().manual_seed(1)), torch.randn(1, 8)
    rows, columns = slice(1, 8), slice(0, 7)
    part = torch.func.functional_call(tail, tail.noise(rows, columns), (x[:, rows, columns], w))
    whole = tail(x, w)[:, :, 4:32, 0:28]
    border = 8 + heads.BORDER_PX  # one more coarse block than the family's generator at 256 px
    torch.testing.assert_close(part[:, :, border:-border, border:-border], whole[:, :, border:-border, border:-border])


def test_relative_moves_every_tensor_by_its_own_size():
    module = torch.nn.Linear(1, 1)
    with torch.no_grad():
        module.weight.fill_(100.0)
        module.bias.fill_(0.01)
    learner = heads.Relative(module)
    assert learner(torch.ones(1)).item() == module(torch.ones(1)).item()
    with torch.no_grad():
        for offset in learner.offsets:
            offset.fill_(0.1)
    weights = learner.weights()
    torch.testing.assert_close(weights["weight"], torch.full((1, 1), 110.0))
    torch.testing.assert_close(weights["bias"], torch.full((1,), 0.011))
    assert sum(parameter.numel() for parameter in learner.parameters()) == 2


def test_train_writes_a_head_for_the_generator(tmp_path, monkeypatch):
    generator = tiny.generator(64)
    monkeypatch.setattr(heads, "SIZES", (32,))
    monkeypatch.setattr(heads, "BORDER_PX", 1)
    small = heads.train(tmp_path, generator, 32, tmp_path / "head", schedule=SCHEDULE, counts=(6, 4))
    stored = load_file(tmp_path / "head" / "head.safetensors")
    assert set(stored) == {
        name for name, _ in small.named_parameters() if any(part in name for part in (".b16.", ".picture.", "co"))
    } - {name for name, _ in small.named_parameters() if ".conv." in name or ".b8." in name}
    w = generator.mapping(torch.randn(2, 8, generator=torch.Generator().manual_seed(5)))
    wanted = F.avg_pool2d(generator(generator.broadcast(w)), 2)
    drawn = small(small.broadcast(w))
    again = with_head(generator, 32, read_head(tmp_path / "head" / "head.safetensors"))
    torch.testing.assert_close(again(again.broadcast(w)), drawn, atol=1e-2, rtol=1e-2)
    assert heads.psnr(drawn, wanted).mean() > heads.psnr(torch.zeros_like(wanted), wanted).mean()


def test_with_head_refuses_weights_of_something_else():
    with pytest.raises(WeightsError, match="not the weights of a head for 32 px"):
        with_head(tiny.generator(64), 32, {"a": torch.zeros(1)})
