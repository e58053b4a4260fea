"""Photos: a clip of one frame that keeps its pixels, its profile, its transparency and its way up."""

import os
import warnings
import zlib
from dataclasses import replace
from io import BytesIO

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms

from stitch.core.errors import VideoError
from stitch.core.settings import VideoSettings
from stitch.video import files
from stitch.video.kind import is_photo
from tests.conftest import draw_clip

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
NAMES = ("out.png", "out.jpg", "out.webp")


def wide_profile():
    """An RGB profile that is not sRGB: its red and blue are exchanged."""
    profile = bytearray(SRGB)
    red, blue = (profile.index(name) for name in (b"rXYZ", b"bXYZ"))
    profile[red : red + 4], profile[blue : blue + 4] = b"bXYZ", b"rXYZ"
    return bytes(profile)


@pytest.fixture
def pixels():
    """[40,60,3]: smooth, brighter to the right, redder downwards, with a blue corner."""
    rows, columns = np.mgrid[0:40, 0:60]
    picture = np.stack([60 + 4 * rows, 40 + 3 * columns, np.full((40, 60), 90)], axis=-1).astype(np.uint8)
    picture[:8, :8] = (0, 0, 255)
    return picture


@pytest.fixture
def save(tmp_path, pixels):
    """save("a.png", image or None, **Pillow's options) -> the path."""

    def saved(name, image=None, **options):
        (image or Image.fromarray(pixels)).save(tmp_path / name, **options)
        return tmp_path / name

    return saved


def read(path):
    (frame,) = files.frames(files.probe(path))
    return frame


def write(source, target, change=None):
    """As the merge does; returns the writer."""
    info = files.probe(source)
    with files.writer(target, info, info, "smile +2, 'ein Gesicht, fröhlich'", 16) as writer:
        for frame in files.frames(info):
            writer.add(frame if change is None else change(frame))
    return writer


@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.gif", "a.bmp", "a.tiff"])
def test_probe_takes_a_picture_as_a_clip_of_one_frame(save, pixels, name):
    path = save(name, **({"lossless": True} if name == "a.webp" else {}))
    info = files.probe(path)
    assert is_photo(path) and (info.width, info.height, info.frames, info.audio) == (60, 40, 1, False)
    assert info.notes == () and np.abs(read(path).astype(int) - pixels).max() <= (30 if name == "a.gif" else 0)


def test_is_photo_goes_by_the_content_and_not_by_the_name(save, tmp_path):
    clip = draw_clip(tmp_path / "clip.mp4", frames=2)
    photo = save("photo.mp4", format="PNG")
    assert is_photo(photo) and files.probe(photo).frames == 1
    assert not is_photo(clip) and not is_photo(tmp_path / "none.mp4") and is_photo(tmp_path / "none.jpg")


@pytest.mark.parametrize("name", ["a.gif", "a.png", "a.webp"])
def test_is_photo_leaves_pictures_that_move_to_the_clips(save, pixels, name):
    others = [Image.fromarray(np.roll(pixels, 9 * number, axis=1)) for number in (1, 2)]
    path = save(name, save_all=True, append_images=others, duration=100)
    assert not is_photo(path)
    if name != "a.webp":  # which not every ffmpeg decodes
        assert files.probe(path).frames == 3


@pytest.mark.parametrize("orientation", range(1, 9))
def test_frames_are_upright_and_so_is_the_result(tmp_path, pixels, orientation):
    """The blue corner, upper left in the stored picture, goes where each orientation says."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "a.jpg"
    Image.fromarray(pixels).save(path, exif=exif, quality=100, subsampling=0)
    frame, info = read(path), files.probe(path)
    assert frame.shape == ((40, 60, 3) if orientation < 5 else (60, 40, 3)) == (info.height, info.width, 3)
    places = {"upper left": (1, 1), "upper right": (1, -2), "lower right": (-2, -2), "lower left": (-2, 1)}
    corner = {1: "upper left", 2: "upper right", 3: "lower right", 4: "lower left", 5: "upper left", 6: "upper right",
              7: "lower right", 8: "lower left"}[orientation]
    assert [name for name, place in places.items() if frame[place][2] > 200] == [corner]
    write(path, tmp_path / "out.png")
    with Image.open(tmp_path / "out.png") as out:
        assert out.getexif().get(0x0112, 1) == 1 and np.array_equal(np.asarray(out), frame)


@pytest.mark.parametrize("name", NAMES)
def test_writer_keeps_the_profile_and_says_what_was_done(save, tmp_path, name):
    profile = wide_profile()
    source = save("a.png", icc_profile=profile)
    write(source, tmp_path / name)
    with Image.open(tmp_path / name) as out:
        assert out.format == {"out.png": "PNG", "out.jpg": "JPEG", "out.webp": "WEBP"}[name]
        assert out.info["icc_profile"] == profile
        said = out.getexif()[0x010E].encode("latin-1").decode()  # Pillow reads it so, others as the UTF-8 that it is
        assert said == "Edited with Stitch: smile +2, 'ein Gesicht, fröhlich'"
        assert name != "out.png" or out.text["Comment"] == said
    assert [path.name for path in tmp_path.iterdir() if "part" in path.name] == []


def test_writer_keeps_every_pixel_that_is_not_edited(save, tmp_path, pixels):
    source = save("a.png", icc_profile=wide_profile())

    def change(frame):
        frame[5, 5] = (1, 2, 3)
        return frame

    write(source, tmp_path / "out.png", change)
    with Image.open(tmp_path / "out.png") as out:
        changed = (np.asarray(out) != pixels).any(axis=-1)
    assert changed.sum() == 1 and changed[5, 5]
    write(source, tmp_path / "out.jpg")
    assert np.abs(read(tmp_path / "out.jpg").astype(int) - pixels).mean() < 2


def test_writer_leaves_where_a_photo_was_taken_out_of_the_result(save, tmp_path):
    exif = Image.Exif()
    exif[0x010F] = "A maker of cameras"
    exif.get_ifd(0x8825)[1] = "N"
    write(save("a.jpg", exif=exif), tmp_path / "out.jpg")
    with Image.open(tmp_path / "out.jpg") as out:
        assert set(out.getexif()) == {0x010E, 0x0131} and not out.getexif().get_ifd(0x8825)


@pytest.mark.parametrize("name", NAMES)
def test_writer_keeps_transparency_where_the_file_can(tmp_path, pixels, name):
    alpha = np.full((40, 60), 255, np.uint8)
    alpha[:, :20] = 0
    alpha[:, 20:30] = 128
    source = tmp_path / "a.png"
    Image.fromarray(np.dstack([pixels, alpha])).save(source)
    assert np.array_equal(read(source), pixels), "what lies under it is not blended"
    writer = write(source, tmp_path / name)
    with Image.open(tmp_path / name) as out:
        if name == "out.jpg":
            assert writer.notes == ("JPEG keeps no transparency: the photo lies on white; PNG and WebP keep it",)
            shown = np.asarray(out).astype(int)
            assert shown[20, 5].min() > 250 and np.abs(shown[30, 50] - pixels[30, 50]).max() < 8
        else:
            assert writer.notes == () and np.array_equal(np.asarray(out)[..., 3], alpha)


def test_writer_writes_no_transparency_into_another_size(tmp_path, pixels):
    source = tmp_path / "a.png"
    Image.fromarray(np.dstack([pixels, np.full((40, 60), 9, np.uint8)])).save(source)
    info = files.probe(source)
    with files.writer(tmp_path / "out.png", replace(info, width=80), info, "", 16) as writer:
        writer.add(np.zeros((40, 80, 3), np.uint8))
    with Image.open(tmp_path / "out.png") as out:
        assert out.mode == "RGB" and out.size == (80, 40)


def test_frames_of_palettes_with_a_transparent_colour_keep_it(tmp_path, pixels):
    source = tmp_path / "a.gif"
    Image.fromarray(pixels).quantize(16).save(source, transparency=0)
    write(source, tmp_path / "out.png")
    with Image.open(source) as before, Image.open(tmp_path / "out.png") as out:
        assert np.array_equal(np.asarray(before.convert("RGBA"))[..., 3], np.asarray(out)[..., 3])


@pytest.mark.parametrize("name", ["a.png", "a.tiff"])
@pytest.mark.parametrize("channels", [1, 3])
def test_frames_of_16_bits_are_read_as_8(tmp_path, pixels, name, channels):
    deep = pixels[..., 0] if channels == 1 else pixels[..., ::-1]
    cv2.imwrite(str(tmp_path / name), deep.astype(np.uint16) * 257)
    assert files.probe(tmp_path / name).notes == ("the photo's 16 bits a colour are read as 8",)
    expected = np.repeat(pixels[..., :1], 3, axis=-1) if channels == 1 else pixels
    assert np.array_equal(read(tmp_path / name), expected)


def test_frames_of_other_colour_spaces_are_converted(save, tmp_path, pixels):
    grey = Image.fromarray(pixels).convert("L")
    assert np.array_equal(read(save("grey.png", grey)), np.repeat(np.asarray(grey)[..., None], 3, axis=-1))
    cmyk = save("cmyk.jpg", Image.fromarray(pixels).convert("CMYK"), quality=100, subsampling=0)
    assert np.abs(read(cmyk).astype(int) - pixels).mean() < 3
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    assert np.array_equal(read(save("odd.png", icc_profile=lab)), pixels), "a profile of another space is not believed"
    broken = bytearray(SRGB)
    broken[16:20] = b"GRAY"
    path = save("broken.png", grey, icc_profile=bytes(broken))
    write(path, tmp_path / "out.png")
    with Image.open(tmp_path / "out.png") as out:
        assert "icc_profile" not in out.info


def hostile(kind, folder, pixels):
    path = folder / "a.jpg"
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG")
    content = buffer.getvalue()
    if kind == "cut short":
        path.write_bytes(content[: len(content) // 2])
    elif kind == "cut in the head":
        path.write_bytes(content[:30])
    elif kind == "another kind":
        path.write_text("not a picture")
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "a program":
        path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(%pipe%touch /tmp/x) (w) file\n")
    elif kind == "a clip":
        draw_clip(folder / "clip.mp4", frames=2).rename(path)
    elif kind == "HEIC":
        path.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200))
    elif kind == "fractions":
        path = folder / "a.tiff"
        Image.fromarray(pixels[..., 0].astype(np.float32)).save(path)
    elif kind == "a bomb":
        path = folder / "a.png"
        Image.fromarray(pixels).save(path)
        head = b"IHDR" + (30_000).to_bytes(4, "big") * 2 + b"\x08\x02\0\0\0"
        path.write_bytes(path.read_bytes()[:12] + head + zlib.crc32(head).to_bytes(4, "big") + path.read_bytes()[33:])
    elif kind == "large":
        path = folder / "a.png"
        Image.new("1", (8193, 4)).save(path)
    elif kind == "a bomb of words":
        path = folder / "a.png"
        Image.fromarray(pixels).save(path)
        body = b"zTXtComment\0\0" + zlib.compress(bytes(8 << 20))
        chunk = (len(body) - 4).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")
        path.write_bytes(path.read_bytes()[:33] + chunk + path.read_bytes()[33:])
    return path


@pytest.mark.parametrize(("kind", "words"), [
    ("cut short", "not a photo that can be read .*cut short"),
    ("cut in the head", "not a photo that can be read"),
    ("another kind", "not a photo that can be read .* the file is of another kind"),
    ("empty", "not a photo that can be read"),
    ("a program", "not a photo that can be read"),
    ("a clip", "not a photo that can be read"),
    ("HEIC", "HEIC are not read here; save it as JPEG or PNG"),
    ("fractions", "save it with 8 or 16 bits a colour"),
    ("a bomb", "far too many pixels; at most 8192 px are taken on a side"),
    ("large", "8193x4 px; at most 8192 px are taken on a side: scale it down first"),
    ("a bomb of words", "not a photo that can be read"),
    ("missing", "no such file"),
])
def test_probe_refuses_a_hostile_picture_in_a_sentence(tmp_path, pixels, kind, words):
    with warnings.catch_warnings(), pytest.raises(VideoError, match=words):
        warnings.simplefilter("error")
        files.probe(hostile(kind, tmp_path, pixels))


def test_probe_refuses_a_range_of_a_photo(save):
    with pytest.raises(VideoError, match="a photo has no start and no end; leave both out"):
        files.probe(save("a.png"), VideoSettings(start_s=0.5))


def test_frames_refuse_a_photo_that_has_changed(save, pixels):
    info = files.probe(save("a.png"))
    save("a.png", Image.fromarray(pixels[:20]))
    with pytest.raises(VideoError, match="has changed since"):
        list(files.frames(info))


def test_writer_chooses_by_the_source_and_refuses_the_other_kind_of_name(save, tmp_path):
    clip, photo = files.probe(draw_clip(tmp_path / "clip.mp4", frames=2)), files.probe(save("a.png"))
    with pytest.raises(VideoError, match=r"the result is a photo; give it a name that ends in \.png or"):
        files.writer(tmp_path / "out.mp4", photo, photo, "", 16)
    with pytest.raises(VideoError, match="the result is an mp4"):
        files.writer(tmp_path / "out.png", clip, clip, "", 16)


def test_writer_leaves_the_old_file_when_it_is_left_by_an_error(save, tmp_path):
    info = files.probe(save("a.png"))
    old = save("out.png", Image.new("RGB", (3, 3)))
    with pytest.raises(RuntimeError), files.writer(old, info, info, "", 16) as writer:
        writer.add(np.zeros((40, 60, 3), np.uint8))
        raise RuntimeError
    with Image.open(old) as out:
        assert out.size == (3, 3)
    with pytest.raises(ValueError, match="expected"), files.writer(old, info, info, "", 16) as writer:
        writer.add(np.zeros((40, 61, 3), np.uint8))
    with pytest.raises(VideoError, match="there was no frame to write"), files.writer(old, info, info, "", 16):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "out.png"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_is_photo_does_not_wait_for_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "a.mp4")
    assert not is_photo(tmp_path / "a.mp4")
