"""Every stage with a generator of another make than StyleGAN2: what they know is the Protocol alone."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from stitch.core.events import Progress
from stitch.core.images import to_tensor
from stitch.core.records import Edit, Text
from stitch.core.settings import ComputeSettings, Settings
from stitch.families import relevance
from stitch.methods.stit import edit, pipeline, preview
from stitch.methods.stit.losses import mean_squared_error
from stitch.methods.stit.stitching import chunk_for, frame_bytes
from stitch.networks.formats.checkpoints import load_module, save_module
from stitch.runtime.optimizer import Rates
from tests.conftest import PooledEncoder, tiny_family
from tests.families.test_relevance import colours
from tests.networks.plain import PlainGenerator
from tests.stages import finish

EDITS = [Edit("smile", 2.0), Text("a face with glasses")]


@pytest.fixture(scope="module")
def other():
    """The tests' family around a generator of another make."""
    family = tiny_family()
    torch.manual_seed(0)
    generator = PlainGenerator().requires_grad_(False).eval()
    channels = sum(layer.dimension for layer in generator.layers)
    directions = {
        name: replace(one, vector=torch.nn.functional.normalize(torch.randn(generator.w_dim), dim=0))
        for name, one in family.directions.items()
    }
    return replace(
        family, generator=generator, encoder=PooledEncoder(generator).requires_grad_(False), directions=directions,
        relevance=torch.randn(channels, 6) / 3, style_std=torch.ones(channels), tune_rates=Rates(1e-2, affine=0.0),
        stitching_rates=Rates(1e-2),
    )


def quick(**compute):
    base = Settings.preset("draft")
    return replace(
        base,
        tune=replace(base.tune, epochs=6, batch=4, least_steps=0, locality_weight=0.1, locality_alpha=1.0),
        stitching=replace(base.stitching, steps=4, shared_steps=0, chunk=3), compute=ComputeSettings(**compute),
    )


def test_all_stages_work_with_another_generator(other, clip, tmp_path):
    prepared, _ = finish(pipeline.prepare(clip, tmp_path / "run", quick(), other))
    before, after = (
        mean_squared_error(edit.render(one, prepared.pivots.w), to_tensor(prepared.crops.images)).mean()
        for one in (other.generator, prepared.generator)
    )
    assert after < 0.9 * before
    changed = {name for name, tensor in prepared.generator.state_dict().items()
               if not torch.equal(tensor, other.generator.state_dict()[name])}
    wanted = {name for name, kind in other.generator.kinds().items() if kind != "affine"}
    assert changed == wanted, "what the rates leave still, and the mapping, stay"
    work = pipeline.edit_video(prepared, EDITS, tmp_path / "out.mp4", quick(), other, sheet=tmp_path / "sheet.png")
    result, _ = finish(work)
    assert result.edited_frames == 8 and result.measures["boundary_ratio"] < 1
    face = preview.from_prepared(prepared, 0.16, other)
    assert (preview.edited_frame(face, EDITS, quick(), other) != face.frame).any()


def test_a_run_with_another_generator_goes_on_where_it_was(other, clip, tmp_path):
    whole, _ = finish(pipeline.prepare(clip, tmp_path / "whole", quick(), other))
    begun = pipeline.prepare(clip, tmp_path / "run", quick(), other)
    while (event := next(begun)) != Progress("tune", 5, 12, "step"):
        pass
    begun.close()
    resumed, events = finish(pipeline.prepare(clip, tmp_path / "run", quick(), other))
    assert event in events and torch.equal(resumed.tuned.losses, whole.tuned.losses)
    again, events = finish(pipeline.prepare(clip, tmp_path / "run", quick(), other))
    assert not [event for event in events if isinstance(event, Progress)], "nothing is done twice"
    for name, tensor in whole.generator.state_dict().items():
        assert torch.equal(again.generator.state_dict()[name], tensor), name


@pytest.mark.parametrize("compute", [{"precision": "bf16"}, {"checkpointing": True}])
def test_ways_to_compute_end_near_each_other_with_another_generator(other, clip, tmp_path, compute):
    tiles = []
    for settings in (quick(), quick(**compute)):
        # Features follow the signs of slopes, and detail the motion, which bf16 turns in an untrained network.
        settings = replace(settings, stitching=replace(settings.stitching, tuned="weights", detail=0.0))
        folder = tmp_path / str(len(tiles))
        prepared, _ = finish(pipeline.prepare(clip, folder, settings, other))
        finish(pipeline.edit_video(prepared, EDITS, tmp_path / "out.mp4", settings, other))
        (tile,) = folder.glob("edits/*/tiles.npy")
        tiles.append(np.load(tile).astype(float))
    assert np.abs(tiles[0] - tiles[1]).mean() < 2


def test_relevance_is_measured_for_another_generator(other, tmp_path):
    found, _ = finish(relevance.measure(other.generator, colours, samples=3))
    relevance.save(tmp_path / "table.safetensors", found, other.generator)
    assert torch.equal(relevance.load(tmp_path / "table.safetensors", other.generator).rows, found.rows)
    assert len(found.rows) == 18


def test_another_generator_is_kept_in_a_file(other, tmp_path):
    save_module(tmp_path / "generator.safetensors", other.generator)
    again = load_module(tmp_path / "generator.safetensors", PlainGenerator)
    ws = again.broadcast(again.mapping(torch.randn(2, 7)))
    assert torch.equal(again(ws), other.generator(ws))


def test_frame_bytes_grows_with_what_another_generator_keeps(other):
    large = PlainGenerator(doublings=5)
    assert 4 * frame_bytes(other.generator) < frame_bytes(large) and chunk_for(large) >= 1
