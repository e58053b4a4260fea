import pytest
import torch
from torch import nn

from stitch.core.records import Kind
from stitch.runtime.optimizer import Rates, optimizer, rate_share, row_at, set_rates

KINDS: tuple[Kind, ...] = ("bias", "convolution", "affine")


def moved(rates: Rates, step: int, steps: int) -> list[float]:
    """How far one step of Adam moves a parameter of each of `KINDS`, all of them with the same slope."""
    weights = {kind: nn.Parameter(torch.zeros(3)) for kind in KINDS}
    adam = optimizer(weights.items(), rates)
    set_rates(adam, rates, step, steps)
    for weight in weights.values():
        weight.grad = torch.ones(3)
    adam.step()
    return [-float(weight.detach()[0]) for weight in weights.values()]


def test_optimizer_moves_all_weights_alike_unless_told_otherwise() -> None:
    assert moved(Rates(1e-2), 0, 10) == pytest.approx([1e-2] * 3, rel=1e-4)


def test_optimizer_gives_biases_and_affine_layers_their_shares() -> None:
    steps = moved(Rates(1e-2, biases=0.1, affine=0.0), 0, 10)
    assert steps == pytest.approx([1e-3, 1e-2, 0], rel=1e-4)


def test_optimizer_moves_large_weights_by_more_where_rates_follow_their_size() -> None:
    weights = {size: nn.Parameter(torch.full((3,), size)) for size in (0.0, 0.05, 0.2, 5.0)}
    adam = optimizer([("convolution", weight) for weight in weights.values()], Rates(1e-3, at_rms=0.05))
    for weight in weights.values():
        weight.grad = torch.ones(3)
    adam.step()
    steps = [size - float(weight.detach()[0]) for size, weight in weights.items()]
    assert steps == pytest.approx([1e-3, 1e-3, 2e-3, 1e-2], rel=1e-3)


def test_set_rates_settles_every_group() -> None:
    steps = moved(Rates(1e-2, biases=0.1, settle=0.5), 9, 10)
    assert steps == pytest.approx([2e-4, 2e-3, 2e-3], rel=1e-4)


def test_rate_share_is_constant_without_settling() -> None:
    assert {rate_share(step, 10, Rates(1.0)) for step in range(10)} == {1.0}


def test_rate_share_falls_linearly_over_the_last_share_of_the_steps() -> None:
    shares = [rate_share(step, 10, Rates(1.0, settle=0.5)) for step in range(10)]
    assert shares[:5] == [1.0] * 5
    assert shares[5:] == [1.0, 0.8, 0.6, 0.4, 0.2]


def test_rate_share_never_reaches_nothing() -> None:
    assert rate_share(0, 1, Rates(1.0, settle=1.0)) == 1.0
    assert rate_share(99, 100, Rates(1.0, settle=1.0)) > 0


def test_rate_share_rises_linearly_over_the_first_share_of_the_steps() -> None:
    shares = [rate_share(step, 10, Rates(1.0, rise=0.4, settle=0.2)) for step in range(10)]
    assert shares == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.5]


def test_row_at_sees_rows_evenly_and_never_neighbours_in_a_row() -> None:
    rows = [row_at(step, 50) for step in range(100)]
    assert sorted(set(rows)) == list(range(50)) and max(rows.count(row) for row in rows) <= 3
    assert min(abs(one - next_) for one, next_ in zip(rows, rows[1:], strict=False)) > 10
    assert {row_at(step, 1) for step in range(9)} == {0}
