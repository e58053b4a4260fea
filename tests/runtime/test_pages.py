import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

AVAILABLE = Path("/sys/kernel/mm/transparent_hugepage/enabled")

PROGRAM = """
import os, resource, sys
if __name__ == "__main__":
    print("born", os.getpid(), sys.argv[1:], flush=True)
    from stitch.runtime import pages
    if sys.argv[1] != "leave":
        pages.restart(keep=sys.argv[1] == "keep")
    arrays = [b"x" * 48_000_000 for _ in range(2)]
    large = sum(int(line.split()[1]) for line in open("/proc/self/smaps_rollup") if line.startswith("AnonHuge"))
    del arrays
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        array = b"x" * 48_000_000
        del array
    print("faults", resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    print("large", large)
    print("left", os.environ.get("GLIBC_TUNABLES", ""))
"""

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux") or os.confstr("CS_GNU_LIBC_VERSION") is None, reason="glibc alone has this"
)


@pytest.fixture
def started(tmp_path):
    """What the program prints that was started with an argument and with these settings of the user's."""
    def run(how: str, told: str = "") -> str:
        (tmp_path / "program.py").write_text(PROGRAM)
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "GLIBC_TUNABLES": told}
        command = [sys.executable, "-X", "utf8", "program.py", how, "two words"]
        return subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path, env=environment).stdout

    return run


def count(said: str, what: str) -> int:
    return int(re.search(rf"^{what} (\d+)", said, re.MULTILINE)[1])


def test_restart_starts_the_same_program_once_more_in_the_same_process(started):
    births = re.findall(r"^born .*", started("keep"), re.MULTILINE)
    assert len(births) == 2 and births[0] == births[1] and births[0].endswith("['keep', 'two words']")


def test_restart_leaves_no_settings_to_programs_that_are_started(started):
    assert started("keep").endswith("left \n")


def test_restart_respects_what_the_user_says(started):
    said = started("keep", "glibc.malloc.arena_max=3")
    assert said.count("born") == 1 and said.endswith("left glibc.malloc.arena_max=3\n")


def test_restart_spares_the_system_from_clearing_the_same_pages_again(started):
    assert count(started("keep"), "faults") < 0.5 * count(started("leave"), "faults")


@pytest.mark.skipif(
    not AVAILABLE.exists() or "[madvise]" not in AVAILABLE.read_text(), reason="large pages are for all or for nobody"
)
def test_restart_lays_arrays_in_large_pages(started):
    version = tuple(int(part) for part in os.confstr("CS_GNU_LIBC_VERSION").split()[1].split(".")[:2])
    if version < (2, 35):
        pytest.skip("this glibc has no such setting")
    assert count(started("leave"), "large") == 0
    assert count(started("share"), "large") > 50_000  # kB, of 96,000
