"""Small video files of every kind for the tests, made with PyAV. Frames carry their number, readable after coding."""

import os
import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.audio.frame import AudioFrame
from av.container import OutputContainer
from av.video.frame import VideoFrame

BITS = 8
CORNERS = {"red": (200, 30, 30), "green": (30, 180, 30), "blue": (40, 40, 200), "white": (230, 230, 230)}
SOUND_RATE = 48000
BEEP_EVERY_S, BEEP_S = 0.5, 0.1

os.environ.setdefault("SVT_LOG", "0")


def numbered(number: int, width: int = 128, height: int = 96) -> np.ndarray:
    """A frame whose middle shows `number` in bars (white is 1) and whose corners are red, green, blue and white."""
    frame = np.full((height, width, 3), 110, np.uint8)
    bars = np.linspace(0, width, BITS + 1).astype(int)
    for bit in range(BITS):
        frame[height // 3 : 2 * height // 3, bars[bit] : bars[bit + 1]] = 235 if number >> bit & 1 else 20
    rows, columns = height // 4, width // 4
    frame[:rows, :columns], frame[:rows, -columns:] = CORNERS["red"], CORNERS["green"]
    frame[-rows:, :columns], frame[-rows:, -columns:] = CORNERS["blue"], CORNERS["white"]
    return frame


def number_of(frame: np.ndarray) -> int:
    """The number that `numbered` put into a frame, after any coding and scaling."""
    height, width = frame.shape[:2]
    centres = ((np.arange(BITS) + 0.5) * width / BITS).astype(int)
    bars = frame[height // 2 - 2 : height // 2 + 2, centres].mean(axis=(0, 2))
    return int(sum(1 << bit for bit in range(BITS) if bars[bit] > 127))


def corners_of(frame: np.ndarray) -> tuple[str, ...]:
    """Names of the corner colours of a frame: upper left, upper right, lower left, lower right."""
    height, width = frame.shape[:2]
    y, x = height // 10, width // 10
    samples = (frame[y, x], frame[y, -x], frame[-y, x], frame[-y, -x])
    return tuple(
        min(CORNERS, key=lambda name: np.abs(np.subtract(sample, CORNERS[name], dtype=float)).sum())
        for sample in samples
    )


def needs_encoder(name: str) -> str:
    """The encoder's name; skips the test where this ffmpeg has none."""
    try:
        av.codec.Codec(name, "w")
    except av.codec.codec.UnknownCodecError:
        pytest.skip(f"this ffmpeg has no encoder {name}")
    return name


@contextmanager
def ordinary_priority() -> Iterator[None]:
    """Whatever happens inside, the thread is scheduled afterwards as before.

    SVT-AV1 makes the thread that opens it a real-time one where it runs as root, and all that it starts later too: on
    a busy machine they keep everybody else off the processors, and wait for each other for ever.
    """
    if not hasattr(os, "sched_getscheduler"):  # Linux alone
        yield
        return
    policy, priority = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, priority)


def make_clip(
    path: Path,
    frames: Iterable[np.ndarray] | int = 12,
    rate: Fraction | int = 25,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    options: dict[str, str] | None = None,
    times: Sequence[int] | None = None,
    time_base: Fraction | None = None,
    aspect: Fraction | None = None,
    tags: dict[str, int] | None = None,
    size: tuple[int, int] = (128, 96),
    sound: str | None = None,
    sound_start_s: float = 0.0,
    sound_s: float | None = None,
    container_options: dict[str, str] | None = None,
) -> Path:
    """Write a clip; its format follows from the name.

    Args:
        path: file to make.
        frames: pictures, or how many numbered ones.
        rate: frames per second.
        codec, pix_fmt, options: of the encoder.
        times: presentation times in ticks of `time_base`, for variable rates.
        time_base: seconds per tick; 1 / rate if not given.
        aspect: sample aspect ratio.
        tags: colour tags by name of the codec context's attribute (H.273 numbers).
        size: width and height of numbered frames.
        sound: codec of the sound track, if any: beeps of a tenth of a second, twice a second.
        sound_start_s: when the sound begins, in seconds after the picture.
        sound_s: how long it lasts; as long as the picture if not given.
        container_options: of the muxer.
    Returns:
        path.
    """
    pictures = [numbered(i, *size) for i in range(frames)] if isinstance(frames, int) else list(frames)
    height, width = pictures[0].shape[:2]
    time_base = time_base or 1 / Fraction(rate)
    times = times if times is not None else range(len(pictures))
    settings: dict[str, str] = {"crf": "10", "preset": "ultrafast"} if codec == "libx264" else {}
    with ordinary_priority(), av.open(str(path), "w", options=container_options or {}) as container:
        settings |= options or {}
        stream: Any = container.add_stream(needs_encoder(codec), rate=Fraction(rate), options=settings)
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        stream.codec_context.time_base = time_base
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        for name, value in (tags or {}).items():
            setattr(stream.codec_context, name, value)
        listener = _Sound(container, sound, sound_start_s) if sound else None
        for time, picture in zip(times, pictures, strict=True):
            frame = _coloured(picture, pix_fmt, tags or {})
            frame.pts, frame.time_base = time, time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if listener is not None:
            listener.write(sound_s if sound_s is not None else float((times[-1] + 1) * time_base))
    return path


def make_sound(path: Path, seconds: float = 1.0, codec: str = "aac") -> Path:
    """A file that holds sound only."""
    with av.open(str(path), "w") as container:
        _Sound(container, codec, 0.0).write(seconds)
    return path


def turn(path: Path, degrees: int, mirrored: bool = False) -> Path:
    """Set the display matrix of an mp4 or mov so that players turn it clockwise by a multiple of 90 degrees."""
    cosine, sine = {0: (1, 0), 90: (0, 1), 180: (-1, 0), 270: (0, -1)}[degrees]
    a, b, c, d = (-cosine, -sine, -sine, cosine) if mirrored else (cosine, sine, -sine, cosine)
    content = bytearray(path.read_bytes())
    at = content.index(b"tkhd") + 4
    version = content[at]
    matrix = at + 4 + (32 if version else 20) + 16
    struct.pack_into(">9i", content, matrix, a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    return path


def cut_short(path: Path, share: float) -> Path:
    """Keep only the beginning of a file."""
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path


def hear(path: Path) -> tuple[np.ndarray, int]:
    """The sound of a file as one channel on the clock of its picture, [n] float, and its sample rate."""
    with av.open(str(path)) as container:
        start = 0.0
        if container.streams.video:
            picture = container.streams.video[0]
            start = float((picture.start_time or 0) * picture.time_base)
        stream = container.streams.audio[0]
        rate = stream.codec_context.sample_rate
        pieces = np.zeros(int(rate * 20))
        end = 0
        resampler = av.AudioResampler(format="fltp", layout="mono")
        for frame in container.decode(stream):
            at = round((float(frame.pts * frame.time_base) - start) * rate)
            for mono in resampler.resample(frame):
                samples = mono.to_ndarray()[0]
                head = min(max(0, -at), len(samples))
                pieces[at + head : max(0, at + len(samples))] = samples[head:]
                at += len(samples)
                end = max(end, at)
    return pieces[:end], rate


def beeps(path: Path) -> np.ndarray:
    """Times in seconds, on the picture's clock, at which beeps begin."""
    sound, rate = hear(path)
    window = rate // 200
    loud = np.sqrt(np.convolve(sound**2, np.ones(window) / window, mode="same")) > 0.1
    starts = np.flatnonzero(loud[1:] & ~loud[:-1]) / rate
    return starts if not loud[0] else np.concatenate([[0.0], starts])


class _Sound:
    """A sound track in the making; its stream must exist before the container's header is written."""

    def __init__(self, container: OutputContainer, codec: str, start_s: float) -> None:
        self._container, self._start_s = container, start_s
        options = {"strict": "experimental"} if codec == "vorbis" else {}
        self._stream: Any = container.add_stream(needs_encoder(codec), rate=SOUND_RATE, options=options)
        self._stream.codec_context.layout = "stereo"

    def write(self, seconds: float) -> None:
        time = np.arange(int(seconds * SOUND_RATE)) / SOUND_RATE
        beep = np.sin(2 * np.pi * 880 * time) * ((time + self._start_s) % BEEP_EVERY_S < BEEP_S) * 0.5
        stereo = np.repeat((beep * 32767).astype(np.int16), 2)[None]
        resampler = av.AudioResampler(
            format=self._stream.codec_context.format,
            layout="stereo",
            rate=SOUND_RATE,
            frame_size=self._stream.codec_context.frame_size or None,
        )
        frame = AudioFrame.from_ndarray(stereo, format="s16", layout="stereo")
        frame.sample_rate, frame.time_base = SOUND_RATE, Fraction(1, SOUND_RATE)
        frame.pts = round(self._start_s * SOUND_RATE)
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            self._container.mux(self._stream.encode(piece))
        self._container.mux(self._stream.encode(None))


def _coloured(picture: np.ndarray, pix_fmt: str, tags: dict[str, int]) -> VideoFrame:
    """[H,W,3] uint8 or uint16 -> a frame in the wanted format, its numbers made by hand from the tags."""
    wide = picture.dtype == np.uint16
    if "yuv" not in pix_fmt:
        return VideoFrame.from_ndarray(picture, format="rgb48le" if wide else "rgb24").reformat(format=pix_fmt)
    matrix, span = tags.get("colorspace", 5), tags.get("color_range", 1)
    red, blue = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}[matrix]
    rgb = picture / (65535.0 if wide else 255.0)
    luma = rgb @ np.array([red, 1 - red - blue, blue])
    chroma = [(rgb[..., 2] - luma) / (2 - 2 * blue), (rgb[..., 0] - luma) / (2 - 2 * red)]
    if span == 1:
        planes = [16 + 219 * luma, *(128 + 224 * plane for plane in chroma)]
    else:
        planes = [255 * luma, *(128 + 255 * plane for plane in chroma)]
    codes = np.clip(np.rint(np.stack(planes, axis=-1) * 256), 0, 65535).astype(np.uint16)
    frame = VideoFrame.from_ndarray(codes, format="yuv444p16le")
    frame.colorspace, frame.color_range = matrix, span
    wanted = frame.reformat(format=pix_fmt, src_color_range=span, dst_color_range=span, interpolation=0x4 | 0x40000)
    wanted.colorspace, wanted.color_range = (matrix, span) if tags else (2, 0)
    return wanted
