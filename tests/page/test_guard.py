"""What stands before the served page: headers, limits a visitor; and twenty visitors at once."""

import json
import logging
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

pytest.importorskip("gradio")
import httpx

from stitch.core.errors import without_words
from stitch.page.guard import HEADERS, Guard, Rate
from stitch.service.sessions import FETCHING_S, ON_A_SPACE, Limits, Store
from tests.conftest import draw_clip
from tests.pages import served, visit

VISITORS = 20


def call(address: str, endpoint: str, clip: Path | dict, *more: object) -> object:
    """What a program does that knows HTTP alone: upload a clip, call an endpoint, read its answer."""
    if isinstance(clip, Path):
        with open(clip, "rb") as file:
            (path,) = httpx.post(f"{address}gradio_api/upload", files={"files": file}, timeout=100).json()
        clip = {"path": path, "meta": {"_type": "gradio.FileData"}}
    place = f"{address}gradio_api/call/{endpoint}"
    event = httpx.post(place, json={"data": [clip, *more]}, timeout=100).json()["event_id"]
    said = httpx.get(f"{place}/{event}", timeout=100).text
    kind, _, data = said.strip().rpartition("\n\n")[2].partition("\ndata: ")
    if "complete" not in kind:
        raise RuntimeError(data)
    return json.loads(data)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        with served(tmp_path_factory.mktemp("page"), patch) as running:
            yield running


@pytest.mark.parametrize("path", ["", "robots.txt", "config", "gradio_api/info", "no/page", "gradio_api/file=/etc"])
def test_every_answer_carries_the_headers(page, path):
    try:
        answer = urllib.request.urlopen(page.address + path)
    except urllib.error.HTTPError as error:
        answer = error
    assert {name: answer.headers[name] for name in HEADERS} == HEADERS
    assert answer.headers.get_all("X-Robots-Tag") == ["noindex, nofollow"]


def test_robots_are_told_to_stay_away(page):
    with urllib.request.urlopen(page.address + "robots.txt") as answer:
        assert answer.read() == b"User-agent: *\nDisallow: /\n"


def test_rate_counts_each_visitor_in_a_span():
    now = [0.0]
    rate = Rate(2, 60.0, lambda: now[0])
    assert [rate.wait_s("a"), rate.wait_s("a"), rate.wait_s("a"), rate.wait_s("b")] == [0, 0, 60, 0]
    now[0] = 45.0
    assert rate.wait_s("a") == 15.0
    now[0] = 61.0
    assert rate.wait_s("a") == 0 and [Rate(0, 60.0).wait_s("a") for _ in range(99)] == [0] * 99


def asked(guard: Guard, address: str, path: str = "/gradio_api/upload", forwarded: str = "") -> tuple[int, str]:
    """A request through the guard: status and body."""
    told: list = []

    async def answer(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})

    async def send(message):
        told.append(message)

    guard._app = answer
    headers = [(b"x-forwarded-for", forwarded.encode())] if forwarded else []
    scope = {"type": "http", "method": "POST", "path": path, "client": (address, 1), "headers": headers}
    coroutine = guard(scope, None, send)
    with pytest.raises(StopIteration):
        coroutine.send(None)
    return told[0]["status"], told[1]["body"].decode()


def test_guard_tells_a_visitor_who_asks_for_too_much_when_to_go_on():
    guard = Guard(None, Limits(uploads_an_hour=2, requests_a_minute=3))
    assert [asked(guard, "1.2.3.4")[0] for _ in range(3)] == [200, 200, 429]
    assert asked(guard, "1.2.3.4")[1].startswith("You have asked for much in a short time: go on in ")
    assert asked(guard, "5.6.7.8")[0] == 200
    assert [asked(guard, "1.2.3.4", "/gradio_api/queue/join")[0] for _ in range(4)] == [200, 200, 200, 429]
    assert "1.2.3.4" not in repr(vars(guard)) and "1.2.3.4" not in repr(vars(guard._uploads))


def test_guard_behind_a_proxy_believes_what_the_proxy_added():
    guard = Guard(None, Limits(uploads_an_hour=1, behind_proxy=True))
    assert [asked(guard, "10.0.0.1", forwarded=f"{lie}, 9.9.9.9")[0] for lie in "ab"] == [200, 429]
    assert asked(guard, "10.0.0.1", forwarded="8.8.8.8")[0] == 200


def test_space_has_limits_that_a_machine_of_ones_own_has_not():
    assert ON_A_SPACE.uploads_an_hour and ON_A_SPACE.requests_a_minute and ON_A_SPACE.kept_s <= 86400
    assert not Limits().uploads_an_hour and not Limits().requests_a_minute


def test_expire_deletes_what_a_program_asked_for_after_an_hour(tmp_path, clip):
    store = Store(tmp_path / "page", Limits())
    session = store.session(store.new_secret())
    kept, fleeting = (session.add(clip, "miniature")[0] for _ in range(2))
    fleeting.change(fleeting=True)
    made = (fleeting.folder / "about.json").stat().st_mtime
    store.expire(set(), now=made + FETCHING_S - 60)
    assert len(session.runs()) == 2
    store.expire(set(), now=made + FETCHING_S + 60)
    assert session.runs() == [kept] and not fleeting.shown.exists()


def test_deleted_run_is_let_go_of_in_memory_and_what_its_jobs_made_since(page, clip):
    desk = page.page.shared.desk
    session = desk.store.session(desk.store.new_secret())
    entry, _ = session.add(clip, "miniature")
    desk.find_faces(entry)
    desk.delete(entry)
    while entry.browser in {browser for browser, _ in desk.worker.busy()}:
        pass
    desk.expire()
    assert desk.jobs(entry) == {} and not entry.folder.exists() and not entry.shown.exists()


def test_logs_say_where_and_not_what(page, tmp_path, caplog, monkeypatch):
    """A fault of ours may quote names and words of people; logs do not. They quote our source, hence no plain words."""
    private = "-".join(("a", "bald", "man"))

    def fail(given):
        raise KeyError(private)

    try:
        fail("")
    except KeyError as error:
        assert private not in without_words(error) and "test_guard.py" in without_words(error)
    monkeypatch.setattr(page.page.shared.store, "session", fail)
    clip = draw_clip(tmp_path / f"{private}.mp4", frames=2)
    with caplog.at_level(logging.INFO), pytest.raises(Exception, match="something went wrong inside"):
        call(page.address, "preview", clip, {"smile": 1}, private, 0, 1)
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("stitch")]
    assert ours and not [line for line in ours if private in line]


@pytest.mark.parametrize("link", ["http://127.0.0.1:1/a.mp4", "https://example.org/a.mp4", "file:///etc/passwd",
                                  "/etc/passwd", "concat:/etc/passwd", "../../../etc/passwd", ""])
def test_links_and_paths_given_as_clips_are_not_followed(page, link):
    with pytest.raises(RuntimeError) as refused:
        call(page.address, "inspect", {"path": link, "meta": {"_type": "gradio.FileData"}})
    assert "Traceback" not in str(refused.value) and "root:" not in str(refused.value)


def test_twenty_visitors_at_once_see_nothing_of_each_other(page, tmp_path):
    """Through the page's own events and its API: every run, preview and file is its visitor's alone."""
    shared = page.page.shared
    clips = [draw_clip(tmp_path / f"visitor-{number}.mp4", frames=2 + number % 5, radius=20 + number)
             for number in range(VISITORS)]

    def come(number: int) -> tuple[str, str, str]:
        taken = page.page.take(visit(page.page, smile=number / 10), str(clips[number]))
        (read,) = call(page.address, "inspect", clips[number])
        assert read["frames"] == 2 + number % 5
        return taken[shared.secret], taken[shared.name], str(number)

    with ThreadPoolExecutor(VISITORS) as crowd:
        came = list(crowd.map(come, range(VISITORS)))
    assert len({secret for secret, _, _ in came}) == len({name for _, name, _ in came}) == VISITORS
    for secret, name, number in came:
        (mine,) = shared.store.session(secret).runs()
        assert (mine.name, mine.about.title) == (name, f"visitor-{number}")
        assert mine.clip.read_bytes() == clips[int(number)].read_bytes()
        shown = str(page.page.runs.listed(visit(page.page, secret, name)))
        if number != "0":
            continue
        for _, other, title in came[1:]:
            with pytest.raises(Exception, match="no longer here"):
                shared.store.session(secret).open(other)
            assert other not in shown and f"visitor-{title}" not in shown
