"""English captions of drawn faces, true to the factors."""

from __future__ import annotations

import numpy as np

from stitch.families.miniature.look import FACTORS

# Each rule: factor, lowest and highest value it is true for, what may be said. Adjectives stand before the noun, the
# others after "with" or as a clause. Gaps between the rules leave what is hard to see unsaid.
_INF = float("inf")
_ADJECTIVES = (
    ("smile", 0.6, _INF, ("smiling", "happy", "cheerful", "grinning", "joyful")),
    ("smile", -_INF, -1.0, ("sad", "frowning", "unhappy", "gloomy")),
    ("age", 1.2, _INF, ("old", "elderly", "aged", "senior")),
    ("age", -_INF, -0.3, ("young", "youthful")),
    ("beard", 0.6, _INF, ("bearded",)),
    ("beard", -_INF, -0.4, ("clean-shaven", "beardless")),
    ("freckles", 0.8, _INF, ("freckled",)),
    ("hair_lightness", 1.0, _INF, ("blond", "fair-haired")),
    ("hair_length", 0.9, _INF, ("long-haired",)),
    ("hair_length", -_INF, -1.2, ("short-haired", "close-cropped")),
    ("skin_tone", 1.5, _INF, ("dark-skinned",)),
    ("skin_tone", -_INF, -0.6, ("light-skinned", "pale")),
)
_PHRASES = (
    ("smile", 0.6, _INF, ("a smile", "a big smile", "a happy expression", "a friendly smile")),
    ("smile", -_INF, -1.0, ("a frown", "a sad expression", "the corners of the mouth turned down")),
    ("age", 1.2, _INF, ("wrinkles", "an old face", "wrinkled skin", "lines on the forehead")),
    ("age", -_INF, -0.3, ("smooth skin", "a young face")),
    ("glasses", 0.7, _INF, ("glasses", "eyeglasses", "spectacles", "round glasses")),
    ("glasses", 1.6, _INF, ("thick dark glasses", "thick-rimmed glasses", "black glasses", "glasses")),
    ("beard", 1.3, _INF, ("a full beard", "a thick beard", "a beard", "facial hair")),
    ("beard", 0.35, 1.0, ("stubble", "a short beard", "a beard", "facial hair")),
    ("lipstick", 0.7, _INF, ("red lipstick", "lipstick", "red lips", "painted lips")),
    ("makeup", 0.7, _INF, ("makeup", "eye shadow", "heavy makeup", "eye makeup", "dark lashes")),
    ("freckles", 0.8, _INF, ("freckles", "freckles on the cheeks")),
    ("hair_length", 0.9, _INF, ("long hair", "hair down to the shoulders")),
    ("hair_length", -0.2, 0.5, ("chin-length hair", "a bob", "medium-length hair")),
    ("hair_length", -_INF, -1.2, ("short hair", "cropped hair", "a short haircut", "a buzz cut")),
    ("hair_lightness", 1.0, _INF, ("blond hair", "fair hair", "light hair")),
    ("hair_lightness", -0.5, 0.5, ("brown hair",)),
    ("hair_lightness", -_INF, -1.3, ("black hair", "dark hair")),
    ("fringe", 1.4, _INF, ("bangs", "a fringe", "hair over the forehead")),
    ("fringe", -_INF, -0.8, ("hair combed back", "a bare forehead")),
    ("brow_thickness", 1.3, _INF, ("thick eyebrows", "bushy eyebrows")),
    ("brow_thickness", -_INF, -1.3, ("thin eyebrows",)),
    ("eye_colour", 1.0, _INF, ("blue eyes",)),
    ("eye_colour", -_INF, -1.0, ("brown eyes",)),
    ("eye_size", 1.2, _INF, ("big eyes",)),
    ("lip_fullness", 1.2, _INF, ("full lips",)),
    ("nose_length", 1.3, _INF, ("a long nose",)),
    ("ear_size", 1.5, _INF, ("big ears",)),
)
_CLAUSES = (
    ("mouth_open", 1.0, _INF, ("mouth open", "with an open mouth", "speaking")),
    ("mouth_open", -_INF, -0.4, ("mouth closed", "with a closed mouth")),
    ("eyes_open", -_INF, -1.9, ("eyes closed", "with closed eyes", "blinking")),
    ("eyes_open", 0.5, _INF, ("eyes open",)),
    ("yaw", 1.2, _INF, ("turned to the right", "looking right")),
    ("yaw", -_INF, -1.2, ("turned to the left", "looking left")),
    ("pitch", 1.4, _INF, ("looking down",)),
    ("pitch", -_INF, -1.4, ("looking up",)),
    ("brow_raise", 1.2, _INF, ("with raised eyebrows", "eyebrows raised")),
    ("glasses", -_INF, 0.1, ("without glasses", "no glasses")),
    ("glasses", 0.7, _INF, ("wearing glasses", "wearing eyeglasses")),
    ("beard", -_INF, -0.4, ("without a beard", "no beard")),
    ("lipstick", 0.7, _INF, ("wearing lipstick", "wearing red lipstick")),
    ("lipstick", -_INF, -0.4, ("without lipstick",)),
    ("makeup", 0.7, _INF, ("wearing makeup",)),
    ("makeup", -_INF, -0.5, ("without makeup",)),
)
_EDITED = frozenset((
    "smile", "age", "glasses", "beard", "lipstick", "makeup", "hair_length", "hair_lightness", "mouth_open",
    "eyes_open", "freckles",
))
_GREY_AGE = 1.0  # from here hair greys, and its colour is no longer what `hair_lightness` says
_LEADS = ("", "", "a photo of ", "a picture of ", "a portrait of ", "a close-up of ", "an image of ", "a drawing of ")


def _noun(gender: float, age: float, rng: np.random.Generator) -> str:
    nouns = ["person", "face", "face"]
    if gender > 0.5:
        nouns += ["woman"] * 4 + ["lady", "female face", "girl" if age < -0.8 else "woman"]
    elif gender < -0.5:
        nouns += ["man"] * 4 + ["gentleman", "male face", "boy" if age < -0.8 else "man"]
    return str(rng.choice(nouns))


def caption(factors: np.ndarray, rng: np.random.Generator) -> str:
    """A caption that names one to four of a face's visible attributes.

    Args:
        factors: [len(FACTORS)] standard units.
        rng: picks the attributes and the words.
    Returns:
        English, lower case, such as "a photo of a smiling woman with round glasses".
    Raises:
        ValueError: wrong shape.
    """
    factors = np.asarray(factors, np.float64)
    if factors.shape != (len(FACTORS),):
        raise ValueError(f"factors: got shape {factors.shape}, expected ({len(FACTORS)},)")
    value = dict(zip(FACTORS, factors, strict=True))
    grey = value["age"] > _GREY_AGE

    def true(rules: tuple, kind: str) -> list[tuple[str, str, str]]:
        return [
            (name, kind, str(rng.choice(words)))
            for name, low, high, words in rules
            if low <= value[name] <= high and not (grey and name == "hair_lightness")
        ]

    said = true(_ADJECTIVES, "adjective") + true(_PHRASES, "phrase") + true(_CLAUSES, "clause")
    if value["age"] > 2.0:
        said.append(("hair_lightness", "phrase", str(rng.choice(["grey hair", "gray hair", "white hair"]))))
    wanted = int(rng.choice([1, 2, 3, 4], p=[0.45, 0.3, 0.17, 0.08]))
    chosen: dict[str, tuple[str, str]] = {}
    # what makes an edit is said more often than what makes a person
    weights = np.array([1.0 if name in _EDITED else 0.45 for name, _, _ in said])
    order = rng.choice(len(said), len(said), replace=False, p=weights / weights.sum()) if said else np.zeros(0, int)
    for k in order:
        name, kind, words = said[k]
        if name not in chosen and len(chosen) < wanted:
            chosen[name] = (kind, words)
    noun = _noun(value["gender"], value["age"], rng)
    if not chosen:
        return f"{rng.choice(_LEADS)}{_article(noun)} {noun}"
    if len(chosen) == 1 and rng.random() < 0.28:
        kind, words = next(iter(chosen.values()))
        if kind == "phrase" or (kind == "clause" and words.split()[0] not in ("with", "turned", "wearing")):
            return words
    adjectives = [w for k, w in chosen.values() if k == "adjective"]
    phrases = [w for k, w in chosen.values() if k == "phrase"]
    clauses = [w for k, w in chosen.values() if k == "clause"]
    head = " ".join([*adjectives, noun])
    text = f"{_article(head)} {head}"
    if phrases:
        text += " with " + (phrases[0] if len(phrases) == 1 else ", ".join(phrases[:-1]) + " and " + phrases[-1])
    for clause in clauses:
        bare = clause.split()[0] in ("with", "without", "wearing", "speaking", "blinking", "turned", "looking")
        text += f" {clause}" if bare else f", {clause}"
    return f"{rng.choice(_LEADS)}{text}"


def _article(words: str) -> str:
    return "an" if words[0] in "aeiou" else "a"
