"""Find the faces of a clip and follow one of them: where it is in every frame, where it is lost, where shots begin."""

from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import linear_sum_assignment

from stitch.core.errors import FaceError
from stitch.core.events import Event, Notice, Preview, Progress
from stitch.core.records import Detections, Survey, Track
from stitch.core.settings import FaceSettings
from stitch.families.family import Detector
from stitch.video.shots import Thumbnail, change_scores, find_shots, stands_out, thumbnail

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
IDENTITY_EVERY_S = 0.5
PREVIEW_EVERY_S = 1.0


@dataclass(eq=False)
class _Path:
    """Detections of one face: frames in increasing order, its box and landmarks in each, and identities now and then.

    `score` is the highest that the detector gave it.
    """

    frames: list[int] = field(default_factory=list)
    boxes: list[np.ndarray] = field(default_factory=list)
    landmarks: list[np.ndarray] = field(default_factory=list)
    identities: list[np.ndarray] = field(default_factory=list)
    score: float = 0.0

    def add(self, frame: int, detection: "_Detection") -> None:
        self.score = max(self.score, detection.score)
        self.frames.append(frame)
        self.boxes.append(detection.box)
        self.landmarks.append(detection.landmarks)
        if detection.identity is not None:
            self.identities.append(detection.identity)

    def join(self, later: "_Path") -> None:
        self.score = max(self.score, later.score)
        self.frames += later.frames
        self.boxes += later.boxes
        self.landmarks += later.landmarks
        self.identities += later.identities

    def expected(self, frame: int) -> np.ndarray:
        """Where the box should be in a later frame, moving on as it last moved, for at most three frames."""
        if len(self.frames) < 2:
            return self.boxes[-1]
        step = (self.boxes[-1] - self.boxes[-2]) / (self.frames[-1] - self.frames[-2])
        return self.boxes[-1] + step * min(frame - self.frames[-1], 3)


@dataclass(frozen=True, eq=False)
class _Detection:
    box: np.ndarray
    landmarks: np.ndarray
    score: float
    identity: np.ndarray | None


def track(
    frames: Iterable[np.ndarray],
    detector: Detector,
    rate: float,
    settings: FaceSettings,
    total: int = 0,
    embed: Embed | None = None,
) -> Generator[Event, None, Track]:
    """Follow one face through a clip (before section 3.1; the paper takes clips in which every frame shows one face).

    Faces are linked from frame to frame by place and size, and by identity where `embed` is given; a shot's faces are
    matched with those of earlier shots. Faces are counted by the area they cover over the clip, so that number 1 is the
    largest that stays. Landmarks that leap away for a single frame are dropped. Short gaps within a shot are
    interpolated linearly in time; longer ones, and gaps at the ends of a shot, stay unusable.

    Args:
        frames: [H,W,3] uint8 RGB each.
        detector: finds faces in one frame.
        rate: frames per second.
        settings: which face, and what counts as one.
        total: number of frames if it is known, for the progress.
        embed: tells persons apart.
    Yields:
        Progress, a Preview every second, and Notices about lost frames, other faces and cuts.
    Returns:
        The face's track over all frames.
    Raises:
        FaceError: no face in the whole clip, no face of the chosen number, or one that is too small.
        ValueError: there is no frame, or the settings are out of range.
    """
    if settings.face < 1:
        raise ValueError(f"face: got {settings.face}, expected 1 or more")
    seen = yield from survey(frames, detector, rate, settings, total, embed)
    chosen = _chosen(seen, settings)
    shots = seen.shots
    landmarks = seen.landmarks[chosen].copy()
    sides = _sides(seen.boxes[chosen])
    landmarks[_leaps(landmarks, sides, shots)] = np.nan
    found_frames = _present(landmarks)
    shots = _cut_where_it_jumps(landmarks, sides, shots, seen.changes)
    landmarks = _interpolated(landmarks, shots, settings.max_gap_s * rate)
    usable = _present(landmarks)
    for message in _messages(found_frames, usable, shots, len(seen.boxes), settings, rate):
        yield Notice(message)
    return Track(landmarks, found_frames, usable, shots, len(seen.boxes))


def survey(
    frames: Iterable[np.ndarray],
    detector: Detector,
    rate: float,
    settings: FaceSettings,
    total: int = 0,
    embed: Embed | None = None,
) -> Generator[Event, None, Survey]:
    """All faces of a clip, linked and counted as `track` does, so that one can be chosen.

    Args, yields and raises as `track`, but that no face is not an error here and that there are no Notices.

    Returns:
        Who is seen where.
    """
    thumbnails: list[Thumbnail] = []
    detections: list[list[_Detection]] = []
    for number, frame in enumerate(frames):
        found = detector.detect(frame, settings.threshold)
        if number % max(1, round(PREVIEW_EVERY_S * rate)) == 0:
            yield Preview("track", number, frame)
        # Identities are costly: they are taken twice a second, and whenever the number of faces changes.
        changed = not detections or len(detections[-1]) != len(found.boxes)
        identify = embed if changed or number % max(1, round(IDENTITY_EVERY_S * rate)) == 0 else None
        detections.append(_detections(frame, found, identify))
        thumbnails.append(thumbnail(frame))
        yield Progress("track", number + 1, total)
    if not detections:
        raise ValueError("frames: got none, expected at least one")
    scores = change_scores(thumbnails)
    shots = find_shots(thumbnails, scores)
    paths = _linked(detections, shots, settings.max_gap_s * rate)
    paths = _certain(paths, shots, SHORTEST_FACE_S * rate, (1 + settings.threshold) / 2)
    faces = sorted(_same_faces(paths, shots), key=lambda face: -sum(_side(box) ** 2 for box in face.boxes))
    count = len(shots)
    points = faces[0].landmarks[0].shape if faces else (5, 2)
    boxes, landmarks = np.full((len(faces), count, 4), np.nan), np.full((len(faces), count, *points), np.nan)
    for number, face in enumerate(faces):
        boxes[number, face.frames], landmarks[number, face.frames] = face.boxes, face.landmarks
    return Survey(boxes, landmarks, shots, scores)


def _detections(frame: np.ndarray, found: Detections, embed: Embed | None) -> list[_Detection]:
    """The detections of a frame as float64, without second boxes around the same face."""
    kept: list[_Detection] = []
    for index in np.argsort(-found.scores, kind="stable"):
        box = found.boxes[index].astype(np.float64)
        points = found.landmarks[index].astype(np.float64)
        if not (np.isfinite(box).all() and np.isfinite(points).all()) or _side(box) == 0:
            continue
        if any(_overlap(box, other.box) > 0.5 for other in kept):
            continue
        identity = None if embed is None else np.asarray(embed(frame, points), np.float64)
        kept.append(_Detection(box, points, float(found.scores[index]), identity))
    return kept


def _linked(detections: Sequence[list[_Detection]], shots: np.ndarray, max_gap: float) -> list[_Path]:
    """Link detections of neighbouring frames, never across a cut, into paths."""
    paths: list[_Path] = []
    active: list[_Path] = []
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
                path = _Path()
                path.add(frame, detection)
                paths.append(path)
                active.append(path)
    return paths


def _same_faces(paths: list[_Path], shots: np.ndarray) -> list[_Path]:
    """Join paths of the same face: within each shot where it was lost for a while, then from shot to shot."""
    faces: list[_Path] = []
    for shot in range(int(shots[-1]) + 1):
        here: list[_Path] = []
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


def _kinship(earlier: _Path, later: _Path, farthest: float) -> float:
    """Cost of taking two paths for the same face; infinite where they cannot be. Identity, where known, decides."""
    if earlier.identities and later.identities:
        likeness = float(_mean_identity(earlier) @ _mean_identity(later))
        return 1 - likeness if likeness >= SAME_PERSON else np.inf
    return _distance(earlier.boxes[-1], later.boxes[0], farthest)


def _strangeness(path: _Path, detection: _Detection) -> float:
    """How unlike a path's person a detection is: from 0 to 2, or 0 where either is unknown.

    It only weighs against distance, so that two who cross are told apart; a face that turns away, and so looks less
    like itself, is not lost for it.
    """
    if detection.identity is None or not path.identities:
        return 0.0
    return max(0.0, 1 - float(_mean_identity(path) @ detection.identity))


def _certain(paths: list[_Path], shots: np.ndarray, shortest: float, sure: float) -> list[_Path]:
    """Paths without those that are likely mistakes: never seen with certainty, or too shortly for their shot.

    Where nothing else is there, the doubtful ones are kept.
    """
    lengths = np.bincount(shots)
    surely = [path for path in paths if path.score >= sure] or paths
    lasting = [path for path in surely if len(path.frames) >= min(shortest, lengths[shots[path.frames[0]]] / 2)]
    return lasting or surely


def _chosen(seen: Survey, settings: FaceSettings) -> int:
    """Index of the face that the settings ask for."""
    count = len(seen.boxes)
    if count == 0:
        raise FaceError(
            f"no face found in any of the {len(seen.shots)} frames; use a clip that shows a face, "
            f"or lower the detection threshold (now {settings.threshold:g})"
        )
    if settings.face > count:
        what = "only one face is" if count == 1 else f"only {count} faces are"
        raise FaceError(f"face {settings.face}: {what} seen in the clip; choose a number from 1 to {count}")
    sides = _sides(seen.boxes[settings.face - 1])
    frames = np.flatnonzero(np.isfinite(sides))
    middle = frames[np.argsort(sides[frames], kind="stable")[len(frames) // 2]]
    if sides[middle] < settings.min_size_px:
        raise FaceError(
            f"frame {middle}: the face is {sides[middle]:.0f} px large and at least "
            f"{settings.min_size_px} px are needed; use a clip of higher resolution or one that shows the face closer"
        )
    return settings.face - 1


def _sides(boxes: np.ndarray) -> np.ndarray:
    """[T,4] -> [T] sides of squares as large as the boxes, px; NaN where there is none."""
    return np.array([_side(box) if np.isfinite(box).all() else np.nan for box in boxes])


def _leaps(landmarks: np.ndarray, sides: np.ndarray, shots: np.ndarray) -> np.ndarray:
    """[T] bool: landmarks that are far from both neighbours, which agree with each other."""
    leaps = np.zeros(len(landmarks), dtype=bool)
    for frame in range(1, len(landmarks) - 1):
        if shots[frame - 1] != shots[frame + 1] or np.isnan(sides[frame - 1 : frame + 2]).any():
            continue
        middle = (landmarks[frame - 1] + landmarks[frame + 1]) / 2
        away = _spread(landmarks[frame] - middle) / sides[frame - 1]
        apart = _spread(landmarks[frame + 1] - landmarks[frame - 1]) / sides[frame - 1]
        leaps[frame] = away > 0.25 and apart < away / 2
    return leaps


def _cut_where_it_jumps(landmarks: np.ndarray, sides: np.ndarray, shots: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Begin a shot also where the face jumps or changes size at once while the picture changes more than around it.

    Jump cuts and slight zooms of the same scene change the picture too little to be found by themselves.
    """
    cuts = np.diff(shots, prepend=shots[:1])
    steps = np.full(len(shots), np.nan)
    present = _present(landmarks)
    for frame in (np.flatnonzero(present[1:] & present[:-1]) + 1).tolist():
        growth = abs(np.log(_extent(landmarks[frame]) / _extent(landmarks[frame - 1])))
        steps[frame] = max(_spread(landmarks[frame] - landmarks[frame - 1]) / sides[frame - 1], 2 * growth)
    for frame in np.flatnonzero(steps > 0.25).tolist():
        # A face in fast motion takes several long steps in a row.
        near = [steps[other] for other in range(frame - 2, frame + 3) if other != frame and 0 < other < len(steps)]
        known = [step for step in near if np.isfinite(step)]
        alone = len(known) >= 2 and steps[frame] > 4 * max(known)
        if alone and scores[frame] > 0.08 and stands_out(scores, frame, 3.0):
            cuts[frame] = 1
    return np.cumsum(cuts)


def _present(landmarks: np.ndarray) -> np.ndarray:
    """[T,P,2] -> [T] bool, landmarks are there."""
    return np.isfinite(landmarks).reshape(len(landmarks), -1).all(axis=1)


def _interpolated(landmarks: np.ndarray, shots: np.ndarray, max_gap: float) -> np.ndarray:
    """Fill gaps of at most `max_gap` frames that lie between detections in one shot, linearly in time."""
    filled = landmarks.copy()
    seen = np.flatnonzero(_present(landmarks))
    for before, after in zip(seen, seen[1:], strict=False):
        missing = after - before - 1
        if 0 < missing <= max_gap + 1e-6 and shots[before] == shots[after]:
            share = (np.arange(1, missing + 1) / (missing + 1))[:, None, None]
            filled[before + 1 : after] = (1 - share) * landmarks[before] + share * landmarks[after]
    return filled


def _messages(
    found: np.ndarray, usable: np.ndarray, shots: np.ndarray, faces: int, settings: FaceSettings, rate: float
) -> list[str]:
    messages = []
    if faces > 1:
        messages.append(f"the clip shows {faces} faces: face {settings.face}, counted by size, is edited")
    if shots[-1]:
        starts = ", ".join(str(frame) for frame in np.flatnonzero(np.diff(shots)) + 1)
        messages.append(f"the clip has {int(shots[-1]) + 1} shots: cuts at frame {starts}")
    bridged = int((usable & ~found).sum())
    if bridged:
        messages.append(f"the face was not seen in {bridged} frames of short gaps: its place is interpolated there")
    lost = np.flatnonzero(~usable)
    if len(lost):
        runs = np.split(lost, np.flatnonzero(np.diff(lost) > 1) + 1)
        spoken = ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs[:6])
        more = f" and {len(runs) - 6} more places" if len(runs) > 6 else ""
        seconds = f"{len(lost) / rate:.1f} s"
        messages.append(f"no face in {len(lost)} frames ({seconds}; {spoken}{more}): they stay as they are")
    return messages


def _assign(costs: np.ndarray) -> list[tuple[int, int]]:
    """Pairs of row and column with the smallest sum of costs; infinite costs are never paired."""
    if not costs.size:
        return []
    bounded = np.where(np.isfinite(costs), costs, 1e6)
    pairs = zip(*linear_sum_assignment(bounded), strict=True)
    return [(int(row), int(column)) for row, column in pairs if np.isfinite(costs[row, column])]


def _distance(first: np.ndarray, second: np.ndarray, farthest: float) -> float:
    """How far apart two boxes are in place and size; infinite beyond `farthest` sides or the largest ratio of sizes."""
    sides = _side(first), _side(second)
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
    return common / max(_side(first) ** 2 + _side(second) ** 2 - common, 1e-9)


def _side(box: np.ndarray) -> float:
    """Side of a square as large as the box, px."""
    return float(np.sqrt(max(box[2] - box[0], 0) * max(box[3] - box[1], 0)))


def _centre(box: np.ndarray) -> np.ndarray:
    return (box[:2] + box[2:]) / 2


def _spread(offsets: np.ndarray) -> float:
    """Root mean square length of [P,2] offsets."""
    return float(np.sqrt((offsets**2).sum(axis=-1).mean()))


def _extent(points: np.ndarray) -> float:
    """Size of a set of landmarks: root mean square distance from their centre."""
    return max(_spread(points - points.mean(axis=0)), 1e-9)


def _mean_identity(path: _Path) -> np.ndarray:
    mean = np.mean(path.identities, axis=0)
    return mean / max(float(np.linalg.norm(mean)), 1e-9)
