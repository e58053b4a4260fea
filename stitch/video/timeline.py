"""When a clip's pictures are shown: their times in the file, and the constant rate at which they are read."""

import math
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from stitch.core.errors import VideoError
from stitch.runtime import disk
from stitch.runtime.disk import state_of

# Rates that cameras and editors use; a measured rate close to one of them is that one.
STANDARD_RATES = tuple(
    [Fraction(rate) for rate in (24, 25, 30, 50, 60, 48, 15, 10, 12, 20, 5, 8, 100, 120, 90, 144, 240)]
    + [Fraction(rate * 1000, 1001) for rate in (24, 30, 60, 48, 120)]
    + [Fraction(25, 2), Fraction(100, 3), Fraction(15000, 1001)]
)
DEFAULT_RATE = Fraction(25)
HIGHEST_RATE = 240

# Demuxers that follow references to other files or hosts, or take a name such as a%d.ppm for many. A clip is one file.
_REFERRING_FORMATS = frozenset({
    "hls", "dash", "webm_dash_manifest", "concat", "imf", "rtsp", "rtp", "sdp", "sap", "lavfi", "image2", "vobsub",
})
# Here one packet is one picture, so that counting packets counts pictures.
_COUNTABLE_CONTAINERS = frozenset({"mov", "matroska", "gif"})
_COUNTABLE_CODECS = frozenset(
    {"h264", "hevc", "av1", "libdav1d", "vp9", "libvpx-vp9", "mpeg4", "prores", "mjpeg", "gif"}
)


@dataclass(frozen=True, eq=False)
class Timeline:
    """A clip's pictures and how they fill a constant rate.

    Attributes:
        pts: [n] int64, increasing times of the pictures in ticks; their running number if `counted`.
        keys: [k] int64, increasing times of the key frames in ticks.
        time_base: seconds per tick, exact.
        rate: frames per second of the constant rate, exact.
        picks: [N] int64, which picture is shown in frame k of the constant rate.
        counted: the file's times are unusable, pictures are told apart by their number.
        sound: the file has a sound track with something in it.
        notes: sentences for the user.
    """

    pts: np.ndarray
    keys: np.ndarray
    time_base: Fraction
    rate: Fraction
    picks: np.ndarray
    counted: bool
    sound: bool
    notes: tuple[str, ...]

    @property
    def start(self) -> Fraction:
        """When the first picture is shown, in seconds on the file's own clock."""
        return Fraction(0) if self.counted else int(self.pts[0]) * self.time_base


@dataclass(eq=False)
class _Packets:
    """What reading the packets of a file, without decoding, tells."""

    pts: list[int | None]
    keys: list[int]
    last_duration: int
    end_s: float
    sound: bool
    intact: bool


def open_clip(path: Path) -> tuple[InputContainer, VideoStream]:
    """Open a video file and choose its picture track.

    Args:
        path: the file.
    Returns:
        The open container, which the caller closes, and the stream.
    Raises:
        VideoError: missing, a folder, empty, not a video, sound only, or a codec nobody here knows.
    """
    if not disk.exists(path):
        raise VideoError(f"{path}: there is no such file; check the name")
    if path.is_dir():
        raise VideoError(f"{path}: this is a folder; name a video file")
    try:
        if path.stat().st_size == 0:
            raise VideoError(f"{path}: the file is empty; copy or download it again")
        container = av.open(str(path.resolve()), "r", container_options=_open_options(), metadata_errors="replace")
    except PermissionError as error:
        raise VideoError(f"{path}: the file may not be read; check its permissions") from error
    except (av.error.FFmpegError, OSError) as error:
        raise VideoError(
            f"{path}: not a video that can be read ({_reason(error)}); "
            "the file is of another kind, or was cut short or damaged: convert or copy it again"
        ) from error
    stream = container.streams.best("video")
    if not isinstance(stream, VideoStream):
        kind = "the file holds sound only" if container.streams.audio else "the file holds no pictures"
        container.close()
        raise VideoError(f"{path}: {kind}; choose a file with a picture")
    if stream.codec_context is None:
        container.close()
        raise VideoError(f"{path}: its codec is not known here; convert the clip to H.264")
    return container, stream


def read_timeline(path: Path) -> Timeline:
    """Find every picture's time and choose the constant rate, decoding only where packets cannot be trusted.

    A file that has not changed is read once in a process.

    Args:
        path: the file.
    Returns:
        The timeline of the whole file.
    Raises:
        VideoError: the file cannot be opened, or nothing in it can be decoded.
    """
    state: tuple[int, ...] = ()
    with suppress(OSError):
        state = state_of(path)
    return _read_timeline(path, state)


@lru_cache(maxsize=16)
def _read_timeline(path: Path, state: tuple[int, ...]) -> Timeline:
    container, stream = open_clip(path)
    with container:
        packets = _list_packets(container, stream)
        if len(packets.pts) == 1 and packets.sound and stream.codec_context.name in ("mjpeg", "png", "webp", "bmp"):
            raise VideoError(f"{path}: the file holds sound and a cover picture only; choose a file with a video")
        time_base = stream.time_base or Fraction(1, 1000)
        hints = [rate for rate in (stream.guessed_rate, stream.base_rate, stream.average_rate) if rate]
        notes: list[str] = []
        trusted = _is_trusted(container, stream, packets)
        if not packets.intact or _ends_early(container, packets):
            notes.append("the file is cut short or damaged: what could be decoded of it is used")
            trusted = False
    pts: list[int | None]
    if trusted:
        pts = sorted(packets.pts, key=lambda ticks: ticks or 0)
    else:
        losses: list[int] = []
        pts = [frame.pts for frame in decode(path, None, losses.append)]
        if losses and not notes:
            notes.append(f"the file is damaged: {len(losses)} of its packets could not be decoded")
    if not pts:
        raise VideoError(f"{path}: no picture of it can be decoded; the file is damaged: copy or convert it again")
    ticks = [value for value in pts if value is not None]
    counted = len(ticks) < len(pts) or any(after <= before for before, after in zip(ticks, ticks[1:], strict=False))
    if counted:
        rate = next((hint for hint in hints if 1 <= hint <= HIGHEST_RATE), DEFAULT_RATE)
        notes.append(f"the file's times are missing or out of order: its pictures are taken as {spoken(rate)} fps")
        times: np.ndarray = np.arange(len(pts), dtype=np.int64)
        picks = times
        time_base = 1 / rate
    else:
        times = np.array(ticks, dtype=np.int64)
        rate, picks, note = constant_rate(times, time_base, hints, packets.last_duration)
        notes += [note] if note else []
    keys = np.unique(np.array(packets.keys, dtype=np.int64))
    for array in (times, keys, picks):
        array.flags.writeable = False
    return Timeline(times, keys, time_base, rate, picks, counted, packets.sound, tuple(notes))


def decode(path: Path, seek_pts: int | None, lost: Callable[[int], None] | None = None) -> Iterator[VideoFrame]:
    """Decode a file's pictures in the order in which they are shown.

    Args:
        path: the file.
        seek_pts: a key frame's time in ticks to begin at (pictures before it may come first); None is the start.
        lost: told the running number of every packet that could not be decoded; decoding goes on after it.
    Yields:
        The pictures as the decoder gives them.
    Raises:
        VideoError: the file cannot be opened.
    """
    container, stream = open_clip(path)
    with container:
        stream.thread_type = "AUTO"
        if seek_pts is not None:
            with suppress(av.error.FFmpegError, OSError):  # formats that cannot seek are read from the start
                container.seek(seek_pts, stream=stream)
        packets = container.demux(stream)
        number = 0
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except (av.error.FFmpegError, OSError):
                # The file itself ends or breaks here: hand out what the decoder still holds.
                if lost is not None:
                    lost(number)
                yield from _flush(stream)
                return
            try:
                pictures = packet.decode()
            except (av.error.FFmpegError, OSError):
                pictures = []
                if lost is not None:
                    lost(number)
            number += 1
            yield from (picture for picture in pictures if isinstance(picture, VideoFrame))


def pictures(path: Path, timeline: Timeline, first: int) -> Iterator[tuple[int, VideoFrame]]:
    """Decode from picture `first` on, or from a little before it.

    Args:
        path: the file.
        timeline: of the same file.
        first: number of a picture.
    Yields:
        Each decoded picture with its number, which is `first` or less for the first one unless that is damaged.
    Raises:
        VideoError: the file cannot be opened.
    """
    if timeline.counted:
        yield from enumerate(decode(path, None))
        return
    # From a key frame on, every picture shown at or after it decodes. Should a seek land too late, begin farther back.
    earlier = timeline.keys[timeline.keys <= timeline.pts[first]] if first else timeline.keys[:0]
    for seek_pts in [*(int(key) for key in earlier[:-3:-1]), None]:
        begun = False
        for frame in decode(path, seek_pts):
            if frame.pts is None:
                continue
            number = int(np.searchsorted(timeline.pts, frame.pts, side="right")) - 1
            if not begun and seek_pts is not None and number > first:
                break
            begun = True
            if number >= 0:
                yield number, frame
        else:
            if begun:
                return


def constant_rate(
    pts: np.ndarray, time_base: Fraction, hints: list[Fraction], last_duration: int = 0
) -> tuple[Fraction, np.ndarray, str]:
    """Choose a constant rate for pictures at given times, and the picture for each of its frames.

    A clip whose pictures lie on a regular grid keeps each picture once. One whose times only waver around a grid
    (phones) does too, at its average rate. Any other gets the rate of the grid that its times lie on, or of its shorter
    gaps; each frame then shows the latest picture.

    Args:
        pts: [n] int64 increasing times in ticks.
        time_base: seconds per tick.
        hints: rates that the file states, the likeliest first.
        last_duration: how long the last picture is shown, in ticks; 0 is unknown.
    Returns:
        The rate in frames per second; [N] int64 picture of each frame; a sentence for the user, empty if regular.
    """
    pictures = len(pts)
    each_once = np.arange(pictures, dtype=np.int64)
    if pictures == 1:
        return next((hint for hint in hints if 1 <= hint <= 60), DEFAULT_RATE), each_once, ""
    offsets = pts - pts[0]
    likely = [hint for hint in hints if hint in STANDARD_RATES]
    for rate in [*likely, *STANDARD_RATES, *(hint for hint in hints if hint <= HIGHEST_RATE)]:
        step = 1 / (rate * time_base)
        # Rounding to whole ticks moves each time by half a tick at most.
        if _spread(offsets, each_once, step) * step <= 1.01:
            return rate, each_once, ""
    span = int(offsets[-1])
    grids = (rate for rate in [*likely, *sorted(STANDARD_RATES)] if _on_grid(offsets, 1 / (rate * time_base)))
    with_holes = next(grids, None)
    rate = _snapped(Fraction(pictures - 1, span) / time_base, 0.25 / pictures)
    if with_holes is None and rate <= HIGHEST_RATE and _spread(offsets, each_once, 1 / (rate * time_base)) < 0.6:
        return rate, each_once, f"variable frame rate: its pictures are written at a constant {spoken(rate)} fps"
    gaps = np.diff(offsets)
    usual = int(np.sort(gaps)[(len(gaps) - 1) // 4])  # a shorter one than most, so that few pictures are left out
    rate = with_holes or min(_snapped(1 / (usual * time_base), 0.02), Fraction(HIGHEST_RATE))
    step = 1 / (rate * time_base)
    frames = max(round((span + (last_duration or usual)) / step), math.ceil(span / step - Fraction(1, 4)) + 1)
    # Each frame shows the latest picture; a quarter of a step absorbs the wavering of the times.
    at = (np.arange(frames) + 0.25) * float(step)
    picks = np.searchsorted(offsets, at, side="right") - 1
    low, high = (float(1 / (gap * time_base)) for gap in (int(gaps.max()), int(gaps.min())))
    note = f"variable frame rate ({low:.4g} to {high:.4g} fps): read at a constant {spoken(rate)} fps"
    return rate, picks.astype(np.int64), note


def spoken(rate: Fraction) -> str:
    """A rate as people say it: 29.97 for 30000/1001."""
    return f"{float(rate):.5g}"


def _spread(offsets: np.ndarray, cells: np.ndarray, step: Fraction) -> float:
    """How far, in frames, times stray from their cells of a grid of `step` ticks: the range of their distances."""
    distances = offsets / float(step) - cells
    return float(distances.max() - distances.min())


def _on_grid(offsets: np.ndarray, step: Fraction) -> bool:
    """Whether the times lie on a grid of `step` ticks in which some pictures are missing, though not most."""
    cells = np.rint(offsets / float(step))
    return bool(
        step >= 4  # else the ticks themselves are the grid
        and np.diff(cells).min() >= 1
        and cells[-1] < 3 * len(offsets)
        and _spread(offsets, cells, step) * step <= 1.01
    )


def _snapped(rate: Fraction, tolerance: float) -> Fraction:
    """The standard rate within a relative tolerance, else the rate with a denominator that mp4 stores comfortably."""
    nearest = min(STANDARD_RATES, key=lambda standard: abs(standard - rate))
    return nearest if abs(nearest - rate) <= tolerance * rate else rate.limit_denominator(1001)


def _open_options() -> dict[str, str]:
    allowed = [name for name in sorted(av.formats_available) if not _REFERRING_FORMATS & set(name.split(","))]
    return {"format_whitelist": ",".join(allowed), "protocol_whitelist": "file"}


def _list_packets(container: InputContainer, stream: VideoStream) -> _Packets:
    found = _Packets([], [], 0, 0.0, False, True)
    latest = None
    sound = container.streams.best("audio")
    try:
        for packet in container.demux():
            if packet.pts is None and packet.dts is None and packet.size == 0:
                continue  # the empty packet with which demuxing ends
            time = packet.pts if packet.pts is not None else packet.dts
            if time is not None and packet.time_base:
                found.end_s = max(found.end_s, float((time + (packet.duration or 0)) * packet.time_base))
            found.intact &= not packet.is_corrupt
            if sound is not None and packet.stream_index == sound.index:
                found.sound = True
            if packet.stream_index != stream.index:
                continue
            if packet.is_keyframe and packet.pts is not None:
                found.keys.append(packet.pts)
            if packet.is_discard:
                continue
            found.pts.append(packet.pts)
            if packet.pts is not None and (latest is None or packet.pts > latest):
                latest, found.last_duration = packet.pts, packet.duration or 0
    except (av.error.FFmpegError, OSError):
        found.intact = False
    return found


def _is_trusted(container: InputContainer, stream: VideoStream, packets: _Packets) -> bool:
    """Whether the packets alone tell how many pictures there are."""
    ticks = set(packets.pts)
    return (
        container.format.name.split(",")[0] in _COUNTABLE_CONTAINERS
        and stream.codec_context.name in _COUNTABLE_CODECS
        and None not in ticks
        and len(ticks) == len(packets.pts)
        and stream.frames in (0, len(packets.pts))
        and bool(packets.keys)
    )


def _ends_early(container: InputContainer, packets: _Packets) -> bool:
    """Whether a file whose header states a length holds clearly less."""
    if container.duration is None or container.format.name.split(",")[0] not in ("mov", "matroska"):
        return False
    stated = (container.duration + (container.start_time or 0)) / 1_000_000
    return stated - packets.end_s > 0.1


def _flush(stream: VideoStream) -> Iterator[VideoFrame]:
    try:
        yield from stream.codec_context.decode(None)
    except (av.error.FFmpegError, OSError):
        return


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
