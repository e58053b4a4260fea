"""Measures of section 4.2 and of landmarks, in float64, and of pictures, in float32 on the pictures' device."""

from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stitch.core import geometry

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


def cosines(original: np.ndarray, edited: np.ndarray) -> np.ndarray:
    """How much of who it is each edited frame keeps: cos(id(x_i), id(e_i)).

    Args:
        original, edited: embeddings, [T,K] each, T >= 1.
    Returns:
        [T] float64; 1 for the same.
    """
    before, after = _unit_rows(original, edited, least=1)
    return (before * after).sum(1)


def jitter(landmarks: np.ndarray, shots: np.ndarray) -> np.ndarray:
    """How much landmarks tremble: mean length of their second difference over time, in distances of the eyes.

    An even motion has none, whatever its speed.

    Args:
        landmarks: [T,5|68,2] px, NaN where there are none.
        shots: [T], number of each frame's shot.
    Returns:
        [T] float64; NaN where a frame or one of its neighbours has no landmarks, is missing or of another shot.
    """
    points = np.asarray(landmarks, dtype=np.float64)
    found = np.full(len(points), np.nan)
    if len(points) > 2:
        left, right = geometry.eyes(points)
        bends = points[2:] - 2 * points[1:-1] + points[:-2]
        lengths = np.linalg.norm(bends, axis=2).mean(1) / np.linalg.norm(right - left, axis=1)[1:-1]
        found[1:-1] = np.where(shots[2:] == shots[:-2], lengths, np.nan)
    return found


def ssim(first: Tensor, second: Tensor, mask: Tensor | None = None) -> Tensor:
    """Structural similarity (Wang et al. 2004): Gaussian windows of sigma 1.5 px, 11 px wide, mean over the channels.

    Args:
        first, second: [3,H,W] float32, levels of 255; beyond the borders pictures are reflected.
        mask: [1,H,W] in {0,1}, over which the mean is taken.
    Returns:
        [] float32, at most 1; NaN when the mask is empty.
    Raises:
        ValueError: shapes differ.
    """
    steps = torch.arange(-5, 6, device=first.device, dtype=torch.float32)
    window = torch.exp(-steps.square() / (2 * 1.5**2))
    window = window / window.sum()

    def similar(difference: Tensor) -> Tensor:
        a, b = second + difference, second
        rows = torch.stack([a, b, a * a, b * b, a * b]).flatten(0, 1)[:, None]
        rows = F.conv2d(F.pad(rows, (5, 5, 5, 5), mode="reflect"), window[None, None, :, None])
        mean_a, mean_b, square_a, square_b, product = F.conv2d(rows, window[None, None, None]).view(5, *first.shape)
        covariance = product - mean_a * mean_b
        variances = square_a - mean_a.square() + square_b - mean_b.square()
        level, contrast = (0.01 * 255) ** 2, (0.03 * 255) ** 2
        return ((2 * mean_a * mean_b + level) * (2 * covariance + contrast)) / (
            (mean_a.square() + mean_b.square() + level) * (variances + contrast)
        )

    return _masked_mean(similar, first, second, mask)


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


def _unit_rows(original: np.ndarray, edited: np.ndarray, least: int = 2) -> tuple[np.ndarray, np.ndarray]:
    if original.ndim != 2 or original.shape != edited.shape or len(original) < least:
        raise ValueError(f"embeddings: got {original.shape} and {edited.shape}, expected the same [T >= {least}, K]")
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
