"""Adapters to the face networks of the facexlib package: detection, landmarks, parsing, recognition.

Only its network classes are used. Its loaders fetch files, run pickles and move to CUDA whatever is asked.
"""

import functools
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import stitch.networks.torchvision_shim  # noqa: F401  (before facexlib, which imports torchvision)
from stitch.core.errors import WeightsError
from stitch.core.images import resize
from stitch.core.records import Detections
from stitch.networks.formats.checkpoints import load_strictly
from stitch.networks.torchvision_shim import nms

# isort: split
from facexlib.alignment.awing_arch import FAN
from facexlib.alignment.convert_98_to_68_landmarks import landmark_98_to_68
from facexlib.detection.retinaface import RetinaFace
from facexlib.detection.retinaface_utils import PriorBox, decode, decode_landm
from facexlib.parsing.bisenet import BiSeNet
from facexlib.recognition.arcface_arch import Backbone

N = TypeVar("N", bound=nn.Module)


def _unfilled(build: Callable[[], N]) -> N:
    """A network without its weights: filling them at random, only to replace them, takes seconds."""
    with torch.device("meta"):
        network = build()
    return network.to_empty(device="cpu")


class BiSeNetParser(nn.Module):
    """Face parser in CelebAMask-HQ's 19 classes (file 79999_iter.pth)."""

    size = 512
    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module | None = None) -> None:
        super().__init__()
        self.network = BiSeNet(19) if network is None else network
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406])[:, None, None])
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225])[:, None, None])

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor]) -> "BiSeNetParser":
        """A parser with these weights, frozen, on the CPU.

        Raises:
            WeightsError: another network's weights.
        """
        return cls(load_strictly(_unfilled(lambda: BiSeNet(19)), state, "BiSeNet")).eval()

    def forward(self, images: Tensor) -> Tensor:
        """Labels of aligned faces.

        The authors' program picks nearest pixels on the way to 512, which shifts the labels by half a pixel of the
        crop; here the crop is shrunk with antialiasing, as the pictures that the network was trained on.

        Args:
            images: [B,3,S,S] in [-1,1]; values beyond are clipped.
        Returns:
            [B,512,512] int64.
        """
        shrunk = resize(images, self.size).clamp(-1, 1)
        return self.scores(((shrunk + 1) / 2 - self.mean) / self.std).argmax(1)

    def scores(self, inputs: Tensor) -> Tensor:
        """The network's main output: [B,3,512,512], normalised by ImageNet's statistics -> [B,19,512,512]."""
        return self.network(inputs)[0]


class ArcFaceEmbedder(nn.Module):
    """Identity by ArcFace with IR-SE-50 (file model_ir_se50.pth)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor]) -> "ArcFaceEmbedder":
        """An embedder with these weights, frozen, on the CPU.

        Raises:
            WeightsError: another network's weights.
        """
        backbone = _unfilled(lambda: Backbone(num_layers=50, drop_ratio=0.6, mode="ir_se"))
        return cls(load_strictly(backbone, state, "ArcFace")).eval()

    def forward(self, images: Tensor) -> Tensor:
        """Identities of faces that are aligned by the FFHQ rule.

        Args:
            images: [B,3,S,S] in [-1,1].
        Returns:
            [B,512] of unit length.
        """
        return self.network(self.inner_face(resize(images, 256)))

    @staticmethod
    def inner_face(images: Tensor) -> Tensor:
        """The part of an FFHQ crop that ArcFace's own alignment would show: [B,3,256,256] -> [B,3,112,112]."""
        return F.adaptive_avg_pool2d(images[:, :, 35:223, 32:220], 112)


# Two programs train the small network under the same names and shapes, but not with the same anchors and activations.
# Sum of the tensor below in Face-Detector-1MB-with-landmark's file; its anchors are smaller and its ReLUs do not leak.
_FINGERPRINT = "BboxHead.2.conv1x1.weight"
_COMPACT_SUM = -4.577240977087058
_COMPACT_ANCHORS_PX = ((10, 20), (32, 64), (128, 256))


class RetinaFaceDetector(nn.Module):
    """Face detector with five landmarks.

    Args:
        network: "mobile0.25" or "resnet50", facexlib's names.
        anchors_px: sides of the boxes that the network corrects, two for each of three levels; None takes facexlib's.
        leaky: the small network's ReLUs leak, as facexlib's do.
        sides_px: longer sides that a frame is brought to before it is searched. The network is sure of faces that are
            neither small nor as large as its picture, so one size does not fit all.
        overlap: boxes that overlap by more are one face.
    """

    mean: Tensor

    def __init__(
        self,
        network: str,
        anchors_px: Sequence[Sequence[int]] | None = None,
        leaky: bool = True,
        sides_px: Sequence[int] = (320, 640, 960),
        overlap: float = 0.4,
    ):
        super().__init__()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            self.network = RetinaFace(network, device=torch.device("cpu"))
        if anchors_px is not None:
            self.network.cfg["min_sizes"] = [list(level) for level in anchors_px]
        if not leaky:
            for layer in self.network.modules():
                if isinstance(layer, nn.LeakyReLU):
                    layer.negative_slope = 0.0
        self.sides_px = tuple(sides_px)
        self.overlap = overlap
        self.register_buffer("mean", torch.tensor([104.0, 117.0, 123.0])[:, None, None])

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor]) -> "RetinaFaceDetector":
        """A detector with these weights, frozen, on the CPU; the weights tell which network it is.

        Args:
            state: facexlib's names, with the prefix "module." of parallel training or not.
        Raises:
            WeightsError: another network's weights.
        """
        state = {key.removeprefix("module."): tensor for key, tensor in state.items()}
        if "body.stage1.0.0.weight" in state:
            total = state[_FINGERPRINT].double().sum().item() if _FINGERPRINT in state else 0.0
            compact = abs(total - _COMPACT_SUM) < 1e-6
            detector = cls("mobile0.25", _COMPACT_ANCHORS_PX if compact else None, leaky=not compact)
        elif "body.layer1.0.conv1.weight" in state:
            detector = cls("resnet50")
        else:
            raise WeightsError("RetinaFace: these are not the weights of a known RetinaFace; use facexlib's files")
        load_strictly(detector.network, state, "RetinaFace")
        return detector.eval()

    @torch.no_grad()
    def detect(self, frame: np.ndarray, threshold: float) -> Detections:
        """All faces of a frame.

        The frame is searched at several sizes. A face's score is the mean over the sizes that should show it, which
        drops what only one of them took for a face; its box and landmarks are the mean of all candidates, weighted by
        score, which makes them steadier from frame to frame.

        Args:
            frame: [H,W,3] uint8 RGB.
            threshold: lowest score in [0,1].
        Returns:
            Boxes and landmarks (eyes, nose, corners of the mouth; those on the left of the picture first), largest
            face first.
        """
        longest = max(frame.shape[:2])
        sides = [side for side in self.sides_px if side <= 2 * longest] or [longest]
        found = [self._search(frame, side, threshold / 2) for side in sides]
        points, scores = (torch.cat(parts) for parts in zip(*found, strict=True))
        side_of = torch.cat([torch.full((len(part[1]),), side) for side, part in zip(sides, found, strict=True)])
        faces = []
        for best in nms(points[:, :4], scores, self.overlap).tolist():
            same = _overlaps(points[best, :4], points[:, :4]) > self.overlap
            size = (points[best, 2:4] - points[best, :2]).prod().sqrt().item()
            shown = [side for side in sides if self._shows(size * side / longest)] or [int(side_of[best])]
            score = sum(_highest(scores[same & (side_of == side)]) for side in shown) / len(shown)
            if score >= threshold:
                weights = scores[same] / scores[same].sum()
                faces.append(torch.cat([weights @ points[same], torch.tensor([score])]))
        result = torch.stack(faces) if faces else torch.empty(0, 15)
        order = (result[:, 2:4] - result[:, :2]).prod(1).argsort(descending=True, stable=True)
        table = result[order].numpy()
        return Detections(table[:, :4], table[:, 14], table[:, 4:14].reshape(-1, 5, 2))

    def _shows(self, size_px: float) -> bool:
        """Whether the network sees faces of this size in its picture."""
        anchors = self.network.cfg["min_sizes"]
        return 2 * anchors[0][0] <= size_px <= anchors[-1][-1]

    def _search(self, frame: np.ndarray, side: int, threshold: float) -> tuple[Tensor, Tensor]:
        """Candidates at one size, on the CPU: [N,14] px, box and landmarks, and [N] scores."""
        height, width = frame.shape[:2]
        factor = side / max(height, width)
        size = max(round(width * factor), 1), max(round(height * factor), 1)
        method = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
        picture = np.ascontiguousarray(cv2.resize(frame, size, interpolation=method)[:, :, ::-1])
        inputs = torch.from_numpy(picture).to(self.mean.device).permute(2, 0, 1).float() - self.mean
        offsets, scores, landmarks = (output[0].cpu() for output in self.network(inputs[None]))
        candidates = scores[:, 1] >= threshold
        priors = _priors(self.network, *inputs.shape[1:])[candidates]
        variance = self.network.cfg["variance"]
        boxes = decode(offsets[candidates], priors, variance)
        points = torch.cat([boxes, decode_landm(landmarks[candidates], priors, variance)], dim=1)
        return points * torch.tensor([width, height]).repeat(7), scores[candidates, 1]


@functools.lru_cache(maxsize=16)
def _priors(network: RetinaFace, height: int, width: int) -> Tensor:
    """The network's anchors for inputs of this size, [N,4]; facexlib builds them in a slow loop."""
    return PriorBox(network.cfg, image_size=(height, width)).forward()


def _highest(scores: Tensor) -> float:
    """The largest of [N] scores, 0 where there is none."""
    return scores.max().item() if scores.numel() else 0.0


def _overlaps(box: Tensor, boxes: Tensor) -> Tensor:
    """Intersection over union of one box [4] with others [N,4], [N]."""
    sides = torch.minimum(box[2:], boxes[:, 2:]) - torch.maximum(box[:2], boxes[:, :2])
    shared = sides.clamp_min(0).prod(1)
    return shared / ((box[2:] - box[:2]).prod() + (boxes[:, 2:] - boxes[:, :2]).prod(1) - shared)


class FanDetector(nn.Module):
    """RetinaFace's faces with 68 landmarks, from the 98 of an adaptive-wing FAN (file alignment_WFLW_4HG.pth).

    Args:
        detector: finds the faces.
        network: facexlib's FAN.
    """

    size = 256

    def __init__(self, detector: RetinaFaceDetector, network: nn.Module) -> None:
        super().__init__()
        self.detector = detector
        self.network = network

    @classmethod
    def from_states(cls, detector: RetinaFaceDetector, state: Mapping[str, Tensor]) -> "FanDetector":
        """A detector with these landmark weights, frozen, on the CPU; how many hourglasses it has, the weights tell.

        Args:
            detector: finds the faces.
            state: FAN's, under facexlib's names.
        Raises:
            WeightsError: another network's weights, or of another number of landmarks.
        """
        hourglasses = sum(key.endswith(".coordconv.conv.weight") for key in state)
        points = state["l0.weight"].shape[0] - 1 if "l0.weight" in state else 0
        if hourglasses < 1 or points != 98:
            raise WeightsError("FAN: these are not the weights of a FAN with 98 points; use alignment_WFLW_4HG.pth")
        network = _unfilled(lambda: FAN(hourglasses, num_landmarks=points, device="cpu"))
        return cls(detector, load_strictly(network, state, "FAN")).eval()

    @torch.no_grad()
    def detect(self, frame: np.ndarray, threshold: float) -> Detections:
        """All faces of a frame, largest first, with 68 landmarks each.

        FAN sees each face's box stretched to a square, as the programs that use these weights do.

        Args:
            frame: [H,W,3] uint8 RGB.
            threshold: lowest score in [0,1].
        """
        found = self.detector.detect(frame, threshold)
        landmarks = np.zeros((len(found.boxes), 68, 2), np.float32)
        for index, box in enumerate(found.boxes):
            landmarks[index] = landmark_98_to_68(self._points(frame, box))
        return Detections(found.boxes, found.scores, landmarks)

    def _points(self, frame: np.ndarray, box: np.ndarray) -> np.ndarray:
        """The 98 landmarks of one face, [98,2] frame px, pixel centres at integer + 0.5."""
        limits = [frame.shape[1], frame.shape[0]]
        first = np.clip(np.floor(box[:2]).astype(int), 0, np.subtract(limits, 1))
        last = np.maximum(np.clip(np.ceil(box[2:]).astype(int), 0, limits), first + 1)
        face = np.ascontiguousarray(frame[first[1] : last[1], first[0] : last[0]])
        face = cv2.resize(face, (self.size, self.size), interpolation=cv2.INTER_LINEAR)
        device = next(self.network.parameters()).device
        inputs = torch.from_numpy(face).to(device).permute(2, 0, 1)[None].float() / 255
        heatmaps = self.network(inputs)[0][-1][0, :-1].float().cpu()  # the last one is of the face's outline
        return first + peaks(heatmaps).numpy() / heatmaps.shape[-1] * (last - first)


def peaks(heatmaps: Tensor) -> Tensor:
    """Where each heat map is highest, a quarter of a pixel towards its higher neighbour in either direction.

    The package's own function stops at a name that NumPy no longer has, and takes neighbours from other rows.

    Args:
        heatmaps: [P,S,S].
    Returns:
        [P,2] float32 x, y; pixel centres at integer + 0.5.
    """
    size = heatmaps.shape[-1]
    index = heatmaps.flatten(1).argmax(1)
    x, y = index % size, index // size
    maps = torch.arange(len(heatmaps))
    padded = F.pad(heatmaps[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
    right, left = padded[maps, y + 1, x + 2], padded[maps, y + 1, x]
    below, above = padded[maps, y + 2, x + 1], padded[maps, y, x + 1]
    steps = torch.stack([(right - left).sign(), (below - above).sign()], dim=1)
    return torch.stack([x, y], dim=1) + 0.5 + 0.25 * steps
