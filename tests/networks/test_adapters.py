"""LPIPS and facexlib behind our own doors, and the repair of torchvision."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from stitch.core.errors import WeightsError
from stitch.networks import torchvision_shim
from stitch.networks.facexlib import ArcFaceEmbedder, BiSeNetParser, RetinaFaceDetector
from stitch.networks.formats import checkpoints
from stitch.networks.perceptual import Perceptual
from tests import golden

# isort: split
import lpips


def slim() -> Perceptual:
    torch.manual_seed(0)
    return Perceptual.slim((4, 6, 8))


def pictures(batch: int = 2, size: int = 32) -> torch.Tensor:
    return torch.rand(batch, 3, size, size, generator=torch.Generator().manual_seed(3)) * 2 - 1


# --- perceptual ------------------------------------------------------------------------------------------------------


def test_features_are_of_unit_length():
    features = slim().features(pictures())
    assert [tuple(feature.shape) for feature in features] == [(2, 4, 16, 16), (2, 6, 8, 8), (2, 8, 4, 4)]
    for feature in features:
        length = feature.square().sum(1).sqrt()
        assert torch.all(((length - 1).abs() < 1e-5) | (length == 0))


def test_distance_of_equal_images_is_zero_and_symmetric():
    network, first = slim(), pictures()
    second = first.flip(0)
    assert torch.equal(network(first, first), torch.zeros(2))
    assert torch.equal(network(first, second), network(second, first))
    assert network(first, second).min() > 0


def test_distance_by_hand():
    network = slim()
    network.linear[0].data = torch.tensor([1.0, 2.0, 3.0, 4.0])
    first = [torch.zeros(1, count, 1, 2) for count in (4, 6, 8)]
    second = [feature.clone() for feature in first]
    second[0][0, :, 0, 0] = torch.tensor([1.0, 0.0, 2.0, 0.0])
    second[2][0, 0, 0, 1] = 3
    # Weighted squares 1 * 1 + 3 * 4 at one of two pixels, and 9 at one of two.
    assert network.distance(first, second).item() == pytest.approx(13 / 2 + 9 / 2)
    assert [d.item() for d in network.distances(first, second)] == pytest.approx([6.5, 0, 4.5])


def test_distance_has_a_gradient_where_no_feature_is_alive():
    network = slim()
    for tap in network.taps:
        tap[0].bias.data.fill_(-100)
    images = pictures().requires_grad_()
    network(images, pictures().flip(0)).sum().backward()
    assert torch.isfinite(images.grad).all()


def test_distance_refuses_another_number_of_stages():
    network = slim()
    with pytest.raises(ValueError, match="got 2 and 3 stages, expected 3"):
        network.distance(network.features(pictures())[:2], network.features(pictures()))
    with pytest.raises(ValueError, match="channels: got 2"):
        Perceptual(network.taps, (4, 6))


def test_slim_network_survives_a_file(tmp_path):
    network = slim()
    network.linear[1].data.uniform_()
    checkpoints.save_module(tmp_path / "p.safetensors", network)
    again = checkpoints.load_module(tmp_path / "p.safetensors", Perceptual)
    assert torch.equal(again(pictures(), pictures().flip(0)), network(pictures(), pictures().flip(0)))


@pytest.fixture(scope="module")
def alexnet() -> dict[str, torch.Tensor]:
    """Random weights in torchvision's names and sizes."""
    noise = torch.Generator().manual_seed(0)
    shapes = {0: (64, 3, 11, 11), 3: (192, 64, 5, 5), 6: (384, 192, 3, 3), 8: (256, 384, 3, 3), 10: (256, 256, 3, 3)}
    state = {"classifier.1.weight": torch.zeros(1)}
    for number, shape in shapes.items():
        scale = (2 / np.prod(shape[1:])) ** 0.5
        state[f"features.{number}.weight"] = scale * torch.randn(shape, generator=noise)
        state[f"features.{number}.bias"] = 0.1 * torch.randn(shape[0], generator=noise)
    return state


def test_alexnet_distance_equals_the_lpips_packages(alexnet):
    ours = Perceptual.from_lpips_alex(alexnet)
    with pytest.warns(UserWarning):
        theirs = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False)
    for number, stage in enumerate(theirs.net.children()):
        stage.load_state_dict(ours.taps[number].state_dict())
    first, second = pictures(size=64), pictures(size=64).flip(0, 3)
    with torch.no_grad():
        assert torch.allclose(ours(first, second), theirs(first, second).flatten(), rtol=1e-5, atol=1e-7)
        stages = theirs(first, second, retPerLayer=True)[1]
        for one, other in zip(ours.distances(*map(ours.features, (first, second))), stages, strict=True):
            assert torch.allclose(one, other.flatten(), rtol=1e-5, atol=1e-7)
    assert not any(parameter.requires_grad for parameter in ours.parameters())


def test_alexnet_gradient_reaches_the_images(alexnet):
    images = pictures(size=64).requires_grad_()
    network = Perceptual.from_lpips_alex(alexnet)
    network(images, pictures(size=64).flip(3)).sum().backward()
    assert torch.isfinite(images.grad).all() and images.grad.abs().max() > 0


def test_alexnet_refuses_other_weights(alexnet):
    with pytest.raises(WeightsError, match="features.0.weight is missing"):
        Perceptual.from_lpips_alex({key: tensor for key, tensor in alexnet.items() if "features.0" not in key})
    with pytest.raises(WeightsError, match="features.99.weight is not of this network"):
        Perceptual.from_lpips_alex(alexnet | {"features.99.weight": torch.zeros(1)})
    with pytest.raises(WeightsError, match="not of this kind"):
        Perceptual.from_lpips_alex(alexnet | {"features.0.weight": torch.zeros(3)})


# --- facexlib --------------------------------------------------------------------------------------------------------


def test_face_networks_refuse_other_weights():
    for kind in (ArcFaceEmbedder, BiSeNetParser, RetinaFaceDetector):
        with pytest.raises(WeightsError, match="use (another file|facexlib's files)"):
            kind.from_state({"weight": torch.zeros(1)})


def test_inner_face_keeps_the_face_where_arcface_wants_it():
    picture = torch.zeros(1, 3, 256, 256)
    picture[:, :, 35:223, 32:220] = 1
    assert torch.equal(ArcFaceEmbedder.inner_face(picture), torch.ones(1, 3, 112, 112))


@torch.no_grad()
def test_parser_takes_crops_of_any_size_and_clips_them():
    torch.manual_seed(0)
    parser = BiSeNetParser().eval()
    crops = pictures(1, 96)
    labels = parser(crops)
    assert labels.shape == (1, 512, 512) and labels.dtype == torch.int64
    assert 0 <= labels.min() and labels.max() <= 18


def small_detector() -> RetinaFaceDetector:
    torch.manual_seed(0)
    return RetinaFaceDetector("mobile0.25", sides_px=(64, 128)).eval()


def test_detector_strips_the_prefix_of_parallel_training():
    state = {f"module.{key}": tensor for key, tensor in small_detector().network.state_dict().items()}
    detector = RetinaFaceDetector.from_state(state)
    assert all(torch.equal(state[f"module.{key}"], t) for key, t in detector.network.state_dict().items())
    assert not any(parameter.requires_grad for parameter in detector.parameters())


def test_detector_without_faces_returns_empty_arrays():
    found = small_detector().detect(np.zeros((90, 120, 3), np.uint8), threshold=0.999)
    assert found.boxes.shape == (0, 4) and found.scores.shape == (0,) and found.landmarks.shape == (0, 5, 2)


class OneFace(torch.nn.Module):
    """Stands in for RetinaFace: at chosen widths, the anchors nearest to a face of a 100 px frame are sure of it."""

    cfg = {"min_sizes": [[4, 8], [16, 32], [64, 128]], "steps": [8, 16, 32], "variance": [0.1, 0.2], "clip": False}

    def __init__(self, widths: tuple[int, ...], side_px: float = 32.0):
        super().__init__()
        self.widths, self.side_px = widths, side_px

    def forward(self, inputs):
        height, width = inputs.shape[2:]
        priors = facexlib_priors(self.cfg, height, width)
        at = torch.tensor([0.5, 0.25])
        offsets, marks = torch.zeros(len(priors), 4), torch.zeros(len(priors), 5, 2)
        offsets[:, :2] = (at - priors[:, :2]) / (0.1 * priors[:, 2:])
        offsets[:, 2:] = (torch.tensor([self.side_px / 100, self.side_px / 50]) / priors[:, 2:]).log() / 0.2
        marks[:] = ((at - priors[:, :2]) / (0.1 * priors[:, 2:]))[:, None]
        scores = torch.zeros(len(priors), 2)
        if width in self.widths:
            scores[(priors[:, :2] - at).square().sum(1) < 0.03, 1] = 0.9
        return offsets[None], scores[None], marks.flatten(1)[None]


def facexlib_priors(cfg, height, width):
    from facexlib.detection.retinaface_utils import PriorBox

    return PriorBox(cfg, image_size=(height, width)).forward()


def detect_one(widths: tuple[int, ...], threshold: float = 0.5):
    detector = RetinaFaceDetector("mobile0.25", sides_px=(64, 128, 256))
    detector.network = OneFace(widths)
    return detector.detect(np.zeros((50, 100, 3), np.uint8), threshold)


def test_detector_joins_the_sizes_and_answers_in_frame_pixels():
    found = detect_one((64, 128))
    assert found.boxes == pytest.approx(np.array([[34, -3.5, 66, 28.5]]), abs=1e-3)
    assert found.landmarks == pytest.approx(np.tile([50, 12.5], (1, 5, 1)), abs=1e-3)
    assert found.scores == pytest.approx([0.9])


def test_detector_drops_what_one_of_several_sizes_took_for_a_face():
    assert len(detect_one((64,)).scores) == 0
    assert detect_one((64,), threshold=0.4).scores == pytest.approx([0.45])


@golden.needs_real
def test_detector_finds_the_one_face_of_real_frames():
    av = pytest.importorskip("av")
    path = next(golden.REAL.glob("detection_mobilenet*.pth"))
    detector = RetinaFaceDetector.from_state(checkpoints.load_checkpoint(path))
    eyes = {"s13.mp4": [[343, 91], [380, 91]], "s18.mp4": [[742, 216], [842, 209]]}
    for name, expected in eyes.items():
        with av.open(golden.REAL / name) as clip:
            frame = next(clip.decode(video=0)).to_ndarray(format="rgb24")
        found = detector.detect(frame, threshold=0.5)
        assert len(found.scores) == 1 and found.scores[0] > 0.95
        distance = np.linalg.norm(expected[1] - np.array(expected[0]))
        assert np.abs(found.landmarks[0, :2] - expected).max() < 0.08 * distance
        assert (found.landmarks[0, 2:, 1] > found.landmarks[0, :2, 1].max()).all()
        assert found.landmarks[0, 3, 0] < found.landmarks[0, 4, 0]


# --- torchvision -----------------------------------------------------------------------------------------------------


def test_nms_keeps_the_best_of_overlapping_boxes():
    boxes = torch.tensor([[0, 0, 10, 10], [1, 0, 11, 10], [20, 0, 30, 10], [0, 0, 10, 5.0]])
    scores = torch.tensor([0.8, 0.9, 0.1, 0.7])
    assert torchvision_shim.nms(boxes, scores, 0.4).tolist() == [1, 2]
    # The overlaps of box 1: 9/11 with box 0, 45/105 with box 3.
    assert torchvision_shim.nms(boxes, scores, 0.5).tolist() == [1, 3, 2]
    assert torchvision_shim.nms(boxes, scores, 0.9).tolist() == [1, 0, 3, 2]


def test_nms_keeps_boxes_that_overlap_by_just_the_limit():
    boxes = torch.tensor([[0, 0, 10, 10], [0, 0, 10, 5.0]])
    assert torchvision_shim.nms(boxes, torch.tensor([2.0, 1.0]), 0.5).tolist() == [0, 1]


def test_nms_of_nothing_is_nothing():
    assert torchvision_shim.nms(torch.zeros(0, 4), torch.zeros(0), 0.5).shape == (0,)


BROKEN = """
import sys, importlib.abc, importlib.machinery, torch

class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path=None, target=None):
        return importlib.machinery.ModuleSpec(name, self) if name == "torchvision" else None
    def exec_module(self, module):
        torch.library.register_fake("torchvision::nms")(lambda *arguments: None)

sys.meta_path.insert(0, Finder())
from stitch.networks import torchvision_shim
boxes, scores = torch.tensor([[0, 0, 9, 9], [0, 0, 8, 9.]]), torch.tensor([.1, .2])
print(torchvision_shim.LIBRARY is not None)
print(torch.ops.torchvision.nms(boxes, scores, .5).tolist(), torch.ops.torchvision.qnms(boxes, scores, .5).tolist())
"""


def test_repair_registers_operators_where_they_are_missing():
    # In a process of its own: an operator cannot be declared twice.
    result = subprocess.run([sys.executable, "-c", BROKEN], capture_output=True, text=True, cwd=golden.REPOSITORY)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split("\n")[:2] == ["True", "[1] [1]"]


def test_repair_leaves_a_whole_torchvision_alone(monkeypatch):
    monkeypatch.setattr(torchvision_shim.importlib, "import_module", lambda name: None)
    monkeypatch.setattr(torchvision_shim, "declare_operators", lambda: pytest.fail("declared without need"))
    assert torchvision_shim.repair() is None


@pytest.mark.parametrize("error", [RuntimeError("out of memory"), ImportError("No module named 'torchvision'")])
def test_repair_hides_no_other_fault(monkeypatch, error):
    def fail(name):
        raise error

    monkeypatch.setattr(torchvision_shim.importlib, "import_module", fail)
    monkeypatch.setattr(torchvision_shim, "declare_operators", lambda: pytest.fail("declared without need"))
    with pytest.raises(type(error), match=str(error)):
        torchvision_shim.repair()
