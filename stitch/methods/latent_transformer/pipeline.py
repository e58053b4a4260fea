"""A clip edited by the latent transformer: crops steadied by flow, encoded, moved, drawn, pasted by Poisson."""

from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from stitch.core.events import Event, Progress
from stitch.core.images import to_bytes
from stitch.core.records import Drawn, Edit
from stitch.core.settings import Settings
from stitch.families.family import Family
from stitch.methods.latent_transformer.flow import followed
from stitch.methods.latent_transformer.transformer import trained
from stitch.methods.stit import align, borrowed, edit, invert
from stitch.methods.stit.chunks import device_of
from stitch.video import files


def edit_video(
    source: Path, edits: Sequence[Edit], output: Path, settings: Settings, family: Family, folder: Path
) -> Generator[Event, None, Drawn]:
    """Edit a clip as Yao et al. 2021 do (sections 3.1 and 4.4); the generator stays as it is.

    Args:
        source: the clip.
        edits: sliders that a transformer was trained for.
        output: the edited clip, .mp4.
        settings: the trim, the parts about faces and masks, and the encoder's quality count.
        family: loaded.
        folder: where crops are kept meanwhile.
    Yields:
        Progress in frames.
    Returns:
        What was drawn.
    Raises:
        EditError: nothing was trained for the family, or not for this edit.
        VideoError, FaceError, RunError, TrustError: see `stitch.methods.stit.pipeline`.
    """
    family = family.at_size(settings.align.size or family.generator.resolution)
    device = device_of(family)
    transformers = trained(family.name, family.generator.w_dim).to(device)
    transformers.edited(family.generator.broadcast(family.generator.w_avg[None]), edits)  # refuses before any work
    info, track = yield from borrowed.tracked(source, settings, family)
    with closing(files.frames(info)) as frames:
        track = yield from followed(frames, track)
    unsmoothed = replace(settings.align, centre_sigma_s=0.0, axes_sigma_s=0.0)
    with closing(files.frames(info)) as frames:
        size, rate = family.generator.resolution, float(info.rate)
        crops = yield from align.align(frames, track, rate, size, unsmoothed, folder)
    pivots = yield from invert.invert(crops, family.encoder)
    redrawn, edited = [], []
    for row in range(len(pivots.w)):
        with torch.no_grad():
            code = pivots.w[row : row + 1].to(device)
            redrawn.append(to_bytes(edit.render(family.generator, code)))
            edited.append(to_bytes(edit.render(family.generator, transformers.edited(code, edits))))
        yield Progress("edit", row + 1, len(pivots.w))
    drawn = Drawn(crops, np.concatenate(redrawn), np.concatenate(edited))
    settings = replace(settings, merge=replace(settings.merge, blend="poisson"))
    yield from borrowed.pasted(info, drawn, edits, output, settings, family)
    return drawn
