"""A look: what the page makes of its widgets, of a link, and of what strangers write."""

import pytest

from stitch.core import looks
from stitch.core.errors import EditError
from stitch.core.looks import Look
from stitch.core.records import Edit, Text


def test_edits_mix_sliders_and_texts_and_leave_out_what_is_zero() -> None:
    look = Look({"smile": 2.0, "age": 0.0}, words="a face with glasses; ;\n a beard ", channels=20)
    assert look.edits() == [
        Edit("smile", 2.0), Text("a face with glasses", "a face", 2.0, 20), Text("a beard", "a face", 2.0, 20),
    ]


@pytest.mark.parametrize(
    ("course", "points"),
    [
        ({"course": "fade in", "begin_s": 1.0, "end_s": 2.0}, ((1.0, 0.0), (2.0, 2.0))),
        ({"course": "part", "begin_s": 1.0, "end_s": 3.0}, ((0.8, 0.0), (1.0, 2.0), (3.0, 2.0), (3.2, 0.0))),
        ({"course": "part", "begin_s": 0.0, "end_s": 3.0}, ((0.0, 2.0), (3.0, 2.0), (3.2, 0.0))),
        ({"course": "points", "points": "0@0, 1@1.5, 0.5@3"}, ((0.0, 0.0), (1.5, 2.0), (3.0, 1.0))),
        ({"course": "points", "points": "0 % at 0 s, 100% at 1.5 s, 50 % at 3"}, ((0.0, 0.0), (1.5, 2.0), (3.0, 1.0))),
    ],
)
def test_edits_run_over_time(course, points) -> None:
    (edit,) = Look({"smile": 2.0}, **course).edits()
    (times, strengths), (wanted_times, wanted) = zip(*edit.strength, strict=True), zip(*points, strict=True)
    assert times == pytest.approx(wanted_times) and strengths == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("look", "words"),
    [
        (Look({"smile": 1.0}, course="fade in", begin_s=2.0, end_s=1.0), "before it begins"),
        (Look({"smile": 1.0}, course="points", points="nonsense"), "nonsense"),
        (Look(words="a\nb\nc\nd"), "at most 3"),
    ],
)
def test_edits_refuse_in_words_what_cannot_be_read(look, words) -> None:
    with pytest.raises(EditError, match=words):
        look.edits()


def test_link_brings_the_whole_look_back() -> None:
    look = Look({"smile": 2.0, "age": -1.5}, words="a face with “glasses”", course="fade in", end_s=2.5, channels=7)
    letters = look.link()
    assert looks.from_link(letters) == look
    assert all(letter.isalnum() or letter in "-_" for letter in letters)


@pytest.mark.parametrize(
    "plain",
    [
        [], "smile", {"__class__": 1}, {"edits": 1}, {"sliders": [1]}, {"sliders": {"smile": "2"}}, {"words": 5},
        {"sliders": {"smile": float("nan")}}, {"words": "x" * 10**4}, {"course": "backwards"}, {"channels": None},
        {"begin_s": True},
    ],
)
def test_from_plain_refuses_what_is_no_look(plain) -> None:
    with pytest.raises(EditError):
        looks.from_plain(plain)


@pytest.mark.parametrize("letters", ["", "%%%", "AAAA", "x" * 10**5, "W1tbW1tb"])
def test_from_link_refuses_what_is_no_link(letters) -> None:
    with pytest.raises(EditError):
        looks.from_link(letters)


def test_starters_keep_to_what_the_family_has() -> None:
    assert looks.starters(["smile", "age"])["Evening out"] == {"smile": 0.8}
    assert "Beard" not in looks.starters(["smile", "age"])
