"""What importing the package does to a process."""

import os
import subprocess
import sys

import pytest

SHOWN = "import stitch, os; print(os.environ.get('OMP_WAIT_POLICY'), os.environ.get('GOMP_SPINCOUNT'))"


@pytest.mark.parametrize(("given", "left"), [
    ({}, "None 1000"), ({"GOMP_SPINCOUNT": "7"}, "None 7"), ({"OMP_WAIT_POLICY": "active"}, "active None"),
])
def test_threads_wait_briefly_awake_unless_the_user_says_how(given, left):
    around = {name: value for name, value in os.environ.items() if name not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    shown = subprocess.check_output([sys.executable, "-c", SHOWN], env=around | given, text=True)
    assert shown.strip() == left
