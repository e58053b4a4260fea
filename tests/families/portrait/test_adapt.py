from dataclasses import replace

import torch
from torch import Tensor, nn

from stitch.families.miniature.training.loop import Schedule
from stitch.families.portrait.encoder import LatentSpace
from stitch.families.portrait.training import adapt, sets
from stitch.methods.stit.losses import feature_weights
from stitch.networks.perceptual import Perceptual
from tests.families.portrait import tiny
from tests.families.portrait.test_encoder import small


class LeftHalf(nn.Module):
    """A parser for which the left half is skin."""

    def forward(self, images: Tensor) -> Tensor:
        labels = torch.zeros(len(images), images.shape[2], images.shape[3], dtype=torch.int64)
        labels[:, :, : images.shape[3] // 2] = 1
        return labels


class Colour(nn.Module):
    """An identity that is the mean colour's."""

    def forward(self, images: Tensor) -> Tensor:
        return nn.functional.normalize(images.mean((2, 3)), dim=1)


def judges(size: int = 32) -> adapt.Judges:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        perceptual = Perceptual.slim((4, 6)).requires_grad_(False)
    return adapt.Judges(perceptual, Colour(), LeftHalf(), feature_weights(size, adapt.RAISED))


def test_weights_are_one_on_average_and_greatest_at_the_eyes_of_the_face():
    weights = judges(64).weights(torch.zeros(2, 3, 64, 64))
    assert weights.shape == (2, 1, 64, 64)
    torch.testing.assert_close(weights.mean((2, 3)), torch.ones(2, 1))
    row = weights[0, 0, 30]
    assert row.argmax() in (23, 24)
    torch.testing.assert_close(row[40] / row[23], torch.tensor(adapt.BEHIND), atol=1e-3, rtol=0)


def test_losses_are_nothing_for_the_picture_that_was_wanted():
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    losses = judges().losses(images, images)
    assert set(losses) == {"pixel", "feature", "identity"}
    assert all(abs(float(loss)) < 1e-5 for loss in losses.values())
    assert all(float(loss) > 0 for loss in judges().losses(-images, images).values())


def test_sensitivity_predicts_how_losses_grow_with_a_small_step():
    generator, seen = tiny.generator(), judges()
    space = LatentSpace.of(torch.randn(100, 8, generator=torch.Generator().manual_seed(1)))
    w = torch.randn(1, 8, generator=torch.Generator().manual_seed(2))
    metric = adapt.sensitivity(generator, space, seen, w, probes=600)
    torch.testing.assert_close(metric, metric.T)
    step = 1e-2 * torch.randn(6, 8, generator=torch.Generator().manual_seed(3))
    before = generator(generator.broadcast(w)).expand(6, -1, -1, -1)
    after = generator(generator.broadcast(space(space.whiten(w) + step)))
    for index, predicted in enumerate(((step @ metric) * step).sum(1)):
        losses = seen.losses(after[index : index + 1], before[index : index + 1])
        torch.testing.assert_close(losses["pixel"] + losses["feature"], predicted, rtol=0.25, atol=0)


def test_codes_metric_counts_most_what_is_seen_most():
    space = LatentSpace(3)
    metric = adapt.codes_metric(torch.diag(torch.tensor([16.0, 4.0, 0.0])), space)
    even = adapt.EVEN / 3
    torch.testing.assert_close(metric, torch.diag(torch.tensor([2 / 3 + even, 1 / 3 + even, even])))


def test_projected_finds_coordinates_whose_picture_is_nearer():
    generator, seen = tiny.generator(), replace(judges(), identity=lambda images: torch.ones(len(images), 1))
    space = LatentSpace.of(torch.randn(100, 8, generator=torch.Generator().manual_seed(1)))
    rng = torch.Generator().manual_seed(2)
    true = torch.randn(2, 8, generator=rng)
    start = true + 0.1 * torch.randn(2, 8, generator=rng)
    images, before = (generator(generator.broadcast(space(part))) for part in (true, start))
    metric = adapt.sensitivity(generator, space, seen, space(true), probes=100)
    found = adapt.projected(images, start, generator, space, seen, metric)
    after = generator(generator.broadcast(space(found)))
    for index in range(2):
        rows = slice(index, index + 1)
        losses = (torch.stack(list(seen.losses(part[rows], images[rows]).values())).sum() for part in (after, before))
        assert float(next(losses)) < 0.7 * float(next(losses))


def test_train_learns_from_people_and_rendered_faces_and_writes_the_encoder(tmp_path, monkeypatch):
    monkeypatch.setattr(adapt, "RENDERED", 4)
    generator, network = tiny.generator(), small()
    faces = sets.rendered(tmp_path / "faces", generator, 16, seed=1)
    people = sets.rendered(tmp_path / "people", generator, 16, seed=2)["images"]
    schedule = Schedule(steps=2, batch=3, learning_rate=1e-3, log_every=1)
    adapt.train(faces, people, generator, judges(), network, tmp_path / "out", schedule=schedule)
    line = (tmp_path / "out" / "log.jsonl").read_text().splitlines()[-1]
    figures = ("held_db", "held_distance", "held_identity", "held_rms", "held_r2")
    assert all(name in line for name in ("people", "rendered", *figures))
    assert (tmp_path / "out" / "encoder.safetensors").exists()
    assert (tmp_path / "out" / "sensitivity.pt").exists()
