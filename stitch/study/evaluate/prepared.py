"""What a prepared run adds to an evaluation: how exactly the learned face redraws the source's, and the seam."""

from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from stitch.core import geometry, metrics
from stitch.core.errors import RunError, StitchError
from stitch.core.events import Event, Progress, finished
from stitch.core.images import to_levels, to_tensor
from stitch.core.records import Crops, Drawn
from stitch.core.settings import Settings, StitchingSettings
from stitch.families.family import Family, Perceptual
from stitch.methods.stit import edit, results, stitching
from stitch.methods.stit.pipeline import Prepared, prepare
from stitch.runtime import runs
from stitch.study.checks import finished_edits
from stitch.study.evaluate.pair import Pair

_LOOKED_AT = 5
_LIKEWISE = ("psnr_tuned_db", "ssim", "lpips")
_SAME_LEVELS = 8.0
"""Mean difference, levels of 255, up to which a clip's face is taken for the one that a run drew: coding alone makes 1
to 4, another edit usually more than 10."""


@dataclass(frozen=True, eq=False)
class Redrawn:
    """Of T moments, NaN where there is none.

    Attributes:
        columns: by measure [T]: "psnr_tuned_db", "ssim", "lpips"; "ring_naive" and "ring_stitched" in levels of 255.
        missing: by measure, why it is left out.
    """

    columns: dict[str, np.ndarray] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)


def likeness(picture: Tensor, source: Tensor, mask: Tensor, perceptual: Perceptual) -> tuple[float, float, float]:
    """How exactly a face is redrawn.

    Args:
        picture, source: [1,3,S,S] in [-1,1].
        mask: of the face, [1,1,S,S] in {0,1}.
        perceptual: for LPIPS; outside the mask the source is taken for both.
    Returns:
        PSNR in dB, SSIM and LPIPS inside the mask; the first two NaN where it is empty.
    """
    drawn, wanted = to_levels(picture)[0], to_levels(source)[0]
    inside = torch.where(mask > 0.5, picture.clamp(-1, 1), source)
    distance = perceptual.distance(perceptual.features(inside), perceptual.features(source))
    return (float(metrics.psnr(drawn, wanted, mask[0])), float(metrics.ssim(drawn, wanted, mask[0])), float(distance))


def made_with(run: Path | None) -> tuple[Settings, str] | None:
    """A prepared run's settings and the name of its family; None where there is no run that this version knows."""
    if run is not None and runs.is_prepared(run):
        with suppress(RunError):
            _, settings, family = runs.recorded(run)
            return settings, family
    return None


def redrawn(run: Path | None, pair: Pair, family: Family) -> Generator[Event, None, Redrawn]:
    """Read a run's folder.

    Args:
        run: the folder; None, or one of something else, is a reason.
        pair: the clips; the original must be the run's.
        family: the run's.
    Yields:
        Progress in frames.
    Returns:
        What the run knows, or why it does not.
    """
    seam = "boundary_ratio"
    if run is None:
        why = "only a run's folder knows what was drawn (--run DIR)"
        where = "where another program pasted its face cannot be seen from outside; with --run DIR it is known"
        return Redrawn(missing={**dict.fromkeys(_LIKEWISE, why), seam: where})
    try:
        known = made_with(run)
        if known is None:
            raise RunError(f"{run}: no finished run of this version is there")
        settings, name = known
        if name != family.name:
            raise RunError(f"{run}: prepared with the family {name}; name it with --family")
        prepared = finished(prepare(pair.original.info.path, run, settings, family))
    except StitchError as error:
        return Redrawn(missing=dict.fromkeys((*_LIKEWISE, seam), str(error)))
    at_size = family.at_size(prepared.crops.images.shape[1])

    def drawn(row: int) -> Tensor:
        return edit.render(prepared.generator, prepared.pivots.w[[row]].to(at_size.generator.w_avg.device))

    rows = _moments(prepared.crops, pair)
    columns = yield from _likenesses(prepared.crops, drawn, rows, len(pair), at_size)
    folder = _edit_shown(prepared, pair, rows)
    if folder is None:
        return Redrawn(columns, {seam: f"{pair.edited.info.path.name}: none of the edits that its run keeps"})
    table = dict(zip(results.MEASURES, np.load(folder / "measures.npy").T, strict=True))
    for name in ("ring_naive", "ring_stitched"):
        columns[name] = np.full(len(pair), np.nan)
        for row, moments in rows.items():
            columns[name][moments] = table[name][row]
    return Redrawn(columns)


def redrawn_by(drawn: Drawn, pair: Pair, family: Family) -> Generator[Event, None, Redrawn]:
    """The same of a method that keeps no run.

    Args:
        drawn: what it drew.
        pair: the clips.
        family: whose parser and perceptual distance judge.
    Yields:
        Progress in frames.
    Returns:
        How exactly it redrew each crop.
    """
    at_size = family.at_size(drawn.crops.images.shape[1])
    rows = _moments(drawn.crops, pair)
    device = at_size.generator.w_avg.device
    columns = yield from _likenesses(
        drawn.crops, lambda row: to_tensor(drawn.redrawn[row][None]).to(device), rows, len(pair), at_size
    )
    return Redrawn(columns, {"boundary_ratio": "of a plain paste that this method does not know"})


def _moments(crops: Crops, pair: Pair) -> dict[int, list[int]]:
    """The moments of a pair that show each crop."""
    row_of, rows = crops.row_of, dict[int, list[int]]()
    for moment, frame in enumerate(pair.original.picks.tolist()):
        if frame in row_of:
            rows.setdefault(row_of[frame], []).append(moment)
    return rows


def _likenesses(
    crops: Crops, drawn: Callable[[int], Tensor], rows: dict[int, list[int]], total: int, family: Family
) -> Generator[Event, None, dict[str, np.ndarray]]:
    columns = {name: np.full(total, np.nan) for name in _LIKEWISE}
    for done, (row, moments) in enumerate(rows.items(), 1):
        for name, value in zip(_LIKEWISE, _likeness(crops, row, drawn, family), strict=True):
            columns[name][moments] = value
        yield Progress("redraw", done, len(rows))
    return columns


@torch.no_grad()
def _likeness(
    crops: Crops, row: int, drawn: Callable[[int], Tensor], family: Family
) -> tuple[float, float, float]:
    source = to_tensor(crops.images[row][None]).to(family.generator.w_avg.device)
    mask = stitching.faces(family.parser, source, StitchingSettings())
    return likeness(drawn(row), source, mask, family.perceptual)


def _edit_shown(prepared: Prepared, pair: Pair, rows: dict[int, list[int]]) -> Path | None:
    """The folder of the run's edit that the edited clip shows, judged by a few crops; `rows`: their moments."""
    best, nearest = None, _SAME_LEVELS
    chosen = list(rows)[:: max(1, round(len(rows) / _LOOKED_AT))]
    crops = {row: geometry.sample_crop(pair.at(rows[row][0])[1], pair.original.points(prepared.crops.quads[row]),
                                       prepared.crops.images.shape[1]) for row in chosen}
    for folder in finished_edits(prepared):
        tiles, masks = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("tiles", "masks"))
        off = [np.abs(crop.astype(float) - tiles[row])[masks[row] > 0].mean() for row, crop in crops.items()
               if masks[row].any()]
        if off and np.mean(off) <= nearest:
            best, nearest = folder, float(np.mean(off))
    return best
