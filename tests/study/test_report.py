"""What is kept of finished edits, read again."""

import json

import numpy as np

from stitch.study import report


def test_kept_gives_the_oldest_first_and_leaves_out_what_cannot_be_read(tmp_path) -> None:
    for name, content in {"new": '{"made": 2}', "old": '{"made": 1}', "broken": "{", "unknown": "{}"}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "result.json").write_text(content)
    (tmp_path / "unfinished").mkdir()
    assert report.kept(tmp_path) == {name: json.loads((tmp_path / name / "result.json").read_text())
                                     for name in ("unknown", "old", "new")}
    assert list(report.kept(tmp_path)) == ["unknown", "old", "new"] and report.kept(tmp_path / "nowhere") == {}


def test_worst_rows_are_the_lowest_of_each_column_in_order() -> None:
    columns = [(np.array([5.0, 1.0, np.nan, 3.0]), "low"), (np.array([np.nan, 0.0, np.nan, np.nan]), "known once"),
               (np.array([0.0, 9.0, 9.0, 9.0]), "first")]
    assert report.worst_rows(columns, 3) == {0: "first", 1: "low"}
    assert report.worst_rows(columns[:2], 4) == {1: "low", 3: "low"}
