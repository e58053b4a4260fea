"""A drawn clip as a video file with sound, and its truth as JSON."""

import json
from collections.abc import Generator, Iterator
from typing import Any, cast

import numpy as np

from stitch.core.errors import VideoError
from stitch.core.events import Event
from stitch.families.about import Sample
from stitch.families.miniature import motion
from stitch.families.miniature.appearance import ATTRIBUTES, BACKDROP, EXPRESSION, FACTORS, IDENTITY, LIGHT, POSE
from stitch.families.miniature.clips import FrameTruth, Scene, draw_clip
from stitch.families.sample import write
from stitch.runtime import disk

GROUPS = {
    "identity": IDENTITY, "attributes": ATTRIBUTES, "pose": POSE, "expression": EXPRESSION, "light": LIGHT,
    "backdrop": BACKDROP,
}


def write_sample(sample: Sample) -> Generator[Event, None, None]:
    """Draw a talking head into a file.

    The truth is, for each frame, the shot, the label map by rows as [class, length] pairs, and for each visible person
    68 landmarks in px and the factors in standard units.

    Args:
        sample: the scene is one of `draw_clip`'s, "plain" if it is None.
    Yields:
        Progress and Previews.
    Raises:
        VideoError: a file cannot be written.
    """
    if sample.truth is not None:
        disk.check_output(sample.truth, "truth", (".json",))
    scene = cast(Scene, sample.scene or "plain")
    told: list[dict[str, Any]] = []

    def pictures() -> Iterator[np.ndarray]:
        for frame, what in draw_clip(sample.seed, sample.frames, sample.size, float(sample.rate), scene):
            if sample.truth is not None:
                told.append(_told(what))
            yield frame

    feminine = 1 / (1 + np.exp(-1.6 * motion.person(sample.seed)[FACTORS.index("gender")]))
    yield from write(sample, pictures(), feminine)
    if sample.truth is not None:
        width, height = sample.size
        whole = {
            "seed": sample.seed, "scene": scene, "width": width, "height": height, "rate": str(sample.rate),
            "frames": told,
        }
        with disk.disk_errors(str(sample.truth), VideoError):
            disk.write_whole(sample.truth, json.dumps(whole, separators=(",", ":")).encode())


def run_lengths(labels: np.ndarray) -> list[list[int]]:
    """A label map by rows as [class, length] pairs.

    Args:
        labels: [H,W] uint8.
    """
    flat = labels.ravel()
    starts = np.flatnonzero(np.diff(flat, prepend=-1, append=-1))[:-1] if len(flat) else np.array([], int)
    lengths = np.diff(starts, append=len(flat))
    return np.stack([flat[starts].astype(int), lengths], axis=1).tolist()


def _told(what: FrameTruth) -> dict[str, Any]:
    people = []
    for person in what.people:
        value = dict(zip(FACTORS, np.round(person.factors, 4).tolist(), strict=True))
        factors = {group: {name: value[name] for name in names} for group, names in GROUPS.items()}
        people.append({"landmarks": np.round(person.landmarks.astype(float), 2).tolist(), **factors})
    return {"shot": what.shot, "people": people, "labels": run_lengths(what.labels)}
