"""StyleGAN2 generators from every file that holds one: names and layouts are brought to ours once.

NVIDIA's layout is ours; rosinality's is renamed; what else a file may be is told from its names.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from stitch.core.errors import WeightsError
from stitch.networks.formats.checkpoints import (
    State,
    check_sizes,
    existing,
    is_network_pickle,
    load_checkpoint,
    load_metadata,
    load_module,
    load_strictly,
    network_pickle,
    part,
)
from stitch.networks.stylegan2 import Generator, low_pass

MEAN_CODE_SAMPLES = 10_000
MOST_LAYERS = 64
"""Of a kind; more are no generator's, whose every second layer doubles the resolution."""

_LAYER = {
    "conv.weight": ("weight", lambda tensor: tensor.squeeze(0)),
    "conv.modulation.weight": ("affine.weight", lambda tensor: tensor),
    "conv.modulation.bias": ("affine.bias", lambda tensor: tensor),
    "noise.weight": ("noise_strength", lambda tensor: tensor.reshape(())),
    "activate.bias": ("bias", lambda tensor: tensor),
    "bias": ("bias", lambda tensor: tensor.flatten()),
}


def from_rosinality(state: State, latent_avg: Tensor) -> dict[str, Tensor]:
    """Renames the tensors of rosinality's layout to NVIDIA's; values and kernels stay as they are.

    Args:
        state: a generator's state dict (`g_ema` in published files).
        latent_avg: [D] or [L,D], the mean code beside it.
    Returns:
        The same weights in our names.
    Raises:
        WeightsError: a name belongs to no rosinality generator, or the filter is another.
    """
    latent_avg = latent_avg if latent_avg.ndim == 1 else latent_avg.mean(0)
    renamed = {"mapping.w_avg": latent_avg}
    for key, tensor in state.items():
        place, _, rest = key.partition(".")
        if place == "style":
            number, _, name = rest.partition(".")
            renamed[f"mapping.fc{_number(number) - 1}.{name}"] = tensor
        elif place == "input":
            renamed["synthesis.b4.const"] = tensor.squeeze(0)
        elif place == "noises":
            layer = "b4.conv1" if (index := _number(rest.removeprefix("noise_"))) == 0 else _rosinality_layer(index - 1)
            renamed[f"synthesis.{layer}.noise_const"] = tensor.reshape(tensor.shape[-2:])
        elif key.endswith(".kernel"):
            _check_filter(key, tensor, 4)
        else:
            if place in ("convs", "to_rgbs"):
                number, _, rest = rest.partition(".")
                layer = _rosinality_layer(_number(number)) if place == "convs" else f"b{8 << _number(number)}.torgb"
            elif place in ("conv1", "to_rgb1"):
                layer = "b4.conv1" if place == "conv1" else "b4.torgb"
            else:
                raise WeightsError(f"{key}: no part of a StyleGAN2 generator in rosinality's layout; use another file")
            if rest not in _LAYER:
                raise WeightsError(f"{key}: no part of a StyleGAN2 generator in rosinality's layout; use another file")
            name, change = _LAYER[rest]
            renamed[f"synthesis.{layer}.{name}"] = change(tensor)
    return renamed


def _number(text: str) -> int:
    """A layer's number in a name."""
    if (number := int(text)) > MOST_LAYERS:
        raise ValueError(f"layer {text[:20]}, expected at most {MOST_LAYERS}")
    return number


def _rosinality_layer(index: int) -> str:
    """Our name of rosinality's convs.{index}."""
    return f"b{8 << index // 2}.conv{index % 2}"


def _check_filter(key: str, tensor: Tensor, total: float) -> None:
    """The low-pass filter is a constant of the method; files carry copies."""
    if tensor.shape != (4, 4) or not torch.allclose(tensor.float(), low_pass() * (total / 4), atol=1e-4 * total):
        raise WeightsError(f"{key}: the up-sampling filter is not [1,3,3,1]; this generator is of another kind")


def generator_from_state(state: State, latent_avg: Tensor | None = None, conv_clamp: float | None = None) -> Generator:
    """A generator from its weights alone: every size is read from the tensors.

    Args:
        state: state dict in NVIDIA's layout (or ours, the same) or in rosinality's.
        latent_avg: [D] or [L,D], the mean code, which rosinality's files keep beside the state dict.
        conv_clamp: of features and colours; no tensor tells it (NVIDIA's FFHQ file: 256).
    Returns:
        The generator, frozen, on the CPU.
    Raises:
        WeightsError: another network's weights, incomplete, or rosinality's without a mean code.
    """
    if "input.input" in state and latent_avg is None:
        raise WeightsError("latent_avg: missing beside rosinality's generator; use a file that has it")
    tensors: dict[str, Tensor] = {}
    try:
        if "input.input" in state:
            state = from_rosinality(state, cast(Tensor, latent_avg))
        for key, tensor in state.items():
            if key.endswith(".resample_filter"):
                _check_filter(key, tensor, 1)
            else:
                tensors[key] = tensor
        resolutions = [int(key.split(".")[1][1:]) for key in tensors if key.endswith(".conv1.weight")]
        first = tensors["mapping.fc0.weight"]
        sizes: dict[str, Any] = {
            "resolution": max(resolutions),
            "style_dim": tensors["synthesis.b4.conv1.affine.weight"].shape[1],
            "mapping_layers": sum(key.startswith("mapping.fc") and key.endswith(".weight") for key in tensors),
            "channels": {size: tensors[f"synthesis.b{size}.conv1.weight"].shape[0] for size in resolutions},
            "conv_clamp": conv_clamp,
            "z_dim": first.shape[1],
            "mapping_width": first.shape[0],
        }
        with torch.device("meta"):
            sketch = Generator(**sizes)
    except (LookupError, ValueError, ArithmeticError, RuntimeError) as error:
        raise WeightsError(f"generator: no StyleGAN2 generator in these weights ({error}); use another file") from error
    check_sizes(sketch, tensors, "generator")
    return load_strictly(Generator(**sizes), tensors, "generator")


def load_generator(path: Path | str, conv_clamp: float | None = None) -> Generator:
    """A generator from any file that has one; where its mean code is missing it is measured.

    Args:
        path: ours (.safetensors), rosinality's (`g_ema` and `latent_avg`), e4e's (`decoder.*`), NVIDIA's network
            pickle, or a bare state dict.
        conv_clamp: as `generator_from_state`; ours and NVIDIA's pickles carry it themselves.
    Returns:
        The generator, frozen, on the CPU.
    Raises:
        WeightsError: see `load_checkpoint`, `generator_from_state`, `load_module`; the message says what else it is.
    """
    path = existing(path)
    if path.suffix == ".safetensors" and "arguments" in load_metadata(path):
        return load_module(path, Generator)
    try:
        if is_network_pickle(path):
            content, conv_clamp = network_pickle(path)
        else:
            content = load_checkpoint(path)
        return generator_from_checkpoint(content, conv_clamp)
    except WeightsError as error:
        if str(path) in str(error):
            raise
        raise WeightsError(f"{path}: {error}") from error


def generator_from_checkpoint(content: Mapping[str, Any], conv_clamp: float | None = None) -> Generator:
    """A generator from the content of a file, see `load_generator`.

    Args:
        content: of `load_checkpoint`.
        conv_clamp: as `generator_from_state`.
    Returns:
        The generator, frozen, on the CPU.
    Raises:
        WeightsError: there is none; the message says what else it is.
    """
    latent_avg = content.get("latent_avg")
    if isinstance(content.get("g_ema"), dict):
        content = content["g_ema"]
    elif isinstance(content.get("state_dict"), dict):
        content = part(content["state_dict"], "decoder.") or content["state_dict"]
    state = {key: t for key, t in content.items() if isinstance(t, Tensor) and key != "latent_avg"}
    if (reason := _other_kind(state)) is not None:
        raise WeightsError(f"{reason}; use a StyleGAN2 face generator, rosinality's (.pt) or NVIDIA's (.pkl)")
    if "input.input" not in state or isinstance(latent_avg, Tensor):
        return generator_from_state(state, latent_avg, conv_clamp)
    generator = generator_from_state(state, torch.zeros_like(state.get("style.1.bias", torch.empty(0))), conv_clamp)
    _measure_mean_code(generator)
    return generator


_OTHER_KINDS = (
    (("synthesis.input.", "synthesis.L0_"), "a StyleGAN3 generator, whose layers are of another make"),
    (("generator.progression.", "generator.to_rgb.", "g_running.", "synthesis.blocks.", "g_synthesis."),
     "a generator of the first StyleGAN, whose layers are of another make"),
    (("model.diffusion_model.", "first_stage_model.", "down_blocks.", "unet."),
     "a diffusion model, which has no codes to edit"),
    (("mapping.embed.",), "a generator that wants class labels, which a face does not have"),
    (("synthesis.b8.skip.",), "a StyleGAN2 generator of the residual make, not of the one used for faces"),
    (("b4.fromrgb.", "b8.fromrgb.", "b4.mbstd.", "b8.conv0.", "final_linear."), "a discriminator, without a generator"),
    (("encoder.", "input_layer.", "body."), "an encoder without a generator"),
    (("generator.", "psp.", "net.", "transformer.", "visual."), "weights of another kind of network"),
)


def _other_kind(state: State) -> str | None:
    """What weights without a StyleGAN2 generator are, from their names; None where they may be one."""
    if not state:
        return "it holds no weights under the names of a generator"
    for prefixes, kind in _OTHER_KINDS:
        if any(key.startswith(prefixes) for key in state):
            return f"it is {kind}"
    colours = state.get("synthesis.b4.torgb.weight", state.get("to_rgb1.conv.weight"))
    if colours is None:
        return f"no StyleGAN2 generator: it has {', '.join(list(state)[:2])} ... instead"
    if (count := [1, 1, 1, 1, *colours.shape][-4]) != 3:
        return f"it is a generator of pictures with {count} colours instead of 3"
    return None


@torch.no_grad()
def _measure_mean_code(generator: Generator) -> None:
    """Fills the mean code of a fresh generator whose file has none, as rosinality's programs do when they need it."""
    rng = torch.Generator().manual_seed(0)
    generator.w_avg.copy_(generator.mapping(torch.randn(MEAN_CODE_SAMPLES, generator.z_dim, generator=rng)).mean(0))
