"""Landmarks that follow the picture: what the latent transformer's authors smooth a video's crops by."""

from collections.abc import Generator, Iterable
from dataclasses import replace

import cv2
import numpy as np

from stitch.core.events import Progress
from stitch.core.records import Track

_LARGEST_PX = 640
_CARRIED = 0.5
"""Share of what comes along by flow; the paper gives no number."""


def followed(frames: Iterable[np.ndarray], track: Track) -> Generator[Progress, None, Track]:
    """Each frame's landmarks averaged with those of the frame before, carried on by optical flow (Yao et al. 2021,
    section 4.4).

    Args:
        frames: the clip's T frames, [H,W,3] uint8.
        track: the face in them.
    Yields:
        Progress in frames.
    Returns:
        The same track, steadier; nothing is carried over a cut or from a frame without a face.
    """
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    landmarks = track.landmarks.copy()
    before: np.ndarray | None = None
    for index, frame in enumerate(frames):
        scale = min(1.0, _LARGEST_PX / max(frame.shape[:2]))
        size = tuple(max(16, round(side * scale)) for side in frame.shape[1::-1])
        grey = cv2.cvtColor(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
        known = index > 0 and track.usable[index - 1 : index + 1].all() and track.shots[index] == track.shots[index - 1]
        if before is not None and known:
            flow = dis.calc(before, grey, np.zeros((*grey.shape, 2), np.float32))
            points = landmarks[index - 1]
            places = np.clip(points * scale, 0, np.array(size) - 1).astype(np.float32)
            carried = points + cv2.remap(flow, places[:, None, 0], places[:, None, 1], cv2.INTER_LINEAR)[:, 0] / scale
            landmarks[index] = (1 - _CARRIED) * landmarks[index] + _CARRIED * carried
        before = grey
        yield Progress("follow", index + 1, len(landmarks))
    return replace(track, landmarks=landmarks)
