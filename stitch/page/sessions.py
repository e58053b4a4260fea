"""Who may see which run: each browser has a folder of its own, named by a secret that only it knows.

    kept/<browser>/<run>/     what is known of a clip, and the runs of `stitch.runtime.runs`; never served
    shown/<browser>/<run>/    the clip itself and finished results, the only files that are served
    uploads/                  clips on their way in; gradio's whole cache lies here, and nothing stays

No path ever comes from a browser: it says its secret and the short name of one of its runs.
"""

import hashlib
import json
import re
import secrets
import shutil
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from stitch.core.errors import RunError, VideoError
from stitch.core.records import ClipInfo
from stitch.faces.survey import WHOLE_S
from stitch.runtime.disk import changed, disk_errors, write_whole
from stitch.stit import preview
from stitch.video.files import probe

_SECRET = re.compile(r"[A-Za-z0-9_-]{32}")
_NAME = re.compile(r"[0-9a-f]{16}")
_TITLE_LENGTH = 60
_UPLOADING_S = 3600.0
_GONE = "this run is no longer here; it was deleted or has expired: upload the clip again"
_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,5}")


@dataclass(frozen=True)
class Limits:
    """What a page takes, so that everybody gets a turn.

    Attributes:
        largest_bytes: of an upload.
        longest_s: of the part of a clip that is rendered.
        longest_clip_s: of a whole clip, which is looked through for faces; in a longer one persons would be counted
            anew in other parts.
        most_pixels: of a frame.
        kept_s: runs are deleted this long after they were last touched.
        most_runs: of one browser.
    """

    largest_bytes: int = 500 * 2**20
    longest_s: float = 60.0
    longest_clip_s: float = WHOLE_S
    most_pixels: int = 4096 * 2304
    kept_s: float = 30 * 86400.0
    most_runs: int = 50


ON_A_SPACE = Limits(
    largest_bytes=200 * 2**20, longest_s=20.0, longest_clip_s=60.0, most_pixels=1920 * 1080, kept_s=86400.0,
    most_runs=10,
)
ON_A_SPACES_PROCESSOR = replace(ON_A_SPACE, longest_s=5.0)
"""Without a GPU: what two cores do in some ten minutes."""


@dataclass(frozen=True)
class About:
    """What is kept of a run beside its clip.

    Attributes:
        title: the upload's name, for people.
        clip: the file's name in the run's folder.
        made: when, seconds since 1970.
        family: whose networks edit it now.
        people: how many faces they found; -1 before the survey.
        lost: in how many frames they found none.
        cuts: how many cuts the clip has.
        face: which face is edited, counted from 1.
        begin_s, end_s: the part that is rendered.
        quality: a preset's name.
        look: the edits that are set, as `Look.plain` gives them.
        state: "new", "stopped", "failed" or "done".
        result: folder of the version that is shown, below the run's shown folder.
    """

    title: str
    clip: str
    made: float
    family: str
    people: int = -1
    lost: int = 0
    cuts: int = 0
    face: int = 1
    begin_s: float = 0.0
    end_s: float | None = None
    quality: str = "fast"
    look: dict[str, Any] = field(default_factory=dict)
    state: str = "new"
    result: str = ""


def _read(content: bytes) -> About:
    try:
        return About(**json.loads(content))
    except (ValueError, TypeError) as error:
        raise RunError(_GONE) from error


def _written(about: About) -> bytes:
    return json.dumps(asdict(about), indent=1).encode()


class Entry:
    """One run of one browser: a clip, and every version that was made of it.

    Attributes:
        browser, name: whose, and its name among them.
        folder: of what is kept.
        shown: of what is served.
    """

    def __init__(self, root: Path, browser: str, name: str) -> None:
        self.browser, self.name = browser, name
        self.folder = root / "kept" / browser / name
        self.shown = root / "shown" / browser / name

    @property
    def about(self) -> About:
        """What is known of it now.

        Raises:
            RunError: it is gone, or cannot be read.
        """
        try:
            return _read((self.folder / "about.json").read_bytes())
        except OSError as error:
            raise RunError(_GONE) from error

    def change(self, **news: Any) -> About:
        """Keep what is new about it; nothing is lost of what others change at the same time.

        Raises:
            RunError: it is gone, or the disk is full.
        """
        if all(getattr(self.about, name) == value for name, value in news.items()):
            return self.about

        def changed_about(now: bytes) -> bytes:
            return _written(replace(_read(now), **news))

        try:
            return _read(changed(self.folder / "about.json", changed_about))
        except FileNotFoundError as error:
            raise RunError(_GONE) from error

    def write(self, about: About) -> None:
        """Keep all that is known of it."""
        with disk_errors("this run"):
            write_whole(self.folder / "about.json", _written(about))

    @property
    def clip(self) -> Path:
        """The source."""
        return self.shown / self.about.clip

    @property
    def player(self) -> Path:
        """The source as browsers can play it."""
        made = self.shown / "playable.mp4"
        return made if made.is_file() else self.clip

    def versions(self) -> dict[str, dict[str, Any]]:
        """What was made of it, by the name of its folder, the oldest first."""
        found = {}
        for path in self.shown.glob("*/result.json"):
            with suppress(OSError, ValueError):
                found[path.parent.name] = json.loads(path.read_text())
        return dict(sorted(found.items(), key=lambda one: one[1].get("made", 0.0)))


class Session:
    """The runs of one browser."""

    def __init__(self, root: Path, browser: str, limits: Limits) -> None:
        self.browser = browser
        self._root, self._limits = root, limits

    def runs(self) -> list[Entry]:
        """All that can be read, the newest first."""
        made = {}
        for path in (self._root / "kept" / self.browser).glob("*/about.json"):
            entry = Entry(self._root, self.browser, path.parent.name)
            with suppress(RunError):
                made[entry] = entry.about.made
        return sorted(made, key=lambda entry: -made[entry])

    def open(self, name: object) -> Entry:
        """A run of this browser.

        Raises:
            RunError: there is none of that name.
        """
        entry = Entry(self._root, self.browser, name if isinstance(name, str) and _NAME.fullmatch(name) else "0" * 16)
        entry.about  # noqa: B018 - refuses what is gone
        return entry

    def add(self, upload: Path, family: str, title: str | None = None) -> tuple[Entry, ClipInfo]:
        """Take a clip in.

        Args:
            upload: the file, already on this machine; it is copied.
            family: whose networks will edit it.
            title: how people know it; None goes by the file's name.
        Returns:
            The new run, and what the clip is.
        Raises:
            VideoError: it is no clip, or beyond the limits.
            RunError: this browser has too many runs, or the disk is full.
        """
        name = " ".join("".join(letter if letter.isprintable() else " " for letter in upload.name).split())
        info = checked(upload, self._limits, name[:_TITLE_LENGTH])
        if len(self.runs()) >= self._limits.most_runs:
            raise RunError(f"you already keep {self._limits.most_runs} runs here; delete one below first")
        entry = Entry(self._root, self.browser, secrets.token_hex(8))
        suffix = upload.suffix if _SUFFIX.fullmatch(upload.suffix) else ""
        with disk_errors("your clip"):
            entry.folder.mkdir(parents=True)
            entry.shown.mkdir(parents=True)
            shutil.copyfile(upload, entry.shown / f"clip{suffix}")
        title = title or Path(name).stem[:_TITLE_LENGTH] or "clip"
        most_s = self._limits.longest_s
        end_s = most_s if info.end_s > most_s + 0.05 else None  # what can be rendered is chosen at first
        entry.write(About(title, f"clip{suffix}", time.time(), family, end_s=end_s))
        return entry, replace(info, path=entry.clip)

    def delete(self, name: str) -> None:
        """Delete a run with all its files.

        Raises:
            RunError: there is none of that name.
        """
        _remove(self.open(name))


class Store:
    """All browsers' folders.

    Args:
        root: where they lie.
        limits: of every browser.
    """

    def __init__(self, root: Path, limits: Limits) -> None:
        self.root, self.limits = root, limits
        self.served, self.uploads = root / "shown", root / "uploads"
        with disk_errors("the folder of the page's runs"):
            for folder in (root / "kept", self.served, self.uploads):
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def new_secret(self) -> str:
        """A name for a browser that nobody can guess."""
        return secrets.token_urlsafe(24)

    def session(self, secret: object) -> Session:
        """The browser that knows this secret.

        Raises:
            RunError: it is not of the form that `new_secret` gives.
        """
        if not (isinstance(secret, str) and _SECRET.fullmatch(secret)):
            raise RunError("this page does not know your browser; allow it to store data for this site and reload")
        return Session(self.root, hashlib.sha256(secret.encode()).hexdigest()[:32], self.limits)

    def entry(self, browser: str, name: str) -> Entry:
        """A run by names that did not come from outside, whether it is still there or not."""
        return Entry(self.root, browser, name)

    def received(self, upload: Path) -> None:
        """Throw away an upload that was taken in or refused; other files stay."""
        if self.uploads.resolve() in upload.resolve().parents:
            shutil.rmtree(upload.parent, ignore_errors=True)

    def expire(self, busy: set[tuple[str, str]], now: float | None = None) -> None:
        """Delete what nobody touched for long.

        Args:
            busy: browsers and names of runs that are worked on.
            now: seconds since 1970; None asks the clock.
        """
        now = time.time() if now is None else now
        for mark in (self.root / "kept").glob("*/*/about.json"):
            entry = Entry(self.root, mark.parent.parent.name, mark.parent.name)
            with suppress(OSError):
                if (entry.browser, entry.name) not in busy and now - mark.stat().st_mtime > self.limits.kept_s:
                    _remove(entry)
        for path in self.uploads.iterdir():
            with suppress(OSError):
                if now - path.stat().st_mtime > _UPLOADING_S:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()


def checked(clip: Path, limits: Limits, title: str) -> ClipInfo:
    """What a clip is, if it may be taken.

    Args:
        clip: the file.
        limits: of this page.
        title: how to call it to people, instead of its path.
    Raises:
        VideoError: it is no clip, or beyond the limits.
    """
    size = clip.stat().st_size if clip.is_file() else 0
    if size > limits.largest_bytes:
        raise VideoError(f"{title}: {size / 2**20:.0f} MB; this page takes {limits.largest_bytes / 2**20:.0f} MB: "
                         "make the clip shorter or smaller")
    try:
        info = probe(clip)
    except VideoError as error:
        raise VideoError(str(error).replace(str(clip), title)) from error
    length_s = info.frames / float(info.rate)
    if length_s > limits.longest_clip_s:
        raise VideoError(f"{title}: {length_s:.0f} s long; this page takes {limits.longest_clip_s:.0f} s: "
                         "cut out the part you want")
    if info.width * info.height > limits.most_pixels:
        raise VideoError(f"{title}: {info.width} x {info.height} pixels; this page takes "
                         f"{limits.most_pixels / 1e6:.1f} million a frame: scale the clip down")
    return info


def _remove(entry: Entry) -> None:
    for folder in (entry.shown, entry.folder):
        preview.forget(folder)
        shutil.rmtree(folder, ignore_errors=True)
