import pytest

from stitch.families.portrait import train


def test_main_names_the_parts_it_knows(capsys):
    with pytest.raises(SystemExit):
        train.main(["heads"])
    assert "unknown parts: heads; known: head256" in capsys.readouterr().err


def test_portraits_want_a_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="--people"):
        train.Places(tmp_path, tmp_path, None, None).portraits()
