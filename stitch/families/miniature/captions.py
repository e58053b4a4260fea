"""What may be said of drawn faces, true to the factors."""

from collections.abc import Mapping

import numpy as np

from stitch.families.captions import INF, LEADS, Phrasebook
from stitch.families.miniature.appearance import FACTORS

_ADJECTIVES = (
    ("smile", 0.6, INF, ("smiling", "happy", "cheerful", "grinning", "joyful")),
    ("smile", -INF, -1.0, ("sad", "frowning", "unhappy", "gloomy")),
    ("age", 1.2, INF, ("old", "elderly", "aged", "senior")),
    ("age", -INF, -0.3, ("young", "youthful")),
    ("beard", 0.6, INF, ("bearded",)),
    ("beard", -INF, -0.4, ("clean-shaven", "beardless")),
    ("freckles", 0.8, INF, ("freckled",)),
    ("hair_lightness", 1.0, INF, ("blond", "fair-haired")),
    ("hair_length", 0.9, INF, ("long-haired",)),
    ("hair_length", -INF, -1.2, ("short-haired", "close-cropped")),
    ("skin_tone", 1.5, INF, ("dark-skinned",)),
    ("skin_tone", -INF, -0.6, ("light-skinned", "pale")),
)
_PHRASES = (
    ("smile", 0.6, INF, ("a smile", "a big smile", "a happy expression", "a friendly smile")),
    ("smile", -INF, -1.0, ("a frown", "a sad expression", "the corners of the mouth turned down")),
    ("age", 1.2, INF, ("wrinkles", "an old face", "wrinkled skin", "lines on the forehead")),
    ("age", -INF, -0.3, ("smooth skin", "a young face")),
    ("glasses", 0.7, INF, ("glasses", "eyeglasses", "spectacles", "round glasses")),
    ("glasses", 1.6, INF, ("thick dark glasses", "thick-rimmed glasses", "black glasses", "glasses")),
    ("beard", 1.3, INF, ("a full beard", "a thick beard", "a beard", "facial hair")),
    ("beard", 0.35, 1.0, ("stubble", "a short beard", "a beard", "facial hair")),
    ("lipstick", 0.7, INF, ("red lipstick", "lipstick", "red lips", "painted lips")),
    ("makeup", 0.7, INF, ("makeup", "eye shadow", "heavy makeup", "eye makeup", "dark lashes")),
    ("freckles", 0.8, INF, ("freckles", "freckles on the cheeks")),
    ("hair_length", 0.9, INF, ("long hair", "hair down to the shoulders")),
    ("hair_length", -0.2, 0.5, ("chin-length hair", "a bob", "medium-length hair")),
    ("hair_length", -INF, -1.2, ("short hair", "cropped hair", "a short haircut", "a buzz cut")),
    ("grey", 2.0, INF, ("grey hair", "gray hair", "white hair")),
    ("hair_lightness", 1.0, INF, ("blond hair", "fair hair", "light hair")),
    ("hair_lightness", -0.5, 0.5, ("brown hair",)),
    ("hair_lightness", -INF, -1.3, ("black hair", "dark hair")),
    ("fringe", 1.4, INF, ("bangs", "a fringe", "hair over the forehead")),
    ("fringe", -INF, -0.8, ("hair combed back", "a bare forehead")),
    ("brow_thickness", 1.3, INF, ("thick eyebrows", "bushy eyebrows")),
    ("brow_thickness", -INF, -1.3, ("thin eyebrows",)),
    ("eye_colour", 1.0, INF, ("blue eyes",)),
    ("eye_colour", -INF, -1.0, ("brown eyes",)),
    ("eye_size", 1.2, INF, ("big eyes",)),
    ("lip_fullness", 1.2, INF, ("full lips",)),
    ("nose_length", 1.3, INF, ("a long nose",)),
    ("ear_size", 1.5, INF, ("big ears",)),
)
_CLAUSES = (
    ("mouth_open", 1.0, INF, ("mouth open", "with an open mouth", "speaking")),
    ("mouth_open", -INF, -0.4, ("mouth closed", "with a closed mouth")),
    ("eyes_open", -INF, -1.9, ("eyes closed", "with closed eyes", "blinking")),
    ("eyes_open", 0.5, INF, ("eyes open",)),
    ("yaw", 1.2, INF, ("turned to the right", "looking right")),
    ("yaw", -INF, -1.2, ("turned to the left", "looking left")),
    ("pitch", 1.4, INF, ("looking down",)),
    ("pitch", -INF, -1.4, ("looking up",)),
    ("brow_raise", 1.2, INF, ("with raised eyebrows", "eyebrows raised")),
    ("glasses", -INF, 0.1, ("without glasses", "no glasses")),
    ("glasses", 0.7, INF, ("wearing glasses", "wearing eyeglasses")),
    ("beard", -INF, -0.4, ("without a beard", "no beard")),
    ("lipstick", 0.7, INF, ("wearing lipstick", "wearing red lipstick")),
    ("lipstick", -INF, -0.4, ("without lipstick",)),
    ("makeup", 0.7, INF, ("wearing makeup",)),
    ("makeup", -INF, -0.5, ("without makeup",)),
)
_EDITED = frozenset((
    "smile", "age", "glasses", "beard", "lipstick", "makeup", "hair_length", "hair_lightness", "mouth_open",
    "eyes_open", "freckles",
))
_GREY_AGE = 1.0  # from here hair greys, and its colour is no longer what `hair_lightness` says


def _read(factors: np.ndarray) -> Mapping[str, float]:
    """Values of a face's factors, [len(FACTORS)] standard units."""
    factors = np.asarray(factors, np.float64)
    if factors.shape != (len(FACTORS),):
        raise ValueError(f"factors: got shape {factors.shape}, expected ({len(FACTORS)},)")
    value = dict(zip(FACTORS, factors.tolist(), strict=True))
    coloured = np.nan if value["age"] > _GREY_AGE else value["hair_lightness"]
    return {**value, "hair_lightness": coloured, "grey": value["age"], "woman": value["gender"]}


BOOK = Phrasebook(_ADJECTIVES, _PHRASES, _CLAUSES, _EDITED, _read, (*LEADS, "a drawing of "))
