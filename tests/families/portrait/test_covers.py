import torch

from stitch.families.portrait.training.covers import covered


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def faces(count: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    skin = torch.zeros(count, 48, 48, dtype=torch.bool)
    skin[:, 12:40, 12:36] = True
    return torch.where(skin[:, None], 0.4, -0.6).expand(-1, 3, -1, -1).contiguous(), skin


def test_covered_says_what_it_hides_and_leaves_all_else_but_for_shadows():
    pictures, skin = faces()
    drawn, hidden = covered(pictures, skin, rng(), share=1.0)
    shares = hidden.float().mean((1, 2))
    assert (shares > 0).all() and shares.max() < 0.9
    moved = (drawn - pictures).abs().mean(1)
    assert moved[hidden].mean() > 5 * moved[~hidden].mean()
    assert (drawn <= pictures + 1e-5)[~hidden[:, None].expand_as(drawn)].float().mean() > 0.97  # shadows only darken
    assert drawn.abs().max() <= 1


def test_covered_leaves_the_other_share_alone_and_repeats():
    pictures, skin = faces()
    same, none = covered(pictures, skin, rng(), share=0.0)
    assert torch.equal(same, pictures) and not none.any()
    first, second = (covered(pictures, skin, rng(3))[0] for _ in range(2))
    assert torch.equal(first, second) and not torch.equal(first, pictures)


def test_a_face_without_skin_gets_things_only():
    pictures, skin = faces()
    drawn, hidden = covered(pictures, torch.zeros_like(skin), rng(), share=1.0)
    assert drawn.isfinite().all() and hidden.any()
