"""Frozen records handed on by the stages (shapes: T frames of the trimmed clip, N <= T frames with a usable face)."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:  # the process that reads clips holds records and no torch
    from torch import Tensor

Noise = Literal["const", "none"]
"""What a generator adds to its features: the maps stored with it, or nothing. One that has no maps draws the same."""

Kind = Literal["convolution", "bias", "affine", "pivot", "feature"]
"""What a parameter is to a tuning, which moves each kind at a rate of its own. Of a generator: the weights of
convolutions; what is added and stored as it is (biases, strengths of noise, learned constants); the layers from codes
to styles. Of frames: their pivots, and what is added to their features."""


@dataclass(frozen=True)
class LayerInfo:
    """One layer of a generator that a style enters, in the order of `Generator.styles`.

    Attributes:
        name: for people and files.
        dimension: length of its style vector.
        is_conv: text edits may move its style; false for layers that only mix colours (toRGB).
        w_index: which of the L codes it reads.
        offset: where its style starts when those with `is_conv` are laid end to end; None for the others.
    """

    name: str
    dimension: int
    is_conv: bool
    w_index: int
    offset: int | None


@dataclass(frozen=True)
class ClipInfo:
    """What a video file is, as a viewer sees it.

    Attributes:
        path: the file.
        width, height: size in px as displayed: rotation flag applied, pixels made square.
        rate: frames per second, exact; for variable frame rate the constant rate that frames are decoded at.
        frames: number of frames that decoding yields (of the trimmed range), counted at `rate`.
        start_s, end_s: trimmed range in the file, in seconds.
        audio: the file has a sound track.
        rotation_deg: clockwise rotation flag of the file that decoding applied.
        notes: sentences about what had to be adapted (variable rate, HDR tone-mapped, cut short ...).
    """

    path: Path
    width: int
    height: int
    rate: Fraction
    frames: int
    start_s: float
    end_s: float
    audio: bool
    rotation_deg: int = 0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Detections:
    """Faces in one frame, largest first.

    Attributes:
        boxes: [F,4] float32, x0, y0, x1, y1 in frame px.
        scores: [F] float32 in [0,1].
        landmarks: [F,5,2] or [F,68,2] float32 frame px, pixel centres at integer + 0.5.
    """

    boxes: np.ndarray
    scores: np.ndarray
    landmarks: np.ndarray


@dataclass(frozen=True, eq=False)
class Track:
    """One face followed through the clip.

    Attributes:
        landmarks: [T,5|68,2] float64 frame px; interpolated in short gaps, NaN where lost.
        found: [T] bool, the detector saw the face in this frame.
        usable: [T] bool, found or interpolated; the others stay unedited.
        shots: [T] int64, number of the shot that a frame belongs to (a cut starts a new one).
        faces: how many different faces the clip shows.
    """

    landmarks: np.ndarray
    found: np.ndarray
    usable: np.ndarray
    shots: np.ndarray
    faces: int = 1


@dataclass(frozen=True, eq=False)
class Surveyed:
    """Everybody in a clip, P persons, first who is seen most surely and longest (see `faces.linking.people`).

    Attributes:
        info: what was looked through: the whole clip, or of a very long one a stretch, T frames.
        boxes: [P,T,4] float32 x0, y0, x1, y1 in frame px; NaN where a person is not seen.
        scores: [P,T] float32, the detector's certainty in [0,1]; NaN where a person is not seen.
        landmarks: [P,T,5|68,2] float32 frame px; NaN where a person is not seen.
        shots: [T] int64, number of the shot that a frame belongs to.
        changes: [T] float64, how much the picture changes from the frame before.
    """

    info: ClipInfo
    boxes: np.ndarray
    scores: np.ndarray
    landmarks: np.ndarray
    shots: np.ndarray
    changes: np.ndarray

    @property
    def best(self) -> np.ndarray:
        """[P] int64, the frame that shows each person best: large, and surely a face."""
        width, height = np.moveaxis(self.boxes[..., 2:] - self.boxes[..., :2], -1, 0)
        return np.nanargmax(width * height * self.scores, axis=1)

    @property
    def lost(self) -> int:
        """How many frames show nobody."""
        return int((~np.isfinite(self.boxes).all(axis=2).any(axis=0)).sum())


@dataclass(frozen=True, eq=False)
class Crops:
    """Stage 1's result: aligned faces c_i.

    Attributes:
        images: [N,S,S,3] uint8 RGB, memory-mapped.
        quads: [N,4,2] float64 frame px, corners upper left, lower left, lower right, upper right.
        frames: [N] int64, index of each crop's frame in the trimmed clip, increasing.
        repeats: [M,2] int64, frames that show a crop's frame once more, and which crop. They are edited with it.
    """

    images: np.ndarray
    quads: np.ndarray
    frames: np.ndarray
    repeats: np.ndarray = field(default_factory=lambda: np.empty((0, 2), np.int64))

    @property
    def row_of(self) -> dict[int, int]:
        """The crop of every frame that has one."""
        return {frame: row for row, frame in enumerate(self.frames.tolist())} | dict(self.repeats.tolist())


@dataclass(frozen=True, eq=False)
class Pivots:
    """Stage 2's result.

    Attributes:
        w: w_i, [N,L,D] float32 on the CPU.
        axes: [K,D], along which tuning may move them, each as long as the std of faces along it; None holds them still.
    """

    w: Tensor
    axes: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Tuned:
    """Stage 3's result: theta_p and what it cost.

    Attributes:
        generator: the tuned generator (`families.family.Generator`), frozen.
        pivots: w_i it was tuned around, or ended at.
        losses: [steps,3] float32: total, L2 and LPIPS before each step.
    """

    generator: Any
    pivots: Pivots
    losses: Tensor


Points = tuple[tuple[float, float], ...]
"""Strength over time: (seconds into the trimmed clip, strength), linear between points, constant beyond them."""


@dataclass(frozen=True)
class Edit:
    """A slider: one named InterFaceGAN direction.

    Attributes:
        name: as `stitch edits` lists it.
        strength: on the calibrated range, usually -3 to 3; or points over time.
        raw: `strength` is the bare factor on the unit direction instead (paper's delta w).
    """

    name: str
    strength: float | Points
    raw: bool = False


@dataclass(frozen=True)
class Text:
    """A free-text edit: one StyleCLIP global direction.

    Attributes:
        target: what the face should be, e.g. "a face with glasses".
        neutral: what it is now.
        strength: on the same calibrated range as the sliders; or points over time.
        channels: how many style channels may move (the paper's beta is chosen to keep this many) ...
        beta: ... unless the threshold itself is given.
    """

    target: str
    neutral: str = "a face"
    strength: float | Points = 2.0
    channels: int | None = None
    beta: float | None = None


Origin = Literal["ours", "published", "yours"]
"""Who found a direction: Stitch's own training, on what a generator draws; others, who published it; or the user."""


@dataclass(frozen=True, eq=False)
class Direction:
    """A named direction in W.

    Attributes:
        vector: [D] float32, unit length; or [L,D] where layers differ, of unit length on average.
        unit: length in W of one step of the calibrated slider.
        description: what it does, for people.
        low, high: words for the two ends.
        group: heading under which doors show it.
        origin: who found it.
        adults_below: strengths below 0 are for grown-ups; a child's face stays as it is there.
        blocks_px: least and largest side of the features that it moves, in px; None moves all.
    """

    vector: Tensor
    unit: float
    description: str
    low: str = ""
    high: str = ""
    group: str = "face"
    origin: Origin = "ours"
    adults_below: bool = False
    blocks_px: tuple[int, int] | None = None


@dataclass(frozen=True, eq=False)
class Relevance:
    """What each channel of all convolutions does to a picture's CLIP embedding, in `Generator.layers` order.

    Attributes:
        rows: delta_i_c, [channels,K] float32, unit length (zero for a dead channel).
        std: [channels] std of each channel over random faces.
    """

    rows: Tensor
    std: Tensor


@dataclass(frozen=True, eq=False)
class StyleDirection:
    """A direction in StyleSpace.

    Attributes:
        shifts: one [C_l] float32 per synthesis layer (convolutions and toRGB; toRGB all zero).
        unit: factor of one step of the calibrated slider.
        channels: how many entries are not zero.
    """

    shifts: tuple[Tensor, ...]
    unit: float
    channels: int


@dataclass(frozen=True, eq=False)
class Regions:
    """Stage 5's masks for a batch, each [B,1,S,S] float32 in {0,1}: m_i, m_i^d and b_i."""

    mask: Tensor
    dilated_mask: Tensor
    boundary: Tensor


@dataclass(frozen=True, eq=False)
class Drawn:
    """What a method that keeps no run made of the faces of a clip.

    Attributes:
        crops: c_i, N of them.
        redrawn: each as the method draws it without an edit, [N,S,S,3] uint8.
        edited: each with the edit, [N,S,S,3] uint8.
    """

    crops: Crops
    redrawn: np.ndarray
    edited: np.ndarray


@dataclass(frozen=True, eq=False)
class FrameMeasures:
    """Measures of every frame with a face, N of them; each [N] float64 but `frames`, NaN where there is none.

    Attributes:
        frames: [N] int64, index in the trimmed clip.
        psnr_inversion_db, psnr_tuned_db: reconstruction by the generator as it was, of a frame in eight, and tuned.
        ring_naive, ring_stitched: difference to the source around the face before and after stitching, levels of 255.
        tl_id: R_ij with the frame before (section 4.2); NaN for the first.
        tg_id: R_ij with all other frames, their mean.
    """

    frames: np.ndarray
    psnr_inversion_db: np.ndarray
    psnr_tuned_db: np.ndarray
    ring_naive: np.ndarray
    ring_stitched: np.ndarray
    tl_id: np.ndarray
    tg_id: np.ndarray


@dataclass(frozen=True)
class EditResult:
    """What `edit_video` made.

    Attributes:
        path: the edited clip.
        info: the source.
        edited_frames: how many frames were changed.
        unedited_frames: indices left as they were (no face found).
        measures: named figures (psnr_inversion_db, psnr_tuned_db, boundary_ratio, tl_id, tg_id ...).
        per_frame: the same frame by frame.
    """

    path: Path
    info: ClipInfo
    edited_frames: int
    unedited_frames: tuple[int, ...] = ()
    measures: dict[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    per_frame: FrameMeasures | None = None
