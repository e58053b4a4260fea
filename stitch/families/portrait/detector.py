"""MTCNN's weights from the package `facenet-pytorch`."""

from collections.abc import Mapping
from pathlib import Path

from stitch.core.errors import WeightsError
from stitch.networks.formats.wheel import read_states
from stitch.networks.mtcnn import MTCNN

PACKAGE = "facenet-pytorch==2.6.0"
WHEEL_FILES: Mapping[str, str] = {
    "facenet_pytorch/data/pnet.pt": "a2a71925e0b9996a42f63e47efc1ca19043e69558b5c523b978d611dfae49c8f",
    "facenet_pytorch/data/rnet.pt": "bbb937de72efc9ef83b186c49f5f558467a1d7e3453a8ece0d71a886633f6a86",
    "facenet_pytorch/data/onet.pt": "165bfbe42940416ccfb977545cf0e976d5bf321f67083ae2aaaa5c764280118d",
}
"""Member of the wheel -> sha256."""


def read_detector(wheel: Path | str) -> MTCNN:
    """The face detector.

    Args:
        wheel: of the package `facenet-pytorch`, as pip downloads it.
    Returns:
        The detector, frozen, on the CPU.
    Raises:
        WeightsError: another file, or damaged.
    """
    states = read_states(wheel, WHEEL_FILES)
    try:
        return MTCNN.from_states(states)
    except RuntimeError as error:
        raise WeightsError(f"{wheel}: the weights are not those of {PACKAGE} ({error}); fetch it again") from error
