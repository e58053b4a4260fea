import torch

from stitch.families.portrait.training import slopes
from tests.families.portrait import tiny

LIPS, SKIN, HAIR = (list(slopes.PARTS).index(name) for name in ("lips", "skin", "hair"))


def halves(images: torch.Tensor) -> torch.Tensor:
    """Lips to the left, hair to the right."""
    labels = torch.full((len(images), 16, 16), 12)
    labels[..., 8:] = 17
    return labels


def test_slopes_tell_how_colours_change():
    network = tiny.generator()
    w = torch.randn(2, 8, generator=torch.Generator().manual_seed(0))
    moved = torch.tensor([float(side > 4) for side in network.codes_px])
    seen = slopes.slopes(network, halves, w, moved)
    assert seen.colours.shape == (2, 6, 3) and seen.by_w.shape == (2, 6, 3, 8)
    step = 1e-2 * torch.randn(8, generator=torch.Generator().manual_seed(1))
    changed = torch.zeros(2, len(slopes.PARTS), 3)
    for row in range(2):
        codes = network.broadcast(w[row : row + 1])
        before, after = network(codes)[0], network(codes + moved[:, None] * step)[0]
        changed[row, LIPS], changed[row, HAIR] = (
            (after - before)[:, :, part].mean((1, 2)) for part in (slice(0, 16), slice(16, 32))
        )
    torch.testing.assert_close(seen.by_w @ step, changed, atol=2e-5, rtol=0.05)
    assert not seen.by_w[:, SKIN].any() and not seen.colours[:, SKIN].any()


def test_parts_split_skin_at_the_nose_and_at_the_sides_of_the_jaw():
    labels = torch.ones(1, 64, 64, dtype=torch.long)
    found = dict(zip(slopes.PARTS, slopes.parts(labels, 64), strict=True))
    assert found["skin"][:42].all() and not found["skin"][43:].any()
    assert found["jaw"][50, 32] and not found["jaw"][50, 10] and not found["jaw"][30].any() and not found["lips"].any()


def test_direction_changes_its_part_and_no_other():
    rng = torch.Generator().manual_seed(0)
    shared = torch.randn(1, len(slopes.PARTS), 3, 40, generator=rng)
    by_w = shared + 0.05 * torch.randn(24, len(slopes.PARTS), 3, 40, generator=rng)
    seen = slopes.Slopes(torch.rand(24, len(slopes.PARTS), 3, generator=rng), by_w)
    found = slopes.direction(slopes.WANTED["lipstick"], seen, torch.randn(500, 40, generator=rng))
    change = slopes.STEPS * (by_w @ found.vector).mean(0)
    wanted = torch.tensor(slopes.WANTED["lipstick"].change)
    torch.testing.assert_close(change[LIPS], wanted, atol=0.03, rtol=0)
    assert change[[SKIN, HAIR]].abs().max() < 0.03 and found.held_r2 > 0.9 and found.per_unit > 0
