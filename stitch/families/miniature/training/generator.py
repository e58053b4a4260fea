"""The miniature StyleGAN2, distilled from the drawing: z -> w -> picture against the drawn crop of the same z.

Progressively grown (32, 64, 128, and 128 px again with a fresh rate): the blocks of a smaller generator are the first
blocks of the larger one, because StyleGAN2's skip architecture sums one toRGB per resolution. Small features (eyes,
glasses, teeth) cover few pixels and would get no gradient from a plain L1, so each pixel weighs 1 + (local contrast /
mean contrast).
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from stitch.families.miniature.training import sets
from stitch.families.miniature.training.loop import Losses, Schedule, fit
from stitch.networks.formats.checkpoints import save_module
from stitch.networks.stylegan2 import Generator, Linear

DATA_SEED = 101
COUNT = 16_000
SIZE = 128

CHANNELS = {4: 96, 8: 96, 16: 96, 32: 64, 64: 48, 128: 24}
STYLE_DIM = 64
MEAN_CODE = 3.0
"""Mean of every entry of w, in its std: far above the kink of the mapping's leaky ReLU."""

HELD = 256
"""Pictures at the end of the set that are never trained on; they are the curve's validation."""


@dataclass(frozen=True)
class Stage:
    """One resolution of the growing."""

    resolution: int
    schedule: Schedule


def _schedule(steps: int, batch: int, learning_rate: float) -> Schedule:
    return Schedule(
        steps, batch, learning_rate, warmup=0.03, weight_decay=0.0, average=0.005, log_every=50, vectors=0.05
    )


STAGES = (
    Stage(32, _schedule(700, 32, 1e-1)),
    Stage(64, _schedule(1500, 16, 8e-2)),
    Stage(128, _schedule(1900, 8, 5e-2)),
    Stage(128, _schedule(6000, 8, 4e-2)),
)


class Pictures:
    """Drawn crops and the random vectors they were drawn from.

    Args:
        folder: where the sets are kept; the crops are drawn when missing.
        count: crops, the held ones among them.
    """

    def __init__(self, folder: Path, count: int = COUNT):
        drawn = sets.aligned(folder / f"aligned_{DATA_SEED}_{SIZE}", count, DATA_SEED, SIZE)
        self.images, self.labels, self.z = drawn["images"], drawn["labels"], np.array(drawn["z"])
        self.held = np.arange(count - min(HELD, count // 16 * 8), count)

    def at(self, indices: np.ndarray, resolution: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Pictures [B,3,R,R] in [-1,1] and their z [B,64]."""
        batch = torch.from_numpy(self.images[indices]).to(device).permute(0, 3, 1, 2).float().div(127.5).sub(1)
        if batch.shape[-1] != resolution:
            batch = F.adaptive_avg_pool2d(batch, resolution)
        return batch, torch.from_numpy(self.z[indices]).to(device)

    def choose(self, count: int, rng: torch.Generator) -> np.ndarray:
        """Indices of a random batch of those that may be trained on."""
        return torch.randint(0, int(self.held[0]), (count,), generator=rng).sort().values.numpy()


def contrast_weight(target: Tensor) -> Tensor:
    """1 + (local contrast / its mean), [B,1,S,S], from a target [B,3,S,S] in [-1,1]."""
    mean = F.avg_pool2d(F.pad(target, (2, 2, 2, 2), mode="replicate"), 5, stride=1)
    contrast = (target - mean).abs().mean(1, keepdim=True)
    contrast = F.avg_pool2d(contrast, 3, stride=1, padding=1, count_include_pad=False)
    return 1 + contrast / contrast.mean(dim=(1, 2, 3), keepdim=True).clamp_min(1e-4)


@torch.no_grad()
def new_generator(resolution: int) -> Generator:
    """An untrained miniature generator of `resolution` px.

    The drawing's factors are independent already and nothing has to be disentangled: the mapping is one layer, a
    rotation in the linear part of its activation, and is not trained.
    """
    channels = {size: width for size, width in CHANNELS.items() if size <= resolution}
    generator = Generator(resolution, STYLE_DIM, 1, channels, z_dim=STYLE_DIM)
    layer = cast(Linear, generator.mapping.get_submodule("fc0"))
    rotation = torch.linalg.qr(torch.randn(STYLE_DIM, STYLE_DIM, generator=torch.Generator().manual_seed(0)))[0]
    layer.weight.copy_(rotation / (math.sqrt(2) * layer.weight_gain))
    layer.bias.fill_(MEAN_CODE / (math.sqrt(2) * layer.bias_gain))
    generator.mapping.w_avg.fill_(MEAN_CODE)
    return generator


def centred(generator: Generator, z: Tensor) -> Tensor:
    """W+ codes less their mean, [B,L,D]: with the mean in them all weights of a style would learn the same thing."""
    return generator.broadcast(generator.mapping(z) - MEAN_CODE)


@torch.no_grad()
def fold_mean(generator: Generator) -> None:
    """Makes a generator that was trained on centred codes one for plain codes, in place."""
    mean = torch.full((1, generator.num_ws, generator.w_dim), MEAN_CODE)
    zero = generator.styles(torch.zeros_like(mean))
    for info, style, base in zip(generator.layers, generator.styles(mean), zero, strict=True):
        cast(Linear, generator.synthesis.get_submodule(f"{info.name}.affine")).bias.sub_((style - base)[0])


@torch.no_grad()
def grow(generator: Generator, resolution: int) -> Generator:
    """A generator of `resolution` px whose first blocks are `generator`'s; a new toRGB starts near zero."""
    grown = new_generator(resolution)
    state = grown.state_dict()
    state[f"synthesis.b{resolution}.torgb.weight"].mul_(0.1)
    grown.load_state_dict({**state, **generator.state_dict()})
    return grown


def train(
    data_dir: Path,
    out: Path,
    seed: int = 0,
    device: str = "cpu",
    count: int = COUNT,
    stages: tuple[Stage, ...] = STAGES,
) -> Generator:
    """Train, or go on where a killed training stopped.

    Args:
        data_dir: folder of the drawn sets; what is missing is drawn.
        out: folder for checkpoints and logs, one subfolder a stage, and generator.safetensors.
        seed: of the weights and of the order of the pictures.
        device: "cpu" or "cuda".
        count: crops drawn.
        stages: resolutions, growing, and how each is trained.
    Returns:
        The averaged generator, frozen, on the CPU.
    Raises:
        ValueError: there are no stages.
    """
    torch.manual_seed(seed)
    place = torch.device(device)
    pictures = Pictures(data_dir, count)
    generator: Generator | None = None
    for number, stage in enumerate(stages):
        size = stage.resolution
        generator = (new_generator(size) if generator is None else grow(generator.cpu(), size)).to(place)
        _train_stage(generator, pictures, stage, out / f"{number}-{size}px", seed + number)
    if generator is None:
        raise ValueError("stages: got none, expected at least one")
    generator = generator.cpu()
    fold_mean(generator)
    save_module(out / "generator.safetensors", generator)
    return generator


def _train_stage(generator: Generator, pictures: Pictures, stage: Stage, out: Path, seed: int) -> None:
    place = generator.w_avg.device

    def losses(rng: torch.Generator) -> Losses:
        target, z = pictures.at(pictures.choose(stage.schedule.batch, rng), stage.resolution, place)
        image = generator(centred(generator, z), noise="none")
        return {"l1": ((image - target).abs() * contrast_weight(target)).mean()}

    def measure() -> dict[str, float]:
        psnrs = []
        for indices in pictures.held.reshape(-1, 8):
            target, z = pictures.at(indices, stage.resolution, place)
            image = generator(centred(generator, z), noise="none").clamp(-1, 1)
            psnrs.append(-10 * torch.log10(((image - target) / 2).square().mean(dim=(1, 2, 3))))
        return {"validation_psnr_db": float(torch.cat(psnrs).mean())}

    fit(generator.synthesis, losses, stage.schedule, out, seed, measure)
