"""Writes the files of the full-size family as they are published, with recipe weights (the golden README's section 1).

    files = published.write(folder)                # a small family: 32 px; networks of fixed size are as they are
    files = published.write(folder, full=True)     # every network at its published size, 2.4 GB

    python -m tests.published FOLDER [DETECTOR]    # the same from the command line, at full size
"""

import functools
import pickle
import shutil
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import stitch.networks.torchvision_shim  # noqa: F401  (before what imports torchvision)
from stitch.networks import clip, stylegan2
from stitch.networks.e4e import Encoder
from stitch.networks.stylegan2 import Generator
from tests import golden

# isort: split
import open_clip
from facexlib.alignment.awing_arch import FAN
from facexlib.detection.retinaface import RetinaFace
from facexlib.parsing.bisenet import BiSeNet
from facexlib.recognition.arcface_arch import Backbone

DIRECTIONS = ("age", "smile", "yaw")
TEXTS = {"embed_dim": 32, "layers": 1, "width": 64}


NAMES = {
    "encoder": "e4e_ffhq_encode.pt",
    "parser": "79999_iter.pth",
    "identity": "model_ir_se50.pth",
    "detector": "detection_Resnet50_Final.pth",
    "landmarks": "alignment_WFLW_4HG.pth",
    "perceptual": "alexnet-owt-7be5be79.pth",
    "clip": "open_clip_model.safetensors",
    "relevance": "fs3.npy",
    "style_std": "S_mean_std",
}

LAST = NAMES["style_std"]
"""The file that is written last."""


def generator_sizes(full: bool) -> dict[str, Any]:
    if full:
        channels = {2**power: min(512, 32768 >> power) for power in range(2, 11)}
        return {"resolution": 1024, "style_dim": 512, "mapping_layers": 8, "channels": channels}
    return {"resolution": 32, "style_dim": 16, "mapping_layers": 2, "channels": {4: 12, 8: 12, 16: 8, 32: 8}}


def encoder_sizes(full: bool) -> dict[str, Any]:
    if full:
        return {}
    sizes = {"input_size": 64, "style_dim": 16, "num_ws": 8, "levels": (2, 4), "reduction": 2}
    return {**sizes, "widths": (4, 4, 6, 8, 16), "depths": (1, 2, 1, 1)}


def rosinality_rule(key: str) -> str:
    """The recipe's rule of a tensor of a generator in rosinality's layout."""
    if key.startswith("style."):
        return "normal:0:100" if key.endswith("weight") else "normal:0:10"
    if key.endswith(".kernel"):
        return "fir:4"
    if key.endswith("modulation.bias"):
        return "normal:1:0.1"
    if key.startswith("to_rgb") and key.endswith("conv.weight"):
        return "normal:0:0.25"
    ones = key.endswith(("conv.weight", "modulation.weight")) or key.startswith(("input.", "noises."))
    return "normal:0:1" if ones else "normal:0:0.1"


def rules(module: nn.Module, convolution: str = "lecun") -> dict[str, str]:
    """The recipe's rules of the tensors of an ordinary network, in the order of its state dict."""
    kinds = {"weight": convolution, "in_proj_weight": "lecun", "running_var": "absvar", "num_batches_tracked": "int0"}
    norms = (nn.BatchNorm1d, nn.BatchNorm2d, nn.LayerNorm)
    found = {}
    for key in module.state_dict():
        owner, _, name = key.rpartition(".")
        part = module.get_submodule(owner)
        rule = kinds.get(name, "normal:0:0.1")
        if name == "weight" and isinstance(part, norms):
            rule = "normal:1:0.1"
        elif name == "weight" and isinstance(part, nn.PReLU):
            rule = "normal:0.25:0.05"
        elif name == "weight" and isinstance(part, stylegan2.Linear):
            rule = "normal:0:1"
        elif name == "weight" and isinstance(part, nn.Embedding):
            rule = "normal:0:0.1"
        found[key] = rule
    return found


def drawn(module: nn.Module, prefix: str = "") -> dict[str, Tensor]:
    """A network's state dict by the recipe, under names with a prefix."""
    shapes = module.state_dict()
    return {prefix + key: golden.draw(rule, prefix + key, shapes[key].shape) for key, rule in rules(module).items()}


def empty(build: Any, *arguments: Any, **sizes: Any) -> Any:
    """A network of which only the names and shapes are wanted."""
    with torch.device("meta"):
        return build(*arguments, **sizes)


def to_rosinality(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A generator's tensors in rosinality's layout: the table in the golden README's section 6, read backwards."""
    resolutions = sorted({int(key.split(".")[1][1:]) for key in state if key.startswith("synthesis.")})
    places = [("conv1", "b4.conv1"), ("to_rgb1", "b4.torgb")]
    maps = ["b4.conv1"]
    for index, size in enumerate(resolutions[1:]):
        layers = [f"b{size}.conv0", f"b{size}.conv1"]
        places += [(f"convs.{2 * index + half}", layer) for half, layer in enumerate(layers)]
        places += [(f"to_rgbs.{index}", f"b{size}.torgb")]
        maps += layers
    result = {"input.input": state["synthesis.b4.const"][None]}
    for key, tensor in state.items():
        if key.startswith("mapping.fc"):
            number, name = key.removeprefix("mapping.fc").split(".")
            result[f"style.{int(number) + 1}.{name}"] = tensor
    for old, place in places:
        new = f"synthesis.{place}"
        result[f"{old}.conv.weight"] = state[f"{new}.weight"][None]
        result[f"{old}.conv.modulation.weight"] = state[f"{new}.affine.weight"]
        result[f"{old}.conv.modulation.bias"] = state[f"{new}.affine.bias"]
        if "rgb" in old:
            result[f"{old}.bias"] = state[f"{new}.bias"].reshape(1, 3, 1, 1)
        else:
            result[f"{old}.activate.bias"] = state[f"{new}.bias"]
            result[f"{old}.noise.weight"] = state[f"{new}.noise_strength"].reshape(1)
        if place.endswith("conv0"):
            result[f"{old}.conv.blur.kernel"] = stylegan2.low_pass()
        if old.startswith("to_rgbs."):
            result[f"{old}.upsample.kernel"] = stylegan2.low_pass()
    result |= {f"noises.noise_{index}": state[f"synthesis.{place}.noise_const"][None, None]
               for index, place in enumerate(maps)}
    return result


def rosinality_generator(full: bool = False, prefix: str = "") -> dict[str, Tensor]:
    """A generator in rosinality's layout by the recipe; `prefix` is part of the names it is drawn by."""
    shapes = to_rosinality(empty(Generator, **generator_sizes(full)).state_dict())
    return {key: golden.draw(rosinality_rule(key), prefix + key, tensor.shape) for key, tensor in shapes.items()}


def clip_model(full: bool = False) -> Any:
    config = open_clip.get_model_config(clip.ARCHITECTURE)
    if not full:
        small = {key: TEXTS[key] for key in ("layers", "width")}
        vision, text = (config[f"{tower}_cfg"] | small for tower in ("vision", "text"))
        config |= {"embed_dim": TEXTS["embed_dim"], "vision_cfg": vision, "text_cfg": text | {"heads": 1}}
    return empty(open_clip.CLIP, **config)


def alexnet() -> dict[str, Tensor]:
    """torchvision's AlexNet by the recipe, with a classifier of other sizes, which nobody reads."""
    state = {"classifier.1.weight": torch.zeros(1)}
    shapes = {0: (64, 3, 11, 11), 3: (192, 64, 5, 5), 6: (384, 192, 3, 3), 8: (256, 384, 3, 3), 10: (256, 256, 3, 3)}
    for number, shape in shapes.items():
        for name, rule, size in (("weight", "he", shape), ("bias", "normal:0:0.1", shape[:1])):
            state[f"features.{number}.{name}"] = golden.draw(rule, f"features.{number}.{name}", size)
    return state


@functools.cache
def face_networks() -> dict[str, dict[str, Tensor]]:
    """The networks of one size only, by part."""
    return {
        "parser": drawn(empty(BiSeNet, 19)),
        "identity": drawn(empty(Backbone, num_layers=50, drop_ratio=0.6, mode="ir_se")),
        "perceptual": alexnet(),
    }


def write(
    folder: Path, full: bool = False, detector: Path | None = None, leave_out: Iterable[str] = ()
) -> dict[str, Path]:
    """Writes every file of the family.

    Args:
        folder: an existing one.
        full: published sizes instead of small ones.
        detector: a real RetinaFace file to take instead of recipe weights, which see no faces.
        leave_out: names of parts not to write.
    Returns:
        The files, by the names of the parts that `stitch.families.ffhq.load` knows.
    """
    files = {part: folder / name for part, name in NAMES.items() if part not in set(leave_out)}
    encoder = empty(Encoder, **encoder_sizes(full))
    generator = empty(Generator, **generator_sizes(full))
    if "encoder" in files:
        codes = (encoder.num_ws, encoder.style_dim)
        state = drawn(encoder, "encoder.")
        state |= {f"decoder.{key}": tensor for key, tensor in rosinality_generator(full).items()}
        whole = {"state_dict": state, "latent_avg": golden.draw("normal:0:0.2", "latent_avg", codes),
                 "opts": {"encoder_type": "Encoder4Editing", "stylegan_size": generator.resolution, "device": "cuda:0"}}
        torch.save(whole, files["encoder"], _use_new_zipfile_serialization=full)
    for part, state in face_networks().items():
        if part in files:
            torch.save(state, files[part], _use_new_zipfile_serialization=part != "parser")
    if "detector" in files and detector is not None:
        shutil.copyfile(detector, files["detector"])
    elif "detector" in files:
        network = RetinaFace("resnet50" if full else "mobile0.25", device=torch.device("cpu"))
        torch.save(drawn(network, "module."), files["detector"])
    if "landmarks" in files:
        fan = empty(FAN, 4 if full else 1, num_landmarks=98, device="cpu")
        torch.save({"state_dict": drawn(fan)}, files["landmarks"])
    texts = clip_model(full)
    if "clip" in files:
        save_file(drawn(texts), files["clip"])
    dimensions = [layer.dimension for layer in generator.layers]
    channels = sum(layer.dimension for layer in generator.layers if layer.is_conv)
    if "relevance" in files:
        np.save(files["relevance"], golden.normal("relevance", (channels, texts.text_projection.shape[1])) / 10)
    for name in DIRECTIONS:
        files[f"direction.{name}"] = folder / (f"{name}.npy" if name == "yaw" else f"{name}.pt")
        direction = golden.normal(f"direction.{name}", (1, encoder.style_dim))
        if name == "yaw":
            np.save(files[f"direction.{name}"], np.repeat(direction.astype(np.float64), encoder.num_ws, 0))
        else:
            torch.save(torch.from_numpy(direction), files[f"direction.{name}"], _use_new_zipfile_serialization=False)
    if "style_std" in files:
        stds = [np.abs(golden.normal(f"std.{i}", (count,))) for i, count in enumerate(dimensions)]
        files["style_std"].write_bytes(pickle.dumps([[std * 0 for std in stds], stds], 4))
    return files


def files_in(folder: Path) -> dict[str, Path]:
    """The files that `write` left in a folder."""
    found = {part: folder / name for part, name in NAMES.items() if (folder / name).exists()}
    return found | {f"direction.{path.stem}": path for name in DIRECTIONS for path in folder.glob(f"{name}.*")}


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    for part, path in write(target, full=True, detector=Path(sys.argv[2]) if len(sys.argv) > 2 else None).items():
        print(part, path)
