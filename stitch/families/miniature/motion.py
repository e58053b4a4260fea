"""How a drawn person moves: head, gaze, blinks, and a mouth that speaks in syllables. All are functions of seconds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stitch.families.miniature.look import EXPRESSION, FACTORS, POSE, Z_DIM, factors_from_z

_STREAMS = {name: 20 + k for k, name in enumerate((*POSE, *EXPRESSION, "sway_x", "sway_y", "smile"))}
_BLINK_S = 0.26


@dataclass(frozen=True)
class Syllable:
    """One opening of the mouth. start_s, length_s: seconds. opening: 0..1. vowel: which of five."""

    start_s: float
    length_s: float
    opening: float
    vowel: int


def person(seed: int) -> np.ndarray:
    """[len(FACTORS)] factors of the person of a clip, facing the camera with a calm face."""
    factors = factors_from_z(np.random.default_rng([seed, 0]).normal(size=(1, Z_DIM)))[0]
    for name in POSE + EXPRESSION:
        factors[FACTORS.index(name)] = 0.0
    return factors


def syllables(seed: int, seconds: float) -> tuple[Syllable, ...]:
    """What the person of a clip says: phrases of syllables with pauses between; a longer clip only says more.

    Args:
        seed: of the clip.
        seconds: how long, >= 0.
    Returns:
        The syllables that start before `seconds`, in order.
    """
    rng = np.random.default_rng([seed, 11])
    spoken: list[Syllable] = []
    time = 0.2 + 0.3 * rng.random()
    while True:
        for _ in range(rng.integers(4, 11)):
            length = rng.uniform(0.15, 0.29)
            if time >= seconds:
                return tuple(spoken)
            spoken.append(Syllable(time, length, float(rng.uniform(0.45, 1.0)), int(rng.integers(5))))
            time += length * rng.uniform(0.86, 1.0)
        time += rng.uniform(0.35, 0.9)


def opening(seed: int, times: np.ndarray) -> np.ndarray:
    """[T] opening of the mouth, 0..1, at `times` [T] seconds."""
    times = np.asarray(times, np.float64)
    total = np.zeros(len(times))
    for syllable in syllables(seed, float(times.max(initial=0.0)) + 0.01):
        phase = np.clip((times - syllable.start_s) / syllable.length_s, 0, 1)
        total += syllable.opening * np.sin(np.pi * phase) ** 1.5
    return np.minimum(total, 1.0)


def wander(seed: int, name: str, times: np.ndarray, slowest_s: float, fastest_s: float) -> np.ndarray:
    """Smooth random motion of unit variance: a sum of sines with periods between two bounds.

    Args:
        seed: of the clip.
        name: of the motion; each has its own.
        times: [T] seconds.
        slowest_s, fastest_s: longest and shortest period in seconds.
    Returns:
        [T]
    """
    rng = np.random.default_rng([seed, _STREAMS[name]])
    periods = np.exp(rng.uniform(np.log(fastest_s), np.log(slowest_s), 6))
    phases = rng.uniform(0, 2 * np.pi, 6)
    weights = np.sqrt(periods)
    waves = np.sin(2 * np.pi * np.asarray(times)[:, None] / periods + phases)
    return waves @ weights / np.sqrt(0.5 * np.sum(weights**2))


def _blinks(seed: int, times: np.ndarray) -> np.ndarray:
    """[T] 0 open .. 1 shut."""
    rng = np.random.default_rng([seed, 12])
    shut = np.zeros(len(times))
    start = rng.uniform(0.6, 2.2)
    while start <= times.max(initial=0.0):
        phase = np.clip((times - start) / _BLINK_S, 0, 1)
        # lids fall faster than they rise
        shut = np.maximum(shut, np.sin(np.pi * phase**0.7) ** 1.2)
        start += rng.uniform(2.0, 4.6)
    return shut


def _gaze(seed: int, times: np.ndarray) -> np.ndarray:
    """[T,2] gaze factors: held, then shifted within a tenth of a second."""
    rng = np.random.default_rng([seed, 13])
    value = np.zeros(2)
    gaze = np.zeros((len(times), 2))
    start = 0.0
    while start <= times.max(initial=0.0):
        # the camera draws most looks back
        target = np.zeros(2) if rng.random() < 0.45 else rng.normal(0, (0.9, 0.5))
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
