"""In how many digits the tuning loops compute: the only place that tells PyTorch.

Weights, losses, masks and Adam are float32 at every setting, and so is all that is done once a frame (encoder, masks,
measures, the pictures that are kept): what is worth shortening are the thousands of passes of the two loops.
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import torch

from stitch.core.errors import StitchError
from stitch.core.settings import ComputeSettings, Precision

Settled = Literal["fp32", "tf32", "bf16"]


@dataclass(frozen=True)
class Passes:
    """How the networks' passes in a tuning loop compute on the device at hand.

    Attributes:
        precision: of `settled`; weights, losses and Adam are float32 in any case.
        checkpointing: take less memory and more time for the same result.
    """

    precision: Settled = "fp32"
    checkpointing: bool = False

    @classmethod
    def of(cls, settings: ComputeSettings, device: torch.device, wide: bool = False) -> "Passes":
        """What the settings mean on a device; see `settled`.

        Raises:
            StitchError: the device cannot compute so.
        """
        return cls(settled(settings.precision, device, wide), settings.checkpointing)


def settled(asked: Precision, device: torch.device, wide: bool = False) -> Settled:
    """What a precision means on a device.

    "auto" is TF32 on a GPU of NVIDIA's, the cautious choice, for none was at hand to measure: it keeps float32's range
    and rounds only what goes into convolutions and matrix products. On a CPU it is float32, but bf16 where the CPU has
    instructions for it and the generator is wide enough to gain by them (docs/performance.md).

    Args:
        asked: the setting.
        device: that will compute.
        wide: whether most of the networks' time goes into large products of matrices.
    Raises:
        StitchError: the device cannot compute so.
    """
    if asked == "auto" and device.type == "cpu":
        return "bf16" if wide and multiplies_bf16() else "fp32"
    if asked == "auto":
        return "tf32" if device.type == "cuda" else "fp32"
    if asked not in possible(device):
        raise StitchError(
            f"precision {asked}: the device {device.type} cannot compute so; use {' or '.join(possible(device))}"
        )
    return asked


def possible(device: torch.device) -> tuple[Settled, ...]:
    """The precisions that a device knows, the most exact first."""
    if device.type == "cuda":
        half = torch.cuda.is_bf16_supported(including_emulation=False)
        return ("fp32", "tf32", "bf16") if half else ("fp32", "tf32")
    return ("fp32", "bf16") if device.type == "cpu" else ("fp32",)


def multiplies_bf16() -> bool:
    """Whether this machine's CPU has instructions for products of bf16: AVX512-BF16 or AMX.

    It is false, too, where an older PyTorch cannot tell.
    """
    found: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(found.get("avx512_bf16") or found.get("amx_bf16"))


@contextmanager
def float32_mode(precision: Settled, device: torch.device) -> Iterator[None]:
    """Around passes in both directions: whether a GPU rounds float32 to TF32. What was set before is restored.

    Never around a `yield`: the mode is the whole process's.

    Args:
        precision: of `settled`.
        device: that computes; only CUDA devices have the choice.
    """
    if device.type != "cuda":
        yield
        return
    products, convolutions = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    try:
        torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
        torch.backends.cudnn.allow_tf32 = precision == "tf32"
        yield
    finally:
        torch.set_float32_matmul_precision(products)
        torch.backends.cudnn.allow_tf32 = convolutions


def whole(device: torch.device) -> AbstractContextManager[object]:
    """Around what must stay as exact as its tensors are, whatever `forward_pass` does further out.

    Args:
        device: that computes.
    """
    known = torch.amp.is_autocast_available(device.type)  # not "meta", where networks are counted
    return torch.autocast(device.type, enabled=False) if known else nullcontext()


def forward_pass(precision: Settled, device: torch.device) -> AbstractContextManager[object]:
    """Around networks' forward pass alone: PyTorch's autocast under bf16. Their backward pass follows by itself.

    Args:
        precision: of `settled`.
        device: that computes.
    Returns:
        A context; results inside it may be bfloat16, and are float32 again after `.float()`.
    """
    return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else nullcontext()
