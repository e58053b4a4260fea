import pytest
import torch

from stitch.families.portrait.perceptual import TAPS, perceptual, read_trunk
from stitch.networks.efficientnet import EfficientNetLite
from tests.families.portrait.packages import fetched


def test_perceptual_is_zero_for_equal_pictures_and_has_a_gradient():
    torch.manual_seed(0)
    distance = perceptual(EfficientNetLite())
    images = torch.rand(1, 3, 64, 64) * 2 - 1
    assert float(distance(images, images)) == 0
    other = images.flip(3).requires_grad_(True)
    distance(images, other).sum().backward()
    assert other.grad.abs().sum() > 0
    assert len(distance.features(images)) == TAPS


@pytest.mark.slow
def test_published_features_see_a_blur_before_a_small_change_of_light():
    distance = perceptual(read_trunk(fetched()["perceptual"]))
    rows, columns = torch.meshgrid(torch.arange(128.0), torch.arange(128.0), indexing="ij")
    images = ((rows * 0.9).sin() * (columns * 0.7).cos())[None, None].expand(1, 3, -1, -1) * 0.8
    blurred = torch.nn.functional.avg_pool2d(images, 5, stride=1, padding=2)
    assert distance(images, blurred) > 2 * distance(images, images * 0.95)
