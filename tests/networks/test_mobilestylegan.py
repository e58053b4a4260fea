import pytest
import torch
import torch.nn.functional as F

from stitch.networks.formats.checkpoints import load_module, save_module
from stitch.networks.mobile_layers import HAAR, Up, blend, by_band, inverse_wavelet
from stitch.networks.mobilestylegan import MobileStyleGAN


def tiny(seed: int = 0) -> MobileStyleGAN:
    """A generator at 32 px with random weights, noise and mean code."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        generator = MobileStyleGAN(32, style_dim=8, mapping_layers=2, channels={4: 8, 8: 16, 16: 8})
        for name, buffer in generator.named_buffers():
            buffer.normal_(std=0.1)
            assert name.endswith((".noise", "w_avg"))
    return generator.requires_grad_(True)


def rand(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_inverse_wavelet_of_a_low_band_is_flat_squares():
    bands = torch.zeros(1, 2, 2, 4, 1)
    bands[0, :, :, 0, 0] = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    wanted = torch.tensor([[0.5, 0.5, 1.0, 1.0], [0.5, 0.5, 1.0, 1.0]])
    assert torch.equal(inverse_wavelet(bands)[0, :2, :, 0], wanted)


def test_inverse_wavelet_of_lh_changes_sign_from_row_to_row():
    bands = torch.zeros(1, 1, 1, 4, 1)
    bands[0, 0, 0, 1] = 2
    assert torch.equal(inverse_wavelet(bands)[0, :, :, 0], torch.tensor([[1.0, 1.0], [-1.0, -1.0]]))


def test_up_scales_the_bands_by_a_style_in_the_order_of_weights():
    x, style = rand(2, 3, 3, 4, 2), rand(2, 8, seed=2)
    scaled = x * style.unflatten(1, (2, 4)).transpose(1, 2)[:, None, None]
    torch.testing.assert_close(Up(8, 8)(x, style), inverse_wavelet(scaled))


def test_haar_is_its_own_inverse():
    torch.testing.assert_close(torch.tensor(HAAR) @ torch.tensor(HAAR), torch.eye(4))


@pytest.mark.parametrize("name", ["b8.conv1", "b8.conv2"])
def test_separable_convolution_equals_scaled_features_and_plain_convolutions(name):
    layer = tiny().synthesis.get_submodule(name)
    inputs = len(layer.depthwise)
    x, style = rand(3, inputs, 8, 8), rand(3, inputs, seed=2)
    scaled = x * (style * layer.gain)[:, :, None, None]
    features = F.conv2d(scaled, layer.depthwise[:, None], padding=1, groups=inputs)
    features = F.conv2d(features, layer.pointwise[:, :, None, None]) + layer.activation.noise
    expected = F.leaky_relu(features + layer.activation.bias[:, None, None], 0.2)
    found = layer(x.permute(0, 2, 3, 1).contiguous(), style, "const")
    expected = by_band(expected, 1) if layer.banded else expected
    torch.testing.assert_close(found.flatten(3).permute(0, 3, 1, 2), expected)


def test_by_band_puts_each_band_of_all_channels_together():
    assert by_band(torch.arange(8)).tolist() == [0, 4, 1, 5, 2, 6, 3, 7]


def test_generator_of_styles_equals_generator_of_codes():
    generator, ws = tiny(), rand(2, 7, 8)
    assert generator.num_ws == 7 and generator.codes_px == [4, 8, 8, 8, 16, 16, 16]
    assert torch.equal(generator(ws), generator.from_styles(generator.styles(ws)))


def test_generator_is_translated_codes_row_by_row():
    generator = tiny()
    assert [(layer.name, layer.w_index) for layer in generator.layers] == [
        ("conv", 0), ("b8.up", 1), ("b8.conv1", 1), ("b8.conv2", 2), ("b16.up", 4), ("b16.conv1", 4), ("b16.conv2", 5),
        ("picture", 6),
    ]  # fmt: skip
    assert [layer.offset for layer in generator.layers if layer.is_conv] == [0, 8, 10, 26, 30]


def test_generator_truncates_towards_its_mean_code():
    generator, z = tiny(), rand(2, 8)
    w = generator.mapping(z)
    torch.testing.assert_close(generator.mapping(z, psi=0.5), generator.w_avg + 0.5 * (w - generator.w_avg))
    assert torch.equal(generator.broadcast(w, psi=0.0)[0, 3], generator.w_avg)


def test_generator_without_noise_maps_differs():
    generator, ws = tiny(), rand(1, 7, 8)
    assert not torch.allclose(generator(ws), generator(ws, noise="none"))


def test_truncated_keeps_the_blocks_before_and_imitates_those_behind():
    generator = tiny()
    small = generator.truncated(16)
    assert (small.resolution, small.num_ws) == (16, generator.num_ws)
    assert [layer.name for layer in small.layers[4:]] == [
        "picture", "coarse16.up", "coarse16.conv1", "coarse16.conv2", "colours"
    ]  # fmt: skip
    assert [layer.w_index for layer in small.layers[4:]] == [3, 4, 4, 5, 6]
    for name, value in small.state_dict().items():
        if ".b8." in name or name.startswith("mapping."):
            assert torch.equal(value, generator.state_dict()[name])


def test_truncated_equals_the_reduced_picture_where_features_are_flat():
    generator = tiny()
    with torch.no_grad():
        for name, parameter in generator.synthesis.named_parameters():
            if name == "input":
                parameter.copy_(parameter.mean((1, 2), keepdim=True).expand_as(parameter))
            elif name.endswith("up.affine.weight") or name.endswith("up.affine.bias"):
                parameter.unflatten(0, (-1, 4))[:, 1:] = 0  # no bands but the low one
        for _, buffer in generator.synthesis.named_buffers():
            buffer.zero_()
    small, ws = generator.truncated(16), rand(2, 7, 8)
    whole, part = generator(ws), small(ws)
    middle = F.avg_pool2d(whole, 4)[:, :, 3:5, 3:5]  # away from the border, whose zeros are no means
    torch.testing.assert_close(F.avg_pool2d(part, 2)[:, :, 3:5, 3:5], middle, atol=1e-4, rtol=1e-3)


def test_blend_of_a_filter_acts_on_means_of_flat_squares():
    filters, coarse = rand(1, 3, 3), rand(1, 1, 6, 6, seed=4)
    fine = F.interpolate(coarse, scale_factor=2)
    wanted = F.avg_pool2d(F.conv2d(fine, filters[None], padding=1), 2)
    found = F.conv2d(coarse, blend(filters, 2)[None], padding=1)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


def test_checkpointing_changes_no_gradient():
    plain, thrifty, ws = tiny(), tiny(), rand(1, 7, 8)
    plain(ws).square().sum().backward()
    thrifty(ws, checkpointing=True).square().sum().backward()
    for one, other in zip(plain.synthesis.parameters(), thrifty.synthesis.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)


def test_colours_and_styles_stay_float32_under_autocast():
    generator, ws = tiny().requires_grad_(False), rand(2, 7, 8)
    with torch.autocast("cpu", torch.bfloat16):
        styles, pictures = generator.styles(ws), generator(ws)
    assert all(map(torch.equal, styles, generator.styles(ws)))
    assert pictures.dtype == torch.float32
    torch.testing.assert_close(pictures, generator(ws), atol=0.02, rtol=0.02)


def test_kinds_names_every_parameter_of_the_synthesis():
    generator = tiny()
    kinds = generator.kinds()
    assert set(kinds) == {name for name, _ in generator.named_parameters() if name.startswith("synthesis.")}
    assert kinds["synthesis.b8.conv1.depthwise"] == "convolution"
    assert kinds["synthesis.b8.up.affine.bias"] == "affine"
    assert kinds["synthesis.b8.conv1.activation.bias"] == "bias"
    assert kinds["synthesis.picture.bias"] == "bias"
    assert kinds["synthesis.input"] == "bias"


@pytest.mark.parametrize(
    ("resolution", "channels", "message"),
    [
        (48, {4: 8, 8: 8, 16: 8}, "power of two"),
        (32, {4: 8, 16: 8}, "expected"),
        (32, {4: 8, 8: 6, 16: 8}, "multiples"),
    ],
)
def test_generator_refuses_wrong_sizes(resolution, channels, message):
    with pytest.raises(ValueError, match=message):
        MobileStyleGAN(resolution, 8, 2, channels)


def test_generator_refuses_wrong_codes_and_styles():
    generator = tiny()
    with pytest.raises(ValueError, match="ws: got shape"):
        generator(rand(1, 6, 8))
    with pytest.raises(ValueError, match="truncated: got 8 px"):
        generator.truncated(16).truncated(8)
    with pytest.raises(ValueError, match="styles: got 1"):
        generator.from_styles([rand(1, 8)])


def test_generator_on_the_meta_device_costs_nothing_and_tells_the_shapes():
    with torch.device("meta"):
        generator = MobileStyleGAN(32, style_dim=8, mapping_layers=2, channels={4: 8, 8: 16, 16: 8})
    small = generator.truncated(16)
    for network, side in ((generator, 32), (small, 16)):
        assert {parameter.device.type for parameter in network.parameters()} == {"meta"}
        codes = torch.empty(2, 7, 8, device="meta")
        assert network(codes).shape == network.stacked(2)(codes).shape == (2, 3, side, side)


@pytest.mark.parametrize("resolution", [32, 16])
def test_generator_is_the_same_behind_a_file(tmp_path, resolution):
    generator = tiny() if resolution == 32 else tiny().truncated(resolution)
    save_module(tmp_path / "generator.safetensors", generator)
    again, ws = load_module(tmp_path / "generator.safetensors", MobileStyleGAN), rand(1, 7, 8)
    torch.testing.assert_close(again(ws), generator.requires_grad_(False)(ws))
