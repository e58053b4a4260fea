from stitch.schedule import rate_share


def test_rate_share_is_constant_without_settling() -> None:
    assert {rate_share(step, 10, 0.0) for step in range(10)} == {1.0}


def test_rate_share_falls_linearly_over_the_last_share_of_the_steps() -> None:
    shares = [rate_share(step, 10, 0.5) for step in range(10)]
    assert shares[:5] == [1.0] * 5
    assert shares[5:] == [1.0, 0.8, 0.6, 0.4, 0.2]


def test_rate_share_never_reaches_nothing() -> None:
    assert rate_share(0, 1, 1.0) == 1.0
    assert rate_share(99, 100, 1.0) > 0
