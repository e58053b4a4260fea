"""Faces and their 68 landmarks in a drawn frame, in two stages: centres of faces, then the points of each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stitch.core.records import Detections
from stitch.families.miniature.networks import UNet

POINTS = 68
STRIDE = 8
UNIT_PX = 32.0
MARGIN = 1.7
"""Side of a landmark crop over the size of the face in it."""

FOREHEAD = 0.22
"""How far a face's box reaches above its brows, as a share of the height of its landmarks."""


@dataclass(frozen=True, eq=False)
class Centres:
    """What the first stage finds: xy [F,2] and size [F] in px of its input, score [F]."""

    xy: np.ndarray
    size: np.ndarray
    score: np.ndarray


class CentreNet(nn.Module):
    """Where faces are and how large, on a grid of one cell per 8 px (Zhou et al. 2019, arXiv 1904.07850).

    Args:
        channels: of the levels of its U-Net.
        width: channels of the last features.
    """

    def __init__(self, channels: Sequence[int] = (12, 24, 48, 64, 64), width: int = 48):
        super().__init__()
        self.channels = tuple(channels)
        self.width = width
        self.body = UNet(channels, width, stop=2)
        self.head = nn.Conv2d(width, 4, 1)
        with torch.no_grad():
            cast(Tensor, self.head.bias)[0] = -4.0

    @property
    def arguments(self) -> dict[str, Any]:
        """The constructor's arguments, for files of weights."""
        return {"channels": self.channels, "width": self.width}

    def forward(self, images: Tensor) -> Tensor:
        """Grid of answers.

        Args:
            images: [B,3,H,W] in [-1,1], H and W multiples of 32.
        Returns:
            [B,4,H/8,W/8]: logit of a centre, its offset x and y from the cell's middle in cells, log(size / 32 px).
        """
        return self.head(self.body(images))


class LandmarkNet(nn.Module):
    """68 points of one face in a square crop, as the means of softmax maps, and whether there is a face at all.

    Args:
        size: side of the crop in px, a multiple of 16.
        channels: of the levels of its U-Net.
        width: channels of the last features.
    """

    def __init__(self, size: int = 96, channels: Sequence[int] = (16, 32, 48, 64), width: int = 48):
        super().__init__()
        self.size = size
        self.channels = tuple(channels)
        self.width = width
        self.body = UNet(channels, width, stop=1)
        self.maps = nn.Conv2d(width, POINTS, 1)
        self.face = nn.Linear(2 * width, 1)

    @property
    def arguments(self) -> dict[str, Any]:
        """The constructor's arguments, for files of weights."""
        return {"size": self.size, "channels": self.channels, "width": self.width}

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Points and presence.

        Args:
            images: [B,3,size,size] in [-1,1].
        Returns:
            Points [B,68,2] in px of the crop, and the logit of a face being there, [B].
        """
        features = self.body(images)
        side = features.shape[-1]
        weights = self.maps(features).flatten(2).softmax(2)
        centres = (torch.arange(side, device=images.device, dtype=images.dtype) + 0.5) * (images.shape[-1] / side)
        grid = torch.stack([centres.repeat(side), centres.repeat_interleave(side)], dim=1)
        pooled = torch.cat([features.mean((2, 3)), features.amax((2, 3))], dim=1)
        return weights @ grid, self.face(pooled)[:, 0]


class FaceDetector(nn.Module):
    """Both stages behind family.Detector.

    Args:
        side: longest side of the frame as the first stage sees it, in px.
        centres: first stage.
        landmarks: second stage; it looks twice, the second time at the crop that its own points ask for.
        most: candidates looked at in one frame.
    """

    def __init__(self, centres: CentreNet, landmarks: LandmarkNet, side: int = 256, most: int = 8):
        super().__init__()
        self.centres = centres
        self.landmarks = landmarks
        self.side = side
        self.most = most

    @property
    def arguments(self) -> dict[str, Any]:
        """What `from_arguments` builds the same network from, for files of weights."""
        parts = {"centres": self.centres.arguments, "landmarks": self.landmarks.arguments}
        return {**parts, "side": self.side, "most": self.most}

    @classmethod
    def from_arguments(
        cls, centres: dict[str, Any], landmarks: dict[str, Any], side: int, most: int
    ) -> "FaceDetector":
        """An untrained detector of the sizes that `arguments` names."""
        return cls(CentreNet(**centres), LandmarkNet(**landmarks), side, most)

    @torch.no_grad()
    def detect(self, frame: np.ndarray, threshold: float) -> Detections:
        """All faces of one frame, largest first.

        Args:
            frame: [H,W,3] uint8 RGB, any size.
            threshold: lowest score in [0,1]; a score is the geometric mean of both stages' certainty.
        Returns:
            Boxes (the landmarks' bounds and the forehead; they may reach over the border), scores and 68 landmarks.
        Raises:
            ValueError: frame is not [H,W,3] uint8.
        """
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
            raise ValueError(f"frame: got {frame.dtype} {list(frame.shape)}, expected uint8 [H, W, 3]")
        found = self._find(frame, max(0.08, threshold * threshold))
        if not len(found.score):
            return _none()
        angle = np.zeros(len(found.score))
        points, _ = self._look(frame, found.xy, found.size * MARGIN, angle)
        middle, size, angle = stance(points)
        points, present = self._look(frame, middle, size * MARGIN, angle)
        scores = np.sqrt(found.score * present)
        boxes = face_boxes(points)
        kept = _distinct(boxes, scores, threshold)
        if not len(kept):
            return _none()
        area = np.prod(boxes[kept, 2:] - boxes[kept, :2], axis=1)
        kept = kept[np.argsort(-area, kind="stable")]
        return Detections(
            boxes[kept].astype(np.float32), scores[kept].astype(np.float32), points[kept].astype(np.float32)
        )

    def _find(self, frame: np.ndarray, least: float) -> Centres:
        """First stage, in px of the frame."""
        height, width = frame.shape[:2]
        scale = self.side / max(height, width)
        inner = (max(1, round(width * scale)), max(1, round(height * scale)))
        small = cv2.resize(frame, inner, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        padded = np.full((-(-inner[1] // 32) * 32, -(-inner[0] // 32) * 32, 3), 128, np.uint8)
        padded[: inner[1], : inner[0]] = small
        found = peaks(self.centres(self._tensor(padded[None])), least, self.most)[0]
        back = np.array([width / inner[0], height / inner[1]])
        return Centres(found.xy * back, found.size * back.mean(), found.score)

    def _look(
        self, frame: np.ndarray, middle: np.ndarray, side: np.ndarray, angle: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Second stage on one square crop per face; points [F,68,2] in px of the frame, certainty [F]."""
        size = self.landmarks.size
        placement = squares(middle, side, angle, size)
        crops = np.stack([cut(frame, one, size) for one in placement])
        points, face = self.landmarks(self._tensor(crops))
        local = points.double().cpu().numpy()
        return (
            np.einsum("fij,fnj->fni", placement[:, :, :2], local) + placement[:, None, :, 2],
            face.sigmoid().double().cpu().numpy(),
        )

    def _tensor(self, images: np.ndarray) -> Tensor:
        place = next(self.parameters()).device
        tensor = torch.from_numpy(images).to(place).permute(0, 3, 1, 2).float()
        return (tensor / 127.5 - 1).contiguous(memory_format=torch.channels_last)


def peaks(grid: Tensor, least: float, most: int) -> list[Centres]:
    """Local maxima of the first stage's answers.

    Args:
        grid: [B,4,h,w] from `CentreNet`.
        least: lowest certainty in [0,1].
        most: at most so many per picture, the surest.
    Returns:
        One record per picture, in px of the network's input, surest first.
    """
    heat = grid[:, 0].sigmoid()
    top = F.max_pool2d(heat[:, None], 3, 1, 1)[:, 0]
    heats = torch.where(heat == top, heat, torch.zeros_like(heat)).cpu().numpy()
    rest = grid[:, 1:].cpu().numpy()
    found = []
    for map_, answer in zip(heats, rest, strict=True):
        rows, columns = np.nonzero(map_ >= least)
        order = np.argsort(-map_[rows, columns], kind="stable")[:most]
        rows, columns = rows[order], columns[order]
        dx, dy, log_size = (answer[k, rows, columns].astype(np.float64) for k in range(3))
        xy = np.stack([columns + 0.5 + dx, rows + 0.5 + dy], axis=1) * STRIDE
        found.append(Centres(xy, UNIT_PX * np.exp(np.clip(log_size, -3, 3)), map_[rows, columns].astype(np.float64)))
    return found


def extent(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Middle [...,2] of the bounds of landmarks [...,68,2], and the mean of their two sides [...]."""
    low, high = points.min(axis=-2), points.max(axis=-2)
    return (low + high) / 2, (high - low).mean(axis=-1)


def stance(points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where a face is, how large and how much it leans; measured upright, so that a turn changes no size.

    Args:
        points: [F,68,2] px.
    Returns:
        Middle [F,2] px, size [F] px, angle [F] in radians, clockwise.
    """
    eyes = points[:, 42:48].mean(axis=1) - points[:, 36:42].mean(axis=1)
    angle = np.arctan2(eyes[:, 1], eyes[:, 0])
    cos, sin = np.cos(angle), np.sin(angle)
    turn = np.stack([np.stack([cos, sin], -1), np.stack([-sin, cos], -1)], -2)
    middle, size = extent(np.einsum("fij,fnj->fni", turn, points))
    return np.einsum("fji,fj->fi", turn, middle), size, angle


def squares(middle: np.ndarray, side: np.ndarray, angle: np.ndarray, size: int) -> np.ndarray:
    """Similarities from the px of square crops to the px of the frame.

    Args:
        middle: [F,2] px of the frame.
        side: [F] px of the frame.
        angle: [F] radians, clockwise.
        size: of the crops in px.
    Returns:
        [F,2,3] float64.
    """
    scale = np.maximum(side, 4.0) / size
    cos, sin = np.cos(angle) * scale, np.sin(angle) * scale
    linear = np.stack([np.stack([cos, -sin], -1), np.stack([sin, cos], -1)], -2)
    offset = middle - linear.sum(axis=-1) * (size / 2)
    return np.concatenate([linear, offset[..., None]], axis=-1)


def cut(frame: np.ndarray, placement: np.ndarray, size: int) -> np.ndarray:
    """One square crop, shrunk without aliasing; grey lies outside the frame.

    Args:
        frame: [H,W,3] uint8.
        placement: [2,3] from px of the crop to px of the frame, pixel centres at integer + 0.5.
        size: of the crop in px.
    Returns:
        [size,size,3] uint8.
    """
    linear, offset = placement[:, :2], placement[:, 2]
    factor = int(np.sqrt(abs(np.linalg.det(linear))) + 0.25)
    if factor >= 2:
        corners = np.array([[0, 0], [size, 0], [0, size], [size, size]]) @ linear.T + offset
        limit = np.array(frame.shape[1::-1])
        low = np.clip(np.floor(corners.min(0)).astype(int) - 2 * factor, 0, limit)
        cells = (np.clip(np.ceil(corners.max(0)).astype(int) + 2 * factor, 0, limit) - low) // factor
        if (cells < 1).any():
            return np.full((size, size, 3), 128, np.uint8)
        part = frame[low[1] : low[1] + cells[1] * factor, low[0] : low[0] + cells[0] * factor]
        frame = cv2.resize(part, (int(cells[0]), int(cells[1])), interpolation=cv2.INTER_AREA)
        linear, offset = linear / factor, (offset - low) / factor
    matrix = np.concatenate([linear, (offset + linear.sum(axis=1) / 2 - 0.5)[:, None]], axis=1)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(
        frame, matrix, (size, size), flags=flags, borderMode=cv2.BORDER_CONSTANT, borderValue=(128, 128, 128)
    )


def face_boxes(points: np.ndarray) -> np.ndarray:
    """Boxes [F,4] (x0, y0, x1, y1) around landmarks [F,68,2] and the forehead above them."""
    low, high = points.min(axis=1), points.max(axis=1)
    top = low[:, 1] - FOREHEAD * (high[:, 1] - low[:, 1])
    return np.stack([low[:, 0], top, high[:, 0], high[:, 1]], axis=1)


def _distinct(boxes: np.ndarray, scores: np.ndarray, threshold: float, overlap: float = 0.4) -> np.ndarray:
    """Indices of the boxes that score enough and cover no surer box, surest first."""
    kept: list[int] = []
    for index in np.argsort(-scores, kind="stable"):
        if scores[index] < threshold:
            break
        if all(_overlap(boxes[index], boxes[other]) < overlap for other in kept):
            kept.append(int(index))
    return np.array(kept, np.int64)


def _overlap(first: np.ndarray, second: np.ndarray) -> float:
    """Intersection over the smaller area."""
    sides = np.minimum(first[2:], second[2:]) - np.maximum(first[:2], second[:2])
    if (sides <= 0).any():
        return 0.0
    areas = [float(np.prod(box[2:] - box[:2])) for box in (first, second)]
    return float(np.prod(sides)) / max(min(areas), 1e-9)


def _none() -> Detections:
    return Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros((0, POINTS, 2), np.float32))
