"""The surface of the head: slices stacked from the crown to the chin, and the relief of the face on its front.

`look` is an `appearance.Appearance` everywhere, which numba takes for the tuple that it is.
"""

from __future__ import annotations

from math import exp, sqrt

import numpy as np
from numba import njit
from scipy.interpolate import PchipInterpolator

from stitch.families.miniature.appearance import Appearance
from stitch.families.miniature.brushes import bump, ease, smooth

# One slice a row: y, half width, z of the front, z where it is widest, z of the back.
_SLICES = np.array([
    (-1.120, 0.00, -0.04, -0.05, -0.06),
    (-1.095, 0.24, 0.25, -0.08, -0.42),
    (-1.010, 0.45, 0.50, -0.10, -0.66),
    (-0.850, 0.61, 0.70, -0.10, -0.83),
    (-0.620, 0.71, 0.83, -0.10, -0.94),
    (-0.350, 0.750, 0.885, -0.08, -0.98),
    (-0.100, 0.755, 0.875, -0.05, -0.95),
    (0.150, 0.735, 0.855, 0.00, -0.85),
    (0.400, 0.680, 0.850, 0.05, -0.68),
    (0.650, 0.585, 0.850, 0.10, -0.45),
    (0.850, 0.470, 0.835, 0.18, -0.20),
    (1.000, 0.350, 0.805, 0.27, 0.00),
    (1.090, 0.240, 0.760, 0.36, 0.15),
    (1.140, 0.125, 0.670, 0.43, 0.25),
    (1.150, 0.00, 0.540, 0.50, 0.45),
])
_CURVE = PchipInterpolator(np.arange(len(_SLICES)), _SLICES, axis=0)
ROWS_V = np.concatenate([np.linspace(0, 5, 22)[:-1], np.linspace(5, 12, 70)[:-1], np.linspace(12, 14, 12)])
_ROWS = _CURVE(ROWS_V)
_JAW = np.exp(-(((ROWS_V - 10.3) / 1.7) ** 2))
_CHEEK = np.exp(-(((ROWS_V - 8.3) / 1.5) ** 2))
POWER = 2.35  # of the slices' front: 2 is an ellipse, more is squarer


def slices(look: Appearance) -> np.ndarray:
    """The head's slices for one person.

    Args:
        look: the person.
    Returns:
        [R,5] float64: y, half width, front z, widest z, back z; y ascends.
    """
    rows = _ROWS.copy()
    rows[:, 0] *= np.where(rows[:, 0] > 0, look.lower, 1.0)
    rows[:, 1] *= look.width * (1 + look.jaw * _JAW + 0.022 * look.cheeks * _CHEEK)
    return rows


@njit(cache=True, fastmath=True)
def relief(x, y, look):
    """How far the face stands out of its slice at (x, y), at rest, in head units along z."""
    m = abs(x)
    tip = look.nose_tip
    mouth = look.mouth_y
    # nose: a ridge that rises to the tip and falls under it, with wings
    rise = ease((y + 0.16) / (tip + 0.16))
    fall = 1.0 - ease((y - tip - 0.015) / 0.115)
    ridge_w = 0.075 + (0.62 * look.nose_w - 0.02) * rise * rise
    d = m / ridge_w
    z = (0.035 + 0.225 * rise) * fall * ease((y + 0.34) / 0.2) * exp(-d * d)
    z += 0.075 * bump(m, y, 0.0, tip, 0.085, 0.075)
    z += 0.105 * bump(m, y, look.nose_w * 0.80, tip + 0.05, 0.055, 0.062)
    # socket, lid over the ball, brow ridge
    z -= 0.115 * bump(m, y, look.eye_x - 0.03, -0.01, 0.21, 0.15)
    z += 0.085 * bump(m, y, look.eye_x, 0.0, 0.155, 0.115)
    z += (0.030 + 0.03 * look.masculine) * bump(m, y, 0.28, look.brow_y + 0.01, 0.24, 0.10)
    z -= 0.03 * bump(m, y, 0.0, -0.16, 0.08, 0.08)
    z -= 0.02 * look.age * bump(m, y, look.eye_x, 0.17, 0.16, 0.05)
    # cheekbones rise with the smile and sink with age
    z += (0.055 + 0.02 * look.cheeks) * bump(m, y, 0.44, 0.27, 0.2, 0.17)
    z += 0.05 * max(look.smile, 0.0) * bump(m, y, 0.36, 0.36, 0.15, 0.13)
    z -= 0.05 * look.age * bump(m, y, 0.46, 0.56, 0.15, 0.16)
    z += 0.035 * look.age * bump(m, y, 0.42, 0.86, 0.10, 0.12)
    # mouth: muzzle, two lips with a crease between, groove above the chin, chin
    z += 0.055 * bump(m, y, 0.0, mouth - 0.01, 0.30, 0.19)
    s = m / (1.05 * look.mouth_w)
    if s < 1.0:
        c = (1.0 - s * s)
        seam = mouth + look.corner * s * s
        lift = 0.7 * look.lip_up
        z += 0.038 * c * exp(-(((y - seam + lift) / (0.7 * look.lip_up + 0.012)) ** 2))
        drop = 0.62 * look.lip_low
        z += 0.046 * c * exp(-(((y - seam - drop) / (0.62 * look.lip_low + 0.014)) ** 2))
    z -= 0.012 * bump(m, y, 0.0, mouth - 0.14, 0.035, 0.06)
    z -= 0.040 * bump(m, y, 0.0, mouth + 0.165, 0.17, 0.05)
    chin = 1.0 * look.lower
    z += (0.075 + 0.025 * look.masculine) * bump(m, y, 0.0, chin, 0.19, 0.13)
    return z


@njit(cache=True, fastmath=True)
def jaw_share(x, y, mouth_y):
    """How much of the jaw's drop the skin at rest point (x, y) follows, 0..1."""
    q = min(abs(x) / 0.55, 1.0)
    q = q * q
    return ease((y - mouth_y + 0.015 + 0.30 * q) / (0.05 + 0.62 * q))


@njit(cache=True, fastmath=True)
def beard_depth(x, y, look):
    """Signed depth of the rest point (x, y) inside the beard's outline, head units; positive inside."""
    m = abs(x) / look.width
    top = look.nose_tip + 0.130
    cheek = look.mouth_y - 0.06
    if m < 0.26:
        line = top + 0.06 * (m / 0.26) ** 2
    elif m < 0.46:
        line = top + 0.06 + (cheek - top - 0.06) * (m - 0.26) / 0.20
    else:
        line = cheek - (m - 0.46) * 3.2
    return y - line


@njit(cache=True, fastmath=True)
def _head(rows, theta, look, power):
    count, columns = rows.shape[0], theta.shape[0]
    bare = np.empty((count, columns, 3))
    posed = np.empty((count, columns, 3))
    drawn = np.empty((count, columns, 3))
    for i in range(count):
        for j in range(columns):
            y, w, front, middle, back = rows[i, 0], rows[i, 1], rows[i, 2], rows[i, 3], rows[i, 4]
            sine = np.sin(theta[j])
            x = w * sine
            if np.cos(theta[j]) >= 0:
                z = middle + (front - middle) * max(1.0 - abs(sine) ** power, 0.0) ** (1.0 / power)
                share = ease(np.cos(theta[j]) / 0.35)
            else:
                z = middle + (back - middle) * sqrt(max(1.0 - sine * sine, 0.0))
                share = 0.0
            bare[i, j, 0] = x
            bare[i, j, 1] = y
            bare[i, j, 2] = z
            if share > 0:
                z += share * relief(x, y, look)
            dropped = y + look.drop * jaw_share(x, y, look.mouth_y)
            posed[i, j, 0] = x
            posed[i, j, 1] = dropped
            posed[i, j, 2] = z
            # a full beard stands off the chin and the cheeks; what is painted on the skin stays where it is
            bush = look.beard_len * share * ease(beard_depth(x, y, look) / 0.22)
            drawn[i, j, 0] = x * (1.0 + 0.07 * bush)
            drawn[i, j, 1] = dropped + 0.17 * bush * ease((y - look.mouth_y - 0.12) / 0.3)
            drawn[i, j, 2] = z + 0.05 * bush
    return bare, posed, drawn


def head_grid(look: Appearance, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The head as a grid, rows from the crown to under the chin, columns once around.

    Args:
        look: the person.
        theta: [C] column angles in radians, 0 in front, growing towards +x.
    Returns:
        bare [R,C,3], the slices alone; posed [R,C,3], with the relief of the face and the jaw's drop; drawn [R,C,3],
        with the beard's volume.
    """
    return _head(slices(look), theta, look, POWER)


def front(look: Appearance, points: np.ndarray) -> np.ndarray:
    """Points of the face's front surface.

    Args:
        look: the person.
        points: [N,2] x, y in head units as drawn (jaw dropped).
    Returns:
        [N,3] the same points with z.
    """
    rows = slices(look)
    x, y = points[:, 0], points[:, 1]
    rest = y.copy()
    # the posed y is rest + drop * share(rest); a few fixed-point steps invert it
    for _ in range(12):
        share = np.array([jaw_share(a, b, look.mouth_y) for a, b in zip(x, rest, strict=True)])
        rest = rest + 0.6 * (y - look.drop * share - rest)
    w, high, middle = (np.interp(rest, rows[:, 0], rows[:, k]) for k in (1, 2, 3))
    ratio = np.clip(np.abs(x) / w, 0, 1)
    z = middle + (high - middle) * (1 - ratio**POWER) ** (1 / POWER)
    share = smooth(np.sqrt(1 - ratio * ratio) / 0.35)
    z = z + share * np.array([relief(a, b, look) for a, b in zip(x, rest, strict=True)])
    return np.stack([x, y, z], axis=1)
