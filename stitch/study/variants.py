"""What a study compares: the method with one thing changed, and other methods. A variant changes what the stages are
given, their settings or the family's networks; no stage knows of it."""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol, get_args

from stitch.core.events import Event
from stitch.core.records import Drawn, Edit
from stitch.core.settings import Preset, Presets, Settings
from stitch.families.family import Family
from stitch.methods.latent_transformer import pipeline as latent_transformer
from stitch.methods.pti import pipeline as pti
from stitch.methods.pti.projector import STEPS, Projector
from stitch.methods.stit import pipeline

Change = Callable[[Settings], Settings]


class Method(Protocol):
    """A way to edit a clip."""

    def __call__(
        self, source: Path, edits: Sequence[Edit], output: Path, settings: Settings, family: Family, folder: Path
    ) -> Generator[Event, None, Drawn | None]:
        """Write the edited clip; what was drawn, or None where the folder is a prepared run that knows it."""
        ...


def stitched(
    source: Path, edits: Sequence[Edit], output: Path, settings: Settings, family: Family, folder: Path
) -> Generator[Event, None, None]:
    """Stitch it in Time, see `stitch.methods.stit.pipeline`.

    Args:
        source: the clip.
        edits: sliders.
        output: the edited clip, .mp4.
        settings: of all stages.
        family: loaded.
        folder: of the run.
    Yields:
        The pipeline's events.
    Raises:
        StitchError: what the pipeline raises.
    """
    prepared = yield from pipeline.prepare(source, folder, settings, family)
    yield from pipeline.edit_video(prepared, edits, output, settings, family)


def _same_settings(settings: Settings) -> Settings:
    return settings


def _same_family(family: Family) -> Family:
    return family


@dataclass(frozen=True, eq=False)
class Variant:
    """One row of a study.

    Attributes:
        name: of its files.
        title: for people.
        settings, family: what it changes of those that a study is given.
        method: who edits.
        worse_on: measures on which the full method is expected to be better.
        alone: it shares no stage with others, so that its cost is whole.
    """

    name: str
    title: str
    settings: Change = _same_settings
    family: Callable[[Family], Family] = _same_family
    method: Method = stitched
    worse_on: tuple[str, ...] = ()
    alone: bool = False


FULL = Variant("full", "full method")


def ablation(projection: int = STEPS) -> tuple[Variant, ...]:
    """The paper's figure 8 and table 1: the method, the method without each of its parts, and its baselines.

    Args:
        projection: steps of optimised pivots, for each frame.
    """

    def projected(family: Family) -> Family:
        projector = Projector(family.generator, family.perceptual, projection).eval()
        return replace(family, encoder=projector, refinement=None)

    return (
        FULL,
        Variant("optimised_pivots", "optimised pivots", family=projected, worse_on=("tl_id",)),
        Variant("no_pti", "no PTI", _no_pti, worse_on=("tg_id", "psnr_tuned_db")),
        Variant("naive_paste", "no stitching, plain paste", _no_stitching, worse_on=("boundary_ratio", "ring")),
        Variant("poisson_paste", "no stitching, Poisson", _poisson, worse_on=("ring",)),
        Variant("no_smoothing", "crops not smoothed", _no_smoothing, worse_on=("jitter",)),
        Variant("mask_from_crop", "mask from the crop alone", _mask_from_crop),
        Variant("pti", "PTI (Roich et al. 2021)", method=partial(pti.edit_video, steps=projection),
                worse_on=("tl_id", "tg_id")),
        Variant("latent_transformer", "Latent Transformer (Yao et al. 2021)", method=latent_transformer.edit_video,
                worse_on=("tl_id", "tg_id")),
    )


def presets(known: Presets, base: Preset) -> tuple[Variant, ...]:
    """A family's presets, and one of them with single knobs turned.

    Args:
        known: of the family.
        base: whose knobs are turned.
    """
    settings = Settings.preset(base, known)
    rows = [Variant(name, name, partial(_preset, Settings.preset(name, known)), alone=True) for name in get_args(Preset)
            if name in known]
    for factor in (0.5, 2.0):
        rows += [
            Variant(f"tuning_x{factor:g}", f"{base}, tuning steps x{factor:g}", partial(_tuned, factor), alone=True),
            Variant(f"stitching_x{factor:g}", f"{base}, stitching steps x{factor:g}", partial(_stitched, factor),
                    alone=True),
        ]
    if settings.tune.move_pivots:
        rows.append(Variant("still_pivots", f"{base}, pivots held still", _still_pivots, alone=True))
    if settings.tune.features:
        rows.append(Variant("even_weights", f"{base}, eyes and mouth weighed as all else", _even_weights, alone=True))
    if settings.stitching.detail:
        rows.append(Variant("no_detail", f"{base}, without what tuning missed of the source", _no_detail, alone=True))
    return tuple(rows)


def _no_pti(settings: Settings) -> Settings:
    return replace(settings, tune=replace(settings.tune, epochs=0, least_steps=0))


def _no_stitching(settings: Settings) -> Settings:
    return replace(settings, stitching=replace(settings.stitching, steps=0, shared_steps=0))


def _poisson(settings: Settings) -> Settings:
    return replace(_no_stitching(settings), merge=replace(settings.merge, blend="poisson"))


def _no_smoothing(settings: Settings) -> Settings:
    return replace(settings, align=replace(settings.align, centre_sigma_s=0.0, axes_sigma_s=0.0))


def _mask_from_crop(settings: Settings) -> Settings:
    return replace(settings, stitching=replace(settings.stitching, mask_from="crop"))


def _preset(preset: Settings, settings: Settings) -> Settings:
    return replace(settings, tune=preset.tune, stitching=preset.stitching)


def _tuned(factor: float, settings: Settings) -> Settings:
    epochs, least = (round(factor * count) for count in (settings.tune.epochs, settings.tune.least_steps))
    return replace(settings, tune=replace(settings.tune, epochs=epochs, least_steps=least))


def _stitched(factor: float, settings: Settings) -> Settings:
    steps, shared = (round(factor * count) for count in (settings.stitching.steps, settings.stitching.shared_steps))
    return replace(settings, stitching=replace(settings.stitching, steps=steps, shared_steps=shared))


def _still_pivots(settings: Settings) -> Settings:
    return replace(settings, tune=replace(settings.tune, move_pivots=False))


def _even_weights(settings: Settings) -> Settings:
    return replace(settings, tune=replace(settings.tune, features=0.0))


def _no_detail(settings: Settings) -> Settings:
    return replace(settings, stitching=replace(settings.stitching, detail=0.0))
