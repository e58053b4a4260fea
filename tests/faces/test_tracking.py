"""Following a face: scripted detections on drawn frames, so that every answer is known."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from stitch.core.errors import FaceError
from stitch.core.events import Notice, Preview, Progress
from stitch.core.records import ClipInfo, Detections, Track
from stitch.core.settings import FaceSettings
from stitch.faces.survey import link, look
from stitch.faces.tracking import track_of
from stitch.families.family import Detector
from stitch.video.shots import change_scores, find_shots, thumbnail
from tests.stages import finish

RATE = 25
FIVE = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]])


class Script:
    """A detector that reads its answers from a list: for each frame boxes (x, y, side) or (x, y, side, score)."""

    def __init__(self, frames: Sequence[Sequence[tuple[float, ...]]]) -> None:
        self._frames = iter(frames)

    def detect(self, frame: np.ndarray, threshold: float) -> Detections:
        faces = [face if len(face) == 4 else (*face, 0.9) for face in next(self._frames)]
        faces = sorted((face for face in faces if face[3] >= threshold), key=lambda face: -face[2])
        boxes = np.array([(x, y, x + side, y + side) for x, y, side, _ in faces], np.float32).reshape(-1, 4)
        points = np.array([FIVE * side + (x, y) for x, y, side, _ in faces], np.float32).reshape(-1, 5, 2)
        return Detections(boxes, np.array([face[3] for face in faces], np.float32), points)


def texture(seed: int, height: int = 180, width: int = 240) -> np.ndarray:
    """A still picture with structure and colours of its own."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 256, (7, 9, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def follow(
    frames: Sequence[np.ndarray], detector: Detector, settings: FaceSettings, embed=None
) -> tuple[Track, list]:
    """Search, link and cut out one person; the track and all events."""
    info = ClipInfo(Path("none"), 240, 180, Fraction(RATE), len(frames), 0.0, len(frames) / RATE, audio=False)
    piece, events = finish(look(iter(frames), detector, info, settings, embed))
    result, said = finish(track_of(link([piece], info, settings), info, settings))
    return result, events + said


def run(
    script: Sequence[Sequence[tuple[float, ...]]],
    frames: Sequence[np.ndarray] | None = None,
    embed=None,
    **settings,
) -> tuple[Track, list]:
    """Track a script on still frames; the track and all events."""
    frames = frames if frames is not None else [texture(0)] * len(script)
    return follow(frames, Script(script), FaceSettings(**settings), embed)


def notices(events: list) -> str:
    return " | ".join(event.message for event in events if isinstance(event, Notice))


def moving(count: int, x: float = 40, y: float = 40, side: float = 60, step: float = 2) -> list:
    return [[(x + step * i, y, side)] for i in range(count)]


def test_track_follows_one_moving_face() -> None:
    result, events = run(moving(30))
    assert result.landmarks.shape == (30, 5, 2) and result.landmarks.dtype == np.float64
    np.testing.assert_allclose(result.landmarks[10], FIVE * 60 + (60, 40), atol=1e-4)
    assert result.found.all() and result.usable.all() and result.faces == 1
    assert result.shots.dtype == np.int64 and not result.shots.any()
    progress = [event for event in events if isinstance(event, Progress)]
    assert [event.done for event in progress] == list(range(1, 31)) and progress[-1].total == 30
    assert [event.frame for event in events if isinstance(event, Preview)] == [0, 25]


def test_track_accepts_68_landmarks() -> None:
    class Dense(Script):
        def detect(self, frame: np.ndarray, threshold: float) -> Detections:
            found = super().detect(frame, threshold)
            points = np.tile(found.boxes[:, None, :2] + 30, (1, 68, 1))
            return Detections(found.boxes, found.scores, points)

    result, _ = follow([texture(0)] * 3, Dense(moving(3)), FaceSettings())
    assert result.landmarks.shape == (3, 68, 2)


def test_track_works_on_one_frame() -> None:
    result, _ = run(moving(1))
    assert result.found.tolist() == result.usable.tolist() == [True]


def test_track_interpolates_short_gaps_linearly() -> None:
    script = moving(30)
    for frame in (10, 11, 12):
        script[frame] = []
    result, events = run(script)
    assert not result.found[10:13].any() and result.usable.all()
    np.testing.assert_allclose(result.landmarks[11], FIVE * 60 + (62, 40), atol=1e-4)
    assert "3 frames of short gaps" in notices(events)


@pytest.mark.parametrize(("missing", "bridged"), [(10, True), (11, False)])
def test_track_leaves_gaps_longer_than_the_limit(missing: int, bridged: bool) -> None:
    script = moving(40)
    script[10 : 10 + missing] = [[] for _ in range(missing)]
    result, events = run(script, max_gap_s=0.4)
    assert result.usable[10 : 10 + missing].tolist() == [bridged] * missing
    assert np.isnan(result.landmarks[10 : 10 + missing]).all() == (not bridged)
    assert result.usable[:10].all() and result.usable[10 + missing :].all() and result.faces == 1
    assert ("no face in 11 frames (0.4 s; 10-20)" in notices(events)) == (not bridged)


def test_track_never_extrapolates_at_the_ends() -> None:
    script = moving(20)
    script[0] = script[-1] = []
    result, _ = run(script)
    assert result.usable.tolist() == [False] + [True] * 18 + [False]


def test_track_takes_the_largest_of_two_by_default() -> None:
    script = [[(20 + i, 40, 50), (140, 60 - i, 70)] for i in range(20)]
    result, events = run(script)
    assert result.faces == 2
    np.testing.assert_allclose(result.landmarks[5], FIVE * 70 + (140, 55), atol=1e-4)
    assert "2 faces: face 1" in notices(events)
    second, _ = run(script, face=2)
    np.testing.assert_allclose(second.landmarks[5], FIVE * 50 + (25, 40), atol=1e-4)


def test_track_counts_by_size_over_the_clip_not_by_a_moment() -> None:
    script = [[(20, 40, 60)] + ([(120, 20, 100)] if 10 <= i < 16 else []) for i in range(50)]
    result, _ = run(script)
    assert result.faces == 2 and result.found.all()
    np.testing.assert_allclose(result.landmarks[0], FIVE * 60 + (20, 40), atol=1e-4)


def test_track_keeps_faces_apart_that_pass_each_other() -> None:
    script = [[(10 + 8 * i, 40, 60), (170 - 8 * i, 90, 54)] for i in range(20)]
    result, _ = run(script)
    for frame in range(20):
        np.testing.assert_allclose(result.landmarks[frame], FIVE * 60 + (10 + 8 * frame, 40), atol=1e-3)


def test_track_does_not_jump_to_another_face_while_its_own_is_missed() -> None:
    script = [[(20, 40, 60), (130, 40, 55)] for _ in range(30)]
    for frame in (12, 13):
        script[frame] = [(130, 40, 55)]
    result, _ = run(script)
    assert not result.found[12:14].any() and result.usable.all()
    np.testing.assert_allclose(result.landmarks[12], FIVE * 60 + (20, 40), atol=1e-3)


def test_track_ignores_false_alarms_of_a_few_frames() -> None:
    script = [[(20, 40, 60)] + ([(120, 20, 110)] if i in (5, 6) else []) for i in range(40)]
    script[20] = [(150, 100, 60)]
    result, _ = run(script)
    assert result.faces == 1 and not result.found[20] and result.usable.all()
    np.testing.assert_allclose(result.landmarks[20], FIVE * 60 + (20, 40), atol=1e-3)


def test_track_counts_doubtful_faces_only_where_there_is_no_other() -> None:
    poster = (120, 20, 50, 0.55)
    result, _ = run([[(20, 40, 60), poster] for _ in range(20)])
    assert result.faces == 1
    alone, _ = run([[poster] for _ in range(20)])
    assert alone.faces == 1 and alone.usable.all()


def test_track_drops_landmarks_that_leap_for_one_frame() -> None:
    class Leaping(Script):
        count = 0

        def detect(self, frame: np.ndarray, threshold: float) -> Detections:
            found = super().detect(frame, threshold)
            self.count += 1
            return Detections(found.boxes, found.scores, found.landmarks + (30 if self.count == 8 else 0))

    result, _ = follow([texture(0)] * 20, Leaping(moving(20)), FaceSettings())
    assert np.flatnonzero(~result.found).tolist() == [7]
    np.testing.assert_allclose(result.landmarks[7], FIVE * 60 + (54, 40), atol=1e-3)


def test_track_counts_two_boxes_around_one_face_once() -> None:
    result, _ = run([[(20, 40, 60), (23, 42, 58, 0.7)] for _ in range(10)])
    assert result.faces == 1
    np.testing.assert_allclose(result.landmarks[0], FIVE * 60 + (20, 40), atol=1e-4)


def test_track_keeps_a_face_cut_by_the_border() -> None:
    result, _ = run([[(-25, 120, 80)] for _ in range(10)])
    assert result.usable.all() and result.landmarks[..., 0].min() < 0


def test_track_follows_the_same_face_over_a_cut() -> None:
    frames = [texture(1)] * 15 + [texture(2)] * 15
    script = moving(15) + moving(15, x=90, y=60, side=80)
    result, events = run(script, frames)
    assert result.shots.tolist() == [0] * 15 + [1] * 15
    assert result.faces == 1 and result.usable.all()
    assert "2 shots: cuts at frame 15" in notices(events)


def test_track_never_interpolates_over_a_cut() -> None:
    frames = [texture(1)] * 15 + [texture(2)] * 15
    script = moving(30)
    script[14] = script[15] = []
    result, _ = run(script, frames)
    assert np.flatnonzero(~result.usable).tolist() == [14, 15]


def test_track_tells_persons_apart_by_identity_across_cuts() -> None:
    persons = {60: np.array([1.0, 0.0]), 70: np.array([0.0, 1.0])}
    frames = [texture(1)] * 15 + [texture(2)] * 15 + [texture(1)] * 15
    script = [[(40, 40, 60)]] * 15 + [[(40, 40, 70)]] * 15 + [[(60, 60, 60)]] * 15

    def embed(frame: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        return persons[round(float(np.ptp(landmarks[:, 0])) / 0.4)]

    result, _ = run(script, frames, embed)
    assert result.faces == 2 and result.usable.tolist() == [True] * 15 + [False] * 15 + [True] * 15
    assert run(script, frames)[0].faces == 1


def test_track_tells_persons_apart_by_identity_where_they_meet() -> None:
    persons = {60: np.array([1.0, 0.0]), 61: np.array([0.0, 1.0])}
    # Both come towards each other, the second hides the first for two frames, then both turn back.
    script = [[(40 + 5 * i, 40, 60), (155 - 5 * i, 40, 61)] for i in range(12)]
    script += [[(97, 40, 61)]] * 2
    script += [[(92 - 5 * i, 40, 60), (103 + 5 * i, 40, 61)] for i in range(12)]

    def embed(frame: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        return persons[round(float(np.ptp(landmarks[:, 0])) / 0.4)]

    for face, side in ((1, 61), (2, 60)):
        result, _ = run(script, embed=embed, face=face)
        sides = np.ptp(result.landmarks[result.found][:, :, 0], axis=1) / 0.4
        np.testing.assert_allclose(sides, side, atol=0.1)
    mixed, _ = run(script, face=2)
    assert np.ptp(np.ptp(mixed.landmarks[mixed.found][:, :, 0], axis=1) / 0.4) > 0.9


def test_track_begins_a_shot_where_the_face_grows_at_once() -> None:
    scene = texture(3, 360, 480)
    closer = cv2.resize(scene[20:320, 30:430], (480, 360))
    frames = [scene] * 15 + [closer] * 15
    script = [[(180, 120, 100)]] * 15 + [[(200, 133, 120)]] * 15
    result, _ = run(script, frames)
    assert result.shots.tolist() == [0] * 15 + [1] * 15 and result.faces == 1


def test_track_takes_a_fast_face_for_motion() -> None:
    places = [20.0] * 12 + [20 + 45 * i for i in range(1, 6)] + [245.0] * 12
    scene = texture(3, 360, 480)
    thing = texture(9)[:120, :100]
    frames = []
    for place in places:
        frame = scene.copy()
        frame[100:220, int(place) : int(place) + 100] = thing
        frames.append(frame)
    result, _ = run([[(place, 100, 100)] for place in places], frames)
    assert not result.shots.any() and result.usable.all() and result.faces == 1


def test_track_refuses_a_clip_without_faces() -> None:
    with pytest.raises(FaceError, match="no face found in any of the 5 frames.*threshold"):
        run([[] for _ in range(5)])
    with pytest.raises(FaceError, match="no face found"):
        run([[(20, 20, 60, 0.3)] for _ in range(5)], threshold=0.5)


def test_track_refuses_a_number_that_is_not_there() -> None:
    script = [[(20, 40, 60), (140, 60, 70)] for _ in range(10)]
    with pytest.raises(FaceError, match="face 3: only 2 faces.*1 to 2"):
        run(script, face=3)
    with pytest.raises(ValueError, match="face: got 0"):
        run(script, face=0)


def test_track_refuses_a_face_that_is_too_small() -> None:
    with pytest.raises(FaceError, match=r"frame \d+: the face is 40 px.*48 px"):
        run(moving(10, side=40))


def test_track_says_what_to_expect_of_a_small_face() -> None:
    assert "the face is 52 px large, which is little" in notices(run(moving(10, side=52))[1])
    assert "large" not in notices(run(moving(10, side=70))[1])


def test_track_says_where_the_head_is_turned_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "turned" not in notices(run(moving(10, side=70))[1])
    monkeypatch.setitem(globals(), "FIVE", FIVE + ((0.0, 0.0), (0.0, 0.0), (0.3, 0.0), (0.0, 0.0), (0.0, 0.0)))
    assert "turned far aside in 10 of 10 frames" in notices(run(moving(10, side=70))[1])


def test_track_refuses_no_frames() -> None:
    with pytest.raises(ValueError, match="got none"):
        run([])


def shots_of(frames: Sequence[np.ndarray]) -> list[int]:
    thumbnails = [thumbnail(frame) for frame in frames]
    return (np.flatnonzero(np.diff(find_shots(thumbnails, change_scores(thumbnails)))) + 1).tolist()


def test_find_shots_finds_cuts_and_returns() -> None:
    first, second = texture(1), texture(2)
    assert shots_of([first] * 10 + [second] * 10 + [first] * 10) == [10, 20]
    assert shots_of([first]) == []


def test_find_shots_ignores_flashes_and_lamps() -> None:
    frame = texture(1)
    flash = np.full_like(frame, 255)
    assert shots_of([frame] * 10 + [flash] * 2 + [frame] * 10) == []
    assert shots_of([frame] * 10 + [(frame * 0.5).astype(np.uint8)] * 10) == []


@pytest.mark.parametrize("speed", [5, 20, 40, 60])
def test_find_shots_ignores_pans(speed: int) -> None:
    wide = texture(4, 180, 240)
    wide = np.concatenate([wide, texture(5), texture(6), texture(7), texture(8)], axis=1)
    wide = cv2.GaussianBlur(wide, (0, 0), 8)
    assert shots_of([wide[:, speed * i : speed * i + 240] for i in range(14)]) == []


def test_find_shots_ignores_large_fast_objects() -> None:
    scene, thing = texture(1), texture(9)[:120, :80]
    frames = []
    for i in range(14):
        frame = scene.copy()
        frame[40:160, 10 * i : 10 * i + 80] = thing
        frames.append(frame)
    assert shots_of(frames) == []
