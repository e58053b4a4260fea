"""`stitch weights`: what it shows, fetches and checks, with the variables that people know from the Hub."""

import hashlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

import weights
from stitch.__main__ import main
from stitch.cli.console import Console
from stitch.core.events import Progress
from stitch.families import ffhq, load
from stitch.store.local import Part
from tests import hub as faults
from tests.hub import Hub
from tests.stages import eventually

REPOSITORY = Path(__file__).resolve().parents[2]
CONTENT = bytes(range(256)) * 8192
PART = Part("ffhq", "parser", "79999_iter.pth", len(CONTENT), hashlib.sha256(CONTENT).hexdigest(), "MIT",
            ("hf://me/nets/79999_iter.pth",))


@pytest.fixture
def server():
    server = Hub()
    yield server
    server.close()


@pytest.fixture
def stored(server):
    """PART's place in the server's storage."""
    return server.put("me/nets", "79999_iter.pth", CONTENT)


@pytest.fixture
def command(server, stored, tmp_path):
    """Start the command as a program of its own, with a table of PART alone."""

    def started(*arguments, **variables):
        program = (
            "import sys; from dataclasses import replace; from stitch.store.local import Part\n"
            "from stitch.families import ffhq, load\n"
            f"load.known = lambda: dict(ffhq=replace(ffhq.ABOUT, parts=({PART!r},)))\n"
            "from stitch.__main__ import main; sys.exit(main(sys.argv[1:]))"
        )
        settings = {"HF_HOME": str(tmp_path / "home"), "HF_ENDPOINT": server.url, "HF_TOKEN": "hf_mine"} | variables
        return subprocess.Popen(
            [sys.executable, "-c", program, "weights", *arguments], cwd=REPOSITORY, text=True, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, env=os.environ | settings,
        )

    return started


def ended(process):
    out, err = process.communicate(timeout=600)
    assert "Traceback" not in out + err
    return process.returncode, out, err


def test_weights_fetch_heeds_the_hubs_variables_and_needs_no_network_afterwards(command, server, stored, tmp_path):
    code, out, err = ended(command("fetch"))
    assert code == 0 and "fetching 1 file, 2.1 MB, into" in err and "Licences: MIT" in err
    path = tmp_path / "home" / "assets" / "stitch" / "ffhq" / "79999_iter.pth"
    assert path.read_bytes() == CONTENT
    assert out.splitlines()[0] == "family ffhq: 1 file, 2.1 MB, all here"
    tokens = {(method, asked): headers.get("authorization") for method, asked, headers in server.requests}
    assert {token for (_, asked), token in tokens.items() if asked.startswith("/me/")} == {"Bearer hf_mine"}
    server.close()
    assert ended(command("fetch", HF_HUB_OFFLINE="1"))[0] == 0
    path.unlink()
    code, _, err = ended(command("fetch", HF_HUB_OFFLINE="1"))
    assert code == 1 and "HF_HUB_OFFLINE forbids to fetch it" in err.splitlines()[-1]


def test_weights_fetch_stopped_by_the_user_goes_on_later(command, server, stored, tmp_path):
    server.faults[stored] = [trickle]
    process = command("fetch")
    part = tmp_path / "home" / "assets" / "stitch" / "ffhq" / "79999_iter.pth.part"
    eventually(lambda: part.is_file() and part.stat().st_size > 0)
    process.send_signal(signal.SIGINT)
    code, _, err = ended(process)
    assert code == 130 and "the same command goes on from here" in err
    arrived = part.stat().st_size
    assert 0 < arrived < len(CONTENT)
    assert ended(command("fetch"))[0] == 0
    assert server.gets(stored)[1]["range"] == f"bytes={arrived}-"


def trickle(handler, content):
    """Some bytes, then a pause without an end."""
    return faults.hang(after=300_000)(handler, content)


def test_weights_fetch_explains_a_failure_in_one_line(command, server, stored):
    server.linked.clear()
    code, _, err = ended(command("fetch"))
    assert code == 1
    assert err.strip().splitlines()[-1].startswith(
        "stitch: error: 79999_iter.pth: no source gave the right file (hf://me/nets/79999_iter.pth: does not have it"
    )


@pytest.fixture
def table(monkeypatch, tmp_path):
    """A table of PART alone, in this process."""
    monkeypatch.setattr(load, "known", lambda: {"ffhq": replace(ffhq.ABOUT, parts=(PART,))})
    path = tmp_path / "cache" / "hub" / "assets" / "stitch" / "ffhq" / PART.file
    path.parent.mkdir(parents=True)
    return path


def said(capsys, *arguments):
    code = main(["weights", *map(str, arguments)])
    return code, *capsys.readouterr()


def test_weights_list_shows_what_is_here_and_what_is_not(table, capsys):
    code, out, _ = said(capsys, "list", "--json")
    (line,) = map(json.loads, out.splitlines())
    assert code == 0 and [(one["name"], one["state"], one["missing"]) for one in line["parts"]] == [
        ("parser", "missing", PART.size)
    ]
    table.write_bytes(CONTENT)
    assert "parser                  2.1 MB  not checked  MIT" in said(capsys, "list")[1]
    assert said(capsys, "verify")[0] == 0
    assert "parser                  2.1 MB  here         MIT" in said(capsys, "list")[1]


def test_weights_where_prints_paths(table, capsys, tmp_path):
    assert said(capsys, "where")[1].split() == ["ffhq", "parser", "-"]
    table.write_bytes(CONTENT)
    assert said(capsys, "where")[1].split() == ["ffhq", "parser", str(table)]
    (tmp_path / "own").mkdir()
    (mine := tmp_path / "own" / "79999_iter.pth").write_bytes(b"mine")
    assert said(capsys, "where", "--weights", tmp_path / "own")[1].split() == ["ffhq", "parser", str(mine)]


def test_weights_verify_fails_for_a_damaged_file_and_removes_it(table, capsys):
    table.write_bytes(CONTENT[:-1])
    code, out, err = said(capsys, "verify")
    assert code == 1 and "damaged" in out
    assert f"damaged: {table}; what was fetched has been deleted and can be fetched again" in err
    assert not table.exists()


def test_weights_list_of_the_real_table_shows_every_part(capsys):
    out = said(capsys, "list")[1]
    assert all(f"  {row.name} " in out and row.licence in out for row in weights.TABLE)


def test_weights_refuses_what_it_does_not_know(capsys):
    code, _, err = said(capsys, "fetch", "--family", "ffhq", "--only", "encode")
    assert code == 1 and "family ffhq: no part 'encode'; it has encoder, parser" in err
    for action in ("list", "fetch"):
        with pytest.raises(SystemExit):
            main(["weights", action, "--only", "encoder"])
        assert "--only: name the --family too" in capsys.readouterr().err


def test_commands_fetch_what_their_family_lacks(table, server, stored, family, monkeypatch, capsys):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(load, "needed", lambda name, tracker: [PART])
    monkeypatch.setattr(load, "load_family", lambda *_: family)
    assert main(["edits", "--family", "ffhq"]) == 0
    assert table.read_bytes() == CONTENT
    assert "fetching 1 file" in capsys.readouterr().err


def test_console_shows_bytes_with_their_rate_and_the_time_left():
    stream = io.StringIO()
    console = Console(as_json=False, quiet=False, stream=stream)

    def work():
        yield Progress("encoder", 0, 1_200_000_000, "byte")
        time.sleep(0.15)  # longer than the bar waits between two pictures
        yield Progress("encoder", 600_000_000, 1_200_000_000, "byte")

    stream.isatty = lambda: True
    console.watch(work())
    assert re.search(r"600M/1.20G \[\d\d:\d\d<\d\d:\d\d", stream.getvalue()) and "B/s" in stream.getvalue()
