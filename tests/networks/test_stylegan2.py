"""The generator against its definition; the golden cases hold it to the published programs."""

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from stitch.networks.stylegan2 import Generator, low_pass, modulated_convolution, upsample


def small_generator(conv_clamp: float | None = None, channels: dict[int, int] | None = None) -> Generator:
    torch.manual_seed(0)
    generator = Generator(16, 8, 2, channels or {4: 6, 8: 5, 16: 4}, conv_clamp=conv_clamp)
    with torch.no_grad():
        for name, parameter in generator.named_parameters():
            if name.endswith(("noise_strength", "bias")):
                parameter.add_(0.3 * torch.randn_like(parameter))
        generator.w_avg.normal_()
    return generator


def codes(generator: Generator, batch: int, seed: int = 1) -> torch.Tensor:
    noise = torch.Generator().manual_seed(seed)
    return torch.randn(batch, generator.num_ws, generator.w_dim, generator=noise)


def by_definition(x, weight, style, up):
    """One sample at a time, in double precision, with the zeros put between the pixels by hand."""
    results = []
    for index in range(len(x)):
        own = (weight[index] if weight.ndim == 5 else weight).double() * style[index].double()[:, None, None]
        own = own / own.square().sum((1, 2, 3), keepdim=True).add(1e-8).sqrt()
        sample = x[index : index + 1].double()
        if not up:
            results.append(F.conv2d(sample, own, padding=own.shape[-1] // 2))
            continue
        height, width = sample.shape[2:]
        spread = torch.zeros(1, sample.shape[1], 2 * height, 2 * width, dtype=torch.float64)
        spread[:, :, ::2, ::2] = sample
        # A transposed convolution adds up where a convolution looks, hence the flip.
        full = F.conv2d(spread, own.flip(2, 3), padding=2)[..., :-1, :-1]
        taps = low_pass().double()[None, None].expand(own.shape[0], 1, 4, 4)
        results.append(F.conv2d(full, taps, padding=1, groups=own.shape[0]))
    return torch.cat(results)


@pytest.mark.parametrize("size", [2, 12])
@pytest.mark.parametrize("up", [False, True])
@pytest.mark.parametrize(("batch", "stacked"), [(1, False), (3, False), (1, True), (3, True)])
def test_modulated_convolution_equals_its_definition(size, up, batch, stacked):
    torch.manual_seed(size)
    x, style = torch.randn(batch, 5, size, size), torch.randn(batch, 5)
    weight = torch.randn(batch, 4, 5, 3, 3) if stacked else torch.randn(4, 5, 3, 3)
    result = modulated_convolution(x, weight, style, fir=low_pass() if up else None)
    expected = by_definition(x, weight, style, up)
    assert torch.allclose(result.double(), expected, atol=1e-5)


def test_modulated_convolution_refuses_another_number_of_weights():
    with pytest.raises(ValueError, match="got 2, expected one per stacked set of weights"):
        modulated_convolution(torch.zeros(2, 3, 4, 4), torch.zeros(3, 3, 3, 3, 3), torch.zeros(2, 3))


def test_upsample_weighs_neighbours_three_to_one():
    images = torch.arange(16.0).reshape(1, 1, 4, 4)
    result = upsample(images, low_pass())
    between = F.interpolate(images, scale_factor=2, mode="bilinear", align_corners=False)
    assert result.shape == (1, 1, 8, 8)
    assert torch.allclose(result[..., 1:-1, 1:-1], between[..., 1:-1, 1:-1], atol=1e-6)
    assert result[0, 0, 7, 7] == pytest.approx(15 * 9 / 16)


def test_generator_lists_its_layers_like_the_state_dict():
    generator = small_generator()
    found = [(layer.name, layer.dimension, layer.is_conv, layer.w_index, layer.offset) for layer in generator.layers]
    assert found == [
        ("b4.conv1", 6, True, 0, 0),
        ("b4.torgb", 6, False, 1, None),
        ("b8.conv0", 6, True, 1, 6),
        ("b8.conv1", 5, True, 2, 12),
        ("b8.torgb", 5, False, 3, None),
        ("b16.conv0", 5, True, 3, 17),
        ("b16.conv1", 4, True, 4, 22),
        ("b16.torgb", 4, False, 5, None),
    ]
    assert generator.num_ws == 6 and generator.codes_px == [4, 8, 8, 16, 16, 16]
    assert all(f"synthesis.{layer.name}.weight" in generator.state_dict() for layer in generator.layers)


def test_generator_is_rebuilt_by_its_arguments():
    generator = Generator(8, 8, 3, {4: 6, 8: 5, 16: 4}, conv_clamp=2.0, z_dim=7)
    again = Generator(**generator.arguments)
    again.load_state_dict(generator.state_dict())
    assert again.arguments == generator.arguments
    assert again.mapping(torch.ones(2, 7)).shape == (2, 8)


def test_from_styles_equals_forward():
    generator = small_generator()
    ws = codes(generator, 3)
    assert torch.equal(generator.from_styles(generator.styles(ws)), generator(ws))


def test_batch_equals_single_images():
    generator = small_generator()
    ws = codes(generator, 3)
    single = torch.cat([generator(ws[index : index + 1]) for index in range(3)])
    assert torch.allclose(generator(ws), single, atol=1e-5)


def test_noise_none_leaves_the_noise_maps_out():
    generator = small_generator()
    ws = codes(generator, 2)
    quiet = generator(ws, noise="none")
    assert not torch.allclose(quiet, generator(ws), atol=1e-2)
    for name, parameter in generator.named_parameters():
        if name.endswith("noise_strength"):
            parameter.data.zero_()
    assert torch.allclose(quiet, generator(ws), atol=1e-6)


def test_clamp_bounds_the_colours():
    generator = small_generator(conv_clamp=0.01)
    for parameter in generator.parameters():
        parameter.data.mul_(5)
    # Three resolutions add up, and the filter's overshoot is nil: its taps are positive.
    assert generator(codes(generator, 2)).abs().max() <= 0.03 + 1e-6


def test_truncation_moves_towards_the_mean_code():
    generator = small_generator()
    z = torch.randn(4, 8)
    w = generator.mapping(z)
    assert torch.allclose(generator.mapping(z, psi=0.0), generator.w_avg.expand(4, -1))
    assert torch.allclose(generator.mapping(z, psi=0.5), (w + generator.w_avg) / 2, atol=1e-6)
    ws = generator.broadcast(w, psi=0.5, cutoff=2)
    assert torch.allclose(ws[:, 1], (w + generator.w_avg) / 2, atol=1e-6)
    assert torch.equal(ws[:, 2], w)
    assert ws.shape == (4, generator.num_ws, 8)


def test_mapping_ignores_the_length_of_z():
    generator = small_generator()
    z = torch.randn(4, 8)
    assert torch.allclose(generator.mapping(z), generator.mapping(7 * z), atol=1e-5)


def test_gradients_reach_weights_codes_and_styles():
    generator = small_generator()
    ws = codes(generator, 2).requires_grad_()
    styles = [style.detach().requires_grad_() for style in generator.styles(ws)]
    generator(ws).square().sum().backward()
    generator.from_styles(styles).square().sum().backward()
    without = {name for name, tensor in generator.named_parameters() if tensor.grad is None or not tensor.grad.any()}
    assert all(name.startswith("mapping.") for name in without)
    assert all(ws.grad[:, index].any() for index in range(generator.num_ws))
    assert all(style.grad.any() for style in styles)


def test_gradients_equal_finite_differences():
    generator = small_generator(channels={4: 3, 8: 3, 16: 2}).double()
    ws = codes(generator, 2).double().requires_grad_()
    target = torch.randn(2, 3, 16, 16, dtype=torch.float64)
    loss = (generator(ws) * target).sum()
    (slope,) = torch.autograd.grad(loss, ws)
    step = 1e-6 * torch.randn_like(ws)
    with torch.no_grad():
        change = ((generator(ws + step) - generator(ws - step)) * target).sum() / 2
    assert change.item() == pytest.approx((slope * step).sum().item(), rel=1e-4)


@pytest.mark.parametrize("frames", [1, 3])
def test_stacked_draws_the_same_images(frames):
    generator = small_generator()
    ws = codes(generator, frames)
    stack = generator.stacked(frames)
    assert torch.allclose(stack(ws), generator(ws), atol=1e-5)
    assert torch.allclose(stack(ws, noise="none"), generator(ws, noise="none"), atol=1e-5)


def test_stacked_frames_share_no_gradient():
    generator = small_generator()
    stack = generator.stacked(3)
    stack(codes(generator, 3))[1].square().sum().backward()
    for name, parameter in stack.synthesis.named_parameters():
        assert parameter.shape[0] == 3
        assert parameter.grad[1].any(), name
        assert not parameter.grad[[0, 2]].any(), name


def test_stacked_tuning_equals_tuning_each_frame_alone():
    generator = small_generator().requires_grad_(False)
    ws, targets = codes(generator, 3), torch.randn(3, 3, 16, 16)

    def tune(network, chosen):
        network.synthesis.requires_grad_(True)
        adam = torch.optim.Adam(network.synthesis.parameters(), lr=1e-2)
        for _ in range(4):
            adam.zero_grad()
            (network(ws[chosen]) - targets[chosen]).square().mean((1, 2, 3)).sum().backward()
            adam.step()
        return network(ws[chosen]).detach()

    together = tune(generator.stacked(3), slice(0, 3))
    alone = torch.cat([tune(generator.stacked(1), slice(i, i + 1)) for i in range(3)])
    assert torch.allclose(together, alone, atol=1e-4)
    assert not torch.allclose(together, generator(ws), atol=1e-2)


def test_stacked_leaves_the_original_alone():
    generator = small_generator().requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in generator.state_dict().items()}
    stack = generator.stacked(2)
    for parameter in stack.parameters():
        assert not parameter.requires_grad
        parameter.data.add_(1)
    assert all(torch.equal(before[name], tensor) for name, tensor in generator.state_dict().items())


def test_stacked_refuses_wrong_numbers():
    generator = small_generator()
    with pytest.raises(ValueError, match="samples: got 2, expected one per stacked set of weights"):
        generator.stacked(3)(codes(generator, 2))
    with pytest.raises(ValueError, match="got 2 frames on 3"):
        generator.stacked(3).stacked(2)
    with pytest.raises(ValueError, match="got 0 frames"):
        generator.stacked(0)


class Dtypes(TorchDispatchMode):
    """Notes in which precision every operation of some kinds is done, and on what shapes."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        tensors = [one for one in args if isinstance(one, torch.Tensor) and one.ndim]
        if name in ("convolution", "leaky_relu_", "rsqrt", "addmm", "bmm", "baddbmm", "mm") and tensors:
            self.seen.append((name, {one.dtype for one in tensors}, tuple(tensors[0].shape)))
        return result


@pytest.mark.parametrize("frames", [None, 2])
def test_generator_in_bf16_convolves_so_and_keeps_styles_demodulation_and_colours_in_float32(frames):
    generator = small_generator()
    network = generator if frames is None else generator.stacked(frames)
    with Dtypes() as noted, torch.autocast("cpu", torch.bfloat16):
        images = network(codes(generator, 2))
    assert images.dtype == torch.float32
    colours = {(2, 3, size, size) for size in (4, 8)}
    found = {name: [] for name, *_ in noted.seen}
    for name, dtypes, shape in noted.seen:
        half = name in ("convolution", "leaky_relu_") and shape not in colours
        assert dtypes == {torch.bfloat16 if half else torch.float32}, (name, shape)
        found[name].append(shape)
    assert len(found["leaky_relu_"]) == len(found["rsqrt"]) == 5, "every layer between the colours"
    assert len([shape for shape in found["convolution"] if shape in colours]) == 2
    assert len(found["convolution"]) == 2 + 5 + 2, "up-sampled colours, layers, and the filters behind two of them"


@pytest.mark.parametrize("frames", [None, 2])
def test_generator_in_bf16_stays_near_float32_on_the_way_back_too(frames):
    generator = small_generator()
    network = generator if frames is None else generator.stacked(frames)
    ws, slopes = codes(generator, 2), []
    for half in (False, True):
        network.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            loss = network(ws).square().mean()
        loss.backward()
        slopes.append(torch.cat([one.grad.flatten() for one in network.synthesis.parameters()]))
    assert torch.nn.functional.cosine_similarity(*slopes, dim=0) > 0.999


def test_generator_refuses_wrong_sizes():
    with pytest.raises(ValueError, match="resolution: got 24"):
        Generator(24, 8, 2, {4: 4, 8: 4, 16: 4})
    with pytest.raises(ValueError, match=r"expected \[16\] too"):
        Generator(16, 8, 2, {4: 4, 8: 4})
    generator = small_generator()
    with pytest.raises(ValueError, match=r"ws: got shape \[2, 5, 8\]"):
        generator(torch.zeros(2, 5, 8))
    with pytest.raises(ValueError, match="styles: got 1, expected 8"):
        generator.from_styles([torch.zeros(1, 6)])
