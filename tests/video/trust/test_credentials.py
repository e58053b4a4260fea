"""Credentials: what a signed result says, that a change shows, that nothing unsigned stands under its name."""

import os
import stat
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from stitch.core.errors import TrustError
from stitch.core.records import ClipInfo
from stitch.video import files
from stitch.video.trust import credentials, keys, verify
from tests.clips import numbered

SAID = credentials.Statement(
    "smile +2, 'a face with glasses' +2",
    ({"kind": "slider", "name": "smile", "strength": 2.0}, {"kind": "words", "target": "a face with glasses"}),
    "miniature", "MIT", watermark=False, badge="AI-edited",
)


def source_of(folder, suffix, name="source"):
    """A clip or a photo that nobody has signed."""
    path = folder / f"{name}{suffix}"
    if suffix != ".mp4":
        Image.fromarray(numbered(5)).save(path)
        return path
    info = ClipInfo(path, 128, 96, Fraction(25), 4, 0.0, 0.16, False)
    with files.Writer(path, info) as writer:
        for number in range(4):
            writer.add(numbered(number))
    return path


def result_of(source, path, seal=None):
    """The source written anew, as results are."""
    info = files.probe(source)
    with files.writer(path, info, info, SAID.told, 16, seal or credentials.sealing(source, SAID)) as writer:
        for frame in files.frames(info):
            writer.add(frame)
    return path


@pytest.mark.parametrize("suffix", [".mp4", ".png", ".jpg", ".webp"])
def test_sealing_says_what_was_edited_how_strongly_by_what_and_from_what(tmp_path, suffix):
    result = result_of(source_of(tmp_path, suffix), tmp_path / f"result{suffix}")
    report = verify.check(result)
    assert report.state == "ours" and not report.problems and not report.unread
    assert report.self_signed and not report.trusted and report.signer == keys.MADE_HERE
    assert report.edit["edits"] == [dict(one) for one in SAID.edits]
    assert {name: report.edit[name] for name in ("family", "licence", "watermark", "badge")} == {
        "family": "miniature", "licence": "MIT", "watermark": False, "badge": "AI-edited"}
    assert [one.title for one in report.chain] == [result.name, f"source{suffix}"]
    assert report.chain[0].actions == ("c2pa.opened", f"c2pa.edited face edited with a trained model: {SAID.told}")
    assert report.note == f"Edited with Stitch: {SAID.told}"
    assert [path.name for path in tmp_path.glob("*.part*")] == []


def test_sealing_names_the_kind_of_media_that_a_model_has_changed_a_part_of(tmp_path):
    result = result_of(source_of(tmp_path, ".png"), tmp_path / "result.png")
    assert b"compositeWithTrainedAlgorithmicMedia" in result.read_bytes()


def test_sealing_keeps_no_picture_of_the_source(tmp_path):
    source = source_of(tmp_path, ".jpg")
    result = result_of(source, tmp_path / "result.jpg")
    unsigned = result_of(source, tmp_path / "unsigned.jpg", seal=lambda path: None)
    assert b"thumbnail" not in result.read_bytes()
    assert result.stat().st_size - unsigned.stat().st_size < 20_000


def test_sealing_keeps_the_credentials_of_a_signed_source_in_the_chain(tmp_path):
    first = result_of(source_of(tmp_path, ".mp4"), tmp_path / "first.mp4")
    report = verify.check(result_of(first, tmp_path / "second.mp4"))
    assert report.state == "ours"
    assert [(one.title, one.program.split(" ")[0]) for one in report.chain] == [
        ("second.mp4", "Stitch"), ("first.mp4", "Stitch"), ("source.mp4", "")]


@pytest.mark.parametrize("suffix", [".mp4", ".png", ".jpg"])
def test_check_sees_that_a_byte_was_changed(tmp_path, suffix):
    result = result_of(source_of(tmp_path, suffix), tmp_path / f"result{suffix}")
    content = bytearray(result.read_bytes())
    place = content.rfind(b"mdat") + 40 if suffix == ".mp4" else len(content) - 60
    content[place] ^= 1
    result.write_bytes(content)
    report = verify.check(result)
    assert report.state == "broken" and report.problems
    assert "changed after it was signed" in report.title


def test_sealing_that_fails_leaves_no_file(tmp_path, monkeypatch):
    source = source_of(tmp_path, ".mp4")
    seal = credentials.sealing(source, SAID)
    source.unlink()
    before = sorted(tmp_path.rglob("*.mp4"))
    other = source_of(tmp_path, ".mp4", "other")
    with pytest.raises(TrustError):
        result_of(other, tmp_path / "result.mp4", seal)
    assert sorted(tmp_path.rglob("*.mp4")) == [*before, other]
    with pytest.raises(TrustError):
        result_of(source_of(tmp_path, ".png"), tmp_path / "result.png", seal)
    assert not (tmp_path / "result.png").exists() and not list(tmp_path.glob(".*"))


def test_identity_is_made_once_for_its_owner_alone():
    first, second = keys.identity(), keys.identity()
    assert first == second and not first.own and first.name == keys.MADE_HERE
    folder = keys.made_here()
    if os.name == "posix":
        assert stat.S_IMODE((folder / "key.pem").stat().st_mode) == 0o600
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.parametrize("form", ["folder", "one file", "two files"])
def test_identity_takes_the_users_own(tmp_path, monkeypatch, form):
    own = tmp_path / "own"
    own.mkdir()
    chain, key = keys._made()
    (own / "chain.pem").write_bytes(chain)
    (own / "key.pem").write_bytes(key)
    (own / "both.pem").write_bytes(key + chain)
    two = f"{own / 'chain.pem'}{os.pathsep}{own / 'key.pem'}"
    monkeypatch.setenv(keys.VARIABLE, str({"folder": own, "one file": own / "both.pem", "two files": two}[form]))
    assert keys.identity().own and keys.identity().chain == chain
    result = result_of(source_of(tmp_path, ".png"), tmp_path / "result.png")
    assert verify.check(result).state == "ours"
    monkeypatch.setenv(verify.ANCHORS, str(own / "chain.pem"))
    assert verify.check(result).trusted


@pytest.mark.parametrize(("content", "said"), [(None, "cannot be read"), (b"nonsense", "no certificate and key")])
def test_identity_refuses_what_is_no_pair_and_names_the_variable(tmp_path, monkeypatch, content, said):
    path = tmp_path / "own.pem"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setenv(keys.VARIABLE, str(path))
    with pytest.raises(TrustError, match=f"STITCH_SIGNER.*{said}"):
        keys.identity()


def test_identity_refuses_a_key_of_another_certificate(tmp_path, monkeypatch):
    (tmp_path / "chain.pem").write_bytes(keys._made()[0])
    (tmp_path / "key.pem").write_bytes(keys._made()[1])
    monkeypatch.setenv(keys.VARIABLE, str(tmp_path))
    with pytest.raises(TrustError, match="not that of the key"):
        keys.identity()


def test_check_says_of_other_files_that_nothing_is_there_and_of_broken_ones_why(tmp_path):
    report = verify.check(source_of(tmp_path, ".png"))
    assert report.state == "none" and report.sentences[0] == "no content credentials"
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"\0\0\0\x18ftypmp42" + bytes(50))
    report = verify.check(broken)
    assert report.state == "none" and "broken.mp4" in report.unread


def test_check_knows_its_own_by_the_metadata_once_the_credentials_are_gone(tmp_path):
    source = source_of(tmp_path, ".png")
    report = verify.check(result_of(source, tmp_path / "result.png", seal=lambda path: None))
    assert report.state == "lost" and not report.mark.found


def test_plain_holds_what_programs_ask_for(tmp_path):
    told = verify.check(result_of(source_of(tmp_path, ".png"), tmp_path / "result.png")).plain()
    assert (told["state"], told["watermark"]["found"], told["edit"]["told"]) == ("ours", False, SAID.told)
    assert np.isfinite(told["watermark"]["score"])
