"""Stage 1: cut the same smooth square around the face out of every frame (section 3.1)."""

from collections.abc import Generator, Iterable
from pathlib import Path

import numpy as np

from stitch.core import geometry
from stitch.core.errors import FaceError, VideoError
from stitch.core.events import Notice, Preview, Progress
from stitch.core.records import Crops, Track
from stitch.core.settings import AlignSettings
from stitch.runtime.disk import disk_errors, whole

STAGE = "align"
FILE = "crops.npy"

LOOKED_AT = 9
"""Crops by which light and colour are judged."""
DARK, GREY = 80, 3
"""Levels of 255: a face whose brightest twentieth stays below the first is dark, whatever its skin; one whose channels
differ by less than the second has no colours."""


def smooth_quads(track: Track, rate: float, settings: AlignSettings) -> np.ndarray:
    """The crop's corners in every frame, low-passed over time (section 3.1).

    Centre and axes are smoothed apart, as in the authors' code; cuts and gaps without a face are not smoothed over, and
    a frame that is shown again is no moment of its own (ours, see `geometry.repeats`).

    Args:
        track: the face's landmarks.
        rate: frames per second, which turns sigmas in seconds into frames.
        settings: size of the square and sigmas.
    Returns:
        [T,4,2] float64 frame px; NaN where the track is.
    """
    stretches = geometry.runs(track.usable, track.shots)
    centre, *axes = geometry.quads_from_landmarks(track.landmarks, settings.scale)
    repeated = geometry.repeats(track.landmarks, stretches)
    centre = geometry.smooth(centre, settings.centre_sigma_s * rate, stretches, repeated)
    x, y = (geometry.smooth(axis, settings.axes_sigma_s * rate, stretches, repeated) for axis in axes)
    return geometry.corners(centre, x, y)


def align(
    frames: Iterable[np.ndarray], track: Track, rate: float, size: int, settings: AlignSettings, out: Path
) -> Generator[Progress | Preview | Notice, None, Crops]:
    """Cut c_i out of every usable frame, one frame at a time (section 3.1).

    Args:
        frames: the clip's T frames, [H,W,3] uint8, read once.
        track: the face in them.
        rate: frames per second.
        size: S, the generator's resolution.
        settings: of this stage.
        out: folder for the pictures' file, crops.npy, which appears whole or not at all.
    Yields:
        Progress for every frame, a Preview (the crop) about once a second of the clip, Notices about its light.
    Returns:
        Crops whose images are memory-mapped from that file.
    Raises:
        FaceError: no frame is usable.
        VideoError: there are fewer frames than the track has.
        RunError: `out` cannot be written.
    """
    chosen = np.flatnonzero(track.usable)
    if len(chosen) == 0:
        raise FaceError("no frame with a usable face; choose another part of the clip or lower the detection threshold")
    quads = smooth_quads(track, rate, settings)
    total, preview_every = len(track.usable), max(1, round(rate))
    path = out / FILE
    header = {"descr": "|u1", "fortran_order": False, "shape": (len(chosen), size, size, 3)}
    source = iter(frames)
    # Not a memory map: a full disk is then an error and not a dead process.
    with disk_errors(f"crops in {out}"), whole(path) as temporary, open(temporary, "wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for index in range(total):
            frame = next(source, None)
            if frame is None:
                raise VideoError(f"frame {index}: missing, there were {total}; leave the clip as it is")
            if track.usable[index]:
                crop = geometry.sample_crop(frame, quads[index], size)
                file.write(crop.tobytes())
                if index % preview_every == 0:
                    yield Preview(STAGE, index, crop)
            yield Progress(STAGE, index + 1, total)
    crops = Crops(images=np.load(path, mmap_mode="r"), quads=quads[chosen], frames=chosen.astype(np.int64))
    for message in remarks(crops.images):
        yield Notice(message)
    return crops


def remarks(images: np.ndarray) -> list[str]:
    """What whoever edits these faces should expect of their light and colours, in sentences.

    Args:
        images: [N,S,S,3] uint8, aligned.
    """
    rows = np.unique(np.linspace(0, len(images) - 1, LOOKED_AT).round().astype(int))
    quarter = images.shape[1] // 4
    faces = np.asarray(images[rows, quarter:-quarter, quarter:-quarter], np.float32)
    found = []
    if (bright := float(np.quantile(faces.mean(-1), 0.95))) < DARK:
        found.append(f"the face is very dark (its brightest parts have level {bright:.0f} of 255): what cannot be seen "
                     "is made up; brighten the clip first if you can")
    if float((faces.max(-1) - faces.min(-1)).mean()) < GREY:
        found.append("the face is black and white: what an edit adds may have colours, above all lipstick and hair; "
                     "look at the result")
    return found
