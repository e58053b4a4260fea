"""The page of an evaluation in a real browser, from a file, with no network."""

import shutil

import pytest

api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (requirements-dev.txt)")

from stitch.core.events import finished  # noqa: E402
from stitch.study.evaluate import report  # noqa: E402
from stitch.study.evaluate.measures import Asked, evaluate  # noqa: E402
from tests.conftest import draw_clip  # noqa: E402

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (Debian: apt-get install chromium)")

PLACES = "[...document.querySelectorAll('video')].map(one => Math.floor(one.currentTime * 25))"


@pytest.fixture
def opened(tmp_path, family):
    """A report on a phone, what it asked the network for, and what went wrong in it."""
    clips = draw_clip(tmp_path / "a.mp4", 20), draw_clip(tmp_path / "b.mp4", 20, radius=31)
    path = finished(report.write(tmp_path, finished(evaluate(Asked(*clips), family))))
    asked, wrong = [], []
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"])
        page = browser.new_page(viewport={"width": 390, "height": 800}, color_scheme="dark", reduced_motion="reduce")
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(path.as_uri())
        api.expect(page.locator(".plot .scatterlayer")).to_have_count(5)
        yield page, asked, wrong
        browser.close()


def test_report_plays_both_clips_as_one_and_fetches_nothing(opened):
    page, asked, wrong = opened
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    button = page.locator("[data-frame]").last
    frame = int(button.get_attribute("data-frame"))
    button.click()
    assert page.evaluate(PLACES) == [frame, frame] and page.input_value("#seek") == str(frame)
    page.evaluate("document.querySelector('#seek').value = 3; document.querySelector('#seek').oninput()")
    assert page.evaluate(PLACES) == [3, 3] and page.inner_text("#at") == "0.12 s"
    page.click("#play")
    api.expect(page.locator("#play")).to_have_text("Pause")
    api.expect(page.locator("#play")).to_have_text("Play", timeout=30_000)
    assert page.evaluate("[...document.querySelectorAll('video')].every(one => one.currentTime > 0.7)")
    assert wrong == [] and all(one.startswith(("file:", "data:")) for one in asked)


def test_report_goes_to_the_moment_that_is_clicked_in_a_plot(opened):
    page, _, wrong = opened
    plot = page.locator(".plot .nsewdrag").first
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    at = box["x"] + 12 / 19 * box["width"]
    page.mouse.move(at, box["y"] + 60)
    api.expect(page.locator(".plot .hoverlayer").first).to_contain_text("0.48 s")
    page.mouse.click(at, box["y"] + 60)
    assert page.evaluate(PLACES) == [12, 12] and wrong == []
    line = page.evaluate("getComputedStyle(document.querySelector('.js-plotly-plot'), '::before').left")
    plotted = page.locator(".js-plotly-plot").first.bounding_box()["x"] + float(line.removesuffix("px"))
    assert plotted == pytest.approx(at, abs=1.5)
