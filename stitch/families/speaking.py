"""How a person who speaks moves, whatever draws them: syllables, blinks and slow wandering, as functions of seconds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_BLINK_S = 0.26


@dataclass(frozen=True)
class Syllable:
    """One opening of the mouth. start_s, length_s: seconds. opening: 0..1. vowel: which of five."""

    start_s: float
    length_s: float
    opening: float
    vowel: int


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


def wandering(rng: np.random.Generator, times: np.ndarray, slowest_s: float, fastest_s: float) -> np.ndarray:
    """Smooth random motion of unit variance: a sum of sines with periods between two bounds.

    Args:
        rng: of this motion.
        times: [T] seconds.
        slowest_s, fastest_s: longest and shortest period in seconds.
    Returns:
        [T]
    """
    periods = np.exp(rng.uniform(np.log(fastest_s), np.log(slowest_s), 6))
    phases = rng.uniform(0, 2 * np.pi, 6)
    weights = np.sqrt(periods)
    waves = np.sin(2 * np.pi * np.asarray(times)[:, None] / periods + phases)
    return waves @ weights / np.sqrt(0.5 * np.sum(weights**2))


def blinks(
    rng: np.random.Generator, times: np.ndarray, first_s: tuple[float, float], pause_s: tuple[float, float]
) -> np.ndarray:
    """How far the lids are down.

    Args:
        rng: of the blinks.
        times: [T] seconds.
        first_s, pause_s: bounds in seconds of the first blink's start, and from each start to the next.
    Returns:
        [T], 0 open .. 1 shut.
    """
    shut: np.ndarray = np.zeros(len(times))
    start = rng.uniform(*first_s)
    while start <= times.max(initial=0.0):
        phase = np.clip((times - start) / _BLINK_S, 0, 1)
        # lids fall faster than they rise
        shut = np.maximum(shut, np.sin(np.pi * phase**0.7) ** 1.2)
        start += rng.uniform(*pause_s)
    return shut
