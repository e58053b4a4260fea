"""In how many digits the loops compute, and that everything else keeps float32."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from stitch.cli.arguments import parser, source_and_settings
from stitch.core.errors import RunError, StitchError
from stitch.core.records import Crops, Edit
from stitch.core.settings import ComputeSettings, Settings, StitchingSettings, TuneSettings
from stitch.methods.stit import edit, masks, pipeline
from stitch.methods.stit.invert import invert
from stitch.methods.stit.stitching import stitch
from stitch.methods.stit.tune import tune
from stitch.runtime import precision
from stitch.runtime.optimizer import Rates, Recipe
from stitch.runtime.precision import Passes
from tests.stages import finish

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.fixture(scope="module")
def crops() -> Crops:
    """Three discs on a slope of colour."""
    y, x = np.mgrid[:32, :32]
    disc = (np.hypot(x - 12 - 3 * np.arange(3)[:, None, None], y - 16) < 8)[..., None]
    images = np.where(disc, np.array([220, 150, 110]), np.stack([x * 3, y * 3, x + y], -1)).astype(np.uint8)
    return Crops(images, np.zeros((3, 4, 2)), np.arange(3))


def tuned(family, crops, **how):
    pivots = finish(invert(crops, family.encoder))[0]
    settings = TuneSettings(epochs=8, locality_alpha=1.0)
    recipe = Recipe(settings, Rates(3e-3), Passes(**how))
    return finish(tune(crops, pivots, family.generator, family.perceptual, recipe))[0]


def stitched(family, **how):
    """A seam repaired in fifteen steps, from codes in W or, as text edits have them, in StyleSpace."""
    rng = torch.Generator().manual_seed(1)
    w = torch.randn(2, family.generator.num_ws, 8, generator=rng)
    crops = edit.render(family.generator, w) + 0.1 * torch.randn(2, 3, 32, 32, generator=rng)
    codes = edit.resolve([Edit("smile", 2.0)], family).codes(w, torch.zeros(2), family.generator)
    face = torch.zeros(2, 1, 32, 32)
    face[:, :, 8:22, 8:22] = 1
    edited = edit.render(family.generator, codes)
    regions = masks.regions(face, outer_px=3)
    settings = StitchingSettings(steps=15, chunk=2)
    recipe = Recipe(settings, Rates(3e-3), Passes(**how))
    result = finish(stitch(family.generator, codes, crops, edited, regions, recipe))[0]
    return result, edited, crops, regions


def difference(one, other):
    return (one - other).abs().mean().item()


def test_tune_in_bf16_stays_near_float32_and_keeps_float32_weights(family, crops):
    plain, half = tuned(family, crops), tuned(family, crops, precision="bf16")
    assert half.losses.dtype == torch.float32 and half.losses.isfinite().all()
    assert {tensor.dtype for tensor in half.generator.state_dict().values()} == {torch.float32}
    assert not torch.equal(half.losses, plain.losses), "it did compute otherwise"
    # bf16 has 8 binary digits: at every step the loss is within 3 % of float32's.
    assert ((half.losses - plain.losses).abs() / plain.losses)[:, 0].max() < 0.03
    drawn, other = (edit.render(result.generator, result.pivots.w) for result in (plain, half))
    assert drawn.dtype == other.dtype == torch.float32
    assert difference(drawn, other) < 0.1 * difference(drawn, edit.render(family.generator, plain.pivots.w))


def test_stitch_in_bf16_stays_near_float32_and_draws_in_float32(family):
    (plain, edited, crops, regions), (half, *_) = stitched(family), stitched(family, precision="bf16")
    assert half.dtype == torch.float32 and half.isfinite().all() and not torch.equal(half, plain)
    # Within a tenth of what stitching changed.
    assert difference(half, plain) < 0.1 * difference(edited, plain)
    ring = [difference(picture * regions.boundary, crops * regions.boundary) for picture in (edited, plain, half)]
    assert ring[1] < 0.8 * ring[0] and ring[2] == pytest.approx(ring[1], rel=0.05)
    face = [difference(picture * regions.mask, edited * regions.mask) for picture in (plain, half)]
    assert face[1] < 1.2 * face[0], "noise does not lead the face astray"


def test_fp32_is_what_the_rooms_do_by_themselves(family, crops):
    plain, asked = tuned(family, crops), tuned(family, crops, precision="fp32")
    assert torch.equal(plain.losses, asked.losses)
    assert torch.equal(stitched(family)[0], stitched(family, precision="fp32")[0])


def test_tune_in_bf16_goes_on_in_bf16_only(family, crops, tmp_path):
    whole = tuned(family, crops, precision="bf16")
    pivots = finish(invert(crops, family.encoder))[0]
    settings = TuneSettings(epochs=8, locality_alpha=1.0)
    for again, done in (("bf16", 5), ("fp32", 1)):
        kept = tmp_path / f"{again}.safetensors"
        common = (crops, pivots, family.generator, family.perceptual)
        begun = tune(*common, Recipe(settings, Rates(3e-3), Passes("bf16")), kept)
        while getattr(next(begun), "done", 0) < 5:
            pass
        begun.close()
        resumed, events = finish(tune(*common, Recipe(settings, Rates(3e-3), Passes(again)), kept))
        assert next(event.done for event in events if hasattr(event, "done")) == done
        if again == "bf16":
            assert torch.equal(resumed.losses, whole.losses)


def test_settled_goes_by_the_device(monkeypatch):
    assert precision.settled("auto", CPU) == "fp32" and precision.settled("auto", CUDA) == "tf32"
    assert precision.settled("auto", torch.device("mps")) == "fp32"
    assert precision.settled("bf16", CPU) == "bf16"
    for found, wide, wanted in (
        ({"avx512_bf16": True}, True, "bf16"), ({"amx_bf16": True}, True, "bf16"), ({}, True, "fp32"),
        ({"avx512_bf16": True}, False, "fp32"), ({"avx512_bf16": False}, True, "fp32"),
    ):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda found=found: found, raising=False)
        assert precision.settled("auto", CPU, wide) == wanted
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert precision.settled("auto", CPU, wide=True) == "fp32"
    with pytest.raises(StitchError, match="precision tf32: the device cpu cannot compute so; use fp32 or bf16"):
        precision.settled("tf32", CPU)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: including_emulation)
    with pytest.raises(StitchError, match="precision bf16: the device cuda .* use fp32 or tf32"):
        precision.settled("bf16", CUDA)


@pytest.mark.parametrize("wanted", ["fp32", "tf32", "bf16"])
def test_float32_mode_restores_what_was_set(wanted):
    def mode():
        return torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32

    before = mode()
    try:
        torch.backends.cudnn.allow_tf32 = True
        outside = mode()
        with pytest.raises(KeyError), precision.float32_mode(wanted, CUDA):
            assert mode() == (("high", True) if wanted == "tf32" else ("highest", False))
            raise KeyError
        assert mode() == outside
        with precision.float32_mode(wanted, CPU):
            assert mode() == outside
    finally:
        torch.backends.cudnn.allow_tf32 = before[1]


def test_source_and_settings_takes_how_to_compute():
    common = ["edit", "in.mp4", "-o", "out.mp4", "--family", "miniature"]
    plain = source_and_settings(parser().parse_args(common))[1]
    assert plain == Settings.preset("fast") and plain.compute == ComputeSettings("auto", checkpointing=False)
    given = parser().parse_args([*common, "--precision", "bf16", "--checkpointing", "--chunk", "2"])
    settings = source_and_settings(given)[1]
    assert settings.compute == ComputeSettings("bf16", checkpointing=True) and settings.stitching.chunk == 2


def test_run_of_another_precision_is_refused_and_named(family, clip, tmp_path):
    base = Settings.preset("draft")
    base = replace(base, tune=replace(base.tune, epochs=1, least_steps=0), stitching=replace(base.stitching, steps=2))
    half = replace(base, compute=ComputeSettings(precision="bf16"))
    prepared = finish(pipeline.prepare(clip, tmp_path / "run", half, family))[0]
    finish(pipeline.edit_video(prepared, [Edit("smile", 1.0)], tmp_path / "out.mp4", half, family))
    with pytest.raises(RunError, match="compute.precision = bf16, not fp32"):
        finish(pipeline.prepare(clip, tmp_path / "run", base, family))
    assert finish(pipeline.edit_video(prepared, [Edit("smile", 1.0)], tmp_path / "two.mp4", base, family))[0]
    assert len(list((tmp_path / "run" / "edits").iterdir())) == 2, "stitched in another precision, it is another edit"
