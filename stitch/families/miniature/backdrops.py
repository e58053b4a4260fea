"""Backdrops behind a drawn person: a studio's gradient, or a room or street out of focus."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np

Kind = Literal["plain", "busy"]


def _colour(rng: np.random.Generator, lightness: tuple[float, float], saturation: tuple[float, float]) -> np.ndarray:
    hue = rng.uniform(0, 2 * np.pi)
    wheel = 1 + rng.uniform(*saturation) * np.cos(hue + np.array([0.0, -2.0944, 2.0944]))
    return np.clip(rng.uniform(*lightness) * wheel, 0, 1)


def _clouds(rng: np.random.Generator, width: int, height: int, cell: float) -> np.ndarray:
    """[H,W] smooth noise of about unit variance."""
    small = rng.normal(size=(int(height / cell) + 4, int(width / cell) + 4)).astype(np.float32)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


def _gradient(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    v, u = np.mgrid[0:height, 0:width].astype(np.float32)
    u, v = u / width - 0.5, v / height - 0.5
    angle = rng.uniform(0, 2 * np.pi)
    t = (np.clip(0.5 + 0.75 * (u * np.cos(angle) + v * np.sin(angle)), 0, 1))[..., None]
    first = _colour(rng, (0.45, 0.75), (0.05, 0.25))
    second = np.clip(first * rng.uniform(0.45, 0.8) + rng.normal(0, 0.04, 3), 0, 1)
    glow = np.exp(-((u - rng.uniform(-0.2, 0.2)) ** 2 + (v + 0.1) ** 2) / 0.16)[..., None]
    picture = first * (1 - t) + second * t + 0.14 * glow
    return picture + 0.012 * _clouds(rng, width, height, max(width / 14, 2))[..., None]


def _bookshelf(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    wood = np.array([0.34, 0.22, 0.13]) * rng.uniform(0.7, 1.4)
    picture = np.full((height, width, 3), 1.0) * wood * 0.45
    shelf = height / int(rng.integers(3, 6))
    for top in np.arange(-rng.uniform(0, shelf), height, shelf):
        x = -rng.uniform(0, 20)
        base = int(top + shelf * 0.93)
        while x < width:
            thick = max(width * rng.uniform(0.012, 0.04), 2)
            tall = shelf * rng.uniform(0.55, 0.85)
            if rng.random() > 0.10:
                colour = _colour(rng, (0.15, 0.62), (0.05, 0.34))
                x0, x1, y0 = int(x), int(x + thick), int(base - tall)
                cv2.rectangle(picture, (x0, y0), (x1, base), colour.tolist(), -1)
                cv2.rectangle(picture, (x0, y0), (x0 + max(int(thick * 0.18), 1), base), (colour * 0.62).tolist(), -1)
                band = int(y0 + tall * rng.uniform(0.1, 0.3))
                tint = np.clip(colour * rng.uniform(0.5, 1.6) + 0.1, 0, 1)
                cv2.rectangle(picture, (x0, band), (x1, band + max(int(tall * 0.06), 1)), tint.tolist(), -1)
            x += thick
        cv2.rectangle(picture, (0, base), (width, int(top + shelf)), wood.tolist(), -1)
    return picture


def _bricks(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    mortar = np.array([0.66, 0.63, 0.60]) * rng.uniform(0.7, 1.1)
    base = np.array([0.58, 0.28, 0.20]) * rng.uniform(0.7, 1.25) + rng.normal(0, 0.05, 3)
    picture = np.full((height, width, 3), 1.0) * mortar
    tall = height / rng.uniform(10, 18)
    wide, joint = 2.6 * tall, max(tall * 0.10, 1)
    for row, y in enumerate(np.arange(-tall / 2, height, tall)):
        for x in np.arange(-wide * (1 + 0.5 * (row % 2)), width, wide):
            colour = np.clip(base * rng.uniform(0.75, 1.2) + rng.normal(0, 0.02, 3), 0, 1)
            cv2.rectangle(
                picture, (int(x + joint), int(y + joint)), (int(x + wide), int(y + tall)), colour.tolist(), -1
            )
    return picture * (1 + 0.07 * _clouds(rng, width, height, 4)[..., None])


def _bokeh(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    picture = _gradient(rng, width, height) * 0.34
    hue = rng.uniform(0, 2 * np.pi)
    for _ in range(rng.integers(40, 80)):
        wheel = 1 + 0.5 * np.cos(hue + rng.normal(0, 0.9) + np.array([0.0, -2.0944, 2.0944]))
        disc = np.zeros((height, width), np.float32)
        radius = int(width * rng.uniform(0.012, 0.055)) + 1
        centre = (int(rng.uniform(0, width)), int(rng.uniform(0, height)))
        cv2.circle(disc, centre, radius, 1.0, -1, cv2.LINE_AA)
        cv2.circle(disc, centre, radius, 1.3, max(radius // 8, 1), cv2.LINE_AA)
        picture = picture + disc[..., None] * rng.uniform(0.10, 0.42) * wheel
    return picture


def _leaves(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    picture = np.full((height, width, 3), 1.0) * np.array([0.06, 0.12, 0.05])
    picture += 0.05 * _clouds(rng, width, height, width / 8)[..., None]
    warm = rng.uniform(-0.1, 0.25)
    for k in range(420):
        depth = k / 420
        colour = np.array([0.20 + warm, 0.42, 0.12]) * (0.35 + 0.9 * depth) * rng.uniform(0.6, 1.35)
        length = width * rng.uniform(0.025, 0.07)
        centre = (int(rng.uniform(0, width)), int(rng.uniform(0, height)))
        axes = (int(length) + 1, int(length * rng.uniform(0.25, 0.5)) + 1)
        angle = float(rng.uniform(0, 180))
        cv2.ellipse(picture, centre, axes, angle, 0, 360, np.clip(colour, 0, 1).tolist(), -1, cv2.LINE_AA)
        dx, dy = axes[0] * np.cos(np.deg2rad(angle)), axes[0] * np.sin(np.deg2rad(angle))
        stem, tip = ((int(centre[0] + s * dx), int(centre[1] + s * dy)) for s in (-1, 1))
        cv2.line(picture, stem, tip, np.clip(colour * 1.35, 0, 1).tolist(), 1, cv2.LINE_AA)
    return picture


def _blinds(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    v = np.mgrid[0:height, 0:width][0].astype(np.float32)
    slats = rng.uniform(16, 30)
    phase = (v / height * slats) % 1.0
    light = _colour(rng, (0.70, 0.85), (0.02, 0.12))
    slat = light * (0.55 + 0.55 * phase[..., None] ** 1.5)
    gap = light * 1.15
    picture = np.where((phase < 0.16)[..., None], gap, slat)
    for x in (width * rng.uniform(0.1, 0.3), width * rng.uniform(0.6, 0.9)):
        cv2.line(picture, (int(x), 0), (int(x), height), (light * 0.45).tolist(), max(width // 250, 1))
    frame = int(width * rng.uniform(0.42, 0.58))
    cv2.rectangle(picture, (frame, 0), (frame + width // 40, height), (light * 0.35).tolist(), -1)
    return picture * (1 + 0.10 * _clouds(rng, width, height, width / 3)[..., None])


def _room(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """A wall with pictures, a lamp and a plant."""
    wall = _colour(rng, (0.45, 0.75), (0.05, 0.2))
    picture = np.full((height, width, 3), 1.0) * wall
    stripe = np.sin(np.arange(width) / width * rng.uniform(60, 160)) > 0.2
    picture[:, stripe] *= 0.93
    for _ in range(rng.integers(4, 8)):
        w, h = (int(width * rng.uniform(0.07, 0.20)) for _ in range(2))
        x, y = int(rng.uniform(0, width - w)), int(rng.uniform(0, height * 0.7))
        cv2.rectangle(picture, (x, y), (x + w, y + h), _colour(rng, (0.1, 0.3), (0, 0.2)).tolist(), -1)
        m = max(w // 12, 1)
        paper = _gradient(rng, max(w - 2 * m, 1), max(h - 2 * m, 1))
        paper = paper + 0.15 * _clouds(rng, paper.shape[1], paper.shape[0], max(w / 6, 2))[..., None]
        y1, x1 = min(y + m + paper.shape[0], height), min(x + m + paper.shape[1], width)
        picture[y + m : y1, x + m : x1] = paper[: y1 - y - m, : x1 - x - m]
    floor = int(height * rng.uniform(0.78, 0.9))
    picture[floor:] = _colour(rng, (0.2, 0.4), (0.1, 0.3))
    cv2.rectangle(picture, (0, floor), (width, floor + max(height // 60, 1)), (0.85, 0.84, 0.82), -1)
    v, u = np.mgrid[0:height, 0:width].astype(np.float32)
    lamp = np.exp(-(((u - rng.uniform(0, width)) / (0.3 * width)) ** 2 + ((v - 0.3 * height) / (0.4 * height)) ** 2))
    return picture * 0.8 + 0.35 * lamp[..., None] * np.array([1.0, 0.86, 0.62])


_BUSY = (_bookshelf, _bricks, _bokeh, _leaves, _blinds, _room)


def backdrop(seed: int, size: tuple[int, int], kind: Kind) -> np.ndarray:
    """A backdrop; give it more than the frame, and a camera can pan over it.

    Args:
        seed: the same seed gives the same picture; consecutive seeds go through the busy motifs in turn.
        size: width, height in px.
        kind: "plain", a studio's gradient, or "busy", a textured place softly out of focus.
    Returns:
        uint8 [H,W,3] RGB.
    Raises:
        ValueError: unknown kind or empty size.
    """
    width, height = int(size[0]), int(size[1])
    if width < 8 or height < 8:
        raise ValueError(f"size: got {size}, expected at least (8, 8)")
    rng = np.random.default_rng([1877, seed])
    if kind == "plain":
        picture = _gradient(rng, width, height)
        blur = 0.0
    elif kind == "busy":
        picture = _BUSY[seed % len(_BUSY)](rng, width, height)
        blur = rng.uniform(0.0022, 0.0055) * width
    else:
        raise ValueError(f"kind: got {kind!r}, expected 'plain' or 'busy'")
    picture = np.clip(picture, 0, 1).astype(np.float32)
    if blur > 0:
        picture = cv2.GaussianBlur(picture, (0, 0), blur)
        v, u = np.mgrid[0:height, 0:width].astype(np.float32)
        shade = 1.0 - 0.28 * (((u / width - 0.5) ** 2 + (v / height - 0.5) ** 2) / 0.5)
        picture = picture * shade[..., None]
    # a little fixed grain keeps slow gradients from banding
    grain = rng.normal(0, 0.006, picture.shape).astype(np.float32)
    return np.round(255 * np.clip(picture + grain, 0, 1)).astype(np.uint8)
