"""Content credentials (C2PA): what a result was made from, what was done to it and by what, signed into the file."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import c2pa

from stitch import __version__
from stitch.core.errors import TrustError
from stitch.runtime.disk import disk_errors, flush
from stitch.video.trust.keys import Identity, identity

EDITED = "org.stitch.edit"
"""The assertion that holds what was asked for, as plain values."""
PROGRAM = "Stitch"
SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
"""IPTC's word for media that a trained model has changed a part of."""

OFFLINE: Mapping[str, Any] = {
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False},
    "builder": {"thumbnail": {"enabled": False}},
}
"""For C2PA's library: a file that is read calls nowhere, and none holds a small picture of what it was made from."""

_TYPES = {
    ".mp4": "video/mp4", ".m4v": "video/x-m4v", ".mov": "video/quicktime", ".avi": "video/avi", ".png": "image/png",
    ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp", ".tif": "image/tiff", ".tiff": "image/tiff",
    ".gif": "image/gif", ".avif": "image/avif", ".heic": "image/heic", ".heif": "image/heif",
}
_OTHER = "application/octet-stream"


@dataclass(frozen=True)
class Statement:
    """What is said about a result.

    Attributes:
        told: the edits in a line for people.
        edits: the same as plain values, each with its strength.
        family, licence: whose networks drew it, and what may be done with what they draw.
        watermark: the edited pixels hold the mark.
        badge: what is written in a corner of the picture; empty if nothing is.
    """

    told: str
    edits: Sequence[Mapping[str, Any]]
    family: str
    licence: str
    watermark: bool
    badge: str = ""


def sealing(source: Path, said: Statement) -> Callable[[Path], None]:
    """What signs a finished file that has not its final name yet. The key is looked for at once, before any work.

    Args:
        source: what was edited; its own credentials are kept as those of the ingredient.
        said: about the result.
    Returns:
        Takes the file, which it replaces by the signed one. Raises TrustError.
    Raises:
        TrustError: there is no key to sign with.
    """
    signed_by = identity()

    def seal(path: Path) -> None:
        sign(path, source, said, signed_by)

    return seal


def sign(path: Path, source: Path, said: Statement, signed_by: Identity) -> None:
    """Sign a file in its place.

    Args:
        path: mp4, png, jpg or webp.
        source: what it was made from.
        said: about it.
        signed_by: whose name it is signed with.
    Raises:
        TrustError: it cannot be signed; the file is as it was.
    """
    signed = path.with_name(f"{path.stem}-signed.part{path.suffix}")  # as disk.partial: tidied up after a crash
    try:
        with disk_errors(f"{path.name}: the signed file", TrustError), open(path, "rb") as content:
            builder = c2pa.Builder(json.dumps(_manifest(said)), c2pa.Context.from_dict(dict(OFFLINE)))
            ingredient = {"title": source.name, "relationship": "parentOf", "instance_id": "source"}
            with open(source, "rb") as parent:
                builder.add_ingredient(ingredient, type_of(source), parent)
            with open(signed, "w+b") as target:
                builder.sign(signed_by.signer(), type_of(path), content, target)
            flush(signed)
            os.replace(signed, path)
    except c2pa.C2paError as error:
        whose = "with the key that STITCH_SIGNER names" if signed_by.own else "with this machine's own key"
        raise TrustError(f"the result cannot be signed {whose} ({error}), so it was not kept; correct the key, or "
                         "leave the signature out with --no-credentials") from error
    finally:
        signed.unlink(missing_ok=True)


def type_of(path: Path) -> str:
    """A file's media type by its name, as far as credentials can lie in it."""
    return _TYPES.get(path.suffix.lower(), _OTHER)


def _manifest(said: Statement) -> dict[str, Any]:
    agent = {"name": PROGRAM, "version": __version__}
    edited = {
        "action": "c2pa.edited", "digitalSourceType": SOURCE_TYPE, "softwareAgent": agent,
        "description": f"face edited with a trained model: {said.told}",
    }
    facts = {
        "told": said.told, "edits": [dict(one) for one in said.edits], "family": said.family, "licence": said.licence,
        "watermark": said.watermark, "badge": said.badge, "version": __version__,
    }
    opened = {"action": "c2pa.opened", "parameters": {"ingredientIds": ["source"]}}
    return {
        "claim_generator_info": [agent],
        "assertions": [
            {"label": "c2pa.actions.v2", "data": {"actions": [opened, edited]}},
            {"label": EDITED, "data": facts},
        ],
    }
