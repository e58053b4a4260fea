"""How fast this machine does each stage, how much of its own matrix rate the two tuning loops reach, and what a coarser
precision does to PTI's loss."""

import copy
import tempfile
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count

from stitch.core.errors import FaceError
from stitch.core.events import Event, Progress, finished
from stitch.core.records import ClipInfo, Crops, Edit, Pivots, Surveyed, Track
from stitch.core.settings import Settings, VideoSettings
from stitch.faces.survey import link, look
from stitch.faces.tracking import track_of
from stitch.families.family import Family, Synthesis
from stitch.families.miniature import SAMPLE
from stitch.methods.stit import edit, masks, merge, preview, stitching, tune
from stitch.methods.stit.align import align
from stitch.methods.stit.invert import invert
from stitch.networks.stacking import Stack
from stitch.runtime.optimizer import Recipe
from stitch.runtime.precision import Passes, Settled, float32_mode, possible
from stitch.study.trial import WARM_UP, Scene, seconds, step_seconds, times, to_next_step
from stitch.video import files

FRAME_SIZE = (640, 480)
"""Width and height of the frames that the stages are measured with, px."""

_RATE = 25
_BATCH = 8
_CURVE_FRAMES = 4
_CURVE_STEPS = {"cuda": 32, "cpu": 8}  # without instructions of its own, a CPU takes many times as long for bf16


@dataclass(frozen=True)
class LoopSpeed:
    """A tuning loop.

    Attributes:
        name: which loop, with which settings.
        frames: tuned in one step.
        step_ms: median time of a step.
        frame_steps_per_s: frames per step times steps per second.
        gflop: work of one frame-step: 10^9 operations in convolutions and matrix products, backward pass included.
        share: of the machine's rate of matrix products in the loop's precision.
    """

    name: str
    frames: int
    step_ms: float
    frame_steps_per_s: float
    gflop: float
    share: float


@dataclass(frozen=True)
class PassSpeed:
    """One way to run the generator forward and backward: `frames` at once take `frame_ms` each."""

    name: str
    frames: int
    frame_ms: float


@dataclass(frozen=True)
class StageSpeed:
    """What one frame costs in a stage, at the paper's settings."""

    name: str
    frame_s: float


@dataclass(frozen=True)
class LossCurve:
    """PTI's loss (equation 1 without its regulariser) in one precision, before each of its steps."""

    precision: Settled
    losses: tuple[float, ...]


@dataclass(frozen=True)
class Report:
    """Everything measured.

    Attributes:
        family: whose networks.
        resolution: of its generator, px.
        device: where they ran.
        threads: of the CPU.
        precision: of the loops.
        matrix_gflops: the machine's rate of matrix products in that precision, 10^9 operations a second.
        loops, passes, stages: rows of the table.
        curves: of every precision that the device knows, on the same frames with the same seed.
    """

    family: str
    resolution: int
    device: str
    threads: int
    precision: Settled
    matrix_gflops: float
    loops: tuple[LoopSpeed, ...]
    passes: tuple[PassSpeed, ...]
    stages: tuple[StageSpeed, ...]
    curves: tuple[LossCurve, ...]


def run(family: Family, limit_s: float = 4.0) -> Generator[Progress, None, Report]:
    """Measures the loops and stages with the very code that edits, on pictures of no meaning; the losses on a clip.

    Args:
        family: loaded, on the device to measure.
        limit_s: about how long each measurement may take; a slow step is still done a few times.
    Yields:
        Progress in measurements.
    Returns:
        The report.
    """
    settings = Settings()
    scene = Scene(family, settings, FRAME_SIZE)
    device = scene.device
    loops: list[LoopSpeed] = []
    passes: list[PassSpeed] = []
    stages: list[StageSpeed] = []
    with tempfile.TemporaryDirectory() as folder:
        loops_to_do, passes_to_do, stages_to_do = _loops(scene), _passes(scene), _stages(scene, Path(folder))
        precisions = possible(device)
        total = 1 + len(loops_to_do) + len(passes_to_do) + len(stages_to_do) + len(precisions)
        matrix_gflops = _matrix_gflops(device, scene.passes.precision, limit_s)
        yield Progress("bench", 1, total, "measurement")
        for name, frames, start in loops_to_do:
            stage = start(frames)
            for _ in range(WARM_UP):
                to_next_step(stage)
            rate, gflop = frames / step_seconds(stage, device, limit_s), _frame_gflop(start)
            loops.append(LoopSpeed(name, frames, 1e3 * frames / rate, rate, gflop, gflop * rate / matrix_gflops))
            yield Progress("bench", 1 + len(loops), total, "measurement")
        for name, frames, work in passes_to_do:
            passes.append(PassSpeed(name, frames, 1e3 * seconds(work, device, limit_s) / frames))
            yield Progress("bench", 1 + len(loops) + len(passes), total, "measurement")
        for name, frames, work in stages_to_do:
            stages.append(StageSpeed(name, seconds(work, device, limit_s) / frames))
            yield Progress("bench", 1 + len(loops) + len(passes) + len(stages), total, "measurement")
        crops, pivots = _sample(scene, Path(folder))
        # As many steps as the measurement of a loop takes some times over, were it done in float32.
        steps = int(max(3, min(_CURVE_STEPS.get(device.type, 8), 8e3 * limit_s / loops[0].step_ms / _CURVE_FRAMES)))
        curves = []
        for precision in precisions:
            curves.append(LossCurve(precision, _losses(family, crops, pivots, steps, precision)))
            yield Progress("bench", total - len(precisions) + len(curves), total, "measurement")
    stages += [
        StageSpeed(f"tune, {settings.tune.epochs} epochs", settings.tune.epochs / loops[0].frame_steps_per_s),
        StageSpeed(f"stitch, {settings.stitching.steps} steps", settings.stitching.steps / loops[-1].frame_steps_per_s),
    ]
    return Report(
        family=family.name,
        resolution=family.generator.resolution,
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        threads=torch.get_num_threads(),
        precision=scene.passes.precision,
        matrix_gflops=matrix_gflops,
        loops=tuple(loops),
        passes=tuple(passes),
        stages=tuple(stages),
        curves=tuple(curves),
    )


def table(report: Report) -> str:
    """The report for people.

    Args:
        report: of `run`.
    Returns:
        Lines of text.
    """
    lines = [
        f"family {report.family}, {report.resolution} px, on {report.device} with {report.threads} threads: "
        f"{report.matrix_gflops:.0f} GFLOP/s in {report.precision} matrix products",
        "",
        f"{'loop':<32}{'frames':>7}{'ms/step':>10}{'frame-steps/s':>15}{'GFLOP':>8}{'share':>7}",
    ]
    for row in report.loops:
        speed = f"{row.step_ms:>10.1f}{row.frame_steps_per_s:>15.1f}"
        lines.append(f"{row.name:<32}{row.frames:>7}{speed}{row.gflop:>8.2f}{row.share:>7.0%}")
    lines += ["", f"{'generator, forward and backward':<32}{'frames':>7}{'ms/frame':>10}"]
    lines += [f"{row.name:<32}{row.frames:>7}{row.frame_ms:>10.1f}" for row in report.passes]
    lines += ["", f"{'stage, frames of {}x{} px'.format(*FRAME_SIZE):<39}{'s/frame':>10}"]
    lines += [f"{row.name:<39}{row.frame_s:>10.4f}" for row in report.stages]
    heads = "".join(f"{one.precision:>10}" for one in report.curves)
    lines += ["", f"{'loss of PTI by precision, at step':<39}{heads}"]
    last = len(report.curves[0].losses)
    for step in sorted({2**power for power in range(last.bit_length())} | {last}):
        lines.append(f"{step:<39}" + "".join(f"{one.losses[step - 1]:>10.4f}" for one in report.curves))
    return "\n".join(lines)


Stage = Generator[Event, None, Any]
_Loop = tuple[str, int, Callable[[int], Stage]]
_Work = tuple[str, int, Callable[[], object]]


def _loops(scene: Scene) -> list[_Loop]:
    """The tuning loops: first PTI as in the paper, last its stitching with the chunk that a run would take."""
    paper = scene.settings.tune
    chunk = stitching.chunk_for(scene.generator)
    others = sorted({1, 2, 4, 8, 16} - {chunk})
    weights = partial(scene.stitching, tuned="weights")
    return [
        ("PTI", paper.batch, partial(scene.tuning, locality_weight=paper.locality_weight)),
        ("PTI without locality", 1, partial(scene.tuning, locality_weight=0.0)),
        ("PTI without locality", 4, partial(scene.tuning, locality_weight=0.0)),
        *(("stitching", frames, weights) for frames in others if frames <= 2 * chunk),
        ("stitching, features alone", chunk, partial(scene.stitching, tuned="features")),
        ("stitching, as a run does it", chunk, weights),
    ]


def _passes(scene: Scene) -> list[_Work]:
    """Ways to run the generator: shared or stacked weights, memory layouts, precisions."""
    shared = copy.deepcopy(scene.generator)
    rows = copy.deepcopy(scene.generator)
    plain = cast(torch.nn.Module, scene.generator)
    for parameter in rows.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)

    def work(generator: Synthesis, frames: int, half: bool = False) -> Callable[[], None]:
        weights = dict(generator.requires_grad_(False).named_parameters())
        for name in generator.kinds():
            weights[name].requires_grad_(True)
        codes = scene.codes(frames)

        @torch.enable_grad()
        def both_ways() -> None:
            for weight in weights.values():
                weight.grad = None
            with torch.autocast(scene.device.type, torch.bfloat16, enabled=half):
                loss = generator(codes).float().square().mean()
            loss.backward()

        return both_ways

    return [
        ("shared weights", 1, work(shared, 1)),
        ("shared weights", 4, work(shared, 4)),
        ("shared weights, channels last", 4, work(rows, 4)),
        ("shared weights, bf16", 4, work(shared, 4, half=True)),
        ("stacked weights", 1, work(scene.generator.stacked(1), 1)),
        ("stacked weights", 4, work(scene.generator.stacked(4), 4)),
        ("weights stacked by vmap", 1, work(Stack(plain, 1), 1)),
        ("weights stacked by vmap", 4, work(Stack(plain, 4), 4)),
        ("stacked weights, bf16", 4, work(scene.generator.stacked(4), 4, half=True)),
    ]


def _stages(scene: Scene, folder: Path) -> list[_Work]:
    """Every stage but the two loops."""
    family, settings, frame = scene.family, scene.settings, scene.frame
    width, height = FRAME_SIZE
    count = _BATCH
    clip = folder / "clip.mp4"
    info = ClipInfo(folder / "none", width, height, Fraction(_RATE), count, 0.0, count / _RATE, audio=False)

    def write() -> None:
        with files.Writer(clip, info, crf=settings.video.crf) as writer:
            for _ in range(count):
                writer.add(frame)

    write()
    known = files.probe(clip, settings.video)
    yes, shots = np.ones(count, dtype=bool), np.zeros(count, dtype=np.int64)
    track = Track(np.broadcast_to(scene.landmarks, (count, 5, 2)), yes, yes, shots)
    edits = [Edit(name, 1.0) for name in list(family.directions)[:1]]
    plan = edit.resolve(edits, family)
    boxes = np.broadcast_to(np.array([0, 0, width, height], np.float32), (1, count, 4))
    landmarks = track.landmarks[None].astype(np.float32)
    seen = Surveyed(known, boxes, np.ones((1, count), np.float32), landmarks, shots, np.zeros(count))
    crops, codes, regions = scene.batch(count), scene.codes(count), scene.regions(1)
    dilated = regions.dilated_mask[0, 0].cpu().numpy()
    radius_px = masks.radius_px(settings.stitching.dilation, scene.generator.resolution)
    times_s = np.arange(count) / _RATE

    def face() -> preview.Face:
        return preview.from_survey(seen, count / 2 / _RATE, settings, family)

    learned = replace(face(), tuned=True)  # as costly as what is kept of a clip that was

    return [
        ("read the clip", count, lambda: sum(1 for _ in files.frames(known))),
        ("find the face", 1, lambda: family.detector.detect(frame, settings.faces.threshold)),
        (
            "align",
            count,
            lambda: finished(align([frame] * count, track, _RATE, crops.shape[-1], settings.align, folder)),
        ),
        ("invert", count, lambda: finished(invert(scene.crops(count), family.encoder))),
        (
            "edit",
            count,
            lambda: edit.render(scene.generator, plan.codes(codes, times_s, scene.generator)),
        ),
        ("masks", count, lambda: stitching.regions(family.parser, crops, crops, settings.stitching)),
        ("merge", 1, lambda: merge.paste(frame, scene.picture, dilated, scene.quad, radius_px, settings.merge)),
        ("write the clip", count, write),
        ("preview of an edit, before tuning", 1, lambda: preview.edited_frame(face(), edits, settings, family)),
        ("preview of an edit, learned clip", 1, lambda: preview.edited_frame(learned, edits, settings, family)),
    ]


def _sample(scene: Scene, folder: Path) -> tuple[Crops, Pivots]:
    """The bundled clip's first frames; their middle where the family's detector sees no face in them."""
    settings, size = scene.settings, scene.generator.resolution
    info = files.probe(SAMPLE, VideoSettings(end_s=(_CURVE_FRAMES - 0.5) / _RATE))
    frames, rate = list(files.frames(info)), float(info.rate)
    try:
        piece = finished(look(frames, scene.family.detector, info, settings.faces))
        track = finished(track_of(link([piece], info, settings.faces), info, settings.faces))
    except FaceError:
        yes, shots = np.ones(len(frames), dtype=bool), np.zeros(len(frames), dtype=np.int64)
        track = Track(np.broadcast_to(scene.landmarks, (len(frames), 5, 2)), yes, yes, shots)
    crops = finished(align(iter(frames), track, rate, size, settings.align, folder))
    return crops, finished(invert(crops, scene.family.encoder))


def _losses(family: Family, crops: Crops, pivots: Pivots, steps: int, precision: Settled) -> tuple[float, ...]:
    """PTI's loss before each of its steps, all frames in each."""
    settings = replace(Settings().tune, epochs=steps, batch=len(crops.images), locality_weight=0.0)
    recipe = Recipe(settings, family.tune_rates, Passes(precision))
    work = tune.tune(crops, pivots, family.generator, family.perceptual, recipe)
    return tuple(finished(work).losses[:, 0].tolist())


def _frame_gflop(start: Callable[[int], Stage]) -> float:
    """10^9 operations of a loop's step on one frame; PyTorch counts those of frames side by side many times over."""
    stage = start(1)
    # Not straight after an epoch's end, where the stage may draw a preview: the counter takes no pictures without
    # gradients.
    for _ in range(WARM_UP + 1):
        to_next_step(stage)
    ours = {torch.ops.aten.convolution_backward: _backward_flop}
    with FlopCounterMode(display=False, custom_mapping=ours) as counter:
        to_next_step(stage)
    return counter.get_total_flops() / 1e9


def _backward_flop(slope: Sequence[int], inputs: Sequence[int], weight: Sequence[int], *said: Any, **out: Any) -> int:
    """Operations of a convolution's way back, from shapes and the operator's further arguments.

    The slopes of its input and of its weights take as many as the convolution itself; PyTorch's own formula counts
    those of depthwise filters as if they were dense.
    """
    transposed, wanted = said[-4], said[-1]
    return conv_flop_count(list(inputs), list(weight), list(slope), transposed) * sum(wanted[:2])


def _matrix_gflops(device: torch.device, precision: Settled, limit_s: float) -> float:
    """The best rate of square matrix products in a precision, 10^9 operations a second."""
    side = 8192 if device.type == "cuda" else 1024
    first, second = torch.randn(2, side, side, device=device, dtype=torch.bfloat16 if precision == "bf16" else None)
    with float32_mode(precision, device):
        return 2e-9 * side**3 / min(times(lambda: first @ second, device, limit_s))
