"""Prompts to StyleSpace directions."""

from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor

from stitch.core.errors import EditError
from stitch.core.records import LayerInfo, Text
from stitch.methods.stit.text import TEMPLATES, known_words, text_axis, text_direction, unknown_words

LAYERS = [
    LayerInfo("b4.conv1", 2, True, 0, 0),
    LayerInfo("b4.torgb", 2, False, 1, None),
    LayerInfo("b8.conv0", 3, True, 1, 2),
]


@dataclass
class Axes:
    """A text encoder with one axis per known word; what it was asked is kept."""

    words: tuple[str, ...] = ("face", "glasses", "beard")
    asked: list[str] = field(default_factory=list)

    def __call__(self, texts: list[str]) -> Tensor:
        self.asked += texts
        rows = [[float(word in text) for word in self.words] + [float(len(text) % 3 == 0)] for text in texts]
        return 3 * torch.tensor(rows)

    def unknown_words(self, text: str) -> list[str]:
        known = (*self.words, "a", "with", "photo", "of", "the", "without")
        return [word for word in text.lower().replace(".", " ").split() if word not in known]


RELEVANCE = torch.tensor(
    [[0.0, 0.5, 0.0, 0.0], [0.0, -0.9, 0.0, 0.0], [0.0, 0.1, 0.0, 0.0], [0.0, 0.3, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]]
)


def direction(**more):
    how = {name: more.pop(name) for name in ("beta", "channels") if name in more}
    return text_direction(Axes(), RELEVANCE, LAYERS, Text("face with glasses", "face", **how), **more)


def test_text_axis_is_the_normalised_difference():
    axis = text_axis(Axes(), "face with glasses", "face")
    assert axis.norm() == pytest.approx(1)
    assert axis.argmax() == 1 and axis[2] == 0


def test_text_axis_fills_templates_without_a_second_article_and_leaves_out_unknown_ones():
    encoder = Axes()
    text_axis(encoder, "a face with glasses.", "The  face")
    # Of all templates this encoder knows the words of two.
    assert encoder.asked == [
        "a photo of the face with glasses.",
        "a photo of a face with glasses.",
        "a photo of the face.",
        "a photo of a face.",
    ]


def test_text_axis_takes_the_bare_texts_where_no_template_is_known():
    encoder = Axes()
    encoder.unknown_words = lambda text: ["photo"]
    text_axis(encoder, "a face with glasses", "a face")
    assert encoder.asked == ["a face with glasses", "a face"]


def test_text_axis_refuses_texts_that_the_encoder_cannot_tell_apart():
    with pytest.raises(EditError, match="sees no difference from 'face'"):
        text_axis(Axes(words=("face",)), "face with glasses", "face")


def test_templates_each_have_one_place():
    assert len(set(TEMPLATES)) == len(TEMPLATES) == 80
    assert all(template.count("{}") == 1 for template in TEMPLATES)


def test_text_direction_keeps_channels_above_beta_and_divides_by_the_largest():
    found = direction(beta=0.2, unit=0.7)
    assert [shift.tolist() for shift in found.shifts[1:2]] == [[0, 0]]
    shifts = torch.cat([found.shifts[0], found.shifts[2]])
    torch.testing.assert_close(shifts, torch.tensor([0.5, -0.9, 0, 0.3, 0]) / 0.9, atol=0.05, rtol=0)
    assert found.channels == 3 and found.unit == 0.7
    assert shifts.abs().max() == 1


@pytest.mark.parametrize("channels, kept", [(1, 1), (2, 2), (3, 3), (4, 4), (5, 4), (99, 4)])
def test_text_direction_keeps_as_many_channels_as_asked_for_and_no_still_ones(channels, kept):
    found = direction(channels=channels)
    assert found.channels == kept
    assert found.shifts[0][1] == -1


def test_text_direction_multiplies_by_the_std_of_each_channel():
    std = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0])
    plain, scaled = direction(channels=3), direction(channels=3, style_std=std)
    torch.testing.assert_close(scaled.shifts[0], plain.shifts[0] * std[:2])
    torch.testing.assert_close(scaled.shifts[2], plain.shifts[2] * std[2:])


def test_text_direction_says_how_to_widen_when_nothing_is_left():
    with pytest.raises(EditError, match=r"no style channel is above beta 2; the strongest reaches 0\.\d+: lower beta"):
        direction(beta=2.0)
    with pytest.raises(EditError, match="0 channels may move; allow at least 1"):
        direction(channels=0)


def test_text_direction_refuses_what_a_programmer_mixed_up():
    with pytest.raises(ValueError, match="exactly one"):
        direction()
    with pytest.raises(ValueError, match="exactly one"):
        direction(beta=0.1, channels=2)
    with pytest.raises(ValueError, match=r"relevance: got shape \[4, 4\], expected \[5, K\]"):
        text_direction(Axes(), RELEVANCE[:4], LAYERS, Text("face with glasses", "face", beta=0.1))
    with pytest.raises(ValueError, match=r"style_std: got shape \[3\], expected \[5\]"):
        direction(beta=0.1, style_std=torch.ones(3))


@pytest.mark.parametrize("target, neutral", [("", "face"), ("  ", "face"), ("?!", "face"), ("face with beard", " ")])
def test_unknown_words_refuses_texts_without_words(target, neutral):
    with pytest.raises(EditError, match="it has no words"):
        unknown_words(Axes(), target, neutral)


@pytest.mark.parametrize("target", ["face", "a face", "The  FACE."])
def test_unknown_words_refuses_a_target_that_says_the_same(target):
    with pytest.raises(EditError, match="says the same"):
        unknown_words(Axes(), target, "a face")


def test_unknown_words_refuses_a_target_whose_every_new_word_is_unknown():
    with pytest.raises(EditError, match="does not know 'monocle'; use other words"):
        unknown_words(Axes(), "a face with a monocle", "a face")
    with pytest.raises(EditError, match="does not know 'tiny', 'monocle'"):
        unknown_words(Axes(), "tiny monocle", "a face")


def test_unknown_words_offers_a_word_that_is_spelt_alike():
    with pytest.raises(EditError, match="does not know 'glases'; use other words, such as 'glasses'"):
        unknown_words(Axes(), "a face with glases", "a face")


def test_known_words_are_those_that_say_something_of_a_face():
    assert known_words(Axes(words=("a", "beard", "blurry", "glasses", "with"))) == ["beard", "glasses"]
    assert known_words(Axes(words=())) == []


def test_unknown_words_names_those_that_have_no_effect():
    assert unknown_words(Axes(), "a face with huge glasses", "a plain face") == ("huge", "plain")
    assert unknown_words(Axes(), "a face with glasses", "a face") == ()
    assert unknown_words(Axes(), "a face without glasses", "a face with glasses") == ()
