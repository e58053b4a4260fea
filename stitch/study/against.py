"""Time to quality: how long a preset's tunings take until they are as good as the paper's own schedule, done plainly.

Each tuning of the preset is made with a quarter, a half, all and twice the preset's steps, each time anew and with its
schedule of rates drawn together, until it ends where the plain one ended. What is compared are the seconds of that one.
"""

import math
import tempfile
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor

from stitch.core import metrics
from stitch.core.events import Event, Notice, finished
from stitch.core.images import to_bytes, to_tensor
from stitch.core.records import Edit
from stitch.core.settings import Settings, StitchingSettings
from stitch.families.family import Family
from stitch.families.family import Generator as FaceGenerator
from stitch.methods.stit import detail, edit, pipeline, results, stitching
from stitch.methods.stit.invert import invert
from stitch.study import plain
from stitch.study.checks import latest_edit, timed
from stitch.study.evaluate.look import Reader
from stitch.study.evaluate.measures import require_judgeable
from stitch.study.evaluate.prepared import likeness
from stitch.video import files

SHARES = (Fraction(1, 4), Fraction(1, 2), Fraction(1), Fraction(2))
"""Of the preset's steps, in the order in which they are tried."""
_ALL = Fraction(1)
_TUNING = ("invert", "tune")
WITHIN, WITHIN_DB = 0.02, 0.2
"""As good is: no worse by more than this share of the plain value, or decibels."""


@dataclass(frozen=True)
class Quality:
    """What an edit is measured by.

    Attributes:
        psnr_db: inside the mask, of the tuned reconstruction with what it misses where the edit moves nothing, if a way
            lays that over the face (`stit.detail`): what the edited clip rests on.
        perceptual: distance of the same.
        alone_db: of the tuned reconstruction by itself.
        seam: mean difference to the source around the face, levels of 255.
        tl_id, tg_id: section 4.2; 1 is best.
        edit: how far the face moved the wished way, in std over faces.
    """

    psnr_db: float
    perceptual: float
    alone_db: float
    seam: float
    tl_id: float
    tg_id: float
    edit: float

    def tuned_like(self, other: "Quality") -> bool:
        """Whether its reconstruction is as good as the other's."""
        return self.psnr_db >= other.psnr_db - WITHIN_DB and self.perceptual <= other.perceptual * (1 + WITHIN)

    def stitched_like(self, other: "Quality") -> bool:
        """Whether its seam, its steadiness and its edit are as good as the other's."""
        steady = all(abs(own - 1) <= abs(theirs - 1) + WITHIN
                     for own, theirs in ((self.tl_id, other.tl_id), (self.tg_id, other.tg_id)))
        return steady and self.seam <= other.seam * (1 + WITHIN) and self.edit >= other.edit * (1 - WITHIN)


@dataclass(frozen=True)
class Way:
    """One way to edit.

    Attributes:
        name: "plain", or of the preset.
        tune_steps, stitch_steps: steps on one frame, of all frames together.
        tune_s: with what brings the pivots nearer.
        stitch_s: with masks and measures.
        quality: what came of it.
    """

    name: str
    tune_steps: int
    stitch_steps: int
    tune_s: float
    stitch_s: float
    quality: Quality


@dataclass(frozen=True)
class Compared:
    """A clip.

    Attributes:
        clip: its name.
        frames: different ones with a face.
        size: of the crops, px.
        threads: of the CPU.
        common_s: reading, finding, aligning, inverting, merging: the same in every way.
        plain: the reference.
        preset: the preset as it is.
        tried: what was tried, in order: tunings until one is as good, then stitchings behind it, and behind longer
            tunings where none is.
        tune_ratio, stitch_ratio, whole_ratio: how many times the plain one takes as long at equal quality; None where
            nothing that was tried was as good.
    """

    clip: str
    frames: int
    size: int
    threads: int
    common_s: float
    plain: Way
    preset: Way
    tried: tuple[Way, ...]
    tune_ratio: float | None
    stitch_ratio: float | None
    whole_ratio: float | None


def compare(
    clip: Path, frames: int, asked: Edit, preset: str, settings: Settings, family: Family
) -> Generator[Event, None, Compared]:
    """Edits the beginning of a clip in both ways, and measures both.

    Args:
        clip: with a face.
        frames: how many of its first are taken.
        asked: the edit, of one strength.
        preset: what the settings are called.
        settings: ours.
        family: loaded.
    Yields:
        Progress of the plain loop, and what was measured, in Notices.
    Returns:
        Seconds, measures and ratios.
    Raises:
        StitchError: as `pipeline.prepare` and `edit_video`, or the edit cannot be judged.
    """
    require_judgeable(asked, family)
    rate = float(files.probe(clip, settings.video).rate)
    video = replace(settings.video, end_s=settings.video.start_s + (frames - 0.5) / rate)
    with tempfile.TemporaryDirectory() as folder:
        ours = _Ours(clip, asked, preset, replace(settings, video=video), family, Path(folder))
        whole = yield from ours.edited(_ALL, _ALL)
        plainly = yield from _plain(ours.prepared, asked, ours.family)
        tried: list[Way] = []
        learned: Way | None = None
        joined: Way | None = None
        for tuning in SHARES:
            tuned = yield from ours.edited(tuning, _ALL)
            tried.append(tuned)
            if not tuned.quality.tuned_like(plainly.quality):
                continue
            learned = learned or tuned
            joined = yield from ours.joined(tuning, plainly.quality, tried)
            if joined:
                break
        plain_s, ours_s = (ours.common_s + way.tune_s + way.stitch_s for way in (plainly, joined or plainly))
        return Compared(
            clip.name, len(ours.prepared.crops.frames), ours.family.generator.resolution, torch.get_num_threads(),
            ours.common_s, plainly, whole, tuple(tried),
            tune_ratio=plainly.tune_s / learned.tune_s if learned else None,
            stitch_ratio=plainly.stitch_s / joined.stitch_s if joined else None,
            whole_ratio=plain_s / ours_s if joined else None,
        )


class _Ours:
    """The pipeline itself, with shares of a preset's steps, and its seconds."""

    prepared: pipeline.Prepared

    def __init__(
        self, clip: Path, asked: Edit, preset: str, settings: Settings, loaded: Family, folder: Path
    ) -> None:
        self._clip, self._asked, self._preset, self._settings = clip, asked, preset, settings
        self._loaded, self._folder = loaded, folder
        self._tune_s: dict[Fraction, float] = {}
        self._made: dict[tuple[Fraction, StitchingSettings], Way] = {}
        self.common_s = 0.0

    @property
    def family(self) -> Family:
        """At the size of the crops."""
        return self._loaded.at_size(self.prepared.crops.images.shape[1])

    def edited(self, tuning: Fraction, joining: Fraction) -> Generator[Event, None, Way]:
        """The clip edited with a share of the steps of either tuning; all of both at first."""
        tune, stitch = self._settings.tune, self._settings.stitching
        if tuning != _ALL:
            frames = len(self.prepared.crops.frames)
            epochs = max(1, round(tune.steps(frames) / math.ceil(frames / tune.batch) * tuning))
            tune = replace(tune, epochs=epochs, least_steps=0)
        stitch = replace(
            stitch, steps=round(stitch.steps * joining), shared_steps=round(stitch.shared_steps * joining)
        )
        if (tuning, stitch) in self._made:
            return self._made[tuning, stitch]
        settings = replace(self._settings, tune=tune, stitching=stitch)
        run, output = self._folder / f"{float(tuning)}", self._folder / f"{float(joining)}.mp4"
        self.prepared, took = timed(
            pipeline.prepare(self._clip, run, settings, self._loaded, self._folder / "surveys")
        )
        _, spent = timed(pipeline.edit_video(self.prepared, [self._asked], output, settings, self._loaded))
        self._tune_s.setdefault(tuning, sum(took.get(stage, 0.0) for stage in _TUNING))
        if not self.common_s:
            self.common_s = spent["merge"] + sum(cost for stage, cost in took.items() if stage not in _TUNING)
        generator, count = self.prepared.generator, len(self.prepared.crops.frames)
        pivots = self.prepared.pivots.w.to(self.family.generator.w_avg)
        drawn, edited = _drawn(generator, pivots, self.prepared, self._asked, self.family)
        tiles = np.load(latest_edit(self.prepared) / "tiles.npy")
        quality = _quality(self.prepared, drawn, edited, tiles, self._asked, self.family, stitch.detail)
        yield Notice(f"{self._clip.name}, {float(tuning):g} and {float(joining):g} of {self._preset}: {quality}")
        made = Way(
            self._preset, len(self.prepared.tuned.losses) * tune.batch, stitch.shared_steps + stitch.steps * count,
            self._tune_s[tuning], spent["stitching"], quality,
        )
        return self._made.setdefault((tuning, stitch), made)

    def joined(self, tuning: Fraction, wanted: Quality, tried: list[Way]) -> Generator[Event, None, Way | None]:
        """The fewest steps of stitching behind a tuning that end as well as is wanted; what is tried is added."""
        for joining in SHARES:
            way = yield from self.edited(tuning, joining)
            tried += [] if way in tried else [way]
            if way.quality.stitched_like(wanted):
                return way
        return None


def _plain(prepared: pipeline.Prepared, asked: Edit, family: Family) -> Generator[Event, None, Way]:
    """The same crops, from the encoder's pivots on."""
    device = family.generator.w_avg.device
    sources = to_tensor(np.array(prepared.crops.images)).to(device)
    pivots = finished(invert(prepared.crops, family.encoder)).w.to(device)
    began = time.monotonic()
    generator = yield from plain.tune(
        family.generator, pivots, sources, family.perceptual, family.tune_rates.learning_rate
    )
    tuned = time.monotonic()
    drawn, edited = _drawn(generator, pivots, prepared, asked, family)
    regions = stitching.regions(family.parser, sources, edited, StitchingSettings())
    codes = _codes(generator, pivots, prepared, asked, family)
    stitched = yield from plain.stitch(
        generator, stitching.Target(codes, sources, edited, regions), family.stitching_rates.learning_rate,
        family.content_weight,
    )
    ended = time.monotonic()
    quality = _quality(prepared, drawn, edited, to_bytes(stitched), asked, family, detail_share=0.0)
    yield Notice(f"{prepared.info.path.name}, plain: {quality}")
    return Way("plain", plain.EPOCHS * len(sources), plain.STEPS * len(sources), tuned - began, ended - tuned, quality)


def _codes(
    generator: FaceGenerator, pivots: Tensor, prepared: pipeline.Prepared, asked: Edit, family: Family
) -> Tensor:
    times_s = prepared.crops.frames / float(prepared.info.rate)
    return cast(Tensor, edit.resolve([asked], family).codes(pivots, times_s, generator))  # of a slider, never styles


def _drawn(
    generator: FaceGenerator, pivots: Tensor, prepared: pipeline.Prepared, asked: Edit, family: Family
) -> tuple[Tensor, Tensor]:
    """r_i and e_i."""
    both = pivots, _codes(generator, pivots, prepared, asked, family)
    drawn, edited = (torch.cat([edit.render(generator, one) for one in codes.split(1)]) for codes in both)
    return drawn, edited


@torch.no_grad()
def _quality(
    prepared: pipeline.Prepared, drawn: Tensor, edited: Tensor, tiles: np.ndarray, asked: Edit, family: Family,
    detail_share: float,
) -> Quality:
    """Measured alike, whoever made it."""
    images = np.array(prepared.crops.images)
    sources, stitched = to_tensor(images).to(drawn), to_tensor(tiles).to(drawn)
    regions = stitching.regions(family.parser, sources, edited, StitchingSettings())
    own = stitching.faces(family.parser, sources, StitchingSettings())
    rows = range(len(drawn))
    (alone, *_), (psnr, _, distance) = (
        np.mean([likeness(one[[row]], sources[[row]], own[[row]], family.perceptual) for row in rows], axis=0).tolist()
        for one in (drawn, detail.rested_on(sources, drawn, edited, detail_share))
    )
    measured = results.measured(images, tiles, edited, {}, drawn, regions)
    shown = torch.where(regions.dilated_mask > 0.5, stitched, sources)
    before, after = (family.identity(pictures).float().cpu().numpy() for pictures in (sources, shown))
    reader = Reader(family)
    moved = (reader.attributes(shown) - reader.attributes(sources)).mean(0)[reader.names.index(asked.name)]
    return Quality(
        psnr, distance, alone, float(np.nanmean(measured[:, results.MEASURES.index("ring_stitched")])),
        metrics.tl_id(before, after), metrics.tg_id(before, after), float(np.sign(asked.strength) * moved),
    )


def table(compared: Sequence[Compared]) -> str:
    """The comparison for people: a row for each way, steps of PTI and of stitching on one frame."""
    lines = [f"{'clip, way':<32}{'steps':>13}{'tune s':>8}{'seam s':>8}{'dB':>7}{'perc.':>8}{'alone':>7}{'seam':>7}"
             f"{'TL':>7}{'TG':>7}{'edit':>7}"]
    for one in compared:
        for way in (one.plain, one.preset, *(way for way in one.tried if way is not one.preset)):
            got, steps = way.quality, f"{way.tune_steps}+{way.stitch_steps}"
            lines.append(
                f"{one.clip[:20] + ', ' + way.name:<32}{steps:>13}{way.tune_s:>8.1f}{way.stitch_s:>8.1f}"
                f"{got.psnr_db:>7.1f}{got.perceptual:>8.3f}{got.alone_db:>7.1f}{got.seam:>7.2f}{got.tl_id:>7.3f}{got.tg_id:>7.3f}"
                f"{got.edit:>7.2f}"
            )
        ratios = (("PTI", one.tune_ratio), ("stitching", one.stitch_ratio), ("the whole edit", one.whole_ratio))
        told = ", ".join(f"{name} {'never' if ratio is None else f'{ratio:.1f} times'}" for name, ratio in ratios)
        lines.append(f"  {one.frames} frames at {one.size} px, threads {one.threads}: as good sooner, by {told}")
    return "\n".join(lines)
