"""The page of an evaluation: whole by itself, and safe to open."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from PIL import Image
from plotly.offline import get_plotlyjs

from stitch.core.errors import RunError
from stitch.core.events import finished
from stitch.study.evaluate import report
from stitch.study.evaluate.measures import Asked, evaluate
from stitch.study.report import frame_at
from stitch.video import files
from tests.conftest import draw_clip


@pytest.fixture
def clips(tmp_path):
    return draw_clip(tmp_path / "a&b.mp4"), draw_clip(tmp_path / "<img src=x>.mp4", radius=31)


@pytest.fixture
def page(clips, tmp_path, family) -> str:
    return finished(report.write(tmp_path / "report", finished(evaluate(Asked(*clips), family)))).read_text()


def attributes(page: str, *names: str) -> list[str]:
    """Values of all attributes of these names."""
    found: list[str] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag, attrs):
            found.extend(value for name, value in attrs if name in names)

    Reader().feed(page)
    return found


def test_write_makes_one_page_that_fetches_nothing(page, tmp_path) -> None:
    assert sorted(path.name for path in (tmp_path / "report").iterdir()) == ["evaluation.html", "evaluation.json"]
    addresses = attributes(page, "src", "href", "poster", "action", "data", "srcset")
    assert len(addresses) > 8 and all(one.startswith("data:") for one in addresses)
    assert page.count(get_plotlyjs()) == 1 and len(page) < 6_500_000
    page = page.replace(get_plotlyjs(), "")  # what it could ask for is forbidden: see the browser's test
    assert "default-src 'none'" in page and "@import" not in page and "url(" not in page and "<link" not in page
    assert not re.search(r"""(?:fetch|XMLHttpRequest|import)\s*\(|["']https?://""", page)
    assert page.count("data:video/mp4;base64,") == 2


def test_write_escapes_the_names_of_files(page) -> None:
    assert "&lt;img src=x&gt;.mp4" in page and "a&amp;b.mp4" in page and "<img src=x>" not in page


def test_write_tells_every_verdict_and_every_reason(page, tmp_path) -> None:
    record = json.loads((tmp_path / "report" / "evaluation.json").read_text())
    for one in record["measures"].values():
        assert one["title"] in page and one["unit"] is not None
        assert (one["value"] is None) == (one["verdict"] is None) == bool(one["reason"])
    assert len(record["per_frame"]["identity"]) == 8 and record["per_frame"]["tl_id"][0] is None
    assert re.findall('class="plot"><h3>(.*?)</h3>', page) == [
        "Likeness to the source", "Consistency of the person", "Flicker", "Landmark jitter", "Background"]
    assert {one["frame"] for one in record["worst_frames"]} <= set(range(8))
    assert page.count("data:image/jpeg;base64,") == 3 * len(record["worst_frames"])


def test_write_shows_photos_as_pictures(clips, tmp_path, family) -> None:
    photos = [tmp_path / "me.png", tmp_path / "older.png"]
    for clip, photo in zip(clips, photos, strict=True):
        Image.fromarray(frame_at(files.probe(clip), 0)).save(photo)
    page = finished(report.write(tmp_path / "photos", finished(evaluate(Asked(*photos), family)))).read_text()
    assert "<video" not in page and "Plotly" not in page and "only one frame shows the face" in page


def test_summary_names_what_is_not_good(clips, family) -> None:
    evaluation = finished(evaluate(Asked(*clips), family))
    judged = [replace(one, value=1.0, verdict="good", reason="") for one in evaluation.measures]
    assert report.summary(replace(evaluation, measures=tuple(judged))) == f"All {len(judged)} measures are good."
    judged[0], judged[4], judged[5] = (replace(judged[row], verdict=verdict) for row, verdict in (
        (0, "poor"), (4, "fair"), (5, "fair")))
    assert report.summary(replace(evaluation, measures=tuple(judged))) == (
        f"{len(judged) - 3} of {len(judged)} measures are good. Fair: {judged[4].title}, {judged[5].title}. "
        f"Poor: {judged[0].title}.")
    assert report.summary(replace(evaluation, measures=())) == "Nothing could be judged."


def test_check_folder_refuses_a_file_and_makes_what_is_missing(tmp_path) -> None:
    report.check_folder(tmp_path / "new" / "folder")
    assert (tmp_path / "new" / "folder").is_dir()
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(RunError, match="report folder"):
        report.check_folder(tmp_path / "file")
