import av
import numpy as np
import pytest
import torch

from stitch.families.portrait.detector import read_detector
from stitch.networks import mtcnn
from tests import golden
from tests.families.portrait.packages import fetched


def test_scales_reach_from_the_smallest_face_to_the_whole_frame():
    scales = list(mtcnn._scales(100, 20, 0.5))
    assert scales == [0.6, 0.3, 0.15]
    assert list(mtcnn._scales(10, 20, 0.5)) == [0.6]


def test_squared_keeps_centre_and_longer_side():
    assert mtcnn._squared(torch.tensor([[0.0, 0.0, 4.0, 8.0]])).tolist() == [[-2.0, 0.0, 6.0, 8.0]]


def test_windows_leave_out_boxes_beyond_the_frame():
    picture = torch.zeros(1, 3, 20, 30)
    picture[:, :, :, 15:] = 255
    boxes, windows = mtcnn._windows(picture, torch.tensor([[-40.0, 0, -20, 20], [16, 1, 30, 20]]), 6)
    assert boxes.tolist() == [[16, 1, 30, 20]]
    assert torch.equal(windows[0], torch.full((1, 3, 6, 6), 127.5 / 128))


def test_largest_overlap_drops_a_box_inside_a_better_one():
    boxes = torch.tensor([[0.0, 0, 100, 100], [30, 30, 50, 50], [200, 0, 300, 100]])
    assert mtcnn._largest_overlap(boxes, torch.tensor([0.9, 0.8, 0.95]), 0.7).tolist() == [2, 0]


def test_detect_finds_nothing_in_an_empty_frame():
    torch.manual_seed(0)
    cascade = mtcnn.MTCNN(proposals=1.1)
    found = cascade.detect(np.zeros((40, 60, 3), np.uint8))
    assert found.boxes.shape == (0, 4) and found.scores.shape == (0,) and found.landmarks.shape == (0, 5, 2)


@pytest.mark.slow
def test_detect_finds_the_one_face_of_each_real_clip():
    clips = sorted(golden.REAL.glob("*.mp4"))
    if not clips:
        pytest.skip(f"no clips in {golden.REAL}")
    detector = read_detector(fetched())
    for clip in clips:
        with av.open(str(clip)) as container:
            frame = next(container.decode(video=0)).to_ndarray(format="rgb24")
        found = detector.detect(frame)
        assert len(found.boxes) == 1, clip.name
        left, right, nose, *mouth = found.landmarks[0]
        assert left[0] < nose[0] < right[0] and max(left[1], right[1]) < nose[1] < min(corner[1] for corner in mouth)
