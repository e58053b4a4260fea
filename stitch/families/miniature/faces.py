"""Drawn faces with their truth: picture, label map, landmarks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stitch.families.miniature.appearance import (
    ATTRIBUTES,
    BACKDROP,
    EXPRESSION,
    FACTORS,
    IDENTITY,
    LIGHT,
    POSE,
    Z_DIM,
    Appearance,
    appearance_of,
    factors_from_z,
)
from stitch.families.miniature.brushes import GRAIN, STRANDS
from stitch.families.miniature.features import brow, lids, lips
from stitch.families.miniature.mesh import CAP, Mesh, layers, rotation, turn
from stitch.families.miniature.raster import rasterise
from stitch.families.miniature.shading import compose, develop, gradient
from stitch.families.miniature.surface import front, slices

__all__ = [
    "ATTRIBUTES", "BACKDROP", "EXPRESSION", "FACTORS", "IDENTITY", "LIGHT", "POSE", "Z_DIM", "Drawing",
    "crop_placement", "draw", "factors_from_z", "landmarks",
]

_BALL_RADIUS = 0.215


@dataclass(frozen=True, eq=False)
class Drawing:
    """A drawn face and its truth.

    image: uint8 [H,W,3] RGB. labels: uint8 [H,W], the 19 classes of face-parsing.PyTorch; "l_" is the image's left.
    landmarks: float32 [68,2] px, iBUG order, pixel centres at integer + 0.5. coverage: float32 [H,W], the person's
    alpha against the backdrop.
    """

    image: np.ndarray
    labels: np.ndarray
    landmarks: np.ndarray
    coverage: np.ndarray


def _placement(placement: np.ndarray) -> np.ndarray:
    placement = np.asarray(placement, np.float64)
    if placement.shape != (2, 3):
        raise ValueError(f"placement: got shape {placement.shape}, expected (2, 3)")
    if not np.isfinite(placement).all() or abs(np.linalg.det(placement[:, :2])) < 1e-12:
        raise ValueError(f"placement: got {placement.tolist()}, expected a finite map that can be inverted")
    return placement


def _points(look: Appearance) -> np.ndarray:
    """[68,3] landmarks in head units before the turn, iBUG order."""
    # brows, eyes and lips lie on the curves that the paint uses
    p = np.array([0.97, 0.75, 0.5, 0.25, 0.02])
    brow_x = look.eye_x - 0.215 + 0.415 * p
    brow_y = np.array([brow(v, look)[0] - 0.5 * brow(v, look)[1] for v in p])
    left_brow = np.stack([-brow_x, brow_y], -1)
    right_brow = np.stack([brow_x, brow_y], -1)[::-1]
    third = 0.36
    upper = [lids(v, look) for v in (third, -third)]
    end_y = [lids(v, look)[0] for v in (1.0, -1.0)]
    eye = np.array([
        (1.0, end_y[0]), (third, upper[0][0]), (-third, upper[1][0]), (-1.0, end_y[1]), (-third, upper[1][1]),
        (third, upper[0][1]),
    ])
    eye_x = look.eye_x + look.eye_w * eye[:, 0]
    left_eye = np.stack([-eye_x, eye[:, 1]], -1)
    right_eye = np.stack([eye_x, eye[:, 1]], -1)[[3, 2, 1, 0, 5, 4]]
    outer_s = np.array([-1.0, -0.62, -0.26, 0.0, 0.26, 0.62, 1.0, 0.62, 0.26, 0.0, -0.26, -0.62])
    outer = np.array([
        (s * look.mouth_w, lips(s, look)[0 if k <= 6 else 3]) for k, s in enumerate(outer_s)
    ])
    inner_s = np.array([-0.84, -0.34, 0.0, 0.34, 0.84, 0.34, 0.0, -0.34])
    inner = np.array([(s * look.mouth_w, lips(s, look)[1 if k <= 4 else 2]) for k, s in enumerate(inner_s)])
    tip, wing = look.nose_tip, look.nose_w
    nose = np.array(
        [(0.0, -0.03 + (tip + 0.03) * t) for t in (0.0, 0.34, 0.67, 1.0)]
        + [(wing * a, tip + d) for a, d in ((-0.9, 0.105), (-0.45, 0.118), (0.0, 0.130), (0.45, 0.118), (0.9, 0.105))]
    )
    faced = front(look, np.concatenate([left_brow, right_brow, nose, left_eye, right_eye, outer, inner]))
    # the jaw: the widest line of the slices, from the ear down to the chin
    rows = slices(look)
    heights = np.array([0.0, 0.20, 0.42, 0.62, 0.80, 0.94, 1.04, 1.105, 1.125]) * look.lower
    width, widest, high = (np.interp(heights, rows[:, 0], rows[:, k]) for k in (1, 3, 2))
    share = np.array([1.0, 1.0, 1.0, 0.985, 0.96, 0.90, 0.78, 0.52, 0.0])
    from_middle = np.sqrt(np.clip(1 - share**2, 0, 1))
    side = np.stack([share * width, heights, widest + (high - widest) * from_middle], -1)
    side[:, 1] += look.drop * np.clip((heights - 0.35) / 0.5, 0, 1) ** 2
    side[-1, 2] += 0.05
    jaw = np.concatenate([side * (-1, 1, 1), side[-2::-1]])
    return np.concatenate([jaw, faced])


def landmarks(factors: np.ndarray, placement: np.ndarray) -> np.ndarray:
    """The 68 landmarks without drawing.

    Args:
        factors: [len(FACTORS)] standard units.
        placement: [2,3] affine map, head units -> px.
    Returns:
        [68,2] float32 px.
    Raises:
        ValueError: wrong shapes.
    """
    placement = _placement(placement)
    look = appearance_of(factors)
    return _project(turn(look, _points(look)), placement).astype(np.float32)


def _project(view: np.ndarray, placement: np.ndarray) -> np.ndarray:
    return view[:, :2] @ placement[:, :2].T + placement[:, 2]


def crop_placement(factors: np.ndarray, size: int) -> np.ndarray:
    """The placement whose picture is the face's FFHQ crop (Stage 1: quad from eyes and mouth corners, scale 1).

    Args:
        factors: [len(FACTORS)] standard units.
        size: S, side of the crop in px, > 0.
    Returns:
        [2,3] float64: head units -> crop px, the quad's corners falling on the crop's.
    Raises:
        ValueError: wrong shape or size.
    """
    if size <= 0:
        raise ValueError(f"size: got {size}, expected a positive number of pixels")
    look = appearance_of(factors)
    points = turn(look, _points(look))[:, :2]
    left, right = points[36:42].mean(0), points[42:48].mean(0)
    eye_to_eye = right - left
    eye = (left + right) / 2
    eye_to_mouth = (points[48] + points[54]) / 2 - eye
    x = eye_to_eye - eye_to_mouth[::-1] * (-1, 1)
    x /= np.hypot(*x)
    x *= max(2.0 * np.hypot(*eye_to_eye), 1.8 * np.hypot(*eye_to_mouth))
    y = x[::-1] * (-1, 1)
    centre = eye + 0.1 * eye_to_mouth
    # head = corner + crop_x * (2x / S) + crop_y * (2y / S), inverted
    to_head = np.stack([2 * x, 2 * y], axis=1) / size
    inverse = np.linalg.inv(to_head)
    return np.concatenate([inverse, -(inverse @ (centre - x - y))[:, None]], axis=1)


def _seen(
    mesh: Mesh, placement: np.ndarray, height: int, width: int, only: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    triangles = mesh.triangles if only is None else mesh.triangles[only]
    return rasterise(_project(mesh.view, placement), mesh.view[:, 2], triangles, height, width)


def draw(
    factors: np.ndarray,
    size: tuple[int, int],
    placement: np.ndarray,
    backdrop: np.ndarray | None = None,
    supersample: int = 2,
) -> Drawing:
    """Draw a face.

    Args:
        factors: [len(FACTORS)] standard units.
        size: width, height in px.
        placement: [2,3] affine map, head units -> px.
        backdrop: uint8 [H,W,3] RGB put behind the person; the factors' gradient if None.
        supersample: each pixel averages this many samples squared, >= 1.
    Returns:
        The drawing and its truth; the same bytes for the same arguments.
    Raises:
        ValueError: wrong shapes or sizes.
    """
    placement = _placement(placement)
    width, height = int(size[0]), int(size[1])
    if width <= 0 or height <= 0 or supersample < 1:
        raise ValueError(f"size, supersample: got {size}, {supersample}, expected positive numbers")
    look = appearance_of(factors)
    wide, high = width * supersample, height * supersample
    if backdrop is None:
        behind = gradient(height, width, look.back_a, look.back_b, look.back_dir)
    else:
        if backdrop.shape != (height, width, 3) or backdrop.dtype != np.uint8:
            raise ValueError(
                f"backdrop: got {backdrop.dtype} {backdrop.shape}, expected uint8 {(height, width, 3)}"
            )
        behind = _LINEAR[backdrop]
    body, hair, glasses = layers(look)
    fine = placement * supersample
    seen_body = _seen(body, fine, high, wide)
    is_cap = hair.part == CAP
    seen_cap = _seen(hair, fine, high, wide, is_cap)
    seen_curtain = _seen(hair, fine, high, wide, ~is_cap)
    seen_glasses = seen_body if glasses is None else _seen(glasses, fine, high, wide)
    worn = body if glasses is None else glasses
    middles = front(look, np.array([(-look.eye_x, 0.0), (look.eye_x, 0.0)])) - (0.0, 0.0, _BALL_RADIUS - 0.035)
    head_turn = rotation(look.yaw, look.pitch, look.roll)
    sight = np.array([np.sin(look.gaze_x), np.sin(look.gaze_y), 1.0])
    sight = head_turn @ (sight / np.linalg.norm(sight))
    linear, coverage, labels = compose(
        (seen_body, seen_cap, seen_curtain, seen_glasses),
        (body.head, body.view, body.normal, body.uv, body.triangles, body.part),
        (hair.head, hair.view, hair.normal, hair.uv, hair.triangles[is_cap], hair.triangles[~is_cap]),
        (worn.normal, worn.uv, worn.triangles, worn.part, float(look.glasses if glasses is not None else 0.0)),
        (turn(look, middles), _BALL_RADIUS, sight),
        look,
        (head_turn, behind, GRAIN, STRANDS),
    )
    image, alpha, classes = develop(linear, coverage, labels, behind, supersample)
    points = _project(turn(look, _points(look)), placement).astype(np.float32)
    return Drawing(image, classes, points, alpha)


def _undeveloped() -> np.ndarray:
    """[256] linear light that `develop` turns back into each 8-bit value, so that a given backdrop stays as it is."""
    shown = np.minimum((np.arange(256) / 255.0) ** 2.2, 0.998)
    return (-np.log(1.0 - shown) / 1.35).astype(np.float32)


_LINEAR = _undeveloped()
