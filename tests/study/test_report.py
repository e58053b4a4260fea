"""What is kept of finished edits, read again."""

import json

from stitch.study import report


def test_kept_gives_the_oldest_first_and_leaves_out_what_cannot_be_read(tmp_path) -> None:
    for name, content in {"new": '{"made": 2}', "old": '{"made": 1}', "broken": "{", "unknown": "{}"}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "result.json").write_text(content)
    (tmp_path / "unfinished").mkdir()
    assert report.kept(tmp_path) == {name: json.loads((tmp_path / name / "result.json").read_text())
                                     for name in ("unknown", "old", "new")}
    assert list(report.kept(tmp_path)) == ["unknown", "old", "new"] and report.kept(tmp_path / "nowhere") == {}
