"""Light on the visible surfaces, and the layers composed into one picture.

`look` is an `appearance.Appearance` everywhere, which numba takes for the tuple that it is.
"""

from __future__ import annotations

from math import exp, sqrt

import numpy as np
from numba import njit

from stitch.families.miniature.brushes import bell, sample, step
from stitch.families.miniature.features import eye_paint, lids, mouth_paint
from stitch.families.miniature.light import hair, lit
from stitch.families.miniature.mesh import CAP, CLOTH, CURTAIN, EAR, HEAD, LENS
from stitch.families.miniature.skin import (
    CLOTH_LABEL,
    EYE_G,
    HAIR_LABEL,
    L_EAR,
    L_EYE,
    MOUTH,
    NECK_LABEL,
    R_EAR,
    R_EYE,
    face_paint,
)

# numba's cache of `compose` looks at this file alone: after a change in brushes, features, light, skin or look, delete
# __pycache__/*.nb?


@njit(cache=True, fastmath=True)
def compose(seen, body, tresses, glasses, eyes, look, around):
    """Shade every visible fragment and lay hair over body and glasses over both.

    Args:
        seen: what `rasterise` gave for body, cap, curtain and glasses; the rest of a layer is its Mesh.
        body: head, view, normal, uv, triangles and part of the Mesh.
        tresses: head, view, normal and uv of the hair, and the triangles of cap and curtain.
        glasses: normal, uv, triangles and part, and their opacity.
        eyes: [2,3] middles of the balls (image left, right); their radius; gaze, [3] unit vector; all in view space.
        look: see `appearance_of`.
        around: turn [3,3] of the head; backdrop, [H/f,W/f,3] float32 linear RGB, coarser than the buffers by a whole f;
            the textures grain and strands.
    Returns:
        linear RGB [H,W,3] float32 (undefined where alpha is zero), alpha [H,W] float32 of the person, labels [H,W]
        uint8.
    """
    seen_body, seen_cap, seen_curtain, seen_glasses = seen
    body_index, body_weights, body_z = seen_body
    cap_index, cap_weights, cap_z = seen_cap
    curtain_index, curtain_weights, curtain_z = seen_curtain
    glass_index, glass_weights, glass_z = seen_glasses
    body_head, body_view, body_normal, body_uv, body_triangles, body_part = body
    hair_head, hair_view, hair_normal, hair_uv, cap_triangles, curtain_triangles = tresses
    glass_normal, glass_uv, glass_triangles, glass_part, glass_alpha = glasses
    balls, ball_radius, gaze = eyes
    turn, backdrop, grain, strands = around
    height, width = body_index.shape
    factor = height // backdrop.shape[0]
    out = np.empty((height, width, 3), np.float32)
    coverage = np.zeros((height, width), np.float32)
    labels = np.zeros((height, width), np.uint8)
    slant_x = turn[2, 0] / max(turn[2, 2], 0.2)
    slant_y = turn[2, 1] / max(turn[2, 2], 0.2)
    hx, hy, hz = look.light[0], look.light[1], look.light[2] + 1.0
    h = 1.0 / sqrt(hx * hx + hy * hy + hz * hz)
    half = (hx * h, hy * h, hz * h)
    for y in range(height):
        for x in range(width):
            if body_index[y, x] < 0 and cap_index[y, x] < 0 and curtain_index[y, x] < 0:
                if glass_alpha <= 0.0 or glass_index[y, x] < 0:
                    continue
            v, u = y // factor, x // factor
            r, g, b = backdrop[v, u, 0], backdrop[v, u, 1], backdrop[v, u, 2]
            alpha = 0.0
            label = 0
            t = body_index[y, x]
            if t >= 0:
                i, j, k = body_triangles[t, 0], body_triangles[t, 1], body_triangles[t, 2]
                wa, wb = body_weights[y, x, 0], body_weights[y, x, 1]
                wc = 1.0 - wa - wb
                px = wa * body_head[i, 0] + wb * body_head[j, 0] + wc * body_head[k, 0]
                py = wa * body_head[i, 1] + wb * body_head[j, 1] + wc * body_head[k, 1]
                pz = wa * body_head[i, 2] + wb * body_head[j, 2] + wc * body_head[k, 2]
                nx = wa * body_normal[i, 0] + wb * body_normal[j, 0] + wc * body_normal[k, 0]
                ny = wa * body_normal[i, 1] + wb * body_normal[j, 1] + wc * body_normal[k, 1]
                nz = wa * body_normal[i, 2] + wb * body_normal[j, 2] + wc * body_normal[k, 2]
                u0 = wa * body_uv[i, 0] + wb * body_uv[j, 0] + wc * body_uv[k, 0]
                u1 = wa * body_uv[i, 1] + wb * body_uv[j, 1] + wc * body_uv[k, 1]
                n = 1.0 / sqrt(nx * nx + ny * ny + nz * nz + 1e-12)
                if nz < 0:
                    n = -n
                nx, ny, nz = nx * n, ny * n, nz * n
                part = body_part[t]
                alpha = 1.0
                if part == HEAD:
                    label = 1
                    if pz > -0.15:
                        r, g, b, shade, gloss, label = face_paint(px, py, u0, u1, look, grain, strands)
                    else:
                        r, g, b = look.skin
                        shade, gloss = 1.0, 1.0
                        if u1 > 0:
                            r, g, b = look.hair[0] * 0.6, look.hair[1] * 0.6, look.hair[2] * 0.6
                    if label == -1:
                        side = 0 if px < 0 else 1
                        vx = wa * body_view[i, 0] + wb * body_view[j, 0] + wc * body_view[k, 0]
                        vy = wa * body_view[i, 1] + wb * body_view[j, 1] + wc * body_view[k, 1]
                        e = (abs(px) - look.eye_x) / look.eye_w
                        upper, lower, _ = lids(e, look)
                        r, g, b, nx, ny, nz, spark = eye_paint(
                            (vx - balls[side, 0], vy - balls[side, 1]), ball_radius, gaze,
                            (py - upper, lower - py, e), look, half, grain,
                        )
                        r, g, b = lit((r, g, b), (0.6 * nx, 0.6 * ny - 0.1, 0.75 * nz + 0.2), 1.0, 0.3, 0.15, look)
                        r += 0.85 * spark
                        g += 0.85 * spark
                        b += 0.85 * spark
                        label = L_EYE if side == 0 else R_EYE
                    elif label == -2:
                        r, g, b = mouth_paint(px, py, slant_x, slant_y, look)
                        r, g, b = lit((r, g, b), (0.0, -0.1, 0.95), 0.9, 0.3, 0.25, look)
                        label = MOUTH
                    else:
                        r, g, b = lit((r, g, b), (nx, ny, nz), shade, 1.0, gloss, look)
                elif part == EAR:
                    label = L_EAR if px < 0 else R_EAR
                    shade = 1.0 - 0.50 * bell((u0 - 0.15) / 0.36) - 0.34 * bell((u0 - 0.66) / 0.10)
                    shade *= 0.88 - 0.12 * u1
                    r, g, b = look.skin
                    r, g, b = lit((r, g * 0.84, b * 0.82), (nx, ny, nz), shade, 1.0, 0.8, look)
                elif part == CLOTH:
                    label = CLOTH_LABEL
                    knit = sample(grain, 60.0 * px, 60.0 * py) - 0.5
                    rib = step(2.6, 1.9, u1)
                    tone = (1.0 + 0.22 * knit) * (1.0 - 0.16 * rib) * (1.0 - 0.30 * bell((u1 - 2.5) / 0.30))
                    r, g, b = look.cloth
                    r, g, b = lit((r * tone, g * tone, b * tone), (nx, ny, nz), 1.0 - 0.35 * bell(u1 / 0.6), 0.0,
                                   0.15, look)
                else:
                    label = NECK_LABEL
                    deep = 1.0 - 0.58 * bell((py - 0.80) / 0.52) * step(-0.3, 0.25, pz)
                    cord = bell((abs(px) - 0.20 + 0.10 * (py - 1.0)) / 0.05) * step(1.0, 1.3, py)
                    hollow = bell((py - 1.72) / 0.07) * bell(px / 0.08)
                    shade = deep * (1.0 - 0.20 * hollow) * (1.0 + 0.05 * cord)
                    r, g, b = look.skin
                    r, g, b = lit((r * 0.96, g * 0.90, b * 0.88), (nx, ny, nz), shade, 1.0, 0.35, look)
                    r, g, b = r * (0.55 + 0.45 * deep), g * (0.50 + 0.5 * deep), b * (0.48 + 0.52 * deep)
            front = body_z[y, x]
            # the cap's feathered edge must not hide long hair behind it: the farther of the two goes first
            cap_first = cap_z[y, x] < curtain_z[y, x]
            for turn_of in range(2):
                if cap_first == (turn_of == 0):
                    t, hz_here = cap_index[y, x], cap_z[y, x]
                    wa, wb = cap_weights[y, x, 0], cap_weights[y, x, 1]
                    triangles, part = cap_triangles, CAP
                else:
                    t, hz_here = curtain_index[y, x], curtain_z[y, x]
                    wa, wb = curtain_weights[y, x, 0], curtain_weights[y, x, 1]
                    triangles, part = curtain_triangles, CURTAIN
                if t < 0 or hz_here <= front:
                    continue
                i, j, k = triangles[t, 0], triangles[t, 1], triangles[t, 2]
                wc = 1.0 - wa - wb
                px = wa * hair_head[i, 0] + wb * hair_head[j, 0] + wc * hair_head[k, 0]
                py = wa * hair_head[i, 1] + wb * hair_head[j, 1] + wc * hair_head[k, 1]
                pz = wa * hair_head[i, 2] + wb * hair_head[j, 2] + wc * hair_head[k, 2]
                nx = wa * hair_normal[i, 0] + wb * hair_normal[j, 0] + wc * hair_normal[k, 0]
                ny = wa * hair_normal[i, 1] + wb * hair_normal[j, 1] + wc * hair_normal[k, 1]
                nz = wa * hair_normal[i, 2] + wb * hair_normal[j, 2] + wc * hair_normal[k, 2]
                u0 = wa * hair_uv[i, 0] + wb * hair_uv[j, 0] + wc * hair_uv[k, 0]
                u1 = wa * hair_uv[i, 1] + wb * hair_uv[j, 1] + wc * hair_uv[k, 1]
                n = 1.0 / sqrt(nx * nx + ny * ny + nz * nz + 1e-12)
                hr, hg, hb, ha = hair(
                    (px, py, pz), (nx * n, ny * n, nz * n), (u0, u1), part, look, turn, strands
                )
                r += (hr - r) * ha
                g += (hg - g) * ha
                b += (hb - b) * ha
                alpha += (1.0 - alpha) * ha
                if ha > 0.5:
                    label = HAIR_LABEL
                    front = hz_here
            if glass_alpha > 0.0:
                t = glass_index[y, x]
                if t >= 0 and glass_z[y, x] > front:
                    i, j, k = glass_triangles[t, 0], glass_triangles[t, 1], glass_triangles[t, 2]
                    wa, wb = glass_weights[y, x, 0], glass_weights[y, x, 1]
                    wc = 1.0 - wa - wb
                    nx = wa * glass_normal[i, 0] + wb * glass_normal[j, 0] + wc * glass_normal[k, 0]
                    ny = wa * glass_normal[i, 1] + wb * glass_normal[j, 1] + wc * glass_normal[k, 1]
                    nz = wa * glass_normal[i, 2] + wb * glass_normal[j, 2] + wc * glass_normal[k, 2]
                    n = 1.0 / sqrt(nx * nx + ny * ny + nz * nz + 1e-12)
                    if nz < 0:
                        n = -n
                    nx, ny, nz = nx * n, ny * n, nz * n
                    if glass_part[t] == LENS:
                        u0 = wa * glass_uv[i, 0] + wb * glass_uv[j, 0] + wc * glass_uv[k, 0]
                        u1 = wa * glass_uv[i, 1] + wb * glass_uv[j, 1] + wc * glass_uv[k, 1]
                        streak = bell((u0 + 0.55 * u1 + 0.10 - 0.2 * slant_x) / 0.045) + 0.6 * bell(
                            (u0 + 0.55 * u1 - 0.01 - 0.2 * slant_x) / 0.018
                        )
                        sheen = glass_alpha * (0.03 + 0.10 * streak * step(0.10, -0.12, u1))
                        dim = 1.0 - 0.07 * glass_alpha
                        r = r * dim + sheen * 0.85
                        g = g * dim + sheen * 0.95
                        b = b * dim + sheen * 1.0
                        if glass_alpha > 0.5 and alpha > 0.5:
                            label = EYE_G
                    else:
                        gr, gg, gb = look.rim_colour
                        gr, gg, gb = lit((gr, gg, gb), (nx, ny, nz), 1.0, 0.0, 4.0, look)
                        r += (gr - r) * glass_alpha
                        g += (gg - g) * glass_alpha
                        b += (gb - b) * glass_alpha
                        alpha += (1.0 - alpha) * glass_alpha
                        if glass_alpha > 0.5:
                            label = EYE_G
            out[y, x, 0], out[y, x, 1], out[y, x, 2] = r, g, b
            coverage[y, x] = alpha
            labels[y, x] = label
    return out, coverage, labels


@njit(cache=True, fastmath=True)
def develop(linear, coverage, labels, backdrop, factor):
    """Average blocks of factor x factor, compress the highlights, and encode.

    Args:
        linear: [H*f,W*f,3] float32; coverage: [H*f,W*f]; labels: [H*f,W*f] uint8; backdrop: [H,W,3] float32 linear,
            seen where coverage is zero; factor: f.
    Returns:
        uint8 [H,W,3], float32 [H,W], uint8 [H,W] (the commonest label of the block, the frontmost on a tie).
    """
    height, width = linear.shape[0] // factor, linear.shape[1] // factor
    image = np.empty((height, width, 3), np.uint8)
    alpha = np.empty((height, width), np.float32)
    classes = np.empty((height, width), np.uint8)
    count = np.zeros(20, np.int32)
    scale = 1.0 / (factor * factor)
    for y in range(height):
        for x in range(width):
            total = 0.0
            count[:] = 0
            best = 0
            bare = 0
            c0 = c1 = c2 = 0.0
            for dy in range(factor):
                for dx in range(factor):
                    v, u = y * factor + dy, x * factor + dx
                    total += coverage[v, u]
                    if coverage[v, u] > 0.0:
                        c0 += 1.0 - exp(-1.35 * linear[v, u, 0])
                        c1 += 1.0 - exp(-1.35 * linear[v, u, 1])
                        c2 += 1.0 - exp(-1.35 * linear[v, u, 2])
                    else:
                        bare += 1
                    label = labels[v, u]
                    count[label] += 1
                    if count[label] > count[best]:
                        best = label
            if bare > 0:
                c0 += bare * (1.0 - exp(-1.35 * backdrop[y, x, 0]))
                c1 += bare * (1.0 - exp(-1.35 * backdrop[y, x, 1]))
                c2 += bare * (1.0 - exp(-1.35 * backdrop[y, x, 2]))
            alpha[y, x] = total * scale
            classes[y, x] = best
            image[y, x, 0] = np.uint8(min(max(c0 * scale, 0.0), 1.0) ** (1 / 2.2) * 255.0 + 0.5)
            image[y, x, 1] = np.uint8(min(max(c1 * scale, 0.0), 1.0) ** (1 / 2.2) * 255.0 + 0.5)
            image[y, x, 2] = np.uint8(min(max(c2 * scale, 0.0), 1.0) ** (1 / 2.2) * 255.0 + 0.5)
    return image, alpha, classes


@njit(cache=True, fastmath=True)
def gradient(height, width, first, second, angle):
    """[H,W,3] float32: a smooth studio backdrop, brighter behind the head."""
    out = np.empty((height, width, 3), np.float32)
    c, s = np.cos(angle), np.sin(angle)
    for y in range(height):
        for x in range(width):
            u, v = x / width - 0.5, y / height - 0.5
            t = step(-0.75, 0.75, u * c + v * s)
            glow = 1.0 + 0.30 * exp(-(u * u + v * v) / 0.18)
            for k in range(3):
                out[y, x, k] = (first[k] * (1.0 - t) + second[k] * t) * glow
    return out
