"""Loading the family portrait."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from stitch.core.settings import CONTENT_WEIGHT
from stitch.families import directions
from stitch.families.about import Files
from stitch.families.family import Family, Refinement
from stitch.families.miniature.language import PictureTower
from stitch.families.miniature.networks import FaceParser, IdentityNet
from stitch.families.portrait import ABOUT
from stitch.families.portrait.detector import read_detector
from stitch.families.portrait.encoder import FaceEncoder
from stitch.families.portrait.generator import HEADS, read_generator, read_head, with_head
from stitch.families.portrait.language import FaceClip
from stitch.families.portrait.perceptual import perceptual, read_trunk
from stitch.families.relevance import load as load_relevance
from stitch.networks.formats.checkpoints import load_module
from stitch.networks.mobilestylegan import MobileStyleGAN
from stitch.networks.rows import RowsEncoder
from stitch.runtime.optimizer import Rates

SIZE = 256
"""Side of the pictures where nothing else is asked for, px."""

TUNE_RATES = Rates(3e-4, pivot=100.0, at_rms=0.05, rise=0.1, settle=0.5, betas=(0.9, 0.99))
"""Pointwise weights are stored at 0.05, depthwise ones at 4: moved alike, only the first ever change. On a CC0 portrait
bent into a clip of 24 frames ten epochs end where 13 ended before; rates by size itself, or twice these, are worse."""
STITCHING_RATES = Rates(2e-4, affine=0.0, rise=0.1, settle=0.5, betas=(0.9, 0.99))

LEAST_LIKENESS = 0.35
"""Ten filmed pictures had 0.52 to 0.78, 20 CC0 portraits 0.23 to 0.83 (three less than this), 12 drawn faces 0.04 to
0.52 (two more)."""

ANSWER = 1.3
"""By how much further a slider's step goes than one std of what it names over drawn faces: a tuned generator answers
less than it did before. On a CC0 portrait bent into a clip `smile=2` moved a smile's blendshape by 0.50 where it moved
it by 0.64 before tuning, and `age=-2` made it 15 years younger instead of 20."""

TEXT_UNIT = 2.0
TEXT_CHANNELS = 200
"""On six random faces and the twelve prompts of the check at strength 2, unit 1 moves what is named by 0.4 to 1.5 std
over faces, all twelve the right way, and dlib's descriptor by 0.17 to 0.47. A tuned generator answers less: on a CC0
portrait bent into a clip, a unit of 1.3, 2.0 and 2.8 took it 0.19, 0.28 and 0.42 towards an old face for 0.7, 1.0 and
1.0 std. A thousand channels move the person more and what is named hardly more."""

REFINED_STEPS = 20
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
    relevance = load_relevance(files["relevance"], generator)
    return Family(
        name=ABOUT.name,
        generator=generator.to(device),
        encoder=RowsEncoder(encoder, generator.num_ws).to(device),
        detector=read_detector(files).to(device),
        parser=load_module(files["parser"], FaceParser).to(device),
        perceptual=perceptual(read_trunk(files["perceptual"])).to(device),
        identity=load_module(files["identity"], IdentityNet).to(device),
        text_encoder=load_module(files["clip"], FaceClip).to(device),
        directions={name: replace(one, unit=ANSWER * one.unit)
                    for name, one in directions.read(files["directions"], ABOUT.sliders, device).items()},
        relevance=relevance.rows.to(device),
        style_std=relevance.std.to(device),
        text_unit=TEXT_UNIT,
        text_channels=TEXT_CHANNELS,
        tune_rates=TUNE_RATES,
        stitching_rates=STITCHING_RATES,
        content_weight=CONTENT_WEIGHT,
        licence=ABOUT.licence,
        sizes=sizes,
        least_likeness=LEAST_LIKENESS,
        child=directions.read_boundary(files["child"], device),
        refinement=Refinement(basis.to(device), REFINED_STEPS, SHARED_RATE, FRAME_RATE),
        wide=True,
    )


def picture_tower(files: Files, device: torch.device) -> nn.Module:
    """CLIP's picture tower, [B,3,S,S] in [-1,1] -> [B,K].

    Args:
        files: clip.
        device: where it goes.
    Raises:
        WeightsError: the file is damaged or another network's.
    """
    return PictureTower(load_module(files["clip"], FaceClip)).to(device)
