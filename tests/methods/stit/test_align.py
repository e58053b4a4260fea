import errno
import tracemalloc
from collections.abc import Generator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stitch.core import geometry
from stitch.core.errors import FaceError, RunError, VideoError
from stitch.core.events import Notice, Preview, Progress
from stitch.core.records import Crops, Track
from stitch.core.settings import AlignSettings
from stitch.methods.stit.align import align, remarks, smooth_quads

FACE = np.array([(40, 40), (60, 40), (50, 52), (43, 62), (57, 62)], dtype=np.float64)


def track_of(path: np.ndarray, lost: tuple[int, ...] = (), cut: int | None = None) -> Track:
    """A face whose upper left corner follows `path`, [T,2] px."""
    landmarks = FACE + path[:, None]
    found = np.ones(len(path), dtype=bool)
    found[list(lost)] = False
    landmarks[~found] = np.nan
    shots = np.zeros(len(path), dtype=np.int64)
    if cut is not None:
        shots[cut:] = 1
    return Track(landmarks, found, found, shots)


def frames_of(count: int, seed: int = 0) -> Iterator[np.ndarray]:
    generator = np.random.default_rng(seed)
    for _ in range(count):
        yield generator.integers(0, 256, (120, 160, 3), dtype=np.uint8)


def finish(stage: Generator[Any, None, Crops]) -> tuple[list[Progress | Preview], Crops]:
    events = []
    while True:
        try:
            events.append(next(stage))
        except StopIteration as end:
            return events, end.value


def exhaust(stage: Generator[Any, None, Crops]) -> None:
    for _ in stage:
        pass


def drift(count: int) -> np.ndarray:
    return np.stack([np.linspace(0, 30, count), np.linspace(0, 10, count)], axis=1)


def test_align_cuts_every_usable_frame(tmp_path: Path) -> None:
    track = track_of(drift(12), lost=(4, 5))
    events, crops = finish(align(frames_of(12), track, 25, 32, AlignSettings(), tmp_path))
    assert crops.frames.tolist() == [0, 1, 2, 3, 6, 7, 8, 9, 10, 11]
    assert isinstance(crops.images, np.memmap) and crops.images.shape == (10, 32, 32, 3)
    quads = smooth_quads(track, 25, AlignSettings())
    np.testing.assert_array_equal(crops.quads, quads[crops.frames])
    for index, frame in enumerate(frames_of(12)):
        if track.usable[index]:
            row = crops.frames.tolist().index(index)
            assert np.array_equal(crops.images[row], geometry.sample_crop(frame, quads[index], 32))
    assert [event.done for event in events if isinstance(event, Progress)] == list(range(1, 13))
    assert {event.total for event in events if isinstance(event, Progress)} == {12}
    assert [path.name for path in tmp_path.iterdir()] == ["crops.npy"]


def test_align_shows_a_preview_about_once_a_second(tmp_path: Path) -> None:
    events, crops = finish(align(frames_of(20), track_of(drift(20)), 8, 32, AlignSettings(), tmp_path))
    previews = [event for event in events if isinstance(event, Preview)]
    assert [preview.frame for preview in previews] == [0, 8, 16]
    assert np.array_equal(previews[1].image, crops.images[8])


def test_remarks_tell_of_darkness_and_of_missing_colours_and_of_nothing_else() -> None:
    noise = np.random.default_rng(0).integers(60, 200, (3, 32, 32, 3), dtype=np.uint8)
    assert remarks(noise) == []
    (dark,) = remarks(noise // 5)
    assert "very dark" in dark and "brighten the clip" in dark
    (grey,) = remarks(np.repeat(noise[..., :1], 3, axis=-1))
    assert "black and white" in grey
    framed = np.zeros_like(noise)
    framed[:, 8:-8, 8:-8] = noise[:, 8:-8, 8:-8]
    assert remarks(framed) == [], "of the face, not of what is around it"
    skin = noise // 4
    skin[:, 12:20, 12:20] = (120, 90, 80)
    assert remarks(skin) == [], "dark skin has highlights"


def test_align_says_what_its_crops_tell(tmp_path: Path) -> None:
    frames = (frame // 8 for frame in frames_of(4))
    events, _ = finish(align(frames, track_of(drift(4)), 8, 32, AlignSettings(), tmp_path))
    assert ["very dark" in event.message for event in events if isinstance(event, Notice)] == [True]


def test_align_takes_a_frame_shown_again_for_the_crop_before(tmp_path: Path) -> None:
    shown = np.array([0, 1, 1, 2, 3, 3, 4, 4, 5, 5])
    clip = np.array(list(frames_of(6)))[shown] // 2
    clip[2, ::7] += 3  # as coding leaves it
    clip[5, 60:80, 60:80] = 255  # the face stands still, but somebody blinks
    _, crops = finish(align(iter(clip), track_of(drift(6)[shown]), 25, 32, AlignSettings(), tmp_path))
    assert crops.frames.tolist() == [0, 1, 3, 4, 5, 6, 8] and crops.images.shape == (7, 32, 32, 3)
    assert crops.repeats.tolist() == [[2, 1], [7, 5], [9, 6]]
    assert crops.row_of == {0: 0, 1: 1, 2: 1, 3: 2, 4: 3, 5: 4, 6: 5, 7: 5, 8: 6, 9: 6}
    np.testing.assert_array_equal(crops.images[1], geometry.sample_crop(clip[1], crops.quads[1], 32))


def test_smooth_quads_do_not_cross_cuts_and_gaps() -> None:
    path = np.zeros((30, 2))
    path[10:20], path[20:] = 15, 40
    quads = smooth_quads(track_of(path, lost=(19, 20), cut=10), 25, AlignSettings())
    for part in (slice(0, 10), slice(10, 19), slice(21, 30)):
        np.testing.assert_allclose(quads[part], np.broadcast_to(quads[part][:1], quads[part].shape))
    assert np.isnan(quads[19:21]).all()


def test_smooth_quads_smooth_the_same_at_any_frame_rate() -> None:
    def shaky(rate: int) -> np.ndarray:
        times = np.arange(4 * rate) / rate
        return np.stack([20 + 9 * np.sin(7 * times), 15 + 5 * np.sin(9 * times)], axis=1)

    settings = AlignSettings(centre_sigma_s=3 / 25)
    slow, fast = (smooth_quads(track_of(shaky(rate)), rate, settings) for rate in (50, 100))
    assert np.abs(slow[25:-25] - fast[::2][25:-25]).max() < 0.05


def test_smooth_quads_keep_to_a_face_whose_frames_were_repeated() -> None:
    path = np.stack([40 + 30 * np.sin(np.arange(40) / 3), 40 + 25 * np.cos(np.arange(40) / 5)], axis=1)
    shown = np.arange(64) * 15 // 24
    centres = (smooth_quads(track_of(path), 15, AlignSettings()).mean(1)[shown],
               smooth_quads(track_of(path[shown]), 24, AlignSettings()).mean(1))
    assert np.abs(centres[0] - centres[1]).max() < 0.5


def test_smooth_quads_with_zero_sigmas_follow_the_landmarks() -> None:
    track = track_of(np.random.default_rng(0).random((9, 2)) * 20)
    still = AlignSettings(centre_sigma_s=0, axes_sigma_s=0, scale=1.3)
    expected = geometry.corners(*geometry.quads_from_landmarks(track.landmarks, 1.3))
    np.testing.assert_array_equal(smooth_quads(track, 25, still), expected)


def test_align_closed_or_broken_midway_leaves_nothing_behind(tmp_path: Path) -> None:
    stage = align(frames_of(9), track_of(drift(9)), 25, 32, AlignSettings(), tmp_path)
    next(stage)
    stage.close()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(VideoError, match="frame 5: missing"):
        finish(align(frames_of(5), track_of(drift(9)), 25, 32, AlignSettings(), tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_align_refuses_a_clip_without_a_usable_frame(tmp_path: Path) -> None:
    track = track_of(drift(3))
    with pytest.raises(FaceError, match="usable face"):
        finish(align(frames_of(3), replace(track, usable=np.zeros(3, bool)), 25, 32, AlignSettings(), tmp_path))


def test_align_says_where_it_cannot_write(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    with pytest.raises(RunError, match="missing"):
        finish(align(frames_of(3), track_of(drift(3)), 25, 32, AlignSettings(), missing))


def test_align_on_a_full_disk_says_so_and_leaves_nothing_behind(tmp_path: Path, monkeypatch) -> None:
    def no_room(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", no_room)
    with pytest.raises(RunError, match="disk is full"):
        finish(align(frames_of(3), track_of(drift(3)), 25, 32, AlignSettings(), tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_align_memory_does_not_grow_with_the_clip(tmp_path: Path) -> None:
    peaks = []
    for count in (10, 10, 160):  # the first run only warms up
        tracemalloc.start()
        exhaust(align(frames_of(count), track_of(drift(count)), 25, 64, AlignSettings(), tmp_path))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[2] < peaks[1] + 150 * 1000  # tracks and quads, but neither frames (57,600 bytes) nor crops (12,288)
