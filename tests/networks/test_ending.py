"""The last blocks by themselves, of every generator."""

import pytest
import torch

from stitch.networks.ending import Ending, shifted
from stitch.networks.mobilestylegan import MobileStyleGAN
from stitch.networks.stylegan2 import Generator
from tests.networks.plain import PlainGenerator

WIDE = {4: 16, 8: 16, 16: 8, 32: 8}


def makers():
    whole = MobileStyleGAN(64, 8, 1, WIDE)
    return {
        "stylegan2": Generator(32, 8, 1, WIDE), "mobile": whole, "mobile, truncated": whole.truncated(32),
        "plain": PlainGenerator(),
    }


@pytest.fixture(params=["stylegan2", "mobile", "mobile, truncated", "plain"])
def generator(request):
    torch.manual_seed(3)
    made = makers()[request.param]
    for parameter in made.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.3)
    return made.requires_grad_(False)


def styles_of(generator, samples: int) -> list[torch.Tensor]:
    codes = torch.randn(samples, generator.num_ws, generator.w_dim, generator=torch.Generator().manual_seed(1))
    return generator.styles(codes)


def residuals_of(ending: Ending, scale: float = 0.0) -> list[torch.Tensor]:
    rng = torch.Generator().manual_seed(2)
    return [(scale * torch.randn(shape, generator=rng)).requires_grad_(True) for shape in ending.shapes]


def test_ending_without_residuals_draws_what_the_generator_draws(generator) -> None:
    styles = styles_of(generator, 2)
    ending = generator.ending(styles)
    torch.testing.assert_close(ending.draw(residuals_of(ending)), generator.from_styles(styles), atol=1e-5, rtol=0)


def test_every_residual_moves_its_own_sample_and_gets_a_gradient(generator) -> None:
    styles = styles_of(generator, 2)
    ending = generator.ending(styles)
    plain = generator.from_styles(styles)
    for place in range(len(ending.shapes)):
        residuals = residuals_of(ending)
        with torch.no_grad():
            residuals[place][1] = 0.5
        drawn = ending.draw(residuals)
        torch.testing.assert_close(drawn[0], plain[0], atol=1e-5, rtol=0)
        assert (drawn[1] - plain[1]).abs().max() > 1e-3
        drawn.square().sum().backward()
        assert all(residual.grad.abs().max() > 0 for residual in residuals)


def test_a_residual_moves_what_lies_near_it_alone(generator) -> None:
    styles = styles_of(generator, 1)
    ending = generator.ending(styles)
    first = residuals_of(ending)
    shape = ending.shapes[0]
    side = max(shape, key=shape.count)  # of a square, wherever its axes stand
    corner = first[0].detach()
    for axis in (index for index, size in enumerate(shape) if size == side):
        corner = corner.narrow(axis, 0, 1)
    corner.fill_(1.0)
    moved = (ending.draw(first) - generator.from_styles(styles)).abs().amax((0, 1))
    assert moved[:4, :4].max() > 1e-4 and moved[16:, 16:].max() < 1e-5


def test_checkpointing_gives_the_same_pictures_and_gradients(generator) -> None:
    styles = styles_of(generator, 2)
    found = []
    for checkpointing in (False, True):
        ending = generator.ending(styles, checkpointing=checkpointing)
        residuals = residuals_of(ending, 0.1)
        drawn = ending.draw(residuals)
        drawn.square().mean().backward()
        found.append([drawn, *(residual.grad for residual in residuals)])
    for plain, anew in zip(*found, strict=True):
        torch.testing.assert_close(plain, anew, atol=1e-6, rtol=1e-4)


def test_shifted_counts_in_each_samples_root_mean_square() -> None:
    features = torch.stack([torch.full((3, 4), 2.0), torch.full((3, 4), -5.0)])
    assert torch.equal(shifted(features, torch.full_like(features, 0.1)), features + features.abs() * 0.1)
    half = features.to(torch.bfloat16)
    assert shifted(half, torch.zeros_like(features)).dtype == torch.bfloat16


@pytest.mark.parametrize("name", ["stylegan2", "mobile"])
def test_ending_refuses_styles_of_another_generator(name) -> None:
    with pytest.raises(ValueError, match="styles: got 1"):
        makers()[name].ending([torch.zeros(1, 8)])


def test_a_generator_too_small_for_two_places_says_so() -> None:
    small = Generator(8, 8, 1, {4: 8, 8: 8})
    with pytest.raises(ValueError, match="got a generator of 8 px, expected 16 or more"):
        small.ending(styles_of(small, 1))
