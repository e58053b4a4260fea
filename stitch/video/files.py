"""Decode and encode: any clip that ffmpeg reads in as upright, square-pixel, constant-rate 8-bit RGB; H.264 mp4 out.

A photo is read and written by `stitch.video.photo` as a clip of one frame.
"""

import errno
from collections.abc import Callable, Generator
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import cv2
import numpy as np
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from stitch.core.errors import VideoError
from stitch.core.records import ClipInfo
from stitch.core.settings import VideoSettings
from stitch.runtime.disk import flush, keep_whole, partial
from stitch.video import guarded
from stitch.video.colour import BT709, FULL, LIMITED, QUALITY
from stitch.video.decoding import frame_at
from stitch.video.photo import PhotoWriter
from stitch.video.soundtrack import Soundtrack

# At the default quality the slower presets gain 1 dB of 46 and take twice the time.
X264_PRESET = "veryfast"
_AVX_512F = 13  # OpenCV's number for it, CV_CPU_AVX_512F
OUTPUT_SUFFIXES = (".mp4", ".m4v")


def probe(path: Path, settings: VideoSettings | None = None) -> ClipInfo:
    """Find out what a clip is, as a viewer sees it. Decodes one picture, or all where the file cannot be trusted.

    A file that has not changed is looked at once in a process.

    Args:
        path: the file.
        settings: which part of it is meant, and the largest size taken.
    Returns:
        The clip's size, rate, number of frames and what `frames` will adapt.
    Raises:
        VideoError: missing, empty, not a video, sound only, damaged beyond use, too large, or an empty range; or it
            takes its decoder more time or memory than any clip should.
    """
    return guarded.probe(Path(path), settings or VideoSettings())


def frames(info: ClipInfo, report: Callable[[str], None] | None = None) -> Generator[np.ndarray, None, None]:
    """Decode the trimmed range, one frame at a time: exactly `info.frames` of them.

    A picture that cannot be decoded is replaced by the one before it, so that picture and sound stay together.

    Args:
        info: from `probe`.
        report: told in one sentence, at the end, about pictures that could not be decoded.
    Yields:
        [H,W,3] uint8 RGB, upright, with square pixels, BT.709 (a photo: its own); each array is the caller's own.
    Raises:
        VideoError: nothing can be decoded, the file is no longer the one that was probed, or its decoder ended.
    """
    yield from guarded.frames(info, report)


def key_frames(info: ClipInfo) -> np.ndarray:
    """Which of a clip's frames were encoded by themselves, from no other.

    Args:
        info: from `probe`.
    Returns:
        [frames] bool; a photo is one.
    """
    if guarded.is_photo(info.path):
        return np.ones(info.frames, bool)
    timeline = guarded.timeline_of(info.path)
    first = frame_at(info.start_s, timeline.rate)
    return np.isin(timeline.pts[timeline.picks[first : first + info.frames]], timeline.keys)


def writer(
    path: Path, info: ClipInfo, source: ClipInfo, note: str, crf: int, seal: Callable[[Path], None] | None = None
) -> "Writer | PhotoWriter":
    """What writes the result of a source: a picture for a photo, else an mp4 with the source's sound.

    Args:
        path: the file to make.
        info: size and rate to write.
        source: what was edited.
        note: what was done to it, stored in the file.
        crf: x264's quality of clips.
        seal: the last thing that is done to the finished file before it takes its name.
    Raises:
        VideoError: see `Writer` and `PhotoWriter`.
    """
    if guarded.is_photo(source.path):
        return PhotoWriter(path, info, source, note, seal)
    return Writer(path, info, source, note, crf, seal)


class Writer:
    """Writes an H.264 mp4 that browsers play, frame by frame, under its final name only once it is whole.

    Used as a context manager: leaving it normally finishes the file, leaving it by any exception (or by the closing of
    the generator it is used in) removes what was written.

    Attributes:
        path: the final name.
        notes: sentences for the user about what had to be adapted.
    """

    def __init__(
        self, path: Path, info: ClipInfo, audio_from: ClipInfo | None = None, note: str = "", crf: int = 16,
        seal: Callable[[Path], None] | None = None,
    ) -> None:
        """Prepare to write; nothing is created yet.

        Args:
            path: the file to make, named .mp4; an older one is replaced when the new one is whole.
            info: size and rate to write.
            audio_from: the clip whose sound is kept, in its trimmed range.
            note: what was done to the clip, stored in the file's comment.
            crf: x264's quality, 0-51; lower is better.
            seal: the last thing that is done to the finished file before it takes its name; what it raises, nothing is
                kept.
        Raises:
            VideoError: the name is not one of an mp4, is a folder, or is the input itself.
        """
        self.path = Path(path)
        self.notes: tuple[str, ...] = ()
        self._info, self._audio_from, self._note, self._crf = info, audio_from, note, crf
        self._seal, self._partial = seal, partial(self.path)
        self._container: OutputContainer | None = None
        self._stream: VideoStream | None = None
        self._sound: Soundtrack | None = None
        self._written = 0
        if self.path.suffix.lower() not in OUTPUT_SUFFIXES:
            raise VideoError(f"{path}: the result is an mp4; give it a name that ends in .mp4")
        if self.path.is_dir():
            raise VideoError(f"{path}: this is a folder; name a file in it, such as {self.path / 'edited.mp4'}")
        if audio_from is not None and _same_file(self.path, audio_from.path):
            raise VideoError(f"{path}: this is the input itself, which would be lost; choose another name")

    def __enter__(self) -> "Writer":
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._open()
        except (OSError, av.error.FFmpegError) as error:
            self._discard()
            raise _writing_error(self.path, error) from error
        except BaseException:
            self._discard()
            raise
        return self

    def add(self, frame: np.ndarray) -> None:
        """Append one frame.

        Args:
            frame: [H,W,3] uint8 RGB of the info's size.
        Raises:
            ValueError: another shape or dtype.
            VideoError: the disk is full or the file cannot be written.
        """
        expected = (self._info.height, self._info.width, 3)
        if frame.shape != expected or frame.dtype != np.uint8:
            raise ValueError(f"frame: got {frame.shape} {frame.dtype}, expected {expected} uint8")
        if self._container is None or self._stream is None:
            raise ValueError("Writer: got a frame outside its with block, expected it inside")
        padded = np.pad(frame, ((0, frame.shape[0] % 2), (0, frame.shape[1] % 2), (0, 0)), mode="edge")
        picture = VideoFrame.from_ndarray(np.ascontiguousarray(padded), format="rgb24").reformat(
            format="yuv420p",
            dst_colorspace=BT709,
            src_color_range=FULL,
            dst_color_range=LIMITED,
            interpolation=QUALITY,
        )
        picture.pts, picture.time_base = self._written, 1 / self._info.rate
        picture.colorspace, picture.color_range = BT709, LIMITED
        try:
            self._container.mux(self._stream.encode(picture))
            self._written += 1
            if self._sound is not None:
                self._sound.advance(self._written / self._info.rate)
        except (OSError, av.error.FFmpegError) as error:
            raise _writing_error(self.path, error) from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            self._discard()

    def _open(self) -> None:
        info = self._info
        self._container = av.open(
            str(self._partial.resolve()), "w", format="mp4", options={"movflags": "+faststart+write_colr"}
        )
        said = f"Edited with Stitch: {self._note}" if self._note else "Edited with Stitch"
        self._container.metadata["comment"] = said
        self._container.metadata["description"] = said
        options = {"crf": str(self._crf), "preset": X264_PRESET}
        # x264's macroblock tree is not the same twice with AVX-512 (seen: 17 files from 60 encodings of one clip).
        if cv2.checkHardwareSupport(_AVX_512F):
            options["x264-params"] = "asm=avx2"
        stream = self._container.add_stream("libx264", rate=info.rate, options=options)
        stream.width, stream.height = info.width + info.width % 2, info.height + info.height % 2
        stream.pix_fmt = "yuv420p"
        context = stream.codec_context
        # With one for each core, the file's bytes would go by how many cores this process may use, and a run that goes
        # on elsewhere would not end the same. At 1080p one takes no more of the processor (65 ms a frame, either way).
        context.thread_count = 1
        context.time_base = 1 / info.rate
        context.gop_size = max(1, round(2 * info.rate))
        context.color_primaries = context.color_trc = context.colorspace = BT709
        context.color_range = LIMITED
        self._stream = stream
        if (stream.width, stream.height) != (info.width, info.height):
            sizes = f"{info.width}x{info.height} px is padded to {stream.width}x{stream.height}"
            self.notes += (f"{sizes}, since H.264 stores even sizes only",)
        if self._audio_from is not None and self._audio_from.audio:
            start, end = _sound_range(self._audio_from)
            self._sound = Soundtrack(self._audio_from.path, start, end, self._container)

    def _finish(self) -> None:
        if self._container is None or self._stream is None:
            return
        if self._written == 0:
            raise VideoError(f"{self.path}: there was no frame to write; choose a range that holds some")
        try:
            self._container.mux(self._stream.encode(None))
            if self._sound is not None:
                self._sound.advance(None)
                self.notes += self._sound.notes
            self._container.close()
            flush(self._partial)
            if self._seal is not None:
                self._seal(self._partial)
            keep_whole(self._partial, self.path)
        except (OSError, av.error.FFmpegError) as error:
            raise _writing_error(self.path, error) from error

    def _discard(self) -> None:
        """Close everything and remove the unfinished file, if any; errors on the way were reported by their cause."""
        if self._sound is not None:
            self._sound.close()
        if self._container is not None:
            try:
                self._container.close()
            except (OSError, av.error.FFmpegError):
                pass
        self._container = self._stream = self._sound = None
        try:
            self._partial.unlink(missing_ok=True)
        except OSError:
            pass


def _sound_range(info: ClipInfo) -> tuple[Fraction, Fraction | None]:
    """Beginning and end of a clip's trimmed range on the file's own clock; None as the end keeps the whole sound."""
    timeline = guarded.timeline_of(info.path)
    first = frame_at(info.start_s, timeline.rate)
    after = first + info.frames
    end = None if after >= len(timeline.picks) else timeline.start + after / timeline.rate
    return timeline.start + first / timeline.rate, end


def _same_file(first: Path, second: Path) -> bool:
    try:
        return first.samefile(second)
    except OSError:
        return first.resolve() == second.resolve()


def _writing_error(path: Path, error: Exception) -> VideoError:
    number = getattr(error, "errno", None)
    if number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return VideoError(f"{path}: the disk is full; free some space or write elsewhere")
    if number in (errno.EACCES, errno.EPERM, errno.EROFS):
        return VideoError(f"{path}: the folder {path.parent} is not writable; choose another one")
    if number in (errno.ENOTDIR, errno.EEXIST):
        return VideoError(f"{path}: {path.parent} is not a folder; choose another one")
    return VideoError(f"{path}: cannot be written ({error}); choose another place")
