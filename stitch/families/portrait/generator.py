"""MobileStyleGAN for FFHQ from the package `random-face`, and our heads that end it at 256 or 512 px."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from stitch.core.errors import WeightsError
from stitch.families.about import Files
from stitch.networks.formats.checkpoints import existing, load_checkpoint
from stitch.networks.formats.openvino import Constant, read_constants
from stitch.networks.mobilestylegan import MobileStyleGAN

HEADS: Mapping[int, str] = {256: "head256", 512: "head512"}
"""Parts of the family that end the generator, by the size of the picture."""

RESOLUTION = 1024
CHANNELS: Mapping[int, int] = {4: 512, 8: 512, 16: 512, 32: 512, 64: 512, 128: 256, 256: 128, 512: 64}
W_DIM, MAPPING_LAYERS = 512, 8
MEAN_SAMPLES = 10_000

_BANDED = re.compile(
    r"synthesis\.(conv\.(weight|activation\.bias)|b\d+\.(conv2\.(pointwise|activation\.bias)|up\.affine\.(weight|bias))"
    r"|picture\.(weight|bias|affine\.(weight|bias)))"
)
"""Weights whose first axis is a block's channels or the picture's bands, which inverse wavelet transforms take."""


def read_generator(files: Files) -> MobileStyleGAN:
    """The published generator at 1024 px.

    Args:
        files: mapping.network, mapping.weights, generator.network, generator.weights: the package's OpenVINO files.
    Returns:
        The generator, frozen, on the CPU; its mean code is measured on 10,000 seeded samples.
    Raises:
        WeightsError: other files, or damaged.
    """
    mapping, synthesis = (
        read_constants(existing(files[f"{part}.network"]).read_bytes(), files[f"{part}.weights"].read_bytes(), part)
        for part in ("mapping", "generator")
    )
    state = mapping_state(mapping) | synthesis_state(synthesis)
    with torch.device("meta"):
        generator = MobileStyleGAN(RESOLUTION, W_DIM, MAPPING_LAYERS, CHANNELS)
    state["mapping.w_avg"] = torch.zeros(W_DIM)
    try:
        generator.load_state_dict(state, strict=True, assign=True)
    except RuntimeError as error:
        raise WeightsError(
            f"{files['generator.weights']}: not the weights of this generator ({error}); fetch them again"
        ) from error
    generator.eval().requires_grad_(False)
    z = torch.randn(MEAN_SAMPLES, generator.z_dim, generator=torch.Generator().manual_seed(0))
    generator.w_avg.copy_(generator.mapping(z).mean(0))
    return generator


def read_head(path: Path | str) -> dict[str, Tensor]:
    """The weights of one of our heads, float32.

    Raises:
        WeightsError: missing or damaged.
    """
    return {name: weight.float() for name, weight in load_checkpoint(path).items()}


def with_head(published: MobileStyleGAN, size: int, head: Mapping[str, Tensor]) -> MobileStyleGAN:
    """The generator up to the size of one of our heads.

    Args:
        published: of `read_generator`.
        size: of the pictures, one of `HEADS`.
        head: of `read_head`.
    Returns:
        The generator, frozen, on the CPU; it shares nothing with the published one.
    Raises:
        WeightsError: not the weights of such a head.
    """
    small = published.truncated(size)
    parameters = dict(small.named_parameters())
    if any(name not in parameters or parameters[name].shape != weight.shape for name, weight in head.items()):
        raise WeightsError(f"head{size}: not the weights of a head for {size} px; install Stitch again")
    small.load_state_dict(head, strict=False)
    return small.eval().requires_grad_(False)


def mapping_state(constants: Sequence[Constant]) -> dict[str, Tensor]:
    """Weights of the mapping network under our names: its matrices and vectors, in the order of the layers."""
    state: dict[str, Tensor] = {}
    for constant in constants:
        values = constant.values
        if values.dtype != np.float32 or values.size < 2:
            continue
        index = len(state) // 2
        state[f"mapping.fc.{index}.{'weight' if values.ndim == 2 else 'bias'}"] = _tensor(values)
    return state


def synthesis_state(constants: Sequence[Constant]) -> dict[str, Tensor]:
    """Weights of the synthesis under our names.

    The exporter left the affine layers, filters and biases their names. The folded pointwise (or dense) weights and the
    noise maps have none: behind a layer's depthwise weights (or the constant input) they stand in this order, right
    before its bias.
    """
    state: dict[str, Tensor] = {}
    unnamed: list[np.ndarray] = []
    for constant in constants:
        values, name = constant.values, constant.name
        if values.dtype != np.float32 or values.size < 2:
            continue
        if not name.startswith("m."):
            unnamed.append(values)
            continue
        key = _key(name)
        if key.endswith("activation.bias"):
            layer = key.removesuffix("activation.bias")
            if len(unnamed) < 2:
                raise WeightsError(f"{name}: weights and noise before it are missing; fetch the package again")
            weight, noise = unnamed[-2:]
            state[layer + ("weight" if weight.shape[-1] == 3 else "pointwise")] = _tensor(
                weight if weight.shape[-1] == 3 else weight.reshape(weight.shape[:2])
            )
            state[layer + "activation.noise"] = _tensor(noise.reshape(noise.shape[-2:]))
        if key.endswith((".bias", ".affine.bias")):
            values = values.reshape(-1)
        elif key.endswith("depthwise"):
            values = values.reshape(-1, 3, 3)
        elif key.endswith("picture.weight"):
            values = values.reshape(values.shape[:2])
        elif key.endswith("input"):
            values = values[0]
        state[key] = _tensor(values)
    for key in filter(_BANDED.fullmatch, state):
        state[key] = _interleaved(state[key])
    state["synthesis.picture.weight"] = _interleaved(state["synthesis.picture.weight"].T).T.contiguous()
    return state


def _interleaved(values: Tensor) -> Tensor:
    """The package holds the low band of all channels, then [C,3] high bands; we hold all four of each channel."""
    channels = len(values) // 4
    low, high = values[:channels], values[channels:].unflatten(0, (channels, 3))
    return torch.cat([low[:, None], high], dim=1).flatten(0, 1)


def _key(name: str) -> str:
    """Our name of an exported one, as m.layers.4.conv1.conv.modulation.weight."""
    parts = name.split(".")[1:]
    if parts[0] == "layers" and parts[2] != "to_img":
        parts = [f"b{8 << int(parts[1])}", *parts[2:]]
    elif parts[0] == "layers":
        parts = ["picture", *parts[3:]]
    elif parts[0] == "conv1":
        parts = ["conv", *parts[1:]]
    else:
        parts = parts[1:]
    path = ".".join(parts).replace("conv.modulation", "affine").replace("modulation", "affine")
    if path.startswith("conv.") or ".conv1." in path or ".conv2." in path:
        path = path.replace("conv.weight_dw", "depthwise").replace(".bias", ".activation.bias")
        path = path.replace("affine.activation.bias", "affine.bias")
    return "synthesis." + path.replace("picture.conv.weight", "picture.weight")


def _tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(values.copy())
