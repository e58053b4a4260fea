"""Numbers as people say them."""

import pytest

from stitch.core.words import size_text, spoken


@pytest.mark.parametrize(("seconds", "words"), [(0.2, "1 s"), (40, "40 s"), (200, "3 min"), (7800, "2 h 10 min")])
def test_spoken_says_times_as_people_do(seconds, words) -> None:
    assert spoken(seconds) == words


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 kB"), (2808, "2.81 kB"), (6193280, "6.19 MB"), (244408911, "244 MB"), (2.4e9, "2.4 GB")]
)
def test_size_text_is_short(count, text):
    assert size_text(count) == text
