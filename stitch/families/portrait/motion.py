"""How the person of a portrait clip moves, and the camera: functions of seconds."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from stitch.families.speaking import blinks, opening, wandering

POSE = ("yaw", "pitch")
EXPRESSION = ("mouth_open", "smile")
BLINK = ("eyes_open",)

SHUT = -2.55
"""Strength of eyes_open at which the lids meet."""

_FIRST_BLINK_S, _BLINK_PAUSE_S = (0.3, 0.7), (0.8, 2.0)


@dataclass(frozen=True, eq=False)
class Camera:
    """How the camera and the body move.

    Attributes:
        pan: [T,2], to the right and down in shares of the frame's height; what is far moves less.
        zoom: [T] factor around 1.
        sway: [T,2], of the head alone, as `pan`.
        roll: [T] of the head in radians.
    """

    pan: np.ndarray
    zoom: np.ndarray
    sway: np.ndarray
    roll: np.ndarray


def strengths(seed: int, times: np.ndarray) -> Mapping[str, np.ndarray]:
    """Strengths of the directions of `POSE`, `EXPRESSION` and `BLINK` over time.

    Args:
        seed: of the clip; what is said is `speaking.syllables`.
        times: [T] seconds.
    Returns:
        By name, [T] float64. But for the blinks they stay within 0.9 of the person's own look.
    """
    yaw, pitch, smile, shut = (np.random.default_rng([seed, stream]) for stream in (40, 41, 42, 49))
    speaking = opening(seed, times)
    return {
        "yaw": 0.42 * np.tanh(0.7 * wandering(yaw, times, 6.0, 2.2)),
        "pitch": 0.35 * np.tanh(0.8 * wandering(pitch, times, 5.0, 1.8)) + 0.1 * (speaking - 0.3),
        "mouth_open": 1.33 * speaking - 0.58,
        "smile": 0.38 * np.tanh(wandering(smile, times, 4.0, 1.6)) - 0.19,
        "eyes_open": SHUT * blinks(shut, times, _FIRST_BLINK_S, _BLINK_PAUSE_S),
    }


def camera(seed: int, times: np.ndarray) -> Camera:
    """A camera held by hand, and a body that is never quite still.

    Args:
        seed: of the clip.
        times: [T] seconds.
    """
    drift, tremor, zoom, sway, roll = (np.random.default_rng([seed, stream]) for stream in range(50, 55))

    def both(rng: np.random.Generator, slowest_s: float, fastest_s: float) -> np.ndarray:
        return np.stack([wandering(rng, times, slowest_s, fastest_s) for _ in range(2)], axis=1)

    return Camera(
        pan=both(drift, 8.0, 3.0) * (0.022, 0.007) + both(tremor, 0.9, 0.3) * 0.0007,
        zoom=1 + 0.012 * np.tanh(wandering(zoom, times, 9.0, 4.0)),
        sway=both(sway, 6.0, 2.0) * (0.010, 0.004),
        roll=0.014 * wandering(roll, times, 6.0, 2.2),
    )
