"""What a run will cost on this device: a step of each kind is measured, and the settings say how many there will be."""

import math
import statistics
import time
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import get_args

import numpy as np
import torch

from stitch.core.events import Progress, finished
from stitch.core.images import to_bytes
from stitch.core.records import ClipInfo, Edit, Track
from stitch.core.settings import Presets, Settings, TunedBy
from stitch.core.words import spoken
from stitch.faces.survey import look
from stitch.families.family import Family
from stitch.methods.stit import detail, edit, masks, merge, pipeline, results, stitching
from stitch.methods.stit.align import align
from stitch.methods.stit.invert import invert
from stitch.runtime.disk import scratch
from stitch.runtime.memory import peak_memory_mib
from stitch.study.trial import WARM_UP, Clock, Scene, seconds, step_seconds, to_next_step
from stitch.video import files

_SAMPLE_FRAMES = 6
_KEPT_FEATURES_BYTES = 512 * 2**20
_STAGES = ("track", "align", "invert", "tune", "stitching", "merge")


@dataclass(frozen=True)
class Costs:
    """Measured on one device, for one family, size of frame and choice of settings.

    Attributes:
        read_s: decoding a frame.
        track_s, align_s, invert_s: of a frame, without reading it.
        tune_step_s: one step of PTI.
        features_s: LPIPS features of a crop, made once.
        refine_s: refining the pivots of the whole clip.
        stitch_start_s: setting up the stitching of a chunk.
        weights_step_s, features_step_s: one step of stitching a whole chunk, by what it moves.
        chunk: frames in it.
        measure_s: what stage 5 does for a frame besides its steps: drawing, masks, identities, measures.
        merge_s: pasting and writing a frame, without reading it.
        memory_bytes: the most that the process held while it was measured.
        features_bytes: of a crop's LPIPS features.
    """

    read_s: float
    track_s: float
    align_s: float
    invert_s: float
    tune_step_s: float
    features_s: float
    refine_s: float
    stitch_start_s: float
    weights_step_s: float
    features_step_s: float
    chunk: int
    measure_s: float
    merge_s: float
    memory_bytes: int
    features_bytes: int


@dataclass(frozen=True)
class Estimate:
    """What a run will cost.

    Attributes:
        stages: seconds of each stage, in the order of the pipeline: track, align, invert, tune, stitching, merge.
        memory_bytes: of the process at its peak (on a GPU, of the GPU).
        disk_bytes: that the run's folder will hold.
    """

    stages: dict[str, float]
    memory_bytes: int
    disk_bytes: int

    @property
    def total_s(self) -> float:
        """Everything, the first time."""
        return sum(self.stages.values())

    @property
    def edit_s(self) -> float:
        """A further edit of the same clip, which learns nothing anew."""
        return self.stages["stitching"] + self.stages["merge"]


def measure(
    family: Family, info: ClipInfo, settings: Settings, limit_s: float = 1.0, clock: Clock = time.perf_counter
) -> Generator[Progress, None, Costs]:
    """Measures a step of each kind with the very code that edits, on this clip's own frames where they matter.

    Args:
        family: loaded, on the device that will work.
        info: the clip.
        settings: whose batch, chunk, locality and quality count.
        limit_s: about how long each measurement may take; a slow step is still done a few times.
        clock: tells seconds.
    Yields:
        Progress in measurements.
    Returns:
        The costs.
    Raises:
        VideoError: the clip cannot be read.
    """
    scene = Scene(family, settings, (info.width, info.height))
    device, count = scene.device, min(_SAMPLE_FRAMES, info.frames)
    some = replace(info, frames=count)
    frames = list(files.frames(some))
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    chunk = settings.stitching.chunk or stitching.chunk_for(family.generator)
    chunk = min(chunk, info.frames)
    taken: dict[str, float] = {}
    with scratch() as folder:
        jobs = _jobs(scene, some, frames, chunk, folder)
        total = len(jobs) + 2
        for done, (name, units, work) in enumerate(jobs):
            yield Progress("estimate", done, total, "measurement")
            taken[name] = seconds(work, device, limit_s, clock) / units
    yield Progress("estimate", total - 2, total, "measurement")
    step_of_tuning_s = tune_step_s(family, info, settings, limit_s, clock)
    yield Progress("estimate", total - 1, total, "measurement")
    start_s, steps_s = _stitching(scene, chunk, limit_s, clock)
    with torch.no_grad():
        features = family.perceptual.features(scene.batch(1))
    yield Progress("estimate", total, total, "measurement")
    return Costs(
        tune_step_s=step_of_tuning_s,
        refine_s=(family.refinement.steps if family.refinement else 0) * step_of_tuning_s / settings.tune.batch,
        stitch_start_s=start_s,
        weights_step_s=steps_s["weights"],
        features_step_s=steps_s["features"],
        chunk=chunk,
        memory_bytes=torch.cuda.max_memory_allocated(device) if device.type == "cuda" else peak_memory_mib() << 20,
        features_bytes=sum(tap.numel() * tap.element_size() for tap in features),
        read_s=taken["read_s"],
        track_s=taken["track_s"],
        align_s=taken["align_s"],
        invert_s=taken["invert_s"],
        features_s=taken["features_s"],
        measure_s=taken["measure_s"],
        merge_s=taken["merge_s"],
    )


def sized(family: Family, info: ClipInfo, settings: Settings) -> Family:
    """The family at the size that it would draw this clip at, by a look at its first frames.

    Args:
        family: loaded.
        info: the clip.
        settings: the size, or how large it may be.
    Raises:
        VideoError: the clip cannot be read.
        WeightsError: the family does not draw at the size that was asked for.
    """
    with closing(files.frames(replace(info, frames=min(_SAMPLE_FRAMES, info.frames)))) as frames:
        for frame in frames:
            found = family.detector.detect(frame, settings.faces.threshold)
            if len(found.landmarks):
                yes = np.ones(1, dtype=bool)
                return pipeline.sized(family, Track(found.landmarks[:1], yes, yes, np.zeros(1, int)), info, settings)
    return family.at_size(settings.align.size or family.generator.resolution)


def scaled(costs: Costs, factor: float) -> Costs:
    """Costs at another size of the generator's pictures, not measured but counted by pixels.

    Args:
        costs: of `measure`.
        factor: pixels, of those that were measured.
    """
    drawn = ("invert_s", "tune_step_s", "features_s", "refine_s", "stitch_start_s", "weights_step_s", "features_step_s",
             "measure_s")
    return replace(costs, **{name: getattr(costs, name) * factor for name in drawn})


def measure_presets(
    family: Family, info: ClipInfo, presets: Presets, limit_s: float = 1.0
) -> Generator[Progress, None, dict[str, Costs]]:
    """Measures a clip's costs in every preset, at the size that each draws it at; "fast" is measured whole, of "paper"
    only what differs, and the rest is counted by pixels.

    Args:
        family, info, limit_s: as for `measure`.
        presets: by name, "fast" and "paper" among them.
    Yields:
        Progress in measurements.
    Returns:
        The costs by preset.
    Raises:
        VideoError: the clip cannot be read.
    """
    sizes = {name: sized(family, info, one).generator.resolution for name, one in presets.items()}
    family = family.at_size(sizes["fast"])
    fast = yield from measure(family, info, presets["fast"], limit_s)
    paper = replace(fast, tune_step_s=tune_step_s(family, info, presets["paper"], limit_s))
    return {
        name: scaled(paper if name == "paper" else fast, (sizes[name] / sizes["fast"]) ** 2) for name in presets
    }


def tune_step_s(
    family: Family, info: ClipInfo, settings: Settings, limit_s: float = 1.0, clock: Clock = time.perf_counter
) -> float:
    """Seconds of one step of PTI alone, for settings that differ from measured ones in that stage.

    Args as `measure`.
    """
    scene = Scene(family, settings, (info.width, info.height))
    stage = scene.tuning(settings.tune.batch, settings.tune.locality_weight)
    for _ in range(WARM_UP):
        to_next_step(stage)
    return step_seconds(stage, scene.device, limit_s, clock)


def price(costs: Costs, frames: int, settings: Settings, resolution: int, searched: int | None = None) -> Estimate:
    """What a clip costs, from the measured steps.

    Args:
        costs: of `measure`, with the same settings but for epochs and steps.
        frames: of the clip, all with a face.
        settings: how many steps there will be.
        resolution: of the generator, px.
        searched: how many frames have still to be searched for faces (`faces.survey.unsearched`); None is `frames`.
    Returns:
        The estimate.
    """
    steps = settings.tune.steps(frames)
    step_s = {"weights": costs.weights_step_s, "features": costs.features_step_s}[settings.stitching.tuned]
    chunks = math.ceil(frames / costs.chunk)
    stages = (
        (frames if searched is None else searched) * (costs.read_s + costs.track_s),
        frames * (costs.read_s + costs.align_s),
        frames * costs.invert_s + costs.refine_s,
        frames * costs.features_s + steps * costs.tune_step_s,
        settings.stitching.shared_steps * costs.weights_step_s / costs.chunk
        + chunks * costs.stitch_start_s
        + frames / costs.chunk * settings.stitching.steps * step_s
        + frames * costs.measure_s,
        frames * (costs.read_s + costs.merge_s),
    )
    crop_bytes = resolution**2
    return Estimate(
        stages=dict(zip(_STAGES, stages, strict=True)),
        memory_bytes=costs.memory_bytes + min(frames * costs.features_bytes, _KEPT_FEATURES_BYTES),
        disk_bytes=frames * crop_bytes * (3 + 3 + 1),  # crops, stitched tiles, masks
    )


def lines(estimate: Estimate) -> str:
    """The estimate for people."""
    rows = [f"  {stage:<10} {spoken(cost):>10}" for stage, cost in estimate.stages.items()]
    memory, disk = f"{estimate.memory_bytes / 2**30:.1f} GiB of memory", f"{estimate.disk_bytes / 1e6:.0f} MB of disk"
    head = f"about {spoken(estimate.total_s)} on this device, and {spoken(estimate.edit_s)} for each further edit"
    return "\n".join([head, *rows, f"about {memory} at the peak, {disk}"])


_Job = tuple[str, int, Callable[[], object]]


def _jobs(scene: Scene, some: ClipInfo, frames: list[np.ndarray], chunk: int, folder: Path) -> list[_Job]:
    """Everything but the two loops: field of `Costs`, how many frames a call does, the call."""
    family, settings, count = scene.family, scene.settings, len(frames)
    rate = float(some.rate)
    size = family.generator.resolution
    yes = np.ones(count, dtype=bool)
    track = Track(np.broadcast_to(scene.landmarks, (count, 5, 2)), yes, yes, np.zeros(count, dtype=np.int64))
    plan = edit.resolve([Edit(name, 1.0) for name in islice(family.directions, 1)], family)
    crops, codes = scene.batch(chunk), scene.codes(chunk)
    images = scene.crops(chunk).images
    dilated = scene.regions(1).dilated_mask[0, 0].cpu().numpy()
    radius_px = masks.radius_px(settings.stitching.dilation, size)
    silent = replace(some, audio=False)

    def follow() -> None:
        # Faces are told apart twice a second, which costs little beside finding them.
        finished(look(frames, family.detector, some, settings.faces))

    @torch.no_grad()
    def surround() -> None:
        edited = edit.render(family.generator, plan.codes(codes, np.zeros(chunk), family.generator))
        tuned = edit.render(family.generator, codes)
        regions = stitching.regions(family.parser, crops, edited, settings.stitching)
        detail.laid(crops, tuned, edited, regions.mask, settings.stitching.detail)
        results.measured(images, to_bytes(edited), edited, {}, tuned, regions)
        for pictures in (crops, edited):
            family.identity(pictures)

    def paste() -> None:
        with files.Writer(folder / "clip.mp4", silent, crf=settings.video.crf) as writer:
            for frame in frames:
                writer.add(
                    merge.paste(frame, scene.picture, dilated, scene.quad, radius_px, settings.merge)
                )

    return [
        ("read_s", count, lambda: sum(1 for _ in files.frames(some))),
        ("track_s", count, follow),
        ("align_s", count, lambda: finished(align(iter(frames), track, rate, size, settings.align, folder))),
        ("invert_s", chunk, lambda: finished(invert(scene.crops(chunk), family.encoder))),
        ("features_s", 1, torch.no_grad()(partial(family.perceptual.features, crops[:1]))),
        ("measure_s", chunk, surround),
        ("merge_s", count, paste),
    ]


def _stitching(scene: Scene, chunk: int, limit_s: float, clock: Clock) -> tuple[float, dict[str, float]]:
    """Seconds to set a chunk up and to end it, and of a step by what it moves."""
    steps_s = {}
    for tuned in get_args(TunedBy):
        with closing(scene.stitching(chunk, tuned)) as stage:
            to_next_step(stage)  # what is done once in a process
        stage = scene.stitching(chunk, tuned)
        to_next_step(stage)
        steps_s[tuned] = step_seconds(stage, scene.device, limit_s, clock)
    own = scene.settings.stitching.tuned
    short = []
    for _ in range(2):
        began = clock()
        finished(scene.stitching(chunk, own, steps=2))
        short.append(clock() - began)
    return max(0.0, statistics.median(short) - 2 * steps_s[own]), steps_s
