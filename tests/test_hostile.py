"""Hostile inputs at every door: a sentence or a sound result, no traceback, no half file, nothing of other files."""

import itertools
import math
import warnings
from pathlib import Path

import pytest

from stitch.__main__ import main
from stitch.core.errors import StitchError, WeightsError
from stitch.networks.formats import checkpoints, generators, kinds
from stitch.networks.formats.openvino import read_constants
from stitch.service import tasks
from stitch.service.sessions import Limits, Store
from stitch.video import files
from tests import hostile
from tests.hostile import CALLS, CLIPS, MAGENTA, NAMES, NETWORKS, PICTURES, SETTINGS, WEIGHTS

FILES = CLIPS | PICTURES | NAMES
FRAMES_READ = 5


def test_there_are_hundreds_of_every_sort() -> None:
    counts = hostile.counted()
    assert sum(counts.values()) >= 200 and min(counts.values()) >= 4, counts


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where hostile files lie beside secrets."""
    (made := tmp_path / "files").mkdir()
    hostile.plant(made)
    return made


def seen(path: Path) -> str:
    """What comes of a file: a refusal, or facts; a secret picture in it fails the test."""
    try:
        info = files.probe(path)
        for frame in itertools.islice(files.frames(info), FRAMES_READ):
            assert frame.shape == (info.height, info.width, 3)
            assert tuple(frame[len(frame) // 2, len(frame[0]) // 2]) != MAGENTA
    except StitchError as error:
        return str(error)
    return repr(info)


@pytest.mark.parametrize("name", FILES)
def test_file_is_read_or_refused_in_a_sentence(folder: Path, tmp_path: Path, name: str) -> None:
    path, store = FILES[name](folder), Store(tmp_path / "page", Limits())
    before = sorted(one.name for one in folder.iterdir())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # decoders warn of what they find
        said = seen(path)
        try:
            entry, _ = store.session("a" * 32).add(path, "miniature")
            said += repr(entry.about)
            kept = [entry.clip]
        except StitchError as error:
            said, kept = said + str(error), []
    assert hostile.SECRET.decode() not in said and "root:" not in said
    assert sorted(one.name for one in folder.iterdir()) == before and not Path("ran").exists()
    assert [one for one in store.served.rglob("*") if one.is_file()] == kept


@pytest.mark.parametrize("name", WEIGHTS)
def test_safetensors_are_refused_in_a_sentence(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(WEIGHTS[name])
    for door in (checkpoints.load_checkpoint, generators.load_generator):
        with pytest.raises(WeightsError):
            door(path)
    kinds.kind_of(path)


@pytest.mark.parametrize("name", NETWORKS)
def test_network_in_xml_is_refused_in_a_sentence(name: str) -> None:
    with pytest.raises(WeightsError, match="net"):
        read_constants(NETWORKS[name], bytes(16), "net")


@pytest.mark.parametrize("arguments", SETTINGS, ids=lambda given: ascii(" ".join(given)[:60]))
def test_arguments_are_taken_or_refused_in_a_sentence(brief, folder, clip, tmp_path, capsys, arguments) -> None:
    (results := tmp_path / "results").mkdir()
    places = {"CLIP": str(clip), "OUT": str(results / "out.mp4")}
    try:
        code = main([places.get(one, one) for one in arguments])
    except SystemExit as usage:
        code = usage.code
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err and (err.strip() or code == 0)
    made = [path.name for path in results.iterdir()]
    assert code in (0, 1, 2) and made == (["out.mp4"] if code == 0 else []), err
    if made:
        assert files.probe(results / "out.mp4").frames


@pytest.mark.parametrize("number", range(len(CALLS)))
def test_call_is_answered_or_refused_in_a_sentence(served_page, clip, number: int) -> None:
    given = {"edits": {"smile": 1.0}, "words": "", "at_s": 0.0, "face": 1} | CALLS[number][1]
    refusal = served_page(clip, **given)
    assert "Traceback" not in refusal and "something went wrong" not in refusal and "/kept/" not in refusal


@pytest.fixture(scope="module")
def served_page(tmp_path_factory):
    """The API's preview, called as gradio calls it: what it refuses with, or nothing."""
    gr = pytest.importorskip("gradio")
    from tests.pages import served

    with pytest.MonkeyPatch.context() as patch:
        with served(tmp_path_factory.mktemp("page"), patch) as running:
            answer = tasks.Pictures({"Frame": ("", "data:image/jpeg;base64,AAAA")}, "")
            patch.setattr(running.page.shared.desk, "at_once", lambda task: answer)
            preview = next(one.fn for one in running.blocks.fns.values() if one.api_name == "preview")

            def call(clip: Path, **given: object) -> str:
                upload = running.page.shared.store.uploads / "given" / clip.name
                upload.parent.mkdir(exist_ok=True)
                upload.write_bytes(clip.read_bytes())
                try:
                    made = preview(str(upload), *(given[name] for name in ("edits", "words", "at_s", "face")))
                    assert Path(made).is_file()
                except gr.Error as error:
                    return str(error)
                return ""

            yield call


def test_nan_is_what_these_tests_take_it_for() -> None:
    assert any(math.isnan(value) for _, given in CALLS for value in given.values() if isinstance(value, float))
