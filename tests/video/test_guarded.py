"""Clips and photos are read in processes that may die: same frames, and a sentence where one does."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stitch.core.errors import VideoError
from stitch.core.settings import VideoSettings
from stitch.runtime import confined
from stitch.video import decoding, files, guarded


@pytest.fixture(params=["forked", "started"], autouse=True)
def how(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to a process, on systems that have both."""
    if request.param == "forked" and not confined.FORKS:
        pytest.skip("only Linux forks")
    monkeypatch.setattr(confined, "FORKS", request.param == "forked")
    return str(request.param)


def test_frames_are_those_that_are_decoded_in_this_process(clip: Path) -> None:
    settings = VideoSettings(start_s=0.08, end_s=0.24)
    info = files.probe(clip, settings)
    assert info == decoding.probe(clip, settings)
    np.testing.assert_array_equal(np.stack(list(files.frames(info))), np.stack(list(decoding.frames(info))))


def test_photo_is_the_one_that_is_decoded_in_this_process(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (30, 41, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    info = files.probe(tmp_path / "a.png")
    assert guarded.is_photo(tmp_path / "a.png") and (next(files.frames(info)) == pixels).all()


def test_frames_left_early_leave_no_process_that_waits(clip: Path) -> None:
    info = files.probe(clip)
    for _ in range(3):
        frames = files.frames(info)
        next(frames)
        frames.close()
    assert len(list(files.frames(info))) == info.frames


def test_probe_finds_a_file_by_a_relative_name_wherever_the_process_has_gone(clip, tmp_path, monkeypatch) -> None:
    files.probe(clip)
    monkeypatch.chdir(clip.parent)
    assert files.probe(Path(clip.name)).path == Path(clip.name)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with pytest.raises(VideoError, match="no such file"):
        files.probe(Path(clip.name))


@pytest.mark.parametrize("name", ["a.mp4", "a.png"])
def test_file_that_breaks_its_decoder_is_refused_in_a_sentence(clip, tmp_path, name, monkeypatch) -> None:
    path = tmp_path / name
    path.write_bytes(clip.read_bytes())
    monkeypatch.setattr(guarded, "_WORK", "tests.rogue:crash")
    with pytest.raises(VideoError, match=f"{name}: the process that decodes it broke down; the file is damaged"):
        files.probe(path)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere frames are decoded in this process")
def test_frames_say_that_their_decoder_broke_down(how, clip, monkeypatch) -> None:
    info = files.probe(clip)
    if how == "started":
        pytest.skip("frames are decoded in this process")
    list(files.frames(info))
    monkeypatch.setattr(guarded, "_WORK", "tests.rogue:crash")
    with pytest.raises(VideoError, match="the process that decodes it broke down"):
        next(files.frames(info))
