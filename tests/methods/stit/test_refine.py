from dataclasses import replace

import numpy as np
import pytest
import torch

from stitch.core.errors import WeightsError
from stitch.core.events import finished
from stitch.core.images import to_bytes, to_tensor
from stitch.core.records import Crops, Pivots
from stitch.families.family import Refinement
from stitch.methods.stit.refine import refine
from stitch.runtime.precision import Passes


@pytest.fixture
def drawn(family):
    """Crops of one face along a smooth path, and the codes that they were drawn from, [7,L,D]."""
    generator = family.generator
    ends = generator.mapping(torch.randn(2, generator.z_dim, generator=torch.Generator().manual_seed(4)))
    share = torch.linspace(0, 0.2, 7)[:, None]
    codes = generator.broadcast(ends[:1] + share * (ends[1:] - ends[:1])).clone()
    with torch.no_grad():
        images = to_bytes(generator(codes))
    return Crops(images, np.zeros((7, 4, 2)), np.arange(7)), codes


def refined(family, crops, codes, steps=60, rate=0.03, precision="fp32"):
    refinement, passes = Refinement(torch.eye(family.generator.w_dim), steps, rate, 0.008), Passes(precision)
    return finished(refine(crops, Pivots(codes), family.generator, family.perceptual, refinement, passes)).w


def errors(family, crops, codes):
    with torch.no_grad():
        return (family.generator(codes) - to_tensor(crops.images)).square().mean((1, 2, 3))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_refine_brings_pivots_nearer_by_nearly_the_same_step(family, drawn, precision):
    crops, true = drawn
    off = true + 0.3
    found = refined(family, crops, off, precision=precision)
    assert found.dtype == torch.float32
    assert errors(family, crops, found).mean() < 0.5 * errors(family, crops, off).mean()
    moved = (found - off)[:, 0]
    assert (moved - moved.mean(0)).norm(dim=1).max() < 0.5 * moved.mean(0).norm()
    assert torch.equal(found[:, :1].expand_as(found), found)


def test_refine_keeps_the_pivots_where_its_steps_made_them_worse(family, drawn):
    crops, true = drawn
    assert torch.equal(refined(family, crops, true, steps=1, rate=10.0), true)


def test_refine_repeats_exactly_and_takes_a_single_frame(family, drawn):
    crops, true = drawn
    assert torch.equal(refined(family, crops, true + 0.3, 5), refined(family, crops, true + 0.3, 5))
    one = Crops(crops.images[:1], crops.quads[:1], crops.frames[:1])
    assert refined(family, one, true[:1] + 0.3, 5).shape == true[:1].shape


def test_refine_wants_a_pivot_for_every_crop(family, drawn):
    crops, true = drawn
    with pytest.raises(ValueError, match=r"got 2, expected one per crop \(7\)"):
        refined(family, crops, true[:2])


class TwoSizes:
    """A family's generator at its own size and at another."""

    known = (32, 64)

    def __init__(self, other):
        self.other = other

    def at(self, size):
        return self.other


def test_at_size_takes_the_other_generator_and_refuses_other_sizes(family):
    with pytest.raises(WeightsError, match="draws at 32 px"):
        family.at_size(64)
    assert family.at_size(32) is family
    two = replace(family, sizes=TwoSizes(family.generator))
    assert two.at_size(64).generator is family.generator
    with pytest.raises(WeightsError, match="draws at 32, 64 px"):
        two.at_size(48)
