"""Training of the perceptual network, the slim kin of LPIPS-Alex.

Trunk: learns to label every pixel and to read all factors off drawn crops (the parser's, before new backdrops), so that
its features mean eyes, lips, rims and strands. Weights of the channels ("lin"): fitted like LPIPS's own to judgements
which of two distortions is the stronger; the judge is the known strength, and between kinds, that a change of the
person or the expression is more than an exposure, a grain or half a pixel's shift that nobody sees. The fit is kept
when it judges held-out pairs better than equal weights do; the file says so. On one core: 6 minutes.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stitch.families.miniature.faces import FACTORS, crop_placement, draw
from stitch.families.miniature.networks import CLASSES, fold_labels
from stitch.families.miniature.training import sets
from stitch.families.miniature.training.augment import filmed, to_float
from stitch.families.miniature.training.loop import Losses, Schedule, fit, placed
from stitch.families.miniature.training.parser import COUNT, DATA_SEED, Crops, class_weights
from stitch.networks.formats.checkpoints import save_module
from stitch.networks.perceptual import Perceptual

CHANNELS = (24, 48, 64, 64, 64)
SCHEDULE = Schedule(steps=1300, batch=32, learning_rate=2e-3)
PAIR_SEED = 121
FACES = 160
TYPICAL = 0.45
"""LPIPS-Alex of two aligned faces of two people, to which the weights are scaled: PTI adds ten times the L2 to it."""

CHANGED = ("smile", "age", "glasses", "beard", "lipstick", "mouth_open", "eyes_open", "gaze_x", "hair_length", "fringe")


class _Trained(nn.Module):
    """The trunk and the two readings of its features that only training needs."""

    def __init__(self, network: Perceptual, size: int):
        super().__init__()
        self.network = network
        self.mixed = nn.Conv2d(sum(network.channels), 64, 1)
        self.labels = nn.Conv2d(64, 4 * CLASSES, 1)
        self.factors = nn.Linear(network.channels[-1] * (size >> len(network.channels)) ** 2, len(FACTORS))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """[B,3,S,S] -> logits [B,S/4,S/4,4,19] of the labels at S/2, and factors [B,len(FACTORS)]."""
        x = (images - self.network.shift) / self.network.scale
        stages = []
        for tap in self.network.taps:
            x = tap(x)
            stages.append(x)
        size = stages[1].shape[-1]
        same = [F.avg_pool2d(stages[0], 2), stages[1]]
        same += [F.interpolate(stage, size=size, mode="bilinear", align_corners=False) for stage in stages[2:]]
        scores = self.labels(F.relu(self.mixed(torch.cat(same, dim=1))))
        return scores.permute(0, 2, 3, 1).unflatten(3, (4, CLASSES)), self.factors(x.flatten(1))


def shares(network: Perceptual, first: Tensor, second: Tensor) -> Tensor:
    """What every channel adds to the distance before it is weighted.

    Args:
        network: the perceptual network.
        first, second: [B,3,S,S] in [-1,1].
    Returns:
        [B, sum of channels], >= 0.
    """
    pairs = zip(network.features(first), network.features(second), strict=True)
    return torch.cat([(one - other).square().mean((2, 3)) for one, other in pairs], dim=1)


def distorted(images: Tensor, kind: str, strength: Tensor, rng: torch.Generator) -> Tensor:
    """Pictures after a distortion of known strength.

    Args:
        images: [B,3,S,S] in [-1,1].
        kind: "blur", "noise", "shift", "exposure" or "blocks".
        strength: [B] in [0,1].
        rng: of the grain and of the directions.
    Returns:
        [B,3,S,S].
    """
    batch, _, size, _ = images.shape
    s = strength.reshape(-1, 1, 1, 1)
    if kind == "blur":
        out = images
        for level in range(4):
            wider = F.avg_pool2d(F.pad(out, (2, 2, 2, 2), mode="replicate"), 5, 1)
            out = out.lerp(wider, (4 * s - level).clamp(0, 1))
        return out
    if kind == "noise":
        return (images + 0.4 * s * torch.randn(images.shape, generator=rng)).clamp(-1, 1)
    if kind == "shift":
        angle = 2 * np.pi * torch.rand(batch, generator=rng)
        place = torch.eye(2, 3).repeat(batch, 1, 1)
        place[:, :, 2] = torch.stack([angle.cos(), angle.sin()], 1) * strength[:, None] * (12 / size)
        grid = F.affine_grid(place, list(images.shape), align_corners=False)
        return F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    if kind == "exposure":
        sign = torch.randint(0, 2, (batch, 1, 1, 1), generator=rng) * 2.0 - 1
        return (images + 0.5 * s * sign).clamp(-1, 1)
    if kind == "blocks":
        coarse = F.interpolate(F.avg_pool2d(images, 8), scale_factor=8, mode="nearest")
        return images.lerp(coarse, s)
    raise ValueError(f"kind: got {kind!r}, expected blur, noise, shift, exposure or blocks")


KINDS = ("blur", "noise", "shift", "exposure", "blocks")
UNSEEN = {"noise": 0.06, "shift": 0.06, "exposure": 0.08}
"""Strengths that are called invisible beside a changed face."""


def changed_faces(count: int, seed: int, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Faces, and the same faces with one factor moved a little, and moved as much again; [count,3,size,size] each."""
    drawn: list[list[np.ndarray]] = [[], [], []]
    for index in range(count):
        rng = np.random.default_rng([seed, index])
        factors = sets.ordinary(rng)
        name = CHANGED[index % len(CHANGED)]
        step = (1.2 if factors[FACTORS.index(name)] < 0 else -1.2) * (1 + 0.3 * rng.random())
        placement = crop_placement(factors, size)
        for number in range(3):
            moved = factors.copy()
            moved[FACTORS.index(name)] += number * step
            drawn[number].append(draw(moved, (size, size), placement).image)
    first, second, third = (to_float(torch.from_numpy(np.stack(part))) for part in drawn)
    return first, second, third


@torch.no_grad()
def judgements(
    network: Perceptual, crops: Crops, changed: tuple[Tensor, Tensor, Tensor], seed: int
) -> tuple[Tensor, Tensor]:
    """Pairs of distances of which the second should be the larger.

    Args:
        network: the trained trunk.
        crops: held-out crops are distorted.
        changed: from `changed_faces`.
        seed: of the distortions.
    Returns:
        Two [N, sum of channels] from `shares`: the held-out crops once per kind, then the changed faces.
    """
    rng = torch.Generator().manual_seed(seed)
    images = torch.cat([crops.held_batch(slice(start, start + 20))[0] for start in range(0, crops.held, 20)]).cpu()
    smaller, larger = [], []

    def distances(first: Tensor, second: Tensor) -> Tensor:
        return torch.cat([shares(network, a, b) for a, b in zip(first.split(40), second.split(40), strict=True)])

    for kind in KINDS:
        low = 0.05 + 0.75 * torch.rand(len(images), generator=rng)
        high = (low * (1.15 + 0.5 * torch.rand(len(images), generator=rng))).clamp(max=1.0)
        smaller.append(distances(images, distorted(images, kind, low, rng)))
        larger.append(distances(images, distorted(images, kind, high, rng)))
    near, far = distances(changed[0], changed[1]), distances(changed[0], changed[2])
    smaller.append(near)
    larger.append(far)
    for kind, strength in UNSEEN.items():
        level = torch.full((len(changed[0]),), strength)
        smaller.append(distances(changed[0], distorted(changed[0], kind, level, rng)))
        larger.append(near)
    return torch.cat(smaller), torch.cat(larger)


def fitted_weights(smaller: Tensor, larger: Tensor, steps: int = 400, keep: float = 0.02) -> Tensor:
    """Non-negative weights of the channels under which the larger distance is the larger (logistic ranking loss).

    Args:
        smaller, larger: [N,C] from `judgements`.
        steps: of Adam.
        keep: strength of the pull towards equal weights.
    Returns:
        [C] of mean one.
    """
    logs = torch.zeros(smaller.shape[1], requires_grad=True)
    optimiser = torch.optim.Adam([logs], lr=0.03)
    for _ in range(steps):
        weights = logs.exp() / logs.exp().mean()
        low, high = smaller @ weights, larger @ weights
        loss = F.softplus(-8 * (high / low.clamp_min(1e-6)).clamp_min(1e-6).log()).mean() + keep * logs.square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return (logs.exp() / logs.exp().mean()).detach()


def agreement(smaller: Tensor, larger: Tensor, weights: Tensor) -> float:
    """Share of the pairs in which the larger distance is the larger."""
    return float((larger @ weights > smaller @ weights).float().mean())


def train(
    data_dir: Path, out: Path, seed: int = 61, device: str = "cpu", count: int = COUNT, schedule: Schedule = SCHEDULE
) -> Perceptual:
    """Train the trunk, or go on where a killed training stopped, then fit the weights of the channels.

    Args:
        data_dir: folder of the drawn sets; what is missing is drawn.
        out: folder for checkpoint.pt, log.jsonl and perceptual.safetensors.
        seed: of weights and batches.
        device: "cpu" or "cuda".
        count: crops drawn.
        schedule: how long and how fast the trunk is trained.
    Returns:
        The network, frozen.
    """
    torch.manual_seed(seed)
    crops = Crops(data_dir, count, DATA_SEED, sets.CROP, device)
    network = Perceptual.slim(CHANNELS)
    for stage in network.taps.modules():
        if isinstance(stage, nn.Conv2d) and stage.bias is not None:
            nn.init.kaiming_normal_(stage.weight)
            nn.init.zeros_(stage.bias)
    trained = placed(_Trained(network, crops.size), device)
    weights = class_weights(np.array(crops.drawn["labels"][: min(count, 400)])).to(device)

    def losses(rng: torch.Generator) -> Losses:
        indices = crops.pick(schedule.batch, rng)
        images, labels = crops.batch(indices, rng)
        images = filmed(images, rng, 0.5).contiguous(memory_format=torch.channels_last)
        scores, factors = trained(images)
        half = fold_labels(labels[:, ::2, ::2])
        return {
            "labels": F.cross_entropy(scores.reshape(-1, CLASSES), half.reshape(-1), weights),
            "factors": F.smooth_l1_loss(factors, crops.factors[indices].to(device)),
        }

    def figures() -> Mapping[str, float]:
        right = total = 0
        left = torch.zeros(len(FACTORS))
        for start in range(0, crops.held, 20):
            images, labels = crops.held_batch(slice(start, start + 20))
            scores, factors = trained(images)
            right += int((scores.argmax(4) == fold_labels(labels[:, ::2, ::2])).sum())
            total += labels.numel() // 4
            left += (factors.cpu() - crops.factors[crops.trained :][start : start + 20]).square().sum(0)
        true = crops.factors[crops.trained :]
        left = left / (true - true.mean(0)).square().sum(0)
        return {"held_accuracy": right / total, "held_r2": float((1 - left).mean())}

    fit(trained, losses, schedule, out, seed, figures)
    network = network.cpu()
    notes = {"trained_on": "drawn faces", "seed": str(seed)}
    notes["linear"] = json.dumps(fit_linear(network, crops, PAIR_SEED))
    save_module(out / "perceptual.safetensors", network, notes)
    return network


@torch.no_grad()
def fit_linear(network: Perceptual, crops: Crops, seed: int) -> dict[str, float | str]:
    """Set the weights of the channels of a trained trunk in place, and scale them to LPIPS-Alex's usual values.

    Args:
        network: on the CPU.
        crops: whose held-out part is distorted.
        seed: of faces and distortions.
    Returns:
        What was taken ("fitted" or "equal") and both choices' agreement with the judgements on faces not fitted to.
    """
    changed = changed_faces(FACES, seed, crops.size)
    smaller, larger = judgements(network, crops, changed, seed)
    face = torch.cat([torch.arange(crops.held).repeat(len(KINDS)), torch.arange(FACES).repeat(1 + len(UNSEEN))])
    fitting = face % 2 == 0
    equal = torch.ones(smaller.shape[1])
    with torch.enable_grad():
        weights = fitted_weights(smaller[fitting], larger[fitting])
    shown: dict[str, float | str] = {
        "fitted": agreement(smaller[~fitting], larger[~fitting], weights),
        "equal": agreement(smaller[~fitting], larger[~fitting], equal),
    }
    shown["taken"] = "fitted" if float(shown["fitted"]) > float(shown["equal"]) + 0.005 else "equal"
    weights = weights if shown["taken"] == "fitted" else equal
    half = len(changed[0]) // 2
    typical = float((shares(network, changed[0][:half], changed[0][half : 2 * half]) @ weights).mean())
    for parameter, part in zip(network.linear, (weights * (TYPICAL / typical)).split(network.channels), strict=True):
        parameter.copy_(part)
    return shown
