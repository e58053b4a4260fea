"""What a measure of an edit is called, in which unit it is, and from where on it is good, fair or poor."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["good", "fair", "poor"]


@dataclass(frozen=True)
class Bar:
    """A measure, and its limits.

    Attributes:
        title: its name in the field.
        plain: its name for people.
        unit: of its values.
        hint: what it says, for people.
        wanted: "high" and "low" values are better, or those near "one".
        good, fair: a value that is no worse is so; of "one", the distance from 1.
        digits: after the point that are worth showing.
    """

    title: str
    plain: str
    unit: str
    hint: str
    wanted: Literal["high", "low", "one"]
    good: float
    fair: float
    digits: int = 3

    @property
    def limits(self) -> str:
        """In words, such as "good from 0.8 on, fair from 0.6 on"."""
        if self.wanted == "one":
            return f"good within {self.good:g} of 1, fair within {self.fair:g}"
        if self.wanted == "high":
            return f"good from {self.good:g} on, fair from {self.fair:g} on"
        return f"good up to {self.good:g}, fair up to {self.fair:g}"

    def verdict(self, value: float) -> Verdict:
        """In a word.

        Raises:
            ValueError: the value is not a number.
        """
        if math.isnan(value):
            raise ValueError(f"{self.title}: got NaN, expected a number")
        if self.wanted == "high":
            value, good, fair = -value, -self.good, -self.fair
        else:
            value, good, fair = abs(value - 1) if self.wanted == "one" else value, self.good, self.fair
        return "good" if value <= good else "fair" if value <= fair else "poor"


BARS: Mapping[str, Bar] = {
    "psnr_tuned_db": Bar("PSNR after tuning", "Likeness", "dB", "how exactly the learned face redraws yours",
                         "high", 30, 25, 1),
    "ssim": Bar("SSIM after tuning", "Structure", "", "how alike its structure is", "high", 0.9, 0.8),
    "lpips": Bar("LPIPS after tuning", "Look", "", "how far it looks from yours", "low", 0.1, 0.2),
    "boundary_ratio": Bar("Seam", "Seam", "of a plain paste's", "how well the edited face joins the picture around it",
                          "low", 0.35, 0.6, 2),
    "ring": Bar("Change around the face", "Edge", "levels of 255",
                "how much the picture changes in a ring around the face, where nothing was to change", "low", 4, 8, 1),
    "tl_id": Bar("TL-ID", "Steadiness", "of the source's", "whether it stays the same person from frame to frame",
                 "one", 0.02, 0.05),
    "tg_id": Bar("TG-ID", "One person", "of the source's", "whether it stays the same person over the whole clip",
                 "one", 0.03, 0.1),
    "identity": Bar("Identity kept", "Identity", "cosine", "whether it is still the person who was filmed",
                    "high", 0.8, 0.6),
    "flicker": Bar("Flicker", "Flicker", "of the source's",
                   "what the motion does not explain from frame to frame, in the face", "low", 1.2, 1.6, 2),
    "jitter": Bar("Landmark jitter", "Jitter", "of the source's", "how much eyes, nose and mouth tremble",
                  "low", 1.25, 1.75, 2),
    "background_mean": Bar("Background change", "Background", "levels of 255",
                           "how much the picture changes outside the face", "low", 1.5, 4, 2),
    "background_largest": Bar("Largest background change", "Background at worst", "levels of 255",
                              "the largest change of a pixel outside the face", "low", 48, 96, 0),
    "edit": Bar("Edit", "Edit", "std", "how far it moved the wished way, by the family's own reader",
                "high", 0.5, 0.1, 2),
}
"""By the names that results and evaluations have for them.

Coding alone, measured on the family portrait's bundled clip at x264's quality 16, 23 and 30, changes the whole picture
by 0.8, 1.4 and 2.2 levels on average and by 27, 41 and 68 at most. Identity: different faces that portrait draws have a
cosine of 0.07 on average and of 0.39 at most (276 pairs). TG-ID: published figures lie between 0.81 and 0.996.
"""
