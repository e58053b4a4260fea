"""What a family draws as a video file with sound."""

from collections.abc import Generator, Iterable
from pathlib import Path

import av
import numpy as np

from stitch.core.errors import VideoError
from stitch.core.events import Event, Preview, Progress
from stitch.core.records import ClipInfo
from stitch.families.about import Sample
from stitch.families.voice import speech
from stitch.runtime import disk
from stitch.video import files

SOUND_RATE = 44100
PREVIEW_EVERY = 10


def write(
    sample: Sample, pictures: Iterable[np.ndarray], feminine: float, crf: int = 16
) -> Generator[Event, None, None]:
    """Write frames as they are drawn, and the speech that goes with the seed.

    Args:
        sample: what was asked for.
        pictures: its frames, [H,W,3] uint8 RGB.
        feminine: how high the voice is, see `voice.speech`.
        crf: x264's quality.
    Yields:
        Progress and Previews.
    Raises:
        VideoError: the file cannot be written.
    """
    disk.check_output(sample.path, "clip", disk.CLIP_SUFFIXES)
    length_s = sample.frames / sample.rate
    with disk.scratch() as folder:
        silent = folder / "silent.mp4"
        info = ClipInfo(
            silent.with_suffix(".drawn"), *sample.size, sample.rate, sample.frames, 0.0, float(length_s), audio=False
        )
        with files.Writer(silent, info, crf=crf) as writer:
            for index, frame in enumerate(pictures):
                writer.add(frame)
                if index % PREVIEW_EVERY == 0:
                    yield Preview("draw", index, frame)
                yield Progress("draw", index + 1, sample.frames)
        with disk.disk_errors(str(sample.path), VideoError):
            _add_sound(silent, speech(sample.seed, float(length_s), feminine, SOUND_RATE), sample.path)


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
