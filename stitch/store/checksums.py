"""Whether a file is the one expected: its digest, taken once and remembered beside its size and time of change."""

import hashlib
import json
import time
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path
from typing import Any

from stitch.core.errors import WeightsError
from stitch.core.events import Progress, finished
from stitch.runtime.disk import write_whole

SHA256, GIT_BLOB = 64, 40
"""Kinds of digests, by their number of hexadecimal digits."""

_BLOCK = 1 << 22
_SHOWN_EVERY_S = 0.2


def matches(path: Path, digest: str, records: Path, stage: str, anew: bool = False) -> Generator[Progress, None, bool]:
    """Whether a file has a digest. It is read once, and again only when its size or time of change differ.

    Args:
        path: an existing file.
        digest: hexadecimal; of `SHA256` digits, or of `GIT_BLOB`: git's id, a SHA-1 of the length and the content.
        records: folder that keeps what has been read, one small file each; made when needed.
        stage: what `Progress` calls it.
        anew: read the file whatever is recorded.
    """
    known = None if anew else recorded(path, digest, records)
    if known is not None:
        return known
    found = yield from digest_of(path, stage, len(digest))
    remember(path, found, records)
    return found == digest


def remember(path: Path, digest: str, records: Path) -> None:
    """Record the digest of a file as it is now, so that `matches` need not read it.

    Args:
        path, records: as in `matches`.
        digest: what `digest_of` found.
    """
    with suppress(OSError):  # what cannot be recorded is read again next time
        records.mkdir(parents=True, exist_ok=True)
        write_whole(_record(path, records), json.dumps(_about(path, digest) | {"digest": digest}).encode())


def recorded(path: Path, digest: str, records: Path) -> bool | None:
    """What `matches` found when it last read this file, or None if it has not, or the file has changed since."""
    try:
        record, now = json.loads(_record(path, records).read_text()), _about(path, digest)
    except (OSError, ValueError):
        return None
    if not isinstance(record, dict) or "digest" not in record:
        return None
    return record["digest"] == digest if record == now | {"digest": record["digest"]} else None


def digest_of(path: Path, stage: str, digits: int = SHA256) -> Generator[Progress, None, str]:
    """The digest of a file's content.

    Args:
        path, stage: as in `matches`.
        digits: `SHA256` or `GIT_BLOB`, which kind.
    Raises:
        WeightsError: the file cannot be read.
    """
    done, shown = 0, time.monotonic()
    try:
        size = path.stat().st_size
        if digits == GIT_BLOB:
            content = hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)
        else:
            content = hashlib.sha256()
        with open(path, "rb") as file:
            while block := file.read(_BLOCK):
                content.update(block)
                done += len(block)
                if time.monotonic() - shown > _SHOWN_EVERY_S:
                    yield Progress(stage, done, size, "byte")
                    shown = time.monotonic()
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror}); change its permissions") from error
    return content.hexdigest()


def _about(path: Path, digest: str) -> dict[str, Any]:
    """What a record is valid for: this kind of digest, of this file as it is now."""
    state = path.stat()
    return {
        "path": str(path.resolve()), "size": state.st_size, "mtime_ns": state.st_mtime_ns, "digits": len(digest),
    }


def _record(path: Path, records: Path) -> Path:
    """The record's own name: the file's whole path, made short."""
    return records / f"{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16]}.json"


def rows_on_disk(folder: Path) -> str:
    """Name, bytes and SHA-256 of every .safetensors file of a folder as it is now, as rows of a family's table."""
    rows = []
    for path in sorted(folder.glob("*.safetensors")):
        digest = finished(digest_of(path, stage=path.name))
        rows.append(f'    ("{path.stem}", {path.stat().st_size}, "{digest}"),')
    return "\n".join(rows)
