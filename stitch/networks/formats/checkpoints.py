"""Files of weights: published formats are brought to our names once, our own are safetensors with the sizes inside.

Nothing pickled is ever executed: `pickled` looks through every pickle without running it, and PyTorch's files are then
read with weights_only=True. Every network is loaded on the CPU, strictly, and comes back frozen in evaluation mode;
moving it is the caller's business.
"""

import argparse
import json
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
from stitch.networks.formats import nvidia, pickled, pytorch
from stitch.networks.formats.standins import Array, Refused
from stitch.runtime.disk import whole

State = Mapping[str, Tensor]
M = TypeVar("M", bound=nn.Module)
T = TypeVar("T")

class Described(Protocol):
    """A network that knows its constructor's arguments, as plain JSON values."""

    @property
    def arguments(self) -> dict[str, Any]:
        """What the constructor was given."""
        ...


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
    path = existing(path)
    if path.suffix == ".safetensors":
        return dict(_tensors(path))
    if is_network_pickle(path):
        return {"G_ema": network_pickle(path)[0]}
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
    path = existing(path)
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
    path = existing(path)
    content = _looked_through(path, pickled.read)
    pair = content if isinstance(content, list | tuple) and len(content) == 2 else ((), ())
    rows = pair[1] if isinstance(pair[0], list | tuple) and isinstance(pair[1], list | tuple) else ()
    # One array named a million times is no list of layers.
    stds = [array.values for array in {id(array): array for array in rows}.values() if isinstance(array, Array)]
    if not stds or len(stds) != len(pair[0]) or len(stds) != len(pair[1]):
        raise WeightsError(f"{path}: holds no means and stds of style channels; use StyleCLIP's S_mean_std")
    return [torch.from_numpy(np.array(values, np.float32).reshape(-1)) for values in stds]


def existing(path: Path | str) -> Path:
    """The path itself.

    Raises:
        WeightsError: no such file.
    """
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


def is_network_pickle(path: Path) -> bool:
    """Whether a file begins as a bare pickle does, and not as PyTorch's files do.

    Raises:
        WeightsError: it cannot be read.
    """
    return not _begins(path, pytorch.begins_like_one) and _begins(path, pickled.begins_like_one)


def network_pickle(path: Path) -> tuple[dict[str, Tensor], float | None]:
    """The state dict and the clamp of the generator in a network pickle of NVIDIA's.

    Raises:
        WeightsError: damaged, or with anything but weights inside.
    """

    def published(path: Path) -> tuple[dict[str, Tensor], float | None]:
        network = nvidia.generator(path)
        return network.state(), network.conv_clamp

    return _looked_through(path, published)


def _looked_through(path: Path, read: Callable[[Path], T]) -> T:
    """What a reader that runs nothing makes of a file."""
    try:
        return read(path)
    except (Refused, OSError) as error:
        raise _refused(path, str(error)) from error


def _of_torch(path: Path) -> Any:
    """The content of a file of PyTorch's, whose sizes are checked before PyTorch reads it."""
    if is_network_pickle(path):
        _looked_through(path, pickled.read)
    if not _begins(path, pytorch.begins_like_one):
        raise _refused(path, "not a PyTorch file of weights, or damaged")
    _looked_through(path, pytorch.check)
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
    path = existing(path)
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return file.metadata() or {}
    except (safetensors.SafetensorError, OSError) as error:
        raise WeightsError(f"{path}: not a safetensors file, or damaged; fetch the file again") from error


def _tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file, on the CPU."""
    load_metadata(path)
    return safetensors.torch.load_file(path)


def check_sizes(sketch: nn.Module, state: State, what: str) -> None:
    """Refuses weights whose shapes are not a network's, before room is made for the network.

    Args:
        sketch: the network on the device "meta": sizes read from a hostile file may be of any size.
        state: its weights.
        what: name of the file or the network, for the message.
    Raises:
        WeightsError: a shape differs, or a tensor of more than one number is missing.
    """
    for key, tensor in sketch.state_dict().items():
        found = list(state[key].shape) if key in state else None if tensor.numel() > 1 else list(tensor.shape)
        if found != list(tensor.shape):
            got = "nothing" if found is None else f"shape {found}"
            raise WeightsError(
                f"{what}: the weights are not of this kind of network ({key}: got {got}, expected shape"
                f" {list(tensor.shape)}); use another file"
            )


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
    state = part(state, "encoder.") or dict(state)
    try:
        units = 1 + max(int(key.split(".")[1]) for key in state if key.startswith("body."))
        heads = 1 + max(int(key.split(".")[1]) for key in state if key.startswith("styles."))
        if max(units, heads) > len(state):
            raise ValueError(f"{max(units, heads)} parts, and {len(state)} tensors")
        # Inside a stage the width stays, so that the shortcut has no layer of its own.
        starts = [0] + [i for i in range(1, units) if f"body.{i}.shortcut_layer.0.weight" in state]
        convolutions = [sum(key.startswith(f"styles.{i}.convs.") for key in state) // 2 for i in range(heads)]
        widths = [state["input_layer.0.weight"].shape[0]]
        widths += [state[f"body.{start}.res_layer.1.weight"].shape[0] for start in starts]
        # Without memory at first: so many random weights, only to be replaced, take seconds.
        with torch.device("meta"):
            encoder = Encoder(
                input_size=16 << convolutions[0],
                style_dim=state["styles.0.linear.weight"].shape[0],
                num_ws=heads,
                widths=widths,
                depths=[end - start for start, end in zip(starts, [*starts[1:], units], strict=True)],
                levels=(
                    sum(count == convolutions[0] for count in convolutions),
                    sum(count <= convolutions[0] + 1 for count in convolutions),
                ),
                reduction=widths[1] // state["body.0.res_layer.5.fc1.weight"].shape[0],
            )
    except (LookupError, ValueError, ArithmeticError, RuntimeError) as error:
        raise WeightsError(f"encoder: no e4e encoder in these weights ({error}); use another file") from error
    check_sizes(encoder, state, "encoder")
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


def part(state: State, prefix: str) -> dict[str, Tensor]:
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
    with whole(path) as temporary:
        safetensors.torch.save_file(tensors, temporary, metadata=notes)


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
        build, tensors = getattr(kind, "from_arguments", kind), _tensors(path)
        arguments = json.loads(notes["arguments"], object_hook=_numbered)
        with torch.device("meta"):
            sketch = build(**arguments)
        check_sizes(sketch, tensors, str(path))
        module = build(**arguments)
    except (TypeError, ValueError, RuntimeError) as error:
        raise WeightsError(
            f"{path}: the sizes in the file are not a {kind.__name__}'s ({error}); fetch it again"
        ) from error
    return load_strictly(module, tensors, str(path))


def _numbered(entries: dict[str, Any]) -> dict[Any, Any]:
    """JSON makes text of whole-number keys (channels by resolution); this takes it back."""
    return {int(key) if key.isdigit() else key: value for key, value in entries.items()}
