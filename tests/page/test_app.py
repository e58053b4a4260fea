"""The page as programs see it: clean endpoints, words instead of tracebacks, nothing served that is not one's own."""

import importlib.util
import json
import re
import urllib.error
import urllib.request
from pathlib import Path

import pytest

pytest.importorskip("gradio")
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

import app
from stitch.video import files
from tests.conftest import draw_clip, tiny_family
from tests.pages import served


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
    assert names == ["clip", "edits", "words", "quality", "begin_s", "end_s", "face"]


def test_edits_lists_the_familys_directions(client) -> None:
    assert [one["name"] for one in client.predict(api_name="/edits")] == ["smile", "age"]


def test_inspect_reads_a_clip(client, clip) -> None:
    read = client.predict(clip=handle_file(clip), api_name="/inspect")
    assert (read["width"], read["height"], read["frames"], read["sound"]) == (176, 128, 8, True)


def test_edit_returns_a_playable_clip_and_its_measures(client, clip) -> None:
    edited, beside, report = client.predict(
        clip=handle_file(clip), edits={"smile": 2.0}, words="", quality="draft", begin_s=0, end_s=0, face=1,
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
        ({"edits": {"smile": "very"}}, "not a number"), ({"face": 5}, "face 5"), ({"begin_s": 5}, "choose an earlier"),
    ],
)
def test_edit_refuses_in_words(client, clip, given, words) -> None:
    asked = {"edits": {"smile": 2.0}, "words": "", "quality": "draft", "begin_s": 0, "end_s": 0, "face": 1} | given
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
    session = page.page.store.session(page.page.store.new_secret())
    entry, _ = session.add(clip, "miniature")
    for path in (entry.folder / "about.json", page.page.store.root, Path("/etc/passwd"), Path(app.__file__)):
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(f"{page.address}gradio_api/file={path}")
        assert caught.value.code in (403, 404)


def test_page_has_a_slider_in_the_middle_for_every_direction(page) -> None:
    sliders = page.page.sliders.values()
    assert [slider.label for slider in sliders if slider.visible] == ["Smile", "Age"]
    assert all((one.minimum, one.maximum, one.value) == (-3, 3, 0) for one in sliders)


def test_runs_of_one_browser_are_hidden_from_another(page, clip) -> None:
    ours, theirs = (page.page.store.new_secret() for _ in range(2))
    entry, _ = page.page.store.session(ours).add(clip, "miniature")
    shown = page.page.open_run(theirs, entry.name)
    assert "no longer here" in shown[page.page.status]
    assert "no longer here" in page.page.delete_run(theirs, "", entry.name)[page.page.status]
    assert page.page.open_run(ours, entry.name)[page.page.clip] == str(entry.clip)


def test_link_with_a_broken_look_is_said_in_words(page) -> None:
    class Request:
        query_params = {"look": "%%%"}

    updates = page.page.arrive("", "", {}, Request())
    assert "cannot be read" in updates[page.page.summary]


def test_clip_of_two_faces_offers_both(page, tmp_path) -> None:
    from stitch.page import work

    clip = draw_clip(tmp_path / "two.mp4", discs=2, size=(240, 128))
    entry, _ = page.page.store.session(page.page.store.new_secret()).add(clip, "miniature")
    *_, done = page.page.run(work.Look("miniature", entry.clip, entry.folder))
    assert done.record.people == 2 and len(work.people(entry.folder)) == 2
    assert json.loads((entry.folder / "about.json").read_text())["face"] == 1


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


def test_page_without_mcp_starts_and_warns_of_nothing(tmp_path, monkeypatch, capfd, recwarn) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(app.importlib.util, "find_spec", lambda name: None if name == "mcp" else real(name))
    page, blocks = app.build(tiny_family(), tmp_path / "page")
    try:
        with urllib.request.urlopen(app.serve(page, blocks, block=False)) as answer:
            assert answer.status == 200
    finally:
        blocks.close()
    said = capfd.readouterr()
    assert "mcp" not in (said.out + said.err).lower() and not [one for one in recwarn if "mcp" in str(one.message)]
