"""A clip edited frame by frame: crop, project, tune, edit, paste; no frame knows of another."""

from collections.abc import Generator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from stitch.core.events import Event, Progress, finished
from stitch.core.images import to_bytes, to_tensor
from stitch.core.records import Crops, Drawn, Edit, Pivots
from stitch.core.settings import Settings, TuneSettings
from stitch.families.family import Family
from stitch.methods.pti.projector import STEPS, Projector
from stitch.methods.stit import align, borrowed, edit, tune
from stitch.methods.stit.chunks import device_of
from stitch.runtime.optimizer import Recipe
from stitch.runtime.precision import Passes
from stitch.video import files


def edit_video(
    source: Path, edits: Sequence[Edit], output: Path, settings: Settings, family: Family, folder: Path,
    steps: int = STEPS,
) -> Generator[Event, None, Drawn]:
    """Edit a clip as PTI edits pictures (Roich et al. 2021, sections 3.1 and 3.2).

    Crops are those of single pictures: nothing is smoothed over time. Each frame has a pivot of its own, by
    optimisation, and a generator of its own, tuned on that frame alone with the loss of equation 1. PTI says nothing of
    pasting; the face goes back inside the parser's mask, over a soft edge.

    Args:
        source: the clip.
        edits: sliders.
        output: the edited clip, .mp4.
        settings: how long one picture is tuned is what stage 3's say of a clip of one frame (the paper: 350 steps).
        family: loaded.
        folder: where crops are kept meanwhile.
        steps: of the optimisation of each pivot.
    Yields:
        Progress in frames.
    Returns:
        What was drawn.
    Raises:
        EditError: an edit that the family cannot make.
        VideoError, FaceError, RunError, TrustError: see `stitch.methods.stit.pipeline`.
    """
    family = family.at_size(settings.align.size or family.generator.resolution)
    plan = edit.resolve(edits, family)
    info, track = yield from borrowed.tracked(source, settings, family)
    size, rate, device = family.generator.resolution, float(info.rate), device_of(family)
    unsmoothed = replace(settings.align, centre_sigma_s=0.0, axes_sigma_s=0.0)
    crops = yield from align.align(files.frames(info), track, rate, size, unsmoothed, folder)
    alone = TuneSettings(
        epochs=settings.tune.steps(1), learning_rate=settings.tune.learning_rate,
        locality_weight=settings.tune.locality_weight,
    )
    recipe = Recipe.of(alone, family.tune_rates, Passes.of(settings.compute, device, family.wide), settings.seed)
    projector = Projector(family.generator, family.perceptual, steps, settings.seed)
    redrawn, edited = [], []
    for row, frame in enumerate(crops.frames):
        one = Crops(crops.images[row : row + 1], crops.quads[row : row + 1], crops.frames[row : row + 1])
        pivots = Pivots(projector(to_tensor(one.images).to(device)).cpu())
        yield Progress("project", row + 1, len(crops.frames))
        tuned = finished(tune.tune(one, pivots, family.generator, family.perceptual, recipe))
        with torch.no_grad():
            code = tuned.pivots.w.to(device)
            redrawn.append(to_bytes(edit.render(tuned.generator, code)))
            moved = plan.codes(code, np.array([frame / rate]), tuned.generator)
            edited.append(to_bytes(edit.render(tuned.generator, moved)))
        yield Progress("tune", row + 1, len(crops.frames))
    drawn = Drawn(crops, np.concatenate(redrawn), np.concatenate(edited))
    yield from borrowed.pasted(info, drawn, edits, output, settings, family)
    return drawn
