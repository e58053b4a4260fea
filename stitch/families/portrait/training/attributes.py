"""Attributes of aligned faces, measured from the teachers' labels and the pixels; one number a face and attribute."""

from collections.abc import Mapping

import cv2
import numpy as np
import torch

from stitch.families.portrait.training.sets import Arrays

EXPRESSIONS = {"smile_left": 44, "smile_right": 45, "jaw_open": 25, "brow_inner_up": 3}
"""Columns of the 52 expressions."""

GRIMACES = {
    "frown": (30, 31), "brow_down": (1, 2), "pucker": (38,), "blink": (9, 10), "squint": (19, 20),
}  # fmt: skip
"""Columns of the expressions that words name and no slider moves."""

GLASSES = 6
"""Of the parser's classes."""

_OUTER_LIPS = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185)
_INNER_LIPS = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191)
_BROWS = ((70, 63, 105, 66, 107), (300, 293, 334, 296, 336))
_EYES = ((33, 133, 159, 145), (263, 362, 386, 374))
"""Outer corner, inner corner, upper lid, lower lid."""

_CHEEKS, _BEARD = (50, 280, 101, 330), (199, 175, 171, 396, 164, 212, 432)
_FOREHEAD = (10, 338, 297, 332, 284, 251, 301, 293, 334, 296, 336, 9, 107, 66, 105, 63, 71, 21, 54, 103, 67, 109)
_NOSE_TIP, _CHIN, _TOP, _RIGHT, _LEFT = 1, 152, 10, 234, 454


def measured(images: np.ndarray, labels: Arrays, parts: np.ndarray) -> dict[str, np.ndarray]:
    """All attributes.

    Args:
        images: [N,S,S,3] uint8, aligned by FFHQ's rule.
        labels: of `teachers.looks`.
        parts: [N,h,w] uint8, BiSeNet's classes.
    Returns:
        [N] float64 by name, in natural units; every name grows with what it says.
    """
    samples = ({name: values[index] for name, values in labels.items()} for index in range(len(images)))
    rows = [_one(image, label) for image, label in zip(images, samples, strict=True)]
    for row, part in zip(rows, parts, strict=True):
        row["glasses"] = float((part == GLASSES).mean())
    return {name: np.array([row[name] for row in rows], np.float64) for name in rows[0]}


def named(images: np.ndarray, labels: Arrays, parts: np.ndarray) -> dict[str, np.ndarray]:
    """What words can say of a face: the attributes of `measured`, and what no slider moves.

    Args, Returns as `measured`.
    """
    grimaces = {name: labels["expressions"][:, list(columns)].mean(1) for name, columns in GRIMACES.items()}
    red = [_redness(image, hair) for image, hair in zip(images, labels["hair"], strict=True)]
    return {**measured(images, labels, parts), **grimaces, "hair_red": np.array(red, np.float64)}


def standardised(values: np.ndarray) -> np.ndarray:
    """Numbers [N] by their ranks, spread as a normal distribution of mean 0 and std 1; NaN becomes 0.

    Equal numbers get the mean of their places, so that an attribute most faces lack has one low value for all of them.
    """
    given = np.flatnonzero(np.isfinite(values))
    _, place, count = np.unique(values[given], return_inverse=True, return_counts=True)
    shares = (np.cumsum(count) - count / 2)[place] / max(1, len(given))
    out = np.zeros(len(values))
    out[given] = np.sqrt(2) * torch.erfinv(torch.from_numpy(2 * shares - 1)).numpy()
    return out


def _one(image: np.ndarray, label: Mapping[str, np.ndarray]) -> dict[str, float]:
    mesh, expressions = label["mesh"], label["expressions"]
    middle = (mesh[_RIGHT] + mesh[_LEFT]) / 2
    width, height = np.linalg.norm(mesh[_LEFT] - mesh[_RIGHT]), np.linalg.norm(mesh[_CHIN] - mesh[_TOP])
    eyes = (mesh[[33, 133]].mean(0) + mesh[[263, 362]].mean(0)) / 2
    return {
        "smile": float(expressions[[EXPRESSIONS["smile_left"], EXPRESSIONS["smile_right"]]].mean()),
        "age": float(label["age"]),
        "gender": float(_logit(label["male"])),
        "mouth_open": float(np.linalg.norm(mesh[13] - mesh[14]) / height),
        "eyes_open": float(np.mean([_openness(mesh, eye) for eye in _EYES])),
        "brows": float(np.mean([_brow(mesh, brow, eye) for brow, eye in zip(_BROWS, _EYES, strict=True)])),
        "yaw": float((mesh[_NOSE_TIP, 0] - middle[0]) / width),
        "pitch": float((mesh[_NOSE_TIP, 1] - eyes[1]) / height),
        "face_width": float(width / height),
        **_colours(image, mesh, label["hair"]),
    }


def _colours(image: np.ndarray, mesh: np.ndarray, hair: np.ndarray) -> dict[str, float]:
    """What is read from pixels: CIE Lab of hair, lips and skin."""
    size = image.shape[0]
    lab = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    points = mesh * size
    hairy = cv2.resize(hair, (size, size), interpolation=cv2.INTER_LINEAR).astype(np.float32) / 255
    rows = np.arange(size)[:, None]
    below = hairy * (rows > points[_NOSE_TIP, 1])
    lips = _filled(points[list(_OUTER_LIPS)], size) & ~_filled(points[list(_INNER_LIPS)], size)
    skin, chin = (_patches(lab, points[list(places)]) for places in (_CHEEKS, _BEARD))
    strands = lab[hairy > 0.8]
    lightness, _, yellow = strands.mean(0) if len(strands) > size else skin * np.nan
    chroma = np.hypot(strands[:, 1], strands[:, 2]).mean() if len(strands) > size else np.nan
    return {
        "hair_length": float(below.mean()),
        "hair_amount": float(hairy.mean()),
        "bangs": float(hairy[_filled(points[list(_FOREHEAD)], size)].mean()),
        "hair_dark": float(-lightness),
        "hair_blond": float(lightness / 2 + yellow),
        "hair_grey": float(lightness / 2 - chroma),
        "lipstick": float(lab[lips].mean(0)[1] - skin[1]) if lips.any() else 0.0,
        "beard": float(skin[0] - chin[0]),
        "skin_light": float(skin[0]),
    }


def _redness(image: np.ndarray, hair: np.ndarray) -> float:
    """Mean a* of the hair; NaN without hair."""
    lab = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    strands = lab[cv2.resize(hair, lab.shape[1::-1], interpolation=cv2.INTER_LINEAR) > 204]
    return float(strands[:, 1].mean()) if len(strands) > lab.shape[0] else float("nan")


def _logit(share: np.ndarray) -> np.ndarray:
    share = np.clip(share, 0.01, 0.99)
    return np.log(share / (1 - share))


def _openness(mesh: np.ndarray, eye: tuple[int, ...]) -> float:
    outer, inner, upper, lower = mesh[list(eye)]
    return float(np.linalg.norm(upper - lower) / np.linalg.norm(outer - inner))


def _brow(mesh: np.ndarray, brow: tuple[int, ...], eye: tuple[int, ...]) -> float:
    corners = mesh[list(eye[:2])]
    return float((corners[:, 1].mean() - mesh[list(brow), 1].mean()) / np.linalg.norm(corners[0] - corners[1]))


def _filled(points: np.ndarray, size: int) -> np.ndarray:
    canvas = np.zeros((size, size), np.uint8)
    cv2.fillPoly(canvas, [np.round(points).astype(np.int32)], 1)
    return canvas.astype(bool)


def _patches(lab: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Mean Lab of small squares about some points, the median over the points."""
    half = max(1, lab.shape[0] // 64)
    places = np.clip(np.round(points).astype(int), half, lab.shape[0] - half - 1)
    squares = [lab[y - half : y + half + 1, x - half : x + half + 1].mean((0, 1)) for x, y in places]
    return np.median(squares, axis=0)
