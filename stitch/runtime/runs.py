"""A run's folder on disk: what is finished, how to go on after any interruption, and what may be tidied away.

    run.json             what the run was made from, and which stages are finished
    lock, owner          one process at a time
    <stage>.npz          records of finished stages
    crops.npy            aligned faces, memory-mapped
    tuned.safetensors    the tuned generator
    edits/<key>/         one edit's finished frames, filled chunk by chunk

Order of every write: the data, flushed to disk; then the mark that it is finished, by an atomic rename. Whatever moment
the process is killed at, a mark never speaks of data that is not there. No network and no tensor comes through this
file, so that the doors can refuse early without loading them.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, fields
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from platformdirs import user_cache_path

from stitch.core.errors import RunError, VideoError
from stitch.core.settings import Settings
from stitch.runtime.disk import disk_errors, state_of, whole, write_whole

FORMAT = 3
IMPLICIT_RUNS_KEPT = 5
EDITS_KEPT = 3

_KEY = re.compile(r"[0-9a-f]{16}")


def identity_of(settings: Settings, clip: Mapping[str, Any], family: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that stages 1-3 depend on; two runs with equal identities are the same run.

    Args:
        settings: only the parts of stages 1-3, the precision, the trim and the seed enter.
        clip: `clip_of(path)`.
        family: "name" and "weights" (a hash), plain values.
    Returns:
        Nested plain values, as JSON gives them back.
    """
    everything = asdict(settings)
    video = {name: everything["video"][name] for name in ("start_s", "end_s", "max_side_px")}
    compute = {"compute": {"precision": everything["compute"]["precision"]}}
    identity = {
        "clip": dict(clip),
        "family": dict(family),
        "settings": {"video": video} | {stage: everything[stage] for stage in ("faces", "align", "tune")} | compute,
        "seed": settings.seed,
    }
    return json.loads(json.dumps(identity))


def clip_of(path: Path) -> dict[str, Any]:
    """Size and content hash of a clip; a file that has not changed is read once in a process.

    Raises:
        VideoError: the file is missing or cannot be read.
    """
    try:
        return _clip_of(path.resolve(), state_of(path))
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", error)
        raise VideoError(f"{path}: cannot be read ({why}); check the name and the permissions") from error


@lru_cache(maxsize=64)
def _clip_of(path: Path, state: tuple[int, ...]) -> dict[str, Any]:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
        return {"bytes": file.tell(), "sha256": digest.hexdigest()}


def key_of(record: Any) -> str:
    """16 hexadecimal digits that name a record of plain values."""
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()[:16]


def implicit_folder(identity: Mapping[str, Any]) -> Path:
    """Where a run lives when the user names no folder: below the user's cache folder, under the identity's key."""
    return cache() / "runs" / key_of({"format": FORMAT, "identity": identity})


def cache() -> Path:
    """The user's cache folder of this program, where this system keeps such folders."""
    return user_cache_path("stitch", appauthor=False)


def page() -> Path:
    """Where the page keeps browsers' runs unless another place is named."""
    return cache() / "page"


class Run:
    """One run's folder. Nothing is read or written before `locked`.

    Attributes:
        folder: the run's folder.
        identity: what the run is made from (`identity_of`).
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any], source: Path, settings: Settings) -> None:
        self.folder = folder
        self.identity = MappingProxyType(dict(identity))
        self._about = {"source": str(source.absolute()), "settings": json.loads(json.dumps(asdict(settings)))}
        self._stages: dict[str, Any] = {}

    @contextmanager
    def locked(self) -> Iterator["Run"]:
        """Hold the folder for this process; makes it if it is new, and checks that it is this run if it is not.

        Raises:
            RunError: another process holds it, it belongs to another clip, family or other settings, it is no run's
                folder, or it cannot be written.
        """
        with disk_errors(f"run folder {self.folder}"):
            self.folder.mkdir(parents=True, exist_ok=True)
            _refuse_foreign(self.folder)
            lock = _acquire(self.folder)
        try:
            with disk_errors(f"run folder {self.folder}"):
                self._enter()
            yield self
        finally:
            lock.release()

    def _enter(self) -> None:
        record = _read_record(self.folder)
        if record is None:
            self._stages = {}
        else:
            differences = _differences(record, dict(self.identity), self._about["source"])
            if differences:
                raise RunError(f"run folder {self.folder}: {'; '.join(differences)}; choose another folder with --run, "
                               "or delete this one to prepare it again")
            self._stages = record["stages"]
        self._mark()

    def _mark(self) -> None:
        record = {"format": FORMAT, "identity": dict(self.identity), **self._about, "stages": self._stages}
        write_whole(self.folder / "run.json", json.dumps(record, indent=1).encode())

    def finished(self, stage: str) -> bool:
        """Whether one of stages 1-3 is finished."""
        return stage in self._stages

    def facts(self, stage: str) -> Mapping[str, Any]:
        """The plain values that `finish` was given for a finished stage."""
        return self._stages[stage]

    def finish(self, stage: str, arrays: Mapping[str, np.ndarray], **facts: Any) -> None:
        """Keep a stage's arrays, then mark it finished.

        Args:
            stage: a short name, unique in the run.
            arrays: what `load` gives back; may be empty when the stage has files of its own.
            facts: plain values to keep beside them in run.json.
        Raises:
            RunError: disk full.
        """
        with disk_errors(f"run folder {self.folder}"):
            with whole(self.folder / f"{stage}.npz") as temporary:
                np.savez(temporary, allow_pickle=False, **{name: np.asarray(value) for name, value in arrays.items()})
            self._stages = self._stages | {stage: facts}
            self._mark()

    def load(self, stage: str) -> dict[str, np.ndarray]:
        """The arrays of a finished stage.

        Raises:
            RunError: they are gone or damaged.
        """
        try:
            with np.load(self.folder / f"{stage}.npz", allow_pickle=False) as arrays:
                return {name: arrays[name] for name in arrays.files}
        except (OSError, ValueError, EOFError, KeyError) as error:
            raise self.damaged(f"{stage}.npz") from error

    def damaged(self, name: str) -> RunError:
        """The error for a file of a finished stage that is gone or cannot be read."""
        return RunError(f"run folder {self.folder}: {name} is missing or damaged; delete the folder and run again")

    def require(self, size: int) -> None:
        """Refuse to begin what cannot fit.

        Args:
            size: bytes about to be written in the run's folder.
        Raises:
            RunError: less than that is free.
        """
        free = shutil.disk_usage(self.folder).free
        if free < size:
            raise RunError(f"run folder {self.folder}: {size / 1e6:.0f} MB are needed and the disk has "
                           f"{free / 1e6:.0f} MB left; free some space, trim the clip, or choose another disk "
                           "with --run")

    def edit(self, key: str, rows: Mapping[str, tuple[np.dtype, tuple[int, ...]]]) -> "EditFolder":
        """The folder of one edit, new or as far as it came; other edits but the newest few are deleted.

        Args:
            key: names the edit (`key_of` of all it depends on).
            rows: name of each array -> its type and whole shape; the first length is the number of frames in all.
        Raises:
            RunError: no room, or not writable.
        """
        parent = self.folder / "edits"
        with disk_errors(f"run folder {self.folder}"):
            parent.mkdir(exist_ok=True)
            others = sorted((path for path in parent.iterdir() if path.name != key), key=_age)
            for path in others[: max(0, len(others) - EDITS_KEPT + 1)]:
                shutil.rmtree(path, ignore_errors=True)
        return EditFolder(self, parent / key, rows)


class EditFolder:
    """Finished frames of one edit: arrays on disk that fill from the front.

    Attributes:
        folder: where they lie.
        done: how many frames, counted from the first, are finished.
    """

    def __init__(self, run: Run, folder: Path, rows: Mapping[str, tuple[np.dtype, tuple[int, ...]]]) -> None:
        self.folder = folder
        self._rows = {name: (np.dtype(kind), shape) for name, (kind, shape) in rows.items()}
        lengths = {shape[0] for _, shape in self._rows.values()}
        if len(lengths) != 1:
            raise ValueError(f"rows: got lengths {lengths}, expected one")
        with disk_errors(f"run folder {run.folder}"):
            if not self._continued():
                shutil.rmtree(folder, ignore_errors=True)
                run.require(sum(_bytes(kind, shape) for kind, shape in self._rows.values()))
                folder.mkdir()
                self._offsets = {name: _new_array(folder / f"{name}.npy", *row) for name, row in self._rows.items()}
                self.done = 0
            self._mark()

    def _continued(self) -> bool:
        """Take up what an earlier process left; False if there is nothing, or nothing sound."""
        try:
            state = json.loads((self.folder / "done.json").read_text())
            arrays = {name: np.load(self.folder / f"{name}.npy", mmap_mode="r") for name in self._rows}
        except (OSError, ValueError):
            return False
        self.done = state["done"]
        self._offsets = {name: array.offset for name, array in arrays.items()}
        return all((arrays[name].dtype, arrays[name].shape) == row for name, row in self._rows.items())

    def _mark(self) -> None:
        write_whole(self.folder / "done.json", json.dumps({"done": self.done}).encode())

    def append(self, rows: Mapping[str, np.ndarray]) -> None:
        """Add the next frames: data first, flushed; then the mark.

        Args:
            rows: one array [b, ...] for each name, of the types and shapes promised.
        Raises:
            RunError: disk full.
        """
        count = {len(array) for array in rows.values()}
        if set(rows) != set(self._rows) or len(count) != 1:
            raise ValueError(f"rows: got {sorted(rows)} of lengths {count}, expected {sorted(self._rows)}, one length")
        with disk_errors(f"run folder {self.folder}"):
            for name, array in rows.items():
                kind, shape = self._rows[name]
                if array.shape[1:] != shape[1:] or array.dtype != kind:
                    raise ValueError(f"{name}: got {array.dtype} {array.shape}, expected {kind} [b, {shape[1:]}]")
                # Plain writes, not a memory map: a full disk then is an error and not a dead process.
                with open(self.folder / f"{name}.npy", "r+b") as file:
                    file.seek(self._offsets[name] + self.done * _bytes(kind, shape[1:]))
                    file.write(np.ascontiguousarray(array).tobytes())
                    file.flush()
                    os.fsync(file.fileno())
            self.done += count.pop()
            self._mark()

    def read(self, name: str, first: int = 0, count: int | None = None) -> np.ndarray:
        """Rows of one array, read from the file and not mapped, so that memory does not grow with the clip.

        Args:
            first: first frame.
            count: how many, None for all that are done.
        """
        kind, shape = self._rows[name]
        count = self.done - first if count is None else count
        if first < 0 or count < 0 or first + count > self.done:
            raise ValueError(f"first, count: got {first}, {count}, expected frames among the {self.done} that are done")
        offset = self._offsets[name] + first * _bytes(kind, shape[1:])
        size = count * int(np.prod(shape[1:], dtype=np.int64))
        return np.fromfile(self.folder / f"{name}.npy", kind, size, offset=offset).reshape(count, *shape[1:])


def recorded(folder: Path) -> tuple[Path, Settings, str]:
    """What an existing run was prepared from, so that an edit can be asked for without repeating it.

    Returns:
        The clip's path, the settings, and the family's name.
    Raises:
        RunError: there is no run in `folder`, or it is of another version.
    """
    record = _read_record(folder)
    if record is None:
        raise RunError(f"{folder}: no prepared run here; prepare one with 'stitch prepare CLIP --run {folder}'")
    try:
        stages = {}
        for stage in fields(Settings):
            value = record["settings"][stage.name]
            if isinstance(value, dict):
                plain = {name: tuple(item) if isinstance(item, list) else item for name, item in value.items()}
                value = type(getattr(Settings(), stage.name))(**plain)
            stages[stage.name] = value
        return Path(record["source"]), Settings(**stages), record["identity"]["family"]["name"]
    except (KeyError, TypeError) as error:
        raise RunError(f"{folder}: the run was prepared by another version of Stitch; delete it or choose another "
                       "folder with --run") from error


def is_prepared(folder: Path) -> bool:
    """Whether stages 1-3 of a run are finished."""
    try:
        record = _read_record(folder)
    except RunError:
        return False
    return record is not None and "tuned" in record["stages"]


def tidy(parent: Path, keep: int = IMPLICIT_RUNS_KEPT) -> None:
    """Delete all but the newest implicit runs; one that a process works in stays.

    Args:
        parent: the folder that implicit runs lie in; nothing else in it is touched.
    """
    with suppress(OSError):
        runs = sorted((path for path in parent.iterdir() if _KEY.fullmatch(path.name)), key=_age, reverse=True)
        for folder in runs[keep:]:
            with suppress(RunError):
                delete(folder)


def delete(folder: Path) -> None:
    """Delete a run's folder.

    Raises:
        RunError: a process works in it.
    """
    lock = _acquire(folder)
    try:
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        lock.release()


def _age(folder: Path) -> float:
    """When a run or an edit was last used: its mark is rewritten whenever it is opened."""
    for mark in ("run.json", "done.json"):
        with suppress(OSError):
            return (folder / mark).stat().st_mtime
    return 0.0


def _acquire(folder: Path) -> FileLock:
    """The operating system's own lock on the folder: it dies with its process, so a stale one cannot exist."""
    # Generators are resumed from any thread, so the lock must not belong to one.
    lock = FileLock(folder / "lock", thread_local=False)
    owner = folder / "owner"
    try:
        lock.acquire(timeout=0)
    except Timeout:
        pid = ""
        with suppress(OSError):
            pid = f" (process {owner.read_text().strip()})"
        raise RunError(f"run folder {folder}: in use by another Stitch{pid}; wait until it is finished, stop it, or "
                       "choose another folder with --run") from None
    try:
        owner.write_text(f"{os.getpid()}\n")
    except OSError:
        lock.release()
        raise
    return lock


def _refuse_foreign(folder: Path) -> None:
    """A folder with other things in it is not ours to fill."""
    if not (folder / "run.json").exists():
        names = sorted(path.name for path in folder.iterdir() if not path.match(".run.*.part.json"))
        strange = [name for name in names if name not in ("lock", "owner")]
        if strange:
            raise RunError(f"run folder {folder}: holds other files ({', '.join(strange[:3])}) and no run; choose an "
                           "empty or new folder with --run")


def _read_record(folder: Path) -> dict[str, Any] | None:
    try:
        record = json.loads((folder / "run.json").read_text())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise RunError(f"run folder {folder}: run.json cannot be read; delete the folder and run again") from error
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise RunError(f"run folder {folder}: prepared by another version of Stitch; delete it or choose another "
                       "folder with --run")
    return record


def _differences(record: Mapping[str, Any], identity: Mapping[str, Any], source: str) -> list[str]:
    """What sets the run on disk apart from the one asked for, in words."""
    old, found = record["identity"], []
    if old["clip"] != identity["clip"]:
        found.append(f"it was prepared from another clip ({record['source']}, not {source} as it is now)")
    if old["family"]["name"] != identity["family"]["name"]:
        found.append(f"it was prepared with the family '{old['family']['name']}', not '{identity['family']['name']}'")
    elif old["family"] != identity["family"]:
        found.append("the weights it was prepared with have changed")
    before, now = _flat(old["settings"]), _flat(identity["settings"])
    for name in sorted(before.keys() | now.keys()):
        if before.get(name) != now.get(name):
            found.append(f"it was prepared with {name} = {before.get(name)}, not {now.get(name)}")
    if old["seed"] != identity["seed"]:
        found.append(f"it was prepared with the seed {old['seed']}, not {identity['seed']}")
    return found


def _flat(settings: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {f"{stage}.{name}": value for stage, values in settings.items() for name, value in values.items()}


def _bytes(kind: np.dtype, shape: tuple[int, ...]) -> int:
    return kind.itemsize * int(np.prod(shape, dtype=np.int64))


def _new_array(path: Path, kind: np.dtype, shape: tuple[int, ...]) -> int:
    """Make an .npy file of zeros that takes no space yet; returns where its data begins."""
    return np.lib.format.open_memmap(path, "w+", kind, shape).offset
