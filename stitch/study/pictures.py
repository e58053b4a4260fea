"""Variants of an edit beside each other: a sheet and a clip of faces."""

from collections.abc import Generator, Mapping
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from stitch.core import geometry
from stitch.core.errors import VideoError
from stitch.core.events import Event, Progress
from stitch.core.records import ClipInfo
from stitch.runtime.disk import disk_errors, whole
from stitch.video import files
from stitch.video.sheet import CELL_PX, Mosaic, contact_sheet

ROWS = 3
"""Moments on the sheet."""
_WIDER = 1.25
_PLAIN_CRF = 20


def compared(
    info: ClipInfo, quads: np.ndarray, made: Mapping[str, Path], clip: Path, sheet: Path, caption: str
) -> Generator[Event, None, None]:
    """Write the face of all variants side by side, as a clip and as a sheet of a few moments.

    Args:
        info: the original.
        quads: [T,4,2] frame px, of the face; NaN where there is none.
        made: the edited clips by their titles, T frames each.
        clip, sheet: the files to make, .mp4 and .png.
        caption: what was edited, for people.
    Yields:
        Progress in frames.
    Raises:
        VideoError: a file cannot be written, or a clip can no longer be read.
    """
    titles = ["original", *made]
    mosaic = Mosaic(titles)
    seen = np.flatnonzero(np.isfinite(quads).all((1, 2)))
    chosen = set(seen[np.linspace(0, len(seen) - 1, min(ROWS, len(seen))).round().astype(int)].tolist())
    rows: list[list[np.ndarray]] = []
    labels: list[str] = []
    wide = replace(info, width=mosaic.width, height=mosaic.height)
    with ExitStack() as stack:
        sources = [stack.enter_context(closing(files.frames(one)))
                   for one in (info, *(files.probe(path) for path in made.values()))]
        writer = stack.enter_context(files.Writer(clip, wide, None, f"comparison: {caption}", _PLAIN_CRF))
        for index, frames in enumerate(zip(*sources, strict=False)):
            quad = quads[index] if index < len(quads) else np.full((4, 2), np.nan)
            faces = [_face(frame, quad) for frame in frames]
            writer.add(mosaic(faces))
            if index in chosen:
                rows.append(faces)
                labels.append(f"{index / float(info.rate):.2f} s")
            yield Progress("side by side", index + 1, info.frames)
    with disk_errors(str(sheet), VideoError), whole(sheet) as temporary:
        Image.fromarray(contact_sheet(rows, titles, labels, caption)).save(temporary)


def _face(frame: np.ndarray, quad: np.ndarray) -> np.ndarray:
    """The face with some of what is around it, where seams are; black without one."""
    if not np.isfinite(quad).all():
        return np.zeros((CELL_PX, CELL_PX, 3), np.uint8)
    centre = quad.mean(0)
    return geometry.sample_crop(frame, centre + _WIDER * (quad - centre), CELL_PX, "black")
