"""What every result says about itself: what is written into its metadata and pixels, and what is signed."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from stitch.core.records import ClipInfo, Crops, Edit, Text
from stitch.core.settings import MergeSettings, Settings
from stitch.families.family import Family
from stitch.methods.stit import masks, merge
from stitch.runtime.runs import EditFolder
from stitch.video.sheet import Badge
from stitch.video.trust import credentials, disclosure, watermark


@dataclass(frozen=True, eq=False)
class Marking:
    """What a result says about itself.

    Attributes:
        told: the edits in a line for people.
        note: the same for the file's metadata, with what was left out.
        seal: signs the finished file; None leaves it unsigned.
    """

    told: str
    note: str
    seal: Callable[[Path], None] | None


def marking(
    edits: Sequence[Edit | Text], told: str, source: Path, settings: MergeSettings, family: Family
) -> Marking:
    """What the result of these edits will say.

    Args:
        edits: what was asked for.
        told: the same in a line.
        source: what is edited.
        settings: which marks are wanted.
        family: whose networks draw.
    Raises:
        TrustError: it is to be signed and there is no key.
    """
    missing = [what for what, there in (("content credentials", settings.credentials),
                                        ("watermark", settings.watermark)) if not there]
    note = f"{told} (without {' and '.join(missing)})" if missing else told
    if not settings.credentials:
        return Marking(told, note, None)
    plain = [{"kind": "slider" if isinstance(one, Edit) else "words", **asdict(one)} for one in edits]
    plain = [{name: value for name, value in one.items() if value is not None} for one in plain]
    badge = disclosure.badge(settings.badge_language) if settings.badge else ""
    said = credentials.Statement(told, plain, family.name, family.licence, settings.watermark, badge)
    return Marking(told, note, credentials.sealing(source, said))


def badge(info: ClipInfo, settings: MergeSettings) -> Badge | None:
    """What writes into a corner of every frame, if anything is to."""
    if not settings.badge:
        return None
    return Badge(info.width, info.height, disclosure.badge(settings.badge_language), settings.badge_place)


def placed(info: ClipInfo, crops: Crops, folder: EditFolder, settings: Settings) -> watermark.Watermark | None:
    """The watermark of a finished edit, if it is to have one, laid where some of its frames carry it best.

    Args:
        info: the clip.
        crops: c_i.
        folder: of the edit, all frames done.
        settings: as it is merged with.
    """
    if not settings.merge.watermark:
        return None
    size = crops.images.shape[1]
    radius_px = masks.radius_px(settings.stitching.dilation, size)
    rows = np.unique(np.linspace(0, len(crops.frames) - 1, watermark.FRAMES_PLACED).round().astype(int))

    def pictures():
        empty, whole = np.zeros((info.height, info.width, 3), np.uint8), np.full((size, size), np.uint8(255))
        for row in rows.tolist():
            tile, mask, kept = (folder.read(name, row, 1)[0] for name in ("tiles", "masks", "details"))
            quad, source = crops.quads[row], merge.Source(crops.images[row], kept)
            # The crop laid back stands for the frame around the face, which need not be decoded once more.
            around = merge.composite(empty, crops.images[row], whole, quad)
            pasted = merge.paste(around, tile, mask, quad, radius_px, settings.merge, source)
            yield pasted, (pasted != around).any(2)

    return watermark.placed(info.height, info.width, pictures())
