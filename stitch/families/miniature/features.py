"""Eyes, brows and mouth: their outlines, and what is seen between the lids and the lips.

`look` is an `appearance.Appearance` everywhere, which numba takes for the tuple that it is.
"""

from __future__ import annotations

from math import atan2, exp, sqrt

from numba import njit

from stitch.families.miniature.brushes import bell, sample, step


@njit(cache=True, fastmath=True)
def lids(t, look):
    """y of the upper and lower lid edge and of the crease, at t = -1 (inner corner) .. 1 (outer)."""
    base = -look.eye_tilt * t
    c = max(1.0 - t * t, 0.0)
    shift = max(1.0 - (t + 0.10) ** 2 / 1.21, 0.0)
    su = c**0.55 * (0.35 + 0.65 * shift) * 1.05
    sl = c**0.75 * (1.0 + 0.22 * t)
    o = look.eye_open
    low = look.eye_low * (1.0 - 0.30 * max(look.smile, 0.0))
    lower = base + low * sl * (0.75 + 0.25 * min(o, 1.0))
    upper = base - look.eye_up * su * o + (1.0 - o) * 0.75 * low * sl
    upper = min(upper, lower)
    crease = base - look.eye_up * su * (0.55 + 0.45 * o) - 0.030 - 0.012 * c + 0.012 * look.age * step(0.0, 1.0, t)
    return upper, lower, crease


@njit(cache=True, fastmath=True)
def lips(s, look):
    """y of the lips' four edges (top, inner upper, inner lower, bottom) at s = -1..1 from corner to corner."""
    q = min(s * s, 1.0)
    c = (1.0 - q) ** 0.72
    m = abs(s)
    seam = look.mouth_y + 0.25 * look.drop + look.corner * q + 0.010 * (1.0 - q) - 0.008 * bell(m / 0.22)
    upper = seam - look.gap_up * c
    lower = seam + (look.gap_low - 0.25 * look.drop) * c
    bow = (1.0 - q) ** 0.62 * (0.86 + 0.26 * bell((m - 0.27) / 0.24) - 0.12 * bell(m / 0.12))
    top = upper - look.lip_up * bow
    bottom = lower + look.lip_low * (1.0 - q) ** 0.58
    return top, upper, lower, bottom


@njit(cache=True, fastmath=True)
def brow(p, look):
    """Middle line and half thickness of a brow at p = 0 (inner end) .. 1 (outer)."""
    bent = max(p, 0.0) ** 1.4
    middle = look.brow_y + 0.014 - look.brow_arch * 4.0 * bent * (1.0 - bent) + 0.020 * p * p
    half = look.brow_t * (1.0 - 0.72 * max(p, 0.0) ** 2.2) * (0.55 + 0.45 * step(0.0, 0.25, p))
    return middle, half


@njit(cache=True, fastmath=True)
def eye_paint(offset, radius, gaze, lids, look, half, grain):
    """The eyeball where the view ray meets it.

    Args:
        offset: from the ball's middle, view space; radius: of the ball; gaze: unit vector of sight, view space.
        lids: distance to the upper and the lower lid, head units, and -1 inner corner .. 1; half: unit half vector.
    Returns:
        red, green, blue (linear, before light), nx, ny, nz, highlight.
    """
    dx, dy = offset
    upper_gap, lower_gap, t = lids
    q = min((dx * dx + dy * dy) / (radius * radius), 0.98)
    nx, ny, nz = dx / radius, dy / radius, sqrt(1.0 - q)
    c = nx * gaze[0] + ny * gaze[1] + nz * gaze[2]
    a = sqrt(max(2.0 - 2.0 * c, 0.0)) * radius
    iris = 0.098
    r, g, b = 0.80, 0.775, 0.755
    pink = step(-0.72, -0.98, t)
    g -= 0.30 * pink
    b -= 0.30 * pink
    if a < iris * 1.15:
        px, py = nx - gaze[0], ny - gaze[1]
        angle = atan2(py, px)
        ray = sample(grain, 10.1859 * angle + 128.0, 30.0 * a / iris + 5.0)
        tone = 0.62 + 0.75 * ray
        tone *= 0.75 + 0.55 * bell((a / iris - 0.62) / 0.26)
        tone *= 1.0 + 0.45 * step(-0.02, 0.08, py * radius)
        tone *= 1.0 - 0.80 * step(0.80, 1.02, a / iris)
        cover = 1.0 - step(0.96, 1.12, a / iris)
        hole = 1.0 - step(0.36, 0.47, a / iris)
        ir = look.iris[0] * tone * (1 - hole) + 0.008 * hole
        ig = look.iris[1] * tone * (1 - hole) + 0.007 * hole
        ib = look.iris[2] * tone * (1 - hole) + 0.008 * hole
        r += (ir - r) * cover
        g += (ig - g) * cover
        b += (ib - b) * cover
    shadow = 1.0 - 0.62 * exp(-max(upper_gap, 0.0) / 0.030) - 0.22 * exp(-max(lower_gap, 0.0) / 0.012)
    shadow *= 1.0 - 0.35 * step(0.70, 1.0, abs(t))
    shadow = max(shadow, 0.12)
    # the cornea bulges, so its highlight follows the gaze half way
    hx, hy = half[0] * 0.55 + 0.42 * gaze[0], half[1] * 0.55 + 0.42 * gaze[1]
    d = sqrt((nx - hx) ** 2 + (ny - hy) ** 2) * radius
    spark = 1.0 - step(0.020, 0.034, d)
    d2 = sqrt((nx - gaze[0] + 0.5 * hx + 0.12) ** 2 + (ny - gaze[1] + 0.5 * hy - 0.10) ** 2) * radius
    spark = max(spark, 0.35 * (1.0 - step(0.010, 0.020, d2)))
    return r * shadow, g * shadow, b * shadow, nx, ny, nz, spark


@njit(cache=True, fastmath=True)
def mouth_paint(x, y, slant_x, slant_y, look):
    """Inside of the mouth at (x, y); slant: how far the view drifts per unit of depth. Returns r, g, b."""
    s = min(max(x / look.mouth_w, -1.0), 1.0)
    _, upper, lower, _ = lips(s, look)
    xt, yt = x - 0.07 * slant_x, y - 0.07 * slant_y
    r, g, b = 0.105, 0.016, 0.018
    # tongue
    tongue = bell(xt / 0.15) * step(0.0, 0.10, y - (lower - 0.16)) * step(0.05, 0.16, lower - upper)
    r += 0.30 * tongue
    g += 0.070 * tongue
    b += 0.080 * tongue
    # lower teeth sink with the jaw, upper teeth stay
    cut = look.mouth_y + look.gap_low - 0.030 - 0.02 * (xt / 0.2) ** 2
    row = step(-0.006, 0.006, yt - cut) * step(0.24, 0.20, abs(xt)) * step(0.05, 0.12, lower - upper) * 0.55
    edge = look.mouth_y + 0.046 - 0.075 * (xt / 0.25) ** 2 + min(look.corner, 0.0) * (xt / 0.28) ** 2
    tooth = abs(((xt + 10.0 * 0.074) / 0.074) % 1.0 - 0.5)
    edge -= 0.008 * step(0.30, 0.5, tooth)
    upper_row = step(0.007, -0.007, yt - edge) * step(0.275, 0.235, abs(xt))
    white = max(upper_row, row)
    tone = (0.86 - 0.55 * (xt / 0.26) ** 2) * (1.0 - 0.22 * step(0.38, 0.5, tooth))
    tone = max(tone, 0.10) * (0.55 + 0.45 * step(0.0, 0.030, y - upper))
    aged = 1.0 - 0.16 * look.age
    r += (tone * aged - r) * white
    g += (0.965 * tone * aged - g) * white
    b += (0.91 * tone * aged * aged - b) * white
    deep = 0.35 + 0.65 * step(0.0, 0.05, min(y - upper, lower - y + 0.02))
    return r * deep, g * deep, b * deep
