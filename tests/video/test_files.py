"""Decoding and encoding: clips of every kind made on the spot, read back picture by picture."""

import errno
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from stitch.core.errors import VideoError
from stitch.core.records import ClipInfo
from stitch.core.settings import VideoSettings
from stitch.video.colour import BT709, BT2020, HLG, PQ, gamut_matrix, hlg_to_scene, nits_to_pq, pq_to_nits, tone_curve
from stitch.video.files import Writer, frames, key_frames, probe
from stitch.video.timeline import constant_rate
from tests.clips import (
    beeps,
    corners_of,
    cut_short,
    hear,
    make_clip,
    make_sound,
    needs_encoder,
    number_of,
    numbered,
    turn,
)

REAL = Path(os.environ.get("STITCH_REAL", Path(__file__).parents[2] / "../shared/real"))
REPOSITORY = Path(__file__).parents[2]
QUIET_X265 = {"x265-params": "log-level=none"}
NTSC = Fraction(30000, 1001)


def numbers(info: ClipInfo) -> list[int]:
    return [number_of(frame) for frame in frames(info)]


def rewrite(source: Path, target: Path, settings: VideoSettings | None = None) -> Writer:
    info = probe(source, settings)
    with Writer(target, info, info, "smile +2") as writer:
        for frame in frames(info):
            writer.add(frame)
    return writer


# --- what is decoded ---


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.mp4", {}),
        ("bframes.mp4", {"options": {"preset": "medium"}}),
        ("a.mov", {}),
        ("a.mkv", {}),
        ("hevc.mp4", {"codec": "libx265", "options": QUIET_X265}),
        ("vp9.webm", {"codec": "libvpx-vp9"}),
        ("vp8.webm", {"codec": "libvpx"}),
        ("av1.mp4", {"codec": "libsvtav1"}),
        ("av1.mkv", {"codec": "libsvtav1"}),
        ("a.gif", {"codec": "gif", "pix_fmt": "rgb8"}),
        ("a.avi", {"codec": "mpeg4"}),
        ("a.ts", {"sound": "aac"}),
        ("a.mpg", {"codec": "mpeg2video"}),
        ("10bit.mp4", {"codec": "libx265", "pix_fmt": "yuv420p10le", "options": QUIET_X265}),
        ("444.mkv", {"pix_fmt": "yuv444p"}),
    ],
)
def test_frames_yields_every_picture_once(tmp_path: Path, name: str, options: dict) -> None:
    info = probe(make_clip(tmp_path / name, 20, **options))
    assert (info.width, info.height, info.rate, info.frames) == (128, 96, 25, 20)
    assert info.notes == () and info.audio == ("sound" in options)
    pictures = list(frames(info))
    assert [number_of(picture) for picture in pictures] == list(range(20))
    assert all(picture.shape == (96, 128, 3) and picture.dtype == np.uint8 for picture in pictures)
    assert corners_of(pictures[0]) == ("red", "green", "blue", "white")


@pytest.mark.skipif(not hasattr(os, "sched_getscheduler"), reason="Linux alone says how a thread is scheduled")
def test_clips_of_the_tests_leave_the_thread_as_it_was_scheduled(tmp_path: Path) -> None:
    before = os.sched_getscheduler(0)
    make_clip(tmp_path / "av1.mp4", 8, codec="libsvtav1")
    assert os.sched_getscheduler(0) == before


def test_key_frames_are_those_of_the_chosen_part(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mp4", 30, options={"x264-params": "keyint=10:min-keyint=10:scenecut=0"})
    assert np.flatnonzero(key_frames(probe(clip))).tolist() == [0, 10, 20]
    assert np.flatnonzero(key_frames(probe(clip, VideoSettings(start_s=8 / 25, end_s=22 / 25)))).tolist() == [2, 12]


@pytest.mark.parametrize("rate", [Fraction(24000, 1001), NTSC, Fraction(60000, 1001), Fraction(50), Fraction(15)])
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.webm"])
def test_probe_finds_the_exact_rate(tmp_path: Path, rate: Fraction, name: str) -> None:
    codec = "libvpx-vp9" if name.endswith("webm") else "libx264"
    info = probe(make_clip(tmp_path / name, 40, rate=rate, codec=codec, size=(64, 48)))
    assert info.rate == rate and info.frames == 40


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("open.mp4", {"options": {"preset": "medium", "x264-params": "keyint=10:open-gop=1:bframes=3"}}),
        ("open.mkv", {"options": {"preset": "medium", "x264-params": "keyint=10:open-gop=1:bframes=3"}}),
        ("a.webm", {"codec": "libvpx-vp9", "options": {"g": "7", "deadline": "realtime"}}),
        ("a.ts", {"options": {"g": "8"}}),
        ("a.gif", {"codec": "gif", "pix_fmt": "rgb8"}),
    ],
)
def test_probe_trims_to_the_frame(tmp_path: Path, name: str, options: dict) -> None:
    clip = make_clip(tmp_path / name, 36, **options)
    for start in range(0, 36, 5):
        info = probe(clip, VideoSettings(start_s=start / 25, end_s=(start + 3) / 25))
        assert numbers(info) == list(range(start, min(start + 3, 36)))
        assert info.start_s == pytest.approx(start / 25) and info.frames == min(3, 36 - start)


def test_probe_takes_frames_from_start_on_and_before_end(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mp4", 20)
    assert numbers(probe(clip, VideoSettings(start_s=0.19, end_s=0.41))) == list(range(5, 11))
    late = probe(clip, VideoSettings(start_s=0.6, end_s=9.0))
    assert numbers(late) == list(range(15, 20)) and "lies after the clip's own" in late.notes[0]


@pytest.mark.parametrize(
    ("start", "end", "message"),
    [
        (5.0, None, "only 0.8 s long"),
        (-1.0, None, "start -1 s"),
        (float("nan"), None, "start nan"),
        (0.5, 0.4, "not after the start"),
        (0.01, 0.03, "no frame of"),
    ],
)
def test_probe_refuses_impossible_ranges(tmp_path: Path, start: float, end: float | None, message: str) -> None:
    clip = make_clip(tmp_path / "a.mp4", 20)
    with pytest.raises(VideoError, match=message):
        probe(clip, VideoSettings(start_s=start, end_s=end))


def test_frames_handles_one_frame(tmp_path: Path) -> None:
    for name in ("a.mp4", "a.mkv"):
        info = probe(make_clip(tmp_path / name, 1))
        assert info.frames == 1 and numbers(info) == [0] and info.rate == 25


def test_frames_gives_arrays_that_are_the_callers_own(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mkv", 2, times=[0, 90], time_base=Fraction(1, 900))
    info = probe(clip)
    for frame in frames(info):
        assert frame.flags.writeable
        frame[:] = 0
    assert numbers(info)[0] == 0 and next(frames(info)).max() > 0


# --- variable rates ---


def test_frames_repeats_pictures_where_the_rate_has_holes(tmp_path: Path) -> None:
    present = [i for i in range(40) if i % 5 != 3]
    for name in ("a.mp4", "a.mkv"):
        clip = make_clip(tmp_path / name, len(present), times=[3000 * i for i in present], time_base=Fraction(1, 90000))
        info = probe(clip)
        assert info.rate == 30 and info.frames == 40 and "variable frame rate" in info.notes[0]
        shown = [present[number] for number in numbers(info)]
        assert shown == [i if i in present else i - 1 for i in range(40)]


def test_frames_keeps_every_picture_of_a_wavering_rate(tmp_path: Path) -> None:
    waver = np.random.default_rng(0).integers(-400, 400, 40)
    times = (np.arange(40) * 3000 + waver - waver[0]).tolist()
    info = probe(make_clip(tmp_path / "a.mp4", 40, times=times, time_base=Fraction(1, 90000)))
    assert info.rate == 30 and numbers(info) == list(range(40)) and "written at a constant 30 fps" in info.notes[0]


def test_constant_rate_keeps_a_regular_grid() -> None:
    for rate in (Fraction(24000, 1001), NTSC, Fraction(25), Fraction(60)):
        times = np.rint(np.arange(200) * float(90000 / rate)).astype(np.int64)
        found, picks, note = constant_rate(times, Fraction(1, 90000), [rate])
        assert found == rate and picks.tolist() == list(range(200)) and note == ""


def test_constant_rate_shows_the_latest_picture() -> None:
    times = np.array([0, 100, 200, 300, 1000, 1100, 1200, 1300])
    rate, picks, note = constant_rate(times, Fraction(1, 1000), [])
    assert rate == 10 and picks.tolist() == [0, 1, 2, 3, 3, 3, 3, 3, 3, 3, 4, 5, 6, 7] and "1.429 to 10" in note


def test_constant_rate_never_shows_a_picture_much_too_early() -> None:
    times = np.cumsum(np.random.default_rng(1).integers(10, 90, 300))
    rate, picks, _ = constant_rate(times, Fraction(1, 1000), [])
    shown = times[picks] - times[0]
    due = np.arange(len(picks)) * float(1000 / rate)
    assert (np.diff(picks) >= 0).all() and (shown <= due + 0.26 * float(1000 / rate)).all() and picks[-1] == 299
    assert rate.denominator <= 1001


# --- what the picture looks like ---


@pytest.mark.parametrize(
    ("degrees", "corners"),
    [
        (90, ("blue", "red", "white", "green")),
        (180, ("white", "blue", "green", "red")),
        (270, ("green", "white", "red", "blue")),
    ],
)
def test_frames_turns_pictures_upright(tmp_path: Path, degrees: int, corners: tuple[str, ...]) -> None:
    info = probe(turn(make_clip(tmp_path / "a.mp4", 3), degrees))
    assert info.rotation_deg == degrees
    assert (info.width, info.height) == ((128, 96) if degrees == 180 else (96, 128))
    for frame in frames(info):
        assert frame.shape == (info.height, info.width, 3) and corners_of(frame) == corners


def test_frames_mirrors_pictures_back(tmp_path: Path) -> None:
    info = probe(turn(make_clip(tmp_path / "a.mp4", 2), 0, mirrored=True))
    assert info.rotation_deg == 0 and corners_of(next(frames(info))) == ("green", "red", "white", "blue")


@pytest.mark.parametrize(("aspect", "size"), [(Fraction(4, 3), (170, 96)), (Fraction(8, 9), (128, 108))])
def test_frames_makes_pixels_square(tmp_path: Path, aspect: Fraction, size: tuple[int, int]) -> None:
    info = probe(make_clip(tmp_path / "a.mp4", 3, aspect=aspect))
    assert (info.width, info.height) == size and "pixels are not square" in info.notes[0]
    assert [frame.shape for frame in frames(info)] == [(size[1], size[0], 3)] * 3


def test_frames_keeps_odd_sizes(tmp_path: Path) -> None:
    info = probe(make_clip(tmp_path / "a.mkv", 3, size=(127, 95), pix_fmt="yuv444p"))
    assert (info.width, info.height) == (127, 95) and numbers(info) == [0, 1, 2]


def test_frames_reads_4k(tmp_path: Path) -> None:
    info = probe(make_clip(tmp_path / "a.mp4", 2, size=(3840, 2160)))
    assert (info.width, info.height) == (3840, 2160) and numbers(info) == [0, 1]


def test_probe_refuses_more_than_the_largest_side(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mp4", 2)
    with pytest.raises(VideoError, match="128x96 px; at most 100 px"):
        probe(clip, VideoSettings(max_side_px=100))


PALETTE = np.array(
    [
        [200, 30, 30],
        [30, 180, 30],
        [40, 40, 200],
        [230, 230, 230],
        [128, 128, 128],
        [16, 16, 16],
        [255, 255, 255],
        [220, 170, 140],
    ]
)


def bars(colours: np.ndarray, width: int = 32, height: int = 96) -> np.ndarray:
    return np.repeat(np.tile(colours, (height, 1, 1)), width, axis=1)


def bars_of(frame: np.ndarray, count: int = 8) -> np.ndarray:
    centres = ((np.arange(count) + 0.5) * frame.shape[1] / count).astype(int)
    return frame[frame.shape[0] // 2, centres].astype(int)


@pytest.mark.parametrize(
    "tags",
    [
        {},
        {"colorspace": 6, "color_range": 1},
        {"colorspace": 1, "color_range": 1, "color_primaries": 1, "color_trc": 1},
        {"colorspace": 1, "color_range": 2, "color_primaries": 1, "color_trc": 1},
    ],
)
def test_frames_heeds_matrix_and_range(tmp_path: Path, tags: dict[str, int]) -> None:
    clip = make_clip(tmp_path / "a.mp4", [bars(PALETTE).astype(np.uint8)] * 2, tags=tags)
    assert np.abs(bars_of(next(frames(probe(clip)))) - PALETTE).max() <= 3


def yuv_matrix(red: float, blue: float) -> np.ndarray:
    luma = np.array([red, 1 - red - blue, blue])
    return np.stack([luma, (np.eye(3)[2] - luma) / (2 - 2 * blue), (np.eye(3)[0] - luma) / (2 - 2 * red)])


def test_frames_takes_hd_without_tags_for_bt709(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mp4", [bars(PALETTE, 160, 720).astype(np.uint8)])  # coded as BT.601, which it hides
    expected = PALETTE @ (np.linalg.inv(yuv_matrix(0.2126, 0.0722)) @ yuv_matrix(0.299, 0.114)).T
    assert np.abs(bars_of(next(frames(probe(clip)))) - np.clip(expected, 0, 255)).max() <= 3


NITS = np.array(
    [
        [100, 100, 100],
        [203, 203, 203],
        [1000, 1000, 1000],
        [50, 50, 50],
        [80, 0, 0],
        [0, 80, 0],
        [0, 0, 80],
        [70, 45, 35],
    ],
    dtype=float,
)


def shown_for(nits: np.ndarray, peak: float) -> np.ndarray:
    """What a BT.709 screen should be told for linear BT.709 light: the definition, without tables."""
    brightest = nits.max(axis=1)
    toned = tone_curve(brightest, peak) / 203
    return 255 * (toned[:, None] * nits / brightest[:, None]) ** (1 / 2.4)


@pytest.mark.parametrize(
    ("extra", "peak"),
    [
        ("", 1000),
        (":hdr10=1:max-cll=1000,400", 1000),
        (":hdr10=1:master-display=G(8500,39850)B(6550,2300)R(35400,14600)WP(15635,16450)L(40000000,50)", 4000),
    ],
)
def test_frames_tone_maps_pq(tmp_path: Path, extra: str, peak: float) -> None:
    light = np.clip(NITS @ gamut_matrix(BT709, BT2020).T, 0, None)
    params = "log-level=none:bframes=0:crf=3:colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc:repeat-headers=1"
    clip = make_clip(
        tmp_path / "a.mp4",
        [np.rint(bars(nits_to_pq(light)) * 65535).astype(np.uint16)] * 4,
        codec="libx265",
        pix_fmt="yuv420p10le",
        options={"x265-params": params + extra},
        tags={"colorspace": 9, "color_range": 1, "color_primaries": 9, "color_trc": PQ},
    )
    info = probe(clip)
    assert f"HDR (PQ, up to {peak} cd/m2)" in info.notes[0]
    error = np.abs(bars_of(next(frames(info))) - shown_for(NITS, peak))
    assert error[[0, 1, 2, 3, 7]].max() <= 3 and error.max() <= 12


def test_frames_tone_maps_hlg(tmp_path: Path) -> None:
    light = np.clip(NITS @ gamut_matrix(BT709, BT2020).T, 0, None) / 1000
    luminance = light @ np.array([0.2627, 0.6780, 0.0593])
    scene = light * (luminance ** (1 / 1.2 - 1))[:, None]
    codes = np.interp(scene, hlg_to_scene(np.linspace(0, 1, 4096)), np.linspace(0, 1, 4096))
    params = "log-level=none:bframes=0:crf=3:colorprim=bt2020:transfer=arib-std-b67:colormatrix=bt2020nc"
    clip = make_clip(
        tmp_path / "a.mp4",
        [np.rint(bars(codes) * 65535).astype(np.uint16)] * 4,
        codec="libx265",
        pix_fmt="yuv420p10le",
        options={"x265-params": params},
        tags={"colorspace": 9, "color_range": 1, "color_primaries": 9, "color_trc": HLG},
    )
    info = probe(clip)
    assert "HDR (HLG)" in info.notes[0]
    error = np.abs(bars_of(next(frames(info))) - shown_for(NITS, 1000))
    assert error[[0, 1, 2, 3, 7]].max() <= 3 and error.max() <= 14


def test_tone_curve_keeps_the_dark_and_never_exceeds_white() -> None:
    nits = np.linspace(0, 4000, 2000)
    toned = tone_curve(nits, 4000.0)
    assert (np.diff(toned) >= 0).all() and toned.max() == pytest.approx(203)
    np.testing.assert_allclose(tone_curve(np.array([1.0, 10.0, 30.0]), 1000.0), [1, 10, 30], rtol=1e-6)
    np.testing.assert_allclose(tone_curve(np.array([50.0, 300.0]), 100.0), [50, 203])


def test_pq_round_trips_and_meets_its_published_points() -> None:
    codes = np.linspace(0.01, 1, 50)
    np.testing.assert_allclose(nits_to_pq(pq_to_nits(codes)), codes, atol=1e-9)
    np.testing.assert_allclose(nits_to_pq(np.array([100.0, 203.0, 1000.0])), [0.5081, 0.5807, 0.7518], atol=1e-4)
    np.testing.assert_allclose(hlg_to_scene(np.array([0.0, 0.5, 0.75, 1.0])), [0, 1 / 12, 0.2650, 1.0], atol=1e-4)


def test_gamut_matrix_keeps_white_and_meets_bt2087() -> None:
    matrix = gamut_matrix(BT2020, BT709)
    np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-9)
    np.testing.assert_allclose(matrix[0], [1.6605, -0.5876, -0.0728], atol=2e-4)


# --- input that cannot be used, or only in part ---


def test_probe_refuses_what_is_not_a_video(tmp_path: Path) -> None:
    text = tmp_path / "text.mp4"
    text.write_text("this is no video\n" * 100)
    empty = tmp_path / "empty.mp4"
    empty.touch()
    listing = tmp_path / "list.mp4"
    listing.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n/etc/hostname\n#EXT-X-ENDLIST\n")
    for path, message in (
        (tmp_path / "none.mp4", "no such file"),
        (tmp_path, "folder"),
        (empty, "empty"),
        (text, "not a video"),
        (listing, "not a video"),
        (make_sound(tmp_path / "sound.m4a"), "sound only"),
        (make_sound(tmp_path / "sound.mp4"), "sound only"),
    ):
        with pytest.raises(VideoError, match=message) as refusal:
            probe(path)
        assert str(path) in str(refusal.value)


def noisy(count: int) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    noise = generator.integers(0, 40, (count, 96, 128, 3))
    return [np.maximum(numbered(i).astype(int) - noise[i], 0).astype(np.uint8) for i in range(count)]


@pytest.mark.parametrize(("name", "options"), [("a.mp4", {"movflags": "faststart"}), ("a.mkv", {}), ("a.webm", {})])
def test_frames_gives_what_a_truncated_file_still_holds(tmp_path: Path, name: str, options: dict) -> None:
    codec = {"codec": "libvpx-vp9"} if name == "a.webm" else {"options": {"preset": "medium", "crf": "20"}}
    clip = cut_short(make_clip(tmp_path / name, noisy(40), container_options=options, **codec), 0.6)
    info = probe(clip)
    assert 10 < info.frames < 40 and "cut short" in info.notes[0]
    shown = numbers(info)
    assert len(shown) == info.frames and shown[:10] == list(range(10))


def test_probe_refuses_an_mp4_cut_before_its_index(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="not a video that can be read.*cut short"):
        probe(cut_short(make_clip(tmp_path / "a.mp4", noisy(20)), 0.5))


def test_probe_refuses_a_file_of_which_nothing_decodes(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mp4", noisy(20), container_options={"movflags": "faststart"})
    content = bytearray(clip.read_bytes())
    start = content.index(b"mdat") + 4
    content[start:] = bytes(len(content) - start)
    clip.write_bytes(content)
    with pytest.raises(VideoError, match="no picture"):
        probe(clip)


def test_frames_keeps_count_and_tells_of_damage_in_the_middle(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mp4", noisy(40), options={"g": "10", "crf": "20", "preset": "medium"})
    content = bytearray(clip.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 3000] = np.random.default_rng(0).bytes(3000)
    clip.write_bytes(content)
    info, told = probe(clip), []
    shown = [number_of(frame) for frame in frames(info, told.append)]
    assert len(shown) == info.frames == 40 and shown[0] == 0 and shown[-5:] == list(range(35, 40))
    assert len(told) == 1 and "damaged" in told[0]


def test_frames_notices_that_the_file_changed(tmp_path: Path) -> None:
    info = probe(make_clip(tmp_path / "a.mp4", 12))
    make_clip(tmp_path / "a.mp4", 6)
    with pytest.raises(VideoError, match="has changed"):
        next(frames(info))


# --- what is written ---


def test_writer_makes_an_mp4_for_browsers(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "a.mkv", 20, rate=NTSC)
    writer = rewrite(source, tmp_path / "out.mp4")
    assert writer.notes == ()
    with av.open(str(tmp_path / "out.mp4")) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        assert (context.name, context.pix_fmt, stream.average_rate, stream.frames) == ("h264", "yuv420p", NTSC, 20)
        assert (context.colorspace, context.color_primaries, context.color_trc, context.color_range) == (1, 1, 1, 1)
        assert container.metadata["comment"] == "Edited with Stitch: smile +2"
    content = (tmp_path / "out.mp4").read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")
    info = probe(tmp_path / "out.mp4")
    assert (info.width, info.height, info.rate, info.frames) == (128, 96, NTSC, 20)
    for before, after in zip(frames(probe(source)), frames(info), strict=True):
        assert 10 * np.log10(255**2 / np.mean((before.astype(float) - after) ** 2)) > 38


def test_writer_pads_odd_sizes_by_the_edge(tmp_path: Path) -> None:
    writer = rewrite(make_clip(tmp_path / "a.mkv", 3, size=(127, 95), pix_fmt="yuv444p"), tmp_path / "out.mp4")
    assert "padded to 128x96" in writer.notes[0]
    frame = next(frames(probe(tmp_path / "out.mp4"))).astype(int)
    assert frame.shape == (96, 128, 3)
    assert np.abs(frame[-1] - frame[-2]).mean() < 8 and np.abs(frame[:, -1] - frame[:, -2]).mean() < 8


@pytest.mark.parametrize(
    ("name", "codec", "kept"),
    [
        ("a.mp4", "aac", True),
        ("a.ts", "aac", True),
        ("a.mp4", "libmp3lame", True),
        ("a.webm", "libopus", True),
        ("a.mkv", "flac", True),
        ("a.mkv", "ac3", True),
        ("a.mov", "pcm_s16le", False),
        ("a.mkv", "vorbis", False),
    ],
)
def test_writer_keeps_sound_in_step(tmp_path: Path, name: str, codec: str, kept: bool) -> None:
    needs_encoder(codec)
    picture = {"codec": "libvpx-vp9", "options": {"deadline": "realtime"}} if name == "a.webm" else {}
    source = make_clip(tmp_path / name, 50, sound=codec, size=(64, 48), **picture)
    writer = rewrite(source, tmp_path / "out.mp4")
    np.testing.assert_allclose(beeps(tmp_path / "out.mp4"), beeps(source), atol=0.002)
    assert bool(writer.notes) != kept
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert (container.streams.audio[0].codec_context.name == "aac") == (not kept or codec == "aac")
    rewrite(source, tmp_path / "part.mp4", VideoSettings(start_s=0.6, end_s=1.6))
    heard, rate = hear(tmp_path / "part.mp4")
    assert abs(len(heard) / rate - 1.0) < 0.05
    expected = beeps(source)
    later = beeps(tmp_path / "part.mp4")
    np.testing.assert_allclose(later[later > 0.05], expected[expected > 0.6] - 0.6, atol=0.002)


def packets_of(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(container.streams.audio[0]) if packet.size]


def test_writer_copies_sound_packet_by_packet(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "a.mp4", 30, sound="aac")
    rewrite(source, tmp_path / "out.mp4")
    assert packets_of(tmp_path / "out.mp4") == packets_of(source)


def test_writer_respects_sound_that_begins_late(tmp_path: Path) -> None:
    for name, codec in (("a.mp4", "aac"), ("a.mkv", "pcm_s16le")):
        source = make_clip(tmp_path / name, 50, sound=codec, sound_start_s=0.25, size=(64, 48))
        rewrite(source, tmp_path / "out.mp4")
        np.testing.assert_allclose(beeps(tmp_path / "out.mp4"), beeps(source), atol=0.002)
        assert beeps(source)[0] == pytest.approx(0.5, abs=0.01)


def test_writer_respects_a_picture_that_begins_late(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "a.mkv", 50, times=range(10, 60), sound="aac", size=(64, 48))
    rewrite(source, tmp_path / "out.mp4")
    np.testing.assert_allclose(beeps(tmp_path / "out.mp4"), beeps(source), atol=0.002)


def test_writer_leaves_nothing_behind_when_interrupted(tmp_path: Path) -> None:
    info = probe(make_clip(tmp_path / "a.mp4", 12, sound="aac"))
    (tmp_path / "out.mp4").write_bytes(b"older result")

    def job() -> Iterator[int]:
        with Writer(tmp_path / "out.mp4", info, info) as writer:
            for number, frame in enumerate(frames(info)):
                writer.add(frame)
                yield number

    running = job()
    next(running)
    assert [path for path in tmp_path.iterdir() if path.name.startswith(".out.") and ".part" in path.name]
    running.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "out.mp4"]
    assert (tmp_path / "out.mp4").read_bytes() == b"older result"
    assert list(job()) == list(range(12)) and probe(tmp_path / "out.mp4").frames == 12


def test_writer_survives_leftovers_of_a_killed_run(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "a.mp4", 5)
    killed = subprocess.Popen([sys.executable, "-c", ""])
    killed.wait()
    (tmp_path / f".out.{killed.pid}-0.part.mp4").write_bytes(b"half a file")
    rewrite(source, tmp_path / "out.mp4")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "out.mp4"]


def test_writer_refuses_impossible_outputs(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "a.mp4", 3)
    info = probe(source)
    (tmp_path / "link.mp4").symlink_to(source)
    (tmp_path / "folder.mp4").mkdir()
    for path, message in (
        (source, "the input itself"),
        (tmp_path / "link.mp4", "the input itself"),
        (tmp_path / "folder.mp4", "folder"),
        (tmp_path / "out.webm", "ends in .mp4"),
    ):
        with pytest.raises(VideoError, match=message):
            Writer(path, info, info)
    with pytest.raises(VideoError, match="not a folder"), Writer(source / "out.mp4", info):
        pass
    with pytest.raises(VideoError, match="no frame to write"), Writer(tmp_path / "out.mp4", info):
        pass
    assert not (tmp_path / "out.mp4").exists()


def test_writer_writes_a_single_frame(tmp_path: Path) -> None:
    rewrite(make_clip(tmp_path / "a.mp4", 1), tmp_path / "out.mp4")
    assert numbers(probe(tmp_path / "out.mp4")) == [0]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may write everywhere")
def test_writer_refuses_a_folder_that_is_not_writable(tmp_path: Path) -> None:
    info = probe(make_clip(tmp_path / "a.mp4", 3))
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    with pytest.raises(VideoError, match="not writable"), Writer(closed / "out.mp4", info):
        pass


def test_writer_tells_that_a_folder_is_not_writable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = probe(make_clip(tmp_path / "a.mp4", 3))

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("stitch.video.files.av.open", refuse)
    with pytest.raises(VideoError, match="is not writable; choose another"), Writer(tmp_path / "out.mp4", info):
        pass


def test_writer_refuses_frames_of_another_size(tmp_path: Path) -> None:
    info = probe(make_clip(tmp_path / "a.mp4", 3))
    with pytest.raises(ValueError, match="expected .96, 128, 3. uint8"), Writer(tmp_path / "out.mp4", info) as writer:
        writer.add(np.zeros((90, 128, 3), np.uint8))
    assert not list(tmp_path.glob("*out*")) and not list(tmp_path.glob(".*"))


def python(code: str, *arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=600)


def test_writer_tells_that_the_disk_is_full(tmp_path: Path) -> None:
    pytest.importorskip("resource", reason="file size limits need POSIX")
    source = make_clip(tmp_path / "a.mp4", noisy(120), sound="aac")
    result = python(
        """
        import resource, signal, sys
        from pathlib import Path
        from stitch.core.errors import VideoError
        from stitch.video.files import Writer, frames, probe
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (80000, 80000))  # memory for two frames counts as a file
        info = probe(Path(sys.argv[1]))
        try:
            with Writer(Path(sys.argv[2]), info, info) as writer:
                for frame in frames(info):
                    writer.add(frame)
        except VideoError as error:
            print(error)
        """,
        source,
        tmp_path / "out.mp4",
    )
    assert "out.mp4: the disk is full; free some space" in result.stdout, result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_frames_memory_does_not_grow_with_the_clip(tmp_path: Path) -> None:
    if not Path("/proc/self/status").exists():
        pytest.skip("peak memory is read from /proc")
    peaks = []
    for count in (60, 240):  # the encoder looks ahead over some 50 frames
        source = make_clip(tmp_path / f"{count}.mp4", (numbered(i % 250, 320, 240) for i in range(count)))
        result = python(
            """
            import sys
            from pathlib import Path
            from stitch.video.files import Writer, frames, probe
            info = probe(Path(sys.argv[1]))
            with Writer(Path(sys.argv[2]), info, info) as writer:
                for frame in frames(info):
                    writer.add(frame)
            status = Path("/proc/self/status").read_text()
            print(status.split("VmHWM:")[1].split()[0])
            """,
            source,
            tmp_path / "out.mp4",
        )
        peaks.append(int(result.stdout))
    one_frame_kib = 320 * 240 * 3 // 1024
    assert peaks[1] - peaks[0] < 60 * one_frame_kib, peaks


def test_writer_is_deterministic(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "a.mp4", 15)
    contents = []
    for name in ("one.mp4", "two.mp4"):
        rewrite(source, tmp_path / name)
        contents.append([frame.tobytes() for frame in frames(probe(tmp_path / name))])
    assert contents[0] == contents[1]


# --- real clips ---


@pytest.mark.parametrize(
    ("name", "size", "rate", "count"), [("s13.mp4", (720, 1080), 25, 103), ("s18.mp4", (1280, 720), 30, 282)]
)
def test_frames_and_writer_carry_a_real_clip(
    tmp_path: Path, name: str, size: tuple[int, int], rate: int, count: int
) -> None:
    if not (REAL / name).is_file():
        pytest.skip("the real clips are not here (set STITCH_REAL)")
    info = probe(REAL / name)
    assert (info.width, info.height, info.rate, info.frames, info.audio) == (*size, rate, count, True)
    assert info.rotation_deg == 0 and info.notes == ()
    with Writer(tmp_path / "out.mp4", info, info, crf=30) as writer:
        written = 0
        for frame in frames(info):
            assert frame.shape == (size[1], size[0], 3)
            writer.add(frame)
            written += 1
    assert written == count and writer.notes == ()
    out = probe(tmp_path / "out.mp4")
    assert (out.width, out.height, out.rate, out.frames) == (*size, rate, count)
    assert packets_of(tmp_path / "out.mp4") == packets_of(REAL / name)
    before, after = hear(REAL / name)[0], hear(tmp_path / "out.mp4")[0]
    np.testing.assert_allclose(after, before, atol=1e-6)


def test_frames_trims_a_real_clip_to_the_frame() -> None:
    if not (REAL / "s18.mp4").is_file():
        pytest.skip("the real clips are not here (set STITCH_REAL)")
    part = probe(REAL / "s18.mp4", VideoSettings(start_s=2.0, end_s=2.1))
    whole = frames(probe(REAL / "s18.mp4", VideoSettings(end_s=2.1)))
    expected = list(whole)[60:63]
    for seen, wanted in zip(frames(part), expected, strict=True):
        np.testing.assert_array_equal(seen, wanted)


def test_two_writers_of_one_file_do_not_harm_each_other(tmp_path: Path) -> None:
    info = probe(make_clip(tmp_path / "a.mp4", 6))
    grey = np.full((info.height, info.width, 3), 90, np.uint8)
    with Writer(tmp_path / "out.mp4", info) as first:
        first.add(grey)
        with Writer(tmp_path / "out.mp4", info) as second:
            second.add(grey)
        assert probe(tmp_path / "out.mp4").frames == 1
        first.add(grey)
    assert probe(tmp_path / "out.mp4").frames == 2
