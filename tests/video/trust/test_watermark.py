"""The watermark: hidden, still, found again after what the world does to clips, and never where it is not."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from stitch.core.records import ClipInfo
from stitch.study import trust as study
from stitch.video import files
from stitch.video.trust import watermark

HEIGHT, WIDTH, FRAMES = 240, 320, 12


def scene(seed: int = 0, frames: int = FRAMES) -> list[np.ndarray]:
    """Soft shapes under fine grain that move a little, as a filmed head does."""
    rng = np.random.default_rng(seed)
    soft = cv2.GaussianBlur(rng.normal(0, 1, (HEIGHT + 40, WIDTH + 40, 3)).astype(np.float32), (0, 0), 9)
    grain = cv2.GaussianBlur(rng.normal(0, 1, soft.shape).astype(np.float32), (0, 0), 1.2)
    whole = 128 + 40 * soft / soft.std() + 5 * grain / grain.std()
    return [np.clip(whole[n : n + HEIGHT, n : n + WIDTH], 0, 255).astype(np.uint8) for n in range(frames)]


def region() -> np.ndarray:
    return cv2.ellipse(np.zeros((HEIGHT, WIDTH), np.uint8), (160, 120), (85, 105), 0, 0, 360, 1, -1) > 0


def marked(clip: list[np.ndarray]) -> list[np.ndarray]:
    mark = watermark.placed(HEIGHT, WIDTH, [(frame, region()) for frame in clip[::3]])
    return [mark(frame, region()) for frame in clip]


def encoded(clip: list[np.ndarray], crf: int, path: Path) -> list[tuple[np.ndarray, bool]]:
    height, width = clip[0].shape[:2]
    info = ClipInfo(path, width, height, Fraction(25), len(clip), 0.0, 1.0, False)
    with files.Writer(path, replace(info), crf=crf) as writer:
        for frame in clip:
            writer.add(frame)
    made = files.probe(path)
    return list(zip(files.frames(made), files.key_frames(made).tolist(), strict=True))


def test_watermark_leaves_every_other_pixel_and_is_faithful_where_it_lies():
    clip = scene()
    for frame, one in zip(clip, marked(clip), strict=True):
        assert np.array_equal(one[~region()], frame[~region()])
        assert (one != frame).any()
        assert watermark.psnr_db(frame, one, region()) >= 42


def test_watermark_of_nothing_changes_nothing():
    frame = scene()[0]
    assert np.array_equal(watermark.Watermark(HEIGHT, WIDTH)(frame, np.zeros((HEIGHT, WIDTH), bool)), frame)


def test_watermark_lies_still_over_a_still_picture():
    clip = [scene()[0]] * 2
    first, second = marked(clip)
    assert np.array_equal(first, second)


@pytest.mark.parametrize("change", [
    lambda frame: frame,
    lambda frame: np.ascontiguousarray(frame[14:230, 22:310]),
    lambda frame: cv2.resize(frame, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC),
], ids=["as it is", "cropped", "twice the size"])
def test_find_reads_the_mark_after_another_encoding(tmp_path, change):
    written = encoded(marked(scene()), 16, tmp_path / "result.mp4")
    found = watermark.find(encoded([change(frame) for frame, _ in written], 23, tmp_path / "again.mp4"))
    assert found.found


def test_find_trusts_key_frames_more(tmp_path):
    """What lies between them is mostly copied from them, moved along with the picture."""
    written = encoded(marked(scene()), 16, tmp_path / "result.mp4")
    read = encoded([frame for frame, _ in written], 26, tmp_path / "again.mp4")
    assert [key for _, key in read] == [True] + [False] * (FRAMES - 1)
    assert watermark.find(read).score > 1.05 * watermark.find([(frame, False) for frame, _ in read]).score


@pytest.mark.parametrize("seed", range(4))
def test_find_reads_no_mark_where_there_is_none(tmp_path, seed):
    assert not watermark.find(encoded(scene(seed), 23, tmp_path / "plain.mp4")).found


def test_find_takes_one_picture_large_pictures_and_none():
    frame = cv2.resize(scene()[0], (1920, 1440), interpolation=cv2.INTER_CUBIC)
    inside = cv2.resize(region().astype(np.uint8), (1920, 1440)) > 0
    mark = watermark.placed(1440, 1920, [(frame, inside)])
    found = watermark.find([(mark(frame, inside), True)])
    assert found.found and found.scale == pytest.approx(3, abs=0.05)
    assert not watermark.find([(frame, True)]).found
    assert not watermark.find([]).found


def test_summary_counts_what_was_found_and_what_should_not_have_been():
    clips = [
        {"marked": {"crf 23": score}, "unmarked": {"crf 23": other}, "psnr_db": 43.0, "lowest_psnr_db": 42.5}
        for score, other in ((9.0, 5.0), (5.0, 7.0))
    ]
    told = study.summary(clips)
    assert told["found"] == {"crf 23": 0.5}
    assert (told["false_positives"], told["unmarked_tried"], told["highest_unmarked"]) == (1, 2, 7.0)
