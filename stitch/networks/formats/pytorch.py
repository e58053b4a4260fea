"""PyTorch's two formats of files: told apart, and looked through before PyTorch itself reads them."""

import io
import zipfile
from pathlib import Path
from typing import BinaryIO

import torch

from stitch.networks.formats import pickled
from stitch.networks.formats.standins import Refused, Storage, Totals


def check(path: Path) -> None:
    """Makes sure, before PyTorch reads one of its files, that it holds weights and nothing that grows while it is read.

    Args:
        path: an existing file in PyTorch's zip format or its older one.
    Raises:
        Refused: not such a file, damaged, or with anything else inside.
        OSError: it cannot be opened.
    """
    with open(path, "rb") as file:
        # As PyTorch tells them apart: an archive at the end of a file of the older format is not looked at.
        if file.read(4) == b"PK\x03\x04":
            _check_archive(file, path.stat().st_size)
            return
        with pickled.mapped(file) as content:
            pickled.legacy(content, len(content), Totals())


def begins_like_one(path: Path) -> bool:
    """Whether a file begins as PyTorch's files do (the zip format, or the older one's magic number)."""
    with open(path, "rb") as file:
        start = file.read(16)
    return start.startswith(b"PK\x03\x04") or (
        start.startswith(b"\x80\x02\x8a\n") and int.from_bytes(start[4:14], "little") == pickled.LEGACY_MAGIC
    )


def _check_archive(file: BinaryIO, size: int) -> None:
    """PyTorch's zip format: nothing compressed, nothing twice, every storage as large as it says."""
    try:
        with zipfile.ZipFile(file) as archive:
            entries = {entry.filename: entry for entry in archive.infolist()}
            programs = [name for name in entries if name.endswith("/data.pkl")]
            if len(programs) != 1:
                raise Refused("it is an archive, but not one of PyTorch's weights")
            root = programs[0].removesuffix("data.pkl")
            if f"{root}constants.pkl" in entries or any(name.startswith(f"{root}code/") for name in entries):
                raise Refused("it is a TorchScript program")
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries.values()):
                raise Refused("parts of it are compressed, which PyTorch never does: they could unpack to any size")
            if len(entries) != len(archive.infolist()) or sum(entry.file_size for entry in entries.values()) > size:
                raise Refused("its parts overlap, so that it would unpack to more than the file's size")

            def fetch(dtype: torch.dtype, key: str, count: int) -> Storage:
                entry = entries.get(f"{root}data/{key}")
                if entry is None or entry.file_size != count * dtype.itemsize:
                    raise Refused(f"storage {key[:20]!r} is missing or of another size than it says")
                return Storage(dtype, count)

            pickled.load(io.BytesIO(archive.read(programs[0])), fetch)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError) as error:
        raise Refused(f"it is damaged or cut short ({str(error)[:120]})") from error
