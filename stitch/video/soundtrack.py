"""A clip's sound on its way into the edited clip: copied packet by packet where mp4 allows, else as AAC."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet

from stitch.video.timeline import open_clip

# What the mp4 container stores and players of mp4 expect.
COPIED_CODECS = frozenset({"aac", "aac_latm", "mp3", "mp3float", "ac3", "eac3", "alac", "opus", "libopus", "flac"})
AAC_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000)
AAC_BITS_PER_CHANNEL = 96_000
# By number of channels; files do not always name theirs.
LAYOUTS = {1: "mono", 2: "stereo", 3: "2.1", 4: "quad", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}
# Sound codecs need a little of what came before; it is stored and hidden by the file's edit list.
PREROLL_S = 0.08


class Soundtrack:
    """Feeds one clip's sound into an output, in step with the pictures.

    Attributes:
        notes: sentences for the user about what had to be changed or was lost.
    """

    def __init__(self, path: Path, start_s: Fraction, end_s: Fraction | None, output: OutputContainer) -> None:
        """Open the clip's sound and add its stream to the output.

        Args:
            path: the clip.
            start_s: time on the clip's own clock that becomes zero.
            end_s: time on the same clock at which the sound stops; None keeps it to its end.
            output: an open mp4 that was not written to yet.
        Raises:
            VideoError: the clip cannot be opened.
        """
        self.notes: tuple[str, ...] = ()
        self._start_s = start_s
        self._length_s = None if end_s is None else end_s - start_s
        self._output = output
        self._container, _ = open_clip(path)
        source = self._container.streams.best("audio")
        if not isinstance(source, AudioStream) or source.codec_context is None:
            self._container.close()
            self._packets: Iterator[Packet] = iter(())
            if source is not None:
                self.notes = ("the sound's codec is not known here: the clip is written without sound",)
            return
        if len(self._container.streams.audio) > 1:
            self.notes = (f"the clip has {len(self._container.streams.audio)} sound tracks: the main one is kept",)
        copied = source.codec_context.name in COPIED_CODECS
        self._packets = self._copied(source) if copied else self._encoded(source)
        self._waiting: Packet | None = None

    def advance(self, until_s: Fraction | None) -> None:
        """Write the sound that begins before `until_s` (seconds of the output; None is all that is left)."""
        while True:
            packet = self._waiting or next(self._packets, None)
            self._waiting = None
            if packet is None:
                return
            begins = packet.pts * (packet.time_base or 0) if packet.pts is not None else 0
            if until_s is not None and begins >= until_s:
                self._waiting = packet
                return
            self._output.mux(packet)

    def close(self) -> None:
        """Close the source."""
        self._packets = iter(())
        self._container.close()

    def _copied(self, source: AudioStream) -> Iterator[Packet]:
        stream = self._output.add_stream_from_template(source)
        return self._shifted(source, stream)

    def _shifted(self, source: AudioStream, stream: AudioStream) -> Iterator[Packet]:
        latest = None
        for packet, time in self._read(source):
            time_base = packet.time_base
            pts = time - round(self._start_s / time_base)
            if (pts + (packet.duration or 0)) * time_base <= -PREROLL_S:
                continue
            if self._length_s is not None and pts * time_base >= self._length_s:
                return
            if latest is not None and pts <= latest:
                continue  # a packet out of order would be refused by the container
            latest = pts
            packet.pts = packet.dts = pts
            packet.stream = stream
            yield packet

    def _encoded(self, source: AudioStream) -> Iterator[Packet]:
        context = source.codec_context
        rate = min(AAC_RATES, key=lambda known: (known < context.sample_rate, abs(known - context.sample_rate)))
        channels = context.layout.nb_channels if context.layout.nb_channels in (1, 2, 6) else 2
        stream = self._output.add_stream("aac", rate=rate)
        stream.codec_context.layout = LAYOUTS[channels]
        stream.codec_context.bit_rate = AAC_BITS_PER_CHANNEL * channels
        self.notes += (f"sound converted from {context.name} to AAC, since mp4 players do not read the former",)
        return self._transcoded(source, stream)

    def _transcoded(self, source: AudioStream, stream: AudioStream) -> Iterator[Packet]:
        lost = 0
        for packet, _ in self._read(source):
            try:
                pieces = [self._trimmed(frame) for frame in source.codec_context.decode(packet)]
            except (av.error.FFmpegError, OSError):
                lost += 1
                continue
            for piece in pieces:
                if piece is not None:
                    yield from stream.encode(piece)
        yield from stream.encode(None)
        if lost:
            self.notes += (f"the sound is damaged: {lost} of its packets could not be decoded",)

    def _trimmed(self, frame: AudioFrame) -> AudioFrame | None:
        """A decoded stretch of sound on the output's clock, cut to the sample; None where nothing is left."""
        rate = frame.sample_rate
        time_base = frame.time_base or Fraction(1, rate)
        at = 0 if frame.pts is None else round((frame.pts * time_base - self._start_s) * rate)
        first = max(0, -at)
        last = frame.samples
        if self._length_s is not None:
            last = min(last, round(self._length_s * rate) - at)
        if last <= first:
            return None
        channels = frame.layout.nb_channels
        packed = 1 if frame.format.is_planar else channels
        samples = frame.to_ndarray()[:, first * packed : last * packed]
        layout = LAYOUTS.get(channels, frame.layout.name)
        piece = AudioFrame.from_ndarray(samples.copy(), format=frame.format.name, layout=layout)
        piece.sample_rate = rate
        piece.time_base = Fraction(1, rate)
        piece.pts = at + first
        return piece

    def _read(self, source: AudioStream) -> Iterator[tuple[Packet, int]]:
        """The source's packets that carry sound, with their times in ticks; a break in the file ends them."""
        packets = self._container.demux(source)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except (av.error.FFmpegError, OSError):
                self.notes += ("the file breaks off while its sound is read: the rest is silent",)
                return
            time = packet.pts if packet.pts is not None else packet.dts
            if packet.size and time is not None:
                yield packet, time
