"""One frame at once: before and after the face is learned."""

import hashlib
import shutil
from dataclasses import replace

import av
import numpy as np
import pytest
import torch

from stitch.core.errors import EditError, RunError
from stitch.core.records import Edit, Text
from stitch.core.settings import Settings
from stitch.faces.survey import survey
from stitch.families.family import Boundary
from stitch.methods.stit import pipeline, preview
from stitch.networks.formats import checkpoints
from stitch.runtime import confined
from stitch.video import files
from tests.conftest import draw_clip, tiny_family
from tests.stages import finish

SMILE = [Edit("smile", 4.0)]


def quick() -> Settings:
    settings = Settings.preset("draft")
    return replace(settings, tune=replace(settings.tune, epochs=1, least_steps=0))


@pytest.fixture
def face(family, clip):
    surveyed, _ = finish(survey(clip, quick(), family))
    return preview.from_survey(surveyed, 0.16, quick(), family)


def test_from_survey_takes_the_frame_at_the_players_position(face, clip) -> None:
    assert (face.index, face.at_s, face.tuned) == (4, 0.16, False)
    assert (face.frame == list(files.frames(files.probe(clip)))[4]).all()


def test_edited_frame_changes_the_face_and_nothing_else(face, family) -> None:
    edited = preview.edited_frame(face, SMILE, quick(), family)
    change = np.abs(edited.astype(int) - face.frame).max(axis=-1)
    assert change[40:90, 16:72].mean() > 2 and change[:, 140:].max() == 0


def test_edited_crop_of_a_child_is_not_younger(face, family) -> None:
    children = replace(family, child=Boundary(torch.zeros(8), 1.0))
    kept, younger = (preview.edited_crop(face, [Edit("age", strength)], family) for strength in (0.0, -4.0))
    assert (preview.edited_crop(face, [Edit("age", -4.0)], children) == kept).all() and (younger != kept).any()


def test_edited_frame_before_learning_lays_only_the_change_over_the_frame(face, family) -> None:
    still = preview.edited_frame(face, [Edit("smile", 0.0)], quick(), family).astype(int)
    assert np.abs(still - face.frame)[40:90, 16:72].mean() < 15, "no change, no difference but that of sampling"


def test_from_prepared_takes_what_was_learned(family, clip, tmp_path) -> None:
    prepared, _ = finish(pipeline.prepare(clip, tmp_path / "run", quick(), family))
    face = preview.from_prepared(prepared, 0.16, family)
    assert face.tuned and face.generator is prepared.generator and (face.crop == prepared.crops.images[4]).all()
    assert (preview.edited_crop(face, SMILE, family) != preview.edited_crop(face, [Edit("smile", 0.0)], family)).any()


def test_frame_without_a_face_is_left_as_it_is(family, tmp_path) -> None:
    surveyed, _ = finish(survey(draw_clip(tmp_path / "lost.mp4", frames=8, lost=range(4, 8)), quick(), family))
    face = preview.from_survey(surveyed, 0.24, quick(), family)
    assert face.crop is None and preview.edited_frame(face, SMILE, quick(), family) is face.frame
    with pytest.raises(ValueError, match="without one"):
        preview.edited_crop(face, SMILE, family)


def test_strengths_shows_a_row_for_each_slider_and_for_a_text_how_selective_it_is(face, family, monkeypatch) -> None:
    told = []

    def sheet(pictures, columns, rows, caption):
        told.append((len(pictures), columns, rows, caption))
        return pictures[0][2]

    monkeypatch.setattr(preview, "contact_sheet", sheet)
    middle = preview.strengths(face, [Edit("smile", 4.0), Edit("age", 1.0)], family)
    assert (middle == face.crop).all(), "at 0 it is the face itself"
    preview.strengths(face, [*SMILE, Text("a face with glasses")], family)
    assert told == [
        (2, ["-3", "-1.5", "0", "+1.5", "+3"], ["smile", "age"], "strength of each edit alone"),
        (4, ["0", "+1", "+2", "+3", "+4"], ["very few", "few", "more", "many"],
         "'a face with glasses': how much may change"),
    ]
    with pytest.raises(ValueError, match="at least one"):
        preview.strengths(face, [], family)


@pytest.fixture
def readings(monkeypatch) -> list[str]:
    """What reads the clip, hashes something or loads something, as it is called."""
    seen: list[str] = []

    def watch(module, name: str, what: str) -> None:
        real = getattr(module, name)

        def watched(*args, **kwargs):
            seen.append(what)
            return real(*args, **kwargs)

        monkeypatch.setattr(module, name, watched)

    for module, name in (
        (hashlib, "sha256"), (hashlib, "blake2b"), (av, "open"), (np, "load"), (checkpoints, "load_module"),
    ):
        watch(module, name, name)
    watch(confined, "begin", "open")  # where another process opens the clip
    return seen


@pytest.mark.parametrize("learned", [False, True])
def test_face_at_of_a_second_preview_reads_and_hashes_nothing(tmp_path, readings, learned) -> None:
    family, clip = tiny_family(), draw_clip(tmp_path / "clip.mp4")
    place = (clip, tmp_path / "run", tmp_path / "surveys")
    finish(survey(clip, quick(), family, place[2]))
    if learned:
        finish(pipeline.prepare(clip, place[1], quick(), family, place[2]))
    first = preview.face_at(*place, 0.16, quick(), family)
    assert first.tuned == learned and "open" in readings
    readings.clear()
    assert preview.face_at(*place, 0.16, quick(), family).crop is first.crop
    assert readings == []
    other = preview.face_at(*place, 0.2, quick(), family)
    assert other.index == 5 and set(readings) == {"open"}, "another frame is decoded, and nothing else"


def test_face_at_notices_another_clip_and_a_deleted_run(tmp_path) -> None:
    family, clip = tiny_family(), draw_clip(tmp_path / "clip.mp4")
    place = (clip, tmp_path / "run", tmp_path / "surveys")
    with pytest.raises(RunError, match="still being looked at"):
        preview.face_at(*place, 0.1, quick(), family)
    finish(pipeline.prepare(clip, place[1], quick(), family, place[2]))
    assert preview.face_at(*place, 0.1, quick(), family).tuned
    shutil.rmtree(place[1])
    assert not preview.face_at(*place, 0.1, quick(), family).tuned
    draw_clip(clip, frames=12)
    with pytest.raises(RunError, match="still being looked at"):
        preview.face_at(*place, 0.1, quick(), family)


def test_face_at_shows_a_learned_face_while_its_run_is_in_use(tmp_path) -> None:
    family, clip = tiny_family(), draw_clip(tmp_path / "clip.mp4")
    place = (clip, tmp_path / "run", tmp_path / "surveys")
    prepared, _ = finish(pipeline.prepare(clip, place[1], quick(), family, place[2]))
    preview.face_at(*place, 0.1, quick(), family)
    with prepared.run.locked():
        assert preview.face_at(*place, 0.1, quick(), family).tuned


def test_forget_drops_what_is_below_a_folder(tmp_path) -> None:
    family, clip = tiny_family(), draw_clip(tmp_path / "clip.mp4")
    finish(survey(clip, quick(), family, tmp_path / "surveys"))
    place = (clip, tmp_path / "run", tmp_path / "surveys")
    first = preview.face_at(*place, 0.16, quick(), family)
    preview.forget(tmp_path / "elsewhere")
    assert preview.face_at(*place, 0.16, quick(), family).crop is first.crop
    preview.forget(tmp_path)
    assert preview.face_at(*place, 0.16, quick(), family).crop is not first.crop


def test_edited_frame_refuses_an_unknown_edit(face, family) -> None:
    with pytest.raises(EditError, match="did you mean 'smile'"):
        preview.edited_frame(face, [Edit("simle", 1.0)], quick(), family)
