"""Stage 3."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from stitch.core.errors import StitchError
from stitch.core.events import Notice, Preview, Progress
from stitch.core.images import to_tensor
from stitch.core.records import Crops, Pivots, Tuned
from stitch.core.settings import TuneSettings
from stitch.methods.stit import tune as stage
from stitch.methods.stit.edit import render
from stitch.methods.stit.invert import invert
from stitch.methods.stit.losses import mean_squared_error
from stitch.methods.stit.tune import tune
from stitch.runtime.optimizer import Rates, Recipe
from tests.stages import finish

SETTINGS = TuneSettings(epochs=3, locality_alpha=1.0)
RATES = Rates(1e-2)


@pytest.fixture(scope="module")
def crops() -> Crops:
    """Three discs on a slope of colour; they lie at frames 2, 4 and 5 of the clip."""
    y, x = np.mgrid[:32, :32]
    disc = (np.hypot(x - 12 - 3 * np.arange(3)[:, None, None], y - 16) < 8)[..., None]
    images = np.where(disc, np.array([220, 150, 110]), np.stack([x * 3, y * 3, x + y], -1)).astype(np.uint8)
    return Crops(images, np.zeros((3, 4, 2)), np.array([2, 4, 5]))


@pytest.fixture(scope="module")
def pivots(family, crops) -> Pivots:
    return finish(invert(crops, family.encoder))[0]


def tuning(family, crops, pivots, settings=SETTINGS, seed=0, rates=RATES, **more):
    return tune(crops, pivots, family.generator, family.perceptual, Recipe(settings, rates, seed=seed), **more)


def test_tune_looks_at_nothing_outside_the_face_where_that_counts_for_nothing(family, crops, pivots):
    def faces(images):
        shown = torch.zeros_like(images[:, :1])
        shown[..., 8:24, 8:24] = 1
        return shown

    settings = replace(SETTINGS, lpips_weight=0.0, locality_weight=0.0)
    elsewhere = crops.images.copy()
    elsewhere[:, :8] = 255 - elsewhere[:, :8]
    losses = []
    for images, share in ((crops.images, 0.0), (elsewhere, 0.0), (elsewhere, 0.5), (elsewhere, 1.0)):
        stage = tuning(family, replace(crops, images=images), pivots, replace(settings, outside=share), faces=faces)
        losses.append(finish(stage)[0].losses[:, 1])
    torch.testing.assert_close(losses[0], losses[1])
    assert losses[1][0] < losses[2][0] < losses[3][0]


def assert_same(one: Tuned, other: Tuned) -> None:
    assert torch.equal(one.losses, other.losses)
    pairs = zip(one.generator.state_dict().items(), other.generator.state_dict().items(), strict=True)
    for (name, first), (_, second) in pairs:
        assert torch.equal(first, second), name


def test_tune_brings_the_pictures_closer_to_the_crops(family, crops, pivots):
    tuned, _ = finish(tuning(family, crops, pivots, replace(SETTINGS, epochs=12, locality_weight=0.0)))
    before, after = (
        mean_squared_error(render(generator, pivots.w), to_tensor(crops.images)).mean()
        for generator in (family.generator, tuned.generator)
    )
    assert after < before / 2
    assert tuned.losses.shape == (36, 3)
    assert tuned.losses[0, 1] > tuned.losses[-3:, 1].mean()


def test_tune_changes_synthesis_weights_only_and_of_a_copy_only(family, crops, pivots):
    before = {name: tensor.clone() for name, tensor in family.generator.state_dict().items()}
    tuned, _ = finish(tuning(family, crops, pivots))
    weights = {f"synthesis.{name}" for name, _ in family.generator.synthesis.named_parameters()}
    for name, tensor in tuned.generator.state_dict().items():
        assert torch.equal(family.generator.state_dict()[name], before[name]), name
        assert torch.equal(tensor, before[name]) == (name not in weights), name
    assert not any(parameter.requires_grad for parameter in tuned.generator.parameters())


def test_tune_sees_each_frame_once_an_epoch(family, crops, pivots, monkeypatch):
    seen = []
    step = stage._step
    monkeypatch.setattr(stage, "_step", lambda *args: (seen.append(args[4]), step(*args)))
    finish(tuning(family, crops, pivots))
    assert seen == [[0], [1], [2]] * 3
    seen.clear()
    finish(tuning(family, crops, pivots, replace(SETTINGS, batch=2, epochs=8)))
    assert [len(rows) for rows in seen] == [2, 1] * 8
    epochs = [seen[index] + seen[index + 1] for index in range(0, 16, 2)]
    assert all(sorted(epoch) == [0, 1, 2] for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1


def test_tune_total_is_equation_1(family, crops, pivots):
    plain, _ = finish(tuning(family, crops, pivots, replace(SETTINGS, epochs=1, locality_weight=0.0)))
    total, l2, lpips = plain.losses[0].tolist()
    assert total == pytest.approx(10 * l2 + lpips, rel=1e-5)
    drawn = render(family.generator, pivots.w[:1])
    assert l2 == pytest.approx(mean_squared_error(drawn, to_tensor(crops.images[:1])).item(), rel=1e-5)
    # Before the first step the tuned generator is the first one, so L_R is nothing; after it, it is something.
    held, _ = finish(tuning(family, crops, pivots, replace(SETTINGS, epochs=1, locality_weight=5.0)))
    rest = held.losses[:, 0] - 10 * held.losses[:, 1] - held.losses[:, 2]
    assert rest[0].abs() < 1e-5 and (rest[1:] > 1e-4).all()


def test_tune_repeats_itself_and_depends_on_the_seed(family, crops, pivots):
    first, _ = finish(tuning(family, crops, pivots))
    assert_same(first, finish(tuning(family, crops, pivots))[0])
    other, _ = finish(tuning(family, crops, pivots, seed=1))
    assert not torch.equal(first.losses, other.losses)


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("stop", [1, 3, 4, 6])
def test_tune_closed_and_called_again_equals_an_uninterrupted_run(family, crops, pivots, tmp_path, batch, stop):
    settings = replace(SETTINGS, batch=batch, epochs=4)
    whole, _ = finish(tuning(family, crops, pivots, settings))
    checkpoint = tmp_path / "tuning.safetensors"
    begun = tuning(family, crops, pivots, settings, checkpoint=checkpoint)
    while (event := next(begun)) != Progress("tune", stop, len(whole.losses), "step"):
        assert not isinstance(event, Notice)
    begun.close()
    resumed, events = finish(tuning(family, crops, pivots, settings, checkpoint=checkpoint))
    assert events[0] == Progress("tune", stop, len(whole.losses), "step")
    assert_same(resumed, whole)
    assert not list(tmp_path.glob("*.part"))


MOVING = replace(SETTINGS, epochs=4, move_pivots=True, shuffle=True, locality_weight=0.0)


def test_tune_moves_pivots_along_their_axes_alone_and_comes_nearer_by_it(family, crops, pivots):
    axes = torch.eye(8)[:3]
    rates = replace(RATES, pivot=1.0)
    held, _ = finish(tuning(family, crops, replace(pivots, axes=axes), replace(MOVING, move_pivots=False), rates=rates))
    assert torch.equal(held.pivots.w, pivots.w)
    moved, _ = finish(tuning(family, crops, replace(pivots, axes=axes), MOVING, rates=rates))
    way = moved.pivots.w - pivots.w
    assert (way[:, :, :3].abs() > 1e-3).any(1).all() and not way[:, :, 3:].any()
    torch.testing.assert_close(way, way[:, :1].expand_as(way), msg="all layers alike")
    errors = [
        mean_squared_error(render(one.generator, one.pivots.w), to_tensor(crops.images)).mean() for one in (held, moved)
    ]
    assert errors[1] < errors[0]


def test_tune_with_moving_pivots_closed_and_called_again_equals_an_uninterrupted_run(family, crops, pivots, tmp_path):
    given = replace(pivots, axes=torch.eye(8))
    rates = replace(RATES, pivot=1.0)
    whole, _ = finish(tuning(family, crops, given, MOVING, rates=rates))
    checkpoint = tmp_path / "tuning.safetensors"
    begun = tuning(family, crops, given, MOVING, rates=rates, checkpoint=checkpoint)
    while next(begun) != Progress("tune", 5, 12, "step"):
        pass
    begun.close()
    resumed, events = finish(tuning(family, crops, given, MOVING, rates=rates, checkpoint=checkpoint))
    assert events[0] == Progress("tune", 5, 12, "step")
    assert_same(resumed, whole)
    assert torch.equal(resumed.pivots.w, whole.pivots.w)


def test_tune_weighs_eyes_and_mouth_more_where_asked(family, crops, pivots):
    plain, weighed = (
        finish(tuning(family, crops, pivots, replace(SETTINGS, epochs=1, locality_weight=0.0, features=features)))[0]
        for features in (0.0, 8.0)
    )
    assert weighed.losses[0, 1] > plain.losses[0, 1] and weighed.losses[0, 2] == plain.losses[0, 2]


def test_tune_killed_goes_on_from_the_last_epoch_kept(family, crops, pivots, tmp_path, monkeypatch):
    monkeypatch.setattr(stage, "_SAVE_EVERY_S", 0.0)
    monkeypatch.setattr(stage, "_SAVE_SHARE", 0)
    whole, _ = finish(tuning(family, crops, pivots))
    checkpoint, found = tmp_path / "tuning.safetensors", tmp_path / "found.safetensors"
    begun = tuning(family, crops, pivots, checkpoint=checkpoint)
    while next(begun) != Progress("tune", 5, 9, "step"):
        pass
    shutil.copy(checkpoint, found)
    resumed, events = finish(tuning(family, crops, pivots, checkpoint=found))
    assert events[0] == Progress("tune", 3, 9, "step")
    assert_same(resumed, whole)


def test_tune_finished_but_not_stored_is_not_done_again(family, crops, pivots, tmp_path):
    checkpoint = tmp_path / "tuning.safetensors"
    whole, _ = finish(tuning(family, crops, pivots, checkpoint=checkpoint))
    again, events = finish(tuning(family, crops, pivots, checkpoint=checkpoint))
    assert events == [Progress("tune", 9, 9, "step")]
    assert_same(again, whole)


def test_tune_starts_anew_and_says_so_when_the_checkpoint_is_of_other_work(family, crops, pivots, tmp_path):
    checkpoint = tmp_path / "tuning.safetensors"
    finish(tuning(family, crops, pivots, checkpoint=checkpoint, seed=7))
    whole, _ = finish(tuning(family, crops, pivots))
    anew, events = finish(tuning(family, crops, pivots, checkpoint=checkpoint))
    assert isinstance(events[0], Notice) and "anew" in events[0].message
    assert_same(anew, whole)


@pytest.mark.parametrize("content", [b"", b"\x00" * 100, b"\xff" * 5000])
def test_tune_starts_anew_and_says_so_when_the_checkpoint_is_damaged(family, crops, pivots, tmp_path, content):
    checkpoint = tmp_path / "tuning.safetensors"
    checkpoint.write_bytes(content)
    _, events = finish(tuning(family, crops, pivots, replace(SETTINGS, epochs=1), checkpoint=checkpoint))
    assert isinstance(events[0], Notice) and checkpoint.name in events[0].message


@pytest.mark.parametrize("room_bytes, calls", [(10**9, 3), (0, 9), (2 * 4 * 32 * 32 * 4, 2 + 3)])
def test_tune_keeps_target_features_as_far_as_memory_goes(family, crops, pivots, monkeypatch, room_bytes, calls):
    monkeypatch.setattr(stage, "_cache_bytes", lambda device: room_bytes)
    made = []

    class Counting:
        distance = family.perceptual.distance

        def features(self, images):
            made.append(not torch.is_grad_enabled())
            return family.perceptual.features(images)

    settings = replace(SETTINGS, locality_weight=0.0)
    counted, _ = finish(tune(crops, pivots, family.generator, Counting(), Recipe(settings, RATES)))
    assert sum(made) == calls
    monkeypatch.undo()
    assert_same(counted, finish(tuning(family, crops, pivots, settings))[0])


def test_tune_shows_crop_and_reconstruction_after_some_epochs(family, crops, pivots):
    tuned, events = finish(tuning(family, crops, pivots, replace(SETTINGS, epochs=7)))
    kinds = [event.done // 3 if isinstance(event, Progress) else "picture" for event in events]
    assert [kinds[index - 1] for index, kind in enumerate(kinds) if kind == "picture"] == [1, 2, 4, 7]
    last = events[-1]
    assert isinstance(last, Preview) and last.stage == "tune" and last.frame == 4
    assert last.image.shape == (32, 64, 3) and last.image.dtype == np.uint8
    assert np.array_equal(last.image[:, :32], crops.images[1])


def test_tune_works_where_the_caller_wants_no_gradients(family, crops, pivots):
    whole, _ = finish(tuning(family, crops, pivots))
    with torch.no_grad():
        assert_same(finish(tuning(family, crops, pivots))[0], whole)


def test_tune_says_so_when_the_loss_is_no_longer_a_number(family, crops, pivots):
    runaway = tune(crops, pivots, family.generator, family.perceptual, Recipe(SETTINGS, Rates(1e38)))
    with pytest.raises(StitchError, match=r"at step 2 of 3; lower the learning rate"):
        finish(runaway)


def test_tune_refuses_pivots_of_other_crops_and_impossible_settings(family, crops, pivots):
    with pytest.raises(ValueError, match="one per crop"):
        finish(tuning(family, crops, Pivots(pivots.w[:2])))
    with pytest.raises(ValueError, match="batch 0"):
        finish(tuning(family, crops, pivots, replace(SETTINGS, batch=0)))


def test_tune_copies_each_crop_to_another_device_once() -> None:
    class Read:
        rows: list[int] = []

        def __getitem__(self, row: int) -> np.ndarray:
            self.rows.append(row)
            return np.zeros((8, 8, 3), np.uint8)

    crops = Crops(Read(), np.zeros((4, 4, 2)), np.arange(4))  # type: ignore[arg-type]
    targets = stage._Targets(crops, None, torch.device("meta"), "fp32")  # type: ignore[arg-type]
    for rows in ([0, 1], [2, 1], [0, 2]):
        assert targets.images(rows).shape == (2, 3, 8, 8)
    assert Read.rows == [0, 1, 2]
    targets._room_bytes = 0
    targets.images([3]), targets.images([3])
    assert Read.rows == [0, 1, 2, 3, 3], "no more are kept than fit"
