import numpy as np
import pytest

from stitch.families.miniature.clips import draw_clip
from stitch.families.miniature.faces import FACTORS
from stitch.families.miniature.motion import moving, person
from stitch.families.speaking import opening, syllables
from stitch.families.voice import speech

SIZE = (160, 120)


def clip(scene: str, frames: int = 4, seed: int = 2, **more):
    return list(draw_clip(seed, frames, SIZE, scene=scene, **more))


def test_draw_clip_is_deterministic_and_a_shorter_clip_is_its_start():
    first, second = clip("plain", 3), clip("plain", 2)
    for (a, truth_a), (b, truth_b) in zip(first, second, strict=False):
        assert np.array_equal(a, b)
        assert np.array_equal(truth_a.labels, truth_b.labels)


def test_draw_clip_gives_frames_and_truth():
    for frame, truth in clip("busy", 2):
        assert frame.shape == (120, 160, 3) and frame.dtype == np.uint8
        assert truth.labels.shape == (120, 160) and truth.shot == 0
        (seen,) = truth.people
        assert seen.landmarks.shape == (68, 2) and seen.factors.shape == (len(FACTORS),)
        eyes = seen.landmarks[36:48].reshape(2, 6, 2).mean(axis=1)
        assert 0.08 < np.hypot(*(eyes[1] - eyes[0])) / SIZE[0] < 0.14


def test_draw_clip_moves_a_little_from_frame_to_frame():
    points = np.stack([truth.people[0].landmarks for _, truth in clip("plain", 6)])
    steps = np.linalg.norm(np.diff(points, axis=0), axis=-1)
    assert 0.01 < steps.mean() < 3.0


def test_draw_clip_moving_camera_pans_the_backdrop():
    frames = [frame.astype(int) for frame, _ in clip("moving-camera", 5, fps=8.0)]
    still = [frame.astype(int) for frame, _ in clip("busy", 5, fps=8.0)]
    edge = np.s_[:40, :30]
    assert np.abs(frames[0][edge] - frames[-1][edge]).mean() > 2 * np.abs(still[0][edge] - still[-1][edge]).mean()


def test_draw_clip_two_people_lists_the_larger_first():
    _, truth = clip("two-people", 1)[0]
    near, far = (np.ptp(p.landmarks[:, 0]) for p in truth.people)
    assert near > far


@pytest.mark.parametrize("seed", [2, 3])
def test_draw_clip_loses_the_face_in_the_middle_and_finds_it_again(seed):
    counts = [len(truth.people) for _, truth in clip("lost-face", 13, seed, fps=7.0)]
    assert counts[0] == counts[-1] == 1
    lost = [i for i, count in enumerate(counts) if not count]
    assert lost == list(range(lost[0], lost[-1] + 1)) and 2 <= len(lost) <= 6


def test_draw_clip_cuts_to_the_same_person_elsewhere():
    frames = clip("cut", 4)
    assert [truth.shot for _, truth in frames] == [0, 0, 1, 1]
    before, after = frames[1][1].people[0], frames[2][1].people[0]
    assert np.linalg.norm(before.landmarks.mean(0) - after.landmarks.mean(0)) > 10
    kept = [FACTORS.index(name) for name in ("face_width", "skin_tone", "glasses", "beard", "age")]
    assert np.array_equal(before.factors[kept], after.factors[kept])


@pytest.mark.parametrize("values, wrong", [
    ({"scene": "space"}, "scene: got 'space'"), ({"frames": 0}, "frames"), ({"fps": 0.0}, "fps"),
    ({"size": (8, 8)}, "size"),
])
def test_draw_clip_refuses_at_once(values, wrong):
    given = {"seed": 1, "frames": 2, "size": SIZE, "fps": 25.0, "scene": "plain", **values}
    with pytest.raises(ValueError, match=wrong):
        draw_clip(**given)


def test_moving_keeps_the_person():
    factors = moving(3, np.arange(50) / 25)
    fixed = [FACTORS.index(name) for name in ("face_width", "age", "glasses", "hair_length", "light_x")]
    assert np.array_equal(factors[:, fixed], np.repeat(person(3)[None, fixed], 50, axis=0))


def test_moving_blinks_and_looks_about():
    factors = moving(3, np.arange(250) / 25)
    eyes = factors[:, FACTORS.index("eyes_open")]
    assert eyes.min() < -2 and np.median(eyes) > 0
    assert np.ptp(factors[:, FACTORS.index("yaw")]) > 0.5


def test_moving_does_not_depend_on_the_frame_rate():
    slow, fast = moving(3, np.arange(20) / 10), moving(3, np.arange(60) / 30)
    assert np.allclose(slow, fast[::3])


def test_syllables_of_a_longer_clip_begin_the_same():
    short, long = syllables(4, 2.0), syllables(4, 6.0)
    assert long[: len(short)] == short and len(long) > len(short)


def test_speech_is_loud_when_the_mouth_is_open():
    sound = speech(5, 4.0, 0.5, 16000)
    assert sound.shape == (64000, 1) and sound.dtype == np.float32 and np.abs(sound).max() <= 1
    loudness = np.sqrt((sound[:, 0].reshape(200, 320) ** 2).mean(axis=1))
    mouth = opening(5, (np.arange(200) + 0.5) / 50)
    assert np.corrcoef(loudness, mouth)[0, 1] > 0.6


def test_speech_refuses_no_length():
    with pytest.raises(ValueError, match="seconds"):
        speech(1, 0.0, 0.5)
