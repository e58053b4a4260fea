"""Hostile inputs by kind, made from seeds: clips, pictures, names, weights, networks in XML, settings, calls.

`python -m tests.hostile` counts them, with those that other tests hold: pickles and archives of PyTorch's
(`tests.networks.formats.hostile`), arrays, pictures, wheels and OpenVINO layers beside their own modules.
"""

import io
import json
import math
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.conftest import draw_clip

SECRET = b"the-secret-that-must-not-come-out"
MAGENTA = (255, 0, 255)
"""Colour of a picture that lies beside hostile files and must not come out of them."""

Make = Callable[[Path], Path]
"""Makes one hostile input in a folder that holds `secret.txt` and secret pictures."""


def plant(folder: Path) -> None:
    """What hostile files would like to show: a text, pictures that a numbered name reaches, a clip."""
    (folder / "secret.txt").write_bytes(SECRET)
    for number in (0, 1, 2):
        Image.new("RGB", (64, 64), MAGENTA).save(folder / f"secret{number}.bmp")
        Image.new("RGB", (64, 64), MAGENTA).save(folder / f"secret{number}.ppm")


def sample(folder: Path, name: str = "sample.mp4") -> bytes:
    """A sound clip."""
    path = draw_clip(folder / f".made-{os.path.splitext(name)[0]}.mp4", frames=6, size=(96, 64), radius=16)
    content = path.read_bytes()
    path.unlink()
    return content


def _clip(change: Callable[[bytes], bytes], name: str = "a.mp4") -> Make:
    def make(folder: Path) -> Path:
        path = folder / name
        path.write_bytes(change(sample(folder)))
        return path

    return make


def _content(content: bytes, name: str) -> Make:
    def make(folder: Path) -> Path:
        path = folder / name
        path.write_bytes(content.replace(b"FOLDER", str(folder).encode()))
        return path

    return make


def _box(kind: bytes, offset: int, value: bytes) -> Callable[[bytes], bytes]:
    """Write over what stands `offset` bytes after the name of the first such box."""

    def change(content: bytes) -> bytes:
        at = content.index(kind) + 4 + offset
        return content[:at] + value + content[at + len(value) :]

    return change


def _flipped(seed: int) -> Callable[[bytes], bytes]:
    def change(content: bytes) -> bytes:
        rng, changed = np.random.default_rng(seed), bytearray(content)
        for at in rng.integers(0, len(changed), 1 + 4 * (seed % 12)):
            changed[at] ^= 1 << int(rng.integers(8))
        return bytes(changed)

    return change


def _head_flipped(seed: int) -> Callable[[bytes], bytes]:
    """Damage the index alone, which says where everything is."""

    def change(content: bytes) -> bytes:
        rng, changed = np.random.default_rng(1000 + seed), bytearray(content)
        for at in rng.integers(content.index(b"moov"), len(changed), 6):
            changed[at] = int(rng.integers(256))
        return bytes(changed)

    return change


_WILD = b"\xff\xff\xff\xff"
_LISTS = {
    "hls": b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nsecret.txt\n#EXT-X-ENDLIST\n",
    "hls of a link": b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n",
    "hls of a concat": b"#EXTM3U\n#EXTINF:9,\nconcat:FOLDER/secret.txt|FOLDER/secret0.bmp\n#EXT-X-ENDLIST\n",
    "hls within hls": b"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\na.m3u8\n",
    "hls key": b'#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI="FOLDER/secret.txt"\n#EXTINF:9,\nsecret0.bmp\n#EXT-X-ENDLIST\n',
    "concat": b"ffconcat version 1.0\nfile secret0.bmp\n",
    "concat of a folder above": b"ffconcat version 1.0\nfile '../../../../etc/passwd'\n",
    "concat of a link": b"ffconcat version 1.0\nfile http://127.0.0.1:9/a.mp4\n",
    "dash": b'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period><AdaptationSet>'
    b"<Representation><BaseURL>file://FOLDER/secret0.bmp</BaseURL></Representation></AdaptationSet></Period></MPD>",
    "sdp": b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 9 RTP/AVP 96\n",
    "rtsp": b"RTSP/1.0 200 OK\r\nLocation: rtsp://127.0.0.1:9/\r\n\r\n",
    "imf": b'<?xml version="1.0"?><CompositionPlaylist xmlns="http://www.smpte-ra.org/schemas/2067-3/2016"/>',
    "xml entity": b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "file://FOLDER/secret.txt">]><a>&b;</a>',
    "lavfi": b"movie=FOLDER/secret0.bmp\n",
    "m3u": b"secret.txt\n",
    "pls": b"[playlist]\nFile1=secret.txt\n",
    "vobsub": b"# VobSub index file, v7\nid: en, index: 0\ntimestamp: 00:00:01:000, filepos: 000000000\n",
    "subtitles": b"1\n00:00:00,000 --> 00:00:01,000\nsecret\n",
    "tty": b"\x1b[31msecret.txt\x1b[0m\n" * 40,
}

_ENDINGS = {"hls": ".m3u8", "concat": ".ffconcat", "dash": ".mpd", "vobsub": ".idx"}

CLIPS: dict[str, Make] = {
    **{
        f"cut at {share} %": _clip(lambda content, share=share: content[: len(content) * share // 100])
        for share in (1, 5, 30, 60, 90, 99)
    },
    **{f"bits flipped, {seed}": _clip(_flipped(seed)) for seed in range(20)},
    **{f"index damaged, {seed}": _clip(_head_flipped(seed)) for seed in range(20)},
    "no time scale": _clip(_box(b"mdhd", 12, bytes(4))),
    "wild time scale": _clip(_box(b"mdhd", 12, _WILD)),
    "wild duration": _clip(_box(b"mvhd", 16, _WILD)),
    "wild duration of a track": _clip(_box(b"tkhd", 20, _WILD)),
    "wild step": _clip(_box(b"stts", 12, _WILD)),
    "wild count of steps": _clip(_box(b"stts", 4, _WILD)),
    "wild count of pictures": _clip(_box(b"stsz", 8, _WILD)),
    "no pictures": _clip(_box(b"stsz", 8, bytes(4))),
    "wild sizes of pictures": _clip(_box(b"stsz", 12, _WILD)),
    "wild places": _clip(_box(b"stco", 8, _WILD)),
    "wild count of chunks": _clip(_box(b"stsc", 4, _WILD)),
    "wild size of a box": _clip(_box(b"moov", -8, _WILD)),
    "box in itself": _clip(_box(b"trak", -8, bytes(4))),
    "65535 px": _clip(_box(b"avc1", 24, _WILD)),
    "wild turn": _clip(_box(b"tkhd", 40, _WILD * 9)),
    "no turn": _clip(_box(b"tkhd", 40, bytes(36))),
    "codec of zeros": _clip(_box(b"avcC", 0, bytes(30))),
    "codec of ones": _clip(_box(b"avcC", 0, _WILD * 8)),
    "reference to another file": _clip(lambda c: c.replace(b"url \x00\x00\x00\x01", b"url \x00\x00\x00\x00")),
    "all zeros": _content(bytes(5000), "a.mp4"),
    "a header alone": _content(b"\0\0\0\x18ftypmp42", "a.mp4"),
    "a matroska header alone": _content(b"\x1aE\xdf\xa3\x01" + b"\xff" * 40, "a.mkv"),
    "an AVI of wild sizes": _content(b"RIFF" + _WILD + b"AVI LIST" + _WILD + b"hdrlavih" + _WILD * 20, "a.avi"),
    "a WAV": _content(b"RIFF" + _WILD + b"WAVEfmt \x10\0\0\0" + _WILD * 4 + b"data" + _WILD, "a.mp4"),
    "a YUV of wild sizes": _content(b"YUV4MPEG2 W999999 H999999 F999999:1 Ip\nFRAME\n", "a.y4m"),
    "an FLV": _content(b"FLV\x01\x05\0\0\0\x09\0\0\0\0\x09" + _WILD * 20, "a.flv"),
    "a program": _content(b"\x7fELF" + bytes(500), "a.mp4"),
    "a page": _content(b"<!DOCTYPE html>" * 20, "a.mp4"),
    **{
        f"{name}, as {ending}": _content(content, f"list{ending}")
        for name, content in _LISTS.items()
        for ending in (".mp4", _ENDINGS.get(name.split()[0], ".txt"))
    },
}


def _picture(format_: str, size: tuple[int, int] = (40, 30), **options: Any) -> bytes:
    stream, pixels = io.BytesIO(), np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), np.uint8)
    Image.fromarray(pixels).save(stream, format_, **options)
    return stream.getvalue()


def _png(width: int, height: int, *chunks: tuple[bytes, bytes], bits: bytes = b"\x08\x02\0\0\0") -> bytes:
    body = b"\x89PNG\r\n\x1a\n"
    head, data = struct.pack(">II", width, height) + bits, zlib.compress(bytes(100))
    parts = ((b"IHDR", head), *chunks, (b"IDAT", data), (b"IEND", b""))
    for kind, content in parts:
        body += struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
    return body


def _gif(frames: int, size: int = 1) -> bytes:
    frame = b"!\xf9\x04\0\0\0\0\0,\0\0\0\0" + struct.pack("<HH", size, size) + b"\0\x02\x02D\x01\0"
    return b"GIF89a" + struct.pack("<HH", size, size) + b"\x80\0\0\0\0\0\xff\xff\xff" + frame * frames + b";"


def _jpeg_with(exif: bytes) -> bytes:
    return _picture("JPEG", exif=b"Exif\0\0" + exif)


_LARGEST = b"\xff\xff\xff\x7f"
_LOOP = b"II*\0\x08\0\0\0\x01\0\x69\x87\x04\0\x01\0\0\0\x08\0\0\0\x08\0\0\0"
_SVG = (
    b'<svg xmlns="http://www.w3.org/2000/svg" xmlns:x="http://www.w3.org/1999/xlink" width="64" height="64">'
    b'<image x:href="file://FOLDER/secret0.bmp" width="64" height="64"/></svg>'
)

PICTURES: dict[str, Make] = {
    **{
        f"{name} cut at {share} %": _content(_picture(name)[: len(_picture(name)) * share // 100], f"a.{name.lower()}")
        for name in ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF")
        for share in (10, 50, 95)
    },
    **{
        f"{name}, bits flipped, {seed}": _content(_flipped(seed)(_picture(name)), f"a.{name.lower()}")
        for name in ("PNG", "JPEG", "WEBP", "TIFF", "GIF", "AVIF")
        for seed in (3, 11)
    },
    "PNG of 2^31 px": _content(_png(2**31 - 1, 2**31 - 1), "a.png"),
    "PNG of 8000 x 8000": _content(_png(8000, 8000), "a.png"),
    "PNG of no size": _content(_png(0, 0), "a.png"),
    "PNG of no kind": _content(_png(4, 4, bits=b"\xff" * 5), "a.png"),
    "PNG of a bomb in words": _content(_png(4, 4, (b"zTXt", b"c\0\0" + zlib.compress(bytes(1 << 26)))), "a.png"),
    "PNG of a bomb as profile": _content(_png(4, 4, (b"iCCP", b"p\0\0" + zlib.compress(bytes(1 << 26)))), "a.png"),
    "PNG of wild frames": _content(_png(4, 4, (b"acTL", _WILD * 2)), "a.png"),
    "profile of nothing": _content(_picture("JPEG", icc_profile=b"\xff" * 400), "a.jpg"),
    "profile that lies": _content(_picture("JPEG", icc_profile=bytes(16) + b"CMYK" + bytes(400)), "a.jpg"),
    "BMP of wild sizes": _content(
        b"BM" + _WILD + bytes(8) + b"(\0\0\0" + _LARGEST * 2 + b"\1\0\x18\0" + bytes(24), "a.bmp"
    ),
    "TIFF of wild sizes": _content(
        b"II*\0\x08\0\0\0\x02\0\0\1\4\0\1\0\0\0" + _LARGEST + b"\1\1\4\0\1\0\0\0" + _LARGEST + bytes(4), "a.tiff"
    ),
    "TIFF in itself": _content(_LOOP, "a.tiff"),
    "EXIF in itself": _content(_jpeg_with(_LOOP), "a.jpg"),
    "EXIF turned by 65535": _content(
        _jpeg_with(b"II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\xff\xff\0\0" + bytes(4)), "a.jpg"
    ),
    "EXIF beyond the file": _content(_jpeg_with(b"II*\0" + _WILD), "a.jpg"),
    "EXIF of wild counts": _content(_jpeg_with(b"II*\0\x08\0\0\0\xff\xff" + _WILD * 30), "a.jpg"),
    "GIF of 50000 pictures": _content(_gif(50_000), "a.gif"),
    "GIF of 65535 px": _content(_gif(1, 65535), "a.gif"),
    "GIF of 65535 px that moves": _content(_gif(3, 65535), "a.gif"),
    "GIF of nothing": _content(b"GIF89a" + bytes(7), "a.gif"),
    "SVG": _content(_SVG, "a.svg"),
    "SVG as PNG": _content(_SVG, "a.png"),
    "SVG as a clip": _content(_SVG, "a.mp4"),
    "PostScript": _content(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(FOLDER/secret.txt) run\n", "a.jpg"),
    "PDF": _content(b"%PDF-1.4\n" + bytes(200), "a.png"),
    "ZIP": _content(b"PK\3\4" + bytes(200), "a.webp"),
    "clip as a photo": _clip(lambda c: c, "a.jpg"),
    "photo as a clip": _content(_picture("PNG"), "a.mp4"),
    "HEIC of nothing": _content(b"\0\0\0\x18ftypheic" + bytes(300), "a.heic"),
    "AVIF of nothing": _content(b"\0\0\0\x1cftypavif" + bytes(300), "a.avif"),
    "EXR of wild sizes": _content(b"v/1\1\2\0\0\0dataWindow\0box2i\0\x10\0\0\0" + _WILD * 4, "a.exr"),
    "PPM of wild sizes": _content(b"P6 999999999 999999999 255\n" + bytes(50), "a.ppm"),
}


def _named(name: str) -> Make:
    return _clip(lambda content: content, name)


def _placed(make: Callable[[Path, Path], None]) -> Make:
    """Something that is no ordinary file."""

    def made(folder: Path) -> Path:
        make(folder, folder / "a.mp4")
        return folder / "a.mp4"

    return made


NAMES: dict[str, Make] = {
    name: _named(name)
    for name in (
        "-rf.mp4",
        "--help.mp4",
        "a\nb.mp4",
        "a'b\"c.mp4",
        "a b;$(touch ran).mp4",
        "`touch ran`.mp4",
        "%s%n.mp4",
        "concat:secret0.bmp",
        "file:secret0.bmp",
        "http:a.mp4",
        "pipe:0",
        "data:a,b",
        "secret%d.ppm",
        "secret%d.bmp",
        "secret*.ppm",
        "secret?.ppm",
        "a|b.mp4",
        "\u202egnp.mp4",
        "\u00e9\u0301.mp4",
        "\U0001f9f5.mp4",
        "e" * 240 + ".mp4",
        "a.mp4 ",
        ".mp4",
        "...",
        "a.MP4.exe",
        "\udcff\udcfe.mp4",
        "<b>a.mp4",
        "~",
        "$HOME.mp4",
        "NUL.mp4",
    )
} | {
    "a folder": _placed(lambda folder, path: path.mkdir()),
    "nothing": _placed(lambda folder, path: None),
    "a pipe": _placed(lambda folder, path: os.mkfifo(path)),
    "a device": _placed(lambda _, path: path.symlink_to("/dev/zero")),
    "link to itself": _placed(lambda folder, path: path.symlink_to(path)),
    "link to nothing": _placed(lambda folder, path: path.symlink_to(folder / "none")),
    "link to a text": _placed(lambda folder, path: path.symlink_to(folder / "secret.txt")),
    "link to a folder": _placed(lambda folder, path: path.symlink_to(folder)),
    "a zero in the name": lambda folder: folder / "a\0b.mp4",
    "too long a name": lambda folder: folder / ("a" * 5000),
}


def _header(text: str | bytes, length: int | None = None, rest: bytes = bytes(16)) -> bytes:
    content = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(content) if length is None else length) + content + rest


def _tensor(**given: Any) -> bytes:
    return _header(json.dumps({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]} | given}))


WEIGHTS: dict[str, bytes] = {
    "longer than the file": _header("{}", 1 << 40),
    "of 2^64 bytes": _header("{}", 2**64 - 1),
    "of no bytes": _header("", 0),
    "of no JSON": _header("nothing"),
    "of a list": _header("[]"),
    "nested": _header("[" * 100_000),
    "of no text": _header(b"\xff" * 40),
    "shape of 2^62": _tensor(shape=[1 << 62]),
    "shape of 2^32 twice": _tensor(shape=[1 << 32] * 2),
    "negative shape": _tensor(shape=[-4]),
    "shape of fractions": _tensor(shape=[4.5]),
    "shape of words": _tensor(shape="4"),
    "deep shape": _tensor(shape=[1] * 5000),
    "unknown kind": _tensor(dtype="F7"),
    "no kind": _tensor(dtype=None),
    "offsets reversed": _tensor(data_offsets=[16, 0]),
    "offsets beyond": _tensor(data_offsets=[1 << 50, (1 << 50) + 16]),
    "negative offsets": _tensor(data_offsets=[-16, 0]),
    "one offset": _tensor(data_offsets=[0]),
    "overlapping": _header(
        json.dumps({name: {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]} for name in "ab"})
    ),
    "hole": _header(json.dumps({"a": {"dtype": "F32", "shape": [2], "data_offsets": [8, 16]}})),
    "name of a megabyte": _header(json.dumps({"a" * (1 << 20): {}})),
    "pickle": b"\x80\x04cos\nsystem\n(S'touch ran'\ntR.",
    "empty": b"",
    "short": b"\1\0",
}
"""Content of safetensors files."""


def _layer(**given: str) -> bytes:
    said = {"element_type": "f32", "shape": "2,2", "offset": "0", "size": "16"} | given
    data = " ".join(f'{name}="{value}"' for name, value in said.items())
    return f'<net><layers><layer name="a" type="Const"><data {data}/></layer></layers></net>'.encode()


NETWORKS: dict[str, bytes] = {
    "entity": b'<!DOCTYPE net [<!ENTITY a "b">]>' + _layer(shape="&a;"),
    "entity of a file": b'<!DOCTYPE net [<!ENTITY a SYSTEM "file:///etc/passwd">]>' + _layer(offset="&a;"),
    "billion laughs": b'<!DOCTYPE a [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]><net>&b;</net>',
    "foreign document type": b'<!DOCTYPE net SYSTEM "http://127.0.0.1:9/a.dtd"><net/>',
    "unknown entity": _layer(shape="&x;"),
    "deep": b"<net>" * 5000,
    "of layers alone": b"<net><layers>" + b'<layer type="Const"/>' * 30_000,
    "beyond": _layer(offset="16"),
    "wild offset": _layer(offset="9" * 12),
    "number of 5000 digits": _layer(offset="9" * 5000),
    "negative": _layer(size="-16"),
    "fraction": _layer(size="1e3"),
    "other digits": _layer(size="\u0661\u0666"),
    "shape of another size": _layer(shape="2,3"),
    "wild shape": _layer(shape="99999999,99999999", size="16"),
    "unknown kind": _layer(element_type="object"),
    "no end": _layer()[:-10],
    "no XML": b"\x00\xff" * 50,
    "empty": b"",
    "other letters": b'<?xml version="1.0" encoding="utf-7"?><net/>',
    "megabytes": b"<net>" + b" " * (9 << 20),
}
"""Content of .xml files, for 16 bytes of numbers."""

_EDIT = ["edit", "CLIP", "-o", "OUT", "--edit", "smile=1"]
SETTINGS: list[list[str]] = [
    *(
        [*_EDIT[:-1], f"smile={value}"]
        for value in (
            "nan",
            "inf",
            "-inf",
            "1e999",
            "99",
            "-99",
            "",
            "1@nan",
            "1@-1",
            "1@0,2@0",
            "1@1e308",
            "@",
            "1@",
            "0x10",
            "1_000",
            "\u0663",
            "1,2",
            "True",
            "[1]",
        )
    ),
    *([*_EDIT[:-1], f"{name}=1"] for name in ("../etc", "smile;rm", "", "s" * 5000, "\u202e", "__class__", "smile\n")),
    *(
        [*_EDIT, option, value]
        for option, value in (
            ("--face", "0"),
            ("--face", "99999999999999999999"),
            ("--face", "-1"),
            ("--start", "nan"),
            ("--start", "1e308"),
            ("--end", "inf"),
            ("--end", "0"),
            ("--size", "0"),
            ("--size", "7"),
            ("--size", "999999999"),
            ("--epochs", "0"),
            ("--epochs", "-1"),
            ("--threshold", "nan"),
            ("--threshold", "1.1"),
            ("--crf", "-1"),
            ("--crf", "52"),
            ("--seed", "1e3"),
            ("--seed", str(2**64)),
            ("--seed", str(-(2**70))),
            ("--seed", "9" * 5000),
            ("--chunk", "0"),
            ("--chunk", "x"),
            ("--steps", "-1"),
            ("--steps", "9" * 5000),
            ("--detail", "2"),
            ("--threads", "0"),
            ("--channels", "0"),
            ("--beta", "nan"),
            ("--preset", "../paper"),
            ("--family", "../miniature"),
            ("--device", "cuda:99"),
            ("--run", "CLIP"),
            ("--comparison", "CLIP"),
            ("--sheet", "OUT"),
            ("--text", ""),
            ("--text", "\0"),
            ("--text", "x" * 100_000),
            ("--weights", "/dev/null"),
        )
    ),
    ["edit", "http://127.0.0.1:9/a.mp4", "-o", "OUT", "--edit", "smile=1"],
    ["edit", "file:///etc/passwd", "-o", "OUT"],
    ["edit", "concat:CLIP|CLIP", "-o", "OUT", "--edit", "smile=1"],
    ["edit", "CLIP", "-o", "/dev/full/a.mp4"],
    ["edit", "CLIP", "-o", "a\0b.mp4", "--edit", "smile=1"],
    ["forget", "a\0b"],
    ["forget", "/"],
    ["estimate", "a\0b"],
    ["sample", "a\0b.mp4", "--frames", "2"],
    ["sample", "OUT", "--size", "99999x99999"],
    ["sample", "OUT", "--seed", str(2**80), "--frames", "2"],
]
"""Arguments of the command line, with CLIP and OUT for a clip and a name."""

CALLS: list[tuple[str, dict[str, Any]]] = (
    [
        ("edits", {"edits": value})
        for value in (
            {"smile": math.nan},
            {"smile": math.inf},
            {"smile": -math.inf},
            {"smile": 1e308},
            {"smile": "1"},
            {"smile": None},
            {"smile": []},
            {"smile": {}},
            {"smile": True},
            {"": 1},
            {"s" * 5000: 1},
            [],
            "smile",
            7,
            {"__class__": 1},
            {"smile": [1, 2]},
            {str(number): 1.0 for number in range(1000)},
        )
    ]
    + [
        ("numbers", {name: value})
        for name in ("at_s", "face")
        for value in (
            math.nan,
            math.inf,
            -1,
            1e308,
            -1e308,
            "1",
            [],
            {},
            True,
            10**30,
        )
    ]
    + [
        ("words", {"words": value})
        for value in ("\0", "x" * 100_000, 7, ["a"], {"a": 1}, "\ud800", "\u202e", ";" * 500)
    ]
)
"""What the API's preview may be given beside a clip."""


def counted() -> dict[str, int]:
    """How many hostile inputs there are, by kind, with those of other tests."""
    from tests.networks.formats import hostile, test_openvino, test_pickled
    from tests.store import test_packages
    from tests.video import test_photo

    def cases(test: Any) -> int:
        return math.prod(len(mark.args[1]) for mark in test.pytestmark if mark.name == "parametrize")

    return {
        "clips": len(CLIPS),
        "pictures": len(PICTURES) + cases(test_photo.test_probe_refuses_a_hostile_picture_in_a_sentence),
        "names and places": len(NAMES),
        "safetensors": len(WEIGHTS) + 4,
        "pickles": len(hostile.PLAIN) + 13,
        "arrays": len(test_pickled.HEADERS),
        "networks in XML": len(NETWORKS)
        + cases(test_openvino.test_read_constants_refuses_what_does_not_fit_the_file)
        + 4,
        "wheels": cases(test_packages.test_fetch_takes_nothing_from_a_wheel_that_is_not_right) + 2,
        "arguments": len(SETTINGS),
        "calls of the API": len(CALLS),
    }


if __name__ == "__main__":
    for kind, number in counted().items():
        print(f"{number:5d} {kind}")
    print(f"{sum(counted().values()):5d} in all")
