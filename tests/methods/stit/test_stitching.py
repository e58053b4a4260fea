"""Stage 5."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from stitch.core.events import Progress
from stitch.core.records import Edit, Regions, Text
from stitch.core.settings import StitchingSettings
from stitch.methods.stit import edit, masks, stitching
from stitch.methods.stit.losses import masked_distance
from stitch.methods.stit.stitching import (
    Stitched,
    Target,
    chunk_for,
    frame_bytes,
    regions,
    stitch,
    stitch_chunk,
    stitch_together,
)
from stitch.networks.stylegan2 import Generator
from stitch.runtime.optimizer import Rates, Recipe
from tests.stages import finish

SETTINGS = StitchingSettings(steps=6, chunk=8)
RATES = Rates(3e-3)
FRAMES = 3
ROUNDING = {"weights": 2e-5, "features": 1e-3}
"""Pictures' differences at most; Adam moves a feature by a whole rate at first, however small its slope is."""


def parts(scene, rows):
    """A scene's arguments, for some of its frames."""
    codes, crops, edited, found = scene
    codes = codes[rows] if isinstance(codes, torch.Tensor) else [style[rows] for style in codes]
    return codes, crops[rows], edited[rows], Regions(found.mask[rows], found.dilated_mask[rows], found.boundary[rows])


@pytest.fixture(scope="module", params=["w", "styles"])
def scene(family, request):
    """Codes, crops, edited pictures and regions of three frames, each with a mask of its own."""
    rng = torch.Generator().manual_seed(1)
    w = torch.randn(FRAMES, family.generator.num_ws, 8, generator=rng)
    crops = edit.render(family.generator, w) + 0.1 * torch.randn(FRAMES, 3, 32, 32, generator=rng)
    edits = [Edit("smile", 2.0)] + [Text("a face with glasses", strength=2.0)] * (request.param == "styles")
    codes = edit.resolve(edits, family).codes(w, torch.zeros(FRAMES), family.generator)
    face = torch.zeros(FRAMES, 1, 32, 32)
    for frame in range(FRAMES):
        face[frame, :, 8:22, 6 + 2 * frame : 20 + 2 * frame] = 1
    return codes, crops, edit.render(family.generator, codes), masks.regions(face, outer_px=3)


def stitched_chunk(family, scene, settings=SETTINGS, rows=slice(None), rates=RATES) -> Stitched:
    return finish(stitch_chunk(family.generator, *parts(scene, rows), Recipe(settings, rates)))[0]


def stitched(family, scene, settings=SETTINGS):
    return finish(stitch(family.generator, *scene, Recipe(settings, RATES)))


@pytest.mark.parametrize("tuned", ["weights", "features"])
@pytest.mark.parametrize("distance", ["l1", "l2"])
def test_stitch_chunk_tunes_every_frame_as_if_alone(family, scene, distance, tuned):
    settings = replace(SETTINGS, distance=distance, tuned=tuned)
    together = stitched_chunk(family, scene, settings)
    for frame in range(FRAMES):
        alone = stitched_chunk(family, scene, settings, slice(frame, frame + 1))
        torch.testing.assert_close(together.images[frame], alone.images[0], atol=ROUNDING[tuned], rtol=0)
        torch.testing.assert_close(together.losses[:, frame], alone.losses[:, 0], atol=ROUNDING[tuned], rtol=1e-4)


def test_stitch_chunk_with_still_affine_layers_equals_tuning_from_the_styles(family, scene):
    codes, *rest = scene
    styles = family.generator.styles(codes) if isinstance(codes, torch.Tensor) else codes
    still = stitched_chunk(family, scene, rates=replace(RATES, affine=0.0))
    torch.testing.assert_close(still.images, stitched_chunk(family, (styles, *rest)).images, atol=2e-5, rtol=0)


@pytest.mark.parametrize("tuned", ["weights", "features"])
def test_stitch_chunk_brings_the_ring_to_the_crop(family, scene, tuned):
    losses = stitched_chunk(family, scene, replace(SETTINGS, steps=30, tuned=tuned)).losses
    assert losses.shape == (31, FRAMES, 2)
    assert (losses[-1, :, 0] < 0.7 * losses[0, :, 0]).all()


@pytest.mark.parametrize("tuned", ["weights", "features"])
def test_stitch_chunk_starts_from_the_edited_picture(family, scene, tuned):
    losses = stitched_chunk(family, scene, replace(SETTINGS, tuned=tuned)).losses
    assert losses[0, :, 1].max() < 1e-5 and losses[0, :, 0].min() > 0.01


def test_stitch_chunk_freezes_a_frame_that_is_good_enough_and_no_other(family, scene):
    settings = replace(SETTINGS, steps=12)
    free = stitched_chunk(family, scene, settings)
    border = free.losses[:-1, :, 0]
    threshold = float(border[4].sort().values[:2].mean())
    stops = [int((border[:, frame] < threshold).nonzero()[:1].sum()) for frame in range(FRAMES)]
    assert any(0 < step <= 4 for step in stops) and len(set(stops)) > 1
    early = stitched_chunk(family, scene, replace(settings, stop_below=threshold))
    for frame, step in enumerate(stops):
        if (border[:, frame] < threshold).any():
            expected = stitched_chunk(family, scene, replace(settings, steps=step), slice(frame, frame + 1)).images[0]
            assert early.losses[-1, frame, 0] < threshold
        else:
            expected = free.images[frame]
        torch.testing.assert_close(early.images[frame], expected, atol=2e-5, rtol=0)


def test_stitch_chunk_ends_when_all_frames_are_good_enough(family, scene):
    early = stitched_chunk(family, scene, replace(SETTINGS, stop_below=1e9))
    assert early.losses.shape[0] == 2
    torch.testing.assert_close(early.images, scene[2], atol=1e-5, rtol=0)


def test_stitch_chunk_is_not_led_by_rounding_noise_in_the_edited_picture(family, scene):
    codes, crops, edited, found = scene
    noise = 4e-6 * torch.randn(edited.shape, generator=torch.Generator().manual_seed(0))
    clean, noisy = (
        stitched_chunk(family, (codes, crops, picture, found), replace(SETTINGS, steps=20))
        for picture in (edited, edited + noise)
    )
    torch.testing.assert_close(noisy.images, clean.images, atol=1e-4, rtol=0)


@pytest.mark.parametrize("tuned", ["weights", "features"])
@pytest.mark.parametrize("chunk", [1, 2, None])
def test_stitch_does_not_depend_on_the_chunk(family, scene, chunk, tuned):
    settings = replace(SETTINGS, tuned=tuned)
    whole, _ = stitched(family, scene, settings)
    other, _ = stitched(family, scene, replace(settings, chunk=chunk))
    torch.testing.assert_close(other, whole, atol=ROUNDING[tuned], rtol=0)


def test_stitch_leaves_a_frame_without_a_face_as_it_is(family, scene):
    codes, crops, edited, found = scene
    empty = masks.regions(found.mask * torch.tensor([1.0, 0.0, 1.0])[:, None, None, None], outer_px=3)
    full, _ = stitched(family, (codes, crops, edited, masks.regions(found.mask, outer_px=3)))
    result, events = stitched(family, (codes, crops, edited, empty))
    assert torch.equal(result[1], crops[1])
    torch.testing.assert_close(result[[0, 2]], full[[0, 2]], atol=2e-5, rtol=0)
    assert events[-1] == Progress("stitching", 2 * SETTINGS.steps, 2 * SETTINGS.steps, "step")


def test_stitch_of_no_face_at_all_is_the_crops(family, scene):
    codes, crops, edited, found = scene
    nothing = masks.regions(torch.zeros_like(found.mask), outer_px=3)
    result, events = stitched(family, (codes, crops, edited, nothing))
    assert torch.equal(result, crops) and events == []


def test_stitch_without_steps_is_the_edited_picture(family, scene):
    result, _ = stitched(family, scene, replace(SETTINGS, steps=0))
    assert torch.equal(result, scene[2])


def together(family, scene, steps, rates=RATES):
    def target(row):
        return Target(*parts(scene, slice(row, row + 1)))

    recipe = Recipe(replace(SETTINGS, shared_steps=steps), rates)
    return finish(stitch_together(family.generator, FRAMES, target, recipe))


def test_stitch_together_brings_every_ring_to_its_crop_with_one_set_of_weights(family, scene):
    before = {name: value.clone() for name, value in family.generator.state_dict().items()}
    generator, events = together(family, scene, 60, replace(RATES, settle=0.5))
    assert [(event.done, event.total) for event in events] == [(step + 1, 60) for step in range(60)]
    assert all(torch.equal(value, before[name]) for name, value in family.generator.state_dict().items())
    assert not any(weight.requires_grad for weight in generator.parameters())
    codes, crops, edited, found = scene
    errors = [
        masked_distance(edit.render(one, codes), crops, found.boundary) for one in (family.generator, generator)
    ]
    assert (errors[1] < 0.8 * errors[0]).all()


def test_stitch_together_repeats_exactly_and_holds_the_affine_layers_still(family, scene):
    first, second = (together(family, scene, 5, replace(RATES, affine=0.0))[0].state_dict() for _ in range(2))
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    own = family.generator.state_dict()
    still = [name for name, kind in family.generator.kinds().items() if kind == "affine"]
    assert still and all(torch.equal(first[name], own[name]) for name in still)


def test_stitch_from_a_shared_start_without_steps_is_what_it_draws(family, scene):
    start, _ = together(family, scene, 5)
    images, _ = finish(stitch(start, *scene, Recipe(replace(SETTINGS, steps=0), RATES)))
    torch.testing.assert_close(images, edit.render(start, scene[0]))


def test_stitch_counts_steps_of_frames(family, scene):
    _, events = stitched(family, scene, replace(SETTINGS, chunk=2, steps=2))
    assert events == [Progress("stitching", done, 6, "step") for done in (2, 4, 5, 6)]


@pytest.mark.parametrize("tuned", ["weights", "features"])
def test_stitch_leaves_the_tuned_generator_as_it_is_and_needs_no_gradients_from_its_caller(family, scene, tuned):
    settings = replace(SETTINGS, tuned=tuned)
    before = {name: tensor.clone() for name, tensor in family.generator.state_dict().items()}
    with_gradients, _ = stitched(family, scene, settings)
    with torch.no_grad():
        assert torch.equal(stitched(family, scene, settings)[0], with_gradients)
    assert not with_gradients.requires_grad
    assert all(torch.equal(tensor, before[name]) for name, tensor in family.generator.state_dict().items())
    assert not any(parameter.requires_grad for parameter in family.generator.parameters())


def test_stitch_refuses_impossible_settings(family, scene):
    with pytest.raises(ValueError, match="steps -1"):
        stitched(family, scene, replace(SETTINGS, steps=-1))
    with pytest.raises(ValueError, match="chunk 0"):
        stitched(family, scene, replace(SETTINGS, chunk=0))


def parser(images):
    """Bright is face."""
    return (images.mean(1) > 0).long()


@pytest.mark.parametrize("mask_from, columns", [("union", (2, 3, 4)), ("crop", (2, 3)), ("edited", (3, 4))])
def test_regions_parses_the_picture_asked_for(mask_from, columns):
    crops, edited = -torch.ones(2, 1, 3, 8, 8)
    crops[..., 1, [2, 3]] = 1
    edited[..., 1, [3, 4]] = 5
    found = regions(parser, crops, edited, StitchingSettings(mask_from=mask_from, dilation=1 / 8))
    assert found.mask[0, 0].nonzero().tolist() == [[1, column] for column in columns]
    assert found.dilated_mask.sum() == 3 * (len(columns) + 2)
    assert found.boundary.sum() == found.dilated_mask.sum() - found.mask.sum()


def test_what_hides_the_inner_face_stays_before_it():
    crops, edited = torch.ones(2, 1, 3, 32, 32)
    crops[..., :6] = crops[..., 16:24] = -1  # a backdrop that the edit grows over, and an arm
    mask = regions(parser, crops, edited, StitchingSettings(dilation=0)).mask[0, 0]
    assert mask[:, :6].all() and not mask[20, 16:21].any() and mask[20, 10:16].all()


def test_regions_dilates_by_a_share_of_the_side(family):
    crops = torch.full((1, 3, 32, 32), -1.0)
    crops[:, 0, 12:20, 12:20] = 1
    found = regions(family.parser, crops, crops, StitchingSettings(dilation=2 / 32))
    assert found.mask.shape == (1, 1, 32, 32)
    assert torch.equal(found.dilated_mask, masks.dilate(found.mask, 2))


def test_regions_refuses_an_unknown_picture(family):
    pictures = torch.zeros(1, 3, 8, 8)
    with pytest.raises(ValueError, match="'union', 'edited' or 'crop'"):
        regions(parser, pictures, pictures, replace(SETTINGS, mask_from="both"))


def test_chunk_for_shrinks_with_the_generator_and_is_at_least_one(family):
    assert chunk_for(family.generator) >= 4
    with torch.device("meta"):
        big = Generator(1024, 512, 2, {2**power: min(512, 2 ** (15 - power)) for power in range(2, 11)})
    assert chunk_for(big) == 1
    assert frame_bytes(big) > 2**30 > frame_bytes(family.generator)


def test_chunk_for_does_not_go_by_what_happens_to_be_free(monkeypatch):
    class OnAGpu:
        def parameters(self):
            return iter([SimpleNamespace(device=torch.device("cuda"))])

    monkeypatch.setattr(stitching, "frame_bytes", lambda generator: 10**9)
    chunks = set()
    for free_bytes in (10**9, 8 * 10**9, 15 * 10**9):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device, free=free_bytes: (free, 16 * 10**9))
        chunks.add(chunk_for(OnAGpu()))
    assert chunks == {9}
