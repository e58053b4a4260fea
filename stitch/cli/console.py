"""What the command line shows: bars, notes and results for people, or one JSON object a line for programs."""

import json
import sys
import time
from collections.abc import Generator, Sequence
from dataclasses import asdict
from typing import Any, TextIO, TypeVar

from tqdm import tqdm

from stitch.core.errors import StitchError
from stitch.core.events import Event, Notice, Preview, Progress

T = TypeVar("T")


class Console:
    """Shows events: bars on stderr for people, or one JSON object a line on stdout for programs."""

    def __init__(self, as_json: bool, quiet: bool, stream: TextIO | None = None) -> None:
        self._json, self._quiet = as_json, quiet
        self._stream = stream or sys.stderr
        self._bar: tqdm | None = None
        self._counted = ("", 0, "")
        self._began = time.monotonic()

    def watch(self, work: Generator[Event, None, T]) -> T:
        """Drive a generator to its end, showing what it yields, and return its record."""
        try:
            while True:
                self._show(next(work))
        except StopIteration as end:
            return end.value
        finally:
            work.close()
            self.close()

    def say(self, text: str, **facts: Any) -> None:
        """A final word on stdout: `text` for people, `facts` for programs."""
        if self._json:
            self._line("result", **facts)
        elif not self._quiet:
            print(text, flush=True)

    def error(self, error: StitchError) -> None:
        """One line on stderr, and an event."""
        self.close()
        message = " ".join(str(error).split())
        if self._json:
            self._line("error", error=type(error).__name__, message=message)
        print(f"stitch: error: {message}", file=sys.stderr)

    def close(self) -> None:
        """End the bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        self._counted = ("", 0, "")

    def _show(self, event: Event) -> None:
        if self._json:
            if isinstance(event, Preview):
                self._line("preview", stage=event.stage, frame=event.frame)
            else:
                kind = Notice if isinstance(event, Notice) else type(event)
                self._line(kind.__name__.lower(), **asdict(event))
        elif self._quiet:
            return
        elif isinstance(event, Notice):
            tqdm.write(f"note: {event.message}", file=self._stream)
        elif isinstance(event, Progress):
            self._advance(event.stage, event.done, event.total, event.unit)

    def _advance(self, stage: str, done: int, total: int, unit: str) -> None:
        if self._bar is None or (stage, total, unit) != self._counted:
            self.close()
            self._counted = (stage, total, unit)
            # Without a terminal a line now and then serves better than a bar that overwrites itself.
            interval = 0.1 if self._stream.isatty() else 30.0
            self._bar = tqdm(
                desc=f"{stage:<10}", total=total or None, initial=done, unit="B" if unit == "byte" else f" {unit}s",
                unit_scale=unit == "byte", file=self._stream, mininterval=interval, dynamic_ncols=True,
            )
        self._bar.update(done - self._bar.n)

    def _line(self, kind: str, **facts: Any) -> None:
        print(json.dumps({"type": kind, "seconds": round(time.monotonic() - self._began, 3), **facts}), flush=True)


def story(facts: dict[str, Any]) -> str:
    """An edit's result for people.

    Args:
        facts: what the result event holds.
    """
    lines = [f"{facts['path']}: {facts['edited_frames']} of {facts['frames']} frames edited"]
    lines += [f"  left as they were  frames {_ranges(facts['unedited_frames'])}"] if facts["unedited_frames"] else []
    lines += [f"  {what:<18} {facts[what]}" for what in ("comparison", "sheet") if facts[what]]
    measures = facts["measures"]
    if "psnr_tuned_db" in measures:
        before, after = measures["psnr_inversion_db"], measures["psnr_tuned_db"]
        lines += [f"  reconstruction     {before:.1f} dB from the encoder, {after:.1f} dB after tuning"]
    if "boundary_ratio" in measures:
        lines += [f"  seam               {measures['boundary_ratio']:.2f} of the error of a plain paste"]
    if "tl_id" in measures:
        lines += [f"  identity           TL-ID {measures['tl_id']:.3f}, TG-ID {measures['tg_id']:.3f} (source: 1)"]
    lines += [f"  took               {facts['took_s']:.0f} s, {facts['peak_memory_mib']:.0f} MiB of memory at the peak"]
    lines += [f"  run                {facts['run']}", f"  say where it shows {facts['disclosure']}"]
    return "\n".join(lines)


def _ranges(frames: Sequence[int]) -> str:
    """[3, 4, 5, 9] -> "3-5, 9"."""
    among = set(frames)
    starts = [frame for frame in frames if frame - 1 not in among]
    ends = [frame for frame in frames if frame + 1 not in among]
    return ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in zip(starts, ends, strict=True))
