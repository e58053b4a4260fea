import numpy as np

from stitch.families.portrait.training import people, teachers


class Taught:
    """Teachers that answer at once."""

    def mesh(self, crop):
        return np.full((478, 2), crop.shape[0] / 2, np.float32)

    def expressions(self, points):
        return {str(index): index / 52 for index in range(52)}

    def age_and_gender(self, crop, points):
        return 40.0, 0.25, np.ones(1024)

    def hair(self, crop):
        return np.full((128, 128), 0.5, np.float32)

    def parse(self, crop):
        return np.full((128, 128), 17, np.uint8)


def test_looks_and_parsed_keep_what_the_teachers_say(tmp_path):
    images = np.zeros((10, 64, 64, 3), np.uint8)
    labels = teachers.looks(tmp_path / "looks", images, Taught())
    assert labels["mesh"].shape == (10, 478, 2) and (labels["mesh"] == 0.5).all()
    assert labels["expressions"][3, 26] == np.float32(0.5)
    assert labels["age"].tolist() == [40.0] * 10 and labels["male"][0] == 0.25
    assert labels["hair"][9, 5, 5] == 128
    assert (teachers.parsed(tmp_path / "parts", images, Taught()) == 17).all()


def test_with_hair_trusts_the_hair_teacher_where_it_is_sure():
    parts = np.array([[[0, 0, 17, 17, 1]]], np.uint8)
    hair = np.array([[[255, 100, 0, 100, 255]]], np.uint8)
    assert teachers.with_hair(parts, hair).tolist() == [[[17, 0, 0, 17, 1]]]


def test_sided_names_sides_by_where_they_lie():
    parts = np.array([[[2, 3, 4, 17, 8, 1, 7, 8, 4, 5, 2, 0]]], np.uint8)
    assert teachers.sided(parts).tolist() == [[[2, 2, 4, 17, 7, 1, 8, 8, 5, 5, 3, 0]]]


def test_aligned_is_ffhqs_square():
    points = np.zeros((478, 2))
    points[[33, 133]], points[[263, 362]] = (192, 240), (320, 240)
    points[61], points[291] = (208, 368), (304, 368)
    picture = np.zeros((512, 512, 3), np.uint8)
    picture[240:272, 240:272] = 255  # about 0.1 of the way from the eyes to the mouth
    crop = people.aligned(picture, points)
    assert crop.shape == (256, 256, 3)
    rows, columns = np.nonzero(crop[..., 0] > 128)
    assert abs(rows.mean() - 128) < 3 and abs(columns.mean() - 128) < 3
