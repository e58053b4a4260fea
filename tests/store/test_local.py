"""Where files of weights lie, whose they are, and that none is used unverified."""

import hashlib
import os
from dataclasses import replace

import pytest
import torch
from huggingface_hub import constants, hf_hub_download

from stitch.core.errors import WeightsError
from stitch.core.events import Notice, Progress
from stitch.store import local
from stitch.store.checksums import SHA256
from stitch.store.local import Held, Part
from tests.hub import Hub


@pytest.fixture
def server(monkeypatch):
    server = Hub()
    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    yield server
    server.close()


@pytest.fixture
def parts(server):
    """Two parts on the server: a parser and a detector."""
    rows = []
    for name, file in (("parser", "79999_iter.pth"), ("detector", "detection_Resnet50_Final.pth")):
        content = name.encode() * 1000
        server.put("me/nets", f"deep/{file}", content)
        source = f"hf://me/nets/deep/{file}"
        rows.append(Part("ffhq", name, file, len(content), hashlib.sha256(content).hexdigest(), "MIT", (source,)))
    return [rows[0], replace(rows[1], also=("small.pth",), licence="Apache-2.0")]


def states(parts, folder=None):
    return [one.state for one in local.survey(parts, folder)]


def test_fetch_brings_what_is_missing_and_says_how_much_and_under_which_licences(parts, server):
    assert states(parts) == ["missing", "missing"]
    first, *events = list(local.fetch(parts))
    assert first == Notice(f"fetching 2 files, 14 kB, into {local.store()}. Licences: MIT; Apache-2.0")
    assert {event.stage for event in events if isinstance(event, Progress)} == {"parser", "detector"}
    assert states(parts) == ["here", "here"]
    files = local.files_of(parts, None)
    assert [files[row].read_bytes() for row in parts] == [b"parser" * 1000, b"detector" * 1000]
    server.requests.clear()
    assert list(local.fetch(parts)) == [] and server.requests == []


def test_fetch_begins_nothing_when_all_together_do_not_fit(parts, server, monkeypatch):
    usage = type("", (), {"free": (64 << 20) + 10_000})()
    monkeypatch.setattr("stitch.store.download.shutil.disk_usage", lambda folder: usage)
    with pytest.raises(WeightsError, match="are to be fetched and the disk has"):
        list(local.fetch(parts))
    assert server.requests == []
    list(local.fetch(parts[:1]))
    assert states(parts) == ["here", "missing"]


def test_survey_counts_what_a_stopped_download_left(parts):
    part = local.store() / "ffhq" / "79999_iter.pth.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"parser")
    assert local.survey(parts)[0] == Held(parts[0], "partly here", None, 5994)


def test_survey_does_not_read_and_fetch_does(parts):
    path = local.store() / "ffhq" / "79999_iter.pth"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"parser" * 1000)
    assert local.survey(parts[:1]) == [Held(parts[0], "not checked", path)]
    assert list(local.fetch(parts[:1])) == []
    assert local.survey(parts[:1]) == [Held(parts[0], "here", path)]


@pytest.mark.parametrize("content", [b"", b"parser" * 999, b"Parser" * 1000])
def test_files_of_uses_no_damaged_file_and_leaves_none(parts, content):
    path = local.store() / "ffhq" / "79999_iter.pth"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"parser not here yet \(6 kB\); fetch with .*--family ffhq --only parser'"):
        local.files_of(parts[:1], None)
    assert not path.exists()


def test_files_of_names_everything_that_is_missing(parts):
    with pytest.raises(WeightsError, match=r"family ffhq: parser, detector not here yet \(14 kB\); .* --family ffhq'"):
        local.files_of(parts, None)


def test_files_of_takes_what_other_programs_fetched_if_it_is_right(parts, server, tmp_path):
    cached = hf_hub_download("me/nets", "deep/79999_iter.pth")
    assert states(parts) == ["not checked", "missing"]
    assert str(local.files_of(parts[:1], None)[parts[0]]) == cached
    assert states(parts) == ["here", "missing"]
    other = replace(parts[0], digest="0" * SHA256)
    with pytest.raises(WeightsError, match="parser not here yet"):
        local.files_of([other], None)
    assert os.path.exists(cached), "it is not ours to delete"


def test_files_of_works_offline_when_all_is_there(parts, server, monkeypatch):
    list(local.fetch(parts))
    server.close()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert list(local.fetch(parts)) == []
    assert len(local.files_of(parts, None)) == 2


@pytest.fixture
def own(tmp_path):
    folder = tmp_path / "own"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("name", ["detection_Resnet50_Final.pth", "small.pth"])
def test_files_of_takes_a_users_own_files_first(parts, own, name):
    list(local.fetch(parts))
    (own / name).write_bytes(b"mine, held to no hash")
    assert states(parts, own) == ["here", "yours"]
    assert local.files_of(parts, own)[parts[1]] == own / name


def test_files_of_finds_a_users_own_file_by_what_is_in_it(parts, own):
    torch.save({f"{head}.0.conv1x1.weight": torch.ones(1) for head in ("BboxHead", "LandmarkHead")}, own / "a.pt")
    (own / "b.pt").write_bytes(b"rubbish")
    assert local.files_of(parts[1:], own) == {parts[1]: own / "a.pt"}
    assert states(parts, own) == ["missing", "yours"]


def test_files_of_reads_the_users_variable(parts, own, monkeypatch):
    (own / "small.pth").write_bytes(b"mine")
    monkeypatch.setenv("STITCH_WEIGHTS", str(own))
    assert local.files_of(parts[1:], None) == {parts[1]: own / "small.pth"}
    monkeypatch.setenv("STITCH_WEIGHTS", str(own / "nowhere"))
    with pytest.raises(WeightsError, match="nowhere: no folder of weights .* correct --weights or STITCH_WEIGHTS"):
        local.files_of(parts[1:], None)


def test_fetch_says_once_that_own_files_are_not_checked(parts, own, server):
    (own / "small.pth").write_bytes(b"mine")
    (own / "79999_iter.pth").write_bytes(b"mine too")
    (said,) = list(local.fetch(parts, own))
    assert said.message.startswith("your own files are used, which are not held to the published hashes: ")
    assert str(own / "small.pth") in said.message and str(own / "79999_iter.pth") in said.message
    assert server.requests == []


def test_verify_reads_again_and_deletes_what_is_damaged(parts, own):
    list(local.fetch(parts))
    path = local.store() / "ffhq" / "79999_iter.pth"
    state = path.stat()
    path.write_bytes(b"Parser" * 1000)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert states(parts) == ["here", "here"], "nobody has looked"
    held = local.finished(local.verify(parts))
    assert [one.state for one in held] == ["damaged", "here"] and held[0].path == path
    assert not path.exists() and states(parts) == ["missing", "here"]
    (own / "79999_iter.pth").write_bytes(b"mine")
    assert [one.state for one in local.finished(local.verify(parts, own))] == ["yours", "here"]


def test_table_and_paths_show_each_part(parts, own):
    (own / "small.pth").write_bytes(b"mine")
    held = local.survey(parts, own)
    assert local.table(held).splitlines() == [
        "family ffhq: 2 files, 14 kB, 6 kB to fetch",
        "  parser                    6 kB  missing      MIT",
        f"  detector                  8 kB  yours        Apache-2.0; {own / 'small.pth'}",
    ]
    assert [line.split() for line in local.paths(held).splitlines()] == [
        ["ffhq", "parser", "-"], ["ffhq", "detector", str(own / "small.pth")],
    ]
    assert local.facts(held[1])["path"] == str(own / "small.pth")
    assert local.facts(held[0])["sources"] == parts[0].sources
