"""English captions of faces, true to numbers that were drawn or measured: what a small CLIP learns its words from."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

INF = float("inf")

Rule = tuple[str, float, float, tuple[str, ...]]
"""Attribute, lowest and highest value for which it is true, and what may be said then."""

LEADS = ("", "", "a photo of ", "a picture of ", "a portrait of ", "a close-up of ", "an image of ")
NEUTRAL = (
    "a face", "a person", "face", "person", "the face of a person", "somebody", "a portrait of a person", "a human face"
)
_RARE = 0.45
"""How often what makes a person is said, against what makes an edit."""
_BARE = ("with", "without", "wearing", "speaking", "blinking", "turned", "looking")


@dataclass(frozen=True)
class Phrasebook:
    """What may be said of the faces of one family. Gaps between the rules leave what is hard to see unsaid.

    Attributes:
        adjectives: stand before the noun.
        phrases: follow "with".
        clauses: follow as they are, or behind a comma.
        edited: attributes that edits are for; they are named more often than others.
        read: values of attributes from a face's numbers; "woman" (positive for women) and "age" choose the noun, and
            what is NaN is not spoken of.
        leads: what a caption may begin with.
    """

    adjectives: tuple[Rule, ...]
    phrases: tuple[Rule, ...]
    clauses: tuple[Rule, ...]
    edited: frozenset[str]
    read: Callable[[np.ndarray], Mapping[str, float]]
    leads: tuple[str, ...] = LEADS

    def caption(self, numbers: np.ndarray, rng: np.random.Generator) -> str:
        """A caption that names one to four of a face's visible attributes.

        Args:
            numbers: of the face, as `read` takes them.
            rng: picks the attributes and the words.
        Returns:
            English, lower case, such as "a photo of a smiling woman with round glasses".
        """
        value = self.read(numbers)
        said = [
            (name, kind, str(rng.choice(words)))
            for kind, rules in enumerate((self.adjectives, self.phrases, self.clauses))
            for name, low, high, words in rules
            if low <= value[name] <= high
        ]
        wanted = int(rng.choice([1, 2, 3, 4], p=[0.45, 0.3, 0.17, 0.08]))
        weights = np.array([1.0 if name in self.edited else _RARE for name, _, _ in said])
        order = rng.choice(len(said), len(said), replace=False, p=weights / weights.sum()) if said else np.zeros(0, int)
        chosen: dict[str, tuple[int, str]] = {}
        for name, kind, words in (said[index] for index in order):
            if len(chosen) < wanted:
                chosen.setdefault(name, (kind, words))
        noun = _noun(value["woman"], value["age"], rng)
        lead = str(rng.choice(self.leads))
        if not chosen:
            return f"{lead}{_article(noun)} {noun}"
        if len(chosen) == 1 and rng.random() < 0.28:
            kind, words = next(iter(chosen.values()))
            if kind == 1 or (kind == 2 and words.split()[0] not in ("with", "turned", "wearing")):
                return words
        adjectives, phrases, clauses = ([words for kind, words in chosen.values() if kind == k] for k in range(3))
        head = " ".join([*adjectives, noun])
        text = f"{_article(head)} {head}"
        if phrases:
            text += " with " + (phrases[0] if len(phrases) == 1 else ", ".join(phrases[:-1]) + " and " + phrases[-1])
        for clause in clauses:
            text += f" {clause}" if clause.split()[0] in _BARE else f", {clause}"
        return lead + text


def _noun(woman: float, age: float, rng: np.random.Generator) -> str:
    nouns = ["person", "face", "face"]
    if woman > 0.5:
        nouns += ["woman"] * 4 + ["lady", "female face", "girl" if age < -0.8 else "woman"]
    elif woman < -0.5:
        nouns += ["man"] * 4 + ["gentleman", "male face", "boy" if age < -0.8 else "man"]
    return str(rng.choice(nouns))


def _article(words: str) -> str:
    return "an" if words[0] in "aeiou" else "a"
