"""What may be said of photographic faces, true to what teachers measured."""

from collections.abc import Mapping

import numpy as np

from stitch.families.captions import INF, Phrasebook

NAMES = (
    "smile", "age", "gender", "glasses", "beard", "hair_length", "hair_dark", "hair_blond", "hair_grey", "hair_red",
    "hair_amount", "bangs", "lipstick", "brows", "eyes_open", "mouth_open", "frown", "brow_down", "pucker", "blink",
    "squint", "yaw", "pitch", "face_width", "skin_light",
)  # fmt: skip
"""Of `attributes.named`, in the order in which a face's numbers stand."""

_ADJECTIVES = (
    ("smile", 0.5, INF, ("smiling", "happy", "cheerful", "grinning", "joyful", "laughing")),
    ("smile", -INF, -0.9, ("serious", "unsmiling", "stern")),
    ("sad", 1.0, INF, ("sad", "unhappy", "gloomy", "frowning", "sulky")),
    ("angry", 1.1, INF, ("angry", "furious", "grim", "frowning")),
    ("surprised", 0.7, INF, ("surprised", "astonished", "amazed", "shocked")),
    ("age", 0.9, INF, ("old", "elderly", "aged", "senior", "wrinkled")),
    ("age", 0.3, 1.0, ("middle-aged",)),
    ("age", -INF, -0.5, ("young", "youthful")),
    ("age", -INF, -1.5, ("very young", "childlike")),
    ("beard", 0.9, INF, ("bearded", "unshaven")),
    ("shaved", 0.3, INF, ("clean-shaven", "beardless", "shaved")),
    ("hair_blond", 1.0, INF, ("blond", "fair-haired", "blonde")),
    ("hair_dark", 1.0, INF, ("dark-haired", "black-haired")),
    ("hair_grey", 1.2, INF, ("grey-haired", "white-haired")),
    ("hair_red", 1.5, INF, ("red-haired", "ginger")),
    ("hair_length", 0.9, INF, ("long-haired",)),
    ("hair_length", -INF, -0.9, ("short-haired", "close-cropped")),
    ("hair_amount", -INF, -1.5, ("bald", "balding")),
    ("skin_light", -INF, -1.2, ("dark-skinned", "tanned")),
    ("skin_light", 1.2, INF, ("pale", "light-skinned", "fair-skinned")),
)
_PHRASES = (
    ("smile", 0.5, INF, ("a smile", "a happy expression", "a friendly smile")),
    ("smile", 1.1, INF, ("a big smile", "a broad smile", "a wide grin", "a toothy smile")),
    ("smile", -INF, -0.9, ("a serious expression", "a straight face", "a neutral expression")),
    ("sad", 1.0, INF, ("a frown", "a sad expression", "the corners of the mouth turned down")),
    ("angry", 1.1, INF, ("an angry expression", "knitted brows", "furrowed brows")),
    ("surprised", 0.7, INF, ("a surprised expression", "a look of surprise")),
    ("age", 0.9, INF, ("wrinkles", "an old face", "wrinkled skin", "lines on the forehead")),
    ("age", -INF, -0.5, ("smooth skin", "a young face", "young skin")),
    ("glasses", 1.1, INF, ("glasses", "eyeglasses", "spectacles", "a pair of glasses")),
    ("beard", 0.9, INF, ("a beard", "facial hair", "a full beard", "a thick beard")),
    ("beard", 0.5, 1.0, ("stubble", "a short beard", "a three-day beard")),
    ("lipstick", 0.9, INF, ("red lipstick", "lipstick", "red lips", "painted lips", "makeup")),
    ("lipstick", -INF, -0.9, ("pale lips",)),
    ("hair_length", 0.9, INF, ("long hair", "hair down to the shoulders", "flowing hair")),
    ("hair_length", 0.0, 0.6, ("chin-length hair", "medium-length hair", "a bob")),
    ("hair_length", -INF, -0.9, ("short hair", "cropped hair", "a short haircut", "a buzz cut")),
    ("hair_amount", -INF, -1.5, ("a bald head", "no hair", "thinning hair", "a receding hairline")),
    ("hair_blond", 1.0, INF, ("blond hair", "fair hair", "light hair", "blonde hair", "golden hair")),
    ("hair_dark", 0.9, INF, ("black hair", "dark hair")),
    ("brown", 0.0, INF, ("brown hair",)),
    ("hair_grey", 1.2, INF, ("grey hair", "gray hair", "white hair", "silver hair")),
    ("hair_red", 1.5, INF, ("red hair", "ginger hair", "auburn hair")),
    ("bangs", 1.0, INF, ("bangs", "a fringe", "hair over the forehead")),
    ("bangs", -INF, -0.8, ("hair combed back", "a bare forehead", "a high forehead")),
    ("brows", 1.1, INF, ("raised eyebrows", "high eyebrows")),
    ("brows", -INF, -1.1, ("low eyebrows", "lowered eyebrows")),
    ("eyes_open", 1.0, INF, ("wide open eyes", "big eyes", "wide eyes", "large eyes")),
    ("eyes_open", -INF, -1.0, ("narrow eyes", "half-closed eyes", "small eyes")),
    ("pucker", 1.4, INF, ("puckered lips", "pouting lips", "a kissing mouth")),
    ("face_width", 1.0, INF, ("a round face", "a wide face", "a broad face", "full cheeks", "chubby cheeks")),
    ("face_width", -INF, -1.0, ("a narrow face", "a long face", "a slim face", "a thin face")),
    ("skin_light", -INF, -1.2, ("dark skin", "tanned skin", "brown skin")),
    ("skin_light", 1.2, INF, ("pale skin", "light skin", "fair skin")),
)
_CLAUSES = (
    ("mouth_open", 1.0, INF, ("mouth open", "with an open mouth", "speaking", "with the mouth open")),
    ("mouth_open", -INF, -0.4, ("mouth closed", "with a closed mouth")),
    ("closed", 1.6, INF, ("eyes closed", "with closed eyes", "blinking")),
    ("eyes_open", 0.8, INF, ("eyes open", "with open eyes")),
    ("squint", 1.4, INF, ("with squinting eyes", "eyes squinting")),
    ("yaw", 1.2, INF, ("turned to the right", "looking right", "looking to the side")),
    ("yaw", -INF, -1.2, ("turned to the left", "looking left", "looking to the side")),
    ("pitch", 1.2, INF, ("looking down", "with the head lowered")),
    ("pitch", -INF, -1.2, ("looking up", "with the head raised")),
    ("brows", 1.1, INF, ("with raised eyebrows", "eyebrows raised")),
    ("glasses", -INF, 0.6, ("without glasses", "no glasses")),
    ("glasses", 1.1, INF, ("wearing glasses", "wearing eyeglasses")),
    ("shaved", 0.3, INF, ("without a beard", "no beard")),
    ("lipstick", 0.9, INF, ("wearing lipstick", "wearing red lipstick", "wearing makeup")),
    ("lipstick", -INF, -0.6, ("without lipstick", "without makeup")),
)
_EDITED = frozenset((
    "smile", "sad", "angry", "surprised", "age", "glasses", "beard", "shaved", "lipstick", "hair_length", "hair_dark",
    "hair_blond", "hair_grey", "hair_red", "hair_amount", "bangs", "mouth_open", "eyes_open", "closed", "brows",
))
_COLOURS = ("hair_dark", "hair_blond", "hair_grey", "hair_red")


def _read(numbers: np.ndarray) -> Mapping[str, float]:
    """Values of a face's numbers, [len(NAMES)] standard units, and of what several of them say together."""
    value = dict(zip(NAMES, np.asarray(numbers, np.float64).tolist(), strict=True))
    man = value["gender"] > 0
    coloured = value["hair_amount"] > -1.5
    colours = {name: value[name] if coloured else np.nan for name in _COLOURS}
    plain = max(abs(value["hair_dark"]), abs(value["hair_blond"])) < 0.5 and value["hair_grey"] < 0.6
    return {
        **value,
        **colours,
        "brown": 1.0 if coloured and plain else np.nan,
        "woman": -value["gender"],
        # Shadows below a mouth look like a beard to the eye that measures it.
        "beard": value["beard"] if man else np.nan,
        "shaved": -value["beard"] if man else np.nan,
        "closed": min(value["blink"], -value["eyes_open"]),
        "sad": value["frown"] if value["smile"] < 0 else np.nan,
        "angry": value["brow_down"] if value["smile"] < 0 else np.nan,
        "surprised": min(value["brows"], value["mouth_open"], value["eyes_open"] + 0.4),
    }


BOOK = Phrasebook(_ADJECTIVES, _PHRASES, _CLAUSES, _EDITED, _read)
