"""MTCNN (Zhang et al. 2016, arXiv 1604.02878): boxes and five points of faces of any size.

The weights are those of the package `facenet-pytorch`. A frame is searched at many scales by a small network (P-Net);
what it proposes is judged and moved by a second (R-Net) and a third (O-Net), which also tells the five points.
"""

from collections.abc import Iterator, Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stitch.core.records import Detections
from stitch.networks.torchvision_shim import nms

_WINDOW, _STRIDE = 12, 2
"""Side of what one answer of P-Net sees, and the step between two answers, in px of the scaled frame."""

_BATCH = 512


class ProposalNet(nn.Module):
    """P-Net, fully convolutional: for every place a score and how to move a 12 px window."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.prelu1 = nn.Conv2d(3, 10, 3), nn.PReLU(10)
        self.pool1 = nn.MaxPool2d(2, 2, ceil_mode=True)
        self.conv2, self.prelu2 = nn.Conv2d(10, 16, 3), nn.PReLU(16)
        self.conv3, self.prelu3 = nn.Conv2d(16, 32, 3), nn.PReLU(32)
        self.conv4_1, self.conv4_2 = nn.Conv2d(32, 2, 1), nn.Conv2d(32, 4, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[B,3,H,W] in [-1,1] -> probabilities [B,h,w] and shifts [B,4,h,w] as shares of the window."""
        x = self.pool1(self.prelu1(self.conv1(x)))
        x = self.prelu3(self.conv3(self.prelu2(self.conv2(x))))
        return self.conv4_1(x).softmax(1)[:, 1], self.conv4_2(x)


class RefinementNet(nn.Module):
    """R-Net: judges and moves a window, given at 24 px."""

    size = 24

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.prelu1 = nn.Conv2d(3, 28, 3), nn.PReLU(28)
        self.pool1 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.conv2, self.prelu2 = nn.Conv2d(28, 48, 3), nn.PReLU(48)
        self.pool2 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.conv3, self.prelu3 = nn.Conv2d(48, 64, 2), nn.PReLU(64)
        self.dense4, self.prelu4 = nn.Linear(576, 128), nn.PReLU(128)
        self.dense5_1, self.dense5_2 = nn.Linear(128, 2), nn.Linear(128, 4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[B,3,24,24] in [-1,1] -> probabilities [B] and shifts [B,4]."""
        x = self.pool1(self.prelu1(self.conv1(x)))
        x = self.pool2(self.prelu2(self.conv2(x)))
        x = self.prelu3(self.conv3(x)).transpose(1, 3).flatten(1)  # columns first, as the weights were learnt
        x = self.prelu4(self.dense4(x))
        return self.dense5_1(x).softmax(1)[:, 1], self.dense5_2(x)


class OutputNet(nn.Module):
    """O-Net: the last judge of a window, given at 48 px, and its five points."""

    size = 48

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.prelu1 = nn.Conv2d(3, 32, 3), nn.PReLU(32)
        self.pool1 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.conv2, self.prelu2 = nn.Conv2d(32, 64, 3), nn.PReLU(64)
        self.pool2 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.conv3, self.prelu3 = nn.Conv2d(64, 64, 3), nn.PReLU(64)
        self.pool3 = nn.MaxPool2d(2, 2, ceil_mode=True)
        self.conv4, self.prelu4 = nn.Conv2d(64, 128, 2), nn.PReLU(128)
        self.dense5, self.prelu5 = nn.Linear(1152, 256), nn.PReLU(256)
        self.dense6_1, self.dense6_2, self.dense6_3 = nn.Linear(256, 2), nn.Linear(256, 4), nn.Linear(256, 10)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[B,3,48,48] in [-1,1] -> probabilities [B], shifts [B,4] and points [B,2,5], shares of the window."""
        x = self.pool1(self.prelu1(self.conv1(x)))
        x = self.pool2(self.prelu2(self.conv2(x)))
        x = self.pool3(self.prelu3(self.conv3(x)))
        x = self.prelu4(self.conv4(x)).transpose(1, 3).flatten(1)  # columns first, as the weights were learnt
        x = self.prelu5(self.dense5(x))
        return self.dense6_1(x).softmax(1)[:, 1], self.dense6_2(x), self.dense6_3(x).unflatten(1, (2, 5))


class MTCNN(nn.Module):
    """The cascade behind the protocol of a detector.

    Args:
        smallest_px: side of the smallest face that is searched for.
        factor: ratio of two neighbouring scales.
        proposals, refined: thresholds of P-Net and R-Net; O-Net's is the caller's.
    """

    def __init__(
        self, smallest_px: float = 20.0, factor: float = 0.709, proposals: float = 0.6, refined: float = 0.7
    ) -> None:
        super().__init__()
        self.smallest_px, self.factor = smallest_px, factor
        self.proposals, self.refined = proposals, refined
        self.pnet, self.rnet, self.onet = ProposalNet(), RefinementNet(), OutputNet()

    @classmethod
    def from_states(cls, states: Mapping[str, Mapping[str, Tensor]]) -> "MTCNN":
        """The cascade of the package's three state dicts, by name ("pnet", "rnet", "onet"), frozen, on the CPU."""
        cascade = cls()
        for name, state in states.items():
            cascade.get_submodule(name).load_state_dict(state, strict=True)
        return cascade.eval().requires_grad_(False)

    @torch.no_grad()
    def detect(self, frame: np.ndarray, threshold: float = 0.7) -> Detections:
        """Faces of one frame.

        Args:
            frame: [H,W,3] uint8 RGB.
            threshold: lowest score of a face, in [0,1].
        Returns:
            Faces, largest first; landmarks [F,5,2]: left and right eye (as seen), nose, corners of the mouth.
        """
        place = next(self.parameters()).device
        picture = torch.from_numpy(np.ascontiguousarray(frame)).to(place).permute(2, 0, 1)[None].float()
        boxes, scores = self._propose(picture)
        if len(boxes):
            boxes, scores = self._refine(picture, boxes)
        points = boxes.new_zeros(0, 5, 2)
        if len(boxes):
            boxes, scores, points = self._finish(picture, boxes, threshold)
        largest_first = ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).argsort(descending=True)
        found = (tensor[largest_first].cpu().numpy() for tensor in (boxes, scores, points))
        return Detections(*found)

    def _propose(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        """P-Net over all scales: squares [N,4] and scores [N]."""
        height, width = picture.shape[2:]
        found = []
        for scale in _scales(min(height, width), self.smallest_px, self.factor):
            small = F.interpolate(picture, size=(int(height * scale + 1), int(width * scale + 1)), mode="area")
            scores, shifts = self.pnet(_normalised(small))
            rows, columns = (scores[0] >= self.proposals).nonzero(as_tuple=True)
            corner = torch.stack([columns, rows], 1).float() * _STRIDE
            boxes = torch.cat([((corner + 1) / scale).floor(), ((corner + _WINDOW) / scale).floor()], 1)
            kept = nms(boxes, scores[0, rows, columns], 0.5)
            rows, columns, boxes = rows[kept], columns[kept], boxes[kept]
            found.append((boxes, scores[0, rows, columns], shifts[0, :, rows, columns].T))
        boxes, scores, shift = (torch.cat(parts) for parts in zip(*found, strict=True))
        kept = nms(boxes, scores, 0.7)
        return _squared(_moved(boxes[kept], shift[kept], 0)), scores[kept]

    def _refine(self, picture: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """R-Net: fewer squares, better placed."""
        boxes, windows = _windows(picture, boxes, self.rnet.size)
        scores, shift = (torch.cat(parts) for parts in zip(*map(self.rnet, windows), strict=True))
        passed = scores > self.refined
        boxes, scores, shift = boxes[passed], scores[passed], shift[passed]
        kept = nms(boxes, scores, 0.7)
        return _squared(_moved(boxes[kept], shift[kept], 1)), scores[kept]

    def _finish(self, picture: Tensor, boxes: Tensor, threshold: float) -> tuple[Tensor, Tensor, Tensor]:
        """O-Net: boxes, scores and points of the faces."""
        boxes, windows = _windows(picture, boxes, self.onet.size)
        scores, shift, shares = (torch.cat(parts) for parts in zip(*map(self.onet, windows), strict=True))
        passed = scores >= threshold
        boxes, scores, shift, shares = boxes[passed], scores[passed], shift[passed], shares[passed]
        points = boxes[:, None, :2] - 1 + shares.transpose(1, 2) * (boxes[:, None, 2:] - boxes[:, None, :2] + 1)
        boxes = _moved(boxes, shift, 1)
        kept = _largest_overlap(boxes, scores, 0.7)
        return boxes[kept], scores[kept], points[kept] + 0.5


def _scales(side: int, smallest_px: float, factor: float) -> Iterator[float]:
    """Scales at which P-Net's window is as large as a face, from the smallest face to the whole frame; one at least."""
    scale = _WINDOW / smallest_px
    yield scale
    while side * scale * factor >= _WINDOW:
        scale *= factor
        yield scale


def _normalised(picture: Tensor) -> Tensor:
    return (picture - 127.5) / 128


def _moved(boxes: Tensor, shift: Tensor, margin: float) -> Tensor:
    """Corners moved by shares of the box's size."""
    size = boxes[:, 2:] - boxes[:, :2] + margin
    return boxes + shift * size.repeat(1, 2)


def _squared(boxes: Tensor) -> Tensor:
    """Squares about the same centres with the longer side."""
    size = boxes[:, 2:] - boxes[:, :2]
    side = size.max(1, keepdim=True).values
    corner = boxes[:, :2] + size / 2 - side / 2
    return torch.cat([corner, corner + side], 1)


def _windows(picture: Tensor, boxes: Tensor, size: int) -> tuple[Tensor, list[Tensor]]:
    """What of the frame lies in each box, scaled to `size`, in batches; boxes outside the frame are left out."""
    height, width = picture.shape[2:]
    limit = boxes.new_tensor([width, height])
    low, high = boxes[:, :2].trunc().clamp_min(1), boxes[:, 2:].trunc().minimum(limit)
    inside = (high >= low).all(1)
    cuts = torch.cat([low, high], 1)[inside].int().tolist()
    parts = [
        F.interpolate(picture[:, :, y0 - 1 : y1, x0 - 1 : x1], size=(size, size), mode="area")
        for x0, y0, x1, y1 in cuts
    ]
    stacked = torch.cat(parts) if parts else picture.new_zeros(0, 3, size, size)
    return boxes[inside], list(_normalised(stacked).split(_BATCH))


def _largest_overlap(boxes: Tensor, scores: Tensor, threshold: float) -> Tensor:
    """Non-maximum suppression by the overlap's share of the smaller box, so that no face holds another."""
    area = (boxes[:, 2:] - boxes[:, :2] + 1).prod(1)
    low = torch.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = torch.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    overlap = (high - low + 1).clamp_min(0).prod(2) / torch.minimum(area[:, None], area[None])
    kept: list[int] = []
    for index in scores.argsort(descending=True).tolist():
        if all(overlap[index, other] <= threshold for other in kept):
            kept.append(index)
    return torch.tensor(kept, dtype=torch.long, device=boxes.device)
