import json

import numpy as np
import pytest
import torch
from safetensors import safe_open

from stitch.families.family import Boundary
from stitch.families.portrait.training import directions


def sample(count: int = 4000):
    rng = torch.Generator().manual_seed(0)
    return torch.randn(count, 6, generator=rng), rng


def test_boundaries_move_their_own_attribute_and_leave_the_others():
    w, rng = sample()
    one, two = w[:, 0] + 0.5 * w[:, 1], w[:, 1]
    found = directions.boundaries(w, {"one": one, "two": two}, ("one", "two"), ridges=(1e-6,), longest=9.0)
    move = found["one"].vector
    assert abs(float(move[1])) < 0.02 and float(move[0]) > 0.5
    assert found["one"].held_r2 > 0.98


def test_boundaries_let_an_attribute_move_what_means_the_same():
    w, _ = sample()
    labels = {"one": w[:, 0], "alike": w[:, 0] + 0.1 * w[:, 1]}
    free = directions.boundaries(w, labels, ("one",), {"one": ("alike",)}, ridges=(1e-6,), longest=9.0)["one"].vector
    bound = directions.boundaries(w, labels, ("one",), ridges=(1e-6,), longest=9.0)["one"].vector
    assert float(free[0] / free.norm()) > 0.99
    assert float(bound[0] / bound.norm()) < 0.5


def test_boundaries_leave_out_what_could_not_be_measured_and_limit_the_length():
    w, _ = sample()
    label = torch.where(torch.arange(len(w)) % 3 == 0, torch.nan, w[:, 2])
    found = directions.boundaries(w, {"one": label, "two": w[:, 3]}, ("one",), longest=0.25)
    assert abs(float(found["one"].vector.norm()) - 0.25) < 1e-6
    assert found["one"].per_unit < 0.7


def test_save_keeps_vectors_and_notes(tmp_path):
    w, _ = sample()
    found = directions.boundaries(w, {"one": w[:, 0], "two": w[:, 1]}, ("one",))
    directions.save(tmp_path / "directions.safetensors", found)
    with safe_open(tmp_path / "directions.safetensors", framework="pt") as file:
        assert torch.equal(file.get_tensor("direction.one"), found["one"].vector)
        assert json.loads(file.metadata()["directions"])["one"]["held_r2"] > 0.9


def test_steadied_directions_leave_the_label_alone_and_keep_the_rest():
    w, _ = sample()
    skewed = w @ torch.diag(torch.tensor([1.0, 2.0, 1.0, 1.0, 1.0, 0.5]))
    found = {"one": directions.Found(torch.tensor([1.0, 0.5, 0.2, 0.0, 0.0, 0.0]), 0.9, 0.7)}
    label = skewed[:, 1] + 0.5 * skewed[:, 5]
    vector = directions.steadied(found, skewed, {"red": label})["one"].vector
    assert abs(float(vector[1] + 0.5 * vector[5])) < 0.02
    torch.testing.assert_close(vector[[0, 2, 3, 4]], found["one"].vector[[0, 2, 3, 4]], atol=0.02, rtol=0)


def test_skin_colours_are_read_from_the_cheeks():
    images = np.zeros((2, 100, 100, 3), np.uint8)
    images[1, 50:70, 30:72] = (200, 150, 100)
    found = directions.skin_colours(images)
    assert [float(found[name][1]) for name in ("red", "green", "blue")] == pytest.approx([200, 150, 100], abs=1e-3)
    assert float(found["red"][0]) == pytest.approx(0, abs=1e-3)


def test_read_gives_back_what_was_saved(tmp_path):
    found = {"one": directions.Found(torch.arange(4.0), 0.5, 0.25)}
    directions.save(tmp_path / "d.safetensors", found)
    (again,) = directions.read(tmp_path / "d.safetensors").values()
    assert torch.equal(again.vector, found["one"].vector) and (again.held_r2, again.per_unit) == (0.5, 0.25)


def test_child_boundary_tells_children_and_hardly_ever_takes_a_grown_up_for_one():
    w, rng = sample()
    ages = 30 + 10 * (w[:, 0] - w[:, 1]) + torch.randn(len(w), generator=rng)
    held = directions.held_boundary(w, ages) > 0
    assert held[ages < directions.CHILD_YEARS].float().mean() > 0.9
    assert held[ages > directions.ADULT_YEARS].float().mean() < 0.03
    normal, offset = directions.child_boundary(w, ages)
    assert torch.cosine_similarity(normal, torch.tensor([-1.0, 1, 0, 0, 0, 0]), dim=0) > 0.98
    plane = Boundary(normal, offset)
    assert plane.beyond(w[ages < 8, None]) and not plane.beyond(w[ages > 25, None])


def test_person_is_what_the_attributes_do_not_foretell():
    rng = np.random.default_rng(0)
    age, own = rng.normal(size=(2, 200))
    features = 9 + np.outer(age, [1, 0, 0, 0]) + np.outer(own, [0, 1, 1, 0])
    found = directions.person(features, {"age": age}, count=2)
    assert list(found) == ["person 0", "person 1"]
    assert abs(np.corrcoef(found["person 0"], own)[0, 1]) > 0.98
    assert abs(np.corrcoef(found["person 0"], age)[0, 1]) < 0.02
