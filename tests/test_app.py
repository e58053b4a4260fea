"""The page: what its button does, without a browser."""

from pathlib import Path

import pytest

gr = pytest.importorskip("gradio")

import app  # noqa: E402
from stitch import video  # noqa: E402
from stitch.settings import Settings  # noqa: E402


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """The draft preset, with one step of everything."""
    settings = Settings.preset("draft")
    object.__setattr__(settings.tune, "epochs", 1)
    object.__setattr__(settings.stitching, "steps", 1)
    monkeypatch.setattr(Settings, "preset", staticmethod(lambda _: settings))


def press(family, clip, **given):
    """Everything that the button's handler yields, with what lay on the disk at that moment."""
    asked = {"start": None, "end": None, "text": "", "strength": 2.0, "quality": "Fast", "smile": 2.0, "age": 0.0}
    asked |= given
    shown = []
    for status, _preview, *results in app.render(family, clip, *asked.values()):
        files = [Path(part) for part in results if isinstance(part, str)]
        shown.append((status, [(part.suffix, part.stat().st_size) for part in files]))
        if files:
            assert video.probe(files[0]).audio
    return shown


def test_build_has_a_slider_for_every_direction(family):
    page = app.build(family)
    sliders = [block for block in page.blocks.values() if isinstance(block, gr.Slider)]
    assert [slider.label for slider in sliders][: len(family.directions)] == ["Smile", "Age"]
    assert all((slider.minimum, slider.maximum) == (-3, 3) for slider in sliders)


def test_render_streams_progress_and_ends_with_three_files(family, clip):
    shown = press(family, str(clip), text="a face with glasses")
    assert any(app.STAGES["tune"] in status and "/" in status for status, _ in shown)
    status, files = shown[-1]
    assert "Done" in status and "8 of 8 frames" in status and "glasses" in status
    assert [suffix for suffix, size in files if size > 1000] == [".mp4", ".mp4", ".png"]


@pytest.mark.parametrize(
    ("given", "words"),
    [({"smile": 0.0}, "nothing to change yet"), ({"smile": 9.0}, "out of range"), ({"start": 5.0}, "5")],
)
def test_render_shows_problems_as_words(family, clip, given, words):
    status = press(family, str(clip), **given)[-1][0]
    assert "problem" in status and words in status


def test_render_asks_for_a_clip_and_limits_its_length(family, clip, monkeypatch):
    assert "choose a clip first" in press(family, None)[-1][0]
    monkeypatch.setattr(app, "LONGEST_CLIP_S", 0.1)
    assert "trim it below" in press(family, str(clip))[-1][0]


def test_render_escapes_what_people_write(family, clip):
    status = press(family, str(clip), text="<img src=x onerror=alert(1)>")[-1][0]
    assert "<img" not in status


def test_render_leaves_no_files_behind(family, clip, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setattr(app.tempfile, "tempdir", None)
    (tmp_path / "temporary").mkdir()
    work = app.render(family, str(clip), None, None, "", 2.0, "Fast", 2.0, 0.0)
    next(work)
    work.close()
    press(family, str(clip))
    assert list((tmp_path / "temporary").iterdir()) == []
