import json

import cv2
import numpy as np
import pytest
import torch

from stitch.__main__ import main
from stitch.core.errors import VideoError
from stitch.families import load
from stitch.study.fairness import Person, summary, typology_angle
from tests.conftest import BACKGROUND, disc


def photo(path, skin=(220, 150, 110)):
    picture = np.full((128, 176, 3), BACKGROUND, np.uint8)
    disc(picture, 88, 64, 40, skin)
    cv2.imwrite(str(path), picture[..., ::-1])


@pytest.mark.parametrize(("levels", "degrees"), [((236, 205, 185), 67), ((190, 140, 105), 25), ((92, 60, 42), -53)])
def test_typology_angle_is_that_of_the_median_skin(levels, degrees):
    crop = torch.full((3, 8, 8), -1.0)
    crop[:, 2:6] = torch.tensor(levels)[:, None, None] / 127.5 - 1
    skin = torch.zeros(4, 4, dtype=torch.bool)
    skin[1:3] = True
    assert typology_angle(crop, skin) == pytest.approx(degrees, abs=3)
    with pytest.raises(VideoError, match="no skin"):
        typology_angle(crop, ~torch.ones(4, 4, dtype=torch.bool))


def test_summary_gives_every_group_its_mean_and_an_interval_that_holds_it():
    people = [Person(str(number), {"sex": "female" if number % 2 else "male"}, {"found": 1.0, "likeness": number / 10})
              for number in range(10)]
    table = summary([*people, Person("lost", {"sex": "male"}, {"found": 0.0})])
    assert table["all"]["everybody"]["people"] == 11 and table["sex"]["male"]["people"] == 6
    mean, lower, upper = table["sex"]["female"]["likeness"]
    assert mean == 0.5 and 0.1 < lower < 0.45 and 0.55 < upper < 0.9
    assert table["sex"]["male"]["found"][0] == pytest.approx(5 / 6, abs=1e-3)


def test_folder_of_photos_is_measured_by_its_labels_and_a_damaged_one_left_out(family, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(load, "load_family", lambda *_: family)
    photo(tmp_path / "anna.png")
    photo(tmp_path / "bert.png", (230, 190, 150))
    cv2.imwrite(str(tmp_path / "nobody.png"), np.full((64, 64, 3), BACKGROUND[::-1], np.uint8))
    (tmp_path / "torn.png").write_bytes(b"no picture")
    (tmp_path / "labels.json").write_text(json.dumps({"anna": {"sex": "female", "age": 70}, "nobody": {"age": 20}}))
    labels = str(tmp_path / "labels.json")
    assert main(["study", "fairness", str(tmp_path), "--labels", labels, "--out", str(tmp_path / "f")]) == 0
    told, kept = capsys.readouterr(), json.loads((tmp_path / "f" / "fairness.json").read_text())
    assert "left out" in told.err and "torn.png" in told.err and "60 and older" in told.out
    assert [one["name"] for one in kept["people"]] == ["anna.png", "bert.png", "nobody.png"]
    assert kept["summary"]["age"]["below 35"]["found"][0] == 0
    assert 0 < kept["summary"]["all"]["everybody"]["smile keeps"][0] <= 1


@pytest.mark.parametrize("labels", ["[]", "{", '{"anna": 3}'])
def test_fairness_refuses_labels_that_are_none_and_empty_folders(labels, family, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(load, "load_family", lambda *_: family)
    (tmp_path / "labels.json").write_text(labels)
    asked = ["study", "fairness", str(tmp_path), "--out", str(tmp_path / "f")]
    assert main([*asked, "--labels", str(tmp_path / "labels.json")]) == 1
    assert "not a list of labels" in capsys.readouterr().err
    assert main(asked) == 1 and "no photo in it" in capsys.readouterr().err
    more = [*asked[:3], str(tmp_path / "more"), *asked[3:]]
    assert main(more) == 1 and "one folder of photos" in capsys.readouterr().err
