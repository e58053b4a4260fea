"""Stage 2."""

import numpy as np
import pytest
import torch

from stitch.core.events import Progress
from stitch.core.images import to_tensor
from stitch.core.records import Crops
from stitch.methods.stit.invert import invert
from tests.stages import finish


def crops_of(images: np.ndarray) -> Crops:
    return Crops(images, np.zeros((len(images), 4, 2)), np.arange(len(images)))


@pytest.fixture
def crops() -> Crops:
    return crops_of(np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8))


@pytest.mark.parametrize("batch", [1, 2, 5, 16])
def test_invert_encodes_every_crop_whatever_the_batch(family, crops, batch):
    pivots, events = finish(invert(crops, family.encoder, batch))
    torch.testing.assert_close(pivots.w, family.encoder(to_tensor(crops.images)))
    assert not pivots.w.requires_grad and pivots.w.dtype == torch.float32
    assert events[-1] == Progress("invert", 5, 5)
    assert [event.done for event in events] == [min(first + batch, 5) for first in range(0, 5, batch)]


def test_invert_needs_no_gradient_of_an_encoder_that_offers_one(crops):
    encoder = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.LazyLinear(6))
    encoder(torch.zeros(1, 3, 32, 32))
    pivots, _ = finish(invert(crops, encoder))
    assert not pivots.w.requires_grad
    assert torch.is_grad_enabled()


def test_invert_refuses_no_crops_and_no_batch(family, crops):
    with pytest.raises(ValueError, match="at least 1"):
        finish(invert(crops_of(crops.images[:0]), family.encoder))
    with pytest.raises(ValueError, match="batch 0"):
        finish(invert(crops, family.encoder, batch=0))
