"""Where the face is and how it gets into its crop and back (sections 3.1 and 3.4).

Coordinates are frame pixels (x to the right, y down) with pixel centres at integer + 0.5: the frame covers
[0,W] x [0,H], a crop [0,S] x [0,S]. Detectors that name a pixel by its index need + 0.5 first; the authors' code adds
it to the quads.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter1d

from stitch.core import images

Border = Literal["reflect", "black"]
Box = tuple[int, int, int, int]

REACH = 5
"""How far beyond a quad a crop reads, in shrunk pixels: Lanczos reaches 3, bilinear 1, and 1 to spare."""

REPEATED, STANDSTILL = 4, 1 / 8
"""How often a frame is shown again at most, and what share of a step nearby a face may move in a frame shown again."""


def quads_from_landmarks(landmarks: np.ndarray, scale: float = 1.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """FFHQ's oriented square around each face, as centre and half axes (section 3.1; Karras et al. 2019, appendix C).

    Args:
        landmarks: [T,68,2] (iBUG order) or [T,5,2] (eyes, nose, mouth corners; left in the picture first) in frame px;
            rows of NaN stay NaN.
        scale: size of the square against FFHQ's.
    Returns:
        c, x, y, each [T,2] float64 px; `corners` makes quads of them.
    Raises:
        ValueError: another number of points, or eyes and mouth of a face in one place.
    """
    points = np.asarray(landmarks, dtype=np.float64)
    if points.ndim != 3 or points.shape[1:] not in ((5, 2), (68, 2)):
        raise ValueError(f"landmarks: got shape {points.shape}, expected [T,5,2] or [T,68,2]")
    left, right = eyes(points)
    corner, other = (48, 54) if points.shape[1] == 68 else (3, 4)
    mouth = (points[:, corner] + points[:, other]) / 2
    eye = (left + right) / 2
    eye_to_eye, eye_to_mouth = right - left, mouth - eye
    x = eye_to_eye - _quarter_turn(eye_to_mouth)
    length = np.hypot(*x.T)
    if (length == 0).any():
        raise ValueError("landmarks: got eyes and mouth in one place, expected a face")
    half_side = np.maximum(2.0 * np.hypot(*eye_to_eye.T), 1.8 * np.hypot(*eye_to_mouth.T)) * scale
    x = x / length[:, None] * half_side[:, None]
    return eye + 0.1 * eye_to_mouth, x, _quarter_turn(x)


def eyes(landmarks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The middle of each eye, the one on the left of the picture first.

    Args:
        landmarks: as of `quads_from_landmarks`.
    Returns:
        [T,2] twice, px; NaN where the landmarks are.
    """
    if landmarks.shape[1] == 68:
        return landmarks[:, 36:42].mean(1), landmarks[:, 42:48].mean(1)
    return landmarks[:, 0], landmarks[:, 1]


def nose_offset(landmarks: np.ndarray) -> np.ndarray:
    """How far a head is turned aside, as its landmarks show it: the nose's way from the middle between the eyes, along
    their line, in distances of the eyes.

    Args:
        landmarks: as of `quads_from_landmarks`.
    Returns:
        [T] float64: 0 from the front, 0.5 where the nose stands before one eye, to the right in the picture; NaN where
        the landmarks are.
    """
    points = np.asarray(landmarks, dtype=np.float64)
    left, right = eyes(points)
    nose = points[:, 30 if points.shape[1] == 68 else 2]
    apart = right - left
    return ((nose - (left + right) / 2) * apart).sum(1) / np.maximum((apart**2).sum(1), 1e-9)


def corners(c: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Quads of centres and half axes.

    Args:
        c, x, y: [...,2].
    Returns:
        [...,4,2]: upper left, lower left, lower right, upper right.
    """
    return np.stack([c - x - y, c - x + y, c + x + y, c + x - y], axis=-2)


def runs(usable: np.ndarray, shots: np.ndarray) -> list[slice]:
    """Stretches of frames that time may be smoothed over: usable without a gap, and within one shot.

    Args:
        usable: [T] bool.
        shots: [T], number of each frame's shot.
    Returns:
        Slices into [0,T), in order.
    """
    edges = np.flatnonzero((np.diff(usable) != 0) | (np.diff(shots) != 0)) + 1
    bounds = [0, *edges.tolist(), len(usable)]
    return [slice(start, end) for start, end in zip(bounds, bounds[1:], strict=False) if start < end and usable[start]]


def repeats(landmarks: np.ndarray, stretches: list[slice]) -> np.ndarray:
    """Frames whose face stands still amid frames in which it moves (ours).

    Clips brought from one frame rate to another are full of them: the frame before was shown once more. Smoothed as if
    it were a moment of its own, it holds the crop back while the face goes on.

    Args:
        landmarks: [T,P,2] frame px.
        stretches: from `runs`.
    Returns:
        [T] bool; False outside of the stretches and for the first frame of each.
    """
    repeated = np.zeros(len(landmarks), dtype=bool)
    for stretch in stretches:
        steps = np.diff(landmarks[stretch].mean(1), axis=0)
        lengths = np.hypot(*steps.T)
        for step in range(len(steps)):
            near = slice(max(0, step - REPEATED), step + REPEATED + 1)
            moving = near.start + np.flatnonzero(lengths[near] * STANDSTILL > lengths[step])
            before, after = moving[moving < step], moving[moving > step]
            # A face that turns back stands still for a moment too.
            turns = len(before) and len(after) and steps[before[-1]] @ steps[after[0]] <= 0
            repeated[stretch.start + step + 1] = len(moving) and not turns
    return repeated


def smooth(
    values: np.ndarray, sigma_frames: float, stretches: list[slice], repeated: np.ndarray | None = None
) -> np.ndarray:
    """Gaussian low-pass over time (section 3.1), never across the ends of a stretch.

    Each stretch is reflected at its ends and the kernel ends at 4 sigma, as in the authors' code. A frame and those
    that repeat it count as one, and the kernel has the same length in seconds.

    Args:
        values: [T,K] float64.
        sigma_frames: >= 0; 0 changes nothing.
        stretches: from `runs`; other frames are copied.
        repeated: [T] bool from `repeats`; None for none.
    Returns:
        [T,K] float64.
    Raises:
        ValueError: sigma is negative.
    """
    if sigma_frames < 0:
        raise ValueError(f"sigma_frames: got {sigma_frames}, expected >= 0")
    smoothed = np.array(values, dtype=np.float64)
    if sigma_frames > 0:
        repeated = np.zeros(len(smoothed), dtype=bool) if repeated is None else repeated
        for stretch in stretches:
            new = np.flatnonzero(~repeated[stretch])
            counts = np.diff(new, append=stretch.stop - stretch.start)
            means = np.add.reduceat(smoothed[stretch], new) / counts[:, None]
            sigma = sigma_frames * len(new) / counts.sum()
            low = gaussian_filter1d(means, sigma, axis=0, mode="reflect", truncate=4.0)
            smoothed[stretch] = np.repeat(low, counts, axis=0)
    return smoothed


def homography(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Perspective transform that takes four points to four points.

    Args:
        source, target: [4,2].
    Returns:
        [3,3] float64, lower right entry 1; its first eight numbers are the coefficients of Pillow's perspective
        transform (there `source` is where the result's pixels are and `target` where they are read).
    Raises:
        ValueError: three of the points are in line.
    """
    zero, one = np.zeros((4, 3)), np.ones((4, 1))
    points, goals = np.hstack([source, one]), np.asarray(target, dtype=np.float64)
    rows_x = np.hstack([points, zero, -goals[:, :1] * points[:, :2]])
    rows_y = np.hstack([zero, points, -goals[:, 1:] * points[:, :2]])
    try:
        coefficients = np.linalg.solve(np.vstack([rows_x, rows_y]), goals.T.ravel())
    except np.linalg.LinAlgError as error:
        raise ValueError(f"points: got {np.asarray(source).tolist()}, expected four corners") from error
    return np.append(coefficients, 1.0).reshape(3, 3)


def quad_transform(quad: np.ndarray, size: int) -> np.ndarray:
    """crop_to_frame: transform from a crop's coordinates to the frame's. Its inverse is frame_to_crop.

    Args:
        quad: [4,2] frame px.
        size: S, the crop's side in px.
    Returns:
        [3,3] float64.
    Raises:
        ValueError: the quad has no area.
    """
    return homography(_rectangle(size, size), quad)


def transform_points(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Apply a [3,3] transform to points.

    Args:
        matrix: e.g. `quad_transform`'s.
        points: [...,2].
    Returns:
        [...,2] float64.
    """
    moved = points @ matrix[:, :2].T + matrix[:, 2]
    return moved[..., :2] / moved[..., 2:]


def side_px(quad: np.ndarray) -> float:
    """Side of a quad in frame px: its diagonal over the square root of 2, as the authors' code measures it."""
    return float(np.hypot(*(quad[3] - quad[1]))) / np.sqrt(2)


def crop_size(quads: np.ndarray, sizes: Sequence[int]) -> int:
    """Side of the crops of one clip, for a generator that can be drawn at several: no detail lost, no time wasted.

    Args:
        quads: [T,4,2] frame px; NaN where there is no face.
        sizes: that the generator can be drawn at, px, at least one.
    Returns:
        The smallest size that is not below the face's own in any frame, or the largest there is.
    Raises:
        ValueError: no quad is finite.
    """
    sides = [side_px(quad) for quad in quads if np.isfinite(quad).all()]
    if not sides:
        raise ValueError(f"quads: got {len(quads)} without a face, expected one at least")
    largest = round(max(sides), 3)  # a turned square's side is off in its last digits
    return min((size for size in sizes if size >= largest), default=max(sizes))


def shrink_factor(source_side: float, target_side: float) -> int:
    """By what whole factor a picture is shrunk before it is sampled bilinearly.

    As in the authors' code, which halves the ratio of the quad's diagonal to the output: from 2.83 times its side on.

    Args:
        source_side, target_side: px.
    Returns:
        >= 1.
    """
    return max(1, int(np.floor(source_side * np.sqrt(2) / target_side * 0.5)))


def sample_crop(frame: np.ndarray, quad: np.ndarray, size: int, border: Border = "reflect") -> np.ndarray:
    """Cut one aligned face c_i out of its frame (section 3.1).

    Much too large faces are shrunk with a Lanczos filter first, then sampled bilinearly at pixel centres. Only the
    surroundings of the quad are read. As in the authors' code the sampling is Pillow's, which rounds down: a crop is
    darker than its frame by about half a level of 255 on average.

    Args:
        frame: [H,W,3] uint8.
        quad: [4,2] frame px.
        size: S in px.
        border: beyond the frame, its reflection (FFHQ), or black (the authors' video programs).
    Returns:
        [S,S,3] uint8.
    Raises:
        ValueError: quad is not finite.
    """
    if not np.isfinite(quad).all():
        raise ValueError(f"quad: got {np.asarray(quad).tolist()}, expected finite corners")
    factor = shrink_factor(side_px(quad), size)
    limits = np.array(frame.shape[1::-1])
    low = (np.floor(quad.min(0) / factor).astype(int) - REACH) * factor  # whole blocks of the shrunk picture
    high = (np.ceil(quad.max(0) / factor).astype(int) + REACH) * factor
    if border == "black":
        low, high = np.maximum(low, 0), np.minimum(high, limits)
        if (low >= high).any():
            return np.zeros((size, size, 3), np.uint8)
    region = images.shrink(_region(frame, low, high), factor)
    exact_factor = (high - low) / np.array(region.shape[1::-1])
    data = ((quad - low) / exact_factor).ravel().tolist()
    crop = Image.fromarray(region).transform((size, size), Image.Transform.QUAD, data, Image.Resampling.BILINEAR)
    return np.array(crop)


def frame_box(quad: np.ndarray, height: int, width: int) -> Box | None:
    """Smallest whole-pixel rectangle of the frame around a quad.

    Args:
        quad: [4,2] frame px.
        height, width: of the frame.
    Returns:
        x0, y0, x1, y1 (ends excluded) within the frame, or None when the quad is wholly outside.
    """
    x0, y0 = np.maximum(np.floor(quad.min(0)).astype(int), 0).tolist()
    x1, y1 = np.minimum(np.ceil(quad.max(0)).astype(int), (width, height)).tolist()
    return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None


def warp_tile(tile: np.ndarray, quad: np.ndarray, box: Box, nearest: bool = False) -> np.ndarray:
    """Inverse of the alignment: a tile as it lies in the frame (section 3.4).

    Args:
        tile: [h,w], [h,w,3] or [h,w,4] uint8; a fourth channel is transparency and weighs the colours.
        quad: [4,2] frame px, where the tile's corners go.
        box: part of the frame to make, x0, y0, x1, y1.
        nearest: read single pixels of the tile instead of interpolating.
    Returns:
        [y1-y0, x1-x0, ...] uint8, zero where the tile does not reach.
    """
    x0, y0, x1, y1 = box
    frame_to_tile = homography(quad - (x0, y0), _rectangle(*tile.shape[:2]))
    warped = Image.fromarray(tile).transform(
        (x1 - x0, y1 - y0),
        Image.Transform.PERSPECTIVE,
        frame_to_tile.ravel()[:8].tolist(),
        Image.Resampling.NEAREST if nearest else Image.Resampling.BILINEAR,
    )
    return np.array(warped)


def warp_mask(mask: np.ndarray, quad: np.ndarray, height: int, width: int) -> np.ndarray:
    """The frame's pixels whose centre lies in a pixel of the mask: all that a paste with this mask may change.

    Args:
        mask: m_i^d, [S,S], set where above one half.
        quad: [4,2] frame px.
        height, width: of the frame.
    Returns:
        [H,W] bool.
    """
    warped = np.zeros((height, width), dtype=bool)
    box = frame_box(quad, height, width)
    if box is not None:
        x0, y0, x1, y1 = box
        warped[y0:y1, x0:x1] = warp_tile((mask > 0.5).astype(np.uint8), quad, box, nearest=True) > 0
    return warped


def _quarter_turn(vectors: np.ndarray) -> np.ndarray:
    return vectors[:, ::-1] * (-1.0, 1.0)


def _rectangle(height: int, width: int) -> np.ndarray:
    return np.array([(0, 0), (0, height), (width, height), (width, 0)], dtype=np.float64)


def _region(frame: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    columns, rows = (
        _reflected(start, end, limit) for start, end, limit in zip(low, high, frame.shape[1::-1], strict=True)
    )
    return np.ascontiguousarray(frame[rows][:, columns])


def _reflected(start: int, end: int, limit: int) -> slice | np.ndarray:
    if 0 <= start and end <= limit:
        return slice(start, end)
    period = max(2 * (limit - 1), 1)
    position = np.mod(np.arange(start, end), period)
    return np.minimum(position, period - position) if limit > 1 else np.zeros(end - start, int)
