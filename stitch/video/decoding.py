"""Decoding itself: a clip's upright, square-pixel, constant-rate frames. Called through `stitch.video.files` alone.

What it reads is not trusted: wherever the system allows it runs in a process of its own (`stitch.video.guarded`), which
is why nothing here may import torch.
"""

import math
from collections.abc import Callable, Generator, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
from av.video.frame import VideoFrame

from stitch.core.errors import VideoError
from stitch.core.records import ClipInfo
from stitch.core.settings import VideoSettings
from stitch.video import photo
from stitch.video.display import Display
from stitch.video.kind import is_photo
from stitch.video.timeline import Timeline, open_clip, pictures, read_timeline


def probe(path: Path, settings: VideoSettings, timeline: Timeline | None = None) -> ClipInfo:
    """Find out what a clip is, as a viewer sees it. Decodes one picture, or all where the file cannot be trusted.

    Args:
        path: the file.
        settings: which part of it is meant, and the largest size taken.
        timeline: of the same file, where it is known.
    Returns:
        The clip's size, rate, number of frames and what `frames` will adapt.
    Raises:
        VideoError: missing, empty, not a video, sound only, damaged beyond use, too large, or an empty range.
    """
    if timeline is None and is_photo(path):
        return photo.probe(path, settings)
    timeline = timeline or read_timeline(path)
    first, last, notes = _trimmed(path, timeline, settings)
    display = _display(path, timeline, int(timeline.picks[first]))
    width, height = display.size
    if max(width, height) > settings.max_side_px:
        raise VideoError(
            f"{path}: {width}x{height} px; at most {settings.max_side_px} px are taken on a side: scale it down first"
        )
    return ClipInfo(
        path=path,
        width=width,
        height=height,
        rate=timeline.rate,
        frames=last - first,
        start_s=float(first / timeline.rate),
        end_s=float(last / timeline.rate),
        audio=timeline.sound,
        rotation_deg=display.rotation_deg,
        notes=timeline.notes + display.notes + notes,
    )


def frames(
    info: ClipInfo, report: Callable[[str], None] | None = None, timeline: Timeline | None = None
) -> Generator[np.ndarray, None, None]:
    """Decode the trimmed range, one frame at a time: exactly `info.frames` of them.

    A picture that cannot be decoded is replaced by the one before it, so that picture and sound stay together.

    Args:
        info: from `probe`.
        report: told in one sentence, at the end, about pictures that could not be decoded.
        timeline: of the same file, where it is known.
    Yields:
        [H,W,3] uint8 RGB, upright, with square pixels, BT.709 (a photo: its own); each array is the caller's own.
    Raises:
        VideoError: nothing can be decoded, or the file is no longer the one that was probed.
    """
    if timeline is None and is_photo(info.path):
        yield from photo.frames(info)
        return
    timeline = timeline or read_timeline(info.path)
    first = frame_at(info.start_s, timeline.rate)
    wanted = timeline.picks[first : first + info.frames]
    changed = VideoError(f"{info.path}: the file has changed since it was first read; start again")
    if info.frames < 1 or len(wanted) < info.frames or timeline.rate != info.rate:
        raise changed
    display = _display(info.path, timeline, int(wanted[0]))
    if display.size != (info.width, info.height):
        raise changed
    damaged: list[int] = []
    for position, (intact, pixels) in enumerate(_shown(info.path, timeline, display, wanted)):
        if not intact:
            damaged.append(position)
        yield pixels
    if damaged and report is not None:
        report(
            f"the file is damaged: {len(damaged)} of {len(wanted)} frames (the first: {damaged[0]}) were not decoded "
            "properly; they repeat the picture before or show blocks"
        )


def _display(path: Path, timeline: Timeline, number: int) -> Display:
    """How the clip is to be shown, read from picture `number` or the next one that can be decoded."""
    container, stream = open_clip(path)
    with container:
        for _, frame in pictures(path, timeline, number):
            return Display(frame, stream)
    raise VideoError(f"{path}: no picture in the chosen range can be decoded; choose another range")


def _shown(path: Path, timeline: Timeline, display: Display, wanted: np.ndarray) -> Iterator[tuple[bool, np.ndarray]]:
    """For each wanted picture the latest decoded one that is not after it (or the first), and whether it is the one."""
    shown = 0
    latest: tuple[int, VideoFrame] | None = None
    pixels: np.ndarray | None = None
    for number, frame in pictures(path, timeline, int(wanted[0])):
        while latest is not None and shown < len(wanted) and wanted[shown] < number:
            pixels = display.upright(latest[1]) if pixels is None else pixels
            yield latest[0] == wanted[shown] and not latest[1].is_corrupt, pixels.copy()
            shown += 1
        if shown == len(wanted):
            return
        latest, pixels = (number, frame), None
    if latest is None:
        raise VideoError(f"{path}: no picture in the chosen range can be decoded; choose another range")
    pixels = display.upright(latest[1])
    for number in wanted[shown:]:
        yield latest[0] == number and not latest[1].is_corrupt, pixels.copy()


def frame_at(seconds: float, rate: Fraction) -> int:
    """Number of the first frame at or after a time; the allowance takes back the rounding of frame times to floats."""
    return math.ceil(Fraction(seconds) * rate - Fraction(1, 1000))


def _trimmed(path: Path, timeline: Timeline, settings: VideoSettings) -> tuple[int, int, tuple[str, ...]]:
    """First frame of the trimmed range, the one after its last, and notes."""
    start, end = settings.start_s, settings.end_s
    total = len(timeline.picks)
    length = float(total / timeline.rate)
    for name, value in (("start", start), ("end", end)):
        if value is not None and not (math.isfinite(value) and value >= 0):
            raise VideoError(f"{name} {value:g} s: times are seconds from the clip's beginning, 0 or more")
    if end is not None and end <= start:
        raise VideoError(f"end {end:g} s: it is not after the start, {start:g} s; choose a later end")
    first = frame_at(start, timeline.rate)
    last = total if end is None else min(total, frame_at(end, timeline.rate))
    if first >= total:
        raise VideoError(f"start {start:g} s: {path} is only {length:.3g} s long; choose an earlier start")
    if last <= first:
        raise VideoError(f"start {start:g} s, end {end:g} s: no frame of {path} lies between; choose a longer range")
    late = end is not None and end > length + 0.5 / timeline.rate
    return first, last, (f"the end asked for, {end:g} s, lies after the clip's own, {length:.3g} s",) if late else ()
