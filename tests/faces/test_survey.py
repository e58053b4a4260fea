"""One survey a clip: nothing is searched twice, and a person keeps its number whatever part is chosen."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from stitch.core.errors import FaceError
from stitch.core.events import Progress, finished
from stitch.core.settings import FaceSettings, Settings, VideoSettings
from stitch.faces import survey as surveys
from stitch.faces.survey import survey, unsearched
from stitch.faces.tracking import track_of
from stitch.families.family import Family
from stitch.video import files
from tests.clips import make_clip
from tests.conftest import DiscDetector, draw_clip, tiny_family
from tests.stages import finish

SETTINGS = Settings.preset("draft")


class Counted(DiscDetector):
    """Counts the frames that it looks at; it has no weights, so its fingerprint stays."""

    looked = 0

    def detect(self, frame, threshold):
        type(self).looked += 1
        return super().detect(frame, threshold)


@pytest.fixture
def counted(family) -> Family:
    Counted.looked = 0
    return replace(family, detector=Counted())


@pytest.fixture
def pieces(monkeypatch) -> None:
    """Pieces of half a second."""
    monkeypatch.setattr(surveys, "_PIECE_S", 0.5)


def test_survey_finds_everybody_and_where(family, tmp_path) -> None:
    clip = draw_clip(tmp_path / "two.mp4", discs=2, size=(240, 128), lost=[3])
    surveyed = finished(survey(clip, SETTINGS, family))
    assert surveyed.boxes.shape == (2, 8, 4) and surveyed.landmarks.shape[:2] == (2, 8) and surveyed.lost == 1
    assert np.isnan(surveyed.boxes[:, 3]).all() and np.isfinite(surveyed.boxes[:, 4]).all()
    sides = (surveyed.boxes[:, 0, 2:] - surveyed.boxes[:, 0, :2]).max(axis=1)
    assert sides[0] > sides[1], "seen alike, the largest is the first"
    assert all(np.isfinite(surveyed.boxes[person, frame]).all() for person, frame in enumerate(surveyed.best))


def test_survey_searches_no_frame_twice(counted, clip, pieces) -> None:
    assert unsearched(clip, SETTINGS, counted) == 8
    first, events = finish(survey(clip, SETTINGS, counted))
    assert Counted.looked == 8 and unsearched(clip, SETTINGS, counted) == 0
    part = replace(SETTINGS, video=VideoSettings(start_s=0.1, end_s=0.2), faces=FaceSettings(face=2, max_gap_s=0.2))
    again = finished(survey(clip, part, counted))
    assert Counted.looked == 8 and again.info == first.info == files.probe(clip)
    np.testing.assert_array_equal(first.landmarks, again.landmarks)
    assert [event.done for event in events if isinstance(event, Progress)][-1] == 8


def test_survey_goes_on_where_it_was_broken_off(counted, tmp_path, pieces) -> None:
    clip = draw_clip(tmp_path / "clip.mp4", frames=40, cut=20)
    whole = finished(survey(clip, SETTINGS, counted, tmp_path / "whole"))
    work = survey(clip, SETTINGS, counted, tmp_path / "broken")
    while next(work) != Progress("track", 30, 40):
        pass
    work.close()
    assert unsearched(clip, SETTINGS, counted, tmp_path / "broken") == 16, "two of four pieces were finished"
    Counted.looked = 0
    again = finished(survey(clip, SETTINGS, counted, tmp_path / "broken"))
    assert Counted.looked == 16
    for name in ("boxes", "scores", "landmarks", "shots", "changes"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(again, name))
    assert whole.shots[-1] == 1


@pytest.mark.parametrize("damage", ["cut short", "another size", "gone", "not an archive"])
def test_survey_makes_a_damaged_piece_anew(counted, tmp_path, pieces, damage) -> None:
    clip = draw_clip(tmp_path / "clip.mp4", frames=30)
    before = finished(survey(clip, SETTINGS, counted, tmp_path / "kept"))
    first, second, _ = sorted((tmp_path / "kept").glob("*/*.npz"), key=lambda path: int(path.stem))
    content = second.read_bytes()
    if damage == "gone":
        second.unlink()
    elif damage == "another size":
        second.write_bytes((tmp_path / "kept" / first.parent.name / "24.npz").read_bytes())
    else:
        second.write_bytes(content[:-300] if damage == "cut short" else b"words")
    Counted.looked = 0
    after = finished(survey(clip, SETTINGS, counted, tmp_path / "kept"))
    assert Counted.looked == 12
    np.testing.assert_array_equal(before.landmarks, after.landmarks)


def test_survey_of_another_clip_detector_or_threshold_is_another(counted, clip, tmp_path) -> None:
    finished(survey(clip, SETTINGS, counted))
    other = draw_clip(tmp_path / "other.mp4", frames=9)
    assert unsearched(other, SETTINGS, counted) == 9
    assert unsearched(clip, replace(SETTINGS, faces=FaceSettings(threshold=0.6)), counted) == 8
    assert unsearched(clip, SETTINGS, tiny_family()) == 8
    clip.rename(tmp_path / "renamed.mp4")
    assert unsearched(tmp_path / "renamed.mp4", SETTINGS, counted) == 0, "it goes by content, not by name"


def test_survey_of_a_very_long_clip_searches_the_stretch_around_the_part(counted, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(surveys, "WHOLE_S", 1.0)
    clip = draw_clip(tmp_path / "long.mp4", frames=80)
    for start_s, end_s, first, frames, searched in (
        (2.0, 2.1, 40, 20, 20), (1.7, 1.8, 40, 20, 0), (1.5, 1.7, 20, 40, 20), (0.0, None, 0, 80, 40),
    ):
        Counted.looked = 0
        settings = replace(SETTINGS, video=VideoSettings(start_s=start_s, end_s=end_s))
        surveyed = finished(survey(clip, settings, counted))
        assert (surveyed.info.start_s, surveyed.info.frames) == (first / 25, frames) and Counted.looked == searched
        part = files.probe(clip, settings.video)
        track = finished(track_of(surveyed, part, settings.faces))
        assert len(track.usable) == part.frames and track.usable.all()


def test_track_of_a_part_is_the_part_of_the_track(family, tmp_path) -> None:
    clip = draw_clip(tmp_path / "clip.mp4", frames=40, lost=[12, 13])
    surveyed = finished(survey(clip, SETTINGS, family))
    whole = finished(track_of(surveyed, surveyed.info, SETTINGS.faces))
    for first, last in ((0, 40), (13, 30), (26, 40), (5, 6)):
        part = files.probe(clip, VideoSettings(start_s=first / 25, end_s=last / 25))
        track = finished(track_of(surveyed, part, SETTINGS.faces))
        np.testing.assert_array_equal(track.landmarks, whole.landmarks[first:last])
        np.testing.assert_array_equal(track.shots, whole.shots[first:last] - whole.shots[first])
    assert whole.usable.all() and not whole.found[12:14].any()


def test_track_of_a_part_of_a_variable_rate_meets_the_frames(family, tmp_path) -> None:
    """The face is where the frames of the same part show it."""
    still = [np.full((96, 128, 3), (60, 90, 140), np.uint8) for _ in range(24)]
    for index, picture in enumerate(still):
        picture[20:76, 3 * index : 3 * index + 56] = (220, 150, 110)
    times = np.cumsum([0] + [40, 40, 120, 40, 80, 33] * 4)[:24]
    clip = make_clip(tmp_path / "wavering.mp4", still, times=times.tolist(), time_base=Fraction(1, 1000))
    surveyed = finished(survey(clip, SETTINGS, family))
    for start_s, end_s in ((0.21, 0.9), (0.4, None), (0.333, 1.0)):
        part = files.probe(clip, VideoSettings(start_s=start_s, end_s=end_s))
        track = finished(track_of(surveyed, part, SETTINGS.faces))
        for frame, landmarks in zip(files.frames(part), track.landmarks, strict=True):
            found = DiscDetector().detect(frame, 0.5).landmarks[0]
            np.testing.assert_allclose(landmarks, found, atol=1e-3)


def test_track_of_names_where_a_person_is_who_is_not_in_the_part(family, tmp_path) -> None:
    clip = draw_clip(tmp_path / "clip.mp4", frames=40, lost=range(10))
    surveyed = finished(survey(clip, SETTINGS, family))
    part = files.probe(clip, VideoSettings(end_s=0.3))
    with pytest.raises(FaceError, match=r"face 1 is not seen between 0.00 s and 0.32 s; .* within 0.40 s to 1.56 s"):
        finished(track_of(surveyed, part, SETTINGS.faces))
