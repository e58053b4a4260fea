"""The encoder at small sizes; the golden cases hold it to the published program."""

import pytest
import torch

from stitch.core.images import resize
from stitch.networks.e4e import Encoder, Inverter


def small_encoder(**sizes) -> Encoder:
    torch.manual_seed(0)
    sizes = {"input_size": 64, "style_dim": 8, "num_ws": 6, "reduction": 2} | sizes
    return Encoder(widths=(4, 4, 6, 8, 10), depths=(1, 2, 1, 2), levels=(2, 4), **sizes).eval()


def test_encoder_gives_one_code_per_layer():
    assert small_encoder()(torch.zeros(3, 3, 64, 64)).shape == (3, 6, 8)


def test_encoder_of_fewer_codes_than_levels_works():
    assert small_encoder(num_ws=2)(torch.zeros(1, 3, 64, 64)).shape == (1, 2, 8)


def test_encoder_adds_offsets_to_the_first_code():
    encoder = small_encoder()
    images = torch.randn(2, 3, 64, 64)
    codes = encoder(images)
    for head in encoder.styles[1:]:
        head.linear.weight.data.zero_()
        head.linear.bias.data.zero_()
    alone = encoder(images)
    assert torch.equal(alone[:, 0], codes[:, 0])
    assert torch.equal(alone, alone[:, :1].expand_as(alone))
    assert not torch.equal(codes, alone)


def test_encoder_reads_finer_levels_for_later_codes():
    encoder = small_encoder()
    images = torch.randn(1, 3, 64, 64)
    before = encoder(images)
    encoder.latlayer2.bias.data.add_(1)
    after = encoder(images)
    assert torch.equal(before[:, :4], after[:, :4])
    assert not torch.allclose(before[:, 4:], after[:, 4:])


def test_encoder_gradients_reach_every_parameter():
    encoder = small_encoder()
    encoder(torch.randn(2, 3, 64, 64)).square().sum().backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters())


def test_encoder_refuses_wrong_sizes():
    with pytest.raises(ValueError, match=r"images: got \[1, 3, 32, 32\]"):
        small_encoder()(torch.zeros(1, 3, 32, 32))
    with pytest.raises(ValueError, match="input_size: got 48"):
        small_encoder(input_size=48)
    with pytest.raises(ValueError, match="got 2 and 4 numbers"):
        Encoder(widths=(4, 4))


@pytest.mark.parametrize("average", [torch.arange(8.0), torch.arange(48.0).reshape(6, 8)])
def test_inverter_adds_the_mean_code(average):
    encoder = small_encoder()
    images = torch.randn(2, 3, 64, 64)
    pivots = Inverter(encoder, average).eval()(images)
    assert torch.equal(pivots, encoder(images) + average)


def test_inverter_takes_crops_of_any_size():
    inverter = Inverter(small_encoder(), torch.zeros(8)).eval()
    wave = torch.linspace(-1, 1, 128).expand(1, 3, 128, 128)
    assert torch.allclose(inverter(wave), inverter(resize(wave, 64)), atol=1e-6)
