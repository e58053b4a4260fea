"""The family's small CLIP: the text tower of `miniature.language`, and a picture tower like the encoder's."""

from collections.abc import Sequence
from typing import Any

from stitch.families.miniature.language import SmallClip, TextSizes, Vision
from stitch.families.portrait.encoder import FaceEncoder
from stitch.networks.efficientnet import LITE0, LITE0_STEM, Stage

_TEXT = TextSizes()


class FaceClip(SmallClip):
    """Picture tower and text tower.

    Args:
        tokens, words, dimension, size, text, context: see `SmallClip`.
        stem, stages, width: of the picture tower, see `FaceEncoder`.
    """

    def __init__(
        self,
        tokens: Sequence[int],
        words: Sequence[str],
        dimension: int = 64,
        size: int = 128,
        text: TextSizes = _TEXT,
        context: int = 32,
        **tower: Any,
    ):
        super().__init__(tokens, words, dimension, size, Vision(width=8), text, context)
        self._tower = {"stem": LITE0_STEM, "stages": LITE0, "width": 192, **tower}
        self.clip.visual = FaceEncoder(size, dimension, **self._tower)

    @property
    def arguments(self) -> dict[str, Any]:
        """See `SmallClip.arguments`."""
        vision = ("vision_layers", "vision_width")
        own = {name: value for name, value in super().arguments.items() if name not in vision}
        return {**own, **{name: value for name, value in self.clip.visual.arguments.items() if name in self._tower}}

    @classmethod
    def from_arguments(cls, **arguments: Any) -> "FaceClip":
        """See `SmallClip.from_arguments`."""
        text = TextSizes(*(arguments.pop(f"text_{name}") for name in ("width", "heads", "layers")))
        stages = [Stage(*stage) for stage in arguments.pop("stages")]
        return cls(text=text, stages=stages, **arguments)
