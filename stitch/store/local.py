"""Where files of weights lie on this machine: bundled, the user's own, or fetched; and bringing in what is missing.

Fetched files lie below HF_HOME, in its folder of assets for this program, one folder for each family. What other
programs have brought into HF_HOME's cache is used from there. Nothing fetched is used before its digest is found right.
"""

import os
from collections.abc import Generator, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from stitch.core.errors import WeightsError
from stitch.core.events import Event, Notice, Progress, finished
from stitch.core.words import size_text
from stitch.runtime.disk import disk_errors
from stitch.store.checksums import digest_of, matches, recorded
from stitch.store.download import Wanted, download, in_hub_cache, require_room
from stitch.store.packages import Wheels

State = Literal["bundled", "yours", "here", "not checked", "partly here", "missing", "damaged"]


@dataclass(frozen=True)
class Part:
    """One file of a family.

    Attributes:
        family, name: which part of which family.
        file: its name.
        size: bytes.
        digest: of the content, hexadecimal: SHA-256, or git's blob id (40 digits) where nobody has published more;
            beside a blob id the size is an estimate, the id itself vouches for the length.
        licence: one line for people.
        sources: where it can be fetched, best first, as `store.download.Wanted` has them; none for bundled files.
        also: other names under which people have this file, or one that serves as well.
        optional: what it is needed for, if not always.
        folder: of a bundled file.
    """

    family: str
    name: str
    file: str
    size: int
    digest: str
    licence: str
    sources: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    optional: str = ""
    folder: Path | None = None


@dataclass(frozen=True)
class Held:
    """Where one part is.

    Attributes:
        state: "here" is verified; "not checked" lies there and has the right name, "yours" is not held to the table.
        path: of the file, if there is one.
        missing: bytes still to be fetched.
    """

    part: Part
    state: State
    path: Path | None
    missing: int = 0


def store() -> Path:
    """The folder that fetched files lie in, a folder for each family."""
    from huggingface_hub import constants

    return Path(constants.HF_ASSETS_CACHE) / "stitch"


def survey(parts: Sequence[Part], folder: Path | None = None) -> list[Held]:
    """What is there, without reading the files themselves.

    Args:
        parts: rows of the table.
        folder: the user's own files.
    """
    own = _own_files(parts, folder)
    return [Held(row, "yours", own[row]) if row in own else _held(row) for row in parts]


def fetch(parts: Sequence[Part], folder: Path | None = None) -> Generator[Event, None, None]:
    """Bring every part to this machine that is not there, and verify what has not been verified yet.

    Args:
        parts: rows of the table; bundled ones need nothing.
        folder: the user's own files, taken first and not held to the table.
    Raises:
        WeightsError: see `stitch.store.download.download`; nothing is begun when the disk has no room for all.
    """
    own = _own_files(parts, folder)
    if own:
        used = ", ".join(f"{path} ({row.name})" for row, path in own.items())
        yield Notice(f"your own files are used, which are not held to the published hashes: {used}")
    missing = []
    for row in parts:
        if row not in own and row.sources and (yield from _located(row)) is None:
            missing.append(row)
    if not missing:
        return
    size = sum(_held(row).missing for row in missing)
    require_room(store(), size)
    licences = "; ".join(dict.fromkeys(row.licence for row in missing))
    yield Notice(f"fetching {_count(missing)}, {size_text(size)}, into {store()}. Licences: {licences}")
    with Wheels() as wheels:
        for row in missing:
            yield from download(_wanted(row), _records(), wheels)


def verify(parts: Sequence[Part], folder: Path | None = None) -> Generator[Event, None, list[Held]]:
    """Read every file that is there anew; a fetched one that is not what it should be is deleted.

    Args:
        parts: rows of the table.
        folder: the user's own files, which are held to nothing.
    Returns:
        As `survey`; "damaged" are those that were wrong.
    """
    own, found = _own_files(parts, folder), []
    for row in parts:
        before = Held(row, "yours", own[row]) if row in own else _held(row)
        if row not in own and before.path is not None and (yield from _located(row, anew=True)) is None:
            found.append(Held(row, "damaged", before.path, row.size if row.sources else 0))
        else:
            found.append(before if row in own else _held(row))
    return found


def files_of(parts: Sequence[Part], folder: Path | None) -> dict[Part, Path]:
    """Every part's file, verified, without fetching anything.

    Args:
        parts: rows of the table.
        folder: the user's own files, taken first and not held to the table.
    Raises:
        WeightsError: files are missing or wrong; it names them all.
    """
    files: dict[Part, Path] = _own_files(parts, folder)
    for row in parts:
        if row not in files and (path := finished(_located(row))) is not None:
            files[row] = path
    missing = [row for row in parts if row not in files]
    for row in missing:
        if not row.sources:
            raise WeightsError(f"{_bundled(row)}: missing, damaged or replaced; install Stitch again")
    if missing:
        family, names = missing[0].family, ", ".join(row.name for row in missing)
        size = size_text(sum(_held(row).missing for row in missing))
        only = "" if len(missing) > 1 else f" --only {names}"
        raise WeightsError(
            f"family {family}: {names} not here yet ({size}); fetch with 'python -m stitch weights fetch --family "
            f"{family}{only}', or name a folder that holds what is missing with --weights"
        )
    return files


def facts(one: Held) -> dict[str, Any]:
    """A part and where it is, for programs."""
    row = {name: value for name, value in asdict(one.part).items() if name != "folder"}
    return row | {"state": one.state, "path": _text(one.path), "missing": one.missing}


def table(held: Sequence[Held]) -> str:
    """Parts and where they are, for people."""
    lines = []
    for family in dict.fromkeys(one.part.family for one in held):
        rows = [one for one in held if one.part.family == family]
        always = [one for one in rows if not one.part.optional]
        missing = sum(one.missing for one in always)
        size, state = sum(row.part.size for row in always), f"{size_text(missing)} to fetch" if missing else "all here"
        lines.append(f"family {family}: {_count(always)}, {size_text(size)}, {state}")
        lines += [_line(one) for one in rows]
    return "\n".join(lines)


def paths(held: Sequence[Held]) -> str:
    """Where the parts are, one a line; "-" for those that are not here."""
    return "\n".join(f"{one.part.family} {one.part.name:<21} {_text(one.path) or '-'}" for one in held)


def _line(one: Held) -> str:
    """One part of `table`."""
    row = one.part
    notes = [row.licence]
    notes += [f"only when it is named: {row.optional}"] if row.optional else []
    notes += [str(one.path)] if one.state in ("yours", "damaged") else []
    return f"  {row.name:<21} {size_text(row.size):>8}  {one.state:<11}  {'; '.join(notes)}"


def _count(files: Sequence[Any]) -> str:
    return f"{len(files)} file{'' if len(files) == 1 else 's'}"


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _own_files(parts: Sequence[Part], folder: Path | None) -> dict[Part, Path]:
    """The user's own files, found by name, or else by what is in them."""
    folder = folder or (Path(named) if (named := os.environ.get("STITCH_WEIGHTS")) else None)
    if folder is None:
        return {}
    try:
        files = {path.name: path for path in sorted(folder.iterdir()) if path.is_file()}
    except OSError as error:
        raise WeightsError(f"{folder}: no folder of weights ({error.strerror}); correct --weights or "
                           "STITCH_WEIGHTS") from error
    own = {}
    for row in parts:
        names = (row.file, *(source.rpartition("/")[2] for source in row.sources), *row.also) if row.sources else ()
        if (name := next((name for name in names if name in files), None)) is not None:
            own[row] = files[name]
    rest = [path for path in files.values() if path not in own.values()]
    wanting = {row.name: row for row in parts if row.sources and row not in own}
    if rest and wanting:
        from stitch.networks.formats.kinds import kind_of

        for path in rest:
            if (kind := kind_of(path)) in wanting:
                own[wanting.pop(kind)] = path
    return own


def _located(row: Part, anew: bool = False) -> Generator[Progress, None, Path | None]:
    """A copy of a file whose digest is right. Of the wrong ones, those that were fetched here are deleted."""
    for path in _copies(row):
        if not row.sources:
            right = (yield from digest_of(path, f"check {row.name}")) == row.digest
        else:
            right = yield from matches(path, row.digest, _records(), f"check {row.name}", anew)
        if right:
            return path
        if row.sources and path == _wanted(row).path:
            with disk_errors(str(path), WeightsError):
                path.unlink(missing_ok=True)
    return None


def _copies(row: Part) -> Iterator[Path]:
    """Where a file may lie on this machine: what came with Stitch, what was fetched, what other programs fetched."""
    own = _wanted(row).path if row.sources else _bundled(row)
    if own.is_file():
        yield own
    for source in row.sources:
        if (path := in_hub_cache(source)) is not None:
            yield path


def _held(row: Part) -> Held:
    """See `survey`, without the user's own files."""
    for path in _copies(row):
        if not row.sources:
            return Held(row, "bundled", path)
        known = recorded(path, row.digest, _records())
        if known is not False:
            return Held(row, "here" if known else "not checked", path)
    wanted = _wanted(row)
    arrived = wanted.arrived if row.sources else 0
    return Held(row, "partly here" if arrived else "missing", None, max(0, row.size - arrived))


def _bundled(row: Part) -> Path:
    return (row.folder or Path()) / row.file


def _wanted(row: Part) -> Wanted:
    return Wanted(store() / row.family / row.file, row.size, row.digest, row.sources, row.name)


def _records() -> Path:
    return store() / "verified"
