"""Who may see which run, what is taken in, and what is thrown away."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from stitch.core.errors import RunError, VideoError
from stitch.service.sessions import Limits, Store


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "page", Limits())


def test_session_sees_its_own_runs_only(store, clip) -> None:
    mine, other = store.session(store.new_secret()), store.session(store.new_secret())
    entry, info = mine.add(clip, "miniature")
    assert [run.name for run in mine.runs()] == [entry.name] and other.runs() == []
    assert info.path == entry.clip and entry.clip.read_bytes() == clip.read_bytes()
    with pytest.raises(RunError, match="no longer here"):
        other.open(entry.name)
    assert mine.open(entry.name).about.title == "clip"


def test_change_loses_nothing_of_what_many_threads_change(store, clip) -> None:
    session = store.session(store.new_secret())
    entry, _ = session.add(clip, "miniature")
    fields = {"title": "a", "result": "b"}
    names = [name for name in fields for _ in range(12)]
    for _ in range(3):
        entry.change(title="", result=None)
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(lambda name: session.open(entry.name).change(**{name: fields[name]}), names))
        assert (entry.about.title, entry.about.result) == ("a", "b")


@pytest.mark.parametrize("secret", ["", None, 7, "short", "../" * 11, "a" * 31 + "/", "a" * 33, ["a" * 32]])
def test_session_refuses_what_is_no_secret(store, secret) -> None:
    with pytest.raises(RunError, match="does not know your browser"):
        store.session(secret)


@pytest.mark.parametrize("name", ["", "..", "../../kept", "/etc/passwd", None, 5, "0" * 16, "A" * 16])
def test_open_takes_no_path(store, clip, name) -> None:
    session = store.session(store.new_secret())
    session.add(clip, "miniature")
    with pytest.raises(RunError, match="no longer here"):
        session.open(name)


def test_served_folder_holds_clips_and_results_but_nothing_of_the_runs(store, clip) -> None:
    entry, _ = store.session(store.new_secret()).add(clip, "miniature")
    assert store.served in entry.shown.parents and store.served not in entry.folder.parents
    assert sorted(path.name for path in entry.shown.iterdir()) == ["clip.mp4"]


@pytest.mark.parametrize("name", ["it's \"quoted\" <b>.mp4", "a" * 240 + ".mp4", "two  spaces;$(rm).mp4", ".mp4"])
def test_add_takes_any_name_and_lets_none_into_a_path(store, clip, tmp_path, name) -> None:
    upload = tmp_path / name
    upload.write_bytes(clip.read_bytes())
    entry, _ = store.session(store.new_secret()).add(upload, "miniature")
    assert entry.clip.name in ("clip.mp4", "clip") and len(entry.about.title) <= 60


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (Limits(largest_bytes=1000), "MB"), (Limits(longest_clip_s=0.1), "cut out the part"),
        (Limits(most_pixels=100), "scale the clip down"),
    ],
)
def test_add_refuses_what_is_too_large_in_words(tmp_path, clip, limits, words) -> None:
    session = Store(tmp_path / "page", limits).session("a" * 32)
    with pytest.raises(VideoError, match=words):
        session.add(clip, "miniature")
    assert session.runs() == []


def test_add_refuses_a_large_file_before_it_is_read(tmp_path) -> None:
    path = tmp_path / "large.mp4"
    with open(path, "wb") as file:
        os.truncate(file.fileno(), 5 * 2**30)
    with pytest.raises(VideoError, match="5120 MB"):
        Store(tmp_path / "page", Limits()).session("a" * 32).add(path, "miniature")


@pytest.mark.parametrize("content", [b"", b"not a video", b"\x00" * 4096])
def test_add_refuses_what_is_no_clip_without_naming_a_folder(store, tmp_path, content) -> None:
    path = tmp_path / "bad.mp4"
    path.write_bytes(content)
    with pytest.raises(VideoError) as caught:
        store.session(store.new_secret()).add(path, "miniature")
    assert "bad.mp4" in str(caught.value) and str(tmp_path) not in str(caught.value)


def test_add_refuses_more_runs_than_are_kept(tmp_path, clip) -> None:
    session = Store(tmp_path / "page", Limits(most_runs=1)).session("a" * 32)
    session.add(clip, "miniature")
    with pytest.raises(RunError, match="delete one"):
        session.add(clip, "miniature")


def test_delete_leaves_nothing(store, clip) -> None:
    session = store.session(store.new_secret())
    entry, _ = session.add(clip, "miniature")
    entry.delete()
    assert not entry.folder.exists() and not entry.shown.exists() and session.runs() == []


def test_expire_deletes_what_is_old_and_idle(store, clip) -> None:
    session = store.session(store.new_secret())
    old, busy, new = (session.add(clip, "miniature")[0] for _ in range(3))
    made = old.about.made
    for entry in (old, busy):
        os.utime(entry.folder / "about.json", (made - 10**8, made - 10**8))
    store.expire({(busy.browser, busy.name)}, now=made + 1)
    assert {run.name for run in session.runs()} == {busy.name, new.name}
    assert not Path(old.shown).exists()


def test_runs_leave_out_one_whose_record_cannot_be_read(store, clip) -> None:
    session = store.session(store.new_secret())
    good, bad = (session.add(clip, "miniature")[0] for _ in range(2))
    for content in ("{", "[]", '{"title": 1}', ""):
        (bad.folder / "about.json").write_text(content)
        assert [run.name for run in session.runs()] == [good.name]
        with pytest.raises(RunError, match="no longer here"):
            session.open(bad.name)


def test_change_from_many_threads_loses_nothing(store, clip) -> None:
    from concurrent.futures import ThreadPoolExecutor

    entry, _ = store.session(store.new_secret()).add(clip, "miniature")
    news = [{"people": 3}, {"lost": 4}, {"cuts": 5}, {"face": 2}, {"state": "done"}, {"quality": "paper"}] * 5
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda one: entry.change(**one), news))
    kept = {name: value for one in news for name, value in one.items()}
    assert {name: getattr(entry.about, name) for name in kept} == kept


def test_received_throws_uploads_away_and_nothing_else(store, clip) -> None:
    upload = store.uploads / "abc" / "clip.mp4"
    upload.parent.mkdir()
    upload.write_bytes(clip.read_bytes())
    store.received(upload)
    store.received(clip)
    assert list(store.uploads.iterdir()) == [] and clip.is_file()


def test_expire_deletes_uploads_that_nobody_took(store) -> None:
    folder = store.uploads / "abc"
    folder.mkdir()
    store.expire(set(), now=folder.stat().st_mtime + 60)
    assert folder.is_dir()
    store.expire(set(), now=folder.stat().st_mtime + 10**5)
    assert not folder.exists()


def test_add_chooses_of_a_long_clip_what_the_page_renders_at_a_time(tmp_path: Path, clip: Path) -> None:
    for longest_s, end_s in ((0.2, 0.2), (60.0, None)):
        entry, _ = Store(tmp_path / "page", Limits(longest_s=longest_s)).session("a" * 32).add(clip, "miniature")
        assert (entry.about.begin_s, entry.about.end_s) == (0.0, end_s)
