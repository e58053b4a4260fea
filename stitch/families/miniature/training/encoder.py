"""The miniature e4e: a drawn crop -> the W+ code from which the generator draws it again.

The distilled generator gives what e4e's authors had to approach with a discriminator: the true w of every training
picture. So the encoder first learns the codes alone, then codes and pictures together; the offsets of the finer styles
from the first stay small by e4e's delta regulariser (Tov et al. 2021, section 4.2), which keeps the codes editable.
"""

from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stitch.families.miniature.backdrops import Kind, backdrop
from stitch.families.miniature.training.generator import COUNT, Pictures, contrast_weight
from stitch.families.miniature.training.loop import Losses, Schedule, fit
from stitch.networks.e4e import Encoder, GradualStyleBlock, Inverter
from stitch.networks.formats.checkpoints import save_module
from stitch.networks.stylegan2 import Generator

CODES = Schedule(4500, 32, 2e-3, warmup=0.05, weight_decay=0.0, log_every=50)
PICTURES = Schedule(1000, 8, 1e-3, warmup=0.05, weight_decay=0.0, log_every=50)
BACKDROPS = 64
ABOVE_KINK = 4.0
TEXTURED = 0.6
"""Share of the pictures that are put before a textured backdrop."""

DELTA_WEIGHT = 0.02
PICTURE_WEIGHT = 2.0
BEHIND_WEIGHT = 0.1
"""Weight of the backdrop, which the generator cannot know, in the comparison of pictures."""


@torch.no_grad()
def new_encoder(generator: Generator) -> Encoder:
    """An untrained encoder into `generator`'s W+.

    All heads but the first start silent: as in e4e's progressive training, one code for all layers comes first and the
    offsets later. Heads start in the linear part of their rectifiers and end in the identity: behind a random matrix
    and with half of the features cut off, the code is hardly learnt (R^2 of 0.1 after 1,600 steps, where a linear
    regression on 16x16 pixels has 0.35).
    """
    encoder = Encoder(
        input_size=32, style_dim=generator.w_dim, num_ws=generator.num_ws, widths=(24, 32, 48, 80, 96),
        depths=(1, 1, 1, 1), reduction=8,
    )
    first, *others = (cast(GradualStyleBlock, head) for head in encoder.styles)
    for head in (first, *others):
        before = 0.0
        for convolution in (layer for layer in head.convs if isinstance(layer, nn.Conv2d)):
            nn.init.kaiming_normal_(convolution.weight, a=0.01)
            cast(Tensor, convolution.bias).copy_(ABOVE_KINK - before * convolution.weight.sum((1, 2, 3)))
            before = ABOVE_KINK
        nn.init.zeros_(head.linear.weight)
    first.linear.weight.copy_(torch.eye(generator.w_dim) / first.linear.weight_gain)
    first.linear.bias.fill_(-ABOVE_KINK)
    return encoder


def filmed(images: Tensor, rng: torch.Generator) -> Tensor:
    """Blur, exposure and grain of a filmed crop; [B,3,S,S] in [-1,1] -> the same."""
    if float(torch.rand((), generator=rng)) < 0.4:
        images = F.interpolate(F.avg_pool2d(images, 2), size=images.shape[-1], mode="bilinear", align_corners=False)
    gain = 1 + 0.05 * torch.randn(images.shape[0], 3, 1, 1, generator=rng).to(images.device)
    grain = 0.02 * torch.randn(images.shape, generator=rng).to(images.device)
    return (images * gain + grain).clamp(-1, 1)


def backdrops(size: int) -> Tensor:
    """Textured backdrops, [N,3,2S,2S] uint8, three busy ones to a plain one."""
    kinds: tuple[Kind, ...] = ("busy", "busy", "busy", "plain")
    pictures = [backdrop(number, (2 * size, 2 * size), kinds[number % 4]) for number in range(BACKDROPS)]
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous()


def before(images: Tensor, face: Tensor, scenery: Tensor, rng: torch.Generator) -> Tensor:
    """Some of the pictures, cut out softly and put before a random part of a random backdrop.

    Args:
        images: [B,3,S,S] in [-1,1].
        face: [B,1,S,S] float, 1 where the person is.
        scenery: of `backdrops`.
    Returns:
        [B,3,S,S].
    """
    size = images.shape[-1]
    chosen = torch.randint(len(scenery), (len(images),), generator=rng)
    corner = torch.randint(size + 1, (len(images), 2), generator=rng)
    places = zip(chosen.tolist(), corner.tolist(), strict=True)
    parts = torch.stack([scenery[number, :, y : y + size, x : x + size] for number, (y, x) in places])
    textured = (torch.rand(len(images), 1, 1, 1, generator=rng) < TEXTURED).float().to(images.device)
    alpha = 1 - textured * (1 - F.avg_pool2d(face, 3, stride=1, padding=1, count_include_pad=False))
    return images * alpha + (parts.to(images.device).float() / 127.5 - 1) * (1 - alpha)


def train(
    data_dir: Path,
    generator: Generator,
    out: Path,
    seed: int = 0,
    device: str = "cpu",
    count: int = COUNT,
    schedules: tuple[Schedule, Schedule] = (CODES, PICTURES),
) -> Inverter:
    """Train, or go on where a killed training stopped.

    Args:
        data_dir: folder of the drawn sets; what is missing is drawn.
        generator: the trained miniature generator.
        out: folder for checkpoints and logs, one subfolder a part, and encoder.safetensors.
        seed: of the weights and the batches.
        device: "cpu" or "cuda".
        count: crops drawn.
        schedules: how long the two parts take: from codes, and from pictures.
    Returns:
        Encoder and mean code, frozen, on the CPU.
    """
    torch.manual_seed(seed)
    codes, pictures = schedules
    place = torch.device(device)
    drawn = Pictures(data_dir, count)
    generator = generator.to(place).requires_grad_(False)
    inverter = Inverter(new_encoder(generator), generator.w_avg).to(place)
    sizes = inverter.encoder.input_size, generator.resolution
    scenery = {size: backdrops(size) for size in sizes}
    with torch.no_grad():
        z = torch.randn(4096, generator.z_dim, generator=torch.Generator().manual_seed(seed)).to(place)
        std = generator.mapping(z).std(0).clamp_min(1e-3)

    def batch(indices: np.ndarray, size: int, rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        target, z = drawn.at(indices, size, place)
        face = F.adaptive_avg_pool2d(torch.from_numpy(drawn.labels[indices] > 0).to(place).float()[:, None], size)
        with torch.no_grad():
            return before(target, face, scenery[size], rng), face, generator.mapping(z)[:, None]

    def code_losses(found: Tensor, w: Tensor) -> dict[str, Tensor]:
        return {
            "code": F.smooth_l1_loss(found / std, (w / std).expand_as(found), beta=0.5),
            "delta": DELTA_WEIGHT * ((found[:, 1:] - found[:, :1]) / std).square().mean(),
        }

    def code_step(rng: torch.Generator) -> Losses:
        target, _, w = batch(drawn.choose(codes.batch, rng), sizes[0], rng)
        return code_losses(inverter(filmed(target, rng)), w)

    def picture_step(rng: torch.Generator) -> Losses:
        target, face, w = batch(drawn.choose(pictures.batch, rng), sizes[1], rng)
        found = inverter(filmed(target, rng))
        drawn_again = generator(found, noise="none")
        weight = contrast_weight(target) * (BEHIND_WEIGHT + (1 - BEHIND_WEIGHT) * face)
        picture = ((drawn_again - target).abs() * weight).mean()
        return {**code_losses(found, w), "picture": PICTURE_WEIGHT * picture}

    def measure() -> dict[str, float]:
        rng = torch.Generator().manual_seed(seed)
        explained, psnrs = [], []
        for indices in drawn.held.reshape(-1, 8):
            target, face, w = batch(indices, sizes[1], rng)
            found = inverter(target)
            explained.append(((found[:, :1] - w) / std).square().mean())
            errors = (generator(found, noise="none").clamp(-1, 1) - target).square().mean(1, keepdim=True) / 4
            psnrs.append(-10 * torch.log10((errors * face).sum((1, 2, 3)) / face.sum((1, 2, 3))))
        return {"held_r2": float(1 - torch.stack(explained).mean()), "held_face_db": float(torch.cat(psnrs).mean())}

    fit(inverter, code_step, codes, out / "codes", seed, measure)
    fit(inverter, picture_step, pictures, out / "pictures", seed + 1, measure)
    inverter = inverter.cpu()
    save_module(out / "encoder.safetensors", inverter, dtype=torch.float16)
    return inverter
