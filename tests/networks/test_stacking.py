"""F sets of weights for any generator."""

import pytest
import torch

from stitch.networks.mobilestylegan import MobileStyleGAN
from stitch.networks.stacking import Stack
from stitch.networks.stylegan2 import Generator
from tests.networks.plain import PlainGenerator


def generators():
    torch.manual_seed(0)
    mobile = MobileStyleGAN(32, 8, 2, {4: 8, 8: 16, 16: 8})
    made = [PlainGenerator(), Generator(32, 8, 2, {4: 8, 8: 8, 16: 8, 32: 8}), mobile]
    for name, buffer in mobile.named_buffers():
        if name.endswith(".noise"):
            buffer.normal_(std=0.1)
    for generator in made:
        generator.requires_grad_(False)
    return made


@pytest.fixture(params=[False, True], ids=["frame by frame", "all at once, as on a GPU"], autouse=True)
def at_once(request, monkeypatch):
    monkeypatch.setattr(Stack, "_at_once", lambda _: request.param)


@pytest.mark.parametrize("generator", generators(), ids=lambda one: type(one).__name__)
class TestStack:
    def codes(self, generator, frames=3):
        return torch.randn(frames, generator.num_ws, generator.w_dim, generator=torch.Generator().manual_seed(1))

    def test_stack_draws_what_the_generator_draws(self, generator):
        stack, ws = Stack(generator, 3), self.codes(generator)
        assert torch.allclose(stack(ws), generator(ws), atol=1e-5)
        assert torch.allclose(stack(ws, noise="none"), generator(ws, noise="none"), atol=1e-5)
        assert torch.allclose(stack.from_styles(generator.styles(ws)), generator(ws), atol=1e-5)

    def test_stack_has_the_kinds_of_the_generator(self, generator):
        stack = Stack(generator, 2)
        weights, single = dict(stack.named_parameters()), dict(generator.named_parameters())
        assert set(stack.kinds()) == set(weights)
        for (name, kind), (own, same) in zip(stack.kinds().items(), generator.kinds().items(), strict=True):
            assert kind == same and weights[name].shape == (2, *single[own].shape)

    @pytest.mark.parametrize("checkpointing", [False, True])
    def test_stack_frames_share_no_gradient(self, generator, checkpointing):
        stack = Stack(generator, 3).requires_grad_(True)
        stack(self.codes(generator), checkpointing=checkpointing)[1].square().sum().backward()
        for name, parameter in stack.named_parameters():
            assert parameter.grad[1].any(), name
            assert not parameter.grad[[0, 2]].any(), name

    def test_stack_has_the_gradients_of_what_the_generator_offers(self, generator):
        ws, slopes = self.codes(generator), []
        for stack in (Stack(generator, 3), generator.stacked(3)):
            stack.requires_grad_(True)
            for checkpointing in (False, True):
                stack(ws, checkpointing=checkpointing).square().sum().backward()
                weights = dict(stack.named_parameters())
                slopes.append([weights[name].grad.clone() for name in stack.kinds()])
                stack.zero_grad()
        for other in slopes[1:]:
            for one, two in zip(slopes[0], other, strict=True):
                torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-4)

    def test_stack_leaves_the_generator_alone(self, generator):
        before = {name: tensor.clone() for name, tensor in generator.state_dict().items()}
        for parameter in Stack(generator, 2).parameters():
            assert not parameter.requires_grad
            parameter.data.add_(1)
        assert all(torch.equal(before[name], tensor) for name, tensor in generator.state_dict().items())

    def test_stack_works_in_bf16(self, generator):
        stack, ws = Stack(generator, 3), self.codes(generator)
        with torch.autocast("cpu", torch.bfloat16):
            assert (stack(ws).float() - generator(ws)).abs().max() < 0.2

    def test_stack_refuses_wrong_numbers(self, generator):
        with pytest.raises(ValueError, match="samples: got 2, expected one per stacked set of weights"):
            Stack(generator, 3)(self.codes(generator, 2))
        with pytest.raises(ValueError, match="got 0 frames"):
            Stack(generator, 0)
