"""What methods that keep no run take from this one: the track of a face, and pasting drawn faces into their frames."""

from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import torch

from stitch.core.events import Event, Notice, Progress
from stitch.core.images import to_tensor
from stitch.core.records import ClipInfo, Drawn, Edit, Track
from stitch.core.settings import Settings
from stitch.faces.survey import survey
from stitch.faces.tracking import track_of
from stitch.families.family import Family
from stitch.methods.stit import marking, masks, merge, stitching
from stitch.methods.stit.chunks import device_of
from stitch.methods.stit.pipeline import describe
from stitch.video import files


def tracked(source: Path, settings: Settings, family: Family) -> Generator[Event, None, tuple[ClipInfo, Track]]:
    """A clip and the face in it.

    Args:
        source: the clip.
        settings: the trim and the parts about faces count.
        family: whose detector looks.
    Yields:
        Progress in frames, and Notices.
    Returns:
        What the clip is, and the track.
    Raises:
        VideoError: the clip cannot be read.
        FaceError: no usable face.
    """
    info = files.probe(source, settings.video)
    surveyed = yield from survey(source, settings, family)
    return info, (yield from track_of(surveyed, info, settings.faces))


def pasted(
    info: ClipInfo, drawn: Drawn, edits: Sequence[Edit], output: Path, settings: Settings, family: Family
) -> Generator[Event, None, None]:
    """Lay edited faces over their frames inside the parser's mask, and write the clip, marked as an edit.

    Args:
        info: the clip.
        drawn: its faces.
        edits: what was asked for.
        output: the edited clip, .mp4.
        settings: which picture is parsed, the dilation, how the face is blended, and the encoder's quality.
        family: whose parser finds the face.
    Yields:
        Progress in frames, and Notices.
    Raises:
        VideoError: the output cannot be written, or the clip can no longer be read.
        TrustError: the result cannot be signed; nothing is written then.
    """
    crops = drawn.crops
    radius_px = masks.radius_px(settings.stitching.dilation, crops.images.shape[1])
    unmarked = replace(settings.merge, watermark=False)  # there is none in these pixels, and the file is to say so
    marks = marking.marking(edits, describe(edits), info.path, unmarked, family)
    writer = files.writer(output, info, info, marks.note, settings.video.crf, marks.seal)
    row_of = crops.row_of
    with writer, closing(files.frames(info)) as frames:
        for index, frame in enumerate(frames):
            if (row := row_of.get(index)) is not None:
                crop, edited = (
                    to_tensor(one[row][None]).to(device_of(family)) for one in (crops.images, drawn.edited)
                )
                face = stitching.regions(family.parser, crop, edited, settings.stitching).dilated_mask
                mask = face[0, 0].to(torch.uint8).cpu().numpy()
                frame = merge.paste(frame, drawn.edited[row], mask, crops.quads[row], radius_px, settings.merge)
            writer.add(frame)
            yield Progress("merge", index + 1, info.frames)
    for note in writer.notes:
        yield Notice(note)
