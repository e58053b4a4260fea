"""Adapters to the two towers of a CLIP of the open_clip package."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import stitch.networks.torchvision_shim  # noqa: F401  (before open_clip, which imports torchvision)
from stitch.core.errors import WeightsError
from stitch.networks.formats.checkpoints import freeze, load_strictly

# isort: split
import open_clip

ARCHITECTURE = "ViT-B-32-quickgelu"
"""OpenAI's weights want QuickGELU, and StyleCLIP's relevance was measured with it; "ViT-B-32" would build GELU."""
_HEAD_WIDTH = 64


class ClipText(nn.Module):
    """Texts to CLIP's embeddings; the picture tower is not kept.

    Args:
        model: a CLIP model of open_clip's.
    """

    words: tuple[str, ...] = ()
    """It spells out what it does not know."""

    def __init__(self, model: open_clip.CLIP):
        super().__init__()
        self.model = model
        self.model.visual = nn.Identity()
        self._tokenize = open_clip.get_tokenizer(ARCHITECTURE, context_length=model.context_length)

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor]) -> "ClipText":
        """The text tower with these weights, frozen, on the CPU; every size is read from the tensors.

        Args:
            state: both towers of a vision transformer, in open_clip's names.
        Raises:
            WeightsError: another network's weights.
        """
        return freeze(cls(_model(state)))

    @torch.no_grad()
    def forward(self, texts: Sequence[str]) -> Tensor:
        """n texts -> [n,K] float32, not normalised."""
        place = self.model.positional_embedding.device
        return self.model.encode_text(self._tokenize(list(texts)).to(place)).float()

    def unknown_words(self, text: str) -> list[str]:
        """None: CLIP spells out what it does not know."""
        return []


class ClipPictures(nn.Module):
    """Pictures to CLIP's embeddings; the text tower is not kept.

    Args:
        model: a CLIP model of open_clip's, with a vision transformer.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: open_clip.CLIP):
        super().__init__()
        self.visual = model.visual
        self.size = int(model.visual.image_size[0])
        for name, values in (("mean", open_clip.OPENAI_DATASET_MEAN), ("std", open_clip.OPENAI_DATASET_STD)):
            self.register_buffer(name, torch.tensor(values)[:, None, None])

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor]) -> "ClipPictures":
        """The picture tower with these weights, frozen, on the CPU; see `ClipText.from_state`."""
        return freeze(cls(_model(state)))

    def forward(self, images: Tensor) -> Tensor:
        """Embeddings of pictures, prepared as CLIP's own program does: bicubic, then its data's mean and std.

        Args:
            images: [B,3,S,S] float in [-1,1].
        Returns:
            [B,K], not normalised.
        """
        x = F.interpolate(images, (self.size, self.size), mode="bicubic", antialias=True).clamp(-1, 1)
        return self.visual(((x + 1) / 2 - self.mean) / self.std)


def _model(state: Mapping[str, Tensor]) -> open_clip.CLIP:
    """Both towers with these weights, on the CPU."""
    try:
        config = _sizes(state)
    except (KeyError, IndexError) as error:
        raise WeightsError(f"CLIP: {error} is missing; use open_clip's file of ViT-B/32") from error
    # Without its weights at first: filling so many at random, only to replace them, takes seconds.
    with torch.device("meta"):
        model = open_clip.CLIP(**config)
    model = model.to_empty(device="cpu")
    # The one tensor that the file does not bring: no word looks at later words.
    model.attn_mask = torch.full((model.context_length, model.context_length), float("-inf")).triu_(1)
    return load_strictly(model, state, "CLIP")


def _sizes(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """open_clip's description of the model that a state dict belongs to."""
    config = open_clip.get_model_config(ARCHITECTURE)
    if config is None:
        raise WeightsError(f"CLIP: the installed open_clip has no {ARCHITECTURE}; install Stitch's requirements again")
    patch = state["visual.conv1.weight"].shape[-1]
    width, text_width = state["visual.class_embedding"].shape[0], state["ln_final.weight"].shape[0]
    vision = {
        "width": width,
        "layers": _layers(state, "visual.transformer.resblocks."),
        "patch_size": patch,
        "image_size": patch * math.isqrt(state["visual.positional_embedding"].shape[0] - 1),
    }
    text = {
        "width": text_width,
        "layers": _layers(state, "transformer.resblocks."),
        "heads": max(1, text_width // _HEAD_WIDTH),
        "context_length": state["positional_embedding"].shape[0],
        "vocab_size": state["token_embedding.weight"].shape[0],
    }
    return {
        "embed_dim": state["text_projection"].shape[1],
        "quick_gelu": config["quick_gelu"],
        "vision_cfg": config["vision_cfg"] | vision,
        "text_cfg": config["text_cfg"] | text,
    }


def _layers(state: Mapping[str, Tensor], prefix: str) -> int:
    return len({key.removeprefix(prefix).split(".")[0] for key in state if key.startswith(prefix)})
