"""Good, fair and poor."""

import pytest

from stitch.study.verdicts import BARS


@pytest.mark.parametrize(("name", "value", "verdict"), [
    ("psnr_tuned_db", 30.0, "good"), ("psnr_tuned_db", 25.0, "fair"), ("psnr_tuned_db", 24.9, "poor"),
    ("psnr_tuned_db", float("inf"), "good"), ("boundary_ratio", 0.35, "good"), ("boundary_ratio", 0.61, "poor"),
    ("tl_id", 1.015, "good"), ("tl_id", 0.96, "fair"), ("tl_id", 1.06, "poor"), ("edit", -1.0, "poor"),
])
def test_verdict_goes_by_the_wanted_side(name, value, verdict) -> None:
    assert BARS[name].verdict(value) == verdict


def test_verdict_refuses_what_is_no_number() -> None:
    with pytest.raises(ValueError, match="TL-ID"):
        BARS["tl_id"].verdict(float("nan"))


def test_limits_are_in_order_and_in_words() -> None:
    for name, bar in BARS.items():
        assert (bar.good > bar.fair) == (bar.wanted == "high"), name
    assert BARS["identity"].limits == "good from 0.8 on, fair from 0.6 on"
    assert BARS["tl_id"].limits == "good within 0.02 of 1, fair within 0.05"
    assert BARS["flicker"].limits == "good up to 1.2, fair up to 1.6"
