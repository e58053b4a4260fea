"""Pivots by optimisation."""

import pytest
import torch

from stitch.methods.pti.projector import Projector


def picture(family, seed=1):
    z = torch.randn(1, family.generator.z_dim, generator=torch.Generator().manual_seed(seed))
    return family.generator(family.generator.broadcast(family.generator.mapping(z)))


def distance(family, code, crop):
    features = family.perceptual.features
    return float(family.perceptual.distance(features(family.generator(code)), features(crop)))


def test_projector_comes_nearer_to_a_picture_than_the_mean_face_with_one_code_for_all_layers(family):
    crop, generator = picture(family), family.generator
    code = Projector(generator, family.perceptual, 60)(crop)
    assert code.shape == (1, generator.num_ws, generator.w_dim) and (code == code[:, :1]).all()
    mean = generator.broadcast(generator.w_avg[None])
    assert distance(family, code, crop) < 0.5 * distance(family, mean, crop)


def test_projector_treats_every_picture_by_itself_and_alike_each_time(family):
    crops = torch.cat([picture(family, 1), picture(family, 2)])
    projector = Projector(family.generator, family.perceptual, 5)
    together = projector(crops)
    assert torch.equal(together, torch.cat([projector(crop[None]) for crop in crops]))
    assert not torch.equal(together, Projector(family.generator, family.perceptual, 5, seed=1)(crops))


def test_projector_is_another_network_with_other_steps(family):
    first, second = (Projector(family.generator, family.perceptual, steps).state_dict() for steps in (5, 6))
    assert not torch.equal(first["recipe"], second["recipe"])
    with pytest.raises(ValueError, match="steps: got 0"):
        Projector(family.generator, family.perceptual, 0)
