"""Paint of the face as a function of the place on the head, and the labels of its parts.

`look` is an `appearance.Appearance` everywhere, which numba takes for the tuple that it is.
"""

from __future__ import annotations

from math import exp

from numba import njit

from stitch.families.miniature.brushes import bell, sample, step
from stitch.families.miniature.features import brow, lids, lips
from stitch.families.miniature.surface import beard_depth

SKIN, L_BROW, R_BROW, L_EYE, R_EYE, EYE_G, L_EAR, R_EAR = 1, 2, 3, 4, 5, 6, 7, 8
NOSE, MOUTH, U_LIP, L_LIP, NECK_LABEL, CLOTH_LABEL, HAIR_LABEL = 10, 11, 12, 13, 14, 16, 17


@njit(cache=True, fastmath=True)
def face_paint(x, y, rest_y, inside, look, grain, strands):
    """Skin of the face at (x, y): colour, ambient occlusion, gloss, label; negative label: look into eye or mouth.

    Args:
        x, y: place on the drawn head; rest_y: y before the jaw dropped; inside: depth under the hairline.
    Returns:
        red, green, blue (linear), occlusion, gloss, label (-1 eye, -2 mouth).
    """
    m = abs(x)
    left = x < 0
    label = SKIN
    r, g, b = look.skin
    shade = 1.0
    gloss = 1.0
    # mottle and blush
    n = sample(grain, 40.0 * x + 80, 40.0 * rest_y + 80) - 0.5
    r *= 1.0 + 0.05 * n
    g *= 1.0 + 0.11 * n
    b *= 1.0 + 0.12 * n
    red = 0.55 * bell((m - 0.42) / 0.20) * bell((rest_y - 0.30) / 0.16) + 0.45 * bell(x / 0.10) * bell(
        (rest_y - look.nose_tip) / 0.09
    )
    red = red * (0.62 + 0.5 * look.makeup) + 0.12 * bell(x / 0.25) * bell((rest_y - 1.0) / 0.15)
    g *= 1.0 - 0.34 * red
    b *= 1.0 - 0.26 * red
    if look.freckles > 0.0:
        spread = bell(m / 0.62) * bell((rest_y - 0.24) / 0.26)
        if spread > 0.02:
            f = sample(grain, 150.0 * x + 17, 150.0 * rest_y + 9)
            f = step(0.56, 0.68, f) * spread * look.freckles * 0.75
            r *= 1.0 - 0.38 * f
            g *= 1.0 - 0.60 * f
            b *= 1.0 - 0.68 * f

    # creases: dark valley; the nasolabial one also comes with the smile
    crease = 0.0
    ny = look.nose_tip
    if 0.0 < rest_y < 1.1:
        t = (y - ny - 0.02) / (look.mouth_y + look.corner + 0.06 - ny)
        if -0.15 < t < 1.25:
            line = look.nose_w + 0.045 + (look.mouth_w + 0.045 - look.nose_w) * max(t, 0.0) ** 1.3
            crease += (0.13 + 0.65 * look.age + 0.42 * max(look.smile, 0.0)) * bell((m - line) / 0.026) * (
                step(-0.15, 0.15, t) * (1.0 - step(0.8, 1.25, t))
            )
        if look.age > 0.01:
            t = (m - look.eye_x) / look.eye_w
            bag = bell((y - 0.125 - 0.05 * (1.0 - t * t)) / 0.020) * bell(t / 0.95)
            crease += 0.75 * look.age * bag
            t = (y - look.mouth_y - look.corner - 0.05) / 0.22
            crease += 0.5 * look.age * bell((m - look.mouth_w - 0.05 - 0.04 * t) / 0.020) * step(0.0, 0.2, t) * (
                1.0 - step(0.6, 1.0, t)
            )
    if look.age > 0.01 and rest_y < 0.25:
        if rest_y < -0.30:
            wave = y + 0.02 * m - 0.018 * (sample(grain, 14.0 * x + 40, 3.0) - 0.5)
            lines = bell((wave + 0.40) / 0.014) + bell((wave + 0.485) / 0.014) + 0.8 * bell((wave + 0.565) / 0.014)
            crease += 0.62 * look.age * lines * bell(m / 0.46)
        dx, dy = m - look.eye_x - look.eye_w - 0.02, y + 0.01
        if 0.0 < dx < 0.22:
            spoke = abs(((dy / (dx + 0.09) + 1.5) / 0.42) % 1.0 - 0.5)
            crease += (0.5 * look.age) * bell((spoke - 0.0) / 0.16) * step(0.0, 0.04, dx) * (
                1.0 - step(0.06, 0.20, dx)
            ) * bell(dy / 0.13)
        crease += 0.5 * look.age * bell((m - 0.05) / 0.014) * bell((y + 0.19) / 0.08)
    crease = min(crease, 1.0)
    shade *= 1.0 - 0.50 * crease
    g *= 1.0 - 0.10 * crease
    b *= 1.0 - 0.12 * crease

    # occlusion: sockets, under nose, lip and chin, hair's shadow
    shade *= 1.0 - 0.34 * bell((m - look.eye_x + 0.17) / 0.10) * bell((y + 0.04) / 0.11)
    shade *= 1.0 - 0.17 * bell((m - look.eye_x) / 0.22) * bell((y + 0.13) / 0.07)
    shade *= 1.0 - 0.10 * bell((m - look.eye_x) / 0.20) * bell((y - 0.12) / 0.05)
    shade *= 1.0 - 0.32 * bell(m / (look.nose_w * 0.85)) * bell((rest_y - ny - 0.125) / 0.045)
    shade *= 1.0 - 0.30 * bell((m - look.nose_w * 1.10) / 0.024) * bell((rest_y - ny - 0.035) / 0.060)
    shade *= 1.0 - 0.24 * bell((m - look.nose_w * 0.52) / 0.03) * bell((rest_y - ny - 0.00) / 0.05)
    shade *= 1.0 - 0.35 * step(0.98, 1.2, rest_y / look.lower)
    if inside > -0.4:
        shade *= 1.0 - 0.36 * exp(min(inside, 0.0) / 0.075) * (1.0 - 0.6 * look.crop)
    if inside > 0.0:
        cover = step(0.0, 0.10, inside) * 0.9
        r += (look.hair[0] * 0.55 - r) * cover
        g += (look.hair[1] * 0.55 - g) * cover
        b += (look.hair[2] * 0.55 - b) * cover

    # nose
    if rest_y < ny + 0.135 and rest_y > -0.05:
        t = step(0.0, 1.0, (rest_y + 0.05) / (ny + 0.05))
        if m < 0.060 + (look.nose_w * 1.10 - 0.060) * t * t:
            label = NOSE
        hole = bell((m - look.nose_w * 0.46) / (0.32 * look.nose_w)) * bell(
            (rest_y - ny - 0.088 - 0.10 * (m - 0.07)) / 0.021
        )
        hole = min(1.25 * hole, 1.0)
        shade *= 1.0 - 0.68 * hole
        g *= 1.0 - 0.25 * hole
        b *= 1.0 - 0.25 * hole

    # brows
    p = (m - (look.eye_x - 0.215)) / 0.415
    if -0.08 < p < 1.06 and y < 0.0:
        middle, half = brow(p, look)
        d = (y - middle) / half
        if abs(d) < 1.5:
            fibre = sample(strands, 150.0 * (m - 0.55 * (y - middle)) + 20, 60.0 * y + 40.0 * m + 60)
            ends = step(-0.08, 0.06, p) * (1.0 - step(0.93, 1.06, p))
            thick = step(0.0, 0.55, 1.12 - abs(d) + 0.5 * (fibre - 0.5)) * ends
            thick *= 0.72 + 0.5 * (fibre - 0.35)
            thick = min(max(thick, 0.0), 0.94)
            r += (look.brow[0] - r) * thick
            g += (look.brow[1] - g) * thick
            b += (look.brow[2] - b) * thick
            gloss *= 1.0 - 0.8 * thick
            if abs(d) < 0.95 and ends > 0.4:
                label = L_BROW if left else R_BROW

    # beard
    if look.beard > 0.003:
        depth = beard_depth(x, rest_y, look)
        if depth > -0.08:
            fibre = sample(strands, 120.0 * (x + 0.25 * x * (rest_y - 0.6)) + 300, 22.0 * rest_y + 10)
            dots = sample(grain, 210.0 * x + 33, 210.0 * y + 71)
            area = step(-0.05, 0.09, depth + (0.04 + 0.12 * look.beard_len) * (fibre - 0.5))
            area *= 1.0 - 0.75 * bell(x / 0.035) * bell((y - look.mouth_y + 0.15) / 0.06)
            full = step(0.25, 0.95, look.beard)
            stubble = min(look.beard * 1.5, 1.0) * (0.38 + 0.45 * step(0.40, 0.62, dots))
            cover = area * (stubble * (1 - full) * 0.85 + full * (0.80 + 0.18 * fibre))
            cover = min(cover, 0.97)
            tone = 0.50 + 0.85 * fibre * full + 0.2 * (1 - full)
            r += (look.hair[0] * tone - r) * cover
            g += (look.hair[1] * tone - g) * cover
            b += (look.hair[2] * tone - b) * cover
            gloss *= 1.0 - 0.85 * cover
            shade *= 1.0 - 0.30 * full * area * bell((depth - 0.9) / 0.3)

    # lips
    s = x / look.mouth_w
    if abs(s) < 1.25 and look.mouth_y - 0.35 < y < look.mouth_y + 0.30 + look.drop + look.gap_low:
        top, upper, lower, bottom = lips(s, look)
        corner = look.mouth_y + 0.25 * look.drop + look.corner
        shade *= 1.0 - 0.42 * bell((abs(s) - 1.03) / 0.075) * bell((y - corner) / 0.040)
        shade *= 1.0 - 0.26 * bell((y - bottom - 0.045) / 0.038) * bell(s / 0.72)
        if abs(s) < 1.0:
            edge = 0.010 + 0.014 * (1.0 - look.lipstick)
            cover = step(-edge, edge, y - top) * step(-edge, edge, bottom - y) * step(1.0, 0.94, abs(s))
            cover *= 0.80 + 0.18 * look.lipstick
            if cover > 0.0:
                wrinkle = sample(strands, 260.0 * x + 11, 8.0) - 0.5
                tone = 1.0 + 0.16 * wrinkle
                if y < 0.5 * (upper + lower):
                    tone *= 0.80 - 0.10 * step(top, upper, y)
                else:
                    h = (y - lower) / (bottom - lower + 1e-6)
                    tone *= 0.88 + 0.22 * bell((h - 0.42) / 0.34) - 0.12 * h
                    gloss += cover * (0.6 + 2.2 * look.lipstick) * bell((h - 0.38) / 0.22)
                r += (look.lip[0] * tone - r) * cover
                g += (look.lip[1] * tone - g) * cover
                b += (look.lip[2] * tone - b) * cover
            if top < y < bottom:
                label = U_LIP if y < 0.5 * (upper + lower) else L_LIP
            closed = bell((y - upper) / 0.010) + bell((y - lower) / 0.010)
            shade *= 1.0 - 0.62 * min(closed, 1.0) * step(1.02, 0.9, abs(s))
            if upper + 0.003 < y < lower - 0.003:
                return r, g, b, shade, gloss, -2

    # eyes
    t = (m - look.eye_x) / look.eye_w
    if abs(t) < 1.45 and abs(y) < 0.30:
        side = min(max(t, -1.0), 1.0)
        upper, lower, crease_y = lids(side, look)
        fem = 1.0 - look.masculine
        if abs(t) < 1.0 and upper < y < lower:
            return r, g, b, shade, gloss, -1
        # shadow of make-up, from the lashes to above the crease
        if look.makeup > 0.0:
            span = 0.115 + 0.02 * t
            v = (upper - y) / span
            if -0.2 < v < 1.3:
                tint = look.makeup * 0.82 * step(-0.05, 0.05, v) * (1.0 - step(0.45, 1.15, v)) * bell(
                    (t - 0.12) / 0.98
                )
                r += (0.30 * (0.4 + 0.6 * look.skin[0]) - r) * tint
                g += (0.085 * (0.4 + 0.6 * look.skin[1]) - g) * tint
                b += (0.34 * (0.4 + 0.6 * look.skin[2]) - b) * tint
        fold = bell((y - crease_y) / 0.012) * step(1.25, 0.75, abs(t)) * (0.50 + 0.2 * look.age)
        shade *= 1.0 - 0.50 * fold
        lid = step(0.0, 0.015, upper - y) * step(0.0, 0.02, y - crease_y)
        shade *= 1.0 + 0.07 * lid
        # lashes
        over = max(abs(t) - 1.0, 0.0) * look.eye_w
        wing = (0.35 + 0.65 * step(-1.0, 0.8, t)) * (1.0 + 0.4 * look.makeup)
        width = (0.008 + 0.017 * fem + 0.012 * look.makeup) * wing + 0.004
        reach = 0.012 + 0.028 * (0.6 * fem + 0.6 * look.makeup) * (1.0 if t > 0 else 0.25)
        lift = (upper - y) - (0.8 * over if t > 0 else 0.0)
        lash = bell((lift - 0.5 * width) / width) * bell(over / reach)
        low_lash = (0.22 + 0.38 * look.makeup) * bell((y - lower - 0.006) / 0.010) * bell(over / 0.012) * step(
            -1.0, 0.3, t
        )
        dark = min((0.74 + 0.2 * fem + 0.1 * look.makeup) * lash + low_lash, 0.97)
        r += (0.018 - r) * dark
        g += (0.011 - g) * dark
        b += (0.010 - b) * dark
        gloss *= 1.0 - 0.9 * dark
        rim = bell((y - lower) / 0.012) * step(1.05, 0.8, abs(t)) * (1.0 - dark) * 0.35
        g *= 1.0 - 0.25 * rim
        b *= 1.0 - 0.20 * rim
    return r, g, b, shade, gloss, label
