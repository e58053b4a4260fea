"""Training of the regressor, the independent witness of the checks.

Data: 3,500 drawn crops of its own (seed 511; the last 200 are never trained on); another architecture and another seed
than every other network. A factor that shows only above some value (no beard is no beard) is answered by its mean below
it. Loss: smooth L1 in standard units. On one core: 6 minutes.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch.nn import functional as F

from stitch.families.miniature.faces import ATTRIBUTES, EXPRESSION, FACTORS, IDENTITY, POSE
from stitch.families.miniature.networks import Regressor
from stitch.families.miniature.training.augment import filmed
from stitch.families.miniature.training.loop import Losses, Schedule, fit, placed
from stitch.families.miniature.training.parser import Crops
from stitch.networks.formats.checkpoints import save_module

DATA_SEED = 511
COUNT = 3500
SIZE = 96
SCHEDULE = Schedule(steps=1800, batch=32, learning_rate=2e-3, weight_decay=0.05)

READ = (*ATTRIBUTES, *EXPRESSION, *POSE[:2], *(name for name in IDENTITY if not name.startswith("cloth")))
"""What it reads. The alignment takes roll out, and a crop shows hardly any cloth."""


def train(
    data_dir: Path, out: Path, seed: int = 51, device: str = "cpu", count: int = COUNT, schedule: Schedule = SCHEDULE
) -> Regressor:
    """Train, or go on where a killed training stopped.

    Args:
        data_dir: folder of the drawn sets; what is missing is drawn.
        out: folder for checkpoint.pt, log.jsonl and regressor.safetensors.
        seed: of weights and batches.
        device: "cpu" or "cuda".
        count: crops drawn.
        schedule: how long and how fast.
    Returns:
        The regressor, frozen.
    """
    torch.manual_seed(seed)
    crops = Crops(data_dir, count, DATA_SEED, SIZE, device)
    regressor = placed(Regressor(READ, SIZE), device)
    columns = torch.tensor([FACTORS.index(name) for name in READ])
    factors = crops.factors[:, columns].to(device)

    def losses(rng: torch.Generator) -> Losses:
        indices = crops.pick(schedule.batch, rng)
        images, _ = crops.batch(indices, rng, 2.0, 1.03, 0.03)
        images = filmed(images, rng, 0.5).contiguous(memory_format=torch.channels_last)
        return {"smooth_l1": F.smooth_l1_loss(regressor(images), factors[indices.to(device)], beta=0.5)}

    def figures() -> Mapping[str, float]:
        starts = range(0, crops.held, 20)
        found = torch.cat([regressor(crops.held_batch(slice(start, start + 20))[0]) for start in starts])
        true = factors[crops.trained :]
        left = (found - true).square().sum(0) / (true - true.mean(0)).square().sum(0)
        shares = dict(zip(READ, (1 - left).tolist(), strict=True))
        mean = sum(shares.values()) / len(shares)
        return {"r2_mean": mean, **{f"r2_{name}": value for name, value in shares.items()}}

    fit(regressor, losses, schedule, out, seed, figures)
    regressor = regressor.cpu()
    save_module(out / "regressor.safetensors", regressor, {"trained_on": "drawn faces", "seed": str(seed)})
    return regressor
