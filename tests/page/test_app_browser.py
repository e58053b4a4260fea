"""The page in a real browser: what a visitor does, from the clip to the result, on the untrained family."""

import os
import shutil
from pathlib import Path

import pytest

pytest.importorskip("gradio")
api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (requirements-dev.txt)")

from tests.conftest import draw_clip  # noqa: E402
from tests.hub import Hub  # noqa: E402
from tests.pages import fetchable, served  # noqa: E402

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (Debian: apt-get install chromium)")

SHOTS = Path(os.environ.get("STITCH_SCREENSHOTS", "out/screenshots"))
PATIENCE_MS = 120_000


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        with served(tmp_path_factory.mktemp("page"), patch) as running:
            yield running


@pytest.fixture(scope="module")
def browser():
    with api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=CHROMIUM, args=[
                "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--use-fake-device-for-media-stream",
                "--use-fake-ui-for-media-stream",
            ],
        )
        yield chromium
        chromium.close()


@pytest.fixture
def visitor(browser, site):
    """Opens the page as somebody new."""
    contexts = []

    def arrive(width: int = 1440, state=None, query: str = "", scheme: str = "light"):
        context = browser.new_context(
            viewport={"width": width, "height": 900}, storage_state=state, color_scheme=scheme, reduced_motion="reduce"
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.goto(site.address + query, wait_until="commit")
        page.wait_for_selector("#render")
        return page

    yield arrive
    for context in contexts:
        context.close()


def upload(page, clip: Path) -> None:
    """Choose a clip and wait until its face is found."""
    page.set_input_files("#clip input[type=file]", str(clip))  # is there once the page knows its visitor
    says(page, "#facts", "1 face")


def says(page, where: str, words: str) -> None:
    """Wait until a part of the page says something."""
    page.wait_for_function(
        "([where, words]) => (document.querySelector(where)?.innerText || '').includes(words)", arg=[where, words]
    )


def shoot(page, name: str) -> None:
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SHOTS / f"{name}.png", full_page=True)


def draft(page, quality: str = "Draft") -> None:
    page.click(f"#quality >> text={quality}")
    page.click("#consent input")
    says(page, "#consent", "noted")
    page.click("text=Happier")
    says(page, "#summary", "smile +2")


def test_visitor_gets_an_edited_clip_and_a_second_without_learning_again(visitor, clip, site) -> None:
    page = visitor()
    upload(page, clip)
    says(page, "#facts", "25 frames/s")
    says(page, "#price", "on this device")
    draft(page)
    page.wait_for_selector("#preview img")
    says(page, "#preview-note", "not learned yet")
    page.click("#render")
    page.wait_for_selector("#result video", state="attached")
    says(page, "#status", "8 of 8 frames")
    page.wait_for_function("document.querySelector('#result video').readyState >= 1")
    length_s = page.evaluate("document.querySelector('#result video').duration")
    assert length_s == pytest.approx(8 / 25, abs=0.1)
    assert page.evaluate("document.querySelectorAll('#worst img').length") > 0
    shoot(page, "result")
    page.set_viewport_size({"width": 390, "height": 900})
    shoot(page, "result-390")
    assert page.evaluate("document.documentElement.scrollWidth") <= 391
    page.set_viewport_size({"width": 1440, "height": 900})
    says(page, "#price", "learned already")
    page.click("text=Older") if page.locator("button:has-text('Older')").count() else page.click("#reset")
    says(page, "#preview-note", "learned already")
    page.click("#render")
    page.wait_for_function("document.querySelector('#status').innerText.includes('age +2.5')")
    # What was learned lies in one folder still.
    (run,) = (site.page.shared.store.root / "kept").rglob("run.json")
    assert len(list((run.parent / "edits").iterdir())) == 2


def test_visitor_stops_resumes_and_reloads_without_losing_anything(visitor, tmp_path) -> None:
    page = visitor()
    page.set_default_timeout(8 * PATIENCE_MS)  # its render is long on purpose, and far longer on a busy machine
    upload(page, draw_clip(tmp_path / "long.mp4", frames=8))
    draft(page, "Best")
    page.click("#render")
    says(page, "#status", "Learn this face")
    first = page.inner_text("#status")
    page.wait_for_function("(first) => document.querySelector('#status').innerText !== first", arg=first)
    page.reload(wait_until="commit")
    page.wait_for_selector("#status .stages")  # found again, still at work
    page.click("#stop")
    says(page, "#status", "Stopped")
    says(page, "#render", "Resume")
    page.click("#render")
    page.wait_for_selector("#result video", state="attached")
    says(page, "#status", "8 of 8 frames")
    page.reload(wait_until="commit")
    page.wait_for_selector("#result video", state="attached")
    page.click("#delete")
    page.click("#delete-no")
    page.click("#delete")
    page.click("#delete-yes")
    says(page, "#runs-said", "Deleted")
    assert page.locator("#runs input").count() == 0


def test_reload_keeps_the_chosen_part_and_quality(visitor, tmp_path, site) -> None:
    page = visitor()
    upload(page, draw_clip(tmp_path / "longer.mp4", frames=30))
    says(page, "#price", "30 frames")
    page.click("#quality >> text=Draft")
    page.wait_for_timeout(500)
    page.reload(wait_until="commit")
    says(page, "#price", "30 frames")
    page.wait_for_timeout(1000)  # for what the page may still send by itself
    says(page, "#price", "30 frames")
    assert [float(box.input_value()) for box in page.locator("#trim input").all()] == [0, 1.2]
    assert page.is_checked("#quality label:has-text('Draft') input")


def test_two_visitors_never_see_each_other(visitor, clip) -> None:
    first, second = visitor(), visitor()
    upload(first, clip)
    assert first.locator("#runs input").count() == 1
    second.reload(wait_until="commit")
    second.wait_for_selector("#render")
    second.wait_for_timeout(1000)
    assert second.locator("#runs input").count() == 0 and second.locator("#clip video").count() == 0


@pytest.mark.parametrize("content", [b"", b"no video"])
def test_errors_are_words(visitor, tmp_path, content) -> None:
    page = visitor()
    path = tmp_path / ("it's “odd” " + "x" * 200 + ".mp4")
    path.write_bytes(content)
    page.click("#render")
    says(page, "#status", "Choose a clip first")
    page.set_input_files("#clip input[type=file]", str(path))
    page.wait_for_function("document.querySelector('#facts .problem, .toast-body') !== null")
    assert "Traceback" not in page.inner_text("body")


def test_text_edit_changes_the_preview(visitor, clip) -> None:
    page = visitor()
    upload(page, clip)
    page.click("text=In your own words")
    page.wait_for_selector("#preview img")
    page.fill("#words textarea", "a face with glasses")
    page.press("#words textarea", "Enter")
    says(page, "#summary", "glasses")
    says(page, "#preview-note", "not learned yet")
    page.click("#suggestions button:has-text('lipstick')")
    says(page, "#summary", "lipstick")


def test_link_brings_a_look(visitor) -> None:
    from stitch.core.looks import Look

    page = visitor(query=f"?look={Look({'smile': 1.5}).link()}")
    says(page, "#summary", "smile +1.5")
    page.click("text=Save and share this look")
    page.click("text=Get the link")
    page.wait_for_function("document.querySelector('#link textarea, #link input').value.includes('?look=')")
    assert page.input_value("#link textarea, #link input") == page.url


@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (1024, "dark"), (390, "light")])
def test_page_fits_every_width(visitor, width, scheme) -> None:
    page = visitor(width, scheme=scheme, query="?__theme=" + scheme)
    shoot(page, f"page-{width}-{scheme}")
    assert page.evaluate("document.documentElement.scrollWidth") <= width + 1


def test_recorded_clip_is_read(visitor) -> None:
    page = visitor()
    page.click("#clip button[aria-label='Capture from camera']")
    page.click("#clip button:has-text('Click to Access Webcam')")
    page.click("#clip button:has-text('Record')")
    page.wait_for_timeout(2500)
    page.click("#clip button:has-text('Stop')")
    says(page, "#facts", "with sound")  # its rate varies and its header knows no length
    assert "1280 × 720" in page.inner_text("#facts")
    assert page.locator("#runs input").count() == 1


def test_family_is_fetched_and_used_within_the_page(visitor, site, monkeypatch) -> None:
    hub = Hub()
    try:
        fetchable(hub, monkeypatch)
        page = visitor()
        page.click("#family >> text=Full size")
        says(page, "#family-card", "to fetch")
        assert page.locator("#edit-smile").is_visible() and page.locator("#edit-age input").count() > 0
        assert hub.requests == []
        page.click("#fetch")
        says(page, "#family-card", "in use")
        page.wait_for_function("!document.querySelector('#edit-age')?.offsetParent")
        page.wait_for_selector("button:has-text('Pose')")
        shoot(page, "family")
    finally:
        hub.close()


def source(page, where: str) -> str:
    """The address of a picture, which holds it."""
    return page.get_attribute(where, "src")


def test_keyboard_moves_sliders_and_the_preview_follows(visitor, clip) -> None:
    page = visitor()
    upload(page, clip)
    says(page, "#preview-note", "Nothing is changed yet")
    page.focus("#edit-smile input[type=range]")
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    says(page, "#summary", "smile +0.5")
    says(page, "#preview-note", "not learned yet")
    before = source(page, "#preview img.right")
    page.fill("#edit-smile input[type=number]", "-2")
    page.keyboard.press("Enter")
    says(page, "#summary", "smile -2")
    page.wait_for_function("(old) => document.querySelector('#preview img.right').src !== old", arg=before)


def test_preview_follows_the_player_and_a_reload(visitor, tmp_path) -> None:
    page = visitor()
    upload(page, draw_clip(tmp_path / "moving.mp4", frames=25))
    page.click("text=Happier")
    says(page, "#preview-note", "not learned yet")
    before = source(page, "#preview img.left")
    page.evaluate("document.querySelector('#clip video').currentTime = 0.8")
    page.wait_for_function("(old) => document.querySelector('#preview img.left').src !== old", arg=before)
    page.reload(wait_until="commit")
    page.wait_for_selector("#preview img")
    says(page, "#summary", "smile +2")  # what was set and not rendered


def test_divider_can_be_moved_by_keyboard(visitor, clip) -> None:
    page = visitor()
    upload(page, clip)
    page.wait_for_selector("#preview .divider")
    page.focus("#preview .divider")
    at = "getComputedStyle(document.querySelector('#preview .frame')).getPropertyValue('--at')"
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert float(page.evaluate(at)) == 52
    box, handle = page.locator("#preview .frame").bounding_box(), page.locator("#preview .divider").bounding_box()
    assert handle["y"] > box["y"] + 0.6 * box["height"]  # below the face


def test_chosen_starting_points_and_faces_are_marked(visitor, tmp_path) -> None:
    page = visitor()
    page.set_input_files("#clip input[type=file]", str(draw_clip(tmp_path / "two.mp4", discs=2, size=(240, 128))))
    says(page, "#facts", "2 faces")
    page.wait_for_selector("#faces button")
    page.click("#faces button:has-text('Face 2')")
    page.wait_for_selector("#faces button[aria-pressed=true]:has-text('Face 2')")
    assert page.locator("#faces [aria-pressed=true]").count() == 1
    page.click("#starters button:has-text('Happier')")
    page.wait_for_selector("#starters button[aria-pressed=true]:has-text('Happier')")
    page.click("#starters button:has-text('Older')")
    says(page, "#summary", "smile +2, age +2.5")  # nothing is zeroed silently


def test_cleared_page_stays_cleared_and_takes_the_next_clip(visitor, clip) -> None:
    page = visitor()
    upload(page, clip)
    page.reload(wait_until="commit")
    page.wait_for_selector("#clip video")
    page.click("#clip button[aria-label='Clear']")
    says(page, "#preview-note", "Choose a clip")
    page.wait_for_timeout(500)
    page.reload(wait_until="commit")
    page.wait_for_selector("#example:not([disabled])")
    page.wait_for_timeout(1000)
    assert page.locator("#clip video").count() == 0
    page.click("#example")
    says(page, "#facts", "frames/s")
    assert page.locator("#runs input").count() == 2


def test_versions_stay_in_reach_side_by_side(visitor, clip) -> None:
    page = visitor()
    upload(page, clip)
    draft(page)
    page.click("#render")
    says(page, "#status", "8 of 8 frames")
    page.click("#starters button:has-text('Older')")
    says(page, "#summary", "age +2.5")
    page.click("#render")
    page.wait_for_selector("#versions button:has-text('2:')")
    shown = source(page, "#result video.right")
    page.click("#versions button:has-text('1:')")
    page.wait_for_function("(old) => !document.querySelector('#result video.right').src.endsWith(old)", arg=shown)
    page.click("#against button:has-text('2:')")
    page.wait_for_function("(old) => document.querySelector('#result video.left').src.endsWith(old)", arg=shown)
    page.click("#compare")
    page.wait_for_selector("#grid img")
    shoot(page, "versions")


def test_trim_is_one_bar_whose_fill_lies_on_the_chosen_part(visitor, tmp_path) -> None:
    page = visitor()
    upload(page, draw_clip(tmp_path / "longer.mp4", frames=30))
    says(page, "#price", "30 frames")
    page.focus("#trim [data-end=begin]")
    page.keyboard.press("PageUp")
    page.keyboard.press("PageUp")
    says(page, "#price", "24 frames")  # the last of two quick presses counts
    bar, fill = (page.locator(f"#trim .track{more}").bounding_box() for more in ("", " i"))
    begin, end = (float(one.input_value()) for one in page.locator("#trim input").all())
    assert fill["x"] - bar["x"] == pytest.approx(bar["width"] * begin / 1.2, abs=3) and end == 1.2 and begin > 0
    page.reload(wait_until="commit")
    page.wait_for_selector("#trim input")
    assert float(page.locator("#trim input").first.input_value()) == pytest.approx(begin, abs=0.005)


def test_example_opens_with_one_click(visitor) -> None:
    page = visitor()
    if page.locator("#wall button").count() == 0:
        pytest.skip("no example was made")
    page.click("#wall button >> nth=0")
    page.wait_for_selector("#result video", state="attached")
    says(page, "#verdict", "Likeness")
    assert page.locator("#runs input").count() == 1
    page.wait_for_function("document.querySelector('#result video.right').readyState >= 1")
    page.click("#worst button >> nth=-1")  # the player goes to that frame
    page.wait_for_function("document.querySelector('#result video.right').currentTime > 0")


def test_phone_has_room_for_its_sliders(visitor, clip) -> None:
    page = visitor(390)
    upload(page, clip)
    draft(page)
    page.wait_for_selector("#preview img")
    page.evaluate("document.querySelector('#edit-smile').scrollIntoView({block: 'end'})")
    box = page.locator("#step-preview").bounding_box()
    assert box["height"] < 450 and page.locator("#edit-smile input[type=range]").bounding_box()["height"] >= 24
    page.click("#render")
    page.wait_for_selector("#result video", state="attached")
    shoot(page, "phone-result")
    assert page.evaluate("document.documentElement.scrollHeight") < 6500


def hurdles(page) -> list[str]:
    """What keeps somebody who cannot see well, or uses no mouse, from a part of the page, as axe-core finds it."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright",
                              reason="axe-playwright-python is not installed (requirements-dev.txt)")
    page.wait_for_selector("p.loading", state="detached")  # gradio's own, which a busy machine shows for a while
    found = axe.Axe().run(page).response["violations"]
    return [f"{one['id']}: {node['html']}" for one in found for node in one["nodes"]]


@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (390, "dark")])
def test_axe_finds_no_hurdle_in_any_state_of_the_page(visitor, tmp_path, width, scheme) -> None:
    page = visitor(width, scheme=scheme, query="?__theme=" + scheme)
    assert hurdles(page) == []
    page.set_input_files("#clip input[type=file]", str(draw_clip(tmp_path / "two.mp4", discs=2, size=(240, 128))))
    says(page, "#facts", "2 faces")
    draft(page)
    page.wait_for_selector("#preview img")
    assert hurdles(page) == []
    if width > 760:  # a phone leaves its room to the sliders
        page.click("#compare")
        page.wait_for_selector("#grid img")
    page.evaluate("document.querySelectorAll('button.label-wrap:not(.open)').forEach((group) => group.click())")
    page.wait_for_selector("#link textarea, #link input")
    assert hurdles(page) == []
    page.click("#render")
    page.wait_for_selector("#result video", state="attached")
    page.click("#finished button.label-wrap")
    page.wait_for_selector("#measures dl")
    page.click("#delete")
    page.wait_for_selector("#delete-yes")
    assert hurdles(page) == []


def test_words_of_a_link_stay_words(visitor) -> None:
    from stitch.core.looks import Look

    hostile = "${document.title = 'taken'} <img src=x onerror=\"document.title = 'taken'\">"
    page = visitor(query=f"?look={Look(words=hostile).link()}")
    says(page, "#summary", "onerror")
    page.wait_for_timeout(300)
    assert page.title() == "Stitch" and page.locator("#summary img").count() == 0
