"""Factors in standard units -> the measures and colours of one drawn person."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

IDENTITY = (
    "face_width", "face_length", "jaw", "cheeks", "skin_tone", "skin_warmth", "hair_hue", "hair_volume", "hair_part",
    "fringe", "eye_colour", "eye_size", "eye_spacing", "eye_tilt", "nose_length", "nose_width", "brow_thickness",
    "brow_arch", "lip_fullness", "mouth_width", "ear_size", "cloth_hue", "cloth_lightness",
)
ATTRIBUTES = (
    "smile", "age", "gender", "glasses", "beard", "lipstick", "hair_length", "hair_lightness", "makeup", "freckles",
)
POSE = ("yaw", "pitch", "roll")
EXPRESSION = ("mouth_open", "eyes_open", "gaze_x", "gaze_y", "brow_raise")
LIGHT = ("light_x", "light_y", "light_warmth", "light_strength")
BACKDROP = ("backdrop_hue", "backdrop_lightness", "backdrop_tilt")
FACTORS: tuple[str, ...] = IDENTITY + ATTRIBUTES + POSE + EXPRESSION + LIGHT + BACKDROP

Z_DIM = 64
_DEGREES_PER_UNIT = {"yaw": 14.0, "pitch": 8.0, "roll": 7.0}

Colour = tuple[float, float, float]


class Appearance(NamedTuple):
    """Everything that geometry and shading read of a person; a plain tuple of floats, so that numba takes it whole.

    Lengths are head units: 1 is about 100 mm, x right, y down, z towards the viewer, the origin on the eye line in the
    middle of the head. Angles are radians. Colours are linear RGB, strengths lie in [0,1] unless said otherwise.
    """

    width: float  # scale of the whole head in x
    lower: float  # scale in y below the eye line
    jaw: float  # relative widening of the lower jaw
    cheeks: float  # fullness, signed
    masculine: float  # 0 feminine .. 1 masculine
    age: float
    eye_x: float
    eye_w: float  # half width
    eye_up: float  # height of the upper lid above the eye line
    eye_low: float
    eye_tilt: float  # rise of the outer corner
    eye_open: float  # 0 closed .. 1 open, slightly above when wide
    gaze_x: float
    gaze_y: float
    nose_tip: float  # y of the tip
    nose_w: float  # half width at the wings
    brow_y: float
    brow_t: float  # half thickness
    brow_arch: float
    mouth_y: float
    mouth_w: float  # half width
    lip_up: float  # thickness
    lip_low: float
    corner: float  # y offset of the mouth corners, negative is up
    gap_up: float
    gap_low: float
    drop: float  # how far the jaw is lowered
    smile: float  # signed, about -1..1
    ear: float  # scale
    hair_t: float  # thickness of the cap
    hair_front: float  # y of the hairline in the middle
    fringe: float  # how far hair falls below the hairline
    part: float  # x of the parting
    sweep: float  # 0 hair is combed back from the forehead .. 1 it falls forward
    hair_end: float  # y of the tips of the long hair
    hair_over: float  # how far long hair covers the ears
    crop: float  # 1 close-cropped
    beard: float
    beard_len: float  # thickness of a full beard
    glasses: float  # opacity
    rim: float  # radius of the rim
    lens_w: float
    lens_h: float
    lipstick: float
    makeup: float
    freckles: float
    skin: Colour
    hair: Colour
    brow: Colour
    iris: Colour
    lip: Colour
    cloth: Colour
    rim_colour: Colour
    yaw: float
    pitch: float
    roll: float
    light: Colour  # direction towards the key light, view space
    key: Colour
    fill: Colour
    back_a: Colour  # backdrop gradient, one end
    back_b: Colour
    back_dir: float


def factors_from_z(z: np.ndarray) -> np.ndarray:
    """Factors of latent vectors: z over its root mean square (StyleGAN2's input normalisation), first entries.

    Args:
        z: [N,64] float.
    Returns:
        [N,len(FACTORS)] float64, each about N(0,1).
    Raises:
        ValueError: z is not [N,64].
    """
    z = np.asarray(z, np.float64)
    if z.ndim != 2 or z.shape[1] != Z_DIM:
        raise ValueError(f"z: got shape {z.shape}, expected [N,{Z_DIM}]")
    return (z / np.sqrt(np.mean(z * z, axis=1, keepdims=True) + 1e-8))[:, : len(FACTORS)]


def _soft(value: float, limit: float = 3.0) -> float:
    return float(limit * np.tanh(value / limit))


def _ramp(value: float, start: float, width: float) -> float:
    """Zero up to `start`, then rising smoothly towards 1 with the given scale."""
    return float(np.tanh(max(value - start, 0.0) ** 1.5 / width**1.5))


def _sigmoid(value: float) -> float:
    return float(1.0 / (1.0 + np.exp(-value)))


def _linear(srgb: np.ndarray) -> Colour:
    """sRGB in 0..255 -> linear RGB (gamma 2.2, as the shading's inverse)."""
    r, g, b = np.clip(np.asarray(srgb, np.float64) / 255.0, 0.0, 1.0) ** 2.2
    return float(r), float(g), float(b)


def _three(t: float, low: tuple, middle: tuple, high: tuple) -> np.ndarray:
    """A smooth curve through three colours at t = 0, 0.5, 1."""
    a, m, b = (np.asarray(c, np.float64) for c in (low, middle, high))
    control = 2 * m - 0.5 * (a + b)
    return np.clip((1 - t) ** 2 * a + 2 * t * (1 - t) * control + t * t * b, 0, 255)


def _wheel(angle: float, lightness: float, saturation: float) -> np.ndarray:
    """A colour of a smooth wheel, sRGB 0..255; the angle is in radians."""
    phases = np.array([0.0, -2.0944, 2.0944])
    return np.clip(255 * lightness * (1 + saturation * np.cos(angle + phases)), 0, 255)


def appearance_of(factors: np.ndarray) -> Appearance:
    """Measures and colours of one person.

    Args:
        factors: [len(FACTORS)] float, standard units.
    Returns:
        The look; continuous in every factor, saturating softly.
    Raises:
        ValueError: wrong shape, or not finite.
    """
    factors = np.asarray(factors, np.float64)
    if factors.shape != (len(FACTORS),):
        raise ValueError(f"factors: got shape {factors.shape}, expected ({len(FACTORS)},)")
    if not np.isfinite(factors).all():
        raise ValueError("factors: got a value that is not finite, expected finite numbers")
    f = {name: _soft(value) for name, value in zip(FACTORS, factors, strict=True)}

    masculine = _sigmoid(-1.6 * f["gender"])
    age = _ramp(f["age"], -1.0, 2.0)
    youth = 0.5 * float(np.tanh(-f["age"] / 1.5))
    smile = float(np.tanh(f["smile"] / 1.6))
    teeth = _ramp(f["smile"], -0.1, 1.5)
    # softplus: a closed mouth stays closed, an opening one opens without a kink
    mouth_open = 0.155 * float(np.log1p(np.exp(3.0 * (f["mouth_open"] - 0.7)))) / 3.0 * 1.6
    eye_open = max(1.15 * _sigmoid(3.2 * (f["eyes_open"] + 1.3)) - 0.09, 0.0) * (1 + 0.04 * f["eyes_open"])
    eye_w = 0.188 * (1 + 0.045 * f["eye_size"]) * (1 + 0.08 * youth)
    brow_t = (0.032 + 0.022 * masculine) * float(np.exp(0.22 * f["brow_thickness"]))
    full = float(np.exp(0.16 * f["lip_fullness"] + 0.20 * (1 - 2 * masculine) + 0.25 * youth))
    length = f["hair_length"]
    beard = _ramp(f["beard"], -0.25, 1.0)
    glasses = _ramp(f["glasses"], 0.12, 0.30)
    thick = _ramp(f["glasses"], 0.2, 1.9)

    tone = _sigmoid(1.0 * f["skin_tone"] - 0.75)
    skin = _three(tone, (238, 200, 178), (200, 146, 112), (98, 62, 46))
    skin = skin * (1 + 0.028 * f["skin_warmth"] * np.array([0.7, 0.0, -1.8]))
    light = _sigmoid(1.25 * f["hair_lightness"])
    hair = _three(light, (30, 24, 24), (112, 70, 46), (234, 190, 132))
    hair = hair * (1 + 0.065 * f["hair_hue"] * np.array([0.9, -0.30, -0.9]))
    grey = _sigmoid(2.2 * (f["age"] - 1.35))
    hair = hair * (1 - 0.72 * grey) + 0.72 * grey * np.array([196, 196, 200])
    brow = hair * 0.42 + 0.03 * skin
    iris = _three(_sigmoid(1.3 * f["eye_colour"]), (84, 48, 26), (104, 124, 78), (92, 158, 208))
    lipstick = _ramp(f["lipstick"], -0.3, 1.2)
    natural = skin * np.array([0.85, 0.53, 0.54]) + np.array([8, -12, -6]) * (1 - masculine)
    lip = natural * (1 - lipstick) + lipstick * np.array([196, 20, 44])
    cloth = _wheel(1.5 * f["cloth_hue"], 0.20 + 0.40 * _sigmoid(1.2 * f["cloth_lightness"]), 0.24)
    rim = _three(thick, (176, 146, 96), (96, 66, 50), (22, 20, 26))
    warm = 0.075 * f["light_warmth"]
    strength = float(np.exp(0.13 * f["light_strength"]))
    key = 1.27 * strength * np.array([1.03 + warm, 0.99, 0.94 - warm])
    fill = 0.36 * np.array([0.96 + 0.3 * warm, 0.98, 1.06 - 0.3 * warm])
    direction = np.array([0.42 * f["light_x"] - 0.36, -0.55 - 0.24 * f["light_y"], 0.80])
    direction /= np.linalg.norm(direction)
    shade = 0.30 + 0.46 * _sigmoid(1.1 * f["backdrop_lightness"])
    hue = 1.1 * f["backdrop_hue"] + 3.6
    front = 0.46 + 0.07 * masculine
    turned = {
        name: float(np.deg2rad(degrees * _soft(factors[FACTORS.index(name)], 4.0)))
        for name, degrees in _DEGREES_PER_UNIT.items()
    }

    return Appearance(
        width=1 + 0.045 * f["face_width"],
        lower=1 + 0.035 * f["face_length"] - 0.06 * youth,
        jaw=0.075 * f["jaw"] + 0.20 * (masculine - 0.5),
        cheeks=f["cheeks"] + 0.9 * youth,
        masculine=masculine,
        age=age,
        eye_x=0.325 * (1 + 0.026 * f["eye_spacing"]),
        eye_w=eye_w,
        eye_up=(0.104 - 0.016 * masculine) * (1 + 0.075 * f["eye_size"] + 0.14 * youth),
        eye_low=0.055 * (1 + 0.075 * f["eye_size"] + 0.14 * youth),
        eye_tilt=0.018 * f["eye_tilt"] + 0.012,
        eye_open=eye_open,
        gaze_x=0.24 * f["gaze_x"],
        gaze_y=0.15 * f["gaze_y"],
        nose_tip=0.405 * (1 + 0.045 * f["nose_length"] - 0.06 * youth) * (1 + 0.02 * f["face_length"]),
        nose_w=0.158 * (1 + 0.075 * f["nose_width"]) * (0.95 + 0.1 * masculine),
        brow_y=-0.262 - 0.026 * f["brow_raise"] + 0.034 * masculine,
        brow_t=brow_t,
        brow_arch=0.062 + 0.018 * f["brow_arch"] - 0.018 * masculine,
        mouth_y=0.69 * (1 + 0.02 * f["face_length"]),
        mouth_w=0.272 * (1 + 0.05 * f["mouth_width"]) + 0.048 * smile,
        lip_up=0.062 * full * (1 - 0.18 * max(smile, 0.0)),
        lip_low=0.078 * full * (1 - 0.12 * max(smile, 0.0)),
        corner=-0.012 - 0.062 * smile,
        gap_up=0.042 * teeth + 0.22 * mouth_open,
        gap_low=0.052 * teeth + 0.80 * mouth_open,
        drop=0.04 * teeth + 0.78 * mouth_open,
        smile=smile,
        ear=1 + 0.09 * f["ear_size"],
        hair_t=0.060 + 0.165 * _sigmoid(0.9 * f["hair_volume"]) * (0.35 + 0.65 * _sigmoid(2.0 * (length + 1.6))),
        hair_front=-0.72 - front * 0.10,
        fringe=0.50 * _sigmoid(1.8 * (f["fringe"] - 0.95)),
        sweep=_sigmoid(1.7 * (f["fringe"] - 0.55)),
        part=0.17 * f["hair_part"],
        hair_end=-0.1 + 2.35 * _sigmoid(1.25 * (length - 0.35)),
        hair_over=_sigmoid(3.2 * (length + 0.10)),
        crop=_sigmoid(-2.2 * (length + 1.3)),
        beard=beard,
        beard_len=_ramp(f["beard"], 0.3, 2.0),
        glasses=glasses,
        rim=0.011 + 0.024 * thick,
        lens_w=0.225 + 0.03 * thick,
        lens_h=0.165 + 0.03 * thick,
        lipstick=lipstick,
        makeup=_ramp(f["makeup"], -0.4, 1.5),
        freckles=_ramp(f["freckles"], 0.0, 1.4),
        skin=_linear(skin), hair=_linear(hair), brow=_linear(brow), iris=_linear(iris), lip=_linear(lip),
        cloth=_linear(cloth), rim_colour=_linear(rim),
        yaw=turned["yaw"],
        pitch=turned["pitch"],
        roll=turned["roll"],
        light=(float(direction[0]), float(direction[1]), float(direction[2])),
        key=(float(key[0]), float(key[1]), float(key[2])),
        fill=(float(fill[0]), float(fill[1]), float(fill[2])),
        back_a=_linear(_wheel(hue, shade * 1.15, 0.17)),
        back_b=_linear(_wheel(hue + 0.6, shade * 0.70, 0.26)),
        back_dir=1.57 + 0.7 * f["backdrop_tilt"],
    )
