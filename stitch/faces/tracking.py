"""Cut the track of one person out of a survey: where the face is in every frame of a part, and where it is lost."""

from collections.abc import Generator

import numpy as np

from stitch.core import geometry
from stitch.core.errors import FaceError
from stitch.core.events import Notice
from stitch.core.records import ClipInfo, Surveyed, Track
from stitch.core.settings import FaceSettings
from stitch.faces.linking import side
from stitch.video.shots import stands_out

SMALL_PX = 60
"""Side of a face's box below which little of lids, lips and teeth is left to edit."""
TURNED = 0.6
"""Of `geometry.nose_offset`: beyond it the nose covers the far eye, and half of the face is hidden."""


def track_of(surveyed: Surveyed, part: ClipInfo, settings: FaceSettings) -> Generator[Notice, None, Track]:
    """One person in a part of a clip (before section 3.1; the paper takes clips in which every frame shows one face).

    Landmarks that leap away for a single frame are dropped. Short gaps within a shot are interpolated linearly in time;
    longer ones, and gaps at the ends of a shot, stay unusable. All of it is done over the whole survey, so that a
    frame's face is the same whatever part is chosen.

    Args:
        surveyed: of the whole clip, or of a stretch that holds the part.
        part: of the same clip, from `video.files.probe`.
        settings: which person, and what counts as a face.
    Yields:
        Notices about lost frames, other faces, cuts, small faces and profiles.
    Returns:
        The face's track over the frames of the part.
    Raises:
        FaceError: no face in the clip, none of the chosen number, or it is not in the part or too small there.
        ValueError: the part is not within the survey, or the number is below 1.
    """
    first = round((part.start_s - surveyed.info.start_s) * float(surveyed.info.rate))
    here = slice(first, first + part.frames)
    if first < 0 or here.stop > len(surveyed.shots):
        raise ValueError(f"part: got frames {here.start} to {here.stop}, expected some of 0 to {len(surveyed.shots)}")
    rate = float(surveyed.info.rate)
    chosen = _chosen(surveyed, part, here, settings)
    landmarks = surveyed.landmarks[chosen].astype(np.float64)
    sides = _sides(surveyed.boxes[chosen])
    landmarks[_leaps(landmarks, sides, surveyed.shots)] = np.nan
    found = _present(landmarks)
    shots = _cut_where_it_jumps(landmarks, sides, surveyed.shots, surveyed.changes)
    landmarks = _interpolated(landmarks, shots, settings.max_gap_s * rate)[here]
    usable, found, shots = _present(landmarks), found[here], shots[here] - shots[here][0]
    people = len(surveyed.boxes)
    for message in _messages(found, usable, shots, people, settings, rate):
        yield Notice(message)
    if (size := float(np.nanmedian(sides[here]))) < SMALL_PX:
        yield Notice(f"the face is {size:.0f} px large, which is little: lids, lips and teeth are a few pixels, and an "
                     "edit of them is coarse; take a larger version of the clip if there is one")
    if aside := int((np.abs(geometry.nose_offset(landmarks[usable])) > TURNED).sum()):
        yield Notice(f"the head is turned far aside in {aside} of {int(usable.sum())} frames: generators hardly know "
                     "profiles, so look at these first; another part of the clip may do better")
    return Track(landmarks, found, usable, shots, people)


def _chosen(surveyed: Surveyed, part: ClipInfo, here: slice, settings: FaceSettings) -> int:
    """Index of the person that the settings ask for."""
    if settings.face < 1:
        raise ValueError(f"face: got {settings.face}, expected 1 or more")
    count = len(surveyed.boxes)
    if count == 0:
        raise FaceError(
            f"no face found in any of the {len(surveyed.shots)} frames; use a clip that shows a face from the front, "
            f"brighten it if it is dark, or lower the detection threshold (now {settings.threshold:g})"
        )
    if settings.face > count:
        what = "only one face is" if count == 1 else f"only {count} faces are"
        raise FaceError(f"face {settings.face}: {what} seen in the clip; choose a number from 1 to {count}")
    sides = _sides(surveyed.boxes[settings.face - 1])
    frames = np.flatnonzero(np.isfinite(sides[here]))
    if not len(frames):
        rate = float(surveyed.info.rate)
        seen = np.flatnonzero(np.isfinite(sides))
        first_s, last_s = (surveyed.info.start_s + float(frame) / rate for frame in (seen[0], seen[-1]))
        others = [str(n + 1) for n, boxes in enumerate(surveyed.boxes[:, here]) if np.isfinite(boxes).any()]
        there = f", or choose face {' or '.join(others)}, seen there" if others else ""
        raise FaceError(
            f"face {settings.face} is not seen between {part.start_s:.2f} s and {part.end_s:.2f} s; choose a part "
            f"within {first_s:.2f} s to {last_s:.2f} s, where it is{there}"
        )
    middle = frames[np.argsort(sides[here][frames], kind="stable")[len(frames) // 2]]
    size = sides[here][middle]
    if size < settings.min_size_px:
        raise FaceError(
            f"frame {middle}: the face is {size:.0f} px large and at least "
            f"{settings.min_size_px} px are needed; use a clip of higher resolution or one that shows the face closer"
        )
    return settings.face - 1


def _sides(boxes: np.ndarray) -> np.ndarray:
    """[T,4] -> [T] sides of squares as large as the boxes, px; NaN where there is none."""
    return np.array([side(box) if np.isfinite(box).all() else np.nan for box in boxes])


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
        messages.append(f"the clip shows {faces} faces: face {settings.face} is edited, counted by how surely and long "
                        "each is seen")
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


def _spread(offsets: np.ndarray) -> float:
    """Root mean square length of [P,2] offsets."""
    return float(np.sqrt((offsets**2).sum(axis=-1).mean()))


def _extent(points: np.ndarray) -> float:
    """Size of a set of landmarks: root mean square distance from their centre."""
    return max(_spread(points - points.mean(axis=0)), 1e-9)
