"""The classifier of codes and the maps, on codes whose attributes are their first numbers."""

import pytest
import torch

from stitch.methods.latent_transformer import training
from stitch.methods.latent_transformer.transformer import LatentTransformers

SCHEDULE = training.Schedule(steps=800, batch=64, rate=2e-2, keeping=0.003)


@pytest.fixture(scope="module")
def codes():
    w = torch.randn(2000, 6, generator=torch.Generator().manual_seed(0))
    values = {"smile": w[:, 0], "age": w[:, 1], "grey": w[:, 1] + 0.1 * w[:, 2]}
    return w, training.binary(values, tuple(values))


@pytest.fixture(scope="module")
def classifier(codes):
    return training.train_classifier(*codes, SCHEDULE)


def test_train_classifier_tells_both_classes_on_codes_it_did_not_see(classifier):
    assert (classifier[1] > 0.9).all()


def test_balanced_bce_weighs_a_rare_class_as_much_as_a_frequent_one_and_leaves_out_what_nobody_knows():
    labels = torch.tensor([[1.0], [0.0], [0.0], [0.0], [float("nan")]])
    share = labels.nanmean(0)
    rare = training.balanced_bce(torch.tensor([[-3.0], [-3.0], [-3.0], [-3.0], [0.0]]), labels, share)
    frequent = training.balanced_bce(torch.full((5, 1), 3.0), labels, share)
    assert rare == pytest.approx(float(frequent), rel=1e-4)


def test_binary_splits_at_the_mean_and_keeps_what_is_not_known():
    found = training.binary({"a": torch.tensor([0.0, 1.0, 5.0, float("nan")])}, ["a"])
    assert found[:3, 0].tolist() == [0, 0, 1] and found[3].isnan().all()


def test_train_attribute_sends_codes_over_the_boundary_and_leaves_what_does_not_go_with_it(codes, classifier):
    w, labels = codes
    transformers = LatentTransformers(("smile",), 6, layers=2)
    alike = training.correlations(labels, 0)
    assert alike[0] == pytest.approx(1) and alike[1:].abs().max() < 0.1
    told = training.train_attribute(transformers, 0, w, classifier[0], 0, alike, SCHEDULE)
    assert told["crossed"] > 0.9
    with torch.no_grad():
        move = transformers.moves(w[:, None].expand(-1, 2, -1), "smile").mean((0, 1))
    assert move[0] > 5 * move[1].abs(), "age has nothing to do with it"


def test_calibrate_makes_a_step_as_long_as_the_sliders(codes, classifier):
    w, labels = codes
    transformers = LatentTransformers(("smile",), 6)
    slider = torch.tensor([0.5, 0, 0, 0, 0, 0])
    with torch.no_grad():
        transformers.bias[0, 0] = 4 * slider
    training.calibrate(transformers, w, classifier[0], {"smile": 0}, {"smile": slider})
    assert float(transformers.unit[0]) == pytest.approx(0.25, rel=0.1)
