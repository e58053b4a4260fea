import cv2
import numpy as np
import pytest

from stitch.families.miniature.appearance import appearance_of
from stitch.families.miniature.backdrops import backdrop
from stitch.families.miniature.captions import BOOK
from stitch.families.miniature.faces import FACTORS, Z_DIM, Drawing, crop_placement, draw, factors_from_z, landmarks

SIZE = 96
SKIN, GLASSES, NOSE, MOUTH, UPPER_LIP, LOWER_LIP, CLOTH, HAIR = 1, 6, 10, 11, 12, 13, 16, 17
BROWS, EYES, EARS = (2, 3), (4, 5), (7, 8)


def face(**values: float) -> np.ndarray:
    factors = np.zeros(len(FACTORS))
    factors[FACTORS.index("glasses")] = -1.0
    factors[FACTORS.index("beard")] = -1.0
    for name, value in values.items():
        factors[FACTORS.index(name)] = value
    return factors


def crop(factors: np.ndarray, size: int = SIZE) -> Drawing:
    return draw(factors, (size, size), crop_placement(factors, size))


def random_faces(count: int) -> np.ndarray:
    z = np.stack([np.random.default_rng([5, i]).normal(size=Z_DIM) for i in range(count)])
    return factors_from_z(z.astype(np.float32))


def labels_at(drawing: Drawing, points: np.ndarray, radius: int = 0) -> list[set[int]]:
    found = []
    for x, y in np.floor(points).astype(int):
        top, left = max(y - radius, 0), max(x - radius, 0)
        found.append(set(drawing.labels[top : y + radius + 1, left : x + radius + 1].ravel().tolist()))
    return found


def test_factors_from_z_ignores_scale():
    z = np.random.default_rng(0).normal(size=(3, 64))
    assert np.allclose(factors_from_z(z), factors_from_z(7.0 * z))
    assert factors_from_z(z).shape == (3, len(FACTORS))


def test_factors_from_z_refuses_other_lengths():
    with pytest.raises(ValueError, match="got shape .*expected"):
        factors_from_z(np.zeros((2, 63)))


def test_draw_is_deterministic():
    factors = random_faces(1)[0]
    first, second = crop(factors), crop(factors)
    for name in ("image", "labels", "landmarks", "coverage"):
        assert np.array_equal(getattr(first, name), getattr(second, name))


def test_draw_gives_the_promised_arrays():
    drawing = draw(face(), (80, 64), np.array([[20.0, 0, 40], [0, 20, 32]]))
    assert drawing.image.shape == (64, 80, 3) and drawing.image.dtype == np.uint8
    assert drawing.labels.shape == (64, 80) and drawing.labels.dtype == np.uint8
    assert drawing.landmarks.shape == (68, 2) and drawing.landmarks.dtype == np.float32
    assert drawing.coverage.shape == (64, 80) and drawing.coverage.dtype == np.float32
    assert drawing.coverage.min() == 0 and drawing.coverage.max() <= 1 + 1e-6


def test_draw_leaves_a_given_backdrop_where_nobody_is():
    behind = backdrop(2, (SIZE, SIZE), "busy")
    factors = face()
    drawing = draw(factors, (SIZE, SIZE), crop_placement(factors, SIZE), behind)
    bare = drawing.coverage == 0
    assert bare.mean() > 0.1
    assert np.abs(drawing.image[bare].astype(int) - behind[bare]).max() <= 1


def test_draw_does_not_depend_on_a_gradient_for_coverage():
    factors = random_faces(2)[1]
    plain = crop(factors)
    behind = np.zeros((SIZE, SIZE, 3), np.uint8)
    over = draw(factors, (SIZE, SIZE), crop_placement(factors, SIZE), behind)
    assert np.array_equal(plain.coverage, over.coverage)
    assert np.array_equal(plain.labels, over.labels)


@pytest.mark.parametrize("index", range(6))
def test_landmarks_agree_with_labels(index):
    factors = random_faces(6)[index]
    factors[FACTORS.index("fringe")] = -1.0
    factors[FACTORS.index("eyes_open")] = 0.5
    factors[FACTORS.index("yaw")] *= 0.5
    drawing = crop(factors, 128)
    eyes = labels_at(drawing, drawing.landmarks[36:48].reshape(2, 6, 2).mean(axis=1))
    assert all(found & {*EYES, GLASSES} for found in eyes)
    corners = labels_at(drawing, drawing.landmarks[[48, 54]], 2)
    assert all(found & {UPPER_LIP, LOWER_LIP, MOUTH} for found in corners)
    assert labels_at(drawing, drawing.landmarks[[30]], 1)[0] & {NOSE}
    brows = labels_at(drawing, drawing.landmarks[[19, 24]], 1)
    assert all(found & {*BROWS, GLASSES} for found in brows)
    rims = labels_at(drawing, drawing.landmarks[36:48], 1)
    assert all(found & {SKIN, *EYES, GLASSES} for found in rims)


def test_landmarks_are_those_of_draw():
    factors = random_faces(1)[0]
    placement = crop_placement(factors, SIZE)
    assert np.array_equal(landmarks(factors, placement), crop(factors).landmarks)


def test_landmarks_scale_with_the_placement():
    factors = random_faces(1)[0]
    assert np.allclose(landmarks(factors, crop_placement(factors, 64)) * 2,
                       landmarks(factors, crop_placement(factors, 128)), atol=1e-3)


@pytest.mark.parametrize("index", range(5))
def test_crop_placement_follows_the_ffhq_rule(index):
    factors = random_faces(5)[index]
    points = landmarks(factors, crop_placement(factors, 200)).astype(np.float64)
    left, right = points[36:42].mean(0), points[42:48].mean(0)
    eye, mouth = (left + right) / 2, (points[48] + points[54]) / 2
    across, down = right - left, mouth - eye
    x = across - np.flipud(down) * [-1, 1]
    x = x / np.hypot(*x) * max(np.hypot(*across) * 2.0, np.hypot(*down) * 1.8)
    y = np.flipud(x) * [-1, 1]
    centre = eye + 0.1 * down
    quad = np.stack([centre - x - y, centre - x + y, centre + x + y, centre + x - y])
    assert np.allclose(quad, [(0, 0), (0, 200), (200, 200), (200, 0)], atol=1e-2)


@pytest.mark.parametrize("index", range(len(FACTORS)))
def test_draw_is_continuous_in_every_factor(index):
    factors = random_faces(1)[0]
    moved = factors.copy()
    moved[index] += 0.01
    placement = crop_placement(factors, 48)
    first = draw(factors, (48, 48), placement).image.astype(float)
    second = draw(moved, (48, 48), placement).image.astype(float)
    assert np.abs(first - second).mean() < 1.0


@pytest.mark.parametrize("name", ["glasses", "eyes_open", "mouth_open", "beard", "hair_length"])
def test_draw_is_continuous_where_parts_appear(name):
    pictures = [draw(face(**{name: value}), (40, 40), crop_placement(face(), 40)).image.astype(float)
                for value in np.linspace(-2.5, 2.5, 17)]
    steps = [np.abs(b - a).mean() for a, b in zip(pictures, pictures[1:], strict=False)]
    assert max(steps) < 12.0


def test_glasses_grow_with_their_factor():
    areas = [(crop(face(glasses=v)).labels == GLASSES).sum() for v in (-2.0, 0.0, 0.6, 1.4, 2.4)]
    assert areas[0] == areas[1] == 0 < areas[2]
    assert areas == sorted(areas)


def test_beard_darkens_the_chin():
    shades = []
    for value in (-1.0, 0.3, 1.0, 2.2):
        drawing = crop(face(beard=value, hair_lightness=-1.5))
        mouth, chin = drawing.landmarks[57], drawing.landmarks[8]
        x, y = np.floor(mouth + 0.55 * (chin - mouth)).astype(int)
        shades.append(drawing.image[y - 2 : y + 3, x - 3 : x + 4].mean())
    assert shades[0] > shades[1] > shades[2]
    assert shades[3] < shades[2] + 3  # a full beard can get no darker, only longer


def test_hair_length_grows_the_hair():
    areas = [(crop(face(hair_length=v)).labels == HAIR).sum() for v in (-2.0, -0.5, 0.5, 2.0)]
    assert all(b > 1.03 * a for a, b in zip(areas, areas[1:], strict=False))


def test_smile_lifts_the_mouth_corners():
    def lift(value: float) -> float:
        points = crop(face(smile=value)).landmarks
        return float(points[[51, 57], 1].mean() - points[[48, 54], 1].mean())

    assert lift(-2) < lift(0) < lift(2)


def test_mouth_open_shows_the_mouth():
    areas = [(crop(face(mouth_open=v)).labels == MOUTH).sum() for v in (-1.0, 1.0, 2.5)]
    assert areas[0] <= 2 and areas[0] < areas[1] < areas[2]


def test_eyes_open_hides_the_eyes_in_a_blink():
    areas = [np.isin(crop(face(eyes_open=v)).labels, EYES).sum() for v in (-2.5, -1.3, 0.0)]
    assert areas[0] <= 3 and areas[0] < areas[1] < areas[2]


def test_lipstick_reddens_the_lips():
    def redness(value: float) -> float:
        drawing = crop(face(lipstick=value))
        lips = drawing.image[np.isin(drawing.labels, (UPPER_LIP, LOWER_LIP))].astype(float)
        return float((lips[:, 0] - lips[:, 1]).mean())

    assert redness(-1) < redness(0.6) < redness(2)


def test_hair_lightness_lightens_the_hair():
    def shade(value: float) -> float:
        drawing = crop(face(hair_lightness=value))
        return float(drawing.image[drawing.labels == HAIR].mean())

    assert shade(-2) + 20 < shade(0) < shade(2) - 20


def test_yaw_hides_the_far_ear():
    bald = {"hair_length": -2.5}
    straight, turned = (np.bincount(crop(face(yaw=v, **bald)).labels.ravel(), minlength=19) for v in (0.0, 2.2))
    assert straight[EARS[0]] > 15 and straight[EARS[1]] > 15
    assert turned[EARS[1]] < 0.35 * straight[EARS[1]]
    assert turned[EARS[0]] > turned[EARS[1]]


@pytest.mark.parametrize("values, wrong", [
    ({"factors": np.zeros(3)}, "factors"),
    ({"factors": np.full(len(FACTORS), np.nan)}, "finite"),
    ({"placement": np.eye(3)}, "placement"),
    ({"placement": np.zeros((2, 3))}, "placement"),
    ({"size": (0, 10)}, "size"),
    ({"backdrop": np.zeros((4, 4, 3), np.uint8)}, "backdrop"),
])
def test_draw_refuses(values, wrong):
    given = {"factors": face(), "size": (16, 16), "placement": np.array([[5.0, 0, 8], [0, 5, 8]]), **values}
    with pytest.raises(ValueError, match=rf"(?s){wrong}.*expected|expected.*{wrong}"):
        draw(**given)


def test_crop_placement_refuses_no_size():
    with pytest.raises(ValueError, match="size: got 0"):
        crop_placement(face(), 0)


def test_look_of_is_finite_far_out():
    for value in (-6.0, 6.0):
        look = appearance_of(np.full(len(FACTORS), value))
        assert np.isfinite(np.hstack([np.ravel(part) for part in look])).all()


def test_caption_is_true_to_the_factors():
    rng = np.random.default_rng(0)
    with_glasses = [BOOK.caption(face(glasses=1.8), rng) for _ in range(60)]
    assert any("glasses" in text or "spectacles" in text for text in with_glasses)
    assert not any("no glasses" in text or "without glasses" in text for text in with_glasses)
    without = [BOOK.caption(face(glasses=-1.5), rng) for _ in range(60)]
    assert all("glasses" not in t.replace("without glasses", "").replace("no glasses", "") for t in without)
    assert not any("woman" in BOOK.caption(face(gender=-2), rng).split() for _ in range(40))


def test_caption_varies():
    rng = np.random.default_rng(1)
    factors = random_faces(1)[0]
    assert len({BOOK.caption(factors, rng) for _ in range(40)}) > 15


def test_backdrop_is_the_seeds():
    first, again, other = (backdrop(seed, (80, 60), "busy") for seed in (4, 4, 10))
    assert first.shape == (60, 80, 3) and first.dtype == np.uint8
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_backdrop_busy_has_more_texture_than_plain():
    def texture(kind: str) -> float:
        pictures = [cv2.GaussianBlur(backdrop(s, (96, 72), kind), (0, 0), 1.0).astype(float) for s in range(6)]
        return float(np.mean([np.abs(np.diff(p, axis=1)).mean() for p in pictures]))

    assert texture("busy") > 2 * texture("plain")


def test_backdrop_refuses_an_unknown_kind():
    with pytest.raises(ValueError, match="kind: got 'forest'"):
        backdrop(0, (32, 32), "forest")
