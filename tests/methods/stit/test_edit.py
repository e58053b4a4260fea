"""Stage 4."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from stitch.core.errors import EditError
from stitch.core.records import Edit, Pivots, Text
from stitch.families.family import Boundary
from stitch.methods.stit.edit import STRENGTH_LIMIT, freeze_fine_layers, render, resolve, spared

GLASSES = "a face with glasses"


@pytest.fixture(scope="module")
def w(family):
    return torch.randn(3, family.generator.num_ws, 8, generator=torch.Generator().manual_seed(0))


def codes_of(family, w, *edits, times_s=None):
    return resolve(edits, family).codes(w, np.zeros(len(w)) if times_s is None else times_s, family.generator)


def test_codes_move_every_layer_by_the_calibrated_step(family, w):
    direction = family.directions["smile"]
    moved = codes_of(family, w, Edit("smile", 2.0))
    torch.testing.assert_close(moved, w + 2 * direction.unit * direction.vector)


def test_codes_take_a_raw_factor_as_it_is_however_large(family, w):
    moved = codes_of(family, w, Edit("smile", 30.0, raw=True))
    torch.testing.assert_close(moved, w + 30 * family.directions["smile"].vector)


def test_codes_move_in_the_blocks_of_a_direction_alone(family, w):
    smile = replace(family.directions["smile"], blocks_px=(8, 16))
    narrow = replace(family, directions=family.directions | {"smile": smile})
    step = codes_of(narrow, w, Edit("smile", 2.0)) - w
    still = [not 8 <= side <= 16 for side in family.generator.codes_px]
    assert 0 < sum(still) < len(still) and not step[:, still].any()
    torch.testing.assert_close(step, (codes_of(family, w, Edit("smile", 2.0)) - w) * ~torch.tensor(still)[:, None])


def test_codes_of_several_edits_add_up_in_any_order(family, w):
    smile, age = codes_of(family, w, Edit("smile", 1.5)) - w, codes_of(family, w, Edit("age", -2.0)) - w
    both = codes_of(family, w, Edit("smile", 1.5), Edit("age", -2.0))
    torch.testing.assert_close(both, w + smile + age)
    torch.testing.assert_close(codes_of(family, w, Edit("age", -2.0), Edit("smile", 1.5)), both)
    twice = codes_of(family, w, Edit("smile", 1.5), Edit("smile", -1.5))
    torch.testing.assert_close(twice, w)


def test_codes_follow_the_strength_over_time(family, w):
    step = family.directions["smile"].unit * family.directions["smile"].vector
    curve = ((1.0, 0.0), (2.0, 4.0))
    moved = codes_of(family, w, Edit("smile", curve), times_s=np.array([0.5, 1.25, 9.0]))
    expected = w + torch.tensor([0.0, 1.0, 4.0])[:, None, None] * step
    torch.testing.assert_close(moved, expected)


def test_codes_of_a_text_are_styles_and_those_of_torgb_do_not_move(family, w):
    before = family.generator.styles(w)
    styles = codes_of(family, w, Text(GLASSES, strength=2.0))
    assert len(styles) == len(before)
    for layer, old, new in zip(family.generator.layers, before, styles, strict=True):
        assert layer.is_conv or torch.equal(old, new)
    moved = sum(int((old != new).any(0).sum()) for old, new in zip(before, styles, strict=True))
    assert moved == family.text_channels
    # The channel that matters most moves by one calibrated step per strength.
    largest = max(float((new - old).abs().max()) for old, new in zip(before, styles, strict=True))
    assert largest == pytest.approx(2 * family.text_unit, rel=1e-4)


def test_codes_of_a_slider_beside_a_text_are_sums_of_both(family, w):
    both = codes_of(family, w, Text(GLASSES), Edit("age", 1.0))
    text, neutral = codes_of(family, w, Text(GLASSES)), family.generator.styles(w)
    aged = family.generator.styles(codes_of(family, w, Edit("age", 1.0)))
    for mixed, written, plain, slid in zip(both, text, neutral, aged, strict=True):
        torch.testing.assert_close(mixed, written - plain + slid, atol=1e-5, rtol=1e-5)


def test_codes_refuse_times_of_other_frames(family, w):
    with pytest.raises(ValueError, match=r"expected \[3\]"):
        codes_of(family, w, Edit("smile", 1.0), times_s=np.zeros(2))


@pytest.mark.parametrize("edits", [[Edit("smile", 0.0)], [Edit("smile", 0.0), Text(GLASSES, strength=0.0)]])
def test_render_of_strength_zero_is_the_pivots_picture(family, w, edits):
    plain = render(family.generator, w)
    torch.testing.assert_close(render(family.generator, codes_of(family, w, *edits)), plain, atol=1e-5, rtol=0)
    assert not plain.requires_grad


def test_render_can_leave_the_noise_out(family, w):
    assert torch.equal(render(family.generator, w, "none"), family.generator(w, "none"))


def test_resolve_lists_the_known_edits_and_suggests_the_nearest(family):
    with pytest.raises(EditError, match=r"'Smlie'.*did you mean 'smile'\? known edits: age, smile"):
        resolve([Edit("Smlie", 1.0)], family)
    with pytest.raises(EditError, match="no such edit; known edits: age, smile"):
        resolve([Edit("moustache", 1.0)], family)
    with pytest.raises(EditError, match="no named edits"):
        resolve([Edit("smile", 1.0)], replace(family, directions={}))


def test_resolve_refuses_nothing_to_do(family):
    with pytest.raises(EditError, match="no edit was given; known edits: age, smile"):
        resolve([], family)


@pytest.mark.parametrize(
    "make", [lambda strength: Edit("age", strength), lambda strength: Text(GLASSES, strength=strength)]
)
def test_resolve_refuses_strengths_out_of_range_or_not_numbers(family, make):
    for fine in (STRENGTH_LIMIT, -STRENGTH_LIMIT, 3, ((0.0, -5.0), (1.0, 5.0))):
        resolve([make(fine)], family)
    for strength in (5.01, -7, ((0.0, 1.0), (1.0, 6.0))):
        with pytest.raises(EditError, match="out of range; give one between -5 and 5"):
            resolve([make(strength)], family)
    for strength in (math.nan, math.inf, ((0.0, math.nan),), ((math.nan, 1.0),)):
        with pytest.raises(EditError, match="is not a number"):
            resolve([make(strength)], family)
    with pytest.raises(EditError, match="no strength"):
        resolve([make(())], family)
    for points in (((1.0, 0.0), (0.5, 1.0)), ((1.0, 0.0), (1.0, 1.0))):
        with pytest.raises(EditError, match="times of its points do not increase"):
            resolve([make(points)], family)


def test_resolve_refuses_a_raw_strength_that_is_not_a_number(family):
    with pytest.raises(EditError, match="'age'.*not a number"):
        resolve([Edit("age", math.nan, raw=True)], family)


def test_resolve_refuses_texts_where_the_family_has_none(family):
    with pytest.raises(EditError, match="the miniature family has no text edits"):
        resolve([Text(GLASSES)], replace(family, text_encoder=None))
    with pytest.raises(EditError, match="python -m stitch relevance --out .* add --relevance"):
        resolve([Text(GLASSES)], replace(family, relevance=None))


def test_resolve_notes_words_without_effect_and_how_many_channels_move(family):
    notes = resolve([Text("a face with xxglasses and freckles", channels=7)], family).notes
    assert len(notes) == 2
    assert "7 style channels move" in notes[0]
    assert "'xxglasses'" in notes[1] and "freckles" not in notes[1].split(":")[1]


def test_resolve_takes_beta_before_channels(family):
    few = resolve([Text(GLASSES, channels=3)], family)
    all_of_them = resolve([Text(GLASSES, channels=3, beta=0.0)], family)
    moving = [sum(int((layer != 0).sum()) for layer in plan.shifts[0]) for plan in (few, all_of_them)]
    assert moving == [3, len(family.relevance)]


def with_child_at(family, ws, sign):
    """The family with a plane on whose far side these codes lie, or on whose near side."""
    normal = sign * torch.nn.functional.normalize(ws.mean((0, 1)), dim=0)
    return replace(family, child=Boundary(normal, 0.0))


def test_child_is_not_made_younger_and_all_else_is_made_as_asked(family, w):
    children = with_child_at(family, w, 1)
    asked = [Edit("age", -2.0), Edit("smile", -2.0), Edit("age", 1.0), Text(GLASSES)]
    made, notes = spared(asked, w, children)
    assert made == (Edit("age", 0.0), *asked[1:])
    assert len(notes) == 1 and "'age'" in notes[0] and "child" in notes[0] and "younger" in notes[0]
    curve = ((0.0, -3.0), (1.0, 2.0))
    assert spared([Edit("age", curve)], w, children)[0] == (Edit("age", ((0.0, 0.0), (1.0, 2.0))),)


def test_grown_up_is_made_younger_and_so_is_anybody_where_children_are_not_known(family, w):
    asked = (Edit("age", -2.0),)
    assert spared(asked, w, with_child_at(family, w, -1)) == (asked, ())
    assert spared(asked, w, family) == (asked, ())


def test_freeze_fine_layers_averages_over_the_clip_from_a_layer_on(w):
    frozen = freeze_fine_layers(Pivots(w), 4).w
    assert torch.equal(frozen[:, :4], w[:, :4])
    torch.testing.assert_close(frozen[:, 4:], w[:, 4:].mean(0).expand(3, -1, -1))
    assert torch.equal(freeze_fine_layers(Pivots(w), w.shape[1]).w, w)
    with pytest.raises(ValueError, match="got 99"):
        freeze_fine_layers(Pivots(w), 99)
