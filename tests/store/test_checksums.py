"""Digests of files: right, and taken once."""

import hashlib
import os

import pytest

from stitch.core.errors import WeightsError
from stitch.store.checksums import GIT_BLOB, digest_of, matches, recorded, remember
from stitch.store.local import finished

CONTENT = b"hello\n"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def right(tmp_path):
    return lambda path, digest=SHA256, **how: finished(matches(path, digest, tmp_path / "records", "check", **how))


def disguise(path, content):
    """Change a file so that its size and time of change stay."""
    state = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


def test_digest_of_gives_sha256_and_gits_blob_id(file):
    assert finished(digest_of(file, "check")) == SHA256
    assert finished(digest_of(file, "check", GIT_BLOB)) == "ce013625030ba8dba906f756967f9e9ca394464a"


def test_matches_tells_right_from_wrong(file, right):
    assert right(file) and right(file, "ce013625030ba8dba906f756967f9e9ca394464a")
    assert not right(file, "0" * 64) and not right(file, "0" * 40)


def test_matches_reads_a_file_once(file, right):
    assert right(file)
    disguise(file, b"HELLO\n")
    assert right(file)
    assert not right(file, anew=True)
    assert not right(file)


def test_matches_reads_again_what_has_changed(file, right, tmp_path):
    assert right(file)
    file.write_bytes(CONTENT + b"!")
    assert recorded(file, SHA256, tmp_path / "records") is None
    assert not right(file)
    file.write_bytes(CONTENT)
    os.utime(file, ns=(1, 1))
    assert recorded(file, SHA256, tmp_path / "records") is None
    assert right(file)


def test_matches_does_not_trust_a_spoilt_record(file, right, tmp_path):
    assert right(file)
    (record,) = (tmp_path / "records").iterdir()
    for text in ("", "{", "[]", "null", "{}", '{"digest": 1}'):
        record.write_text(text)
        assert recorded(file, SHA256, tmp_path / "records") is None
        assert right(file)


def test_remember_is_for_one_file_only(file, tmp_path):
    remember(file, SHA256, tmp_path / "records")
    assert recorded(file, SHA256, tmp_path / "records") is True
    assert recorded(file, "0" * 64, tmp_path / "records") is False
    other = tmp_path / "other"
    other.write_bytes(CONTENT)
    assert recorded(other, SHA256, tmp_path / "records") is None


def test_matches_works_where_nothing_can_be_recorded(file, tmp_path):
    (tmp_path / "records").write_text("in the way")
    assert finished(matches(file, SHA256, tmp_path / "records", "check"))


def test_digest_of_says_what_cannot_be_read(tmp_path):
    with pytest.raises(WeightsError, match="missing: cannot be read"):
        finished(digest_of(tmp_path / "missing", "check"))
