"""Loading the family portrait."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from stitch.core.errors import WeightsError
from stitch.core.records import Direction
from stitch.core.settings import CONTENT_WEIGHT
from stitch.families.about import Files
from stitch.families.family import Family, Refinement
from stitch.families.miniature.networks import FaceParser, IdentityNet
from stitch.families.portrait import ABOUT
from stitch.families.portrait.detector import read_detector
from stitch.families.portrait.encoder import FaceEncoder, RowsEncoder
from stitch.families.portrait.generator import HEADS, read_generator, read_head, with_head
from stitch.families.portrait.perceptual import perceptual, read_trunk
from stitch.networks.formats.checkpoints import load_module
from stitch.networks.mobilestylegan import MobileStyleGAN
from stitch.runtime.optimizer import Rates

SIZE = 256
"""Side of the pictures where nothing else is asked for, px."""

TUNE_RATES = Rates(3e-4, pivot=100.0, rise=0.1, settle=0.5, betas=(0.9, 0.99))
STITCHING_RATES = Rates(2e-4, affine=0.0, rise=0.1, settle=0.5, betas=(0.9, 0.99))

REFINED_STEPS = 60
SHARED_RATE, FRAME_RATE = 0.03, 0.008


@dataclass(frozen=True, eq=False)
class PortraitSizes:
    """The generator at all its sizes.

    Attributes:
        published: at its largest.
        heads: what ends it at smaller sizes, see `generator.read_head`.
    """

    published: MobileStyleGAN
    heads: Mapping[int, Mapping[str, Tensor]]

    @property
    def known(self) -> tuple[int, ...]:
        """256, 512 and 1024 px."""
        return (*sorted(self.heads), self.published.resolution)

    def at(self, size: int) -> MobileStyleGAN:
        """The generator at one size; see `generator.with_head`."""
        if size == self.published.resolution:
            return self.published
        return with_head(self.published, size, self.heads[size])


def load(files: Files, device: torch.device) -> Family:
    """Load the family.

    Args:
        files: all parts.
        device: where the networks go.
    Raises:
        WeightsError: a file is damaged or another network's.
    """
    sizes = PortraitSizes(read_generator(files), {size: read_head(files[part]) for size, part in HEADS.items()})
    generator = sizes.at(SIZE)
    encoder = load_module(files["encoder"], FaceEncoder)
    space = encoder.space
    basis = space.axes * space.deviation[:, None]
    return Family(
        name=ABOUT.name,
        generator=generator.to(device),
        encoder=RowsEncoder(encoder, generator.num_ws).to(device),
        detector=read_detector(files).to(device),
        parser=load_module(files["parser"], FaceParser).to(device),
        perceptual=perceptual(read_trunk(files["perceptual"])).to(device),
        identity=load_module(files["identity"], IdentityNet).to(device),
        text_encoder=None,
        directions=directions(files["directions"], device),
        relevance=None,
        style_std=None,
        text_unit=1.0,
        text_channels=1,
        tune_rates=TUNE_RATES,
        stitching_rates=STITCHING_RATES,
        content_weight=CONTENT_WEIGHT,
        licence=ABOUT.licence,
        sizes=sizes,
        detail=1.0,
        refinement=Refinement(basis.to(device), REFINED_STEPS, SHARED_RATE, FRAME_RATE),
    )


def directions(path: Path, device: torch.device) -> dict[str, Direction]:
    """The family's sliders, in StyleGAN2-FFHQ's W.

    Args:
        path: .safetensors with `direction.NAME` [D] each, one step long.
        device: where they go.
    Raises:
        WeightsError: one is missing.
    """
    tensors = load_file(path)
    found = {}
    for slider in ABOUT.sliders:
        vector = tensors.get(f"direction.{slider.name}")
        if vector is None:
            raise WeightsError(f"{path}: no direction {slider.name!r}; install Stitch again")
        unit = float(vector.norm())
        found[slider.name] = Direction(
            (vector / unit).to(device), unit, slider.description, slider.low, slider.high, slider.group
        )
    return found


def picture_tower(files: Files, device: torch.device) -> nn.Module:
    """There is none yet.

    Raises:
        WeightsError: always.
    """
    raise WeightsError("family portrait: has no CLIP of its own yet; use --family miniature or ffhq")
