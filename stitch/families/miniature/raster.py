"""A z-buffer that remembers which triangle is seen at each pixel, and where in it."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, fastmath=True)
def rasterise(xy, depth, triangles, height, width):
    """Visibility of triangles under parallel projection.

    Args:
        xy: [V,2] float64, pixels, pixel centres at integer + 0.5.
        depth: [V] float64, larger is nearer.
        triangles: [T,3] int32 vertex indices.
        height, width: size of the buffers.
    Returns:
        index [H,W] int32 of the triangle (-1 where none), weights [H,W,2] float32 of its first two corners (undefined
        where none), z [H,W] float32 (-1e9 where none).
    """
    index = np.full((height, width), -1, np.int32)
    weights = np.empty((height, width, 2), np.float32)
    nearest = np.full((height, width), np.float32(-1e9), np.float32)
    for t in range(triangles.shape[0]):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        ax, ay = xy[a, 0] - 0.5, xy[a, 1] - 0.5
        bx, by = xy[b, 0] - 0.5, xy[b, 1] - 0.5
        cx, cy = xy[c, 0] - 0.5, xy[c, 1] - 0.5
        area = (by - cy) * (ax - cx) + (cx - bx) * (ay - cy)
        if abs(area) < 1e-12:
            continue
        x0 = max(int(np.ceil(min(ax, bx, cx))), 0)
        x1 = min(int(np.floor(max(ax, bx, cx))), width - 1)
        y0 = max(int(np.ceil(min(ay, by, cy))), 0)
        y1 = min(int(np.floor(max(ay, by, cy))), height - 1)
        for y in range(y0, y1 + 1):
            for x in range(x0, x1 + 1):
                wa = ((by - cy) * (x - cx) + (cx - bx) * (y - cy)) / area
                wb = ((cy - ay) * (x - cx) + (ax - cx) * (y - cy)) / area
                wc = 1.0 - wa - wb
                if wa < -1e-7 or wb < -1e-7 or wc < -1e-7:
                    continue
                z = wa * depth[a] + wb * depth[b] + wc * depth[c]
                if z > nearest[y, x]:
                    nearest[y, x] = z
                    index[y, x] = t
                    weights[y, x, 0] = wa
                    weights[y, x, 1] = wb
    return index, weights, nearest
