import numpy as np
import pytest

from stitch.core.records import Detections
from stitch.families.portrait.detector import SparingMTCNN
from stitch.networks.mtcnn import MTCNN


def test_detect_puts_what_mtcnn_is_unsure_of_below_a_half(monkeypatch):
    scores = np.array([0.999, 0.95, 0.89, 0.8], np.float32)
    asked = []

    def detect(self, frame, threshold):
        asked.append(threshold)
        kept = scores >= threshold
        return Detections(np.zeros((kept.sum(), 4)), scores[kept], np.zeros((kept.sum(), 5, 2)))

    monkeypatch.setattr(MTCNN, "detect", detect)
    found = SparingMTCNN().detect(np.zeros((8, 8, 3), np.uint8), 0.5)
    assert asked == [pytest.approx(0.8909, abs=1e-4)]
    assert found.scores == pytest.approx([0.994, 0.735], abs=1e-3) and len(found.boxes) == 2
    assert len(SparingMTCNN().detect(np.zeros((8, 8, 3), np.uint8), 0.0).scores) == 4
