"""What stages 1-3 leave for any number of edits, and stages 4 and 5 over it, a chunk of frames at a time."""

from collections.abc import Callable, Generator, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from stitch.core.errors import WeightsError
from stitch.core.events import ChunkHalved, Event, Preview, Progress
from stitch.core.images import to_bytes, to_tensor
from stitch.core.records import ClipInfo, Crops, Edit, Pivots, Text, Track, Tuned
from stitch.core.settings import Settings, StitchingSettings
from stitch.families.family import Family
from stitch.families.family import Generator as FaceGenerator
from stitch.methods.stit import detail, edit, results, stitching
from stitch.networks.formats import checkpoints
from stitch.runtime import disk, runs
from stitch.runtime.fingerprint import fingerprint_of
from stitch.runtime.optimizer import Recipe
from stitch.runtime.precision import Passes
from stitch.runtime.runs import EditFolder, Run

STARTED = "started.safetensors"
"""What all frames of an edit learned together, in the edit's folder until the edit is finished."""

_KEPT_BYTES = 2**28  # of frames with their edits and masks, which the steps that frames share come back to
_PLANES = 22  # of a frame: six pictures, three masks and weights, float32


@dataclass(frozen=True, eq=False)
class _Held:
    """Frames at hand.

    Attributes:
        crops: c_i, [B,3,S,S].
        tuned: r_i, the same.
        kept: how much of what the crop lost a place gets back, [B,1,S,S].
        laid: what tuning missed, laid over the edited faces.
        target: for stitching, without that: what lies over the faces anyway need not be drawn.
    """

    crops: Tensor
    tuned: Tensor
    kept: Tensor
    laid: detail.Laid
    target: stitching.Target


@dataclass(frozen=True, eq=False)
class Prepared:
    """Stages 1-3 of one clip: all that any number of edits start from.

    Attributes:
        run: the folder they are kept in.
        info: the clip.
        notes: what had to be adapted or could not be used, in sentences.
    """

    run: Run
    info: ClipInfo
    track: Track
    crops: Crops
    tuned: Tuned
    notes: tuple[str, ...] = ()

    @property
    def generator(self) -> FaceGenerator:
        """theta_p."""
        return self.tuned.generator

    @property
    def pivots(self) -> Pivots:
        """w_i that theta_p was tuned around."""
        return self.tuned.pivots


def edit_folder(
    prepared: Prepared, edits: Sequence[Edit | Text], settings: Settings, family: Family, passes: Passes
) -> EditFolder:
    """The folder of this edit: its key covers all that the stitched tiles depend on beyond stages 1-3."""
    weights = fingerprint_of(
        family, "directions", "relevance", "style_std", "text_encoder", "text_unit", "text_channels", "parser",
        "identity", "stitching_rates", "content_weight",
    )
    asked = [{"kind": type(one).__name__, **asdict(one)} for one in edits]
    stage = asdict(replace(settings.stitching, chunk=None))  # it changes pictures by rounding only
    key = runs.key_of({"edits": asked, "stitching": stage, "weights": weights, "precision": passes.precision})
    count, size = len(prepared.crops.frames), family.generator.resolution
    identities = _identities(family, _batch(prepared.crops.images[:1], family))
    rows: dict[str, tuple[np.dtype, tuple[int, ...]]] = {
        "tiles": (np.dtype(np.uint8), (count, size, size, 3)),
        "masks": (np.dtype(np.uint8), (count, size, size)),
        "details": (np.dtype(np.uint8), (count, size, size)),
        "identities": (np.dtype(np.float32), (count, 2, identities.shape[1])),
        "measures": (np.dtype(np.float64), (count, len(results.MEASURES))),
    }
    return prepared.run.edit(key, rows)


def stitched_frames(
    prepared: Prepared, plan: edit.Plan, folder: EditFolder, settings: Settings, family: Family, passes: Passes
) -> Generator[Event, None, tuple[str, ...]]:
    """Stages 4 and 5 over the frames that are not done yet; returns what to say about it."""
    crops, generator = prepared.crops, prepared.generator
    count, rate = len(crops.frames), float(prepared.info.rate)
    weight = settings.stitching.content_weight
    stage = replace(
        settings.stitching,
        chunk=settings.stitching.chunk or stitching.chunk_for(family.generator),
        content_weight=family.content_weight if weight is None else weight,
    )
    chunk = stage.chunk or 1
    halved: list[ChunkHalved] = []

    room = _KEPT_BYTES // (chunk * _PLANES * 4 * crops.images.shape[1] ** 2)

    @lru_cache(maxsize=room if stage.shared_steps else 1)
    def frames(first: int, stop: int) -> _Held:
        part = slice(first, stop)
        sources = _batch(crops.images[part], family)
        pivots = prepared.pivots.w[part].to(sources.device)
        codes = plan.codes(pivots, crops.frames[part] / rate, generator)
        edited, tuned = edit.render(generator, codes), edit.render(generator, pivots)
        kept = detail.weights(sources, tuned, edited, stage.detail)
        regions = stitching.regions(family.parser, sources, edited, stage)
        laid = detail.laid(sources, tuned, edited, regions.mask, stage.detail)
        return _Held(sources, tuned, kept, laid, stitching.Target(codes, sources - laid.missed, edited, regions))

    if folder.done < count:  # what the edit looks like, long before its seam is tuned away
        yield Progress("stitching", folder.done, count)
        held = frames(folder.done, min(folder.done + chunk, count))
        yield _shown(int(crops.frames[folder.done]), held, held.target.edited)
    recipe = Recipe.of(stage, family.stitching_rates, passes)
    start = yield from _started(folder, generator, count, lambda row: frames(row, row + 1).target, recipe)
    for first in range(folder.done, count, chunk):
        part = slice(first, min(first + chunk, count))
        yield Progress("stitching", first, count)
        held = frames(part.start, part.stop)
        target, regions = held.target, held.target.regions
        recipe = Recipe.of(stage, family.stitching_rates, passes)
        work = stitching.stitch(start, target.codes, target.crops, target.edited, regions, recipe)
        stitched = yield from _within(work, first, part.stop - first, count, halved)
        if halved:
            stage = replace(stage, chunk=halved[-1].frames)
        finished = held.laid.over(stitched)
        tiles = to_bytes(finished)
        pivots = prepared.pivots.w[part].to(stitched.device)
        inverted = {row: edit.render(family.generator, pivots[[row]])[0] for row in range(part.stop - first)
                    if (first + row) % results.INVERTED_EVERY == 0}
        rows = results.measured(crops.images[part], tiles, target.edited, inverted, held.tuned, regions)
        shown = torch.where(regions.dilated_mask > 0.5, finished, held.crops)
        identities = np.stack([_identities(family, held.crops), _identities(family, shown)], axis=1)
        dilated = regions.dilated_mask[:, 0].cpu().numpy() > 0.5
        folder.append(
            {
                "tiles": tiles, "masks": dilated.astype(np.uint8), "identities": identities, "measures": rows,
                "details": detail.levels(held.kept),
            }
        )
        yield _shown(int(crops.frames[first]), held, stitched)
        yield Progress("stitching", part.stop, count)
    (folder.folder / STARTED).unlink(missing_ok=True)  # of no use to a finished edit
    return tuple(event.message for event in halved)


def _shown(frame: int, held: _Held, drawn: Tensor) -> Preview:
    """The first of some faces, where it is edited, in its crop."""
    face = torch.where(held.target.regions.dilated_mask > 0.5, held.laid.over(drawn), held.crops)
    return Preview("stitching", frame, to_bytes(face)[0])


def _started(
    folder: EditFolder, generator: FaceGenerator, frames: int, target: Callable[[int], stitching.Target],
    recipe: Recipe[StitchingSettings],
) -> Generator[Event, None, FaceGenerator]:
    """What every frame's stitching starts from; kept with the edit when it had to be learned."""
    if not recipe.settings.shared_steps or folder.done == frames:
        return generator
    kept = folder.folder / STARTED
    if kept.exists():
        with suppress(WeightsError):  # a damaged one is learned anew
            return tuned_generator(kept, generator)
    started = yield from stitching.stitch_together(generator, frames, target, recipe)
    with disk.disk_errors(f"run folder {folder.folder}"):
        checkpoints.save_module(kept, cast(nn.Module, started))
    return started


def tuned_generator(path: Path, like: FaceGenerator) -> FaceGenerator:
    """One that was tuned, from its file.

    Raises:
        WeightsError: the file is damaged.
    """
    loaded = checkpoints.load_module(path, cast(type[nn.Module], type(like)))
    return cast(FaceGenerator, loaded).to(next(like.parameters()).device)


def _within(
    work: Generator[Progress | ChunkHalved, None, Tensor], first: int, frames: int, count: int,
    halved: list[ChunkHalved],
) -> Generator[Event, None, Tensor]:
    """A chunk's own progress, told as progress of the whole clip; halvings are added to the list."""
    with closing(work):
        while True:
            try:
                event = next(work)
            except StopIteration as end:
                return end.value
            if isinstance(event, ChunkHalved):
                halved.append(event)
                yield event
                continue
            yield Progress("stitching", first + frames * event.done // max(event.total, 1), count)


def _batch(images: np.ndarray, family: Family) -> Tensor:
    return to_tensor(images).to(device_of(family))


@torch.no_grad()
def _identities(family: Family, images: Tensor) -> np.ndarray:
    return family.identity(images).float().cpu().numpy()


def device_of(family: Family) -> torch.device:
    """Where a family's networks are."""
    return next(family.generator.parameters()).device
