"""Training of the face parser.

Data: 4,000 drawn crops (seed 111; the last 200 are never trained on), put before a new backdrop at every use, jittered,
mirrored and filmed. Loss: cross entropy, rare classes weighted up. On one core: 64,000 pictures in about 13 minutes.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from stitch.families.miniature.networks import CLASSES, FaceParser, fold_labels
from stitch.families.miniature.training import sets
from stitch.families.miniature.training.augment import filmed, mirror, placements, to_float, warped
from stitch.families.miniature.training.loop import Losses, Schedule, fit, placed
from stitch.networks.formats.checkpoints import save_module

DATA_SEED = 111
SCHEDULE = Schedule(steps=2200, batch=16, learning_rate=4e-3)
COUNT = 4000
HELD = 200

NOT_FACE = (0, 16, 18)
"""Background, cloth and hat; all other classes are face and hair."""

_SWAPPED = torch.arange(CLASSES)
_SWAPPED[[2, 3, 4, 5, 7, 8]] = torch.tensor([3, 2, 5, 4, 8, 7])


class Crops:
    """The set of crops with backdrops, as batches.

    Args:
        folder: where the sets are kept.
        count: crops, the held ones among them.
        seed: of the crops.
        size: of a crop as drawn.
        device: where batches go.
        shrink: crops are shrunk by this whole factor, once, for networks that look at smaller ones.
    """

    def __init__(self, folder: Path, count: int, seed: int, size: int, device: str, shrink: int = 1):
        self.drawn = sets.crops(folder / f"crops_{seed}_{size}", count, seed, size)
        if shrink > 1:
            self.drawn = {name: sets.shrunk(name, array, shrink) for name, array in self.drawn.items()}
        self.scenes = sets.scenery(folder / "scenery", sets.SCENES, sets.SCENE_SEED)["images"]
        self.size = size // shrink
        self.side = self.drawn["images"].shape[1]
        self.held = min(HELD, count // 8)
        self.trained = count - self.held
        self.factors = torch.from_numpy(np.array(self.drawn["factors"]))
        self.device = torch.device(device)

    def pick(self, batch: int, rng: torch.Generator) -> Tensor:
        """Random indices of crops to train on, sorted."""
        return torch.randint(self.trained, (batch,), generator=rng).sort().values

    def batch(
        self, indices: Tensor, rng: torch.Generator, angle_deg: float = 4.0, scale: float = 1.06, shift: float = 0.05
    ) -> tuple[Tensor, Tensor]:
        """Crops before random backdrops, jittered.

        Args:
            indices: [B].
            rng: of everything random.
            angle_deg, scale, shift: as for `placements`.
        Returns:
            Pictures [B,3,S,S] in [-1,1] and labels [B,S,S] int64.
        """
        place = placements(len(indices), rng, angle_deg, scale, shift)
        place = place * torch.tensor([self.size / self.side, self.size / self.side, 1.0])
        rows = indices.numpy()
        images = to_float(torch.from_numpy(self.drawn["images"][rows])).to(self.device)
        alpha = torch.from_numpy(self.drawn["alpha"][rows]).to(self.device)[:, None].float() / 255
        images = warped(images - sets.GREY_LEVEL, place, self.size) + sets.GREY_LEVEL
        alpha = warped(alpha, place, self.size)
        labels = torch.from_numpy(self.drawn["labels"][rows]).to(self.device)[:, None].float()
        labels = warped(labels, place, self.size, "nearest")[:, 0].long()
        behind = sets.behind(self.scenes, len(rows), self.size, self.size, rng).to(self.device)
        return sets.composed(images, alpha, behind), labels

    def held_batch(self, part: slice) -> tuple[Tensor, Tensor]:
        """Held-out crops in their place, before backdrops of their own; pictures and labels as from `batch`."""
        indices = torch.arange(self.trained, self.trained + self.held)[part]
        return self.batch(indices, torch.Generator().manual_seed(int(indices[0])), 0.0, 1.0, 0.0)


def mirrored(images: Tensor, labels: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Mirror half of the samples, left and right classes exchanged."""
    images, which = mirror(images, rng)
    swapped = _SWAPPED.to(labels.device)[labels.flip(2)]
    return images, torch.where(which.to(labels.device)[:, None, None], swapped, labels)


def class_weights(labels: np.ndarray) -> Tensor:
    """[19] weights of the cross entropy: inverse roots of the classes' shares, between 0.6 and 4."""
    share = np.bincount(labels.reshape(-1), minlength=CLASSES)[:CLASSES] / labels.size
    weights = np.clip(0.25 / np.sqrt(np.maximum(share, 1e-6)), 0.6, 4.0)
    return torch.from_numpy(np.where(share > 0, weights, 0.6)).float()


def is_face(labels: Tensor) -> Tensor:
    """Which pixels are face or hair: every class but background, cloth and hat."""
    return ~torch.isin(labels, torch.tensor(NOT_FACE, device=labels.device))


def figures(parser: FaceParser, crops: Crops) -> Mapping[str, float]:
    """IoU of face+hair and mean IoU of the classes on held-out crops, and the share of right pixels."""
    both = torch.zeros(CLASSES + 1)
    either = torch.zeros(CLASSES + 1)
    right = total = 0
    for start in range(0, crops.held, 20):
        images, labels = crops.held_batch(slice(start, start + 20))
        found = parser(images)
        right += int((found == labels).sum())
        total += labels.numel()
        for index in range(CLASSES):
            both[index] += ((found == index) & (labels == index)).sum()
            either[index] += ((found == index) | (labels == index)).sum()
        both[-1] += (is_face(found) & is_face(labels)).sum()
        either[-1] += (is_face(found) | is_face(labels)).sum()
    share = both / either.clamp_min(1)
    met = either[:-1] > 0
    return {
        "iou_face": float(share[-1]), "iou_mean": float(share[:-1][met].mean()),
        "iou_worst": float(share[:-1][met].min()), "accuracy": right / total,
    }


def train(
    data_dir: Path, out: Path, seed: int = 11, device: str = "cpu", count: int = COUNT, schedule: Schedule = SCHEDULE
) -> FaceParser:
    """Train, or go on where a killed training stopped.

    Args:
        data_dir: folder of the drawn sets; what is missing is drawn.
        out: folder for checkpoint.pt, log.jsonl and parser.safetensors.
        seed: of weights and batches.
        device: "cpu" or "cuda".
        count: crops drawn.
        schedule: how long and how fast.
    Returns:
        The parser, frozen.
    """
    torch.manual_seed(seed)
    crops = Crops(data_dir, count, DATA_SEED, sets.CROP, device)
    parser = placed(FaceParser(crops.size), device)
    weights = class_weights(np.array(crops.drawn["labels"][: min(count, 400)])).to(device)

    def losses(rng: torch.Generator) -> Losses:
        images, labels = crops.batch(crops.pick(schedule.batch, rng), rng)
        images, labels = mirrored(images, labels, rng)
        images = filmed(images, rng).contiguous(memory_format=torch.channels_last)
        corners = torch.randperm(4, generator=rng)[:2].tolist()  # half of the pixels teach as much at half the price
        scores = parser.scores(images, corners).reshape(-1, CLASSES)
        return {"cross_entropy": F.cross_entropy(scores, fold_labels(labels)[..., corners].reshape(-1), weights)}

    fit(parser, losses, schedule, out, seed, lambda: figures(parser, crops))
    parser = parser.cpu()
    save_module(out / "parser.safetensors", parser, {"trained_on": "drawn faces", "seed": str(seed)})
    return parser
