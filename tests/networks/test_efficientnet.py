import torch
import torch.nn.functional as F

from stitch.networks.efficientnet import Convolution, EfficientNetLite, Stage, folded

STAGES = (Stage(3, 1, 1, 4, 1), Stage(5, 2, 2, 6, 2))


def published(seed: int = 0) -> dict[str, torch.Tensor]:
    """Weights of a small network with batch normalisation, named as in the package."""
    rng = torch.Generator().manual_seed(seed)
    shapes = {"_conv_stem": (8, 3, 3, 3), "_bn0": 8}
    shapes |= {"_blocks.0._depthwise_conv": (8, 1, 3, 3), "_blocks.0._bn1": 8}
    shapes |= {"_blocks.0._project_conv": (4, 8, 1, 1), "_blocks.0._bn2": 4}
    for block, inputs in ((1, 4), (2, 6)):
        inner = 2 * inputs
        shapes |= {f"_blocks.{block}._expand_conv": (inner, inputs, 1, 1), f"_blocks.{block}._bn0": inner}
        shapes |= {f"_blocks.{block}._depthwise_conv": (inner, 1, 5, 5), f"_blocks.{block}._bn1": inner}
        shapes |= {f"_blocks.{block}._project_conv": (6, inner, 1, 1), f"_blocks.{block}._bn2": 6}
    state = {}
    for name, shape in shapes.items():
        if isinstance(shape, tuple):
            state[f"{name}.weight"] = torch.randn(shape, generator=rng) / 2
        else:
            state[f"{name}.weight"], state[f"{name}.bias"] = torch.rand(2, shape, generator=rng) + 0.5
            state[f"{name}.running_mean"], state[f"{name}.running_var"] = torch.rand(2, shape, generator=rng) + 0.5
    return state


def same(x: torch.Tensor, weight: torch.Tensor, stride: int, groups: int) -> torch.Tensor:
    """TensorFlow's "same" convolution of an even side, written out."""
    kernel = weight.shape[-1]
    total = kernel - stride if x.shape[-1] % stride == 0 else kernel - 1
    x = F.pad(x, (total // 2, total - total // 2) * 2)
    return F.conv2d(x, weight, stride=stride, groups=groups)


def with_batch_norm(state: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    def layer(x, convolution, norm, stride=1, groups=1):
        x = same(x, state[f"{convolution}.weight"], stride, groups)
        parts = (state[f"{norm}.{name}"] for name in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(x, *parts, eps=1e-3)

    x = F.relu6(layer(x, "_conv_stem", "_bn0", 2))
    x = F.relu6(layer(x, "_blocks.0._depthwise_conv", "_blocks.0._bn1", groups=8))
    x = layer(x, "_blocks.0._project_conv", "_blocks.0._bn2")
    for block, stride, inner in ((1, 2, 8), (2, 1, 12)):
        y = F.relu6(layer(x, f"_blocks.{block}._expand_conv", f"_blocks.{block}._bn0"))
        y = F.relu6(layer(y, f"_blocks.{block}._depthwise_conv", f"_blocks.{block}._bn1", stride, inner))
        y = layer(y, f"_blocks.{block}._project_conv", f"_blocks.{block}._bn2")
        x = x + y if stride == 1 else y
    return x


def test_folded_weights_give_the_features_of_batch_normalisation():
    state = published()
    network = EfficientNetLite(8, STAGES)
    network.load_state_dict(folded(state, STAGES))
    images = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    features = network(images)
    assert [list(feature.shape[1:]) for feature in features] == [[4, 8, 8], [6, 4, 4]]
    torch.testing.assert_close(features[-1], with_batch_norm(state, images), atol=1e-4, rtol=1e-4)


def test_convolution_halves_odd_sides_upwards():
    assert Convolution(3, 2, 5, 2)(torch.zeros(1, 3, 7, 8)).shape == (1, 2, 4, 4)
