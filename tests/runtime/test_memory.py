"""Memory that runs out: stitching goes on with fewer frames, tuning says what would help."""

import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch

from stitch.cli.console import Console
from stitch.core.errors import DeviceMemoryError
from stitch.core.events import ChunkHalved, Notice, Progress
from stitch.core.records import Crops, Edit, Pivots
from stitch.core.settings import Settings, StitchingSettings, TuneSettings
from stitch.methods.stit import edit, masks, pipeline, stitching
from stitch.methods.stit import tune as tuning
from stitch.methods.stit.stitching import stitch
from stitch.methods.stit.tune import tune
from stitch.runtime import memory
from stitch.runtime.optimizer import Rates, Recipe
from tests.stages import finish

CPU_SAYS = "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to"
FAILURES = [torch.OutOfMemoryError("CUDA out of memory."), RuntimeError(CPU_SAYS), MemoryError()]


def scene(family, frames):
    rng = torch.Generator().manual_seed(1)
    w = torch.randn(frames, family.generator.num_ws, 8, generator=rng)
    crops = edit.render(family.generator, w) + 0.1 * torch.randn(frames, 3, 32, 32, generator=rng)
    face = torch.zeros(frames, 1, 32, 32)
    face[:, :, 8:22, 8:22] = 1
    return w, crops, edit.render(family.generator, w + 0.1), masks.regions(face, outer_px=3)


def limited(monkeypatch, most, error):
    """From here on more than `most` frames at once run out of memory, in the middle of a chunk's second step."""
    draw, calls, seen = stitching.synthesised, {}, []

    def small(stack, codes, *how):
        frames = len(codes)
        if frames > most:
            calls[frames] = calls.get(frames, 0) + 1
            if calls[frames] == 2:
                seen.append(weakref.ref(stack))
                raise type(error)(*error.args)  # a new one: a kept one would hold its frames
        else:
            assert all(stack() is None for stack in seen), "what did not fit is still held"
        return draw(stack, codes, *how)

    monkeypatch.setattr(stitching, "synthesised", small)


@pytest.mark.parametrize("error", FAILURES, ids=lambda error: type(error).__name__)
def test_stitch_halves_the_chunk_when_the_memory_runs_out_and_says_so(family, monkeypatch, error):
    settings = StitchingSettings(steps=4, chunk=5)
    inputs = (family.generator, *scene(family, 7), Recipe(settings, Rates(3e-3)))
    whole, _ = finish(stitch(*inputs))
    limited(monkeypatch, 2, error)
    result, events = finish(stitch(*inputs))
    torch.testing.assert_close(result, whole, atol=2e-5, rtol=0)
    (notice,) = [event for event in events if isinstance(event, Notice)]
    assert isinstance(notice, ChunkHalved) and notice.frames == 2
    assert "5 frames at once; it goes on with 2" in notice.message
    assert events[-1] == Progress("stitching", 28, 28, "step")


def test_stitch_halves_as_often_as_it_takes_and_never_grows_again(family, monkeypatch):
    limited(monkeypatch, 1, torch.OutOfMemoryError("CUDA out of memory."))
    settings = StitchingSettings(steps=4, chunk=6)
    _, events = finish(stitch(family.generator, *scene(family, 6), Recipe(settings, Rates(3e-3))))
    assert [event.frames for event in events if isinstance(event, ChunkHalved)] == [3, 1]


def test_stitch_of_a_frame_that_does_not_fit_says_what_would_help(family, monkeypatch):
    limited(monkeypatch, 0, torch.OutOfMemoryError("CUDA out of memory."))
    settings = StitchingSettings(steps=4, chunk=2)
    with pytest.raises(DeviceMemoryError, match="a single frame .* --checkpointing and --chunk 1.* smaller --family"):
        finish(stitch(family.generator, *scene(family, 2), Recipe(settings, Rates(3e-3))))


def test_stitch_lets_other_errors_through(family, monkeypatch):
    limited(monkeypatch, 0, RuntimeError("shapes disagree"))
    with pytest.raises(RuntimeError, match="shapes disagree"):
        finish(stitch(family.generator, *scene(family, 2), Recipe(StitchingSettings(steps=4, chunk=2), Rates(3e-3))))


@pytest.mark.parametrize(
    ("batch", "words"),
    [(2, "a step of 2 frames .*--checkpointing, use --preset paper"), (1, "a step needs .*--checkpointing")],
)
def test_tune_says_what_would_help_and_makes_no_batch_smaller(family, monkeypatch, batch, words):
    step, batches = tuning._step, []

    def failing(*given):
        batches.append(len(given[4]))
        if len(batches) == 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return step(*given)

    monkeypatch.setattr(tuning, "_step", failing)
    crops = Crops(np.zeros((4, 32, 32, 3), np.uint8), np.zeros((4, 4, 2)), np.arange(4))
    pivots = Pivots(torch.zeros(4, family.generator.num_ws, 8))
    settings = TuneSettings(epochs=2, batch=batch)
    with pytest.raises(DeviceMemoryError, match=words) as caught:
        finish(tune(crops, pivots, family.generator, family.perceptual, Recipe(settings, Rates(1e-3))))
    assert batches == [batch, batch] and caught.value.__context__ is None, "the failure's tensors are not held"


def test_edit_video_remembers_the_smaller_chunk_and_notes_it(family, clip, tmp_path, monkeypatch, capsys):
    settings = Settings.preset("draft")
    settings = replace(
        settings, tune=replace(settings.tune, epochs=1, least_steps=0),
        stitching=replace(settings.stitching, steps=3, tuned="weights", shared_steps=0, chunk=4),
    )
    prepared = finish(pipeline.prepare(clip, tmp_path / "run", settings, family))[0]
    limited(monkeypatch, 2, torch.OutOfMemoryError("CUDA out of memory."))
    work = pipeline.edit_video(prepared, [Edit("smile", 1.0)], tmp_path / "out.mp4", settings, family)
    result = Console(as_json=True, quiet=False).watch(work)
    assert sum("goes on with 2" in note for note in result.notes) == 1, "the second chunk begins with two"
    assert result.edited_frames == 8
    told = [line for line in capsys.readouterr().out.splitlines() if "goes on with 2" in line]
    assert len(told) == 1 and '"type": "notice"' in told[0]


def test_ran_out_knows_memory_from_other_troubles():
    assert all(memory.ran_out(error) for error in FAILURES)
    assert not memory.ran_out(RuntimeError("shapes disagree")) and not memory.ran_out(ValueError(CPU_SAYS))
