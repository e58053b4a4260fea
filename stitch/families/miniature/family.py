"""Loading the miniature family."""

from pathlib import Path

import torch
from torch import nn

from stitch.families import directions
from stitch.families.about import Files
from stitch.families.family import Family
from stitch.families.miniature import ABOUT
from stitch.families.miniature.detector import FaceDetector
from stitch.families.miniature.language import PictureTower, SmallClip
from stitch.families.miniature.networks import FaceParser, IdentityNet
from stitch.families.relevance import load as load_relevance
from stitch.networks.e4e import Inverter
from stitch.networks.formats.checkpoints import load_module
from stitch.networks.perceptual import Perceptual
from stitch.networks.stylegan2 import Generator
from stitch.runtime.optimizer import Rates

TUNE_RATES = Rates(3e-3, settle=0.5)
"""Small networks must move further than large ones, for which the paper takes 3e-5 and 3e-4: on five drawn crops, 160
steps of four frames at 1e-3, 4e-3 and 1.5e-2 ended at 29.5, 30.8 and 29.2 dB. At rates as large as these, weights
tremble to the end unless the last steps settle them: on a clip with a busy backdrop, 80 epochs ended at 26.7 dB and an
LPIPS of 0.036 without, at 27.0 dB and 0.029 with it."""
STITCHING_RATES = Rates(5e-3, biases=0.05, affine=0.0, settle=0.7, betas=(0.9, 0.95))
CONTENT_WEIGHT = 0.1
"""On four frames of a busy and of a plain clip, 100 steps, against a constant 1e-3 for all weights and the paper's
0.01: a tenth less of the seam is left, the face drifts a third as far from what was edited, and TL-ID, which lacked
0.016 and 0.002 of 1, lacks 0.002 and 0.000. A small generator cannot repair the seam without touching the face: at 0.01
much of an edit fades, and every frame's face drifts its own way, above all if the affine layers move. At 0.4 the seam
suffers."""

LEAST_LIKENESS = 0.85
"""Twelve drawn faces had 0.86 to 0.95; filmed ones and CC0 portraits 0.27 to 0.83."""

TEXT_UNIT = 2.0
TEXT_CHANNELS = 20
"""Measured on 12 random faces and 16 prompts at strength 2: with 20 channels every named attribute moves 0.3 to 2 of
its standard units, and the identity's cosine stays at 0.83 to 0.97; a unit of 4 or 80 channels leave the domain."""


def load(files: Files, device: torch.device) -> Family:
    """Load the family.

    Args:
        files: all parts but the regressor.
        device: where the networks go.
    Raises:
        WeightsError: a file is damaged or another network's.
    """
    generator = load_module(files["generator"], Generator).to(device)
    relevance = load_relevance(files["relevance"], generator)
    return Family(
        name=ABOUT.name,
        generator=generator,
        encoder=load_module(files["encoder"], Inverter).to(device),
        detector=load_module(files["detector"], FaceDetector).to(device),
        parser=load_module(files["parser"], FaceParser).to(device),
        perceptual=load_module(files["perceptual"], Perceptual).to(device),
        identity=load_module(files["identity"], IdentityNet).to(device),
        text_encoder=load_module(files["clip"], SmallClip).to(device),
        directions=directions.read(files["directions"], ABOUT.sliders, device),
        relevance=relevance.rows,
        style_std=relevance.std,
        text_unit=TEXT_UNIT,
        text_channels=TEXT_CHANNELS,
        tune_rates=TUNE_RATES,
        stitching_rates=STITCHING_RATES,
        content_weight=CONTENT_WEIGHT,
        least_likeness=LEAST_LIKENESS,
        licence=ABOUT.licence,
    )


def picture_tower(files: Files, device: torch.device) -> nn.Module:
    """CLIP's picture tower, [B,3,S,S] in [-1,1] -> [B,K].

    Args:
        files: clip.
        device: where it goes.
    Raises:
        WeightsError: the file is damaged or another network's.
    """
    return PictureTower(load_module(files["clip"], SmallClip)).to(device)


def files_in(folder: Path) -> dict[str, Path]:
    """The family's files by their names, from a folder of one's own training."""
    return {part.name: folder / part.file for part in ABOUT.parts}
