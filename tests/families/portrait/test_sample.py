from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from stitch.core import geometry
from stitch.core.records import Direction
from stitch.families import load
from stitch.families.about import Sample
from stitch.families.portrait import SAMPLE, matte, motion, sample, scene
from stitch.families.speaking import opening
from stitch.video import files
from tests.families.portrait import tiny
from tests.families.portrait.packages import folder

NAMES = motion.POSE + motion.EXPRESSION + motion.BLINK
STILL = scene.View(np.zeros(2), 1.0, np.zeros(2), 0.0)


def directions() -> dict[str, Direction]:
    vectors = torch.nn.functional.normalize(torch.randn(5, 8, generator=torch.Generator().manual_seed(1)), dim=1)
    return {name: Direction(one, 0.5, name) for name, one in zip(NAMES, vectors, strict=True)}


def test_strengths_speak_blink_and_stay_small():
    times = np.arange(100) / 25
    found = motion.strengths(105, times)
    assert set(found) == set(NAMES)
    assert np.corrcoef(found["mouth_open"], opening(105, times))[0, 1] > 0.99
    assert all(np.abs(found[name]).max() <= 1.31 for name in found if name != "eyes_open")
    shut = found["eyes_open"] < 0.8 * motion.SHUT
    assert np.count_nonzero(np.diff(shut.astype(int)) > 0) >= 2, "blinks"
    assert np.median(found["eyes_open"]) > -0.1


def test_strengths_are_of_the_seed_and_of_seconds():
    slow, fast = motion.strengths(3, np.arange(20) / 10), motion.strengths(3, np.arange(60) / 30)
    other = motion.strengths(4, np.arange(20) / 10)
    assert all(np.allclose(slow[name], fast[name][::3]) for name in slow)
    assert not any(np.allclose(slow[name], other[name]) for name in slow)


def test_codes_move_all_layers_in_pose_and_the_middle_ones_in_expression():
    generator = tiny.generator()
    w = sample.person(generator, 7)
    rest = dict.fromkeys(NAMES, 0.0)
    still, speaking, blinking = sample.codes(generator, directions(), w, rest)
    assert torch.equal(still, speaking) and torch.equal(still, blinking)
    assert torch.equal(still, generator.broadcast(w)[0])
    strengths = rest | {"yaw": 1.0, "smile": -1.0, "eyes_open": -4.0}
    turned, smiling, shut = sample.codes(generator, directions(), w, strengths)
    assert torch.allclose(turned, still + 0.5 * directions()["yaw"].vector)
    for first, second in ((turned, smiling), (smiling, shut)):
        moved = (second - first).abs().amax(1) > 1e-6
        assert moved.nonzero()[:, 0].tolist() == list(range(generator.num_ws))[sample.MIDDLE]


def test_person_is_of_the_seed():
    generator = tiny.generator()
    assert torch.equal(sample.person(generator, 1), sample.person(generator, 1))
    assert not torch.equal(sample.person(generator, 1), sample.person(generator, 2))


def test_matte_follows_the_edge_of_the_picture_rather_than_of_the_labels():
    picture = np.full((128, 128, 3), 40, np.uint8)
    picture[:, 66:] = 210
    labels = np.zeros((32, 32), np.uint8)
    labels[:, 16:] = 1  # from column 64 on
    found = matte.person(picture, labels)
    assert found.shape == (128, 128) and found[:, 70:].min() > 0.9 and found[:, :58].max() < 0.1
    assert found[64, 67] - found[64, 64] > 0.3


def test_joined_takes_the_face_and_the_eyes_from_where_they_are_drawn():
    pictures = np.full((3, 64, 64, 3), 100, np.uint8)
    pictures[1] = 120
    pictures[2] = 160
    pictures[2, 28:36, 28:36] = 10
    face, eyes = np.zeros((2, 64, 64), np.float32)
    face[16:48, 16:48] = 1
    eyes[26:38, 26:38] = 1
    found = matte.joined(pictures, face, eyes)
    assert (found[:16] == 100).all() and (found[18:24, 18:46] == 120).all()
    assert found[31, 31, 0] < 70, "the lids"
    assert (matte.joined(pictures, face, 0 * eyes)[16:48, 16:48] == 120).all()


def test_steadied_averages_over_three_frames_and_keeps_them_all():
    pairs = [(np.array(t), np.array(float(value))) for t, value in enumerate((0, 4, 0, 0))]
    found = list(matte.steadied(pairs))
    assert [int(picture) for picture, _ in found] == [0, 1, 2, 3]
    assert [float(value) for _, value in found] == [1, 2, 1, 0]
    assert [float(value) for _, value in matte.steadied(pairs[1:2])] == [4]


def test_portrait_ends_below_the_frame_whatever_the_camera_does():
    times = np.arange(0, 60, 0.2)
    seen = motion.camera(105, times)
    for t in range(len(times)):
        view = scene.View(seen.pan[t], seen.zoom[t], seen.sway[t], seen.roll[t])
        place = scene.placement(512, (400, 300), view)
        corners = np.array([(0, 0, 1), (512, 0, 1), (512, 512, 1), (0, 512, 1)]) @ place.T
        assert corners[:2, 1].min() > 10 and 242 > np.hypot(*(corners[1] - corners[0])) > 220


def test_filmed_is_the_backdrop_where_nobody_is_and_keeps_still_without_a_camera():
    picture = np.full((64, 64, 3), (90, 120, 150), np.uint8)
    outline = np.zeros((64, 64), np.float32)
    outline[20:, 22:42] = 1
    picture[outline > 0] = (200, 40, 40)
    plate = scene.backdrop(picture, outline, (80, 60), 5)
    first, second = (scene.filmed(picture, outline, plate, (80, 60), STILL, np.random.default_rng(t)) for t in (1, 2))
    assert first.shape == (60, 80, 3) and 0 < np.abs(first.astype(int) - second).mean() < 4, "grain alone"
    away = first[:, :16].reshape(-1, 3).astype(float)
    assert np.abs(away.mean(0) / away.mean() - np.array([90, 120, 150]) / 120).max() < 0.05, "its hue"
    assert np.abs(first[45, 40].astype(int) - (200, 40, 40)).max() < 20


def test_frames_are_of_the_size_and_the_seed(family):
    def parser(pictures):
        labels = torch.zeros(len(pictures), 16, 16, dtype=torch.int64)
        labels[:, 4:, 4:12] = 1
        return labels

    family = replace(family, generator=tiny.generator(), parser=parser, directions=directions())
    asked = Sample(Path("clip.mp4"), 3, 4, (64, 48), Fraction(5))
    w = sample.person(family.generator, 3)
    first, again = (np.stack(list(sample.frames(family, w, asked))) for _ in range(2))
    assert first.shape == (4, 48, 64, 3) and first.dtype == np.uint8 and np.array_equal(first, again)
    other = np.stack(list(sample.frames(family, w, replace(asked, seed=4))))
    assert not np.array_equal(first, other)


def test_bundled_clip_is_short_and_has_sound():
    info = files.probe(SAMPLE)
    assert (info.width, info.height, info.frames, info.rate, info.audio) == (400, 300, 46, 25, True)
    assert SAMPLE.stat().st_size <= 400_000
    frames = list(files.frames(info))
    assert len(frames) == 46 and frames[0].std() > 20


@pytest.mark.slow
def test_bundled_clip_has_a_face_that_is_edited_at_the_familys_smallest_size():
    family = load.load_family("portrait", torch.device("cpu"), own=load.Own(weights=folder()))
    found = [family.detector.detect(frame, 0.9) for frame in files.frames(files.probe(SAMPLE))]
    points = np.stack([one.landmarks[0] for one in found])
    quads = geometry.corners(*geometry.quads_from_landmarks(points))
    assert geometry.crop_size(quads, (256, 512)) == 256 and geometry.side_px(quads[0]) > 200
