"""What is said about an edit when it is done: its measures (section 4.2) and the frames that were left out."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from stitch.core import metrics
from stitch.core.images import to_levels
from stitch.core.records import ClipInfo, Crops, EditResult, FrameMeasures, Regions

MEASURES = ("psnr_inversion", "psnr_tuned", "ring_stitched", "ring_naive", "masked")
"""What is measured in every frame, in the order of the columns of `measured`; the first in every eighth alone."""
INVERTED_EVERY = 8
"""Frames from one that the generator as it was draws, for nothing but that measure, to the next."""


def measured(
    crops: np.ndarray, tiles: np.ndarray, edited: Tensor, inverted: Mapping[int, Tensor], tuned: Tensor,
    regions: Regions,
) -> np.ndarray:
    """Measures of a chunk, frame by frame.

    Args:
        crops: c_i, [B,S,S,3] uint8.
        tiles: s_i, the same.
        edited: e_i, [B,3,S,S] in [-1,1].
        inverted: r_i of the generator as it was, [3,S,S], of some rows.
        tuned: r_i of the tuned generator, the same.
        regions: where is measured: reconstructions in m_i^d, the seam in b_i.
    Returns:
        [B, len(MEASURES)] float64: decibels, decibels, levels of 255 twice, and the mask's share of the crop; NaN where
        a mask is empty, or nothing was drawn.
    """
    rows = []
    for row, (crop, tile) in enumerate(zip(crops, tiles, strict=True)):  # one at a time: a whole chunk's are large
        inside, ring = regions.dilated_mask[row], regions.boundary[row]
        source, stitched = (
            torch.from_numpy(np.array(one)).to(inside.device).permute(2, 0, 1).float() for one in (crop, tile)
        )
        naive, reconstruction = to_levels(edited[row]), to_levels(tuned[row])
        rows.append(torch.stack([
            metrics.psnr(to_levels(inverted[row]), source, inside) if row in inverted else source.new_tensor(np.nan),
            metrics.psnr(reconstruction, source, inside),
            metrics.ring_error(stitched, source, ring),
            metrics.ring_error(naive, source, ring),
            inside.mean(),
        ]))
    return torch.stack(rows).cpu().double().numpy()


def of(
    path: Path, info: ClipInfo, crops: Crops, table: np.ndarray, identities: np.ndarray, notes: Sequence[str]
) -> EditResult:
    """The result of a whole clip.

    Args:
        path: the edited clip.
        info: the source.
        crops: which frames each row is.
        table: [N, len(MEASURES)] of `measured`.
        identities: [N,2,K], of the crop before and after.
        notes: sentences for the user.
    """
    column = dict(zip(MEASURES, table.T, strict=True))
    before, after = identities.swapaxes(0, 1)
    several = len(crops.frames) > 1
    none = np.full(len(crops.frames), np.nan)
    per_frame = FrameMeasures(
        frames=np.asarray(crops.frames),
        psnr_inversion_db=column["psnr_inversion"],
        psnr_tuned_db=column["psnr_tuned"],
        ring_naive=column["ring_naive"],
        ring_stitched=column["ring_stitched"],
        tl_id=np.append(np.nan, metrics.local_ratios(before, after)) if several else none,
        tg_id=metrics.global_ratios(before, after) if several else none,
    )
    edited = {frame for frame, row in crops.row_of.items() if column["masked"][row] > 0}
    measures = {
        "psnr_inversion_db": _mean(column["psnr_inversion"]),
        "psnr_tuned_db": _mean(column["psnr_tuned"]),
        "boundary_ratio": _mean(column["ring_stitched"]) / max(_mean(column["ring_naive"]), 1e-9),
    }
    if several:
        measures |= {"tl_id": metrics.tl_id(before, after), "tg_id": metrics.tg_id(before, after)}
    return EditResult(
        path=path,
        info=info,
        edited_frames=len(edited),
        unedited_frames=tuple(sorted(set(range(info.frames)) - edited)),
        measures={name: value for name, value in measures.items() if np.isfinite(value)},
        notes=tuple(notes),
        per_frame=per_frame,
    )


def _mean(values: np.ndarray) -> float:
    """Mean of what is a number; NaN if nothing is."""
    values = values[np.isfinite(values)]
    return float(values.mean()) if len(values) else float("nan")
