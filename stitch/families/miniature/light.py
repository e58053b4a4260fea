"""Light on skin, cloth, rims and hair.

`look` is an `appearance.Appearance` everywhere, which numba takes for the tuple that it is.
"""

from __future__ import annotations

from math import atan2, sqrt

import numpy as np
from numba import njit

from stitch.families.miniature.brushes import bell, sample, step
from stitch.families.miniature.mesh import CAP, CURTAIN


@njit(cache=True, fastmath=True)
def lit(colour, normal, shade, skin, gloss, look):
    """A colour under the lights; skin 0..1 lets red light creep past the terminator."""
    r, g, b = colour
    nx, ny, nz = normal
    lx, ly, lz = look.light
    d = nx * lx + ny * ly + nz * lz
    wr, wg, wb = 0.16 + 0.30 * skin, 0.16 + 0.10 * skin, 0.16 + 0.04 * skin
    kr = max((d + wr) / (1.0 + wr), 0.0)
    kg = max((d + wg) / (1.0 + wg), 0.0)
    kb = max((d + wb) / (1.0 + wb), 0.0)
    sky = 0.62 - 0.30 * ny + 0.10 * nz
    edge = 1.0 - max(nz, 0.0)
    edge = edge * edge * edge
    back = 0.38 * edge * max(0.3 - 0.7 * nx * (1.0 if lx > 0 else -1.0) * min(abs(lx) * 4.0, 1.0) - 0.25 * ny, 0.0)
    soft = 0.45 + 0.55 * shade  # direct light fills creases more than the sky does
    hx, hy, hz = lx, ly, lz + 1.0
    h = 1.0 / sqrt(hx * hx + hy * hy + hz * hz)
    s = max((nx * hx + ny * hy + nz * hz) * h, 0.0)
    s2 = s * s
    s4 = s2 * s2
    s8 = s4 * s4
    s32 = s8 * s8 * s8 * s8
    spec = gloss * shade * (0.040 * s8 + 0.105 * s32 * s8)
    fr, fg, fb = look.fill
    r = r * (look.key[0] * kr * soft + fr * sky * shade) + look.key[0] * spec + back * shade * (0.4 * r + 0.05)
    g = g * (look.key[1] * kg * soft + fg * sky * shade) + look.key[1] * spec + back * shade * (0.4 * g + 0.05)
    b = b * (look.key[2] * kb * soft + fb * sky * shade) + look.key[2] * spec + back * shade * (0.4 * b + 0.05)
    return r, g, b


@njit(cache=True, fastmath=True)
def hair(place, normal, uv, part, look, turn, strands):
    """Colour and opacity of a hair fragment."""
    px, py, pz = place
    nx, ny, nz = normal
    u0, u1 = uv
    inner = 1.0
    if nz < 0:
        nx, ny, nz = -nx, -ny, -nz
        if part == CURTAIN:
            inner = 0.42
    if part == CAP:
        # strands leave the crown at the parting like meridians
        ax, ay, az = look.part, -0.80 - 0.20 * look.sweep, 0.78 - 0.66 * look.sweep
        qx, qy, qz = px - ax, py - ay, pz - az
        angle = atan2(qx, qz + 1e-9)
        far = sqrt(qx * qx + qz * qz + 0.6 * qy * qy)
        u = angle * (1024.0 / 6.2831853)
        v = 60.0 * far
        calm = step(0.02, 0.30, far)
        tx, ty, tz = qx, qy * 1.0 + 0.05, qz
    else:
        u = 325.0 * u1 + 11.0 * np.sin(4.6 * py + 3.0 * u1)
        v = 38.0 * py + 20.0
        calm = 1.0
        tx, ty, tz = 0.13 * np.cos(4.6 * py + 1.0) * (1.0 if px > 0 else -1.0), 1.0, 0.0
    wide = sample(strands, u * 0.5, 0.4 * v + 17.0)
    fine = sample(strands, u * 2.0, v)
    n = 0.5 + calm * (0.55 * (wide - 0.5) + 0.45 * (fine - 0.5))
    # tangent in view space, across the normal, bent by the strand
    vx = turn[0, 0] * tx + turn[0, 1] * ty + turn[0, 2] * tz
    vy = turn[1, 0] * tx + turn[1, 1] * ty + turn[1, 2] * tz
    vz = turn[2, 0] * tx + turn[2, 1] * ty + turn[2, 2] * tz
    along = vx * nx + vy * ny + vz * nz
    bend = 0.9 * (n - 0.5)
    vx += nx * (bend - along)
    vy += ny * (bend - along)
    vz += nz * (bend - along)
    k = 1.0 / sqrt(vx * vx + vy * vy + vz * vz + 1e-9)
    vx, vy, vz = vx * k, vy * k, vz * k
    lx, ly, lz = look.light
    hx, hy, hz = lx, ly, lz + 1.0
    h = 1.0 / sqrt(hx * hx + hy * hy + hz * hz)
    th = (vx * hx + vy * hy + vz * hz) * h
    sh = max(1.0 - th * th, 0.0)
    shine = sh**26
    th2 = th + 0.24
    glow = max(1.0 - th2 * th2, 0.0) ** 9
    d = nx * lx + ny * ly + nz * lz
    facing = max((d + 0.25) / 1.25, 0.0)
    sky = 0.62 - 0.34 * ny
    tone = 0.46 + 1.12 * n - 0.30 * step(0.42, 0.25, n)
    body = (1.02 * facing + 0.42 * sky) * tone * inner
    lobe = inner * (0.10 + 0.90 * max(d, 0.0)) * (0.35 + 1.3 * n)
    r = look.hair[0] * body + lobe * (0.085 * shine * (0.55 + 1.2 * look.hair[0]) + 0.50 * glow * look.hair[0])
    g = look.hair[1] * body + lobe * (0.080 * shine * (0.50 + 1.2 * look.hair[1]) + 0.46 * glow * look.hair[1])
    b = look.hair[2] * body + lobe * (0.076 * shine * (0.50 + 1.2 * look.hair[2]) + 0.40 * glow * look.hair[2])
    edge = 0.0
    if part == CAP:
        valley = 1.0 - 0.45 * u1 * bell((px - look.part) / 0.018)
        r, g, b = r * valley, g * valley, b * valley
        edge = (0.13 + 0.38 * look.fringe * step(0.1, 0.4, pz)) * (1.0 - 0.45 * look.crop)
        alpha = step(-0.035, 0.045, u0 + edge * (n - 0.5) * 1.8)
        alpha *= 1.0 - 0.35 * look.crop * (1.0 - step(0.0, 0.22, u0))
    else:
        alpha = step(-0.03, 0.05, u0 + 0.30 * (n - 0.5))
        under = 1.0 - 0.30 * bell((py - 0.55) / 0.55) * (1.0 - step(0.62, 0.85, abs(px)))
        r, g, b = r * under, g * under, b * under
    return r, g, b, alpha
