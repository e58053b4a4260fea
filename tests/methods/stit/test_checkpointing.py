"""Activation checkpointing: less kept for the way back, and the same numbers."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from stitch.core.events import Progress
from stitch.core.records import Crops, Edit, Pivots, Text
from stitch.core.settings import ComputeSettings, Settings, StitchingSettings, TuneSettings
from stitch.methods.stit import edit, pipeline
from stitch.methods.stit.stitching import stitch
from stitch.methods.stit.tune import tune
from stitch.networks.stylegan2 import Generator
from stitch.runtime.optimizer import Rates, Recipe
from stitch.runtime.precision import Passes
from tests.runtime.test_memory import scene
from tests.stages import finish


def kept_bytes(generator, codes, checkpointing):
    """What one drawing keeps for its backward pass, weights apart, and what goes from block to block."""
    own = {tensor.untyped_storage()._cdata for tensor in generator.state_dict().values()}
    kept = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            kept[storage._cdata] = storage  # held, so that no other takes its place
        return tensor

    def enter(block, given):
        for tensor in (given[0], given[1], *given[2]):
            if tensor is not None:
                keep(tensor)

    hooks = [block.register_forward_pre_hook(enter) for block in generator.synthesis.children()]
    with saved_tensors_hooks(keep, lambda tensor: tensor):
        images = generator(codes, checkpointing=checkpointing)
    for hook in hooks:
        hook.remove()
    assert images.requires_grad
    return sum(storage.nbytes() for storage in kept.values())


def test_generator_keeps_much_less_with_checkpointing_and_has_the_same_gradients(family):
    generators = [Generator(**family.generator.arguments) for _ in range(2)]
    codes = torch.randn(2, family.generator.num_ws, 8, generator=torch.Generator().manual_seed(0))
    for generator, checkpointing in zip(generators, (False, True), strict=True):
        generator.load_state_dict(family.generator.state_dict())
        generator(codes, checkpointing=checkpointing).square().mean().backward()
    for (name, plain), (_, other) in zip(*(one.named_parameters() for one in generators), strict=True):
        if name.startswith("synthesis."):
            assert torch.equal(plain.grad, other.grad), name
    assert kept_bytes(generators[0], codes, True) < 0.4 * kept_bytes(generators[0], codes, False)


def test_generator_of_1024_pixels_keeps_a_fifth_with_checkpointing():
    with torch.device("meta"):
        generator = Generator(1024, 512, 2, {2**power: min(512, 2 ** (15 - power)) for power in range(2, 11)})
        codes = torch.randn(1, generator.num_ws, 512)
    plain, less = (kept_bytes(generator, codes, checkpointing) for checkpointing in (False, True))
    assert less < plain / 5


def test_tune_with_checkpointing_ends_with_the_same_weights(family):
    rng = torch.Generator().manual_seed(3)
    crops = Crops(np.full((3, 32, 32, 3), 120, np.uint8), np.zeros((3, 4, 2)), np.arange(3))
    pivots = Pivots(torch.randn(3, family.generator.num_ws, 8, generator=rng))
    settings = TuneSettings(epochs=2, batch=2, locality_alpha=1.0)
    plain, less = (
        finish(
            tune(
                crops, pivots, family.generator, family.perceptual,
                Recipe(settings, Rates(1e-2), Passes(checkpointing=checkpointing)),
            )
        )[0]
        for checkpointing in (False, True)
    )
    assert torch.equal(plain.losses, less.losses)
    for name, tensor in plain.generator.state_dict().items():
        assert torch.equal(tensor, less.generator.state_dict()[name]), name


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("text", [False, True])
def test_stitch_with_checkpointing_draws_the_same_pictures(family, precision, text):
    w, crops, edited, regions = scene(family, 2)
    edits = [Edit("smile", 1.0)] + [Text("a face with glasses")] * text
    codes = edit.resolve(edits, family).codes(w, torch.zeros(2), family.generator)
    settings = StitchingSettings(steps=3, chunk=2)
    plain, less = (
        finish(
            stitch(
                family.generator, codes, crops, edited, regions,
                Recipe(settings, Rates(3e-3), Passes(precision, checkpointing)),
            )
        )[0]
        for checkpointing in (False, True)
    )
    torch.testing.assert_close(less, plain, atol=1e-6, rtol=0)


def test_checkpointing_goes_on_with_the_same_run(family, clip, tmp_path):
    base = Settings.preset("draft")
    base = replace(base, tune=replace(base.tune, epochs=1, least_steps=0), stitching=replace(base.stitching, steps=1))
    finish(pipeline.prepare(clip, tmp_path / "run", base, family))
    less = replace(base, compute=ComputeSettings(checkpointing=True))
    _, events = finish(pipeline.prepare(clip, tmp_path / "run", less, family))
    assert not [event for event in events if isinstance(event, Progress)]
