"""One pass over two clips: everything that is read in every frame."""

from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, field

import cv2
import numpy as np
import torch
from torch import Tensor

from stitch.core import geometry, metrics
from stitch.core.events import Event, Notice, Progress
from stitch.core.images import to_levels, to_tensor
from stitch.core.settings import StitchingSettings
from stitch.families.family import Family
from stitch.methods.stit import stitching
from stitch.study.evaluate.faces import Faces
from stitch.study.evaluate.motion import Frames, warp_errors
from stitch.study.evaluate.pair import Pair

_CODES, _AT_ONCE = 2048, 128


@dataclass(frozen=True, eq=False)
class Looked:
    """What was read in T moments, NaN where it was not.

    Attributes:
        identities: [T,2,K], id(x_i) and id(e_i).
        attributes: [T,2,A], how far along each of the family's directions either face lies, in std over its faces.
        background: [T,2], mean and largest difference outside the face, levels of 255.
        ring: [T], mean difference in the boundary b_i of both faces together, levels of 255.
        flicker: [T,2], what the motion leaves of the original's change from the frame before and of the edited's,
            inside the face, levels of 255.
        names: of the directions, A of them.
        notes: what could not be decoded, in sentences.
    """

    identities: np.ndarray
    attributes: np.ndarray
    background: np.ndarray
    ring: np.ndarray
    flicker: np.ndarray
    names: tuple[str, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class _Read:
    """Of one moment: identities [2,K], attributes [2,A], the difference around the face, and where the face of either
    is in the frame, [H,W] bool, by itself and with what is around it."""

    identities: np.ndarray
    attributes: np.ndarray
    ring: float
    face: np.ndarray
    around: np.ndarray


@dataclass(frozen=True, eq=False)
class Reader:
    """The family's networks as readers of faces."""

    family: Family
    names: tuple[str, ...] = field(init=False)
    directions: Tensor = field(init=False)
    spread: Tensor = field(init=False)

    def __post_init__(self) -> None:
        generator = self.family.generator
        rows = [one.vector.to(generator.w_avg) for one in self.family.directions.values()]
        shape = (generator.num_ws, generator.w_dim)
        stacked = torch.stack([row.expand(shape) for row in rows]) if rows else generator.w_avg.new_zeros(0, *shape)
        object.__setattr__(self, "names", tuple(self.family.directions))
        object.__setattr__(self, "directions", stacked)
        object.__setattr__(self, "spread", self._spread())

    @torch.no_grad()
    def _spread(self) -> Tensor:
        """Std of the generator's own faces along each direction, [A]."""
        generator = self.family.generator
        z = torch.randn(_CODES, generator.z_dim, generator=torch.Generator().manual_seed(0)).to(generator.w_avg)
        along = [self._along(generator.broadcast(generator.mapping(part))) for part in z.split(_AT_ONCE)]
        return torch.cat(along).std(0).clamp_min(1e-9)

    def _along(self, ws: Tensor) -> Tensor:
        return torch.einsum("bld,ald->ba", ws, self.directions) / ws.shape[1]

    @torch.no_grad()
    def attributes(self, crops: Tensor) -> np.ndarray:
        """What the family's encoder reads along each of `names`, in std over its faces.

        Args:
            crops: [B,3,S,S] in [-1,1].
        Returns:
            [B,A].
        """
        return (self._along(self.family.encoder(crops).float()) / self.spread).cpu().numpy()

    @torch.no_grad()
    def read(self, frames: Frames, quad: np.ndarray) -> _Read:
        """Both faces of a moment, cut out by the same square."""
        size = self.family.generator.resolution
        crops = to_tensor(np.stack([geometry.sample_crop(frame, quad, size) for frame in frames]))
        crops = crops.to(self.family.generator.w_avg.device)
        regions = stitching.regions(self.family.parser, crops[:1], crops[1:], StitchingSettings())
        height, width = frames[0].shape[:2]
        levels = to_levels(crops)
        placed = (geometry.warp_mask(one[0, 0].cpu().numpy(), quad, height, width)
                  for one in (regions.mask, regions.dilated_mask))
        return _Read(
            self.family.identity(crops).float().cpu().numpy(),
            self.attributes(crops),
            float(metrics.ring_error(levels[1], levels[0], regions.boundary[0])), *placed,
        )


def look(pair: Pair, faces: Faces, family: Family) -> Generator[Event, None, Looked]:
    """Read all frames once.

    Args:
        pair: the clips.
        faces: the person in them; without one all of the picture is background.
        family: whose networks read faces.
    Yields:
        Progress in frames, and a Notice of damage.
    Returns:
        What was read.
    Raises:
        VideoError: a clip can no longer be read.
    """
    seen, total, told = faces.seen, len(pair), list[str]()
    identities: dict[int, np.ndarray] = {}
    background, flicker, ring = np.full((total, 2), np.nan), np.full((total, 2), np.nan), np.full(total, np.nan)
    reader = Reader(family)
    attributes = np.full((total, 2, len(reader.names)), np.nan)
    before: Frames | None = None
    with closing(pair.frames(told.append)) as both:
        for moment, frames in enumerate(both):
            if seen[moment]:
                found = reader.read(frames, faces.quads[moment])
                identities[moment], attributes[moment] = found.identities, found.attributes
                ring[moment], background[moment] = found.ring, _changes(frames, ~found.around)
                if before is not None and seen[moment - 1] and faces.shots[moment - 1] == faces.shots[moment]:
                    flicker[moment] = _flicker(before, frames, found.face, faces.quads[moment])
            elif faces.missing:
                background[moment] = _changes(frames, np.ones(frames[0].shape[:2], bool))
            before = frames
            yield Progress("compare", moment + 1, total)
    for message in told:
        yield Notice(message)
    known = np.full((total, 2, len(next(iter(identities.values()))[0]) if identities else 1), np.nan)
    for moment, rows in identities.items():
        known[moment] = rows
    return Looked(known, attributes, background, ring, flicker, reader.names, tuple(told))


def _changes(frames: Frames, where: np.ndarray) -> np.ndarray:
    """Mean and largest difference, levels of 255; NaN where there is nothing."""
    levels = cv2.absdiff(*frames)[where]
    return np.array([levels.mean(), levels.max()]) if len(levels) else np.full(2, np.nan)


def _flicker(before: Frames, now: Frames, face: np.ndarray, quad: np.ndarray) -> tuple[float, float]:
    box = geometry.frame_box(quad, *face.shape)
    if box is None:
        return float("nan"), float("nan")
    x0, y0, x1, y1 = box
    old, new = ((one[y0:y1, x0:x1], other[y0:y1, x0:x1]) for one, other in (before, now))
    return warp_errors(old, new, face[y0:y1, x0:x1])
