"""Stage 1: cut the same smooth square around the face out of every frame (section 3.1)."""

from collections.abc import Generator, Iterable
from pathlib import Path
from typing import IO

import cv2
import numpy as np

from stitch.core import geometry
from stitch.core.errors import FaceError, VideoError
from stitch.core.events import Notice, Preview, Progress
from stitch.core.records import Crops, Track
from stitch.core.settings import AlignSettings
from stitch.runtime.disk import disk_errors, whole

STAGE = "align"
FILE = "crops.npy"

BLOCKS, CODED_LEVELS = 16, 6.0
"""By how many levels of 255 the mean of a block, one of 16 by 16 to a crop, changes at most in a frame that is shown
again. Coding changed them by up to 8 in blocks a third as large; the next frames of a talking face by 24 and more."""

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
    repeated = _repeated(track)
    centre = geometry.smooth(centre, settings.centre_sigma_s * rate, stretches, repeated)
    x, y = (geometry.smooth(axis, settings.axes_sigma_s * rate, stretches, repeated) for axis in axes)
    return geometry.corners(centre, x, y)


def align(
    frames: Iterable[np.ndarray], track: Track, rate: float, size: int, settings: AlignSettings, out: Path
) -> Generator[Progress | Preview | Notice, None, Crops]:
    """Cut c_i out of every usable frame, one frame at a time (section 3.1).

    A frame that shows the one before once more is no new crop: it is edited with that one (ours).

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
    source, repeated = iter(frames), _repeated(track)
    kept: list[int] = []
    repeats: list[tuple[int, int]] = []
    crop = np.empty(0, np.uint8)
    # Not a memory map: a full disk is then an error and not a dead process.
    with disk_errors(f"crops in {out}"), whole(path) as temporary, open(temporary, "wb") as file:
        _write_header(file, len(chosen), size)
        for index in range(total):
            frame = next(source, None)
            if frame is None:
                raise VideoError(f"frame {index}: missing, there were {total}; leave the clip as it is")
            if track.usable[index]:
                before, crop = crop, geometry.sample_crop(frame, quads[index], size)
                if repeated[index] and alike(before, crop):
                    repeats.append((index, len(kept) - 1))
                    crop = before
                else:
                    file.write(crop.tobytes())
                    kept.append(index)
                if index % preview_every == 0:
                    yield Preview(STAGE, index, crop)
            yield Progress(STAGE, index + 1, total)
        file.seek(0)
        _write_header(file, len(kept), size)
    images, again = np.load(path, mmap_mode="r"), np.array(repeats, np.int64).reshape(-1, 2)
    crops = Crops(images, quads[kept], np.array(kept, np.int64), again)
    if repeats:
        yield Notice(f"{len(repeats)} of {total} frames show the one before once more, as after a change of frame "
                     "rate: they are edited with it")
    for message in remarks(crops.images):
        yield Notice(message)
    return crops


def alike(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether two crops of the same place show the same moment, coded twice.

    Args:
        first, second: [S,S,3] uint8.
    """
    gap = first.astype(np.float32) - second
    blocks = cv2.resize(gap, (BLOCKS, BLOCKS), interpolation=cv2.INTER_AREA)
    return float(np.abs(blocks).max()) < CODED_LEVELS


def _repeated(track: Track) -> np.ndarray:
    return geometry.repeats(track.landmarks, geometry.runs(track.usable, track.shots))


def _write_header(file: IO[bytes], count: int, size: int) -> None:
    """NumPy's; its length is the same for any count."""
    header = {"descr": "|u1", "fortran_order": False, "shape": (count, size, size, 3)}
    np.lib.format.write_array_header_1_0(file, header)


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
