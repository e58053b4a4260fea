"""How well the watermark is hidden and found: `python -m stitch.study.trust CLIP... --out FILE.json`.

The region around every clip's face is marked as the pipeline marks an edit, written as results are, then treated as the
world treats clips. The same is done without a mark, which must not be found.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from stitch.cli.console import Console
from stitch.core import geometry
from stitch.core.errors import StitchError
from stitch.core.events import finished
from stitch.core.records import ClipInfo, Track
from stitch.core.settings import Settings
from stitch.faces.survey import survey
from stitch.faces.tracking import track_of
from stitch.families import load
from stitch.families.family import Family
from stitch.methods.stit.align import smooth_quads
from stitch.runtime.device import chosen
from stitch.runtime.disk import write_whole
from stitch.video import files
from stitch.video.trust import watermark

FRAMES = 48
_SIDE = 256
_RESULT_CRF, _COMMON_CRF = 16, 23

Treatment = tuple[Callable[[np.ndarray], np.ndarray], int]
"""What becomes of a frame, and the quality (crf) that the clip is encoded with again."""


def _half(frame: np.ndarray) -> np.ndarray:
    return cv2.resize(frame, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)


def _cropped(frame: np.ndarray) -> np.ndarray:
    """Nine tenths of each side, not from the middle."""
    height, width = frame.shape[:2]
    y, x = round(0.07 * height), round(0.04 * width)
    return np.ascontiguousarray(frame[y : y + round(0.9 * height), x : x + round(0.9 * width)])


TREATMENTS: dict[str, Treatment] = {
    "crf 18": (np.copy, 18),
    "crf 23": (np.copy, _COMMON_CRF),
    "crf 28": (np.copy, 28),
    "half the size, crf 23": (_half, _COMMON_CRF),
    "10 % cropped, crf 23": (_cropped, _COMMON_CRF),
}


def regions(path: Path, families: Sequence[Family], frames: int) -> tuple[ClipInfo, dict[int, np.ndarray]]:
    """The clip's first frames, and where an edit would change them: an ellipse in the aligned crop.

    Args:
        path: the clip.
        families: the one whose detector finds the face in most frames is asked.
        frames: how many at most.
    Returns:
        The clip, and for each frame with a face [H,W] bool.
    Raises:
        StitchError: the clip cannot be read, or shows no face.
    """
    settings, info = Settings(), files.probe(path)
    settings = replace(settings, video=replace(settings.video, end_s=min(frames, info.frames) / float(info.rate)))
    info = files.probe(path, settings.video)
    tracks: list[Track] = []
    problem: StitchError | None = None
    for family in families:
        with tempfile.TemporaryDirectory() as folder:
            try:
                surveyed = finished(survey(path, settings, family, Path(folder)))
                tracks.append(finished(track_of(surveyed, info, settings.faces)))
            except StitchError as error:
                problem = error
    if not tracks:
        raise problem or StitchError(f"{path}: no face")
    track = max(tracks, key=lambda one: int(one.usable.sum()))
    ellipse = cv2.ellipse(np.zeros((_SIDE, _SIDE), np.uint8), (128, 135), (82, 105), 0, 0, 360, 1, -1)
    quads = smooth_quads(track, float(info.rate), settings.align)
    return info, {int(index): geometry.warp_mask(ellipse, quads[index], info.height, info.width)
                  for index in np.flatnonzero(track.usable)}


def measure(path: Path, families: Sequence[Family], frames: int = FRAMES) -> dict[str, Any]:
    """Everything about one clip.

    Args:
        path: the clip.
        families: whose detectors may be asked.
        frames: how many at most.
    Returns:
        Plain values: size, share of the frame that is marked, PSNR there, milliseconds a frame, and the score of every
        treatment with and without the mark.
    Raises:
        StitchError: the clip cannot be read, or shows no face.
    """
    info, marked = regions(path, families, frames)
    with closing(files.frames(info)) as decoded:
        source = list(decoded)
    few = list(marked)[:: max(1, len(marked) // watermark.FRAMES_PLACED)]
    mark = watermark.placed(info.height, info.width, ((source[index], marked[index]) for index in few))
    began = time.process_time()
    written = [mark(frame, marked[index]) if index in marked else frame for index, frame in enumerate(source)]
    cost_ms = (time.process_time() - began) / max(1, len(marked)) * 1e3
    psnr = [watermark.psnr_db(source[index], written[index], one) for index, one in marked.items()]
    with tempfile.TemporaryDirectory() as folder:
        found, unmarked = (
            {name: watermark.find(pairs).score for name, pairs in _treated(clip, info, Path(folder))}
            for clip in (written, source)
        )
    return {
        "clip": path.name, "width": info.width, "height": info.height, "frames": info.frames,
        "region": float(np.mean([one.mean() for one in marked.values()])), "psnr_db": float(np.mean(psnr)),
        "lowest_psnr_db": float(np.min(psnr)), "cost_ms": cost_ms, "marked": found, "unmarked": unmarked,
    }


def summary(clips: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Shares that are found over all clips, and the worst cases.

    Args:
        clips: of `measure`.
    """
    scores = [score for one in clips for score in one["unmarked"].values()]
    return {
        "clips": len(clips), "threshold": watermark.THRESHOLD,
        "found": {name: float(np.mean([one["marked"][name] >= watermark.THRESHOLD for one in clips]))
                  for name in clips[0]["marked"]},
        "false_positives": sum(score >= watermark.THRESHOLD for score in scores), "unmarked_tried": len(scores),
        "highest_unmarked": max(scores), "psnr_db": float(np.mean([one["psnr_db"] for one in clips])),
        "lowest_psnr_db": min(one["lowest_psnr_db"] for one in clips),
    }


def _treated(
    clip: Sequence[np.ndarray], info: ClipInfo, folder: Path
) -> Iterator[tuple[str, list[tuple[np.ndarray, bool]]]]:
    """The clip as it is written, then every treatment of that: frames, and whether each is a key frame."""
    result = _encoded(clip, info, _RESULT_CRF, folder / "result.mp4")
    yield "as written", result
    for name, (change, crf) in TREATMENTS.items():
        yield name, _encoded([change(frame) for frame, _ in result], info, crf, folder / "treated.mp4")
    photo = BytesIO()
    Image.fromarray(clip[0]).save(photo, "JPEG", quality=75)
    yield "one frame as JPEG 75", [(np.array(Image.open(photo)), True)]


def _encoded(clip: Sequence[np.ndarray], info: ClipInfo, crf: int, path: Path) -> list[tuple[np.ndarray, bool]]:
    height, width = clip[0].shape[:2]
    with files.Writer(path, replace(info, width=width, height=height), crf=crf) as writer:
        for frame in clip:
            writer.add(frame)
    made = files.probe(path)
    with closing(files.frames(made)) as decoded:
        return list(zip(islice(decoded, len(clip)), files.key_frames(made).tolist(), strict=False))


def main(argv: Sequence[str] | None = None) -> int:
    """Measure clips and keep what was found.

    Args:
        argv: the arguments, without the program's name; None takes the process's own.
    """
    parser = argparse.ArgumentParser(description="Measure the watermark.")
    parser.add_argument("clips", nargs="+", type=Path, metavar="CLIP")
    parser.add_argument("--out", type=Path, metavar="FILE", help="keep the figures here, as JSON")
    parser.add_argument("--frames", type=int, default=FRAMES, metavar="N", help=f"of each clip at most ({FRAMES})")
    parser.add_argument("--family", action="append", choices=tuple(load.known()),
                        help="whose face detector; repeatable")
    arguments = parser.parse_args(argv)
    console, measured = Console(as_json=False, quiet=False), []
    try:
        families = [load.load_family(name, chosen("cpu")) for name in arguments.family or [load.default()]]
        for path in arguments.clips:
            measured.append(measure(path, families, arguments.frames))
            console.say(json.dumps(measured[-1]))
        record = {"summary": summary(measured), "clips": measured}
        if arguments.out:
            write_whole(arguments.out, json.dumps(record, indent=1).encode())
    except StitchError as error:
        console.error(error)
        return 1
    console.say(json.dumps(record["summary"], indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
