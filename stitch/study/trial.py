"""Inputs of every stage with no meaning, and a stopwatch: what `bench` and `estimate` measure with."""

import statistics
import time
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stitch.core.events import Event, Progress
from stitch.core.images import to_bytes, to_tensor
from stitch.core.records import Crops, Pivots, Regions
from stitch.core.settings import Settings, TunedBy
from stitch.families.family import Family
from stitch.methods.stit import masks, stitching, tune
from stitch.runtime.optimizer import Recipe
from stitch.runtime.precision import Passes

WARM_UP = 3
FEWEST, MOST = 3, 24
_RATE = 1e-6  # pictures of no meaning are nothing to learn from
Clock = Callable[[], float]


class Scene:
    """Inputs of every stage: two smooth pictures, random codes, a round mask.

    Args:
        family: loaded, on the device to measure.
        settings: of the stages.
        frame_size: width and height of the clip's frames, px.
    """

    def __init__(self, family: Family, settings: Settings, frame_size: tuple[int, int]) -> None:
        self.family = family
        self.generator = family.generator
        self.device = next(family.generator.parameters()).device
        self.settings = settings
        self.passes = Passes.of(settings.compute, self.device, family.wide)
        width, height = frame_size
        size = family.generator.resolution
        rng = torch.Generator().manual_seed(0)
        self.picture = _smooth_picture(size, size, rng)
        self.frame = _smooth_picture(height, width, rng)
        z = torch.randn(16, family.generator.z_dim, generator=rng).to(self.device)
        with torch.no_grad():
            self._codes = family.generator.broadcast(family.generator.mapping(z))
        radius = torch.linspace(-1, 1, size, device=self.device).square()
        self.face = (radius + radius[:, None] < 0.5).float()[None, None]
        corners = np.array([[-1, -1], [-1, 1], [1, 1], [1, -1]])
        points = np.array([[-0.3, -0.25], [0.3, -0.25], [0.0, 0.05], [-0.22, 0.4], [0.22, 0.4]])
        self.quad, self.landmarks = (np.array([width, height]) / 2 + height / 4 * at for at in (corners, points))

    def crops(self, frames: int) -> Crops:
        """The same picture as often as wanted."""
        images = np.broadcast_to(self.picture, (frames, *self.picture.shape))
        return Crops(images, np.broadcast_to(self.quad, (frames, 4, 2)), np.arange(frames))

    def batch(self, frames: int) -> Tensor:
        """Crops as the networks want them."""
        return to_tensor(self.crops(frames).images).to(self.device)

    def codes(self, frames: int) -> Tensor:
        """[frames,L,D]."""
        return self._codes[torch.arange(frames) % len(self._codes)]

    def regions(self, frames: int) -> Regions:
        """Of a round face."""
        size = self.generator.resolution
        radius_px = masks.radius_px(self.settings.stitching.dilation, size)
        return masks.regions(self.face.repeat(frames, 1, 1, 1), radius_px)

    def tuning(self, batch: int, locality_weight: float) -> Generator[Event, None, Any]:
        """Stage 3 without an end, `batch` frames a step."""
        settings = replace(self.settings.tune, epochs=10**4, batch=batch, locality_weight=locality_weight)
        # Few frames, so that the warm-up sees each of them once and keeps its features, as a long run does.
        crops, pivots = self.crops(WARM_UP * batch), Pivots(self.codes(WARM_UP * batch).cpu())
        return tune.tune(
            crops, pivots, self.generator, self.family.perceptual,
            Recipe(settings, replace(self.family.tune_rates, learning_rate=_RATE), self.passes),
        )

    def stitching(self, frames: int, tuned: TunedBy, steps: int = 10**4) -> Generator[Event, None, Any]:
        """Stage 5's loop on `frames` frames at once, each tuning weights or features of its own."""
        settings = replace(self.settings.stitching, tuned=tuned, steps=steps)
        crops = self.batch(frames)
        return stitching.stitch_chunk(
            self.generator, self.codes(frames), crops, -crops, self.regions(frames),
            Recipe(settings, replace(self.family.stitching_rates, learning_rate=_RATE), self.passes),
        )


def to_next_step(stage: Generator[Any, None, Any]) -> None:
    """Run a loop until its next step is done."""
    while not isinstance(next(stage), Progress):
        pass


def step_seconds(
    stage: Generator[Any, None, Any], device: torch.device, limit_s: float, clock: Clock = time.perf_counter
) -> float:
    """Median seconds of a step of a loop that is under way; it is closed after the measurement.

    Args:
        stage: yields one `Progress` a step.
        device: where it works.
        limit_s: about how long to measure; a slow step is still done a few times.
        clock: tells seconds.
    """
    with closing(stage):
        return statistics.median(_taken(lambda: to_next_step(stage), device, limit_s, clock))


def seconds(
    work: Callable[[], object], device: torch.device, limit_s: float, clock: Clock = time.perf_counter
) -> float:
    """Median seconds of a piece of work, after a run of it that does not count."""
    return statistics.median(times(work, device, limit_s, clock))


def times(
    work: Callable[[], object], device: torch.device, limit_s: float, clock: Clock = time.perf_counter
) -> list[float]:
    """Seconds of several runs of a piece of work, after one that does not count."""
    work()
    return _taken(work, device, limit_s, clock)


def _taken(work: Callable[[], object], device: torch.device, limit_s: float, clock: Clock) -> list[float]:
    taken: list[float] = []
    while len(taken) < FEWEST or (sum(taken) < limit_s and len(taken) < MOST):
        _wait(device)
        began = clock()
        work()
        _wait(device)
        taken.append(clock() - began)
    return taken


def _smooth_picture(height: int, width: int, rng: torch.Generator) -> np.ndarray:
    """[height,width,3] uint8."""
    coarse = torch.rand(1, 3, 6, 8, generator=rng) * 2 - 1
    return to_bytes(F.interpolate(coarse, (height, width), mode="bicubic", align_corners=False))[0]


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
