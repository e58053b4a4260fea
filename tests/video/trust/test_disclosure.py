"""The words that tell people of an edit."""

import numpy as np
import pytest

from stitch.video.sheet import Badge
from stitch.video.trust import disclosure


def test_badge_says_by_default_that_it_was_edited_with_ai():
    assert disclosure.badge() == "AI-edited"


@pytest.mark.parametrize("language", disclosure.LANGUAGES)
def test_sentence_and_badge_there_are_in_every_language(language):
    clip, photo = (disclosure.sentence("smile +2", photo, language) for photo in (False, True))
    assert clip != photo and clip.endswith("(Stitch: smile +2).") and "{" not in clip + photo
    assert Badge(320, 240, disclosure.badge(language))(np.zeros((240, 320, 3), np.uint8)).any()


def test_sentence_refuses_a_language_without_words():
    with pytest.raises(ValueError, match="'xx'"):
        disclosure.sentence("smile +2", language="xx")


@pytest.mark.parametrize(("place", "rows", "columns"), [
    ("top-left", slice(0, 60), slice(0, 160)), ("bottom-right", slice(180, 240), slice(160, 320)),
])
def test_badge_lies_in_the_chosen_corner(place, rows, columns):
    marked = Badge(320, 240, "AI-edited", place)(np.zeros((240, 320, 3), np.uint8))
    assert marked[rows, columns].any()
    marked[rows, columns] = 0
    assert not marked.any()
