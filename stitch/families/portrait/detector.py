"""MTCNN's weights, as the package `facenet-pytorch` has them."""

from stitch.core.errors import WeightsError
from stitch.families.about import Files
from stitch.networks.formats.checkpoints import load_checkpoint
from stitch.networks.mtcnn import MTCNN

NETWORKS = ("pnet", "rnet", "onet")


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
        return MTCNN.from_states(states)
    except RuntimeError as error:
        raise WeightsError(f"{files['detector.pnet']}: not the weights of MTCNN ({error}); fetch them again") from error
