import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from stitch.core.errors import WeightsError
from stitch.families.portrait import generator
from stitch.networks.formats.openvino import Constant
from tests import golden
from tests.families.portrait.packages import fetched


def constants() -> list[Constant]:
    """What the exporter writes of a generator at 16 px with 8 and 4 channels, codes of 3 numbers, in its order."""
    shapes = {
        "m.layers.0.to_img.conv.modulation.weight": (4, 3), "m.layers.0.to_img.conv.modulation.bias": (1, 4),
        "m.layers.0.conv2.conv.modulation.weight": (4, 3), "m.layers.0.conv2.conv.modulation.bias": (1, 4),
        "m.layers.0.conv1.conv.modulation.weight": (2, 3), "m.layers.0.conv1.conv.modulation.bias": (1, 2),
        "m.layers.0.up.modulation.weight": (8, 3), "m.layers.0.up.modulation.bias": (1, 8),
        "m.conv1.conv.modulation.weight": (8, 3), "m.conv1.conv.modulation.bias": (1, 8),
        "m.input.input": (1, 8, 4, 4), "Mul_1_copy": (8, 8, 3, 3), "1531": (1, 1, 4, 4), "m.conv1.bias": (1, 8, 1, 1),
        "haar": (2, 1, 1, 2, 1),
        "m.layers.0.conv1.conv.weight_dw": (2, 1, 1, 3, 3), "Mul_2_copy": (4, 2, 1, 1), "1560": (1, 1, 8, 8),
        "m.layers.0.conv1.bias": (1, 4, 1, 1),
        "m.layers.0.conv2.conv.weight_dw": (4, 1, 1, 3, 3), "Mul_3_copy": (4, 4, 1, 1), "1572": (1, 1, 8, 8),
        "m.layers.0.conv2.bias": (1, 4, 1, 1),
        "m.layers.0.to_img.conv.weight": (12, 4, 1, 1), "m.layers.0.to_img.bias": (1, 12, 1, 1),
    }  # fmt: skip
    rng = np.random.default_rng(0)
    return [Constant(name, rng.standard_normal(shape, dtype=np.float32)) for name, shape in shapes.items()]


def test_synthesis_state_fills_every_tensor_of_the_network():
    network = generator.MobileStyleGAN(16, 3, 1, {4: 8, 8: 4})
    state = generator.synthesis_state(constants())
    assert set(state) == {name for name in network.state_dict() if name.startswith("synthesis.")}
    missing, unexpected = network.load_state_dict(state, strict=False)
    assert not unexpected and all(name.startswith("mapping.") for name in missing)


def test_synthesis_state_brings_the_bands_of_a_channel_together():
    by_name = {constant.name: constant.values for constant in constants()}
    state = generator.synthesis_state(constants())
    published = by_name["m.conv1.bias"].reshape(-1)  # low bands of two channels, then three high bands of each
    expected = published[[0, 2, 3, 4, 1, 5, 6, 7]]
    np.testing.assert_array_equal(state["synthesis.conv.activation.bias"].numpy(), expected)


def test_synthesis_state_refuses_a_file_without_weights_before_a_bias():
    with pytest.raises(WeightsError, match="missing"):
        generator.synthesis_state([Constant("m.conv1.bias", np.zeros((1, 8, 1, 1), np.float32))])


@pytest.mark.slow
def test_read_generator_equals_golden():
    folder = golden.FOLDER
    if not (folder / "c12_mobile.npz").exists():
        pytest.skip(f"no golden case c12_mobile in {folder}")
    network = generator.read_generator(fetched())
    case = {name: torch.from_numpy(values) for name, values in np.load(folder / "c12_mobile.npz").items()}
    notes = json.loads((folder / "c12_mobile.json").read_text())
    with torch.no_grad():
        w = network.mapping(case["z"])
        images = torch.cat([network(network.broadcast(code[None])) for code in case["codes"]])
    y, x, height, width = notes["patch"]
    atol = notes["tolerance"]["image"]
    torch.testing.assert_close(w, case["w"], atol=notes["tolerance"]["w"], rtol=0)
    torch.testing.assert_close(F.avg_pool2d(images, 8), case["area128"], atol=atol, rtol=0)
    torch.testing.assert_close(images[:, :, y : y + height, x : x + width], case["patch"], atol=atol, rtol=0)
    torch.testing.assert_close(images.mean((1, 2, 3)), case["image_mean"], atol=atol, rtol=0)
    torch.testing.assert_close(images.std((1, 2, 3), correction=0), case["image_std"], atol=atol, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize(("size", "lowest_db"), [(256, 28), (512, 31)])
def test_heads_draw_the_reduced_picture(size, lowest_db):
    files = fetched()
    network = generator.read_generator(files)
    small = generator.with_head(network, size, generator.read_head(files[generator.HEADS[size]]))
    w = network.mapping(torch.randn(3, network.z_dim, generator=torch.Generator().manual_seed(77)), psi=0.7)
    with torch.no_grad():
        wanted = torch.cat([network(network.broadcast(code[None])) for code in w])
        drawn = small(small.broadcast(w))
    assert small.num_ws == network.num_ws
    error = (drawn - F.avg_pool2d(wanted, network.resolution // size)).square().mean((1, 2, 3))
    assert float((10 * torch.log10(4 / error)).mean()) > lowest_db
