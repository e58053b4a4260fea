"""Files of weights: published formats are brought to our names once, our own are safetensors with the sizes inside.

Nothing pickled is ever executed: `pickled` looks through every pickle without running it, and PyTorch's files are then
read with weights_only=True. Every network is loaded on the CPU,
strictly, and comes back frozen in evaluation mode; moving it is the caller's business.
"""

import argparse
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from stitch.core.errors import WeightsError
from stitch.networks.e4e import Encoder, Inverter
from stitch.networks.formats import nvidia, pickled
from stitch.networks.stylegan2 import Generator, low_pass

State = Mapping[str, Tensor]
M = TypeVar("M", bound=nn.Module)
T = TypeVar("T")

MEAN_CODE_SAMPLES = 10_000


class Described(Protocol):
    """A network that knows its constructor's arguments, as plain JSON values."""

    @property
    def arguments(self) -> dict[str, Any]: ...


def freeze(module: M) -> M:
    """The module itself, in evaluation mode, asking for no gradients."""
    return module.eval().requires_grad_(False)


def load_checkpoint(path: Path | str) -> dict[str, Any]:
    """Reads a file of weights as it is; what kind of file it is, its content tells.

    Args:
        path: a .safetensors file, a file of PyTorch's (.pt, .pth, .bin), or a network pickle of NVIDIA's (.pkl).
    Returns:
        The file's content: a state dict, or a dict with state dicts in it; tensors on the CPU. Of a network pickle, the
        generator's state dict under "G_ema".
    Raises:
        WeightsError: missing, unreadable, or more than weights is inside.
    """
    path = _existing(path)
    if path.suffix == ".safetensors":
        return dict(_tensors(path))
    if _is_network_pickle(path):
        return {"G_ema": _of_pickle(path, _published)[0]}
    content = _of_torch(path)
    if not isinstance(content, dict):
        raise WeightsError(f"{path}: holds a {type(content).__name__}, expected named weights; use another file")
    return content


def load_array(path: Path | str) -> Tensor:
    """Reads a file that holds one array: a direction, or the channels' relevance.

    Args:
        path: NumPy's .npy, or one tensor in a file of PyTorch's.
    Returns:
        The array as float32, on the CPU.
    Raises:
        WeightsError: missing, unreadable, or something else is inside.
    """
    path = _existing(path)
    if _begins(path, _is_npy):
        try:
            # Mapped, an array cannot be larger than its file, whatever its header says.
            content = torch.from_numpy(np.array(np.load(path, mmap_mode="r", allow_pickle=False), np.float32))
        except (OSError, ValueError, EOFError, TypeError, OverflowError) as error:
            raise WeightsError(f"{path}: not an array of numbers, or damaged ({error}); fetch it again") from error
    else:
        content = _of_torch(path)
    if not isinstance(content, Tensor):
        raise WeightsError(f"{path}: holds a {type(content).__name__}, expected one array; use another file")
    return content.detach().float()


def load_statistics(path: Path | str) -> list[Tensor]:
    """The std of every style channel from StyleCLIP's file of means and stds (`S_mean_std`).

    Args:
        path: a pickle of two lists of arrays.
    Returns:
        One [C_l] float32 per layer, in the generator's order, toRGB layers included.
    Raises:
        WeightsError: missing, unreadable, or something else is inside.
    """
    path = _existing(path)
    content = _of_pickle(path, pickled.read)
    pair = content if isinstance(content, list | tuple) and len(content) == 2 else ((), ())
    stds = [array.values for array in pair[1] if isinstance(array, pickled.Array)]
    if not stds or len(stds) != len(pair[0]) or len(stds) != len(pair[1]):
        raise WeightsError(f"{path}: holds no means and stds of style channels; use StyleCLIP's S_mean_std")
    return [torch.from_numpy(np.array(values, np.float32).reshape(-1)) for values in stds]


def _existing(path: Path | str) -> Path:
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"{path}: no such weights file; check the name, or fetch the weights first")
    return path


def _begins(path: Path, test: Callable[[Path], bool]) -> bool:
    """What the first bytes of a file tell."""
    try:
        return test(path)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror}); check the permissions") from error


def _is_npy(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(6) == b"\x93NUMPY"


def _is_network_pickle(path: Path) -> bool:
    return not _begins(path, pickled.is_torch) and _begins(path, pickled.is_pickle)


def _published(path: Path) -> tuple[dict[str, Tensor], float | None]:
    """The state dict and the clamp of the generator in a network pickle."""
    network = nvidia.generator(path)
    return network.state(), network.conv_clamp


def _of_pickle(path: Path, read: Callable[[Path], T]) -> T:
    """What a reader that runs nothing makes of a pickle."""
    try:
        return read(path)
    except (pickled.Refused, OSError) as error:
        raise _refused(path, str(error)) from error


def _of_torch(path: Path) -> Any:
    """The content of a file of PyTorch's, whose sizes are checked before PyTorch reads it."""
    if _is_network_pickle(path):
        _of_pickle(path, pickled.read)
    if not _begins(path, pickled.is_torch):
        raise _refused(path, "not a PyTorch file of weights, or damaged")
    _of_pickle(path, pickled.check_torch)
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # A damaged or hostile file can fail in any way that a pickle can.
        raise _refused(path, "it is damaged, or with more than weights inside") from error


def _refused(path: Path, reason: str) -> WeightsError:
    return WeightsError(
        f"{path}: refused, for {reason}; a file of weights holds named numbers only: fetch it again, or use another"
    )


def load_metadata(path: Path | str) -> dict[str, str]:
    """Notes kept in a safetensors file; our own say which network it is, and its sizes.

    Args:
        path: .safetensors.
    Returns:
        The notes; empty where there are none.
    Raises:
        WeightsError: missing, or not a safetensors file.
    """
    path = _existing(path)
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return file.metadata() or {}
    except (safetensors.SafetensorError, OSError) as error:
        raise WeightsError(f"{path}: not a safetensors file, or damaged; fetch the file again") from error


def _tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file, on the CPU."""
    load_metadata(path)
    return safetensors.torch.load_file(path)


def load_strictly(module: M, state: State, what: str) -> M:
    """Fills a network with a state dict of exactly its names and shapes, and freezes it.

    Args:
        module: the network.
        state: its weights; floating-point tensors take the network's precision.
        what: name of the file or the network, for the message.
    Returns:
        The network.
    Raises:
        WeightsError: names or shapes differ.
    """
    try:
        module.load_state_dict(dict(state), strict=True)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()[1:]]
        details = " ".join(line if len(line) < 200 else line[:200] + " ..." for line in lines[:3])
        raise WeightsError(
            f"{what}: the weights are not of this kind of network ({details}); use another file"
        ) from error
    return freeze(module)


# --- StyleGAN2 -------------------------------------------------------------------------------------------------------

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
            renamed[f"mapping.fc{int(number) - 1}.{name}"] = tensor
        elif place == "input":
            renamed["synthesis.b4.const"] = tensor.squeeze(0)
        elif place == "noises":
            layer = "b4.conv1" if (index := int(rest.removeprefix("noise_"))) == 0 else _rosinality_layer(index - 1)
            renamed[f"synthesis.{layer}.noise_const"] = tensor.reshape(tensor.shape[-2:])
        elif key.endswith(".kernel"):
            _check_filter(key, tensor, 4)
        else:
            if place in ("convs", "to_rgbs"):
                number, _, rest = rest.partition(".")
                layer = _rosinality_layer(int(number)) if place == "convs" else f"b{8 << int(number)}.torgb"
            elif place in ("conv1", "to_rgb1"):
                layer = "b4.conv1" if place == "conv1" else "b4.torgb"
            else:
                raise WeightsError(f"{key}: no part of a StyleGAN2 generator in rosinality's layout; use another file")
            if rest not in _LAYER:
                raise WeightsError(f"{key}: no part of a StyleGAN2 generator in rosinality's layout; use another file")
            name, change = _LAYER[rest]
            renamed[f"synthesis.{layer}.{name}"] = change(tensor)
    return renamed


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
        generator = Generator(
            resolution=max(resolutions),
            style_dim=tensors["synthesis.b4.conv1.affine.weight"].shape[1],
            mapping_layers=sum(key.startswith("mapping.fc") and key.endswith(".weight") for key in tensors),
            channels={size: tensors[f"synthesis.b{size}.conv1.weight"].shape[0] for size in resolutions},
            conv_clamp=conv_clamp,
            z_dim=tensors["mapping.fc0.weight"].shape[1],
        )
    except (KeyError, IndexError, ValueError) as error:
        raise WeightsError(f"generator: no StyleGAN2 generator in these weights ({error}); use another file") from error
    return load_strictly(generator, tensors, "generator")


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
    path = _existing(path)
    if path.suffix == ".safetensors" and "arguments" in load_metadata(path):
        return load_module(path, Generator)
    try:
        if _is_network_pickle(path):
            content, conv_clamp = _of_pickle(path, _published)
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
        content = _part(content["state_dict"], "decoder.") or content["state_dict"]
    state = {key: t for key, t in content.items() if isinstance(t, Tensor) and key != "latent_avg"}
    if (reason := _other_kind(state)) is not None:
        raise WeightsError(f"{reason}; use a StyleGAN2 face generator, rosinality's (.pt) or NVIDIA's (.pkl)")
    if "input.input" not in state or isinstance(latent_avg, Tensor):
        return generator_from_state(state, latent_avg, conv_clamp)
    width = state["style.1.bias"].shape[0] if "style.1.bias" in state else 0
    generator = generator_from_state(state, torch.zeros(width), conv_clamp)
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
    if colours.shape[-4] != 3:
        return f"it is a generator of pictures with {colours.shape[-4]} colours instead of 3"
    return None


@torch.no_grad()
def _measure_mean_code(generator: Generator) -> None:
    """Fills the mean code of a fresh generator whose file has none, as rosinality's programs do when they need it."""
    rng = torch.Generator().manual_seed(0)
    generator.w_avg.copy_(generator.mapping(torch.randn(MEAN_CODE_SAMPLES, generator.z_dim, generator=rng)).mean(0))


# --- e4e -------------------------------------------------------------------------------------------------------------


def encoder_from_state(state: State) -> Encoder:
    """An e4e encoder from its weights alone: every size is read from the tensors.

    Args:
        state: state dict with the published names, "encoder." in front or not; other parts are not looked at if it is.
    Returns:
        The encoder, frozen, on the CPU.
    Raises:
        WeightsError: another network's weights, or incomplete.
    """
    state = _part(state, "encoder.") or dict(state)
    try:
        units = 1 + max(int(key.split(".")[1]) for key in state if key.startswith("body."))
        # Inside a stage the width stays, so that the shortcut has no layer of its own.
        starts = [0] + [i for i in range(1, units) if f"body.{i}.shortcut_layer.0.weight" in state]
        heads = 1 + max(int(key.split(".")[1]) for key in state if key.startswith("styles."))
        convolutions = [sum(key.startswith(f"styles.{i}.convs.") for key in state) // 2 for i in range(heads)]
        widths = [state["input_layer.0.weight"].shape[0]]
        widths += [state[f"body.{start}.res_layer.1.weight"].shape[0] for start in starts]
        # Without memory at first: filling so many weights at random, only to replace them, takes seconds.
        with torch.device("meta"):
            encoder = Encoder(
                input_size=16 << convolutions[0],
                style_dim=state["styles.0.linear.weight"].shape[0],
                num_ws=heads,
                widths=widths,
                depths=[end - start for start, end in zip(starts, [*starts[1:], units], strict=True)],
                coarse=sum(count == convolutions[0] for count in convolutions),
                middle=sum(count <= convolutions[0] + 1 for count in convolutions),
                reduction=widths[1] // state["body.0.res_layer.5.fc1.weight"].shape[0],
            )
    except (KeyError, IndexError, ValueError) as error:
        raise WeightsError(f"encoder: no e4e encoder in these weights ({error}); use another file") from error
    return load_strictly(encoder.to_empty(device="cpu"), state, "encoder")


def load_inverter(path: Path | str) -> Inverter:
    """The encoder and its mean code from any file that has both.

    Args:
        path: ours (.safetensors), or the published e4e file (`state_dict` and `latent_avg`).
    Returns:
        The inverter, frozen, on the CPU.
    Raises:
        WeightsError: see `load_checkpoint`, `encoder_from_state`, `load_module`.
    """
    path = Path(path)
    if path.suffix == ".safetensors":
        return load_module(path, Inverter)
    content = load_checkpoint(path)
    return inverter_from_checkpoint(content, str(path))


def inverter_from_checkpoint(content: Mapping[str, Any], what: str) -> Inverter:
    """The encoder and its mean code from the content of the published e4e file.

    Args:
        content: of `load_checkpoint`.
        what: name of the file, for the message.
    Raises:
        WeightsError: see `encoder_from_state`; or an entry is missing.
    """
    state, latent_avg = content.get("state_dict"), content.get("latent_avg")
    if not isinstance(state, dict) or not isinstance(latent_avg, Tensor):
        names = ", ".join(map(str, list(content)[:6]))
        raise WeightsError(f"{what}: no e4e file: entries {names}, expected state_dict and latent_avg; use another")
    encoder = encoder_from_state(state)
    if latent_avg.shape[-1:] != (encoder.style_dim,) or latent_avg.shape[:-1] not in ((), (encoder.num_ws,)):
        raise WeightsError(
            f"{what}: latent_avg of shape {list(latent_avg.shape)}, expected [{encoder.num_ws}, {encoder.style_dim}];"
            " use another file"
        )
    return freeze(Inverter(encoder, latent_avg))


def _part(state: State, prefix: str) -> dict[str, Tensor]:
    """Entries whose names start so, without it."""
    return {key.removeprefix(prefix): tensor for key, tensor in state.items() if key.startswith(prefix)}


# --- our own files ---------------------------------------------------------------------------------------------------


def save_module(
    path: Path | str, module: nn.Module, metadata: Mapping[str, str] | None = None, dtype: torch.dtype | None = None
) -> None:
    """Writes a network with its constructor's arguments; an existing file is replaced at once or not at all.

    Args:
        path: .safetensors.
        module: a network with an `arguments` property.
        metadata: notes to keep with it (how it was trained, licence); "network" and "arguments" are ours.
        dtype: floating-point weights are stored in this precision; None keeps theirs.
    """
    path = Path(path)
    tensors = {
        key: tensor.detach().cpu().to(dtype if dtype and tensor.is_floating_point() else tensor.dtype).contiguous()
        for key, tensor in module.state_dict().items()
    }
    notes = dict(metadata or {})
    notes["network"] = type(module).__name__
    notes["arguments"] = json.dumps(cast(Described, module).arguments)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        safetensors.torch.save_file(tensors, temporary, metadata=notes)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def load_module(path: Path | str, kind: type[M]) -> M:
    """A network that `save_module` wrote.

    Args:
        path: .safetensors.
        kind: the network's class.
    Returns:
        The network in float32, frozen, on the CPU.
    Raises:
        WeightsError: missing, damaged, or another network's file.
    """
    path = Path(path)
    notes = load_metadata(path)
    if notes.get("network") != kind.__name__ or "arguments" not in notes:
        found = notes.get("network", "weights without a description")
        raise WeightsError(f"{path}: holds {found}, expected {kind.__name__}; use another file")
    try:
        build = getattr(kind, "from_arguments", kind)
        module = build(**json.loads(notes["arguments"], object_hook=_numbered))
    except (TypeError, ValueError) as error:
        raise WeightsError(
            f"{path}: the sizes in the file are not a {kind.__name__}'s ({error}); fetch it again"
        ) from error
    return load_strictly(module, _tensors(path), str(path))


def _numbered(entries: dict[str, Any]) -> dict[Any, Any]:
    """JSON makes text of whole-number keys (channels by resolution); this takes it back."""
    return {int(key) if key.isdigit() else key: value for key, value in entries.items()}
