import numpy as np
import pytest
import torch

from stitch.families.portrait.training import published

STD = {"smile": 2.0, "yaw": 1.0}


def read(w):
    """A smile that bends along the first axis, and a yaw along the second."""
    return {"smile": np.tanh(w[:, 0].numpy() / 3) * 3, "yaw": w[:, 1].numpy()}


def faces():
    return torch.zeros(4, 3) + torch.tensor([0.1, 0.0, 5.0])


def test_step_is_as_long_as_moves_its_attribute_by_the_share_of_its_std():
    found = published.step("yaw", torch.tensor([0.6, 0.8, 0.0]), faces(), read, STD)
    assert found.attribute == "yaw" and found.length == pytest.approx(0.7 / 0.8)
    assert found.moves["yaw"] == pytest.approx(0.7) and found.moves["smile"] == pytest.approx(0.6 / 2 * 0.875, rel=0.1)


def test_step_follows_an_attribute_that_bends_and_turns_no_sign():
    found = published.step("smile", torch.tensor([-1.0, 0.0, 0.0]), faces(), read, STD)
    moved = read(faces() - found.length * torch.tensor([1.0, 0.0, 0.0]))["smile"] - read(faces())["smile"]
    assert moved.mean() / STD["smile"] == pytest.approx(-0.7, abs=0.03)
    assert found.length > 0 and found.moves["smile"] == pytest.approx(-0.7)


def test_step_measures_the_published_pose_by_the_yaw():
    assert published.step("pose", torch.tensor([0.0, 1.0, 0.0]), faces(), read, STD).attribute == "yaw"
    with pytest.raises(ValueError, match="squint: got no attribute for it, expected one of smile, yaw"):
        published.step("squint", torch.ones(3), faces(), read, STD)


def test_spreads_leave_out_what_could_not_be_measured():
    values = np.r_[np.nan, np.linspace(-1, 1, 400), 1000.0]
    assert published.spreads({"smile": values})["smile"] == pytest.approx(0.577, abs=0.02)


def test_readings_tell_the_roll_of_the_eyes():
    mesh = np.random.default_rng(0).uniform(0.2, 0.8, (1, 478, 2)).astype(np.float32)
    mesh[0, [33, 133, 263, 362]] = ((0.2, 0.4), (0.4, 0.4), (0.8, 0.6), (0.6, 0.6))
    labels = {"mesh": mesh, "expressions": np.zeros((1, 52), np.float32), "age": np.zeros(1), "male": np.full(1, 0.5),
              "hair": np.zeros((1, 8, 8), np.uint8)}  # fmt: skip
    found = published.readings(np.zeros((1, 64, 64, 3), np.uint8), labels)
    assert found["roll"][0] == pytest.approx(np.arctan2(0.2, 0.4)) and "glasses" not in found
