"""A clip of a photographic person who does not exist, drawn by the family's own generator."""

from collections.abc import Generator, Iterator, Mapping

import numpy as np
import torch
from torch import Tensor

from stitch.core import images
from stitch.core.events import Event
from stitch.core.records import Direction
from stitch.families import load
from stitch.families.about import Sample
from stitch.families.family import Family
from stitch.families.family import Generator as Network
from stitch.families.portrait import ABOUT, matte, motion, scene
from stitch.families.sample import write
from stitch.runtime import device
from stitch.store import local

PSI = 0.65
"""How far a person is from the mean one."""

DRAWN = 1.6
"""The generator draws at least so many px for each px of the portrait in the frame."""

MIDDLE = slice(4, 13)
"""Codes of the blocks at 16 to 64 px: where an expression moves the face, and clothes and hair least."""

OPEN = 0.02
"""Below this strength a blink is not drawn."""

PARSED_PX = 256
VOICE = 1.1
"""Of a step of the direction gender, in the logistic curve of the voice."""

CRF = 18


def write_sample(sample: Sample) -> Generator[Event, None, None]:
    """Draw a talking head into a file; what is missing of the family is fetched.

    Args:
        sample: without a scene or truth.
    Yields:
        Progress and Previews.
    Raises:
        VideoError: the file cannot be written.
        WeightsError: the family cannot be had.
    """
    yield from local.fetch(load.needed(ABOUT.name))
    family = load.load_family(ABOUT.name, device.chosen("auto"))
    side = scene.PORTRAIT * sample.size[1]
    sizes = family.sizes.known if family.sizes else (family.generator.resolution,)
    family = family.at_size(min((one for one in sizes if one >= DRAWN * side), default=max(sizes)))
    w = person(family.generator, sample.seed)
    gender = family.directions["gender"]
    steps = float((w[0] - family.generator.w_avg) @ gender.vector) / gender.unit
    feminine = 1 / (1 + np.exp(VOICE * steps))
    yield from write(sample, frames(family, w, sample), feminine, CRF)


def person(generator: Network, seed: int) -> Tensor:
    """Code of the person of a clip, [1,D] on the generator's device."""
    z = torch.randn(1, generator.z_dim, generator=torch.Generator().manual_seed(seed))
    return generator.mapping(z.to(generator.w_avg.device), psi=PSI)


def codes(
    generator: Network, directions: Mapping[str, Direction], w: Tensor, strengths: Mapping[str, float]
) -> Tensor:
    """The person in one pose: with a still face, with the expression, and with that and the blink.

    Args:
        generator: whose codes.
        directions: of `motion.POSE`, `motion.EXPRESSION` and `motion.BLINK`, by name.
        w: [1,D], of `person`.
        strengths: of all of them.
    Returns:
        [3,L,D].
    """

    def moved(names: tuple[str, ...]) -> Tensor:
        return sum((strengths[name] * directions[name].unit * directions[name].vector for name in names), w * 0)

    still = generator.broadcast(w + moved(motion.POSE))
    speaking = still.clone()
    speaking[:, MIDDLE] += moved(motion.EXPRESSION)
    blinking = speaking.clone()
    blinking[:, MIDDLE] += moved(motion.BLINK)
    return torch.cat([still, speaking, blinking])


def portraits(
    family: Family, w: Tensor, strengths: Mapping[str, np.ndarray]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The person frame by frame, and where to take what from.

    Args:
        family: draws and parses.
        w: [1,D], of `person`.
        strengths: [T] each, of `motion.strengths`.
    Yields:
        Pictures [3,S,S,3] uint8 as `matte.joined` takes them, and mattes [3,S,S] float32: of the person in the still
        one, of the face, and of the eyes.
    """
    count = len(next(iter(strengths.values())))
    for t in range(count):
        now = {name: float(values[t]) for name, values in strengths.items()}
        order = [0, 1, 2] if any(abs(now[name]) > OPEN for name in motion.BLINK) else [0, 1]
        with torch.no_grad():
            ws = codes(family.generator, family.directions, w, now)[order]
            drawn = family.generator(ws).clamp(-1, 1)
            labels = family.parser(images.resize(drawn[:2], PARSED_PX)).cpu().numpy().astype(np.uint8)
        pictures = images.to_bytes(drawn)[[*order, 1][:3]]
        side = pictures.shape[1]
        mattes = (
            matte.person(pictures[0], labels[0]), matte.patch(labels, matte.FACE, side),
            matte.patch(labels[1:], matte.EYES, side),
        )
        yield pictures, np.stack(mattes)


def frames(family: Family, w: Tensor, sample: Sample) -> Iterator[np.ndarray]:
    """The clip, [H,W,3] uint8 each.

    Args:
        family: at the size that portraits are drawn at.
        w: [1,D], of `person`.
        sample: what was asked for.
    """
    times = np.arange(sample.frames) / float(sample.rate)
    seen = motion.camera(sample.seed, times)
    plate = None
    drawn = matte.steadied(portraits(family, w, motion.strengths(sample.seed, times)))
    for t, (pictures, (outline, face, eyes)) in enumerate(drawn):
        picture = matte.joined(pictures, face, eyes)
        if plate is None:
            plate = scene.backdrop(picture, outline, sample.size, sample.seed)
        view = scene.View(seen.pan[t], float(seen.zoom[t]), seen.sway[t], float(seen.roll[t]))
        yield scene.filmed(picture, outline, plate, sample.size, view, np.random.default_rng([sample.seed, 61, t]))
