import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image

from stitch.core import images


def test_to_bytes_undoes_to_tensor_for_every_level() -> None:
    levels = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
    tensor = images.to_tensor(levels)
    assert tensor.shape == (3, 16, 16) and tensor.dtype == torch.float32
    assert (tensor.min(), tensor.max()) == (-1, 1)
    assert np.array_equal(images.to_bytes(tensor), levels)


def test_to_tensor_keeps_leading_axes_and_takes_tensors() -> None:
    batch = np.random.default_rng(0).integers(0, 256, (2, 5, 4, 6, 3), dtype=np.uint8)
    tensor = images.to_tensor(batch)
    assert tensor.shape == (2, 5, 3, 4, 6)
    assert torch.equal(images.to_tensor(torch.from_numpy(batch)), tensor)


def test_to_tensor_takes_read_only_arrays_and_refuses_other_types() -> None:
    frozen = np.zeros((2, 2, 3), np.uint8)
    frozen.setflags(write=False)
    assert (images.to_tensor(frozen) == -1).all()
    with pytest.raises(ValueError, match="uint8"):
        images.to_tensor(np.zeros((2, 2, 3), np.float32))


def test_to_bytes_rounds_and_clips() -> None:
    values = torch.tensor([-3.0, -1.0, 99.6 / 127.5 - 1, 99.4 / 127.5 - 1, 1.0, 7.0]).reshape(1, 1, 6)
    assert images.to_bytes(values)[0, :, 0].tolist() == [0, 0, 100, 99, 255, 255]


def test_to_bytes_takes_a_tensor_that_needs_gradients() -> None:
    assert images.to_bytes(torch.zeros(3, 2, 2, requires_grad=True)).tolist() == [[[128] * 3] * 2] * 2


def test_resize_keeps_a_ramp() -> None:
    ramp = torch.linspace(0, 1, 64).expand(1, 3, 64, 64)
    shrunk = images.resize(ramp, 16)
    assert torch.allclose(shrunk[..., 2:-2].diff(dim=-1), torch.full((1, 3, 16, 11), 4 / 63), atol=1e-6)


def test_resize_averages_when_antialiased() -> None:
    checks = torch.ones(1, 3, 8, 8)
    checks[..., ::2] = -1
    assert images.resize(checks, 2)[..., 1:].abs().max() < 0.2
    assert images.resize(checks, 8) is checks
    assert images.resize(checks, 16, antialias=False).shape == (1, 3, 16, 16)


def test_shrink_keeps_flat_colours_and_rounds_sizes() -> None:
    flat = np.full((50, 35, 3), (10, 120, 250), dtype=np.uint8)
    small = images.shrink(flat, 4)
    assert small.shape == (12, 9, 3)
    assert (small == (10, 120, 250)).all()
    assert images.shrink(flat, 1) is flat
    assert images.shrink(flat, 500).shape == (1, 1, 3)
    with pytest.raises(ValueError, match="factor"):
        images.shrink(flat, 0)


def test_enlarge_keeps_flat_colours_and_smooth_waves() -> None:
    flat = np.full((5, 4, 3), (10, 120, 250), dtype=np.uint8)
    assert images.enlarge(flat, 3).shape == (15, 12, 3)
    assert (images.enlarge(flat, 3) == (10, 120, 250)).all()
    assert images.enlarge(flat, 1) is flat
    wave = 127 + 100 * np.sin((np.arange(256) + 0.5) / 20)
    small = np.repeat(np.repeat(wave.reshape(64, 4).mean(1).round()[None, :, None], 8, 0), 3, 2).astype(np.uint8)
    assert np.abs(images.enlarge(small, 4)[16, 16:-16, 0] - wave[16:-16]).max() < 1.5
    with pytest.raises(ValueError, match="factor"):
        images.enlarge(flat, 0)


def test_jpeg_address_holds_the_picture_shrunk() -> None:
    address = images.jpeg_address(np.full((40, 80, 3), 200, np.uint8), 20)
    kind, _, content = address.partition(",")
    picture = Image.open(io.BytesIO(base64.b64decode(content)))
    assert kind == "data:image/jpeg;base64" and picture.size == (20, 10) and abs(picture.getpixel((5, 5))[0] - 200) < 3
