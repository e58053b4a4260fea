"""A drawn portrait in front of a backdrop out of focus, as a camera sees it."""

from dataclasses import dataclass

import cv2
import numpy as np

PORTRAIT = 0.77
"""Side of the portrait, which is also that of the face's aligned crop, in shares of the frame's height."""

FINENESS = 2
"""The scene is put together at so many times the frame's size, then reduced."""

_BELOW = 0.03  # of the portrait's side lies beyond the frame's lower edge
_SLOPE = 0.45  # of shoulders, where they go on beyond the portrait's sides
_SHOULDERS, _WISP = (0.78, 0.88), 0.05  # where they may begin; hair higher up ends soon beyond the sides
_EDGE_PX = 3  # the outermost pixels of a portrait are not to be trusted
_CROWN, _ARCH, _FUZZ = 0.12, 0.13, 0.012  # room above the portrait; hair that goes on there, and its soft edge
_FAR = 0.5  # how much of a pan the backdrop follows
_MARGIN = 1.15  # the backdrop against the frame
_COARSE = 8  # what is out of focus needs so many times fewer pixels
_GRAIN = 1.6  # levels of 255


@dataclass(frozen=True)
class View:
    """One frame's camera, see `motion.Camera`."""

    pan: np.ndarray
    zoom: float
    sway: np.ndarray
    roll: float


def placement(side: int, size: tuple[int, int], view: View) -> np.ndarray:
    """Where the portrait is.

    Args:
        side: of the portrait in px.
        size: width, height of the frame in px.
        view: of the frame.
    Returns:
        [2,3] float64, from the portrait's coordinates to the frame's.
    """
    width, height = size
    scale = PORTRAIT * height / side * view.zoom
    turn = scale * np.array([[np.cos(view.roll), -np.sin(view.roll)], [np.sin(view.roll), np.cos(view.roll)]])
    foot = np.array([0.5, 1 - _BELOW]) * side
    at = np.array([0.5 * width, height]) + (view.sway - view.pan) * height
    return np.column_stack([turn, at - turn @ foot])


def backdrop(picture: np.ndarray, matte: np.ndarray, size: tuple[int, int], seed: int) -> np.ndarray:
    """What is behind the person, larger than the frame: the portrait's own colours, and soft shapes in them.

    Args:
        picture: [S,S,3] uint8.
        matte: [S,S] of the person.
        size: width, height of the frame in px.
        seed: of the shapes.
    Returns:
        [H,W,3] float32, levels of 255.
    """
    frame = (max(size[0] // _COARSE, 8), max(size[1] // _COARSE, 8))
    width, height = (round(side * _MARGIN) for side in frame)
    place = placement(len(picture), frame, View(np.zeros(2), 1.0, np.zeros(2), 0.0))
    place[:, 2] += (np.array([width, height]) - frame) / 2
    sure = (cv2.erode(matte, np.ones((5, 5))) < 0.02) & (cv2.dilate(matte, np.ones((9, 9))) < 0.02)
    weight = cv2.warpAffine(sure.astype(np.float32), place, (width, height), flags=cv2.INTER_AREA)
    colours: np.ndarray = cv2.warpAffine(cv2.blur(picture, (9, 9)).astype(np.float32), place, (width, height))
    mean = np.average(colours.reshape(-1, 3), axis=0, weights=weight.ravel() + 1e-6)

    def spread(values: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(values, (0, 0), 0.13 * height, borderType=cv2.BORDER_REFLECT)

    near = spread(weight)[..., None]
    plate = (spread(colours * weight[..., None]) + 0.02 * mean) / (near + 0.02)
    rng = np.random.default_rng([seed, 60])
    shapes = np.ones((height, width), np.float32)
    for _ in range(9):
        centre = rng.uniform((0, 0), (width, height))
        half = rng.uniform(0.05, 0.22, 2) * height * (0.7, 1.8)
        (x0, y0), (x1, y1) = (np.round(centre + sign * half).astype(int).tolist() for sign in (-1, 1))
        cv2.rectangle(shapes, (x0, y0), (x1, y1), float(rng.uniform(0.82, 1.15)), -1)
    plate *= cv2.GaussianBlur(shapes, (0, 0), 0.035 * height)[..., None]
    whole = (round(size[0] * _MARGIN), round(size[1] * _MARGIN))
    return cv2.resize(plate.astype(np.float32), whole, interpolation=cv2.INTER_CUBIC)


def filmed(
    picture: np.ndarray, matte: np.ndarray, plate: np.ndarray, size: tuple[int, int], view: View,
    rng: np.random.Generator,
) -> np.ndarray:
    """One frame.

    Args:
        picture: [S,S,3] uint8 portrait.
        matte: [S,S] float32 of the person.
        plate: of `backdrop`.
        size: width, height in px.
        view: of the frame.
        rng: of its grain.
    Returns:
        [H,W,3] uint8.
    """
    large = (size[0] * FINENESS, size[1] * FINENESS)
    person = np.dstack([picture.astype(np.float32), 255 * matte])
    layer = _extended(person, placement(len(picture), large, view), large)
    middle = np.array(plate.shape[1::-1]) / 2
    shift = np.array(large) / 2 - FINENESS * view.zoom * middle - _FAR * view.pan * large[1]
    move = np.column_stack([FINENESS * view.zoom * np.eye(2), shift])
    behind = cv2.warpAffine(plate, move, large, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    alpha = layer[..., 3:] / 255
    scene = cv2.resize(behind * (1 - alpha) + layer[..., :3] * alpha, size, interpolation=cv2.INTER_AREA)
    grain = cv2.GaussianBlur(rng.normal(0, 2.2 * _GRAIN, scene.shape[:2]).astype(np.float32), (0, 0), 0.6)
    return np.clip(np.round(scene + grain[..., None]), 0, 255).astype(np.uint8)


def _extended(person: np.ndarray, place: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A person in the frame; shoulders that leave the portrait go on downwards, and nothing is above it."""
    side = person.shape[1]
    crown = round(_CROWN * side)
    person = _crowned(person, crown)
    back = cv2.invertAffineTransform(place)
    points = np.stack(np.meshgrid(np.arange(size[0]) + 0.5, np.arange(size[1]) + 0.5), axis=-1)
    u, v = np.moveaxis(points @ back[:, :2].T + back[:, 2], -1, 0)
    inside = np.clip(u, _EDGE_PX, side - _EDGE_PX)
    beyond = np.abs(u - inside)
    v = np.minimum(v - _SLOPE * beyond, side - _EDGE_PX)
    layer: np.ndarray = cv2.remap(
        person, (inside - 0.5).astype(np.float32), (v + crown - 0.5).astype(np.float32), cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
    )
    shoulders = np.clip((v / side - _SHOULDERS[0]) / (_SHOULDERS[1] - _SHOULDERS[0]), 0, 1)
    layer[..., 3] *= np.maximum(np.clip(1 - beyond / (_WISP * side), 0, 1), shoulders)
    return layer


def _crowned(person: np.ndarray, height: int) -> np.ndarray:
    """A person with some px above the portrait, where hair that its upper edge cuts off ends in a flat arch."""
    whole = cv2.copyMakeBorder(person[_EDGE_PX:], height + _EDGE_PX, 0, 0, 0, cv2.BORDER_REFLECT_101)
    cut = np.flatnonzero(person[_EDGE_PX, :, 3] > 127)
    arch = np.zeros(person.shape[1])
    if len(cut) > 1:
        across = (np.arange(len(arch)) - cut.mean()) / (0.5 * (cut[-1] - cut[0] + 1))
        arch = np.minimum(_ARCH * (cut[-1] - cut[0]), height - 1) * np.maximum(1 - across * across, 0)
    above = height + _EDGE_PX - np.arange(height + _EDGE_PX)[:, None] - 0.5
    soft = np.clip((arch - (above - _EDGE_PX)) / (_FUZZ * person.shape[1]), 0, 1)
    whole[: height + _EDGE_PX, :, 3] = np.minimum(whole[: height + _EDGE_PX, :, 3], 255 * soft)
    return whole
