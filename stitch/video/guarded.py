"""Clips and photos are looked at and decoded in confined processes: a hostile one ends there, and here in a sentence.

On Linux all decoding of pictures is done there, and frames come through shared memory. Elsewhere the first look is
(whether it is a photo, every packet, the first picture), and what has passed it is decoded in this process.
"""

import mmap
import os
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, replace
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from stitch.core.errors import VideoError
from stitch.core.records import ClipInfo
from stitch.core.settings import VideoSettings
from stitch.runtime import confined
from stitch.runtime.confined import Channel, Ended
from stitch.runtime.disk import disk_errors, is_file, state_of
from stitch.video import decoding, kind
from stitch.video.timeline import Timeline, read_timeline

if sys.platform == "linux":
    import fcntl

LOOK_S, LOOK_S_A_MB, FRAME_S = 60.0, 2.0, 60.0
"""Processor time: for a first look, and more of it by the file's size; and for each frame."""
_WORK = "stitch.video.guarded:work"
_SLOTS = 2
_Asked = tuple[Path, Path, tuple[int, ...]]


def is_photo(path: Path) -> bool:
    """Whether a file is one picture, as `kind.is_photo` sees it.

    Raises:
        VideoError: its header takes more than any photo's should.
    """
    if not confined.FORKS or not is_file(path):
        return kind.is_photo(path)
    return _is_photo(*_asked(path))


def timeline_of(path: Path) -> Timeline:
    """The times of a clip's pictures, as `timeline.read_timeline` finds them.

    Raises:
        VideoError: the file cannot be opened, or nothing in it can be decoded.
    """
    return _timeline(*_asked(path)) if confined.FORKS else read_timeline(path)


def probe(path: Path, settings: VideoSettings) -> ClipInfo:
    """What a clip or a photo is; see `stitch.video.files.probe`."""
    if not confined.FORKS:
        if is_file(path):
            _first_look(*_asked(path))
        return decoding.probe(path, settings)
    return _info(*_asked(path), settings)


def frames(info: ClipInfo, report: Callable[[str], None] | None) -> Generator[np.ndarray, None, None]:
    """The frames of a clip or a photo; see `stitch.video.files.frames`."""
    if not confined.FORKS:
        yield from decoding.frames(info, report)
        return
    timeline = None if is_photo(info.path) else timeline_of(info.path)
    plain, blob = _packed(timeline)
    request = {"do": "frames", "cwd": os.getcwd(), "info": _plain(info), "timeline": plain}
    with _shared(info) as (descriptor, slots):
        channel = _begin(info.path, request, blob, descriptor)
    with closing(channel):
        for number in range(info.frames):
            _heard(info.path, channel)
            yield slots[number % _SLOTS].copy()
            with suppress(Ended):  # it may have said its last frame
                channel.send(None)
        for note in _heard(info.path, channel)[0].get("notes", ()):
            if report is not None:
                report(str(note))


@contextmanager
def _shared(info: ClipInfo) -> Iterator[tuple[int, np.ndarray]]:
    """Memory for some frames that a worker writes and this process reads: its descriptor, closed at the end, and it."""
    size = _SLOTS * info.height * info.width * 3
    descriptor = os.memfd_create("frames", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        with disk_errors(f"{info.path}: memory for its frames", VideoError):  # a user's limit of files holds for it too
            os.ftruncate(descriptor, size)
        # Nobody can take memory away that is read here.
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
        memory = mmap.mmap(descriptor, size, prot=mmap.PROT_READ)
        yield descriptor, np.frombuffer(memory, np.uint8).reshape(_SLOTS, info.height, info.width, 3)
    finally:
        os.close(descriptor)


def work(request: Any, blob: bytes, channel: Channel, memory: int) -> None:
    """What a confined process does: looks at a file, or decodes frames of it (a `confined.Work`)."""
    os.chdir(request["cwd"])
    try:
        _JOBS[request["do"]](request, blob, channel, memory)
    except VideoError as error:
        channel.send({"error": str(error)})
    except (MemoryError, Ended):
        raise
    except Exception as error:
        channel.send({"died": f"broke down ({type(error).__name__})"})


def _say_photo(request: Any, blob: bytes, channel: Channel, memory: int) -> None:
    _give_time(path := Path(request["path"]))
    channel.send({"photo": kind.is_photo(path)})


def _say_timeline(request: Any, blob: bytes, channel: Channel, memory: int) -> None:
    _give_time(path := Path(request["path"]))
    channel.send(*_packed(read_timeline(path)))


def _say_info(request: Any, blob: bytes, channel: Channel, memory: int) -> None:
    _give_time(path := Path(request["path"]))
    timeline = _unpacked(request["timeline"], blob) if request["timeline"] else None
    info = decoding.probe(path, VideoSettings(**request["settings"]), timeline)
    channel.send(_plain(info))


def _say_frames(request: Any, blob: bytes, channel: Channel, memory: int) -> None:
    info, notes = _info_of(request["info"]), list[str]()
    timeline = _unpacked(request["timeline"], blob) if request["timeline"] else None
    slots = np.frombuffer(mmap.mmap(memory, 0), np.uint8).reshape(_SLOTS, info.height, info.width, 3)
    confined.give_time(FRAME_S)
    for number, pixels in enumerate(decoding.frames(info, notes.append, timeline)):
        if number >= _SLOTS:
            channel.receive()  # a slot is free again
        slots[number % _SLOTS] = pixels
        channel.send({})
        confined.give_time(FRAME_S)
    channel.send({"notes": notes})


def _say_all(request: Any, blob: bytes, channel: Channel, memory: int) -> None:
    _give_time(path := Path(request["path"]))
    decoding.probe(path, VideoSettings(max_side_px=request["most_px"]))
    channel.send({})


_JOBS = {
    "is_photo": _say_photo, "timeline": _say_timeline, "probe": _say_info, "frames": _say_frames, "look": _say_all,
}


@lru_cache(maxsize=64)
def _is_photo(path: Path, cwd: Path, state: tuple[int, ...]) -> bool:
    return bool(_answer(path, {"do": "is_photo", "cwd": str(cwd), "path": str(path)})[0]["photo"])


@lru_cache(maxsize=16)
def _timeline(path: Path, cwd: Path, state: tuple[int, ...]) -> Timeline:
    return _unpacked(*_answer(path, {"do": "timeline", "cwd": str(cwd), "path": str(path)}))


@lru_cache(maxsize=64)
def _info(path: Path, cwd: Path, state: tuple[int, ...], settings: VideoSettings) -> ClipInfo:
    plain, blob = _packed(None if is_photo(path) else timeline_of(path))
    request = {"do": "probe", "cwd": str(cwd), "path": str(path), "settings": asdict(settings), "timeline": plain}
    return replace(_info_of(_answer(path, request, blob)[0]), path=path)


@lru_cache(maxsize=64)
def _first_look(path: Path, cwd: Path, state: tuple[int, ...]) -> None:
    """Let a process that may die read everything that `probe` will read in this one."""
    _answer(path, {"do": "look", "cwd": str(cwd), "path": str(path), "most_px": 1 << 20})


def _asked(path: Path) -> _Asked:
    """A file, and what tells it from another in its place."""
    state: tuple[int, ...] = ()
    with suppress(OSError, ValueError):
        state = state_of(path)
    return path, Path.cwd(), state


def _answer(path: Path, request: Any, blob: bytes = b"") -> tuple[Any, bytes]:
    with closing(_begin(path, request, blob)) as channel:
        return _heard(path, channel)


def _begin(path: Path, request: Any, blob: bytes, memory: int = -1) -> Channel:
    try:
        return confined.begin(_WORK, request, blob, memory)
    except Ended as error:
        raise VideoError(f"{path}: the process that would read it {error or 'ended'}; try again") from error


def _heard(path: Path, channel: Channel) -> tuple[Any, bytes]:
    """What a worker says next.

    Raises:
        VideoError: that it cannot go on, or nothing, because it has ended.
    """
    try:
        said, blob = channel.receive()
    except Ended as error:
        said, blob = {"died": str(error) or "broke down"}, b""
    said = said if isinstance(said, dict) else {"died": "said what cannot be understood"}
    if "error" in said:
        raise VideoError(str(said["error"]))
    if "died" in said:
        raise VideoError(f"{path}: the process that decodes it {said['died']}; the file is damaged or made to do harm: "
                         "convert it to H.264 (a photo: to PNG) with another program, or copy it again")
    return said, blob


def _give_time(path: Path) -> None:
    size = path.stat().st_size if is_file(path) else 0
    confined.give_time(LOOK_S + LOOK_S_A_MB * size / 1e6)


def _plain(info: ClipInfo) -> dict[str, Any]:
    return asdict(info) | {"path": str(info.path), "rate": str(info.rate)}


def _info_of(plain: dict[str, Any]) -> ClipInfo:
    return ClipInfo(**plain | {
        "path": Path(plain["path"]), "rate": Fraction(plain["rate"]), "notes": tuple(plain["notes"]),
    })


def _packed(timeline: Timeline | None) -> tuple[Any, bytes]:
    """A timeline as plain values, and its three arrays as bytes."""
    if timeline is None:
        return None, b""
    arrays = (timeline.pts, timeline.keys, timeline.picks)
    return {
        "lengths": [len(array) for array in arrays], "time_base": str(timeline.time_base), "rate": str(timeline.rate),
        "counted": timeline.counted, "sound": timeline.sound, "notes": list(timeline.notes),
    }, b"".join(array.astype("<i8").tobytes() for array in arrays)


def _unpacked(plain: Any, blob: bytes) -> Timeline:
    numbers, (pictures, keys, _) = np.frombuffer(blob, "<i8"), plain["lengths"]
    return Timeline(
        numbers[:pictures], numbers[pictures : pictures + keys], Fraction(plain["time_base"]), Fraction(plain["rate"]),
        numbers[pictures + keys :], plain["counted"], plain["sound"], tuple(plain["notes"]),
    )
