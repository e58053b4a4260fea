"""From `stitch edit` to `stitch verify`: a whole edit with the untrained family."""

import json

import av
import numpy as np
import pytest
from PIL import Image

from stitch.__main__ import main
from stitch.video import files

pytestmark = pytest.mark.usefixtures("brief")


def told(capsys):
    return json.loads(capsys.readouterr().out.strip().splitlines()[-1])


def edit(clip, out, *more):
    assert main(["edit", str(clip), "-o", str(out), "--edit", "smile=2", "--json", *more]) == 0
    return out


def test_verify_ends_by_what_a_file_is(clip, tmp_path, capsys):
    out = edit(clip, tmp_path / "out.mp4")
    result = told(capsys)
    assert result["disclosure"] == "The face in this video was edited with AI (Stitch: smile +2)."
    assert main(["verify", str(out), "--json"]) == 0
    report = told(capsys)
    assert report["state"] == "ours" and report["edit"]["watermark"] is True
    assert report["edit"]["edits"][0] | {"name": "smile", "strength": 2.0} == report["edit"]["edits"][0]
    assert report["chain"][1]["title"] == clip.name
    content = bytearray(out.read_bytes())
    content[content.rfind(b"mdat") + 60] ^= 1
    changed = tmp_path / "changed.mp4"
    changed.write_bytes(content)
    assert main(["verify", str(changed)]) == 4
    assert main(["verify", str(clip)]) == 3
    assert "Nothing here says" in capsys.readouterr().out
    assert main(["verify", str(tmp_path / "missing.mp4")]) == 1
    assert "no such file" in capsys.readouterr().err


def test_edit_without_marks_notes_it_and_verify_says_that_credentials_are_missing(clip, tmp_path, capsys):
    out = edit(clip, tmp_path / "out.mp4", "--no-credentials", "--no-watermark")
    assert told(capsys)["credentials"] is False
    with av.open(str(out)) as container:
        note = container.metadata["comment"]
    assert note == "Edited with Stitch: smile +2 (without content credentials and watermark)"
    assert main(["verify", str(out)]) == 5


def test_edit_without_watermark_says_so_in_the_credentials(clip, tmp_path, capsys):
    out = edit(clip, tmp_path / "out.mp4", "--no-watermark", "--badge", "--language", "de")
    assert told(capsys)["disclosure"].startswith("Das Gesicht in diesem Video")
    main(["verify", str(out), "--json"])
    said = told(capsys)["edit"]
    assert (said["watermark"], said["badge"]) == (False, "Mit KI bearbeitet")


def test_watermark_touches_only_what_the_edit_changed(clip, tmp_path):
    photo = tmp_path / "me.png"
    Image.fromarray(next(files.frames(files.probe(clip)))).save(photo)
    paths = edit(photo, tmp_path / "marked.png"), edit(photo, tmp_path / "plain.png", "--no-watermark")
    source, marked, plain = (np.asarray(Image.open(path).convert("RGB")) for path in (photo, *paths))
    changed = (plain != source).any(2)
    assert changed.any() and (marked != plain)[changed].any()
    assert np.array_equal(marked[~changed], source[~changed])


def test_edit_that_cannot_be_signed_is_refused_before_any_work(clip, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("STITCH_SIGNER", str(tmp_path / "nowhere.pem"))
    assert main(["edit", str(clip), "-o", str(tmp_path / "out.mp4"), "--edit", "smile=2"]) == 1
    assert "STITCH_SIGNER" in capsys.readouterr().err and not (tmp_path / "out.mp4").exists()
