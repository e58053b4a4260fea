"""Triangles of one person: head, ears, neck, cloth, hair and glasses."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.interpolate import PchipInterpolator

from stitch.families.miniature.appearance import Appearance
from stitch.families.miniature.brushes import smooth
from stitch.families.miniature.surface import front, head_grid

HEAD, EAR, NECK, CLOTH, CAP, CURTAIN, RIM, LENS = range(1, 9)

PIVOT = np.array([0.0, 0.75, -0.15])  # the head turns about the top of the neck


@dataclass(frozen=True, eq=False)
class Mesh:
    """One layer of triangles.

    head: [V,3] float64 head units before the turn, where paint is looked up. view: [V,3] after it. normal: [V,3] unit,
    after it. uv: [V,2] part's own coordinates. triangles: [T,3] int32. part: [T] uint8.
    """

    head: np.ndarray
    view: np.ndarray
    normal: np.ndarray
    uv: np.ndarray
    triangles: np.ndarray
    part: np.ndarray


@dataclass(frozen=True, eq=False)
class _Grid:
    points: np.ndarray  # [R,C,3]
    follow: np.ndarray  # [R,C] share of the head's turn
    uv: np.ndarray  # [R,C,2]
    part: int
    closed: bool  # columns wrap around
    keep: np.ndarray | None = None  # [R,C] bool: draw a cell when any corner is kept
    paint: np.ndarray | None = None  # [R,C,3] where the paint is looked up, if not at the points


@lru_cache(maxsize=64)
def _cells(rows: int, columns: int, closed: bool) -> np.ndarray:
    index = np.arange(rows * columns).reshape(rows, columns)
    if closed:
        index = np.concatenate([index, index[:, :1]], axis=1)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
    return np.stack([np.stack([a, b, c], -1), np.stack([b, d, c], -1)], 2).reshape(-1, 3).astype(np.int32)


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.stack([
        a[..., 1] * b[..., 2] - a[..., 2] * b[..., 1],
        a[..., 2] * b[..., 0] - a[..., 0] * b[..., 2],
        a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0],
    ], axis=-1)


def _normals(points: np.ndarray, closed: bool) -> np.ndarray:
    if closed:
        across = np.roll(points, -1, axis=1) - np.roll(points, 1, axis=1)
    else:
        across = np.empty_like(points)
        across[:, 1:-1] = points[:, 2:] - points[:, :-2]
        across[:, 0], across[:, -1] = points[:, 1] - points[:, 0], points[:, -1] - points[:, -2]
    down = np.empty_like(points)
    down[1:-1] = points[2:] - points[:-2]
    down[0], down[-1] = points[1] - points[0], points[-1] - points[-2]
    normal = _cross(across, down)
    return normal / np.sqrt((normal * normal).sum(-1, keepdims=True) + 1e-18)


def rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """[3,3] turn: yaw > 0 to the image's right, pitch > 0 down, roll > 0 clockwise; radians; yaw is applied first."""
    cy, sy, cp, sp, cr, sr = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch), np.cos(roll), np.sin(roll)
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_x = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
    about_z = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return about_z @ about_x @ about_y


def turn(look: Appearance, points: np.ndarray, follow: np.ndarray | float = 1.0) -> np.ndarray:
    """Points of the head in view space.

    Args:
        look: the person.
        points: [...,3] head units.
        follow: [...] share of the head's turn; the shoulders keep a third of it.
    Returns:
        [...,3]
    """
    head = rotation(look.yaw, look.pitch, look.roll)
    body = rotation(0.30 * look.yaw, 0.12 * look.pitch, 0.15 * look.roll)
    local = points - PIVOT
    follow = np.asarray(follow)[..., None]
    return follow * (local @ head.T) + (1 - follow) * (local @ body.T) + PIVOT


def _join(look: Appearance, grids: list[_Grid]) -> Mesh:
    heads, views, normals, uvs, triangles, parts = [], [], [], [], [], []
    start = 0
    for grid in grids:
        rows, columns = grid.points.shape[:2]
        view = turn(look, grid.points, grid.follow)
        cells = _cells(rows, columns, grid.closed)
        if grid.keep is not None:
            cells = cells[grid.keep.reshape(-1)[cells].any(axis=1)]
        heads.append((grid.points if grid.paint is None else grid.paint).reshape(-1, 3))
        views.append(view.reshape(-1, 3))
        normals.append(_normals(view, grid.closed).reshape(-1, 3))
        uvs.append(grid.uv.reshape(-1, 2))
        triangles.append(cells + start)
        parts.append(np.full(len(cells), grid.part, np.uint8))
        start += rows * columns
    return Mesh(*(np.concatenate(part) for part in (heads, views, normals, uvs, triangles, parts)))


def _columns(count: int, gather: float) -> np.ndarray:
    phi = np.linspace(-np.pi, np.pi, count, endpoint=False)
    return phi - gather * np.sin(phi)


_HEAD_THETA = _columns(132, 0.55)
_CLOTH_ROWS = np.linspace(0, 10, 41)


def _ear(look: Appearance, side: int) -> _Grid:
    radius = np.concatenate([np.linspace(0.0, 1.0, 13), [1.06, 1.0, 0.7]])[:, None]
    angle = np.linspace(-np.pi, np.pi, 28, endpoint=False)[None] * side
    back = np.arange(16)[:, None] >= 14
    a = radius * np.cos(angle)
    b = radius * np.sin(angle)
    width = 0.155 * (1 - 0.22 * smooth(b)) * (1 + 0.10 * smooth(-b))
    rise = 0.075 + 0.05 * np.exp(-(((radius - 0.86) / 0.13) ** 2)) - 0.085 * np.exp(-((radius / 0.52) ** 2))
    rise = rise + 0.028 * np.exp(-(((a + 0.10) / 0.2) ** 2 + ((b + 0.25) / 0.4) ** 2))
    rise = np.where(back, -0.05, rise) + 0 * a
    lean = 0.42
    along = (a * width + 0.10) * 0.92 * look.ear
    up = 0.245 * b * look.ear + 0.05 * a
    anchor = 0.700 * look.width
    x = side * (anchor + along * np.sin(lean) + rise * np.cos(lean))
    z = -0.02 - along * np.cos(lean) + rise * np.sin(lean)
    y = 0.17 * look.lower + up
    points = np.stack([x, y, z], -1)
    uv = np.stack([np.broadcast_to(radius, a.shape), b + 0 * a], -1)
    return _Grid(points, np.ones(a.shape), uv, EAR, True)


def _loft(y: np.ndarray, rx: np.ndarray, rz: np.ndarray, z: np.ndarray, theta: np.ndarray) -> np.ndarray:
    shape = (len(y), len(theta))
    x = rx[:, None] * np.sin(theta)
    depth = z[:, None] + rz[:, None] * np.cos(theta)
    return np.stack([x, np.broadcast_to(y[:, None], shape), depth], -1)


def _neck(look: Appearance) -> _Grid:
    theta = _columns(48, 0.2)
    y = np.linspace(0.45, 2.35, 34)
    width = 0.40 + 0.075 * look.masculine
    low = np.clip(y - 1.32, 0, None)
    points = _loft(y, width + 0.75 * low**1.6, 0.40 + 0.03 * look.masculine + 0.12 * low, -0.10 - 0.10 * (y - 0.45),
                   theta)
    follow = np.broadcast_to((1 - smooth((y - 0.75) / 0.95))[:, None], points.shape[:2])
    return _Grid(points, follow, points[..., :2].copy(), NECK, True)


def _cloth(look: Appearance) -> _Grid:
    theta = _columns(72, 0.0)
    table = np.array([
        # y, rx, rz
        (1.46, 0.555, 0.440), (1.42, 0.585, 0.475), (1.46, 0.64, 0.50), (1.54, 0.86, 0.53), (1.64, 1.16, 0.56),
        (1.78, 1.42, 0.59), (2.01, 1.60, 0.63), (2.36, 1.70, 0.68), (3.06, 1.76, 0.74), (4.36, 1.80, 0.8),
        (8.86, 1.85, 0.85),
    ])
    rows = PchipInterpolator(np.arange(len(table)), table)(_CLOTH_ROWS)
    rows[:, 1] *= 0.93 + 0.12 * look.masculine
    rows[:, 1] += 0.03
    points = _loft(rows[:, 0], rows[:, 1], rows[:, 2], np.full(len(rows), -0.22), theta)
    down = _CLOTH_ROWS[:, None]
    collar = np.exp(-(((down - 0.8) / 2.2) ** 2))
    points[..., 1] += collar * 0.20 * np.clip(np.cos(theta), 0, 1) ** 2
    points[..., 1] -= collar * 0.10 * np.clip(-np.cos(theta), 0, 1)
    uv = np.stack([np.broadcast_to(theta, points.shape[:2]), np.broadcast_to(down, points.shape[:2])], -1)
    return _Grid(points, np.zeros(points.shape[:2]), uv, CLOTH, True)


_EDGE_ANGLE = np.linspace(0, np.pi, 200)


def _hairline(look: Appearance, azimuth: np.ndarray) -> np.ndarray:
    """y of the cap's edge by azimuth (0 in front, signed)."""
    f, o = look.hair_front, look.hair_over
    knots = np.array([
        (0.0, f), (0.45, f + 0.06 - 0.05 * look.masculine), (0.80, f + 0.22), (1.00, f + 0.44),
        (1.14, -0.10 + 0.08 * look.masculine + 0.30 * o), (1.30, 0.02 + 0.12 * look.masculine + 0.52 * o),
        (1.50, -0.02 + 0.60 * o), (1.66, -0.14 + 0.74 * o), (1.86, 0.06 + 0.54 * o), (2.1, 0.46 + 0.16 * o),
        (2.5, 0.62), (3.2, 0.64),
    ])
    line = np.interp(_EDGE_ANGLE, knots[:, 0], knots[:, 1])
    kernel = np.hanning(17)
    line = np.convolve(np.pad(line, 8, mode="edge"), kernel / kernel.sum(), mode="valid")
    edge = np.interp(np.abs(azimuth), _EDGE_ANGLE, line)
    # the fringe opens at the parting and hangs lower on the side it is combed to
    swept = 1.0 - 2.8 * look.part * np.tanh(2.5 * azimuth)
    gap = 1.0 - 0.45 * np.exp(-(((azimuth - 1.1 * look.part) / 0.15) ** 2))
    return edge + look.fringe * swept * gap * np.exp(-(np.abs(azimuth / 0.66) ** 2.6))


def _cap(look: Appearance, bare: np.ndarray, posed: np.ndarray) -> _Grid:
    rows = int(np.searchsorted(bare[:, 0, 1], 0.72))
    base = posed[:rows].copy()
    base[..., 1] = bare[:rows, :, 1]
    normal = _normals(bare[: rows + 1], True)[:rows]
    azimuth = np.arctan2(bare[:rows, :, 0], bare[:rows, :, 2] + 0.10)
    inside = _hairline(look, azimuth) - bare[:rows, :, 1]
    top = np.clip(-normal[..., 1], 0, 1)
    parting = np.exp(-(((bare[:rows, :, 0] - look.part) / 0.07) ** 2)) * smooth((bare[:rows, :, 2] + 0.2) / 0.4) * top
    thick = look.hair_t * (0.62 + 0.55 * top) * (1 - 0.30 * parting)
    # long hair is combed over the ears
    over_ear = np.exp(-(((np.abs(azimuth) - 1.62) / 0.42) ** 2)) * smooth((bare[:rows, :, 1] + 0.50) / 0.45)
    # hair combed forward hugs the forehead, hair combed back stands up from it
    thick = 0.014 + (thick + 0.165 * look.hair_over * over_ear) * smooth(inside / (0.24 + 0.30 * look.sweep))
    points = base + normal * thick[..., None]
    uv = np.stack([inside, parting], -1)
    return _Grid(points, np.ones(inside.shape), uv, CAP, True, inside > -0.12)


def _curtain(look: Appearance) -> _Grid:
    """Long hair: a sheet around the back of the head that falls to `hair_end`; its edges lie beside the face."""
    open_at = 1.75 - 0.70 * look.hair_over  # azimuth of the front edges
    s = np.linspace(-1, 1, 61)
    theta = np.pi + s * (np.pi - open_at)
    end = max(look.hair_end, -0.25) + 0.12
    t = np.linspace(0, 1, 36)[:, None]
    y = -0.62 + (end + 0.62) * t
    below = np.clip(y - 0.1, 0, None)
    fall = smooth((y + 0.62) / 0.75)
    side = np.abs(s)[None]
    rx = (0.715 + 0.62 * look.hair_t) * look.width + (0.045 + 0.25 * look.hair_t + 0.165 * look.hair_over) * fall
    rx = rx - 0.10 * smooth(below / 2.2)
    rx = rx + 0.028 * np.sin(4.6 * y + 1.0) * smooth(below / 0.6) * (0.4 + side)
    rz = 0.90 + 0.5 * look.hair_t - 0.22 * smooth(below / 1.0)
    centre = -0.10 - 0.05 * fall + 0.12 * side**3 * smooth(below / 1.2)
    x = rx * np.sin(theta)
    z = centre + rz * np.where(np.cos(theta) > 0, 0.72, 1.0) * np.cos(theta)
    points = np.stack([x, np.broadcast_to(y, x.shape), z], -1)
    tip = look.hair_end - y + 0.05 * np.cos(5.0 * s)[None]
    edge = (1 - side) * 2.2 + 0.02 + 0.06 * smooth((y + 0.2) / 0.4)
    top = (y + 0.66) * 3.0
    uv = np.stack([np.minimum(np.minimum(tip, edge), top), s[None] + 0 * y], -1)
    follow = np.broadcast_to(1 - 0.75 * smooth((y - 0.75) / 1.1), x.shape)
    return _Grid(points, follow, uv, CURTAIN, False, uv[..., 0] > -0.12)


def _tube(path: np.ndarray, radius: float, tall: float, closed: bool) -> np.ndarray:
    """[S,6,3] tube around a path [S,3]; `tall` stretches it in y."""
    if closed:
        along = np.roll(path, -1, 0) - np.roll(path, 1, 0)
    else:
        along = np.gradient(path, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    hint = np.array([0.0, 0.0, 1.0]) if closed else np.array([0.0, 1.0, 0.0])
    across = np.cross(along, hint)
    across /= np.linalg.norm(across, axis=1, keepdims=True) + 1e-9
    up = np.cross(across, along)
    angle = np.linspace(0, 2 * np.pi, 8, endpoint=False)
    return path[:, None] + radius * (
        np.cos(angle)[None, :, None] * across[:, None] + tall * np.sin(angle)[None, :, None] * up[:, None]
    )


def _glasses(look: Appearance) -> list[_Grid]:
    phi = np.linspace(0, 2 * np.pi, 44, endpoint=False)
    curve = np.stack([
        look.lens_w * np.sign(np.cos(phi)) * np.abs(np.cos(phi)) ** 0.78,
        look.lens_h * np.sign(np.sin(phi)) * np.abs(np.sin(phi)) ** 0.82,
    ], -1)
    centre = np.array([max(look.eye_x + 0.012, look.lens_w + 0.07), -0.005])
    probe = front(look, np.array([[0.0, -0.06], [0.14, 0.10], [centre[0], -0.16], [0.3, 0.13]]))
    plane = max(probe[0, 2] + 0.02, probe[1, 2] + 0.01, probe[2, 2] + 0.03, probe[3, 2] + 0.03)

    def bend(x: np.ndarray) -> np.ndarray:
        return plane + 0.02 - 0.22 * np.abs(x) ** 2.4

    grids = []
    for side in (-1, 1):
        flat = centre + curve
        path = np.stack([side * flat[:, 0], flat[:, 1], bend(flat[:, 0])], -1)
        tube = _tube(path, look.rim, 1.0, True)
        grids.append(_glass_grid(np.concatenate([tube, tube[:1]]), RIM, True))
        scale = np.linspace(0.0, 1.0, 6)[:, None, None]
        middle = np.array([side * centre[0], centre[1], bend(centre[:1])[0]])
        disc = middle + scale * (path - middle)
        lens_uv = np.stack([scale[..., 0] * curve[:, 0] * side, scale[..., 0] * curve[:, 1]], -1)
        grids.append(_Grid(disc, np.ones(disc.shape[:2]), lens_uv, LENS, True))
        outer = centre[0] + look.lens_w
        t = np.linspace(0, 1, 10)
        # the arm swings out to clear the temple, then runs back to the ear
        arm = np.stack([
            side * (outer + (0.77 * look.width - outer) * smooth(t * 1.6)),
            -0.05 + 0.03 * t,
            bend(np.array([outer]))[0] * (1 - t) + t * -0.12,
        ], -1)
        grids.append(_glass_grid(_tube(arm, look.rim * 0.85, 1.5, False), RIM, True))
    inner = centre[0] - look.lens_w
    t = np.linspace(-1, 1, 9)
    bridge = np.stack([t * (inner + 0.01), -0.055 - 0.035 * (1 - t * t), bend(np.full(9, inner)) + 0.015], -1)
    grids.append(_glass_grid(_tube(bridge, look.rim * 0.95, 1.1, False), RIM, True))
    return grids


def _glass_grid(points: np.ndarray, part: int, closed: bool) -> _Grid:
    shape = points.shape[:2]
    return _Grid(points, np.ones(shape), np.zeros((*shape, 2)), part, closed)


def layers(look: Appearance) -> tuple[Mesh, Mesh, Mesh | None]:
    """The person as three layers that are composed over each other: body, hair, glasses.

    Args:
        look: the person.
    Returns:
        body, hair, glasses (None when there are none).
    """
    bare, posed, drawn = head_grid(look, _HEAD_THETA)
    inside = _hairline(look, np.arctan2(bare[..., 0], bare[..., 2] + 0.10)) - bare[..., 1]
    head = _Grid(drawn, np.ones(posed.shape[:2]), np.stack([bare[..., 1], inside], -1), HEAD, True, paint=posed)
    body = _join(look, [head, _ear(look, -1), _ear(look, 1), _neck(look), _cloth(look)])
    hair = _join(look, [_cap(look, bare, posed), _curtain(look)])
    glasses = _join(look, _glasses(look)) if look.glasses > 0.004 else None
    return body, hair, glasses
