import numpy as np
import pytest
import torch

from stitch.families.portrait.training import sets
from tests.families.portrait import tiny


def test_rendered_goes_on_where_it_was_stopped(tmp_path, monkeypatch):
    generator = tiny.generator()
    whole = sets.rendered(tmp_path / "whole", generator, 12, seed=3)
    drawn = []

    def draw_or_stop(ws):
        if len(drawn) == 1:
            raise KeyboardInterrupt
        drawn.append(len(ws))
        return generator(ws)

    stopping = tiny.generator()
    monkeypatch.setattr(stopping, "forward", draw_or_stop)
    with pytest.raises(KeyboardInterrupt):
        sets.rendered(tmp_path / "cut", stopping, 12, seed=3)
    resumed = sets.rendered(tmp_path / "cut", generator, 12, seed=3)
    np.testing.assert_array_equal(whole["images"], resumed["images"])
    np.testing.assert_array_equal(whole["w"], resumed["w"])


def test_codes_of_a_longer_set_begin_with_the_shorter():
    generator = tiny.generator()
    torch.testing.assert_close(
        sets.codes(generator, range(2, 5), 1, (0.6, 1.0)), sets.codes(generator, range(9), 1, (0.6, 1.0))[2:5]
    )


def test_kept_makes_room_for_a_larger_set(tmp_path):
    generator = tiny.generator()
    sets.rendered(tmp_path / "grown", generator, 4, seed=3)
    grown = sets.rendered(tmp_path / "grown", generator, 9, seed=3)
    np.testing.assert_array_equal(grown["images"], sets.rendered(tmp_path / "whole", generator, 9, seed=3)["images"])
    assert len(sets.rendered(tmp_path / "grown", generator, 4, seed=3)["w"]) == 4

def test_to_bytes_and_to_float_are_inverse():
    levels = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 16, 16, 3)
    np.testing.assert_array_equal(sets.to_bytes(sets.to_float(levels)), levels)
    assert sets.to_bytes(torch.tensor([-3.0, 3.0]).reshape(1, 1, 1, 2).expand(1, 3, 1, 2)).max() == 255
