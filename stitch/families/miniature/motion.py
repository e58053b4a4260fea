"""How a drawn person moves: head, gaze, blinks, and a mouth that speaks in syllables. All are functions of seconds."""

from __future__ import annotations

import numpy as np

from stitch.families.miniature.appearance import EXPRESSION, FACTORS, POSE, Z_DIM, factors_from_z
from stitch.families.speaking import blinks, opening, wandering

_STREAMS = {name: 20 + k for k, name in enumerate((*POSE, *EXPRESSION, "sway_x", "sway_y", "smile"))}
_FIRST_BLINK_S, _BLINK_PAUSE_S = (0.6, 2.2), (2.0, 4.6)


def person(seed: int) -> np.ndarray:
    """[len(FACTORS)] factors of the person of a clip, facing the camera with a calm face."""
    factors = factors_from_z(np.random.default_rng([seed, 0]).normal(size=(1, Z_DIM)))[0]
    for name in POSE + EXPRESSION:
        factors[FACTORS.index(name)] = 0.0
    return factors


def wander(seed: int, name: str, times: np.ndarray, slowest_s: float, fastest_s: float) -> np.ndarray:
    """A motion's `speaking.wandering`.

    Args:
        seed: of the clip.
        name: of the motion; each has its own.
        times: [T] seconds.
        slowest_s, fastest_s: longest and shortest period in seconds.
    Returns:
        [T]
    """
    return wandering(np.random.default_rng([seed, _STREAMS[name]]), times, slowest_s, fastest_s)


def _blinks(seed: int, times: np.ndarray) -> np.ndarray:
    return blinks(np.random.default_rng([seed, 12]), times, _FIRST_BLINK_S, _BLINK_PAUSE_S)


def _gaze(seed: int, times: np.ndarray) -> np.ndarray:
    """[T,2] gaze factors: held, then shifted within a tenth of a second."""
    rng = np.random.default_rng([seed, 13])
    value = np.zeros(2)
    gaze = np.zeros((len(times), 2))
    start = 0.0
    while start <= times.max(initial=0.0):
        # the camera draws most looks back
        target: np.ndarray = np.zeros(2) if rng.random() < 0.45 else rng.normal(0, (0.9, 0.5))
        t = np.clip((times - start) / 0.10, 0, 1)
        gaze += (t * t * (3 - 2 * t))[:, None] * (target - value)
        value = target
        start += rng.uniform(0.7, 2.4)
    return gaze


def moving(seed: int, times: np.ndarray, stream: int = 0) -> np.ndarray:
    """Factors of the person of a clip over time.

    Args:
        seed: of the clip; the person and what is said follow from it alone.
        times: [T] seconds.
        stream: another number gives another motion of head and eyes, as after a cut.
    Returns:
        [T,len(FACTORS)] float64; only pose, expression and a little of the smile change.
    """
    times = np.asarray(times, np.float64)
    factors = np.repeat(person(seed)[None], len(times), axis=0)
    head = seed + 7919 * stream

    def put(name: str, values: np.ndarray) -> None:
        factors[:, FACTORS.index(name)] += values

    speaking = opening(seed, times)
    gaze = _gaze(head, times)
    put("yaw", 0.80 * wander(head, "yaw", times, 7.0, 2.2) + 0.15 * gaze[:, 0])
    put("pitch", 0.50 * wander(head, "pitch", times, 6.0, 1.8) + 0.16 * (speaking - 0.3))
    put("roll", 0.50 * wander(head, "roll", times, 8.0, 2.5))
    put("mouth_open", 3.0 * speaking - 1.0)
    put("eyes_open", 0.4 + 0.25 * wander(head, "eyes_open", times, 5.0, 2.0) - 3.0 * _blinks(head, times))
    put("gaze_x", gaze[:, 0] - 0.25 * wander(head, "yaw", times, 7.0, 2.2))
    put("gaze_y", gaze[:, 1])
    put("brow_raise", 0.5 * wander(head, "brow_raise", times, 4.0, 1.2) + 0.3 * speaking)
    put("smile", 0.25 * wander(head, "smile", times, 6.0, 2.5))
    return factors
