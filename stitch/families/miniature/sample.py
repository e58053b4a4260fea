"""A drawn clip as a video file with sound, and its truth as JSON."""

import json
import tempfile
from collections.abc import Generator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from stitch.core.errors import VideoError
from stitch.core.events import Event, Preview, Progress
from stitch.core.records import ClipInfo
from stitch.families.miniature.clips import FrameTruth, Scene, draw_clip
from stitch.families.miniature.look import ATTRIBUTES, BACKDROP, EXPRESSION, FACTORS, IDENTITY, LIGHT, POSE
from stitch.families.miniature.sound import speech
from stitch.runtime import disk
from stitch.video import files

SOUND_RATE = 44100
GROUPS = {
    "identity": IDENTITY, "attributes": ATTRIBUTES, "pose": POSE, "expression": EXPRESSION, "light": LIGHT,
    "backdrop": BACKDROP,
}
PREVIEW_EVERY = 10


def write_sample(
    path: Path, seed: int, frames: int, size: tuple[int, int], rate: Fraction, scene: Scene, truth: Path | None = None
) -> Generator[Event, None, None]:
    """Draw a talking head into a file.

    Args:
        path: the clip, .mp4.
        seed: of the person, the motion and the sound.
        frames: how many.
        size: width, height in px.
        rate: frames per second.
        scene: what happens, see `draw_clip`.
        truth: where to write what is really there, as JSON: for each frame the shot, the label map by rows as
            [class, length] pairs, and for each visible person 68 landmarks in px and the factors in standard units.
    Yields:
        Progress and Previews.
    Raises:
        VideoError: a file cannot be written.
    """
    disk.check_output(path, "clip", disk.CLIP_SUFFIXES)
    if truth is not None:
        disk.check_output(truth, "truth", (".json",))
    length_s = Fraction(frames) / rate
    with tempfile.TemporaryDirectory(prefix="stitch-") as folder:
        silent = Path(folder) / "silent.mp4"
        info = ClipInfo(silent.with_suffix(".drawn"), *size, rate, frames, 0.0, float(length_s), audio=False)
        told = []
        with files.Writer(silent, info) as writer:
            for index, (frame, what) in enumerate(draw_clip(seed, frames, size, float(rate), scene)):
                writer.add(frame)
                if truth is not None:
                    told.append(_told(what))
                if index % PREVIEW_EVERY == 0:
                    yield Preview("draw", index, frame)
                yield Progress("draw", index + 1, frames)
        with disk.disk_errors(str(path), VideoError):
            _add_sound(silent, speech(seed, float(length_s), SOUND_RATE), path)
    if truth is not None:
        whole = {
            "seed": seed, "scene": scene, "width": size[0], "height": size[1], "rate": str(rate), "frames": told
        }
        with disk.disk_errors(str(truth), VideoError):
            disk.write_whole(truth, json.dumps(whole, separators=(",", ":")).encode())


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


def _add_sound(silent: Path, samples: np.ndarray, path: Path) -> None:
    """Copy the pictures and add [n,1] float32 sound as AAC; the file appears whole or not at all."""
    with disk.whole(path) as temporary:
        with av.open(str(silent)) as source, av.open(
            str(temporary), "w", format="mp4", options={"movflags": "+faststart+write_colr"}
        ) as target:
            target.metadata["comment"] = "Drawn by Stitch: no real person"
            pictures = target.add_stream_from_template(source.streams.video[0])
            sound = target.add_stream("aac", rate=SOUND_RATE, layout="mono")
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples.T), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = SOUND_RATE, 0
            packets = [packet for packet in sound.encode(frame) + sound.encode(None) if packet.pts is not None]
            for packet in source.demux(video=0):
                if packet.dts is None:
                    continue
                packet.stream = pictures
                target.mux(packet)
            target.mux(packets)
