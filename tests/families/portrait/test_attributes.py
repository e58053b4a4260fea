import numpy as np
import pytest

from stitch.families.portrait.training import attributes, teachers


def face(**changes):
    """A grey face with a mesh of a plain oval, and labels that say nothing."""
    mesh = np.full((478, 2), 0.5, np.float32)
    mesh[[234, 454, 10, 152, 1]] = (0.2, 0.5), (0.8, 0.5), (0.5, 0.1), (0.5, 0.9), (0.5, 0.55)
    for (outer, inner, upper, lower), x in zip(attributes._EYES, (0.35, 0.65), strict=True):
        mesh[[outer, inner, upper, lower]] = (x - 0.05, 0.4), (x + 0.05, 0.4), (x, 0.38), (x, 0.42)
    for brow, x in zip(attributes._BROWS, (0.35, 0.65), strict=True):
        mesh[list(brow)] = (x, 0.3)
    angles = np.linspace(0, 2 * np.pi, 20, endpoint=False)
    ring = np.stack([np.cos(angles), np.sin(angles)], 1)
    mesh[list(attributes._OUTER_LIPS)] = np.array([0.5, 0.75]) + ring * 0.1
    mesh[list(attributes._INNER_LIPS)] = np.array([0.5, 0.75]) + ring * 0.02
    mesh[[13, 14]] = (0.5, 0.74), (0.5, 0.76)
    label = {
        "mesh": mesh, "expressions": np.zeros(52, np.float32), "age": np.float32(30), "male": np.float32(0.5),
        "hair": np.zeros((128, 128), np.uint8), "parts": np.zeros((128, 128), np.uint8),
    }  # fmt: skip
    image = np.full((128, 128, 3), 128, np.uint8)
    image[:40], label["hair"][:40] = 60, 255
    label.update(changes)
    return image, label


def measure(image, label):
    labels = _batch(label)
    found = attributes.measured(image[None], labels, labels["parts"])
    return {name: float(values[0]) for name, values in found.items()}


def _batch(label):
    return {name: np.asarray(value)[None] for name, value in label.items()}


def test_measured_reads_shapes_in_shares_of_the_face():
    found = measure(*face())
    assert found["mouth_open"] == pytest.approx(0.02 / 0.8, abs=1e-4)
    assert found["eyes_open"] == pytest.approx(0.4, abs=1e-4)
    assert found["brows"] == pytest.approx(1.0, abs=1e-4)
    assert found["yaw"] == pytest.approx(0.0, abs=1e-4)
    assert found["face_width"] == pytest.approx(0.75, abs=1e-4)
    assert found["gender"] == pytest.approx(0.0, abs=1e-4) and found["age"] == 30


def test_measured_reads_colours():
    plain, (image, label) = measure(*face()), face()
    image[:40] = (200, 180, 90)
    blond = measure(image, label)
    assert blond["hair_blond"] > plain["hair_blond"] and blond["hair_dark"] < plain["hair_dark"]
    image[80:112, 48:80] = (190, 60, 70)
    assert measure(image, label)["lipstick"] > plain["lipstick"] + 20
    assert plain["hair_length"] == 0 and plain["hair_amount"] == pytest.approx(40 / 128, abs=0.01)


def test_measured_says_nothing_of_the_colour_of_no_hair():
    image, label = face(hair=np.zeros((128, 128), np.uint8))
    assert np.isnan(measure(image, label)["hair_dark"])


def test_measured_counts_glasses():
    parts = np.zeros((128, 128), np.uint8)
    parts[40:60, 20:100] = attributes.GLASSES
    assert measure(*face(parts=parts))["glasses"] == pytest.approx(20 * 80 / 128**2)


def test_named_reads_grimaces_and_red_hair():
    image, label = face()
    label["expressions"][list(attributes.GRIMACES["frown"])] = 0.6
    found = attributes.named(image[None], _batch(label), label["parts"][None])
    image[:40] = (150, 60, 40)
    red = attributes.named(image[None], _batch(label), label["parts"][None])
    assert found["frown"][0] == pytest.approx(0.6) and found["pucker"][0] == 0
    assert red["hair_red"][0] > found["hair_red"][0] + 20


def test_standardised_keeps_the_order_and_gives_equals_one_place():
    found = attributes.standardised(np.array([3.0, 0.0, 0.0, np.nan, 0.0, 9.0]))
    assert found[1] == found[2] == found[4] < 0 < found[0] < found[5] and found[3] == 0


def test_teachers_want_a_folder_with_their_program(tmp_path):
    with pytest.raises(FileNotFoundError, match="--teachers"):
        teachers.Teachers(tmp_path)
