"""Link detections into persons: from frame to frame by place and size, over gaps and cuts by identity."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import linear_sum_assignment

from stitch.core.records import Detections
from stitch.core.settings import FaceSettings

Embed = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""(frame [H,W,3] uint8, landmarks [5|68,2]) -> [K] identity of unit length."""

# Distances below are in sides of the face's box.
FARTHEST_STEP = 0.6
FARTHEST_RETURN = 1.5
FARTHEST_CUT = 2.0
LARGEST_RATIO = 1.7
SAME_PERSON = 0.35
# A face seen for a shorter time is taken for a mistake of the detector, unless it is the only one.
SHORTEST_FACE_S = 0.2
ALIKE = 0.8


@dataclass(frozen=True, eq=False)
class Detection:
    """One face in one frame.

    Attributes:
        box: [4] float64 x0, y0, x1, y1 in frame px.
        landmarks: [5|68,2] float64 frame px.
        score: in [0,1].
        identity: [K] float64 of unit length, or None where it was not taken.
    """

    box: np.ndarray
    landmarks: np.ndarray
    score: float
    identity: np.ndarray | None


@dataclass(eq=False)
class Person:
    """Detections of one face, in increasing order of frames; identities are there now and then."""

    frames: list[int] = field(default_factory=list)
    seen: list[Detection] = field(default_factory=list)
    identities: list[np.ndarray] = field(default_factory=list)

    def add(self, frame: int, detection: Detection) -> None:
        """See the person in another frame."""
        self.frames.append(frame)
        self.seen.append(detection)
        if detection.identity is not None:
            self.identities.append(detection.identity)

    def join(self, later: "Person") -> None:
        """Add what was seen of the same person later on."""
        self.frames += later.frames
        self.seen += later.seen
        self.identities += later.identities

    def expected(self, frame: int) -> np.ndarray:
        """Where the box should be in a later frame, moving on as it last moved, for at most three frames."""
        last = self.seen[-1].box
        if len(self.frames) < 2:
            return last
        step = (last - self.seen[-2].box) / (self.frames[-1] - self.frames[-2])
        return last + step * min(frame - self.frames[-1], 3)


def distinct(frame: np.ndarray, found: Detections, embed: Embed | None) -> list[Detection]:
    """The detections of a frame, surest first, without second boxes around the same face.

    Args:
        frame: [H,W,3] uint8 RGB.
        found: in it.
        embed: tells persons apart; None leaves identities out.
    Returns:
        One record for each face.
    """
    kept: list[Detection] = []
    for index in np.argsort(-found.scores, kind="stable"):
        box = found.boxes[index].astype(np.float64)
        points = found.landmarks[index].astype(np.float64)
        if not (np.isfinite(box).all() and np.isfinite(points).all()) or side(box) == 0:
            continue
        if any(_overlap(box, other.box) > 0.5 for other in kept):
            continue
        identity = None if embed is None else np.asarray(embed(frame, points), np.float64)
        kept.append(Detection(box, points, float(found.scores[index]), identity))
    return kept


def people(
    detections: Sequence[list[Detection]], shots: np.ndarray, settings: FaceSettings, rate: float
) -> list[Person]:
    """Everybody in a clip, first who is seen most surely and longest.

    The order goes by certainty times duration; next comes always the largest of those who have at least `ALIKE` of the
    most that is left. So an arm that the detector now and then takes for a face never stands before one, nor does a
    bystander before somebody whom it missed for a moment.

    Args:
        detections: of each frame, T of them.
        shots: [T], number of each frame's shot.
        settings: the threshold, and the longest gap.
        rate: frames per second.
    Returns:
        The persons in the order in which users count them.
    """
    paths = _linked(detections, shots, settings.max_gap_s * rate)
    paths = _certain(paths, shots, SHORTEST_FACE_S * rate, (1 + settings.threshold) / 2)

    left = _same_faces(paths, shots)
    presence = {id(person): sum(one.score for one in person.seen) for person in left}
    ordered: list[Person] = []
    while left:
        least = ALIKE * max(presence[id(person)] for person in left)
        alike = (person for person in left if presence[id(person)] >= least)
        ordered.append(max(alike, key=lambda person: sum(side(one.box) ** 2 for one in person.seen)))
        left.remove(ordered[-1])
    return ordered


def side(box: np.ndarray) -> float:
    """Side of a square as large as a box [4], px."""
    return float(np.sqrt(max(box[2] - box[0], 0) * max(box[3] - box[1], 0)))


def _linked(detections: Sequence[list[Detection]], shots: np.ndarray, max_gap: float) -> list[Person]:
    """Link detections of neighbouring frames, never across a cut, into paths."""
    paths: list[Person] = []
    active: list[Person] = []
    for frame, here in enumerate(detections):
        if frame and shots[frame] != shots[frame - 1]:
            active = []
        active = [path for path in active if frame - path.frames[-1] <= max_gap + 1]
        costs = np.full((len(active), len(here)), np.inf)
        for row, path in enumerate(active):
            slack = 1 + 0.15 * min(frame - path.frames[-1] - 1, 4)
            for column, detection in enumerate(here):
                away = _distance(path.expected(frame), detection.box, FARTHEST_STEP * slack)
                costs[row, column] = away + _strangeness(path, detection)
        taken = set()
        for row, column in _assign(costs):
            active[row].add(frame, here[column])
            taken.add(column)
        for column, detection in enumerate(here):
            if column not in taken:
                path = Person()
                path.add(frame, detection)
                paths.append(path)
                active.append(path)
    return paths


def _same_faces(paths: list[Person], shots: np.ndarray) -> list[Person]:
    """Join paths of the same face: within each shot where it was lost for a while, then from shot to shot."""
    faces: list[Person] = []
    for shot in range(int(shots[-1]) + 1):
        here: list[Person] = []
        for path in (path for path in paths if shots[path.frames[0]] == shot):
            # A face cannot be the same as one that is seen before and after it.
            earlier = [other for other in here if other.frames[-1] < path.frames[0]]
            costs = np.array([[_kinship(other, path, FARTHEST_RETURN) for other in earlier]])
            matches = _assign(costs) if earlier else []
            if matches:
                earlier[matches[0][1]].join(path)
            else:
                here.append(path)
        costs = np.array([[_kinship(face, path, FARTHEST_CUT) for path in here] for face in faces])
        matches = _assign(costs) if faces and here else []
        for row, column in matches:
            faces[row].join(here[column])
        joined = {column for _, column in matches}
        faces += [path for column, path in enumerate(here) if column not in joined]
    return faces


def _kinship(earlier: Person, later: Person, farthest: float) -> float:
    """Cost of taking two paths for the same face; infinite where they cannot be. Identity, where known, decides."""
    if earlier.identities and later.identities:
        likeness = float(_mean_identity(earlier) @ _mean_identity(later))
        return 1 - likeness if likeness >= SAME_PERSON else np.inf
    return _distance(earlier.seen[-1].box, later.seen[0].box, farthest)


def _strangeness(path: Person, detection: Detection) -> float:
    """How unlike a path's person a detection is: from 0 to 2, or 0 where either is unknown.

    It only weighs against distance, so that two who cross are told apart; a face that turns away, and so looks less
    like itself, is not lost for it.
    """
    if detection.identity is None or not path.identities:
        return 0.0
    return max(0.0, 1 - float(_mean_identity(path) @ detection.identity))


def _certain(paths: list[Person], shots: np.ndarray, shortest: float, sure: float) -> list[Person]:
    """Paths without those that are likely mistakes: never seen with certainty, or too shortly for their shot.

    Where nothing else is there, the doubtful ones are kept.
    """
    lengths = np.bincount(shots)
    surely = [path for path in paths if max(one.score for one in path.seen) >= sure] or paths
    lasting = [path for path in surely if len(path.frames) >= min(shortest, lengths[shots[path.frames[0]]] / 2)]
    return lasting or surely


def _assign(costs: np.ndarray) -> list[tuple[int, int]]:
    """Pairs of row and column with the smallest sum of costs; infinite costs are never paired."""
    if not costs.size:
        return []
    bounded = np.where(np.isfinite(costs), costs, 1e6)
    pairs = zip(*linear_sum_assignment(bounded), strict=True)
    return [(int(row), int(column)) for row, column in pairs if np.isfinite(costs[row, column])]


def _distance(first: np.ndarray, second: np.ndarray, farthest: float) -> float:
    """How far apart two boxes are in place and size; infinite beyond `farthest` sides or the largest ratio of sizes."""
    sides = side(first), side(second)
    if min(sides) <= 0:
        return np.inf
    apart = float(np.hypot(*(_centre(first) - _centre(second)))) / max(sides)
    ratio = max(sides) / min(sides)
    if apart > farthest or ratio > (LARGEST_RATIO if farthest < FARTHEST_CUT else LARGEST_RATIO**2):
        return np.inf
    return apart + float(np.log(ratio))


def _overlap(first: np.ndarray, second: np.ndarray) -> float:
    """Intersection over union of two boxes."""
    sides = np.minimum(first[2:], second[2:]) - np.maximum(first[:2], second[:2])
    common = float(np.prod(np.maximum(sides, 0)))
    return common / max(side(first) ** 2 + side(second) ** 2 - common, 1e-9)


def _centre(box: np.ndarray) -> np.ndarray:
    return (box[:2] + box[2:]) / 2


def _mean_identity(path: Person) -> np.ndarray:
    mean = np.mean(path.identities, axis=0)
    return mean / max(float(np.linalg.norm(mean)), 1e-9)
