"""Measures of section 4.2, in float64 from embeddings, and of the seam, in float32 on the pictures' device."""

from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from torch import Tensor

Reading = Literal["mean_of_ratios", "ratio_of_means"]
PAIRS_AT_ONCE = 256


def tl_id(original: np.ndarray, edited: np.ndarray, reading: Reading = "mean_of_ratios") -> float:
    """TL-ID: local identity consistency, R_ij over neighbouring frames (section 4.2). An unedited clip scores 1.

    Args:
        original: id(x_i), [T,K], identity embeddings of any length.
        edited: id(e_i), [T,K].
        reading: the paper's formula averages the ratios of cosines; some divide the averages instead.
    Returns:
        About 1; above 1 is not better.
    Raises:
        ValueError: shapes differ or there are fewer than two frames.
    """
    before, after = _unit_rows(original, edited)
    return _consistency((before[:-1] * before[1:]).sum(1), (after[:-1] * after[1:]).sum(1), reading)


def tg_id(original: np.ndarray, edited: np.ndarray, reading: Reading = "mean_of_ratios") -> float:
    """TG-ID: global identity consistency, R_ij over all pairs i < j (section 4.2). An unedited clip scores 1.

    Args, returns and raises as `tl_id`.
    """
    before, after = _unit_rows(original, edited)
    frames = len(before)
    ratios = cosines_before = cosines_after = 0.0
    for start in range(0, frames, PAIRS_AT_ONCE):  # a block of rows at a time: [T,T] of a long clip does not fit
        rows = slice(start, min(start + PAIRS_AT_ONCE, frames))
        later = np.arange(frames)[None, :] > np.arange(frames)[rows, None]
        block_before, block_after = (before[rows] @ before.T)[later], (after[rows] @ after.T)[later]
        ratios += float((block_after / block_before).sum())
        cosines_before += float(block_before.sum())
        cosines_after += float(block_after.sum())
    if reading == "ratio_of_means":
        return cosines_after / cosines_before
    return ratios / (frames * (frames - 1) / 2)


def local_ratios(original: np.ndarray, edited: np.ndarray) -> np.ndarray:
    """R_ij of each frame but the first with the one before it: what TL-ID averages (section 4.2).

    Args:
        original, edited: embeddings as for `tl_id`.
    Returns:
        [T-1] float64.
    """
    before, after = _unit_rows(original, edited)
    return (after[:-1] * after[1:]).sum(1) / (before[:-1] * before[1:]).sum(1)


def global_ratios(original: np.ndarray, edited: np.ndarray) -> np.ndarray:
    """Mean of R_ij of each frame with all others; their mean is TG-ID (section 4.2).

    Args:
        original, edited: embeddings as for `tg_id`.
    Returns:
        [T] float64.
    """
    before, after = _unit_rows(original, edited)
    frames = len(before)
    means = np.empty(frames)
    for start in range(0, frames, PAIRS_AT_ONCE):
        rows = slice(start, min(start + PAIRS_AT_ONCE, frames))
        ratios = (after[rows] @ after.T) / (before[rows] @ before.T)
        means[rows] = (ratios.sum(1) - 1) / (frames - 1)  # without itself, whose ratio is 1
    return means


def psnr(first: Tensor, second: Tensor, mask: Tensor | None = None) -> Tensor:
    """Peak signal-to-noise ratio of a picture, inside a mask where given.

    Args:
        first, second: [3,H,W] float32, levels of 255.
        mask: [1,H,W] in {0,1}.
    Returns:
        Decibels, [] float32; infinite for equal pictures, NaN when the mask is empty.
    Raises:
        ValueError: shapes differ.
    """
    return 10 * torch.log10(255**2 / _masked_mean(torch.square, first, second, mask))


def ring_error(pasted: Tensor, source: Tensor, ring: Tensor) -> Tensor:
    """How far the result is from the source around the face: what stitching tuning is there to make small.

    Args:
        pasted, source: [3,H,W] float32, levels of 255.
        ring: boundary b_i, [1,H,W] in {0,1}.
    Returns:
        Mean absolute difference in levels of 255, [] float32; NaN when the ring is empty.
    Raises:
        ValueError: shapes differ.
    """
    return _masked_mean(torch.abs, pasted, source, ring)


def _unit_rows(original: np.ndarray, edited: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if original.ndim != 2 or original.shape != edited.shape or len(original) < 2:
        raise ValueError(f"embeddings: got {original.shape} and {edited.shape}, expected the same [T >= 2, K]")
    pair = (np.asarray(rows, dtype=np.float64) for rows in (original, edited))
    before, after = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in pair)
    return before, after


def _consistency(before: np.ndarray, after: np.ndarray, reading: Reading) -> float:
    if reading == "ratio_of_means":
        return float(after.mean() / before.mean())
    return float((after / before).mean())


def _masked_mean(measure: Callable[[Tensor], Tensor], first: Tensor, second: Tensor, mask: Tensor | None) -> Tensor:
    """Mean of a measure of the difference, where the mask is one."""
    if first.shape != second.shape or (mask is not None and mask.shape != (1, *first.shape[1:])):
        raise ValueError(
            f"pictures: got {list(first.shape)}, {list(second.shape)} and mask "
            f"{None if mask is None else list(mask.shape)}, expected one shape [3,H,W] and mask [1,H,W]"
        )
    values = measure(first - second)
    return values.mean() if mask is None else (values * mask).sum() / (mask.sum() * len(values))
