"""MTCNN's weights, as the package `facenet-pytorch` has them, and what its scores mean here."""

from dataclasses import replace

import numpy as np
import torch

from stitch.core.errors import WeightsError
from stitch.core.records import Detections
from stitch.families.about import Files
from stitch.networks.formats.checkpoints import load_checkpoint
from stitch.networks.mtcnn import MTCNN

NETWORKS = ("pnet", "rnet", "onet")


POWER = 6.0
"""Scores are raised to it: MTCNN gives faces 0.99 and more, and a bent arm 0.8. A half is then what it calls 0.89."""


class SparingMTCNN(MTCNN):
    """MTCNN whose scores spread what it is unsure of over the lower half, where other detectors have it too."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("power", torch.tensor(POWER))  # so that what was found by another is not taken for its own

    def detect(self, frame: np.ndarray, threshold: float = 0.5) -> Detections:
        """As `MTCNN.detect`."""
        found = super().detect(frame, threshold ** (1 / POWER))
        return replace(found, scores=found.scores**POWER)


def read_detector(files: Files) -> MTCNN:
    """The face detector.

    Args:
        files: detector.pnet, detector.rnet, detector.onet.
    Returns:
        The detector, frozen, on the CPU.
    Raises:
        WeightsError: other files, or damaged.
    """
    states = {name: load_checkpoint(files[f"detector.{name}"]) for name in NETWORKS}
    try:
        return SparingMTCNN.from_states(states)
    except RuntimeError as error:
        raise WeightsError(f"{files['detector.pnet']}: not the weights of MTCNN ({error}); fetch them again") from error
