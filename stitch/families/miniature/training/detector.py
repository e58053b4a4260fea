"""Training of the face detector: centres of faces in frames, then the landmarks of one face.

Data: 3,000 drawn portraits (seed 211; the last 200 are never trained on) and backdrops. Frames are made while training
runs: none to three portraits at any size and place before a random backdrop, some behind a passing object, some cut by
the border. Losses: CenterNet's focal loss with L1 for offset and log size; distance of the points over the face's size,
and a cross entropy for presence. On one core: about 8 minutes a stage.
"""

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from stitch.families.miniature.detector import (
    MARGIN,
    STRIDE,
    UNIT_PX,
    CentreNet,
    FaceDetector,
    LandmarkNet,
    extent,
    squares,
    stance,
)
from stitch.families.miniature.training import sets
from stitch.families.miniature.training.augment import filmed, mirror, occluded, to_float
from stitch.families.miniature.training.loop import Losses, Schedule, fit, placed
from stitch.networks.formats.checkpoints import save_module

DATA_SEED = 211
PORTRAITS = 3000
HELD = 200
FRAME = (256, 192)
CENTRE_SCHEDULE = Schedule(steps=1400, batch=12, learning_rate=3e-3)
LANDMARK_SCHEDULE = Schedule(steps=2200, batch=32, learning_rate=3e-3)
SMALLEST_PX, LARGEST_PX = 13.0, 150.0

MIRRORED = np.array(
    [*range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1), 45, 44, 43, 42, 47, 46, 39, 38, 37, 36,
     41, 40, *range(54, 47, -1), *range(59, 54, -1), *range(64, 59, -1), *range(67, 64, -1)]
)
"""Which landmark of the mirrored face is landmark i."""


class Portraits:
    """The set of portraits and the backdrops, with frames made of them.

    Args:
        folder: where the sets are kept.
        count: portraits, the held ones among them.
        seed: of the portraits.
    """

    def __init__(self, folder: Path, count: int, seed: int):
        self.drawn = sets.portraits(folder / f"portraits_{seed}", count, seed)
        self.scenes = sets.scenery(folder / "scenery", sets.SCENES, sets.SCENE_SEED)["images"]
        self.held = min(HELD, count // 8)
        self.trained = count - self.held
        self.points = np.array(self.drawn["landmarks"], np.float64)

    def scene(self, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
        """A random part of a random backdrop, [h,w,3] float32 in 0..255; `size` is (width, height)."""
        whole = self.scenes[rng.integers(len(self.scenes))]
        share = min(whole.shape[0] / size[1], whole.shape[1] / size[0]) * 2.0 ** -rng.random()
        width, height = max(2, int(size[0] * share)), max(2, int(size[1] * share))
        left, top = int(rng.random() * (whole.shape[1] - width)), int(rng.random() * (whole.shape[0] - height))
        part = cv2.resize(whole[top : top + height, left : left + width], size, interpolation=cv2.INTER_LINEAR)
        return (part[:, ::-1] if rng.random() < 0.5 else part).astype(np.float32)

    def pasted(
        self, picture: np.ndarray, index: int, placement: np.ndarray, gain: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Put portrait `index` into a picture; its lowest row goes on below it, as a torso does.

        Args:
            picture: [h,w,3] float32 in 0..255.
            placement: [2,3], px of the portrait to px of the picture.
            gain: [3], exposure of the portrait by colour.
        Returns:
            The new picture, its landmarks [68,2] px and the portrait's coverage [h,w].
        """
        image, alpha = self.drawn["images"][index], self.drawn["alpha"][index]
        shrink = 1 / np.sqrt(abs(np.linalg.det(placement[:, :2])))
        linear, offset = placement[:, :2], placement[:, 2]
        points = self.points[index] @ linear.T + offset
        for _ in range(int(np.log2(max(shrink, 1.0)) + 0.5)):
            image = cv2.resize(image, (image.shape[1] // 2, image.shape[0] // 2), interpolation=cv2.INTER_AREA)
            alpha = cv2.resize(alpha, (alpha.shape[1] // 2, alpha.shape[0] // 2), interpolation=cv2.INTER_AREA)
            linear = linear * 2
        matrix = np.concatenate([linear, (offset + linear.sum(axis=1) / 2 - 0.5)[:, None]], axis=1)
        size = picture.shape[1::-1]
        image = cv2.warpAffine(image, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        cover = cv2.warpAffine(alpha, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        cover = cover.astype(np.float32)[:, :, None] / 255
        result = (image - (1 - cover) * np.float32(sets.GREY)) * gain + (1 - cover) * picture
        return np.clip(result, 0, 255).astype(np.float32), points, cover[:, :, 0]

    def frame(self, rng: np.random.Generator, held: bool = False) -> tuple[np.ndarray, list[np.ndarray]]:
        """A frame with none to three faces.

        Args:
            rng: of everything random.
            held: use the portraits that are never trained on.
        Returns:
            [192,256,3] uint8 and the landmarks [68,2] px of each face whose middle is in it and that is not covered.
        """
        picture = self.scene(FRAME, rng)
        faces: list[np.ndarray] = []
        for _ in range(rng.choice(4, p=(0.15, 0.6, 0.2, 0.05))):
            index = int(self.trained + rng.integers(self.held) if held else rng.integers(self.trained))
            middle, size = extent(self.points[index])
            scale = np.exp(rng.uniform(np.log(SMALLEST_PX), np.log(LARGEST_PX))) / size
            angle = rng.normal() * 0.12
            target = rng.uniform(-0.05, 1.05, 2) * FRAME
            linear = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
            placement = np.concatenate([linear, (target - linear @ middle)[:, None]], axis=1)
            gain = 1 + rng.uniform(-0.2, 0.2) + rng.uniform(-0.06, 0.06, 3)
            picture, points, cover = self.pasted(picture, int(index), placement, gain.astype(np.float32))
            faces = [face for face in faces if _seen(face, cover)] + [points]
        faces = [face for face in faces if (extent(face)[0] >= 0).all() and (extent(face)[0] < FRAME).all()]
        return picture.astype(np.uint8), faces

    def crop(self, size: int, rng: np.random.Generator, held: bool = False) -> tuple[np.ndarray, np.ndarray, bool]:
        """A crop as the second stage sees it, off its place by as much as the first stage may be.

        Args:
            size: side in px.
            rng: of everything random.
            held: use the portraits that are never trained on.
        Returns:
            [size,size,3] uint8, landmarks [68,2] px of the crop, and whether there is a face in it.
        """
        index = int(self.trained + rng.integers(self.held) if held else rng.integers(self.trained))
        points = self.points[index]
        middle, side, angle = (value[0] for value in stance(points[None]))
        if rng.random() < 0.5:  # as the first look: upright crop around a rough centre
            angle, off, zoom = rng.normal() * 0.2, 0.08, 0.18
        else:  # as the second: at the place that its own points ask for
            angle, off, zoom = angle + rng.normal() * 0.04, 0.025, 0.06
        face = rng.random() > 0.12
        if not face:
            off = 0.9
        shift = rng.uniform(-1, 1, 2)
        if not face:
            shift *= max(1.0, 0.75 / max(np.abs(shift).max(), 1e-3))
        centre = middle + shift * off * side
        wide = side * MARGIN * np.exp(rng.normal() * zoom)
        square = squares(centre[None], np.array([wide]), np.array([angle]), size)[0]
        inverse = np.linalg.inv(square[:, :2])
        placement = np.concatenate([inverse, -(inverse @ square[:, 2])[:, None]], axis=1)
        gain = (1 + rng.uniform(-0.2, 0.2) + rng.uniform(-0.06, 0.06, 3)).astype(np.float32)
        picture = self.scene((size, size), rng)
        if face or rng.random() < 0.5:
            picture, points, _ = self.pasted(picture, index, placement, gain)
        crop = _coarser(picture, rng) if rng.random() < 0.35 else picture
        if rng.random() < 0.15:
            crop = _cut_by_border(crop, rng)
        return crop.astype(np.uint8), points, face


def _seen(face: np.ndarray, cover: np.ndarray) -> bool:
    """At least half of a face's landmarks are not covered by what was put before it."""
    column, row = (np.clip(face[:, axis].astype(int), 0, cover.shape[1 - axis] - 1) for axis in (0, 1))
    return float((cover[row, column] < 0.5).mean()) >= 0.5


def _coarser(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The picture as if the face had been small in its frame."""
    size = picture.shape[1::-1]
    factor = rng.uniform(1.2, 3.0)
    small = cv2.resize(picture, (int(size[0] / factor), int(size[1] / factor)), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, size, interpolation=cv2.INTER_LINEAR)


def _cut_by_border(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Grey beyond a line, as outside the frame."""
    size = picture.shape[0]
    y, x = np.mgrid[:size, :size] - size / 2
    turn = np.pi / 2 * rng.integers(4) + rng.normal() * 0.1
    outside = x * np.cos(turn) + y * np.sin(turn) > size * rng.uniform(0.08, 0.45)
    return np.where(outside[:, :, None], np.float32(sets.GREY), picture)


def targets(faces: list[np.ndarray], size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """What `CentreNet` should answer.

    Args:
        faces: landmarks [68,2] px of each face.
        size: width and height of the frame in px.
    Returns:
        Heat [h/8,w/8], 1 at the cells with a centre and a bell around them; and answers [4,h/8,w/8]: weight (1 at the
        centres), offset x and y, log size.
    """
    width, height = size[0] // STRIDE, size[1] // STRIDE
    heat = np.zeros((height, width), np.float32)
    answer = np.zeros((4, height, width), np.float32)
    rows, columns = np.indices((height, width), np.float64) + 0.5
    for face in faces:
        middle, side = extent(face)
        x, y = middle / STRIDE
        sigma = max(0.7, 0.12 * float(side) / STRIDE)
        column, row = min(int(x), width - 1), min(int(y), height - 1)
        bell = np.exp(-((columns - column - 0.5) ** 2 + (rows - row - 0.5) ** 2) / (2 * sigma**2))
        heat = np.maximum(heat, bell.astype(np.float32))
        # the cells beside the centre answer too: the peak may fall on them
        for r in range(max(0, row - 1), min(height, row + 2)):
            for c in range(max(0, column - 1), min(width, column + 2)):
                weight = 1.0 if (r, c) == (row, column) else 0.3
                if weight > answer[0, r, c]:
                    answer[:, r, c] = weight, x - c - 0.5, y - r - 0.5, np.log(side / UNIT_PX)
    return heat, answer


def centre_losses(grid: Tensor, heat: Tensor, answer: Tensor) -> Losses:
    """CenterNet's losses (equations 1-3): focal loss of the heat, L1 of offset and log size at the centres.

    Args:
        grid: [B,4,h,w] from `CentreNet`.
        heat: [B,h,w] in [0,1].
        answer: [B,4,h,w] from `targets`.
    Returns:
        "heat", "offset" and "size".
    """
    logit = grid[:, 0]
    certain, unsure = F.logsigmoid(logit), F.logsigmoid(-logit)
    share = logit.sigmoid()
    centre = heat > 0.999
    focal = torch.where(centre, (1 - share).square() * certain, (1 - heat) ** 4 * share.square() * unsure)
    count = centre.sum().clamp_min(1)
    weight = answer[:, 0]
    total = weight.sum().clamp_min(1)
    offset = ((grid[:, 1:3] - answer[:, 1:3]).abs().sum(1) * weight).sum() / total
    size = ((grid[:, 3] - answer[:, 3]).abs() * weight).sum() / total
    return {"heat": -focal.sum() / count, "offset": offset, "size": size}


def _batch_of_frames(portraits: Portraits, batch: int, seed: int, held: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    rng = np.random.default_rng(seed)
    frames, heats, answers = [], [], []
    for _ in range(batch):
        frame, faces = portraits.frame(rng, held)
        heat, answer = targets(faces, FRAME)
        frames.append(frame)
        heats.append(heat)
        answers.append(answer)
    images = to_float(torch.from_numpy(np.stack(frames)))
    return images, torch.from_numpy(np.stack(heats)), torch.from_numpy(np.stack(answers))


def _batch_of_crops(
    portraits: Portraits, size: int, batch: int, seed: int, held: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    rng = np.random.default_rng(seed)
    drawn = [portraits.crop(size, rng, held) for _ in range(batch)]
    images = to_float(torch.from_numpy(np.stack([image for image, _, _ in drawn])))
    points = torch.from_numpy(np.stack([points for _, points, _ in drawn])).float()
    return images, points, torch.tensor([face for _, _, face in drawn])


def _seed(rng: torch.Generator) -> int:
    return int(torch.randint(2**62, (1,), generator=rng))


def train_centres(portraits: Portraits, out: Path, seed: int, device: str, schedule: Schedule) -> CentreNet:
    """The first stage; arguments as for `train`."""
    torch.manual_seed(seed)
    network = placed(CentreNet(), device)

    def losses(rng: torch.Generator) -> Losses:
        images, heat, answer = _batch_of_frames(portraits, schedule.batch, _seed(rng))
        images = filmed(occluded(images, rng, 0.2, 0.3), rng, 0.8)
        images = images.to(device, memory_format=torch.channels_last)
        return centre_losses(network(images), heat.to(device), answer.to(device))

    def figures() -> Mapping[str, float]:
        images, heat, answer = _batch_of_frames(portraits, 64, seed, held=True)
        parts = centre_losses(network(images.to(device)), heat.to(device), answer.to(device))
        return {f"held_{name}": float(part) for name, part in parts.items()}

    fit(network, losses, schedule, out, seed, figures)
    return network


def train_landmarks(portraits: Portraits, out: Path, seed: int, device: str, schedule: Schedule) -> LandmarkNet:
    """The second stage; arguments as for `train`."""
    torch.manual_seed(seed + 1)
    network = placed(LandmarkNet(), device)
    unit = network.size / MARGIN
    order = torch.from_numpy(MIRRORED).to(device)

    def losses(rng: torch.Generator) -> Losses:
        images, points, face = _batch_of_crops(portraits, network.size, schedule.batch, _seed(rng))
        images = filmed(occluded(images, rng, 0.2, 0.3), rng, 0.8)
        images = images.to(device, memory_format=torch.channels_last)
        points, face = points.to(device), face.to(device)
        images, which = mirror(images, rng)
        flipped = torch.stack([network.size - points[:, order, 0], points[:, order, 1]], dim=2)
        points = torch.where(which.to(device)[:, None, None], flipped, points)
        found, there = network(images)
        # points outside the crop cannot be answered
        weight = ((points > 0) & (points < network.size)).all(2).float() * face[:, None]
        error = (found - points).norm(dim=2) / unit
        place = (error.clamp_min(1e-6) * weight).sum() / weight.sum().clamp_min(1)
        return {
            "points": 30 * place,
            "presence": 0.3 * F.binary_cross_entropy_with_logits(there, face.float()),
        }

    def figures() -> Mapping[str, float]:
        images, points, face = _batch_of_crops(portraits, network.size, 128, seed, held=True)
        found, there = network(images.to(device))
        found, face = found.cpu(), face
        eyes = (points[:, 42:48].mean(1) - points[:, 36:42].mean(1)).norm(dim=1)
        error = ((found - points).norm(dim=2).mean(1) / eyes)[face]
        right = ((there.cpu() > 0) == face).float().mean()
        return {"held_error": float(error.mean()), "held_presence": float(right)}

    fit(network, losses, schedule, out, seed + 1, figures)
    return network


def train(
    data_dir: Path,
    out: Path,
    seed: int = 21,
    device: str = "cpu",
    count: int = PORTRAITS,
    centre_schedule: Schedule = CENTRE_SCHEDULE,
    landmark_schedule: Schedule = LANDMARK_SCHEDULE,
) -> FaceDetector:
    """Train both stages, or go on where a killed training stopped.

    Args:
        data_dir: folder of the drawn sets; what is missing is drawn.
        out: folder for a checkpoint and a log per stage and detector.safetensors.
        seed: of weights and batches.
        device: "cpu" or "cuda".
        count: portraits drawn.
        centre_schedule, landmark_schedule: how long and how fast.
    Returns:
        The detector, frozen.
    """
    portraits = Portraits(data_dir, count, DATA_SEED)
    centres = train_centres(portraits, out / "centres", seed, device, centre_schedule)
    points = train_landmarks(portraits, out / "landmarks", seed, device, landmark_schedule)
    detector = FaceDetector(centres, points).cpu().eval().requires_grad_(False)
    save_module(out / "detector.safetensors", detector, {"trained_on": "drawn faces", "seed": str(seed)})
    return detector

