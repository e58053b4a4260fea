"""Small shapes that everything is painted with: steps, bells, and two textures that are the same for everybody."""

from __future__ import annotations

from math import exp, floor

import numpy as np
from numba import njit
from scipy.ndimage import gaussian_filter, gaussian_filter1d


def smooth(t: np.ndarray) -> np.ndarray:
    """Smooth 0..1 as t runs from 0 to 1, element by element."""
    t = np.clip(t, 0, 1)
    return t * t * (3 - 2 * t)


@njit(cache=True, fastmath=True)
def ease(t):
    """Smooth 0..1 as t runs from 0 to 1."""
    t = min(max(t, 0.0), 1.0)
    return t * t * (3.0 - 2.0 * t)


@njit(cache=True, fastmath=True)
def step(a, b, t):
    """Smooth 0..1 as t runs from a to b."""
    t = (t - a) / (b - a)
    t = min(max(t, 0.0), 1.0)
    return t * t * (3.0 - 2.0 * t)


@njit(cache=True, fastmath=True)
def bell(t):
    """exp(-t^2), cut where it no longer shows."""
    q = t * t
    if q > 8.0:
        return 0.0
    return exp(-q)


@njit(cache=True, fastmath=True)
def bump(x, y, cx, cy, sx, sy):
    """exp(-d^2) of the distance from (cx, cy) in units of (sx, sy), cut where it no longer shows."""
    a = (x - cx) / sx
    b = (y - cy) / sy
    q = a * a + b * b
    if q > 9.0:
        return 0.0
    return exp(-q)


@njit(cache=True, fastmath=True)
def sample(texture, u, v):
    """Bilinear look-up in a texture that repeats and whose sides are powers of two; u, v in texels, x then y."""
    h, w = texture.shape
    fu, fv = int(floor(u)), int(floor(v))
    a, b = u - fu, v - fv
    x0, y0 = fu & (w - 1), fv & (h - 1)
    x1, y1 = (x0 + 1) & (w - 1), (y0 + 1) & (h - 1)
    top = texture[y0, x0] * (1 - a) + texture[y0, x1] * a
    low = texture[y1, x0] * (1 - a) + texture[y1, x1] * a
    return top * (1 - b) + low * b


def _grain() -> np.ndarray:
    """[256,256] cloudy texture in 0..1 that repeats, the same for everybody."""
    rng = np.random.default_rng(7)
    total = np.zeros((256, 256))
    for sigma, weight in ((1.0, 1.0), (2.5, 0.8), (7.0, 0.6)):
        octave = gaussian_filter(rng.normal(size=(256, 256)), sigma, mode="wrap")
        total += weight * octave / octave.std()
    return np.clip(0.5 + 0.14 * total, 0, 1).astype(np.float32)


def _strands() -> np.ndarray:
    """[128,1024] hair: fine across, long along, in 0..1, repeating."""
    rng = np.random.default_rng(8)
    total = np.zeros((128, 1024))
    for across, along, weight in ((0.8, 12.0, 1.0), (2.5, 20.0, 1.1), (8.0, 30.0, 0.9)):
        octave = gaussian_filter1d(rng.normal(size=total.shape), across, axis=1, mode="wrap")
        octave = gaussian_filter1d(octave, along, axis=0, mode="wrap")
        total += weight * octave / octave.std()
    return np.clip(0.5 + 0.15 * total, 0, 1).astype(np.float32)


GRAIN = _grain()
STRANDS = _strands()
