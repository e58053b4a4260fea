"""The page as programs see it: clean endpoints, words instead of tracebacks, nothing served that is not one's own."""

import importlib.util
import json
import re
import tempfile
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("gradio")
from gradio import networking
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

import app
from stitch.core import looks
from stitch.core.errors import RunError, VideoError
from stitch.page.wording import plainly, problem, told
from stitch.runtime import runs
from stitch.runtime.jobs import Job
from stitch.runtime.slices import Task
from stitch.service import tasks
from stitch.study.estimate import Costs
from stitch.video import files
from tests.conftest import draw_clip, first_picture, tiny_family
from tests.pages import served, visit
from tests.stages import eventually


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        with served(tmp_path_factory.mktemp("page"), patch) as running:
            yield running


@pytest.fixture(scope="module")
def client(page, tmp_path_factory):
    return Client(page.address, verbose=False, download_files=str(tmp_path_factory.mktemp("downloads")))


def test_endpoints_are_few_named_and_typed(client) -> None:
    described = client.view_api(return_format="dict")
    assert sorted(described["named_endpoints"]) == ["/edit", "/edits", "/inspect", "/preview"]
    assert described["unnamed_endpoints"] == {}
    names = [parameter["parameter_name"] for parameter in described["named_endpoints"]["/edit"]["parameters"]]
    assert names == ["clip", "edits", "words", "quality", "part_s", "face", "agreed"]


def test_edits_lists_the_familys_directions(client) -> None:
    assert [one["name"] for one in client.predict(api_name="/edits")] == ["smile", "age"]


def test_inspect_reads_a_clip(client, clip) -> None:
    read = client.predict(clip=handle_file(clip), api_name="/inspect")
    assert (read["width"], read["height"], read["frames"], read["sound"]) == (176, 128, 8, True)


def test_edit_returns_a_playable_clip_and_its_measures(client, clip) -> None:
    edited, beside, report = client.predict(
        clip=handle_file(clip), edits={"smile": 2.0}, words="", quality="draft", part_s=[], face=1, agreed=True,
        api_name="/edit",
    )
    info = files.probe(Path(edited))
    assert (info.frames, info.audio) == (8, True) and files.probe(Path(beside)).width > 2 * info.width
    assert report["told"] == "smile +2" and report["edited_frames"] == 8 and "tl_id" in report["measures"]


def test_example_of_the_readme_runs(page, clip, capsys) -> None:
    readme = (Path(app.__file__).parent / "README.md").read_text()
    (example,) = [block for block in re.findall(r"```python\n(.*?)```", readme, re.S) if "gradio_client" in block]
    names: dict = {}
    exec(example.replace("http://127.0.0.1:7860/", page.address).replace("IN.mp4", str(clip)), names)
    assert files.probe(Path(names["edited"])).frames == 8 and names["report"]["edited_frames"] == 8


def test_preview_returns_a_picture(client, clip) -> None:
    picture = client.predict(
        clip=handle_file(clip), edits={"smile": 2.0}, words="", at_s=0.1, face=1, api_name="/preview"
    )
    assert Path(picture if isinstance(picture, str) else picture["path"]).stat().st_size > 500


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"edits": {"simle": 2.0}}, "did you mean 'smile'"), ({"edits": {}}, "nothing to change yet"),
        ({"edits": {"smile": 99}}, "out of range"), ({"quality": "perfect"}, "perfect"),
        ({"edits": {"smile": "very"}}, "not a number"), ({"face": 5}, "face 5"),
        ({"part_s": [5, 6]}, "choose an earlier"), ({"part_s": [1]}, "begin and end"),
        ({"agreed": False}, "nobody is edited who was not asked"),
    ],
)
def test_edit_refuses_in_words(client, clip, given, words) -> None:
    asked = {"edits": {"smile": 2.0}, "words": "", "quality": "draft", "part_s": [], "face": 1, "agreed": True} | given
    with pytest.raises((AppError, ValueError)) as caught:
        client.predict(clip=handle_file(clip), **asked, api_name="/edit")
    assert words in str(caught.value) and "Traceback" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"not a video at all"])
def test_inspect_refuses_hostile_files_in_words(client, tmp_path, content) -> None:
    path = tmp_path / ("it's a 'quote' " + "n" * 200 + ".mp4")
    path.write_bytes(content)
    with pytest.raises((AppError, ValueError)) as caught:
        client.predict(clip=handle_file(path), api_name="/inspect")
    assert "Traceback" not in str(caught.value) and "/kept/" not in str(caught.value)


def test_upload_larger_than_the_limit_is_refused_early(page, tmp_path) -> None:
    large = tmp_path / "large.mp4"
    large.write_bytes(b"\x00" * (4 * 2**20))
    with pytest.raises(Exception, match="(?i)413|size|limit|exceed"):
        Client(page.address, verbose=False).predict(clip=handle_file(large), api_name="/inspect")


def test_files_outside_the_served_folders_are_never_sent(page, clip) -> None:
    session = page.page.shared.store.session(page.page.shared.store.new_secret())
    entry, _ = session.add(clip, "miniature")
    for path in (entry.folder / "about.json", page.page.shared.store.root, Path("/etc/passwd"), Path(app.__file__)):
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(f"{page.address}gradio_api/file={path}")
        assert caught.value.code in (403, 404)


def test_page_has_a_slider_in_the_middle_for_every_direction(page) -> None:
    sliders = page.page.edits.sliders.values()
    assert [slider.label for slider in sliders if slider.visible] == ["Smile", "Age"]
    assert all((one.minimum, one.maximum, one.value) == (-3, 3, 0) for one in sliders)


def test_runs_of_one_browser_are_hidden_from_another(page, clip) -> None:
    page, shared = page.page, page.page.shared
    ours, theirs = (shared.store.new_secret() for _ in range(2))
    entry, _ = shared.store.session(ours).add(clip, "miniature")
    stranger = visit(page, theirs, entry.name, {page.runs.list: entry.name})
    for attempt in (lambda: stranger.entry, lambda: page.runs.remove(stranger)):
        with pytest.raises(RunError, match="no longer here"):
            attempt()
    ours = visit(page, ours, entry.name)
    assert page.opened(ours, ours.entry)[page.clip.clip] == str(entry.clip)


class Request:
    """What gradio tells of a visit."""

    def __init__(self, **params: str) -> None:
        self.query_params = params


def test_link_with_a_broken_look_is_said_in_words(page) -> None:
    updates = page.page.arrive(visit(page.page), Request(look="%%%"))
    assert "cannot be read" in updates[page.page.edits.summary]["notes"][0]


def test_arrive_survives_a_run_whose_record_cannot_be_read(page, clip) -> None:
    page = page.page
    secret = page.shared.store.new_secret()
    session = page.shared.store.session(secret)
    good, bad = (session.add(clip, "miniature")[0] for _ in range(2))
    (bad.folder / "about.json").write_text('{"title": ')
    shown = page.arrive(visit(page, secret, bad.name), Request())
    assert [name for _, name in shown[page.runs.list]["choices"]] == [good.name] and shown[page.shared.name] == ""


def test_take_without_a_secret_makes_one(page, clip) -> None:
    page = page.page
    shown = page.take(visit(page), str(clip))
    assert page.shared.store.session(shown[page.shared.secret]).open(shown[page.shared.name])


def test_look_belongs_to_its_clip(page, clip) -> None:
    page = page.page
    first = page.take(visit(page, smile=2.0), str(clip))
    secret, name = first[page.shared.secret], first[page.shared.name]
    assert first[page.edits.sliders["smile"]]["value"] == 2.0  # it was set before there was a clip
    second = page.take(visit(page, secret, name, smile=2.0), str(clip))
    assert second[page.edits.sliders["smile"]]["value"] == 0
    again = page.opened(visit(page, secret, name), visit(page, secret, name).entry)
    assert again[page.edits.sliders["smile"]]["value"] == 2.0


def test_say_keeps_what_is_set_for_the_next_visit(page, clip) -> None:
    page = page.page
    taken = page.take(visit(page), str(clip))
    secret, name = taken[page.shared.secret], taken[page.shared.name]
    page.edits.say(visit(page, secret, name, age=1.5))
    assert page.arrive(visit(page, secret, name), Request())[page.edits.sliders["age"]]["value"] == 1.5


def test_start_from_moves_its_own_sliders_alone_and_opens_their_group(page) -> None:
    edits = page.page.edits

    class Chosen:
        id = "Older"

    moved = edits.start_from(visit(page.page, smile=2.0), Chosen)
    assert moved[edits.sliders["age"]] == 2.5 and edits.sliders["smile"] not in moved
    assert moved[edits.groups["Face"]]["open"] is True
    back = edits.start_from(visit(page.page, smile=2.0, age=2.5), Chosen)
    assert back[edits.sliders["age"]] == 0.0
    said = edits.say(visit(page.page, age=2.5, smile=1.0))[edits.starters]
    assert {one["label"]: one["pressed"] for one in said["items"]}["Older"] is True


def test_clip_whose_faces_nobody_looked_for_is_searched_again(page, clip) -> None:
    """After a restart, or where the queue was full."""
    page = page.page
    session = page.shared.store.session(secret := page.shared.store.new_secret())
    entry, _ = session.add(clip, "miniature")
    shown = page.arrive(visit(page, secret, entry.name), Request())
    assert shown[page.shared.timer].active
    eventually(lambda: entry.about.people == 1)
    page.tick(visit(page, secret, entry.name))


def test_full_queue_is_said_and_tried_again(page, clip, monkeypatch) -> None:
    page = page.page
    session = page.shared.store.session(secret := page.shared.store.new_secret())
    entry, _ = session.add(clip, "miniature")
    with monkeypatch.context() as patch:
        patch.setattr("stitch.runtime.jobs.MOST_WAITING", 0)
        shown = page.opened(visit(page, secret), entry)
        assert "too many people wait" in shown[page.clip.facts]["notes"][0].lower()
        assert shown[page.shared.timer].active
        assert page.tick(visit(page, secret, entry.name))[page.shared.timer].active
    page.tick(visit(page, secret, entry.name))
    eventually(lambda: entry.about.people == 1)


def test_search_that_fails_says_why_and_ends(page, clip) -> None:
    page = page.page
    session = page.shared.store.session(page.shared.store.new_secret())
    entry, _ = session.add(clip, "miniature")
    entry.clip.write_bytes(clip.read_bytes()[:3000])
    job = Job(entry.browser, entry.name, "survey", Task("miniature", tasks.find_faces, (entry,)))
    page.shared.desk.worker.submit(job)
    eventually(lambda: not job.active)
    assert job.state == "failed" and str(page.shared.store.root) not in plainly(job.error)


def test_clip_of_two_faces_offers_both(page, tmp_path) -> None:
    page = page.page
    clip = draw_clip(tmp_path / "two.mp4", discs=2, size=(240, 128))
    session = page.shared.store.session(secret := page.shared.store.new_secret())
    entry, _ = session.add(clip, "miniature")
    page.shared.desk.find_faces(entry)
    eventually(lambda: entry.about.people == 2)
    offered = page.opened(visit(page, secret), entry)[page.clip.faces]["items"]
    assert [one["pressed"] for one in offered] == [True, False]
    chosen = page.clip.choose_face(visit(page, secret, entry.name), SimpleNamespace(id="2"))
    assert [one["pressed"] for one in chosen[page.clip.faces]["items"]] == [False, True] and entry.about.face == 2
    with pytest.raises(VideoError):
        page.clip.choose_face(visit(page, secret, entry.name), SimpleNamespace(id="3"))


def test_preview_says_before_the_render_that_a_face_is_not_of_the_familys_world(tmp_path, clip, monkeypatch) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))  # put back after these pages
    told = []
    for number, least in enumerate((1.1, -1.0)):
        page, _ = app.build(replace(tiny_family(), least_likeness=least), tmp_path / str(number))
        taken = page.take(visit(page, smile=1.0), str(clip))
        here = visit(page, taken[page.shared.secret], taken[page.shared.name], smile=1.0)
        eventually(lambda here=here: here.entry.about.people == 1)
        told.append(page.preview.look(here)[page.preview.fit])
    assert "hardly known" in told[0]["title"] and "“Full size”" in told[0]["notes"][0] and told[1] is None


def test_price_learns_from_a_finished_render(page, clip) -> None:
    page = page.page
    taken = page.take(visit(page, smile=2.0), str(clip))
    here = visit(page, taken[page.shared.secret], taken[page.shared.name], smile=2.0)
    entry = here.entry
    eventually(lambda: entry.about.people == 1 and not page.shared.desk.busy(entry))
    info = files.probe(entry.clip)
    costs = Costs(1, 1, 1, 1, 1, 1, 0, 1, 1, 1, 4, 1, 1, 1, 1)
    page.shared.desk.prices.keep("miniature", info, {"draft": costs})
    said = page.shared.desk.prices.stages("miniature", info, "draft", 8)
    entry.change(consent={"1": 1.0})
    page.render.begin(here)
    eventually(lambda: not page.shared.desk.jobs(entry)["render"].active)
    assert page.shared.desk.prices.stages("miniature", info, "draft", 8) != said


def test_render_is_refused_until_each_person_agreed_and_when_is_kept(page, tmp_path) -> None:
    page = page.page
    clip = draw_clip(tmp_path / "two.mp4", discs=2, size=(240, 128))
    taken = page.take(visit(page, smile=2.0), str(clip))
    here = visit(page, taken[page.shared.secret], taken[page.shared.name], {page.render.consent: True}, smile=2.0)
    entry = here.entry
    eventually(lambda: entry.about.people == 2)
    with pytest.raises(RunError, match="agreed"):
        page.render.begin(here)
    said = page.render.agree(here)[page.render.consent]
    assert said["value"] and "Face 1" in said["label"] and "noted" in said["label"]
    assert list(entry.about.consent) == ["1"] and entry.about.consent["1"] > 1e9
    assert not page.clip.choose_face(here, SimpleNamespace(id="2"))[page.render.consent]["value"]
    with pytest.raises(RunError, match="each is asked"):
        page.render.begin(here)
    page.render.agree(visit(page, here.secret, here.name, {page.render.consent: False}))
    assert list(entry.about.consent) == ["1"]


def test_check_says_of_a_result_and_of_any_file_what_it_is(page, clip, client, tmp_path) -> None:
    page = page.page
    edited, _, report = client.predict(
        clip=handle_file(clip), edits={"smile": 2.0}, words="", quality="draft", part_s=[], face=1, agreed=True,
        api_name="/edit",
    )
    assert report["disclosure"] == "The face in this video was edited with AI (Stitch: smile +2)."
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    for path, said in ((edited, "Edited with Stitch, and unchanged"), (clip, "Nothing here says"), (broken, "Nothing")):
        found = page.check.check(visit(page, said={page.check.file: str(path)}))[page.check.found]
        assert found["title"].startswith(said)
    assert "not a" in found["notes"][-1] and str(tmp_path) not in found["notes"][-1]


def test_nothing_of_a_clip_stays_when_its_run_is_deleted(page, clip, client) -> None:
    """The whole area is searched for bytes of the clip and of what was made of it, and for their names."""
    page, root = page.page, Path(tempfile.gettempdir())
    marked = draw_clip(clip.parent / "a-clip-like-no-other.mp4", frames=6, radius=29)
    token = marked.read_bytes()[2000:2200]  # of its first picture, which is unlike other clips'
    assert token not in clip.read_bytes()
    folder = page.shared.store.uploads / "of-a-browser"
    folder.mkdir()
    upload = folder / marked.name
    upload.write_bytes(marked.read_bytes())
    taken = page.take(visit(page, smile=2.0), str(upload))
    name = taken[page.shared.name]
    here = visit(page, taken[page.shared.secret], name, {page.runs.list: name}, smile=2.0)
    entry = here.entry
    eventually(lambda: entry.about.people == 1)
    page.preview.look(here)
    entry.change(consent={"1": 1.0})
    page.render.begin(here)
    eventually(lambda: entry.about.state == "done")
    page.opened(here, entry)
    eventually(lambda: not any(job.active for job in page.shared.desk.jobs(entry).values()))
    inside = [path for path in page.shared.store.root.rglob("*") if path.is_file() and token in path.read_bytes()]
    assert inside == [entry.clip]
    results = sorted((entry.shown / entry.about.result).iterdir())
    assert {"edited.mp4", "side_by_side.mp4", "stages.png", "result.json"} <= {path.name for path in results}
    own = (entry.shown / entry.about.result / name for name in ("stages.png", "result.json"))
    tokens = [token, *(first_picture(path) for path in results if path.suffix == ".mp4"),
              *(path.read_bytes()[path.stat().st_size // 2 :][:200] for path in own)]
    page.runs.remove(here)
    ours = [page.shared.store.root, runs.cache(), *root.glob("gradio*"), *root.glob("stitch-*")]
    left = [path for folder in ours for path in folder.rglob("*") if path.is_file()]
    assert not [path for path in left if name in str(path) or marked.stem in str(path)
                or any(one in path.read_bytes() for one in tokens)]
    assert not page.shared.desk.jobs(entry)  # nor pictures of it in memory


def test_clip_that_a_program_sent_does_not_stay_in_the_uploads(page, clip, client) -> None:
    client.predict(clip=handle_file(clip), api_name="/inspect")
    client.predict(clip=handle_file(clip), edits={"smile": 2.0}, words="", at_s=0.1, face=1, api_name="/preview")
    with pytest.raises((AppError, ValueError), match="nobody is edited who was not asked"):
        client.predict(clip=handle_file(clip), edits={"smile": 2.0}, words="", quality="draft", part_s=[], face=1,
                       agreed=False, api_name="/edit")
    left = [path for path in page.page.shared.store.uploads.rglob("*") if path.is_file()]
    assert not [path for path in left if path.stat().st_size]


@pytest.mark.parametrize(
    ("said", "left"),
    [
        ("run folder /srv/kept/ab/cd: 30 MB are needed and the disk has 1 MB left; free some space, trim the clip, or "
         "choose another disk with --run", "run folder: 30 MB are needed and the disk has 1 MB left; free some space, "
         "trim the clip"),
        ("/tmp/ab/clip.mp4: cannot be read", "cannot be read"),
        ("face 2: only one face is seen in the clip; choose a number from 1 to 1",
         "face 2: only one face is seen in the clip; choose a number from 1 to 1"),
        ("text edit 'a/b': no table; measure it with 'python -m stitch relevance --out TABLE'; or use a named edit",
         "text edit 'a/b': no table; or use a named edit"),
    ],
)
def test_plainly_leaves_out_paths_and_options(said, left) -> None:
    told = plainly(said)
    assert "/srv" not in told and "--" not in told and "/tmp" not in told and "python" not in told
    assert told == left


def test_problem_says_an_edits_name_in_plain_words_and_leaves_files_theirs() -> None:
    said = problem("edit 'hair_gray': no such edit; did you mean 'hair_grey'? my_clip.mp4 stays")["notes"][0]
    assert said == "Edit 'hair gray': no such edit; did you mean 'hair grey'? my_clip.mp4 stays"


def test_edit_of_two_words_is_shown_without_an_underscore_everywhere(tmp_path, clip, monkeypatch) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))  # put back after these pages
    family = tiny_family()
    family = replace(family, directions={"hair_grey": family.directions["smile"], "smile": family.directions["age"]})
    page, _ = app.build(family, tmp_path / "page")
    assert page.edits.sliders["hair_grey"].label == "Hair grey"
    shown = page.take(visit(page, hair_grey=2.0), str(clip))
    assert shown[page.edits.summary]["text"] == told({"sliders": {"hair_grey": 2.0}}) == "hair grey +2"
    assert "hair grey +2" in shown[page.runs.list]["choices"][0][0]
    here = visit(page, shown[page.shared.secret], shown[page.shared.name])
    lacking = page.edits.set(looks.Look({"eyes_open": 1.0}), "miniature")
    assert lacking[page.edits.summary]["text"] == "This family has no eyes open."
    assert here.entry.about.look["sliders"] == {"hair_grey": 2.0}


def test_mcp_names_the_endpoints_as_tools(page) -> None:
    pytest.importorskip("mcp", reason="mcp is not installed: pip install 'gradio[mcp]'")
    address = f"{page.address}gradio_api/mcp/"
    headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}

    def ask(method: str, **params) -> str:
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
        with urllib.request.urlopen(urllib.request.Request(address, body, headers)) as answer:
            return answer.read().decode()

    client = {"protocolVersion": "2025-03-26", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
    assert "serverInfo" in ask("initialize", **client)
    tools = ask("tools/list")
    assert all(name in tools for name in ("list_edits", "inspect_clip", "preview_frame", "edit_clip"))


def status_of_a_new_page(folder: Path) -> int:
    """What a page of its own answers with, over HTTP."""
    page, blocks = app.build(tiny_family(), folder / "page")
    try:
        with urllib.request.urlopen(app.serve(page, blocks, block=False)) as answer:
            return answer.status
    finally:
        blocks.close()


def test_serve_does_not_mind_a_machine_too_busy_to_answer_at_once(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(networking, "url_ok", lambda url: False)  # gradio's own look, given up in three seconds
    assert status_of_a_new_page(tmp_path) == 200


def test_page_without_mcp_starts_and_warns_of_nothing(tmp_path, monkeypatch, capfd, recwarn) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(app.importlib.util, "find_spec", lambda name: None if name == "mcp" else real(name))
    assert status_of_a_new_page(tmp_path) == 200
    said = capfd.readouterr()
    assert "mcp" not in (said.out + said.err).lower() and not [one for one in recwarn if "mcp" in str(one.message)]
