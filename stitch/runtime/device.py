"""Where to compute, chosen once, at a door."""

import numpy as np
import torch

from stitch.core.errors import StitchError


def chosen(name: str = "auto") -> torch.device:
    """Where to compute, chosen once, at a door, before the first computation.

    On a CPU, numbers too small for full precision count as zero from here on: they slow tuning by a half. A GPU
    computes in whole float32 from here on; where less will do, `stitch.runtime.precision` says so.

    Args:
        name: "auto" takes a CUDA device if there is one; else "cpu", "cuda" or "mps".
    Raises:
        StitchError: this machine has no such device.
    """
    for kind in (np.float32, np.float64):
        np.finfo(kind)  # NumPy before 2.3 looks for the smallest numbers at the first call, and warns of none
    torch.set_flush_denormal(True)
    torch.backends.cudnn.allow_tf32 = False
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if (name == "cuda" and not torch.cuda.is_available()) or (name == "mps" and not torch.backends.mps.is_available()):
        raise StitchError(f"device {name}: this machine has none that torch can use; leave --device out")
    return torch.device(name)


def cuda_devices() -> int:
    """How many GPUs torch can use; 0 without CUDA."""
    return torch.cuda.device_count() if torch.cuda.is_available() else 0
