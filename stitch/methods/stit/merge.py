"""Stage 6: put the stitched face back into its frame (section 3.4)."""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image

from stitch.core import geometry, images
from stitch.core.settings import MergeSettings


@dataclass(frozen=True, eq=False)
class Source:
    """What a tile was made from, for the detail that its sampling lost.

    Attributes:
        crop: c_i, [S,S,3] uint8.
        weights: [S,S] uint8, how much of the lost detail a place keeps, 255 is all of it, see `detail`.
    """

    crop: np.ndarray
    weights: np.ndarray


def paste(
    frame: np.ndarray,
    tile: np.ndarray,
    dilated_mask: np.ndarray,
    quad: np.ndarray,
    dilation_px: int,
    settings: MergeSettings,
    source: Source | None = None,
) -> np.ndarray:
    """Warp s_i back and lay it over the frame inside m_i^d, its edge feathered inwards, or as the settings blend it.

    Pixels outside the warped mask (`geometry.warp_mask`) are the source's, bit for bit. Where the frame shows the face
    larger than the tile, what the crop lost in being sampled (frame minus the crop laid back over it) is added (ours).

    Args:
        frame: x_i, [H,W,3] uint8.
        tile: s_i, [S,S,3] uint8.
        dilated_mask: m_i^d, [S,S], set where above one half.
        quad: [4,2] frame px, of the crop that the tile replaces.
        dilation_px: radius that the mask was dilated by, in tile px.
        settings: how much of that radius is feathered.
        source: what the tile was made from; None adds nothing.
    Returns:
        A new frame.
    """
    if settings.blend == "poisson":
        return poisson(frame, tile, dilated_mask, quad)
    alpha = feather(np.where(dilated_mask > 0.5, np.uint8(255), np.uint8(0)), round(dilation_px * settings.feather))
    merged = composite(frame, tile, alpha, quad, within=dilated_mask)
    if source is None or not source.weights.any():
        return merged
    plain = composite(frame, source.crop, alpha, quad, within=dilated_mask)
    changed = cv2.boundingRect((plain != frame).any(-1).astype(np.uint8))
    if not all(changed[2:]):
        return merged
    x0, y0, x1, y1 = changed[0], changed[1], changed[0] + changed[2], changed[1] + changed[3]
    part = slice(y0, y1), slice(x0, x1)
    weights = geometry.warp_tile(source.weights, quad, (x0, y0, x1, y1))[..., None]
    lost = frame[part].astype(np.float32) - plain[part]
    merged[part] = np.clip(merged[part] + lost * (weights / np.float32(255)) + 0.5, 0, 255).astype(np.uint8)
    return merged


def poisson(frame: np.ndarray, tile: np.ndarray, mask: np.ndarray, quad: np.ndarray) -> np.ndarray:
    """Keep the tile's gradients inside a mask and the frame's colours at its edge (Perez et al. 2003).

    The paper's figure 8 pastes so where it does not tune for the seam: a difference at the edge is not repaired but
    spread over the face. Lost detail is not added: the equation has no place for it.

    Args:
        frame: [H,W,3] uint8.
        tile: [S,S,3] uint8.
        mask: [S,S], set where above one half.
        quad: [4,2] frame px, of the crop that the tile replaces.
    Returns:
        A new frame, the old one outside the warped mask.
    """
    height, width = frame.shape[:2]
    inside = geometry.warp_mask(mask, quad, height, width)
    inside[[0, -1]] = inside[:, [0, -1]] = False  # the equation needs an edge in the frame
    box = geometry.frame_box(quad, height, width)
    if box is None or not inside.any():
        return frame.copy()
    x0, y0, x1, y1 = box
    drawn = frame.copy()
    part = inside[y0:y1, x0:x1]
    drawn[y0:y1, x0:x1][part] = geometry.warp_tile(tile, quad, box)[part]
    x, y, wide, tall = cv2.boundingRect(inside.astype(np.uint8))
    place = x + wide // 2, y + tall // 2  # where OpenCV puts the middle of the mask's rectangle: where it is
    cloned = cv2.seamlessClone(drawn, frame, inside.astype(np.uint8) * 255, place, cv2.NORMAL_CLONE)
    return np.where(inside[..., None], cloned, frame)


def feather(alpha: np.ndarray, radius_px: int) -> np.ndarray:
    """Soft edge inside a mask: eroded by the radius, then blurred by it (the authors' code).

    Args:
        alpha: [S,S] uint8, 255 inside; beyond the tile counts as 0, so the tile's own edge is feathered too.
        radius_px: >= 0; 0 keeps the edge.
    Returns:
        [S,S] uint8, zero wherever `alpha` is.
    """
    if radius_px == 0:
        return alpha
    side = 2 * radius_px + 1
    eroded = cv2.erode(alpha, np.ones((side, side), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return cv2.GaussianBlur(eroded, (side, side), 0)


def composite(
    frame: np.ndarray,
    tile: np.ndarray,
    alpha: np.ndarray,
    quad: np.ndarray,
    within: np.ndarray | None = None,
    prescale: bool = True,
) -> np.ndarray:
    """Lay a partly transparent tile over the frame.

    A tile that is much too large is shrunk first, by the rule of the crop, and one that is too small is enlarged:
    bilinear sampling alone would alias or show the tile's pixels.

    Args:
        frame: [H,W,3] uint8.
        tile: [S,S,3] uint8.
        alpha: [S,S] uint8, 255 is opaque.
        quad: [4,2] frame px, where the tile's corners go.
        within: [S,S]; nothing is drawn where `geometry.warp_mask` of it is false.
        prescale: bring the tile near its size in the frame first; the authors' code does not.
    Returns:
        A new frame.
    """
    merged = frame.copy()
    if not alpha.any():
        return merged
    height, width = frame.shape[:2]
    side = geometry.side_px(quad)
    factor = geometry.shrink_factor(len(tile), side) if prescale else 1
    rows, columns = _drawn_part(alpha, geometry.REACH * factor)
    part_quad = _part_of(quad, len(tile), rows, columns)
    box = geometry.frame_box(part_quad, height, width)
    if box is None:
        return merged
    x0, y0, x1, y1 = box
    layers = [images.shrink(layer[rows, columns], factor) for layer in (tile, alpha)]
    if prescale:  # colours and transparency apart: weighed colours would overshoot along a hard edge
        layers = [images.enlarge(layer, math.ceil(side * factor / len(tile))) for layer in layers]
    warped = geometry.warp_tile(np.dstack(layers), part_quad, box)
    if within is not None:
        warped[..., 3] *= geometry.warp_mask(within, quad, height, width)[y0:y1, x0:x1]
    background = Image.fromarray(merged[y0:y1, x0:x1]).convert("RGBA")
    background.alpha_composite(Image.fromarray(warped))
    merged[y0:y1, x0:x1] = np.asarray(background)[..., :3]
    return merged


def _drawn_part(alpha: np.ndarray, reach_px: int) -> tuple[slice, slice]:
    """Rows and columns around the tile's opaque part and as far as a filter may carry it."""
    x, y, width, height = cv2.boundingRect(alpha)
    return slice(max(y - reach_px, 0), y + height + reach_px), slice(max(x - reach_px, 0), x + width + reach_px)


def _part_of(quad: np.ndarray, size: int, rows: slice, columns: slice) -> np.ndarray:
    """Where a rectangle of the tile lies in the frame."""
    top, bottom, left, right = rows.start, min(rows.stop, size), columns.start, min(columns.stop, size)
    corners = np.array([(left, top), (left, bottom), (right, bottom), (right, top)], dtype=np.float64)
    return geometry.transform_points(geometry.quad_transform(quad, size), corners)
