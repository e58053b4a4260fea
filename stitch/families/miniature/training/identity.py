"""Training of the identity network.

Data: 500 drawn people, 12 pictures of each (seed 311). What makes the person stays (shape of the face, skin, eyes,
nose, brows, lips, ears, style and hue of the hair); pose, expression, light, smile, glasses, make-up, lipstick,
freckles and cloth are drawn anew for every picture; age, gender, beard and hair stray from the person's habit by 0.8
standard units. So these edits keep the identity, and people are told apart by the rest. Loss: softmax with a cosine
margin (Wang et al. 2018, arXiv 1801.09414). On one core: 10 minutes.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stitch.families.miniature.networks import IdentityNet
from stitch.families.miniature.training import sets
from stitch.families.miniature.training.augment import filmed, mirror, placements, to_float, warped
from stitch.families.miniature.training.loop import Losses, Schedule, fit, placed
from stitch.networks.formats.checkpoints import save_module

DATA_SEED, HELD_SEED = 311, 312
PERSONS, PICTURES = 500, 12
HELD_PERSONS, HELD_PICTURES = 100, 6
SCHEDULE = Schedule(steps=1000, batch=96, learning_rate=3e-3, weight_decay=0.05, log_every=50)
SCALE, COSINE_MARGIN = 20.0, 0.2


class _Trained(nn.Module):
    """The network and one unit vector per person, which only training needs."""

    def __init__(self, network: IdentityNet, persons: int):
        super().__init__()
        self.network = network
        self.persons = nn.Parameter(torch.randn(persons, network.dimension) * 0.1)

    def cosines(self, images: Tensor) -> Tensor:
        """[B,3,S,S] -> [B,persons]."""
        return self.network(images) @ F.normalize(self.persons, dim=1).T


def margin_softmax(cosines: Tensor, persons: Tensor, scale: float = SCALE, margin: float = COSINE_MARGIN) -> Tensor:
    """CosFace (Wang et al. 2018, equation 4).

    Args:
        cosines: [B,P].
        persons: [B] int64.
        scale: s.
        margin: m, taken off the right person's cosine.
    Returns:
        [] mean loss.
    """
    return F.cross_entropy(scale * (cosines - margin * F.one_hot(persons, cosines.shape[1])), persons)


def equal_error_rate(same: Tensor, other: Tensor) -> tuple[float, float]:
    """Where as many pairs of one person fall below a threshold as pairs of two reach it.

    Args:
        same: [N] cosines of pairs of one person.
        other: [M] cosines of pairs of two.
    Returns:
        The rate in [0,1] and the threshold.
    """
    same, other = same.sort().values, other.sort().values
    levels = torch.linspace(-1, 1, 2001)
    missed = torch.searchsorted(same, levels).float() / len(same)
    taken = 1 - torch.searchsorted(other, levels).float() / len(other)
    best = int((missed - taken).abs().argmin())
    return float((missed[best] + taken[best]) / 2), float(levels[best])


def pairs(embeddings: Tensor, persons: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines of all pairs of one person and of all pairs of two, each once."""
    cosines = embeddings @ embeddings.T
    once = torch.ones_like(cosines, dtype=torch.bool).triu(1)
    equal = persons[:, None] == persons[None]
    return cosines[once & equal], cosines[once & ~equal]


def train(
    data_dir: Path,
    out: Path,
    seed: int = 31,
    device: str = "cpu",
    persons: int = PERSONS,
    pictures: int = PICTURES,
    schedule: Schedule = SCHEDULE,
) -> IdentityNet:
    """Train, or go on where a killed training stopped.

    Args:
        data_dir: folder of the drawn sets; what is missing is drawn.
        out: folder for checkpoint.pt, log.jsonl and identity.safetensors.
        seed: of weights and batches.
        device: "cpu" or "cuda".
        persons, pictures: how many are drawn.
        schedule: how long and how fast.
    Returns:
        The network, frozen.
    """
    torch.manual_seed(seed)
    network = IdentityNet()
    size = network.size
    drawn = sets.people(data_dir / f"people_{DATA_SEED}", persons, pictures, DATA_SEED, size)
    held_persons = min(HELD_PERSONS, max(2, persons // 2))
    held = sets.people(data_dir / f"people_{HELD_SEED}", held_persons, HELD_PICTURES, HELD_SEED, size)
    scenes = sets.scenery(data_dir / "scenery", sets.SCENES, sets.SCENE_SEED)["images"]
    trained = placed(_Trained(network, persons), device)

    def losses(rng: torch.Generator) -> Losses:
        indices = torch.randint(persons * pictures, (schedule.batch,), generator=rng)
        images = jittered(drawn, scenes, indices.numpy(), size, rng, device)
        images, _ = mirror(filmed(images, rng, 0.8), rng)
        cosines = trained.cosines(images.contiguous(memory_format=torch.channels_last))
        return {"margin_softmax": margin_softmax(cosines, (indices // pictures).to(device))}

    def figures() -> Mapping[str, float]:
        rng = torch.Generator().manual_seed(seed)
        rows = np.arange(held_persons * HELD_PICTURES)
        parts = np.array_split(rows, max(1, len(rows) // 60))
        found = [network(jittered(held, scenes, part, size, rng, device)) for part in parts]
        same, other = pairs(torch.cat(found).cpu(), torch.from_numpy(rows // HELD_PICTURES))
        rate, threshold = equal_error_rate(same, other)
        return {"eer": rate, "threshold": threshold, "same": float(same.mean()), "other": float(other.mean())}

    fit(trained, losses, schedule, out, seed, figures)
    network = network.cpu()
    save_module(out / "identity.safetensors", network, {"trained_on": "drawn faces", "seed": str(seed)})
    return network


def jittered(
    drawn: sets.Drawn, scenes: np.ndarray, rows: np.ndarray, size: int, rng: torch.Generator, device: str
) -> Tensor:
    """Crops before random backdrops, moved as an alignment may err.

    Args:
        drawn: images and alpha of a set with a margin.
        scenes: backdrops.
        rows: [B] which crops.
        size: S of the result.
        rng: of everything random.
        device: of the result.
    Returns:
        [B,3,S,S] in [-1,1].
    """
    share = size / drawn["images"].shape[1]
    place = placements(len(rows), rng, 3.0, 1.05, 0.05) * torch.tensor([share, share, 1.0])
    images = to_float(torch.from_numpy(drawn["images"][rows])).to(device)
    alpha = torch.from_numpy(drawn["alpha"][rows]).to(device)[:, None].float() / 255
    images = warped(images - sets.GREY_LEVEL, place, size) + sets.GREY_LEVEL
    behind = sets.behind(scenes, len(rows), size, size, rng).to(device)
    return sets.composed(images, warped(alpha, place, size), behind)
