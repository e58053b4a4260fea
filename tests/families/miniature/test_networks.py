"""The small networks of the miniature family: shapes, geometry, files, and what the shipped ones see in drawn faces."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from stitch.families.miniature import detector as finding
from stitch.families.miniature.detector import CentreNet, FaceDetector, LandmarkNet
from stitch.families.miniature.language import UNKNOWN, SmallClip, TextSizes, Vision, vocabulary, words_of
from stitch.families.miniature.networks import FaceParser, IdentityNet, Regressor, fold_labels, unfold_labels
from stitch.networks.formats.checkpoints import load_module, save_module
from stitch.networks.perceptual import Perceptual

WEIGHTS = Path(__file__).parents[3] / "stitch" / "families" / "miniature" / "weights"


def small_detector() -> FaceDetector:
    torch.manual_seed(0)
    centres = CentreNet(channels=(4, 4, 8, 8, 8), width=8)
    return FaceDetector(centres, LandmarkNet(size=32, channels=(4, 4, 8, 8), width=8)).eval()


def small_clip() -> SmallClip:
    torch.manual_seed(0)
    tokens, words = vocabulary(["a face", "a photo of a face with glasses"])
    return SmallClip(tokens, words, dimension=8, vision=Vision(width=4), text=TextSizes(16, 2), context=12).eval()


def upright_face(middle: tuple[float, float] = (0.0, 0.0), scale: float = 1.0) -> np.ndarray:
    """68 points on a circle, the eyes level."""
    angle = np.arange(68) * 2.4
    points = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    points[36:42] = (-0.4, -0.3)
    points[42:48] = (0.4, -0.3)
    return points * scale + middle


@pytest.mark.parametrize("size", [32, 48, 64])
def test_parser_labels_any_size_at_its_own(size: int) -> None:
    parser = FaceParser(32, channels=(4, 8, 8)).eval()
    labels = parser(torch.zeros(2, 3, size, size))
    assert labels.shape == (2, 32, 32) and labels.dtype == torch.int64
    assert 0 <= labels.min() and labels.max() < 19


def test_fold_labels_is_undone_by_unfold_labels() -> None:
    labels = torch.arange(2 * 8 * 8).reshape(2, 8, 8)
    folded = fold_labels(labels)
    assert folded[0, 1, 2].tolist() == [20, 21, 28, 29]
    assert torch.equal(unfold_labels(folded), labels)


def test_scores_of_some_corners_are_those_of_all() -> None:
    parser = FaceParser(32, channels=(4, 8, 8)).eval()
    images = torch.randn(1, 3, 32, 32)
    torch.testing.assert_close(parser.scores(images, (3, 1)), parser.scores(images)[..., [3, 1], :])


def test_identity_is_of_unit_length_at_any_size() -> None:
    network = IdentityNet(32, channels=(4, 8, 8, 8), dimension=6).eval()
    for size in (32, 50):
        lengths = network(torch.randn(3, 3, size, size)).norm(dim=1)
        torch.testing.assert_close(lengths, torch.ones(3))


def test_regressor_answers_one_number_per_factor() -> None:
    network = Regressor(("smile", "age"), 32, channels=(4, 4, 4, 4, 4), hidden=8).eval()
    assert network(torch.zeros(3, 3, 64, 64)).shape == (3, 2)


@pytest.mark.parametrize(
    "build",
    [
        lambda: FaceParser(32, channels=(4, 8, 8)),
        lambda: IdentityNet(32, channels=(4, 8, 8, 8), dimension=6),
        lambda: Regressor(("smile", "age"), 32, channels=(4, 4, 4, 4, 4), hidden=8),
        small_detector,
        small_clip,
        lambda: Perceptual.slim((4, 8)),
    ],
)
def test_save_module_and_load_module_give_the_same_network(build: Callable[[], nn.Module], tmp_path: Path) -> None:
    network = build()
    save_module(tmp_path / "n.safetensors", network)
    again = load_module(tmp_path / "n.safetensors", type(network))
    assert again.arguments == network.arguments
    for key, value in network.state_dict().items():
        assert torch.equal(again.state_dict()[key], value), key


def test_detect_refuses_floats() -> None:
    with pytest.raises(ValueError, match="uint8"):
        small_detector().detect(np.zeros((32, 32, 3)), 0.5)


@pytest.mark.parametrize("shape", [(48, 64), (37, 101), (8, 8)])
def test_detect_takes_frames_of_any_size(shape: tuple[int, int]) -> None:
    found = small_detector().detect(np.zeros((*shape, 3), np.uint8), 0.0)
    assert found.boxes.shape[1:] == (4,) and found.landmarks.shape[1:] == (68, 2)
    assert len(found.boxes) == len(found.scores) == len(found.landmarks)


def test_detect_finds_nothing_above_certainty() -> None:
    found = small_detector().detect(np.zeros((48, 64, 3), np.uint8), 1.0)
    assert found.boxes.shape == (0, 4) and found.landmarks.shape == (0, 68, 2)


def test_peaks_read_back_what_targets_wrote() -> None:
    from stitch.families.miniature.training.detector import targets

    faces = [upright_face((60, 50), 20.0), upright_face((180, 100), 60.0)]
    heat, answer = targets(faces, (256, 192))
    logit = torch.logit(torch.from_numpy(heat).clamp(1e-4, 1 - 1e-4))
    grid = torch.cat([logit[None], torch.from_numpy(answer[1:])])[None]
    found = finding.peaks(grid, 0.9, 4)[0]
    assert len(found.score) == 2
    order = np.argsort(found.xy[:, 0])
    for index, face in zip(order, faces, strict=True):
        middle, size = finding.extent(face)
        np.testing.assert_allclose(found.xy[index], middle, atol=1e-3)
        assert found.size[index] == pytest.approx(size, rel=1e-4)


def test_stance_knows_a_turned_face() -> None:
    upright = upright_face()
    turn = np.array([[np.cos(0.5), -np.sin(0.5)], [np.sin(0.5), np.cos(0.5)]])
    middle, size, angle = finding.stance(np.stack([upright, upright @ turn.T * 3 + (7, 9)]))
    np.testing.assert_allclose(angle, [0, 0.5], atol=1e-9)
    assert size[1] == pytest.approx(3 * size[0])
    np.testing.assert_allclose(middle[1], turn @ middle[0] * 3 + (7, 9))


def test_squares_put_the_middle_in_the_middle() -> None:
    placement = finding.squares(np.array([[30.0, 20.0]]), np.array([40.0]), np.array([0.3]), 16)[0]
    np.testing.assert_allclose(placement @ (8, 8, 1), (30, 20))
    corner = placement @ (0, 0, 1)
    assert np.hypot(*(corner - (30, 20))) == pytest.approx(20 * np.sqrt(2))


@pytest.mark.parametrize("side", [16.0, 100.0])
def test_cut_samples_where_the_placement_says(side: float) -> None:
    rows, columns = np.mgrid[:200, :200]
    frame = np.stack([columns, rows, np.zeros_like(rows)], axis=-1).astype(np.uint8)
    placement = finding.squares(np.array([[90.0, 110.0]]), np.array([side]), np.array([0.2]), 32)[0]
    crop = finding.cut(frame, placement, 32).astype(float)
    y, x = np.mgrid[:32, :32] + 0.5
    expected = np.stack([x, y, np.ones_like(x)], axis=-1) @ placement.T - 0.5  # a pixel's value is its index
    assert np.abs(crop[..., :2] - expected).max() < 1.1


def test_cut_is_grey_outside_the_frame() -> None:
    placement = finding.squares(np.array([[500.0, 500.0]]), np.array([100.0]), np.zeros(1), 16)[0]
    assert (finding.cut(np.zeros((50, 50, 3), np.uint8), placement, 16) == 128).all()


def test_mirrored_order_is_its_own_inverse() -> None:
    from stitch.families.miniature.training.detector import MIRRORED

    assert sorted(MIRRORED) == list(range(68))
    assert (MIRRORED[MIRRORED] == np.arange(68)).all()


def test_mirrored_order_fits_a_drawn_face() -> None:
    from stitch.families.miniature.faces import FACTORS, landmarks
    from stitch.families.miniature.training.detector import MIRRORED

    points = landmarks(np.zeros(len(FACTORS)), np.array([[1.0, 0, 0], [0, 1, 0]]))
    np.testing.assert_allclose(points[MIRRORED] * (-1, 1), points, atol=1e-4)


def test_tokenize_ends_with_the_largest_row_and_hides_unknown_tokens() -> None:
    model = small_clip()
    rows = model.tokenize(["a face", "a zebra face", "face " * 40])
    assert rows.shape == (3, 12)
    assert rows[0].argmax() == 3 and rows[0, 4:].tolist() == [0] * 8
    assert UNKNOWN in rows[1] and UNKNOWN not in rows[0]
    assert rows[2].argmax() == 11


def test_unknown_words_lists_each_once_in_order() -> None:
    assert small_clip().unknown_words("A zebra, a FACE with zebra stripes") == ["zebra", "stripes"]
    assert words_of("clean-shaven man's") == ["clean", "shaven", "man", "s"]


def test_clip_towers_meet_in_one_space() -> None:
    model = small_clip()
    assert model(["a face", "a face with glasses"]).shape == (2, 8)
    assert model.encode_image(torch.zeros(3, 3, 100, 100)).shape == (3, 8)


# --- training ---


def test_fit_resumes_to_the_same_weights(tmp_path: Path) -> None:
    from stitch.families.miniature.training.loop import Schedule, fit

    schedule = Schedule(steps=8, batch=4, checkpoint_s=-1.0, log_every=4)

    def run(out: Path, die_at: int | None) -> dict[str, torch.Tensor]:
        torch.manual_seed(1)
        network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
        seen = 0

        def losses(rng: torch.Generator) -> dict[str, torch.Tensor]:
            nonlocal seen
            if seen == die_at:
                raise KeyboardInterrupt
            seen += 1
            x = torch.randn(4, 3, generator=rng)
            return {"square": (network(x) - x.sum(1, keepdim=True)).square().mean()}

        fit(network, losses, schedule, out, seed=5)
        return network.state_dict()

    whole = run(tmp_path / "whole", None)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "broken", 3)
    again = run(tmp_path / "broken", None)
    for key, value in whole.items():
        assert torch.equal(again[key], value), key
    assert len((tmp_path / "whole" / "log.jsonl").read_text().splitlines()) == 2


def test_fit_refuses_another_schedule(tmp_path: Path) -> None:
    from stitch.families.miniature.training.loop import Schedule, fit

    network = nn.Linear(1, 1)
    fit(network, lambda _: {"w": network.weight.square().sum()}, Schedule(2, 1), tmp_path, 0)
    with pytest.raises(ValueError, match="schedule"):
        fit(network, lambda _: {"w": network.weight.square().sum()}, Schedule(3, 1), tmp_path, 0)


def test_rate_at_rises_and_falls() -> None:
    from stitch.families.miniature.training.loop import Schedule, rate_at

    schedule = Schedule(steps=100, batch=1, learning_rate=1.0, warmup=0.1)
    assert rate_at(schedule, 0) == pytest.approx(0.1)
    assert rate_at(schedule, 10) == pytest.approx(1.0)
    assert rate_at(schedule, 99) < 0.01


def test_warped_points_follow_warped_pictures() -> None:
    from stitch.families.miniature.training.augment import placements, warped, warped_points

    picture = torch.zeros(1, 1, 64, 64)
    picture[0, 0, 20, 40] = 1.0
    place = placements(1, torch.Generator().manual_seed(3), 20.0, 1.2, 0.1)
    result = warped(picture, place, 48)[0, 0]
    point = warped_points(torch.tensor([[[40.5, 20.5]]]), place, 64, 48)[0, 0]
    rows, columns = torch.meshgrid(torch.arange(48) + 0.5, torch.arange(48) + 0.5, indexing="ij")
    found = torch.stack([(result * columns).sum(), (result * rows).sum()]) / result.sum()
    assert (found - point).abs().max() < 0.35


def test_composed_keeps_the_face_and_swaps_the_grey() -> None:
    from stitch.families.miniature.training.sets import GREY_LEVEL, composed

    images = torch.full((1, 3, 1, 2), GREY_LEVEL)
    images[..., 0] = 0.7
    alpha = torch.tensor([[[[1.0, 0.0]]]])
    result = composed(images, alpha, torch.full((1, 3, 1, 2), -0.5))
    torch.testing.assert_close(result[0, 0, 0], torch.tensor([0.7, -0.5]))


def test_crops_drawn_in_two_goes_are_those_of_one(tmp_path: Path) -> None:
    from stitch.families.miniature.training import sets

    whole = sets.crops(tmp_path / "whole", 3, 7, 32)
    note = tmp_path / "parts" / "progress.txt"
    sets.crops(tmp_path / "parts", 3, 7, 32)
    parts = np.load(tmp_path / "parts" / "images.npy", mmap_mode="r+")
    parts[1:] = 0
    note.write_text("1")
    again = sets.crops(tmp_path / "parts", 3, 7, 32)
    assert (again["images"] == whole["images"]).all()


def test_aligned_pictures_show_what_their_z_says(tmp_path: Path) -> None:
    from stitch.families.miniature.faces import crop_placement, draw, factors_from_z
    from stitch.families.miniature.training import sets

    drawn = sets.aligned(tmp_path, 2, 3, 32)
    factors = factors_from_z(np.array(drawn["z"]))[1]
    assert (drawn["images"][1] == draw(factors, (32, 32), crop_placement(factors, 32)).image).all()
    with pytest.raises(ValueError, match="expected"):
        sets.aligned(tmp_path, 3, 3, 32)


def test_person_keeps_the_face_and_changes_the_rest() -> None:
    from stitch.families.miniature.faces import FACTORS
    from stitch.families.miniature.training.sets import person

    one, other = (person(1, 4, np.random.default_rng(seed)) for seed in (0, 1))
    assert one[FACTORS.index("jaw")] == other[FACTORS.index("jaw")]
    assert one[FACTORS.index("smile")] != other[FACTORS.index("smile")]


def test_mirrored_labels_exchange_left_and_right() -> None:
    from stitch.families.miniature.training.parser import mirrored

    labels = torch.tensor([[[2, 4, 1, 17]]]).repeat(64, 1, 1)
    images, found = mirrored(torch.zeros(64, 3, 1, 4), labels, torch.Generator().manual_seed(0))
    rows = {tuple(row) for row in found[:, 0].tolist()}
    assert rows == {(2, 4, 1, 17), (17, 1, 5, 3)}


def test_is_face_leaves_out_background_cloth_and_hat() -> None:
    from stitch.families.miniature.training.parser import is_face

    assert is_face(torch.arange(19)).logical_not().nonzero().flatten().tolist() == [0, 16, 18]


def test_margin_softmax_asks_for_more_than_being_right() -> None:
    from stitch.families.miniature.training.identity import margin_softmax

    cosines = torch.tensor([[0.9, 0.1]])
    plain = margin_softmax(cosines, torch.tensor([0]), 10.0, 0.0)
    assert margin_softmax(cosines, torch.tensor([0]), 10.0, 0.3) > plain
    assert plain == pytest.approx(float(np.log1p(np.exp(-8.0))), rel=1e-4)


def test_equal_error_rate_of_a_hand_made_case() -> None:
    from stitch.families.miniature.training.identity import equal_error_rate

    same = torch.tensor([0.9, 0.8, 0.7, 0.2])
    other = torch.tensor([0.5, 0.1, 0.0, -0.1])
    rate, threshold = equal_error_rate(same, other)
    assert rate == pytest.approx(0.25) and 0.2 < threshold < 0.5


def test_hidden_words_touches_words_only() -> None:
    from stitch.families.miniature.training.clip import hidden_words

    rows = torch.tensor([[9, 3, 4, 10, 0]]).repeat(500, 1)
    found = hidden_words(rows, 2, 9, torch.Generator().manual_seed(0))
    assert torch.equal(found[:, [0, 3, 4]], rows[:, [0, 3, 4]])
    assert 0 < (found == UNKNOWN).sum() < 100


def test_distorted_grows_with_its_strength() -> None:
    from stitch.families.miniature.training.perceptual import KINDS, distorted

    images = torch.linspace(-3, 3, 32).sin().mul(0.8).expand(1, 3, 32, 32) * torch.linspace(0.4, 1, 32)[:, None]
    for kind in KINDS:
        errors = [
            float((distorted(images, kind, torch.tensor([s]), torch.Generator().manual_seed(1)) - images).abs().mean())
            for s in (0.0, 0.3, 0.9)
        ]
        assert errors[0] < 1e-5 < errors[1] < errors[2], kind
    with pytest.raises(ValueError, match="blur"):
        distorted(images, "melt", torch.zeros(1), torch.Generator())


def test_fitted_weights_prefer_channels_that_judge_right() -> None:
    from stitch.families.miniature.training.perceptual import agreement, fitted_weights

    rng = torch.Generator().manual_seed(0)
    smaller, larger = torch.rand(400, 4, generator=rng) + 0.2, torch.rand(400, 4, generator=rng) + 0.2
    larger[:, 0] = smaller[:, 0] * 1.5
    weights = fitted_weights(smaller, larger, steps=150)
    assert weights.min() >= 0 and weights.argmax() == 0
    assert agreement(smaller, larger, weights) > agreement(smaller, larger, torch.ones(4))


# --- the shipped networks on faces that nobody trained on ---


def shipped(name: str, kind: type[nn.Module]) -> nn.Module:
    path = WEIGHTS / f"{name}.safetensors"
    if not path.is_file():
        pytest.skip(f"{path.name} is not there yet")
    return load_module(path, kind)


def drawn(seed: int, size: int = 128):
    from stitch.families.miniature.backdrops import backdrop
    from stitch.families.miniature.faces import crop_placement, draw
    from stitch.families.miniature.training.sets import ordinary

    factors = ordinary(np.random.default_rng([990_001, seed]))
    return factors, draw(factors, (size, size), crop_placement(factors, size), backdrop(7 + seed, (size, size), "busy"))


def as_tensor(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image).permute(2, 0, 1)[None].float() / 127.5 - 1


def test_shipped_parser_finds_face_and_hair() -> None:
    from stitch.families.miniature.training.parser import is_face

    parser = shipped("parser", FaceParser)
    for seed in range(3):
        _, drawing = drawn(seed)
        found, true = is_face(parser(as_tensor(drawing.image)))[0], is_face(torch.from_numpy(drawing.labels))
        assert float((found & true).sum() / (found | true).sum()) >= 0.9


def test_shipped_detector_finds_the_landmarks() -> None:
    from stitch.families.miniature.backdrops import backdrop
    from stitch.families.miniature.faces import draw
    from stitch.families.miniature.training.sets import ordinary

    detector = shipped("detector", FaceDetector)
    placement = np.array([[90.0, 0, 300], [0, 90.0, 230]])
    drawing = draw(
        ordinary(np.random.default_rng([990_002, 0])), (640, 480), placement, backdrop(3, (640, 480), "busy"), 1
    )
    found = detector.detect(drawing.image, 0.5)
    assert len(found.scores) == 1
    eyes = drawing.landmarks[42:48].mean(0) - drawing.landmarks[36:42].mean(0)
    error = np.linalg.norm(found.landmarks[0] - drawing.landmarks, axis=1).mean() / np.hypot(*eyes)
    assert error < 0.04


def test_shipped_identity_prefers_the_same_person() -> None:
    from stitch.families.miniature.faces import crop_placement, draw
    from stitch.families.miniature.training.sets import person

    network = shipped("identity", IdentityNet)
    images = []
    for number in (0, 1):
        for picture in (0, 1):
            factors = person(990_003, number, np.random.default_rng([number, picture]), stray=0.3)
            images.append(as_tensor(draw(factors, (64, 64), crop_placement(factors, 64)).image))
    cosines = network(torch.cat(images))
    cosines = cosines @ cosines.T
    assert min(cosines[0, 1], cosines[2, 3]) > max(cosines[0, 2], cosines[0, 3], cosines[1, 2], cosines[1, 3])


def test_shipped_clip_tells_glasses() -> None:
    from stitch.families.miniature.faces import FACTORS, crop_placement, draw

    model = shipped("clip", SmallClip)
    assert isinstance(model, SmallClip)
    factors, _ = drawn(1)
    scores = []
    ends = nn.functional.normalize(model(["a face with glasses", "a face"]), dim=1)
    for value in (-1.0, 1.5):
        factors[FACTORS.index("glasses")] = value
        image = as_tensor(draw(factors, (128, 128), crop_placement(factors, 128)).image)
        scores.append(float(nn.functional.normalize(model.encode_image(image), dim=1)[0] @ (ends[0] - ends[1])))
    assert scores[1] > scores[0] + 0.1
    assert model.unknown_words("a face with zebra stripes") == ["zebra", "stripes"]


def test_shipped_perceptual_grows_with_a_blur() -> None:
    from stitch.families.miniature.training.perceptual import distorted

    network = shipped("perceptual", Perceptual)
    image = as_tensor(drawn(2)[1].image)
    levels = [distorted(image, "blur", torch.tensor([s]), torch.Generator()) for s in (0.0, 0.25, 0.5, 1.0)]
    distances = [float(network(image, level)) for level in levels]
    assert distances == sorted(distances) and distances[0] < 1e-6 < distances[1]
