"""What the tests share: a family without training that sees coloured discs as faces, and clips of such discs."""

import os
import signal
import zlib
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from huggingface_hub import constants
from torch import Tensor, nn

from stitch.core.records import Detections, Direction
from stitch.core.settings import PRESETS, Preset, Presets, Settings
from stitch.families import load
from stitch.families.family import Family
from stitch.networks.stylegan2 import Generator
from stitch.runtime.optimizer import Rates

# OMP_NUM_THREADS=1 is respected; several workers share the cores.
torch.set_num_threads(1 if "PYTEST_XDIST_WORKER" in os.environ else min(2, torch.get_num_threads()))
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a background job; programs under test would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)

BACKGROUND, SKIN, EYES = (60, 90, 140), (220, 150, 110), (60, 40, 30)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    """No test looks into, or fills, the cache folder of who runs it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "cache" / "data"))  # the key that results are signed with
    monkeypatch.delenv("STITCH_SIGNER", raising=False)
    monkeypatch.delenv("STITCH_TRUSTED", raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache" / "hub"))  # of programs that a test starts
    monkeypatch.setattr(constants, "HF_ASSETS_CACHE", str(tmp_path / "cache" / "hub" / "assets"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache" / "hub" / "hub"))
    monkeypatch.delenv("STITCH_WEIGHTS", raising=False)
    monkeypatch.setenv("STITCH_FAMILY", "miniature")  # nothing is fetched unless a test asks for it


@pytest.fixture(scope="session")
def family() -> Family:
    """A Family at 32 px with random networks and a detector, parser and identity that go by colour."""
    return tiny_family()


@pytest.fixture
def brief(family, monkeypatch) -> None:
    """The untrained family at every door, and presets of one step."""
    monkeypatch.setattr(load, "load_family", lambda *_: family)
    full = Settings.preset

    def short(name: Preset, presets: Presets = PRESETS) -> Settings:
        settings = full(name, presets)
        return replace(settings, tune=replace(settings.tune, epochs=1, least_steps=1),
                       stitching=replace(settings.stitching, steps=1, shared_steps=1))

    monkeypatch.setattr(Settings, "preset", staticmethod(short))


@pytest.fixture
def clip(tmp_path) -> Path:
    """Eight frames with sound and one disc that moves to the right."""
    return draw_clip(tmp_path / "clip.mp4")


def tiny_family(seed: int = 0) -> Family:
    """See `family`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        generator = Generator(32, style_dim=8, mapping_layers=2, channels={4: 8, 8: 8, 16: 8, 32: 8})
        encoder, perceptual, identity = PooledEncoder(generator), SmallFeatures(), PooledIdentity()
        directions = torch.nn.functional.normalize(torch.randn(2, 8), dim=1)
        channels = sum(layer.dimension for layer in generator.layers if layer.is_conv)
        relevance = torch.randn(channels, 6) / 3
    for network in (generator, encoder, perceptual, identity):
        network.requires_grad_(False).eval()
    return Family(
        name="miniature",
        generator=generator,
        encoder=encoder,
        detector=DiscDetector(),
        parser=ColourParser(),
        perceptual=perceptual,
        identity=identity,
        text_encoder=HashedWords(),
        directions={
            "smile": Direction(directions[0], 0.5, "corners of the mouth", "sad", "happy"),
            "age": Direction(directions[1], 0.5, "how old the face looks", "younger", "older", adults_below=True),
        },
        relevance=relevance,
        style_std=torch.ones(channels),
        text_unit=0.5,
        text_channels=10,
        tune_rates=Rates(1e-2),
        stitching_rates=Rates(1e-2),
        content_weight=0.01,
        licence="none, for tests",
    )


def draw_clip(
    path: Path,
    frames: int = 8,
    discs: int = 1,
    lost: Sequence[int] = (),
    cut: int | None = None,
    radius: int = 32,
    size: tuple[int, int] = (176, 128),
    rate: Fraction = Fraction(25),
    sound: bool = True,
) -> Path:
    """Write an H.264 clip of discs with eyes and a mouth.

    Args:
        frames: how many.
        discs: how many; the first is the largest.
        lost: frames without a disc.
        cut: from this frame on the background is another and the disc elsewhere.
        radius: of the first disc, px.
        size: width, height.
        sound: with a tone.
    """
    width, height = size
    with av.open(str(path), "w", format="mp4") as container:
        video = container.add_stream("libx264", rate=rate, options={"crf": "10"})
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        tone = container.add_stream("aac", rate=16000, layout="mono") if sound else None
        for index in range(frames):
            after = cut is not None and index >= cut
            picture = np.full((height, width, 3), (150, 200, 160) if after else BACKGROUND, np.uint8)
            picture[::8] = picture[::8] // 2 + 40
            for number in range(discs if index not in lost else 0):
                side = radius - 6 * number
                x = (width // 2 + 12 if after else radius + 12 + index) + number * (2 * radius + 8)
                disc(picture, x, height // 2, side)
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(video.encode(None))
        if tone is not None:
            samples = np.sin(np.arange(int(16000 * frames / rate)) * 0.17).astype(np.float32)[None]
            sounding = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
            sounding.sample_rate, sounding.pts = 16000, 0
            container.mux(tone.encode(sounding))
            container.mux(tone.encode(None))
    return path


def first_picture(clip: Path) -> bytes:
    """Bytes of an mp4's first picture: its head and its credentials have much in common with other clips'."""
    return clip.read_bytes().rpartition(b"mdat")[2][500:700]


def disc(
    picture: np.ndarray, x: int, y: int, radius: int, skin: tuple[int, int, int] = SKIN
) -> None:
    """Draw a face."""
    cv2.circle(picture, (x, y), radius, skin, -1)
    for side in (-1, 1):
        cv2.circle(picture, (x + side * radius // 3, y - radius // 4), max(2, radius // 8), EYES, -1)
    cv2.ellipse(picture, (x, y + radius // 3), (radius // 3, radius // 8), 0, 0, 180, EYES, 3)


def _skin(red: np.ndarray, blue: np.ndarray) -> np.ndarray:
    return red.astype(np.int32) - blue > 50


class DiscDetector:
    """Finds skin-coloured discs (family.Detector)."""

    def detect(self, frame: np.ndarray, threshold: float) -> Detections:
        found = cv2.connectedComponentsWithStats(_skin(frame[..., 0], frame[..., 2]).astype(np.uint8))[2][1:]
        found = sorted((row for row in found.tolist() if row[4] > 40), key=lambda row: -row[4])
        boxes = np.array([(x, y, x + w, y + h) for x, y, w, h, _ in found], np.float32).reshape(-1, 4)
        places = np.array([(1 / 3, 3 / 8), (2 / 3, 3 / 8), (1 / 2, 1 / 2), (1 / 3, 2 / 3), (2 / 3, 2 / 3)], np.float32)
        landmarks = boxes[:, None, :2] + places * (boxes[:, None, 2:] - boxes[:, None, :2])
        return Detections(boxes, np.full(len(boxes), 0.9, np.float32), landmarks)


class ColourParser:
    """Labels what is redder than blue as skin (family.Parser)."""

    def __call__(self, images: Tensor) -> Tensor:
        small = F.adaptive_avg_pool2d(images, 16)
        return (small[:, 0] - small[:, 2] > 0.2).long()


class PooledEncoder(nn.Module):
    """A linear look at a crop shrunk to 4 px."""

    def __init__(self, generator: Generator):
        super().__init__()
        self.shape = (generator.num_ws, generator.w_dim)
        self.linear = nn.Linear(48, generator.num_ws * generator.w_dim)

    def forward(self, images: Tensor) -> Tensor:
        return self.linear(F.adaptive_avg_pool2d(images, 4).flatten(1)).unflatten(1, self.shape)


class SmallFeatures(nn.Module):
    """One random convolution as LPIPS (family.Perceptual)."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 3, padding=1)

    def features(self, images: Tensor) -> list[Tensor]:
        return [F.normalize(self.convolution(images).relu() + 1e-3, dim=1)]

    def distance(self, first: Sequence[Tensor], second: Sequence[Tensor]) -> Tensor:
        return sum((a - b).square().sum(1).mean((1, 2)) for a, b in zip(first, second, strict=True))


class PooledIdentity(nn.Module):
    """A random projection of a shrunk crop (family.Embedder)."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(48, 5)

    def forward(self, images: Tensor) -> Tensor:
        return F.normalize(self.linear(F.adaptive_avg_pool2d(images, 4).flatten(1)), dim=1)


class HashedWords:
    """Sums of random vectors, one per word (family.TextEncoder)."""

    words = ("beard", "blurry", "glasses")

    def __call__(self, texts: Sequence[str]) -> Tensor:
        return torch.stack([sum(self._word(word) for word in text.lower().split()) + 0.1 for text in texts])

    def unknown_words(self, text: str) -> list[str]:
        return [word for word in text.lower().split() if word.startswith("xx")]

    def _word(self, word: str) -> Tensor:
        return torch.randn(6, generator=torch.Generator().manual_seed(zlib.crc32(word.encode())))
