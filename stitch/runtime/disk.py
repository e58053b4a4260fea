"""Writing to the user's disk: refused early, whole or not at all, and with words when it fails."""

import errno
import glob
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile, gettempdir

from filelock import FileLock

from stitch.core.errors import RunError, StitchError, VideoError

CLIP_SUFFIXES = (".mp4", ".m4v")
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NO_PLACE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOENT)


def check_outputs(
    source: Path, output: Path, comparison: Path | None = None, sheet: Path | None = None, photo: bool = False
) -> None:
    """Refuse, before any work, outputs that could not be written at the end.

    Args:
        source: the clip that is read.
        output: the edited clip.
        comparison: the side-by-side clip, if wanted.
        sheet: the contact sheet, if wanted.
        photo: the source is a photo, and so are the results.
    Raises:
        VideoError: an output is the source, is a folder, has a name of another kind of file, is named twice, or its
            folder is missing or not writable.
    """
    taken: dict[Path, str] = {}
    kind, endings = ("photo", PICTURE_SUFFIXES) if photo else ("clip", CLIP_SUFFIXES)
    for what, path, suffixes in (
        (f"edited {kind}", output, endings),
        ("comparison", comparison, endings),
        ("contact sheet", sheet, PICTURE_SUFFIXES),
    ):
        if path is None:
            continue
        check_output(path, what, suffixes)
        if path.resolve() == source.resolve() or (path.exists() and source.exists() and path.samefile(source)):
            raise VideoError(f"{path}: the {what} would overwrite the source {kind}; choose another name")
        if (other := taken.setdefault(path.resolve(), what)) != what:
            raise VideoError(f"{path}: named as the {other} and as the {what}; give each its own file")


def check_output(path: Path, what: str, suffixes: tuple[str, ...]) -> None:
    """Refuse, before any work, a file that could not be written at the end.

    Args:
        path: of the file.
        what: what it is, for people.
        suffixes: one of which its name must have.
    Raises:
        VideoError: it is a folder, has a name of another kind of file, or its folder is missing or not writable.
    """
    if "\0" in str(path):
        raise VideoError(f"{str(path)!r}: no file can have this name; give the {what} another one")
    with disk_errors(f"{path}: the {what}", VideoError):
        if path.is_dir():
            raise VideoError(f"{path}: the {what} needs a file name, and this is a folder")
        if path.suffix.lower() not in suffixes:
            raise VideoError(f"{path}: the name of the {what} must end in {' or '.join(suffixes)}")
        folder = path.absolute().parent
        if not folder.is_dir():
            raise VideoError(f"{folder}: no such folder for the {what}; create it or choose another place")
        with TemporaryFile(dir=folder):  # asking for permission tells less than trying
            pass


@contextmanager
def disk_errors(what: str, kind: type[StitchError] = RunError) -> Iterator[None]:
    """Turn the operating system's refusals while writing `what` into an error of `kind` with a remedy."""
    try:
        yield
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise kind(f"{what}: the disk is full; free some space and run the same command again, "
                       "finished work is kept") from error
        if error.errno in _NO_PLACE:
            raise kind(f"{what}: cannot be written ({error.strerror}); choose another place") from error
        raise kind(f"{what}: writing failed ({error.strerror or error})") from error


def write_whole(path: Path, content: bytes) -> None:
    """Write a small file so that it is either the old one or the whole new one, whatever happens."""
    with whole(path) as temporary:
        temporary.write_bytes(content)


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Where to write a file that is to be either the old one or the whole new one, whatever happens.

    Args:
        path: the final name.
    Yields:
        A hidden name beside it, with the same ending, that no other writer has. What was written there is brought to
        the disk and takes the final name at the end; after an error it is removed.
    """
    temporary = partial(path)
    try:
        yield temporary
        flush(temporary)
        keep_whole(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def changed(path: Path, change: Callable[[bytes], bytes]) -> bytes:
    """Read a small file, change it and write it whole, while no other thread or process does.

    Args:
        path: an existing file; a hidden lock is kept beside it.
        change: its content -> the new one; what it raises leaves the file as it was.
    Returns:
        The new content.
    Raises:
        OSError: there is no such file, or it cannot be written.
    """
    path.stat()  # a lock would make the folder of a file that is gone
    with FileLock(path.with_name(f".{path.name}.lock"), thread_local=False):
        content = change(path.read_bytes())
        write_whole(path, content)
    return content


def partial(path: Path) -> Path:
    """Where an unfinished file lies until it is whole; two writers of one file do not meet there.

    Leftovers of writers that were killed are removed.

    Args:
        path: the final name.
    Returns:
        A hidden name beside it, with the same ending.
    """
    for leftover in path.parent.glob(f".{glob.escape(path.stem)}.*.part{path.suffix}"):
        owner = leftover.name[len(path.stem) + 2 :].split("-")[0]
        if owner.isdecimal() and not _runs(int(owner)):
            with suppress(OSError):
                leftover.unlink()
    return path.with_name(f".{path.stem}.{os.getpid()}-{secrets.token_hex(4)}.part{path.suffix}")


def _runs(process: int) -> bool:
    if os.name != "posix":
        return False  # asking would end it; a file that it holds open cannot be removed there anyway
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder for what is not to stay, gone afterwards; those of processes that were killed are removed first."""
    sweep()
    with TemporaryDirectory(prefix=f"stitch-{os.getpid()}-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def sweep() -> None:
    """Remove the scratch folders of processes that are gone."""
    if os.name == "posix":  # elsewhere nobody can tell
        for leftover in Path(gettempdir()).glob("stitch-*-*"):
            owner = leftover.name.split("-")[1]
            if owner.isdecimal() and not _runs(int(owner)):
                shutil.rmtree(leftover, ignore_errors=True)


def exists(path: Path) -> bool:
    """Whether something is there; nothing is where no name can be."""
    try:
        return path.exists()
    except (OSError, ValueError):  # too long, or with a zero in it
        return False


def is_file(path: Path) -> bool:
    """Whether an ordinary file is there, or a link to one; nothing is where no name can be."""
    return exists(path) and path.is_file()


def state_of(path: Path) -> tuple[int, ...]:
    """What tells a file from another that was put in its place, without reading it.

    Raises:
        OSError: there is none.
    """
    state = path.stat()
    return state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns


def keep_whole(temporary: Path, path: Path) -> None:
    """Rename a finished, flushed file to its final name and make the rename last."""
    os.replace(temporary, path)
    if os.name == "posix":
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def flush(path: Path) -> None:
    """Bring a written file's content to the disk."""
    with open(path, "rb+") as file:
        os.fsync(file.fileno())
