"""Babble for a drawn clip: vowels whose syllables open when the drawn mouth does, see `stitch.families.speaking`."""

from __future__ import annotations

import numpy as np
from scipy.signal import lfilter

from stitch.families.speaking import syllables

# Formants in Hz of a, e, i, o, u (Peterson and Barney 1952, men)
_FORMANTS = np.array([
    (730, 1090, 2440), (530, 1840, 2480), (270, 2290, 3010), (570, 840, 2410), (300, 870, 2240),
], np.float64)
_BANDWIDTHS = (80.0, 110.0, 160.0)
_GAINS = (1.0, 0.55, 0.22)


def _resonate(source: np.ndarray, frequency: float, bandwidth: float, rate: int) -> np.ndarray:
    radius = np.exp(-np.pi * bandwidth / rate)
    angle = 2 * np.pi * min(frequency, 0.45 * rate) / rate
    feedback = [1.0, -2 * radius * np.cos(angle), radius * radius]
    return lfilter([(1 - radius) * np.sqrt(1 - 2 * radius * np.cos(2 * angle) + radius * radius)], feedback, source)


def speech(seed: int, seconds: float, feminine: float, rate: int = 44100) -> np.ndarray:
    """Speech-like sound of the person of a clip, syllable for syllable with the drawn mouth.

    Args:
        seed: of the clip.
        seconds: length, > 0.
        feminine: how high the voice is, 0 a man's .. 1 a woman's.
        rate: samples per second, >= 8000.
    Returns:
        [round(seconds * rate), 1] float32 within [-1,1].
    Raises:
        ValueError: a number is out of range.
    """
    if seconds <= 0 or rate < 8000:
        raise ValueError(f"seconds, rate: got {seconds}, {rate}, expected > 0 and >= 8000")
    count = int(round(seconds * rate))
    rng = np.random.default_rng([seed, 14])
    pitch = 112.0 * 1.75**feminine
    tract = 1.0 + 0.16 * feminine
    sound = np.zeros(count + rate)
    for k, syllable in enumerate(syllables(seed, seconds)):
        start, length = int(syllable.start_s * rate), int(syllable.length_s * rate)
        t = np.arange(length) / rate
        phase = t / syllable.length_s
        melody = pitch * (1.10 - 0.14 * phase + 0.10 * np.sin(1.7 * k) + 0.012 * np.sin(2 * np.pi * 5.2 * t))
        turns = np.cumsum(melody) / rate
        harmonics = np.arange(1, 1 + int(min(4200.0, 0.45 * rate) / (1.3 * pitch)))
        # a voice's harmonics fall by about 12 dB an octave, lips give 6 back
        voice = (np.sin(2 * np.pi * turns[:, None] * harmonics) / harmonics).sum(axis=1)
        voice += 0.05 * rng.normal(size=length)
        shaped = sum(
            gain * _resonate(voice, tract * formant, width, rate)
            for gain, formant, width in zip(_GAINS, _FORMANTS[syllable.vowel], _BANDWIDTHS, strict=True)
        )
        shaped *= syllable.opening * np.sin(np.pi * np.clip(phase, 0, 1)) ** 0.8 / (np.abs(shaped).max() + 1e-9)
        onset = int(0.045 * rate)
        burst = _resonate(rng.normal(size=onset), rng.uniform(1800, 3600), 900.0, rate)
        burst *= 0.12 * np.hanning(onset) / (np.abs(burst).max() + 1e-9)
        sound[start : start + length] += shaped
        sound[start : start + onset] += burst
    # a small room: a few early echoes
    wet: np.ndarray = sound.copy()
    for delay_s, gain in ((0.011, 0.22), (0.019, 0.16), (0.031, 0.11), (0.047, 0.07)):
        shift = int(delay_s * rate)
        wet[shift:] += gain * sound[:-shift]
    wet = wet[:count] + 0.0015 * rng.normal(size=count)
    return (0.6 * wet / max(np.abs(wet).max(), 1e-3))[:, None].astype(np.float32)
