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

from stitch.core import looks
from stitch.core.errors import EditError, RunError, VideoError
from stitch.core.records import ClipInfo, Edit, Text
from stitch.core.settings import Corner, Settings
from stitch.faces.survey import WHOLE_S
from stitch.families import load
from stitch.methods.stit import preview
from stitch.runtime import runs
from stitch.runtime.disk import changed, disk_errors, is_file, write_whole
from stitch.study import report
from stitch.video.files import probe
from stitch.video.trust.disclosure import LANGUAGES

_SECRET = re.compile(r"[A-Za-z0-9_-]{32}")
_NAME = re.compile(r"[0-9a-f]{16}")
_TITLE_LENGTH = 60
_UPLOADING_S = FETCHING_S = 3600.0
_ROUNDING_S = 0.05
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
        uploads_an_hour, requests_a_minute: of one visitor; 0 sets no limit.
        behind_proxy: visitors come through a proxy that says their addresses.
    """

    largest_bytes: int = 500 * 2**20
    longest_s: float = 60.0
    longest_clip_s: float = WHOLE_S
    most_pixels: int = 4096 * 2304
    kept_s: float = 30 * 86400.0
    most_runs: int = 50
    uploads_an_hour: int = 0
    requests_a_minute: int = 0
    behind_proxy: bool = False

    def checked(self, clip: Path, title: str) -> ClipInfo:
        """What a clip is, if it may be taken.

        Args:
            clip: the file.
            title: how to call it to people, instead of its path.
        Raises:
            VideoError: it is no clip, or beyond the limits.
        """
        size = clip.stat().st_size if is_file(clip) else 0
        if size > self.largest_bytes:
            raise VideoError(f"{title}: {size / 2**20:.0f} MB; this page takes {self.largest_bytes / 2**20:.0f} MB: "
                             "make the clip shorter or smaller")
        try:
            info = probe(clip)
        except VideoError as error:
            raise VideoError(str(error).replace(str(clip), title)) from error
        length_s = info.frames / float(info.rate)
        if length_s > self.longest_clip_s:
            raise VideoError(f"{title}: {length_s:.0f} s long; this page takes {self.longest_clip_s:.0f} s: "
                             "cut out the part you want")
        if info.width * info.height > self.most_pixels:
            raise VideoError(f"{title}: {info.width} x {info.height} pixels; this page takes "
                             f"{self.most_pixels / 1e6:.1f} million a frame: scale the clip down")
        return info

    def too_long(self, length_s: float) -> bool:
        """Whether a part of this length is more than is rendered at a time."""
        return length_s > self.longest_s + _ROUNDING_S


ON_A_SPACE = Limits(
    largest_bytes=200 * 2**20, longest_s=20.0, longest_clip_s=60.0, most_pixels=1920 * 1080, kept_s=86400.0,
    most_runs=10, uploads_an_hour=60, requests_a_minute=600, behind_proxy=True,
)
ON_A_SPACES_PROCESSOR = replace(ON_A_SPACE, longest_s=5.0)
"""Without a GPU: what two cores do in some ten minutes."""


@dataclass(frozen=True)
class About:
    """What is kept of a run beside its clip: all that a render depends on, and what came of it.

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
        badge: "AI-edited" is written into the picture, in the corner `badge_place`.
        badge_place: a corner.
        language: of the badge and of the sentence to publish.
        consent: who agreed to be edited, by their numbers as faces, and when that was ticked, seconds since 1970.
        nobody: the clip shows somebody who does not exist and need not be asked.
        fleeting: a program asked for it, nobody can open it again, and deleted `FETCHING_S` after its last change.
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
    badge: bool = False
    badge_place: Corner = "bottom-right"
    language: str = LANGUAGES[0]
    consent: dict[str, float] = field(default_factory=dict)
    nobody: bool = False
    fleeting: bool = False
    state: str = "new"
    result: str = ""

    def settings(self) -> Settings:
        """For all stages."""
        base = Settings.preset(self.quality, load.about(self.family).presets)  # type: ignore[arg-type]
        return replace(
            base, video=replace(base.video, start_s=self.begin_s, end_s=self.end_s),
            faces=replace(base.faces, face=self.face), merge=replace(
                base.merge, badge=self.badge, badge_place=self.badge_place, badge_language=self.language),
        )

    @property
    def agreed(self) -> bool:
        """Whether the person whose face is edited agreed to it."""
        return self.nobody or str(self.face) in self.consent

    def edits(self) -> list[Edit | Text]:
        """What is asked for.

        Raises:
            EditError: nothing is.
        """
        if edits := looks.from_plain(self.look).edits():
            return edits
        raise EditError("nothing to change yet: move a slider, or say in words what the face should be")

    def length_s(self, info: ClipInfo) -> float:
        """How long the part is, of this clip."""
        return (self.end_s or info.end_s) - self.begin_s

    def frames(self, info: ClipInfo) -> int:
        """How many frames it has."""
        return max(1, round(self.length_s(info) * float(info.rate)))

    @property
    def learned(self) -> str:
        """Name of what stages 1-3 make of this part; every look of it shares that."""
        return runs.key_of([self.family, self.face, self.begin_s, self.end_s, self.quality])

    @property
    def version(self) -> str:
        """Name of what all stages make of it."""
        return runs.key_of([self.learned, self.look, self.badge and [self.badge_place, self.language]])


def _read(content: bytes) -> About:
    try:
        return About(**json.loads(content))
    except (ValueError, TypeError) as error:
        raise RunError(_GONE) from error


def _is_fleeting(mark: Path) -> bool:
    with suppress(RunError):
        return _read(mark.read_bytes()).fleeting
    return False


def _written(about: About) -> bytes:
    return json.dumps(asdict(about), indent=1).encode()


@dataclass(frozen=True)
class Entry:
    """One run of one browser: a clip, and every version that was made of it. Plain: it may cross into another process.

    Attributes:
        root: of all browsers' runs.
        browser, name: whose, and its name among them.
    """

    root: Path
    browser: str
    name: str

    @property
    def folder(self) -> Path:
        """Of what is kept."""
        return self.root / "kept" / self.browser / self.name

    @property
    def shown(self) -> Path:
        """Of what is served."""
        return self.root / "shown" / self.browser / self.name

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
        try:
            return _read(changed(self.folder / "about.json", lambda now: _written(replace(_read(now), **news))))
        except FileNotFoundError as error:
            raise RunError(_GONE) from error

    def delete(self) -> None:
        """Delete it with all its files."""
        for folder in (self.shown, self.folder):
            preview.forget(folder)
            shutil.rmtree(folder, ignore_errors=True)

    @property
    def clip(self) -> Path:
        """The source."""
        return self.shown / self.about.clip

    @property
    def player(self) -> Path:
        """The source as browsers can play it."""
        made = self.shown / "playable.mp4"
        return made if made.is_file() else self.clip

    def work(self, about: About) -> Path:
        """Where stages 1-3 are kept for what is set."""
        return self.folder / "work" / about.learned

    def versions(self) -> dict[str, dict[str, Any]]:
        """Records of what was made of it, by the names of their folders in `shown`, the oldest first."""
        return report.kept(self.shown)


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
        info = self._limits.checked(upload, name[:_TITLE_LENGTH])
        if len(self.runs()) >= self._limits.most_runs:
            raise RunError(f"you already keep {self._limits.most_runs} runs here; delete one below first")
        entry = Entry(self._root, self.browser, secrets.token_hex(8))
        clip = f"clip{upload.suffix if _SUFFIX.fullmatch(upload.suffix) else ''}"
        title = title or Path(name).stem[:_TITLE_LENGTH] or "clip"
        # What can be rendered is chosen at first.
        end_s = self._limits.longest_s if self._limits.too_long(info.end_s) else None
        with disk_errors("your clip"):
            entry.folder.mkdir(parents=True)
            entry.shown.mkdir(parents=True)
            shutil.copyfile(upload, entry.shown / clip)
            write_whole(entry.folder / "about.json", _written(About(title, clip, time.time(), family, end_s=end_s)))
        return entry, replace(info, path=entry.clip)


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

    def known(self, secret: object) -> str:
        """The browser's secret, or a new one where it has none: whoever keeps nothing here needs none."""
        return secret if isinstance(secret, str) and _SECRET.fullmatch(secret) else self.new_secret()

    def session(self, secret: object) -> Session:
        """The browser that knows this secret.

        Raises:
            RunError: it is not of the form that `new_secret` gives.
        """
        if self.known(secret) != secret:
            raise RunError("this page does not know your browser; allow it to store data for this site and reload")
        return Session(self.root, hashlib.sha256(str(secret).encode()).hexdigest()[:32], self.limits)

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
                age_s = now - mark.stat().st_mtime
                if (entry.browser, entry.name) not in busy and age_s > min(FETCHING_S, self.limits.kept_s):
                    if age_s > self.limits.kept_s or _is_fleeting(mark):
                        entry.delete()
        for path in self.uploads.iterdir():
            with suppress(OSError):
                if now - path.stat().st_mtime > _UPLOADING_S:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
