"""Downloads, from a server on this machine that behaves as the Hub does, and misbehaves as networks do."""

import hashlib
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from filelock import FileLock
from huggingface_hub import constants

from stitch.core.errors import WeightsError
from stitch.core.events import Notice, Progress
from stitch.store import download as downloads
from stitch.store.download import Patience, Wanted, download, in_hub_cache, require_room
from stitch.store.packages import Wheels
from tests import hub as faults
from tests.hub import Hub

REPOSITORY = Path(__file__).resolve().parents[2]
CONTENT = bytes(range(256)) * 4096
SIZE = len(CONTENT)
HALF = SIZE // 2
DIGEST = hashlib.sha256(CONTENT).hexdigest()
QUICK = Patience(timeout_s=60.0, first_tries=3, tries=4, first_wait_s=0.01, longest_wait_s=3.0)
"""Seldom waits, yet gives a busy machine's server all the time it wants."""


@pytest.fixture
def server(monkeypatch):
    """A Hub at HF_ENDPOINT, and a user's token."""
    server = Hub()
    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    yield server
    server.close()


@pytest.fixture
def wanted(tmp_path):
    """The content, wherever it comes from."""

    def made(*sources, digest=DIGEST, size=SIZE):
        return Wanted(tmp_path / "store" / "file.pt", size, digest, sources, "file")

    return made


@pytest.fixture
def fetch(tmp_path):
    """Download and say what happened."""

    def fetched(wanted, patience=QUICK):
        with Wheels() as wheels:
            return list(download(wanted, tmp_path / "records", wheels, patience))

    return fetched


def notices(events):
    return [event.message for event in events if isinstance(event, Notice)]


def in_place(wanted, content=CONTENT):
    """The file is there, and nothing else but the lock."""
    names = {path.name for path in wanted.path.parent.iterdir()} - {"file.pt.lock"}
    return names == {"file.pt"} and wanted.path.read_bytes() == content


def nothing_left(wanted):
    return {path.name for path in wanted.path.parent.iterdir()} <= {"file.pt.lock"}


def test_download_fetches_from_the_hub_once(server, wanted, fetch):
    stored = server.put("me/nets", "deep/file.pt", CONTENT)
    file = wanted("hf://me/nets/deep/file.pt")
    events = fetch(file)
    assert in_place(file) and notices(events) == []
    assert events[-1] == Progress("file", len(CONTENT), len(CONTENT), "byte")
    asked = [method for method, path, _ in server.requests if path == "/me/nets/resolve/main/deep/file.pt"]
    assert asked == ["HEAD", "GET"]
    assert len(server.gets(stored)) == 1
    server.requests.clear()
    assert fetch(file) == [] and server.requests == []


@pytest.mark.parametrize(
    ("source", "kind", "revision"),
    [("hf://spaces/me/nets/file.pt", "spaces/", "main"), ("hf://datasets/me/nets@v2/file.pt", "datasets/", "v2")],
)
def test_download_knows_spaces_datasets_and_revisions(server, wanted, fetch, source, kind, revision):
    server.put("me/nets", "file.pt", CONTENT, kind, revision)
    file = wanted(source)
    fetch(file)
    assert in_place(file)


def test_download_gives_the_token_to_the_hub_only(server, wanted, fetch):
    stored = server.put("me/nets", "file.pt", CONTENT)
    fetch(wanted("hf://me/nets/file.pt"))
    for _, path, headers in server.requests:
        assert headers.get("authorization") == (None if path == stored else "Bearer hf_secret"), path
    server.requests.clear()
    (file := wanted(server.put_plain("/plain.pt", CONTENT))).path.unlink()
    fetch(file)
    assert ["authorization" in headers for _, _, headers in server.requests] == [False]


@pytest.mark.parametrize("place", ["hub", "plain"])
def test_download_resumes_what_was_cut(server, wanted, fetch, place):
    if place == "hub":
        stored, source = server.put("me/nets", "file.pt", CONTENT), "hf://me/nets/file.pt"
    else:
        source = server.put_plain(stored := "/file.pt", CONTENT)
    server.faults[stored] = [faults.cut_after(HALF), faults.cut_after(1000)]
    file = wanted(source)
    said = notices(fetch(file))
    assert in_place(file)
    ranges = [headers.get("range") for headers in server.gets(stored)]
    assert ranges == [None, f"bytes={HALF}-", f"bytes={HALF + 1000}-"]
    assert len(said) == 2 and all("trying again" in text for text in said)


def test_download_goes_on_after_the_program_was_stopped(server, wanted, fetch, tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "_SHOWN_EVERY_S", 0.0)
    source = server.put_plain("/file.pt", CONTENT)
    file = wanted(source)
    work = download(file, tmp_path / "records", Wheels(), QUICK)
    while next(work).done < HALF:
        pass
    work.close()
    arrived = file.part.stat().st_size
    assert HALF <= arrived < len(CONTENT) and not file.path.exists()
    events = fetch(file)
    assert in_place(file) and server.gets("/file.pt")[1]["range"] == f"bytes={arrived}-"
    assert next(event for event in events if isinstance(event, Progress)).done > arrived


def test_download_begins_anew_where_ranges_are_unknown(server, wanted, fetch):
    source = server.put_plain("/file.pt", CONTENT)
    server.faults["/file.pt"] = [faults.cut_after(HALF), faults.without_ranges]
    file = wanted(source)
    fetch(file)
    assert in_place(file) and len(server.gets("/file.pt")) == 2


def test_download_survives_a_part_of_another_file(server, wanted, fetch):
    source = server.put_plain("/file.pt", CONTENT)
    file = wanted(source)
    for rubbish in (b"\0" * HALF, b"\0" * len(CONTENT), b"\0" * (len(CONTENT) + 1)):
        file.path.parent.mkdir(exist_ok=True)
        file.part.write_bytes(rubbish)
        fetch(file)
        assert in_place(file)
        file.path.unlink()


def test_download_never_keeps_wrong_bytes(server, wanted, fetch):
    bad = CONTENT[:-1] + b"\0"
    stored = server.put("me/nets", "file.pt", CONTENT)
    server.faults[stored] = [faults.instead(bad)] * 2
    file = wanted("hf://me/nets/file.pt", server.put_plain("/file.pt", CONTENT))
    assert "hf://me/nets/file.pt: sent a file with other content" in " ".join(notices(fetch(file)))
    assert in_place(file)
    file.path.unlink()
    with pytest.raises(WeightsError, match=r"no source gave the right file \(hf://me/nets/file.pt: sent a file with"):
        fetch(wanted("hf://me/nets/file.pt"))
    assert nothing_left(file)


@pytest.mark.parametrize("other", [CONTENT + b"more", CONTENT[:-9]])
def test_download_refuses_another_size_unread(server, wanted, fetch, other):
    stored = server.put("me/nets", "file.pt", other)
    sources = ("hf://me/nets/file.pt", server.put_plain("/file.pt", other))
    with pytest.raises(WeightsError, match=rf"has {len(other)} bytes, expected {len(CONTENT)}.*has {len(other)} bytes"):
        fetch(file := wanted(*sources))
    assert server.gets(stored) == [] and nothing_left(file)


def test_download_asks_the_hub_first_whether_it_is_the_file(server, wanted, fetch):
    stored = server.put("me/nets", "file.pt", CONTENT[::-1])
    with pytest.raises(WeightsError, match="has another file there"):
        fetch(wanted("hf://me/nets/file.pt"))
    assert server.gets(stored) == []


def test_download_takes_the_next_source_and_names_all_that_failed(server, wanted, fetch):
    server.answers["/me/locked/resolve/main/file.pt"] = (401, {"X-Error-Code": "GatedRepo"})
    gone, locked = "hf://me/gone/file.pt", "hf://me/locked/file.pt"
    file = wanted(gone, locked, server.put_plain("/file.pt", CONTENT))
    first, second = notices(fetch(file))
    assert first == f"{gone}: does not have it (HTTP 404); trying the next source"
    assert second.startswith(f"{locked}: wants permission (HTTP 401); if it is yours to ask for, set HF_TOKEN")
    assert in_place(file)
    file.path.unlink()
    with pytest.raises(WeightsError) as caught:
        fetch(wanted(gone, locked, f"{server.url}/nowhere.pt"))
    for part in (gone, "HTTP 404", locked, "HTTP 401", "/nowhere.pt: does not have it", "try again later, or name a"):
        assert part in str(caught.value)


@pytest.mark.parametrize("code", [429, 503])
def test_download_waits_as_long_as_it_is_asked_to(server, wanted, fetch, code, monkeypatch):
    waits = []
    monkeypatch.setattr(downloads.time, "sleep", waits.append)
    source = server.put_plain("/file.pt", CONTENT)
    server.faults["/file.pt"] = [faults.status(code, Retry_After="2"), faults.status(code)]
    file = wanted(source)
    said = notices(fetch(file))
    assert in_place(file) and waits == [2.0, 0.02]
    assert f"HTTP {code}, 2 s); trying again in 2 s" in said[0]


@pytest.mark.parametrize("asked", ["3600", "Wed, 21 Oct 2099 07:28:00 GMT"])
def test_download_passes_over_a_source_that_asks_for_too_long_a_pause(server, wanted, fetch, asked):
    busy = server.put_plain("/busy.pt", CONTENT)
    server.faults["/busy.pt"] = [faults.status(429, Retry_After=asked)]
    file = wanted(busy, server.put_plain("/file.pt", CONTENT))
    (said,) = notices(fetch(file))
    assert "busy.pt: asks for a pause (HTTP 429" in said and said.endswith("trying the next source")
    assert in_place(file) and len(server.gets("/busy.pt")) == 1


def test_download_heeds_the_pause_that_the_hub_itself_asks_for(server, wanted, fetch):
    server.answers["/me/nets/resolve/main/file.pt"] = (429, {"Retry-After": "999"})
    with pytest.raises(WeightsError, match=r"asks for a pause \(HTTP 429, 999 s\)"):
        fetch(wanted("hf://me/nets/file.pt"))


def test_download_gives_up_on_a_server_that_stays_broken(server, wanted, fetch):
    broken = server.put_plain("/broken.pt", CONTENT)
    server.faults["/broken.pt"] = [faults.status(500)] * 9
    file = wanted(broken, server.put_plain("/file.pt", CONTENT))
    fetch(file)
    assert in_place(file) and len(server.gets("/broken.pt")) == QUICK.first_tries


@pytest.mark.parametrize("after", [0, HALF])
def test_download_does_not_wait_for_a_silent_server(server, wanted, fetch, after):
    source = server.put_plain("/file.pt", CONTENT)
    server.faults["/file.pt"] = [faults.hang(after)]
    file = wanted(source)
    said = notices(fetch(file, replace(QUICK, timeout_s=2.0)))
    assert in_place(file) and "Timeout" in said[0]
    assert server.gets("/file.pt")[1].get("range") == (f"bytes={after}-" if after else None)


def test_download_says_when_nobody_answers(server, wanted, fetch):
    server.close()
    with pytest.raises(WeightsError, match="hf://me/nets/file.pt: ConnectError.*127.0.0.1.*: ConnectError"):
        fetch(wanted("hf://me/nets/file.pt", f"{server.url}/file.pt"))


@pytest.mark.parametrize("content", [CONTENT, CONTENT + b"longer than the estimate"])
def test_download_believes_gits_id_more_than_the_estimated_size(server, wanted, fetch, content):
    digest = hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()
    source = server.put_plain("/file.npy", content)
    server.faults["/file.npy"] = [faults.cut_after(HALF)]
    file = wanted(source, digest=digest)
    fetch(file)
    assert in_place(file, content)
    file.path.rename(file.part)
    fetch(file)
    assert in_place(file, content)
    file.path.unlink()
    with pytest.raises(WeightsError, match="other content"):
        fetch(wanted(source, digest="0" * 40))
    assert nothing_left(file)


def test_download_replaces_a_damaged_file(server, wanted, fetch):
    file = wanted(server.put_plain("/file.pt", CONTENT))
    file.path.parent.mkdir()
    file.path.write_bytes(b"\0" * len(CONTENT))
    assert "damaged, so it is fetched again" in notices(fetch(file))[0]
    assert in_place(file)


@contextmanager
def largest_file(count):
    """No file of this process may grow beyond `count` bytes, as on a full disk."""
    resource = pytest.importorskip("resource", reason="needs limits of file sizes")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (count, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_download_keeps_what_fitted_on_a_full_disk(server, wanted, fetch):
    file = wanted(server.put_plain("/file.pt", CONTENT))
    with largest_file(HALF), pytest.raises(WeightsError, match="the disk is full; free some space and run the same"):
        fetch(file)
    assert not file.path.exists() and 0 < file.part.stat().st_size <= HALF
    fetch(file)
    assert in_place(file) and server.gets("/file.pt")[1]["range"].startswith("bytes=")


def test_download_refuses_what_cannot_fit_before_asking(server, wanted, fetch, monkeypatch, tmp_path):
    monkeypatch.setattr(downloads.shutil, "disk_usage", lambda folder: type("", (), {"free": 65 << 20})())
    file = wanted(server.put_plain("/file.pt", CONTENT), size=2 << 30)
    with pytest.raises(WeightsError, match=r"2.15 GB are to be fetched and the disk has 0.07 GB left; .* HF_HOME"):
        fetch(file)
    assert server.requests == []
    require_room(tmp_path / "not" / "made" / "yet", 1 << 20)


def test_download_says_when_the_folder_is_not_writable(wanted, fetch, tmp_path):
    (tmp_path / "store").write_text("a file")
    with pytest.raises(WeightsError, match="cannot be written"):
        fetch(wanted("https://localhost:1/file.pt"))


def test_download_offline_needs_nothing_when_all_is_there(server, wanted, fetch, monkeypatch):
    file = wanted(server.put_plain("/file.pt", CONTENT))
    fetch(file)
    server.requests.clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert fetch(file) == []
    file.path.unlink()
    with pytest.raises(WeightsError, match="file.pt: not here yet, and HF_HUB_OFFLINE forbids to fetch it; unset"):
        fetch(file)
    assert server.requests == []


def test_in_hub_cache_finds_what_other_programs_fetched(server):
    from huggingface_hub import hf_hub_download

    assert in_hub_cache("hf://me/nets/deep/file.pt") is None
    server.put("me/nets", "deep/file.pt", CONTENT)
    hf_hub_download("me/nets", "deep/file.pt")
    assert in_hub_cache("hf://me/nets/deep/file.pt").read_bytes() == CONTENT
    assert in_hub_cache(f"hf://me/nets@{'c' * 40}/deep/file.pt") is not None
    assert in_hub_cache("https://example.org/file.pt") is None


def test_download_waits_for_another_process_and_shows_what_arrives(server, wanted, tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "_POLL_S", 0.01)
    file = wanted(server.put_plain("/file.pt", CONTENT))
    file.path.parent.mkdir()
    file.part.write_bytes(CONTENT[:HALF])
    other = FileLock(f"{file.path}.lock")
    with other:
        work = download(file, tmp_path / "records", Wheels(), QUICK)
        assert next(work) == Notice("file.pt: another Stitch is fetching it; waiting")
        assert [next(work) for _ in range(2)] == [Progress("file", HALF, SIZE, "byte")] * 2
        file.part.rename(file.path)
        file.path.write_bytes(CONTENT)
    list(work)
    assert in_place(file) and server.requests == []


def test_download_by_two_processes_fetches_once(server, wanted, tmp_path):
    source = server.put_plain("/file.pt", CONTENT)
    server.faults["/file.pt"] = [faults.slowly(1.5)] * 2
    program = (
        "import sys; from pathlib import Path; from stitch.store.download import *\n"
        f"file = Wanted(Path({str(wanted().path)!r}), {len(CONTENT)}, {DIGEST!r}, ({source!r},), 'file')\n"
        f"for event in download(file, Path({str(tmp_path / 'records')!r}), Wheels()): print(event)\n"
    )
    both = [
        subprocess.Popen([sys.executable, "-c", program], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [process.communicate(timeout=600)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert in_place(wanted()) and len(server.gets("/file.pt")) == 1
    assert sum("another Stitch is fetching it; waiting" in text for text in said) <= 1
