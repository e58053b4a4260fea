"""Drawn clips: people who move, speak and blink, with the truth of every frame."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import cv2
import numpy as np

from stitch.families.miniature.appearance import FACTORS
from stitch.families.miniature.backdrops import Kind, backdrop
from stitch.families.miniature.brushes import smooth
from stitch.families.miniature.faces import draw, landmarks
from stitch.families.miniature.motion import moving, wander

Scene = Literal["plain", "busy", "moving-camera", "two-people", "lost-face", "cut"]

_LOST_S = 12 / 25  # how long a lost face stays away
_EYES = 0.65  # distance between the eyes in head units
_EYES_AND_MOUTH = slice(36, 60)


@dataclass(frozen=True, eq=False)
class PersonTruth:
    """A visible person. landmarks: float32 [68,2] px. factors: [len(FACTORS)]."""

    landmarks: np.ndarray
    factors: np.ndarray


@dataclass(frozen=True, eq=False)
class FrameTruth:
    """Truth of a frame.

    people: those whose face can be seen, the largest first; empty while the face is lost. labels: uint8 [H,W], the 19
    classes of face-parsing.PyTorch. shot: index, 0 before the first cut.
    """

    people: tuple[PersonTruth, ...]
    labels: np.ndarray
    shot: int


@dataclass(frozen=True, eq=False)
class _Actor:
    factors: np.ndarray  # [T,F]
    placements: np.ndarray  # [T,2,3]


def _actor(
    seed: int, times: np.ndarray, size: tuple[int, int], eyes_px: float, place: tuple[float, float], stream: int = 0
) -> _Actor:
    """A person whose eyes are `eyes_px` apart and whose face is at `place` (shares of the frame)."""
    scale = eyes_px / _EYES
    head = seed + 7919 * stream
    x = place[0] * size[0] + 0.10 * scale * wander(head, "sway_x", times, 9.0, 3.0)
    y = place[1] * size[1] + 0.05 * scale * wander(head, "sway_y", times, 7.0, 2.5)
    # towards the camera and back by a few percent
    scales = scale * (1 + 0.02 * wander(head, "sway_y", times + 50.0, 9.0, 4.0))
    placements = np.zeros((len(times), 2, 3))
    placements[:, 0, 0] = placements[:, 1, 1] = scales
    # the middle of the face lies 0.35 under the eyes
    placements[:, 0, 2], placements[:, 1, 2] = x, y - 0.35 * scales
    return _Actor(moving(seed, times, stream), placements)


def _pan(picture: np.ndarray, size: tuple[int, int], shift: np.ndarray) -> np.ndarray:
    """The part of a larger picture that the camera sees when it is `shift` px off the middle."""
    left = (picture.shape[1] - size[0]) / 2 + shift[0]
    top = (picture.shape[0] - size[1]) / 2 + shift[1]
    take = np.array([[1.0, 0.0, left], [0.0, 1.0, top]])
    return cv2.warpAffine(
        picture, take, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REFLECT
    )


def _board(size: tuple[int, int], centre: np.ndarray, side: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A sign that somebody carries past: picture [H,W,3] and alpha [H,W]."""
    rng = np.random.default_rng([seed, 15])
    angle = rng.uniform(-0.12, 0.12)
    axes = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])

    def corners(left: float, top: float, right: float, bottom: float) -> np.ndarray:
        box = np.array([(left, top), (right, top), (right, bottom), (left, bottom)]) * side
        return np.round(256 * (box @ axes + centre - 0.5)).astype(np.int32)

    base = rng.uniform(0.25, 0.8, 3) * 255
    picture = np.zeros((size[1], size[0], 3), np.uint8)
    alpha = np.zeros((size[1], size[0]), np.uint8)
    cv2.fillConvexPoly(alpha, corners(-0.62, -0.85, 0.62, 0.85), 255, cv2.LINE_AA, 8)
    picture[:] = base.astype(np.uint8)
    cv2.fillConvexPoly(picture, corners(-0.54, -0.77, 0.54, 0.77), (0.55 * base + 100).tolist(), cv2.LINE_AA, 8)
    for k in range(6):
        top = -0.6 + 0.2 * k
        ink = corners(-0.42, top, rng.uniform(0.0, 0.42), top + 0.08)
        cv2.fillConvexPoly(picture, ink, (0.35 * base).tolist(), cv2.LINE_AA, 8)
    soft = cv2.GaussianBlur(alpha, (0, 0), 1.2).astype(np.float32) / 255
    shade = 1 - 0.18 * np.linspace(0, 1, size[1])[:, None, None]
    return (cv2.GaussianBlur(picture, (0, 0), 0.8) * shade).astype(np.uint8), soft


def _absence(frames: int, fps: float) -> tuple[int, int]:
    """First frame of the absence in mid-clip, and how many frames it lasts."""
    away = min(max(int(round(_LOST_S * fps)), 1), max(frames // 4, 1))
    return (frames - away) // 2, away


def _visible(points: np.ndarray, size: tuple[int, int], cover: np.ndarray | None) -> bool:
    features = points[_EYES_AND_MOUTH]
    inside = ((features >= 0) & (features < size)).all(axis=1)
    if cover is not None:
        at = np.clip(np.floor(features).astype(int), 0, np.array(size) - 1)
        inside &= cover[at[:, 1], at[:, 0]] < 0.5
    return bool(inside.mean() > 0.6)


def draw_clip(
    seed: int, frames: int, size: tuple[int, int] = (640, 480), fps: float = 25.0, scene: Scene = "plain"
) -> Iterator[tuple[np.ndarray, FrameTruth]]:
    """Draw a clip frame by frame.

    Args:
        seed: the person, what is said and all motion.
        frames: how many, > 0.
        size: width, height in px.
        fps: frames per second; motion is in seconds.
        scene: "plain" and "busy" backdrop, "moving-camera" over a busy one, "two-people" (a larger and a smaller),
            "lost-face" (in mid-clip the person leaves the frame, or a sign is carried past, for about half a second),
            "cut" (in mid-clip the same person elsewhere, in another size and light).
    Returns:
        Iterator of uint8 [H,W,3] RGB frames and their truth.
    Raises:
        ValueError: unknown scene, or a number out of range.
    """
    if scene not in get_args(Scene):
        raise ValueError(f"scene: got {scene!r}, expected one of {', '.join(get_args(Scene))}")
    if frames < 1 or fps <= 0 or min(size) < 32:
        raise ValueError(f"frames, fps, size: got {frames}, {fps}, {size}, expected > 0, > 0, at least 32 px")
    return _frames(seed, frames, (int(size[0]), int(size[1])), fps, scene)


def _frames(
    seed: int, frames: int, size: tuple[int, int], fps: float, scene: Scene
) -> Iterator[tuple[np.ndarray, FrameTruth]]:
    width, height = size
    times = np.arange(frames) / fps
    rng = np.random.default_rng([seed, 16])
    unit = min(width, height * 4 / 3)  # shares of the width are meant for 4:3
    eyes_px = rng.uniform(0.103, 0.127) * unit
    place = (rng.uniform(0.42, 0.58), rng.uniform(0.46, 0.52))
    kind: Kind = "plain" if scene == "plain" or (scene == "lost-face" and seed % 2) else "busy"
    picture = backdrop(seed, (int(1.4 * width), int(1.3 * height)), kind)
    camera = np.zeros((frames, 2))
    cut_at = frames

    if scene == "two-people":
        eyes_px = rng.uniform(0.100, 0.112) * unit
        near = _actor(seed, times, size, eyes_px, (rng.uniform(0.29, 0.33), 0.52))
        far = _actor(seed + 100_003, times, size, 0.66 * eyes_px, (rng.uniform(0.74, 0.79), 0.46), 1)
        # drawn from the back to the front
        actors = [far, near]
    else:
        actors = [_actor(seed, times, size, eyes_px, place)]
    if scene == "moving-camera":
        slow, up = rng.uniform(4.5, 7.0), rng.uniform(3.5, 6.0)
        camera[:, 0] = 0.10 * width * np.sin(2 * np.pi * times / slow)
        camera[:, 1] = 0.06 * height * np.sin(2 * np.pi * times / up + 1.0)
        camera += 0.0015 * width * np.stack([wander(seed, k, times, 0.9, 0.25) for k in ("sway_x", "sway_y")], -1)
        # the person stands nearer than the backdrop but the camera follows her in part
        actors[0].placements[:, :, 2] -= 0.7 * camera
    if scene == "cut":
        cut_at = max(frames // 2, 1)
        _recast(actors[0], _second_shot(seed, times, size, unit, place, rng), cut_at)
        second = backdrop(seed + 17, picture.shape[1::-1], "plain" if kind == "busy" and seed % 3 == 0 else "busy")

    start, away = _absence(frames, fps)
    leaves = scene == "lost-face" and seed % 2 == 0
    carried = scene == "lost-face" and not leaves
    if leaves:
        ramp = max(0.45 * fps, 1.0)
        index = np.arange(frames)
        gone = smooth((index - start + 0.8 * ramp) / ramp) * smooth((start + away + 0.8 * ramp - index) / ramp)
        side = 1.0 if rng.random() < 0.5 else -1.0
        actors[0].placements[:, 0, 2] += side * gone * (0.62 * width + 1.2 * actors[0].placements[:, 0, 0])

    for t in range(frames):
        shot = int(t >= cut_at)
        frame = _pan(second if shot else picture, size, camera[t])
        labels: np.ndarray = np.zeros((height, width), np.uint8)
        people: list[tuple[np.ndarray, np.ndarray]] = []
        for actor in actors:
            drawing = draw(actor.factors[t], size, actor.placements[t], frame)
            frame = drawing.image
            labels = np.where(drawing.coverage > 0.5, drawing.labels, labels)
            people.insert(0, (drawing.landmarks, actor.factors[t]))
        cover = None
        if carried:
            frame, cover = _carry(frame, t, start, away, fps, actors[0], seed)
            if cover is not None:
                labels[cover > 0.5] = 0
        # a camera's noise
        noise = np.random.default_rng([seed, 17, t]).normal(0, 1.1, frame.shape[:2]).astype(np.float32)
        frame = np.clip(np.round(frame + noise[..., None]), 0, 255).astype(np.uint8)
        seen = tuple(PersonTruth(p, f.copy()) for p, f in people if _visible(p, size, cover))
        yield frame, FrameTruth(seen, labels, shot)


def _second_shot(
    seed: int, times: np.ndarray, size: tuple[int, int], unit: float, place: tuple[float, float],
    rng: np.random.Generator,
) -> _Actor:
    """The same person after the cut: elsewhere, in another size and light."""
    across = 0.36 if place[0] > 0.5 else 0.64
    actor = _actor(seed, times, size, rng.uniform(0.080, 0.096) * unit, (across, 0.44), 1)
    for name, change in (("light_x", 1.6), ("light_warmth", -1.2), ("light_strength", -0.6)):
        k = FACTORS.index(name)
        actor.factors[:, k] = -actor.factors[:, k] + change
    return actor


def _recast(actor: _Actor, after: _Actor, cut_at: int) -> None:
    """Let `after` play from frame `cut_at` on."""
    actor.factors[cut_at:] = after.factors[cut_at:]
    actor.placements[cut_at:] = after.placements[cut_at:]


def _carry(
    frame: np.ndarray, t: int, start: int, away: int, fps: float, actor: _Actor, seed: int
) -> tuple[np.ndarray, np.ndarray | None]:
    """The frame with the sign that is carried past the face, and the sign's alpha (None while it is out of sight)."""
    height, width = frame.shape[:2]
    points = landmarks(actor.factors[t], actor.placements[t])
    face = points.mean(axis=0)
    side = 1.75 * float(actor.placements[t, 0, 0])
    transit = max(0.32 * fps, 1.0)
    enter, leave = (t - start + 0.6 * transit) / transit, (start + away + 0.6 * transit - t) / transit
    if enter <= 0 or leave <= 0:
        return frame, None
    reach = 0.5 * width + side
    offset = -reach * (1 - smooth(np.array(enter))) + reach * (1 - smooth(np.array(leave)))
    drift = 0.22 * side * (t - start - away / 2) / max(away, 1)
    board, alpha = _board((width, height), face + (float(offset) + drift, 0.05 * side), side, seed)
    mixed = frame + alpha[..., None] * (board.astype(np.float32) - frame)
    return np.round(mixed).astype(np.uint8), alpha
