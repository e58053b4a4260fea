"""F sets of weights for any generator, each drawing one sample of a batch."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.utils.checkpoint import checkpoint

from stitch.core.records import Kind, Noise


class Stack(nn.Module):
    """Copies of a generator's parameters of `kinds`, laid on a leading frame axis.

    On a CPU the frames are drawn one after another, elsewhere together by `vmap`, which leaves a GPU fewer and larger
    things to do (measured on a CPU with MobileStyleGAN at 256 px, four frames both ways: 1.9 s and 4.2 s).

    The losses of different frames share no weight and Adam is elementwise, so tuning the stack on F frames equals
    tuning F generators on one frame each. Everything else stays single and is the generator's own.

    Args:
        generator: see `stitch.families.family.Generator`; it is left as it is.
        frames: F >= 1.
    Attributes:
        frames: F.
    Raises:
        ValueError: frames < 1.
    """

    def __init__(self, generator: nn.Module, frames: int):
        super().__init__()
        if frames < 1:
            raise ValueError(f"stack: got {frames} frames, expected >= 1")
        self.frames = frames
        self._single = (_Either(generator),)  # in a tuple, so that its own parameters are not this module's
        single = dict(generator.named_parameters())
        self._kinds: dict[str, Kind] = dict(cast(Callable[[], dict[str, Kind]], generator.kinds)())
        self.weights = nn.ParameterList()
        for name in self._kinds:
            repeated = single[name].detach().expand(frames, *single[name].shape).contiguous()
            self.weights.append(nn.Parameter(repeated, requires_grad=single[name].requires_grad))

    def kinds(self) -> dict[str, Kind]:
        """As the generator's, by this module's own names."""
        return {f"weights.{index}": kind for index, kind in enumerate(self._kinds.values())}

    def forward(self, ws: Tensor, noise: Noise = "const", checkpointing: bool = False) -> Tensor:
        """Codes [F,L,D] -> pictures [F,3,R,R].

        With `checkpointing` the frames come one after another everywhere, each keeping nothing for the way back but its
        weights: what is computed anew there cannot pass through `vmap`.

        Raises:
            ValueError: samples are not as many as the sets of weights.
        """
        return self._each([ws], noise, checkpointing)

    def from_styles(self, styles: Sequence[Tensor], noise: Noise = "const", checkpointing: bool = False) -> Tensor:
        """The same from one style [F,C_l] a layer."""
        return self._each(list(styles), noise, checkpointing)

    def _at_once(self) -> bool:
        return self.weights[0].device.type != "cpu"

    def _each(self, codes: list[Tensor], noise: Noise, checkpointing: bool) -> Tensor:
        if len(codes[0]) != self.frames:
            raise ValueError(f"samples: got {len(codes[0])}, expected one per stacked set of weights ({self.frames})")
        (single,) = self._single
        weights = {f"generator.{name}": weight for name, weight in zip(self._kinds, self.weights, strict=True)}

        def one(own: dict[str, Tensor], sample: list[Tensor]) -> Tensor:
            return functional_call(single, own, ([row[None] for row in sample], noise))[0]

        if self._at_once() and not checkpointing:
            return vmap(one)(weights, codes)
        draw = partial(checkpoint, one, use_reentrant=False, preserve_rng_state=False) if checkpointing else one
        return torch.stack([draw({name: weight[row] for name, weight in weights.items()}, [code[row] for code in codes])
                            for row in range(self.frames)])


class _Either(nn.Module):
    """A generator behind one `forward`, which `functional_call` wants: codes [B,L,D] or styles [B,C_l]."""

    def __init__(self, generator: nn.Module):
        super().__init__()
        self.generator = generator

    def forward(self, codes: list[Tensor], noise: Noise) -> Tensor:
        if codes[0].ndim == 3:
            return self.generator(codes[0], noise)
        return cast(Callable[..., Tensor], self.generator.from_styles)(codes, noise)
