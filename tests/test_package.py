"""What importing the package does to a process."""

import os
import subprocess
import sys

import pytest

import stitch

SHOWN = """
import os
os.getloadavg = lambda: ({load}, 0.0, 0.0)
import stitch
print(os.environ.get("OMP_WAIT_POLICY"), os.environ.get("GOMP_SPINCOUNT"))
"""


@pytest.mark.parametrize(("load", "given", "left"), [
    (1e6, {}, "None 1000"), (0.0, {}, "None None"), (1e6, {"GOMP_SPINCOUNT": "7"}, "None 7"),
    (1e6, {"OMP_WAIT_POLICY": "active"}, "active None"),
])
def test_threads_wait_briefly_awake_on_a_crowded_machine_unless_the_user_says_how(load, given, left):
    around = {name: value for name, value in os.environ.items() if name not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    shown = subprocess.check_output([sys.executable, "-c", SHOWN.format(load=load)], env=around | given, text=True)
    assert shown.strip() == left


def test_every_name_that_the_package_promises_is_there():
    assert all(hasattr(stitch, name) for name in stitch.__all__)
