"""What is compared with what: lengths, rates, sizes, black bars, and files that are none."""

from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from stitch.core.errors import VideoError
from stitch.core.settings import VideoSettings
from stitch.study.evaluate.pair import content_box, pair
from tests.clips import make_clip, number_of, numbered


def numbers(both) -> list[tuple[int, int]]:
    return [(number_of(first), number_of(second)) for first, second in both.frames()]


def test_pair_of_two_lengths_ends_with_the_shorter(tmp_path) -> None:
    both = pair(make_clip(tmp_path / "a.mp4", 12), make_clip(tmp_path / "b.mp4", 7))
    assert numbers(both) == [(n, n) for n in range(7)]
    assert both.notes == ("a.mp4 and b.mp4 last 0.48 s and 0.28 s: the first 0.28 s are compared",)
    assert [number_of(frame) for frame in both.at(5)] == [5, 5]


def test_pair_of_two_rates_compares_what_is_shown_at_the_same_time(tmp_path) -> None:
    both = pair(make_clip(tmp_path / "a.mp4", 12, 50), make_clip(tmp_path / "b.mp4", 6, 20))
    assert both.rate == 20 and numbers(both) == [(int(2.5 * n), n) for n in range(4)]
    assert "50 and 20 frames a second" in both.notes[0]


def test_pair_of_as_many_frames_at_another_rate_goes_frame_by_frame(tmp_path) -> None:
    both = pair(make_clip(tmp_path / "a.mp4", 5, 25), make_clip(tmp_path / "b.mp4", 5, Fraction(24000, 1001)))
    assert numbers(both) == [(n, n) for n in range(5)] and "one by one" in both.notes[0]


def test_pair_takes_the_part_that_was_edited(tmp_path) -> None:
    source = make_clip(tmp_path / "a.mp4", 12)
    both = pair(source, make_clip(tmp_path / "b.mp4", [numbered(n) for n in range(4, 9)]), VideoSettings(0.16, 0.36))
    assert numbers(both) == [(n, n) for n in range(4, 9)] and both.notes == ()


def test_pair_of_a_clip_and_a_photo_compares_first_frames(tmp_path) -> None:
    Image.fromarray(numbered(0)).save(tmp_path / "b.png")
    both = pair(make_clip(tmp_path / "a.mp4", 5), tmp_path / "b.png")
    assert numbers(both) == [(0, 0)] and "their first ones are compared" in both.notes[0]


def test_pair_takes_photos_with_transparency(tmp_path) -> None:
    picture = Image.fromarray(numbered(3))
    picture.save(tmp_path / "a.png")
    picture.putalpha(128)
    picture.save(tmp_path / "b.png")
    first, second = pair(tmp_path / "a.png", tmp_path / "b.png").at(0)
    assert first.shape == second.shape == (96, 128, 3) and (first == second).all()


def test_pair_brings_the_edited_clip_to_the_originals_size_and_points_with_it(tmp_path) -> None:
    both = pair(make_clip(tmp_path / "a.mp4", 3), make_clip(tmp_path / "b.mp4", 3, size=(64, 48)))
    assert both.size == (128, 96) and numbers(both) == [(n, n) for n in range(3)]
    assert "64x48 px are brought to the original's 128x96" in both.notes[0] and len(both.notes) == 1
    assert both.edited.points(np.array([[32.0, 24.0]])).tolist() == [[64.0, 48.0]]


def test_pair_says_that_another_shape_is_stretched(tmp_path) -> None:
    both = pair(make_clip(tmp_path / "a.mp4", 2), make_clip(tmp_path / "b.mp4", 2, size=(128, 128)))
    assert any("stretched" in note for note in both.notes)


def test_pair_leaves_out_the_row_that_made_an_odd_size_even(tmp_path) -> None:
    odd = numbered(5, 127, 95)
    Image.fromarray(odd).save(tmp_path / "a.png")
    Image.fromarray(np.pad(odd, ((0, 1), (0, 1), (0, 0)), mode="edge")).save(tmp_path / "b.png")
    both = pair(tmp_path / "a.png", tmp_path / "b.png")
    assert both.notes == () and all((first == second).all() for first, second in both.frames())


@pytest.mark.parametrize("bars", [((20, 20), (0, 0)), ((0, 0), (16, 32)), ((12, 12), (8, 8))])
def test_pair_cuts_off_black_bars_that_one_clip_alone_has(tmp_path, bars) -> None:
    framed = [np.pad(numbered(n), (*bars, (0, 0))) for n in range(4)]
    both = pair(make_clip(tmp_path / "a.mp4", 4), make_clip(tmp_path / "b.mp4", framed))
    x0, y0 = bars[1][0], bars[0][0]
    assert both.edited.box == (x0, y0, x0 + 128, y0 + 96) and numbers(both) == [(n, n) for n in range(4)]
    assert "black bars are cut off; 128x96 of" in both.notes[0] and len(both.notes) == 1
    assert all(np.abs(first.astype(int) - second).mean() < 3 for first, second in both.frames())


def test_pair_keeps_black_bars_that_both_clips_have(tmp_path) -> None:
    framed = [np.pad(numbered(n), ((20, 20), (0, 0), (0, 0))) for n in range(3)]
    both = pair(make_clip(tmp_path / "a.mp4", framed), make_clip(tmp_path / "b.mp4", framed))
    assert both.size == (128, 136) and both.notes == ()


def test_content_box_is_the_whole_of_a_dark_frame_and_of_one_with_dark_edges_now_and_then() -> None:
    dark, lit = np.full((40, 60, 3), 10, np.uint8), np.full((40, 60, 3), 90, np.uint8)
    night = lit.copy()
    night[:10] = 0
    assert content_box([dark]) == content_box([lit, night]) == (0, 0, 60, 40)
    assert content_box([night]) == (0, 10, 60, 40)


def test_pair_refuses_the_same_file_and_what_is_no_clip(tmp_path) -> None:
    clip = make_clip(tmp_path / "a.mp4", 2)
    (tmp_path / "b.mp4").write_bytes(b"no clip")
    with pytest.raises(VideoError, match="the original itself"):
        pair(clip, clip)
    for original, edited in ((clip, tmp_path / "b.mp4"), (tmp_path / "b.mp4", clip), (clip, tmp_path / "gone.mp4")):
        with pytest.raises(VideoError, match="b.mp4|gone.mp4"):
            pair(original, edited)
