import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from stitch.core.records import Regions
from stitch.methods.stit import results


class Precisions(TorchDispatchMode):
    """Keeps the precisions of all numbers of a picture's size that are computed while it is on."""

    def __init__(self, least: int):
        super().__init__()
        self.least, self.seen = least, set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        if isinstance(made, torch.Tensor) and made.numel() >= self.least:
            self.seen.add(made.dtype)
        return made


def test_measures_of_pictures_are_computed_in_float32_and_as_exactly():
    rng = np.random.default_rng(0)
    crop, tile = rng.integers(0, 256, (2, 1, 16, 16, 3)).astype(np.uint8)
    pictures = torch.from_numpy(rng.uniform(-1, 1, (3, 1, 3, 16, 16)).astype(np.float32))
    mask = torch.zeros(1, 1, 16, 16)
    mask[..., 4:, :] = 1
    with Precisions(mask.numel()) as precisions:
        edited, inverted, tuned = pictures
        found = results.measured(crop, tile, edited, {0: inverted[0]}, tuned, Regions(mask, mask, 1 - mask))
    assert torch.float32 in precisions.seen
    assert not precisions.seen & {torch.float64, torch.complex128}
    levels = ((pictures[2, 0].double() + 1) * 127.5).round().numpy().transpose(1, 2, 0)
    squares = np.square(levels - crop[0])[4:].mean()
    ring = np.abs(tile[0].astype(float) - crop[0])[:4].mean()
    assert np.isfinite(found).all()
    assert np.isnan(results.measured(crop, tile, edited, {}, tuned, Regions(mask, mask, 1 - mask))[0, 0])
    np.testing.assert_allclose(found[0, [1, 2, 4]], [10 * np.log10(255**2 / squares), ring, 0.75], rtol=1e-5)
