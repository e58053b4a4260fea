"""`make`: which PyTorch is asked for, on which machine, which clip the demo edits, and what happens where the network
gives nothing."""

import os
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


@pytest.fixture
def machine(tmp_path):
    """A machine of programs that are not what they seem; set_up() and make() run make on it."""
    return Machine(tmp_path)


class Machine:
    def __init__(self, folder):
        self.folder, self.env = folder, folder / "env"
        (self.env / "bin").mkdir(parents=True)
        (folder / "path").mkdir()
        self.program("path/uname", "echo Linux")
        self.program("path/nvidia-smi", "exit 9")
        self.pip('case "$*" in *--index-url*) exit ${CPU_FAILS:-0};; esac')

    def program(self, name, does):
        path = self.folder / name
        path.write_text(f"#!/bin/sh\n{does}\n")
        path.chmod(0o755)

    def pip(self, does):
        """What the environment's Python does when it is called as pip."""
        self.program("env/bin/python", f'echo "$@" >> {self.folder}/calls\n{does}')

    def set_up(self, **variables):
        """Returns make's output; fails if make does."""
        return self.make(str(self.env / "installed"), **variables)

    def make(self, *wanted, **variables):
        """Returns make's output; fails if make does."""
        places = {"PATH": f"{self.folder / 'path'}{os.pathsep}{os.environ['PATH']}"}
        names = [f"ENV={self.env}", f"PYTHON={sys.executable}"]
        done = subprocess.run(
            ["make", *names, *wanted], cwd=REPOSITORY, env=os.environ | places | variables,
            capture_output=True, text=True, timeout=120,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @property
    def calls(self):
        """Arguments of every call of pip."""
        calls = (self.folder / "calls").read_text().splitlines()
        return [call.removeprefix("-m pip --quiet --disable-pip-version-check ") for call in calls]


REST = "install -r requirements.txt"


def test_set_up_asks_for_the_build_for_the_cpu_first(machine):
    said = machine.set_up()
    first, rest = machine.calls
    assert first.startswith("install --index-url https://download.pytorch.org/whl/cpu ") and rest == REST
    wanted = [line for line in (REPOSITORY / "requirements.txt").read_text().splitlines() if line.startswith("torch")]
    assert len(wanted) == 2 and first.endswith(" ".join(wanted))
    assert "pip's default" not in said and (machine.env / "installed").exists()


def test_set_up_falls_back_to_pips_default_and_says_so(machine):
    said = machine.set_up(CPU_FAILS="1")
    assert machine.calls[-1] == REST and len(machine.calls) == 2
    assert "https://download.pytorch.org/whl/cpu gives no PyTorch for the CPU alone: pip's default is installed" in said
    assert (machine.env / "installed").exists()


@pytest.mark.parametrize(("program", "does"), [("path/nvidia-smi", "echo GPU 0"), ("path/uname", "echo Darwin")])
def test_set_up_takes_pips_default_where_there_is_a_card_or_another_system(machine, program, does):
    machine.program(program, does)
    machine.set_up()
    assert machine.calls == [REST]


@pytest.mark.parametrize(("fails", "family"), [("", "portrait"), ("1", "miniature")])
def test_demo_edits_the_portrait_where_it_can_be_fetched_and_the_drawn_face_elsewhere(machine, fails, family):
    machine.pip(f'case "$*" in *"weights fetch"*) exit {fails or 0};; esac')
    said = machine.make("demo", "EDIT=age=-2", "PRESET=draft")
    fetch, edit = machine.calls[-2:]
    assert fetch == "-m stitch weights fetch --family portrait"
    clip = f"stitch/families/{family}/samples/demo.mp4"
    assert edit.startswith(f"-m stitch edit {clip} -o out/demo.mp4 --family {family} ")
    assert "--edit age=-2 --preset draft" in edit and (REPOSITORY / clip).is_file()
    assert ("could not be fetched" in said) == bool(fails)


def test_demo_ends_where_fetching_is_stopped_or_the_edit_fails(machine):
    for command, status in (("weights fetch", 130), ("stitch edit", 1)):
        machine.pip(f'case "$*" in *"{command}"*) exit {status};; esac')
        with pytest.raises(AssertionError):
            machine.make("demo")
        assert f" {command.split()[-1]} " in machine.calls[-1], "nothing is run after it"


@pytest.mark.parametrize("clips", ["", "a.mp4 b.mp4"])
def test_study_draws_five_clips_compares_them_and_filmed_ones_where_they_are_named(machine, clips):
    place, records = machine.folder / "study", machine.folder / "records"
    made = ("drawn/ablation", "presets/presets", "length/length", "filmed/ablation")
    for record in (records / "x", *(place / name for name in made)):
        record.parent.mkdir(parents=True)
        record.with_suffix(".json").write_text(record.parent.name)
    machine.make("study", f"STUDY={place}", f"RECORDS={records}", f"CLIPS={clips}")
    studied = [call for call in machine.calls if " study " in call]
    drawn = [str(place / "clips" / f"drawn{seed}.mp4") for seed in range(9101, 9106)]
    assert [call.split()[3] for call in machine.calls if " sample " in call] == drawn
    assert studied[0].startswith(f"-m stitch study ablation {' '.join(drawn)} --family miniature")
    assert studied[1].startswith(f"-m stitch study presets {drawn[0]} --family miniature")
    assert studied[2].startswith(f"-m stitch study length {drawn[0]} --family miniature")
    assert [call.split(" --")[0] for call in studied[3:]] == ([f"-m stitch study ablation {clips}"] if clips else [])
    kept = {path.name: path.read_text() for path in records.iterdir() if path.name != "x.json"}
    assert kept == {f"{kind}.json": kind for kind in ("drawn", "presets", "length", "filmed")[: 4 if clips else 3]}


def index(folder, *wheels):
    """A package index on this disk; each wheel is (name, version, requirements)."""
    for name, version, needs in wheels:
        place = folder / name
        place.mkdir(parents=True)
        file = f"{name}-{version}-py3-none-any.whl"
        about = f"{name}-{version}.dist-info"
        with zipfile.ZipFile(place / file, "w") as wheel:
            lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
            wheel.writestr(f"{about}/METADATA", "\n".join([*lines, *(f"Requires-Dist: {need}" for need in needs), ""]))
            wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{about}/RECORD", "")
        (place / "index.html").write_text(f'<a href="{file}">{file}</a>')
    return f"file://{folder}"


@pytest.mark.parametrize(("offered", "installed"), [
    ([("torch", "2.9.0+cpu", []), ("torchvision", "0.24.0+cpu", ["torch==2.9.0"])],
     {"torch-2.9.0+cpu.dist-info", "torchvision-0.24.0+cpu.dist-info"}),
    ([("torch", "2.9.0+cpu", [])], set()),
    ([("torch", "2.9.0+cpu", []), ("torchvision", "0.24.1+cpu", ["torch==2.9.1"])], set()),
])
def test_set_up_takes_a_torch_and_a_torchvision_that_fit_or_neither(machine, offered, installed):
    place = machine.folder / "site"
    machine.pip(f'case "$*" in *--index-url*) {sys.executable} "$@" --target {place};; esac')
    url = index(machine.folder / "index", *offered)
    said = machine.set_up(CPU_INDEX=url, PIP_CONFIG_FILE=os.devnull, PIP_FIND_LINKS="", PIP_EXTRA_INDEX_URL="")
    assert {path.name for path in place.glob("*.dist-info")} == installed
    assert ("pip's default is installed" in said) == (not installed) and machine.calls[-1] == REST


def test_set_up_is_not_held_up_by_an_index_that_does_not_answer(machine):
    machine.pip(f'case "$*" in *--index-url*) {sys.executable} "$@" --target {machine.folder / "site"};; esac')
    began = time.monotonic()
    said = machine.set_up(
        CPU_INDEX="http://127.0.0.1:9/whl/cpu", PIP_CONFIG_FILE=os.devnull, PIP_FIND_LINKS="", PIP_EXTRA_INDEX_URL="",
        PIP_DEFAULT_TIMEOUT="180", PIP_RETRIES="9",
    )
    assert "pip's default is installed" in said and machine.calls[-1] == REST
    assert time.monotonic() - began < 60, "pip's own retries would take minutes"
