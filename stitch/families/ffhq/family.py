"""Loading the full-size family from the published files, as they are.

Every size is read from the files: 1024 pixels, 18 codes and 512 numbers are what the published ones happen to have.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from stitch.core.errors import WeightsError
from stitch.core.records import Direction
from stitch.core.settings import CONTENT_WEIGHT
from stitch.families import custom, directions
from stitch.families.about import Slider
from stitch.families.family import UNIT_OF_STD, Boundary, Detector, Family
from stitch.families.ffhq import ABOUT, LENT
from stitch.networks.clip import ClipPictures, ClipText
from stitch.networks.e4e import Inverter
from stitch.networks.facexlib import ArcFaceEmbedder, BiSeNetParser, FanDetector, RetinaFaceDetector
from stitch.networks.formats.checkpoints import inverter_from_checkpoint, load_array, load_checkpoint, load_statistics
from stitch.networks.formats.generators import generator_from_checkpoint, load_generator
from stitch.networks.perceptual import Perceptual
from stitch.networks.stylegan2 import Generator
from stitch.runtime.optimizer import PAPER_STITCHING, PAPER_TUNING

T = TypeVar("T")

STEPS: Mapping[str, float] = {
    "age": 1.29, "gender": 2.20, "smile": 0.51, "mouth_open": 2.20, "eyes_open": 2.03, "pose": 1.49, "yaw": 2.20,
    "pitch": 1.00,
}  # fmt: skip
"""Length in W of one step of the published directions, of which their files say nothing: it moves what they are named
after by 0.7 of its standard deviation over random faces, where a step of the lent ones is one; at most 2.2, where
gender, mouth_open and yaw would take 2.54, 2.24 and 2.82. Measured on pictures by the portrait family's generator, of
the same W, by `python -m stitch.families.portrait.train --published DIR`: 30 faces for age and eyes_open, 24 for
gender, 16 for the others. Roll is not among them: aligned faces hardly have any, and 4.8 would brighten the skin
too."""
STEP = 4 / 3
"""Lengths of any other W direction in one step: strength 3 is the authors' factor 8, which they halve."""
TEXT_CHANNELS = 50
TEXT_UNIT = 5.0
"""One step of a text edit: strength 2 is the authors' usual factor, 10."""


def load(files: Mapping[str, Path], device: torch.device) -> Family:
    """Load the family.

    Args:
        files: by the name of the part: encoder (e4e, with its generator and mean code), parser, identity, detector,
            perceptual; clip for text edits, relevance for those that need no table of one's own, style_std for
            StyleCLIP's scale of them; direction.NAME for every published slider, directions for the lent ones;
            generator or generator.nvidia where the encoder's file has none.
        device: where the networks go.
    Raises:
        WeightsError: a part is missing, damaged or another network's.
    """
    inverter, generator = _encoder_and_generator(files)
    texts = "clip" in files
    relevance, style_std = _text_channels(files, generator) if texts else (None, None)
    published = {
        name.removeprefix("direction."): _direction(name.removeprefix("direction."), path, generator, device)
        for name, path in files.items()
        if name.startswith("direction.")
    }
    return Family(
        name=ABOUT.name,
        generator=generator.to(device),
        encoder=inverter.to(device),
        detector=detector(files, "retinaface", device),
        parser=_network(files, "parser", BiSeNetParser.from_state).to(device),
        perceptual=_network(files, "perceptual", Perceptual.from_lpips_alex).to(device),
        identity=_network(files, "identity", ArcFaceEmbedder.from_state).to(device),
        text_encoder=_network(files, "clip", ClipText.from_state).to(device) if texts else None,
        directions=published | _lent(files, generator, device),
        relevance=None if relevance is None else relevance.to(device),
        style_std=None if style_std is None else style_std.to(device),
        text_unit=TEXT_UNIT if style_std is None else UNIT_OF_STD,
        text_channels=TEXT_CHANNELS,
        tune_rates=PAPER_TUNING,
        stitching_rates=PAPER_STITCHING,
        content_weight=CONTENT_WEIGHT,
        licence=ABOUT.licence,
        child=_child(files, generator, device),
    )


def picture_tower(files: Mapping[str, Path], device: torch.device) -> nn.Module:
    """CLIP's picture tower, [B,3,S,S] in [-1,1] -> [B,K]; `load` keeps the text tower only.

    Args:
        files: as for `load`; clip.
        device: where it goes.
    Raises:
        WeightsError: the file is missing, damaged or another network's.
    """
    return _network(files, "clip", ClipPictures.from_state).to(device)


def _part(files: Mapping[str, Path], name: str) -> Path:
    if name not in files:
        raise WeightsError(f"family ffhq: part {name!r} is missing; fetch it, or put its file into your own folder")
    return files[name]


def _named(path: Path, make: Callable[[], T]) -> T:
    """What `make` returns; its errors name the file."""
    try:
        return make()
    except WeightsError as error:
        if str(path) in str(error):
            raise
        raise WeightsError(f"{path}: {error}") from error


def _network(files: Mapping[str, Path], name: str, build: Callable[[Any], T]) -> T:
    """A network from the state dict in its file."""
    path = _part(files, name)
    return _named(path, lambda: build(_state(load_checkpoint(path))))


def _state(content: Mapping[str, Any]) -> Mapping[str, Any]:
    """The state dict: the file's content, or its entry of that name."""
    inner = content.get("state_dict")
    return inner if isinstance(inner, dict) else content


def _encoder_and_generator(files: Mapping[str, Path]) -> tuple[Inverter, Generator]:
    path = _part(files, "encoder")
    content = load_checkpoint(path)  # once for both: the file is large
    inverter = _named(path, lambda: inverter_from_checkpoint(content, str(path)))
    others = [files[name] for name in ("generator", "generator.nvidia") if name in files]
    if others and not any(str(key).startswith("decoder.") for key in _state(content)):
        return inverter, load_generator(others[0])
    return inverter, _named(path, lambda: generator_from_checkpoint(content))


def _text_channels(files: Mapping[str, Path], generator: Generator) -> tuple[Tensor | None, Tensor | None]:
    """The relevance of the style channels and their std, where they are of this generator's channels."""
    total = sum(custom.widths(generator.layers))
    if "relevance" not in files:
        return None, None
    relevance = load_array(files["relevance"])
    if relevance.ndim != 2 or len(relevance) != total:
        raise WeightsError(
            f"{files['relevance']}: is of shape {list(relevance.shape)}, and this generator has {total} style channels;"
            " use StyleCLIP's fs3.npy"
        )
    if "style_std" not in files:
        return relevance, None
    stds = load_statistics(files["style_std"])
    if [len(std) for std in stds] != [layer.dimension for layer in generator.layers]:
        raise WeightsError(f"{files['style_std']}: is of another generator's channels; use StyleCLIP's S_mean_std")
    kept = [std for std, layer in zip(stds, generator.layers, strict=True) if layer.is_conv]
    return relevance, torch.cat(kept)


def detector(files: Mapping[str, Path], tracker: str, device: torch.device) -> Detector:
    """RetinaFace, or RetinaFace and FAN.

    Args:
        files: as for `load`; detector, and landmarks for "fan".
        tracker: "retinaface" finds five landmarks, "fan" 68.
        device: where the networks go.
    Raises:
        WeightsError: a file is missing, damaged or another network's.
        ValueError: tracker is another word.
    """
    if tracker not in ABOUT.lends:
        raise ValueError(f"tracker: got {tracker!r}, expected one of {', '.join(ABOUT.lends)}")
    boxes = _network(files, "detector", RetinaFaceDetector.from_state)
    if tracker == "fan":
        return _network(files, "landmarks", lambda state: FanDetector.from_states(boxes, state)).to(device)
    return boxes.to(device)


def _lent(files: Mapping[str, Path], generator: Generator, device: torch.device) -> dict[str, Direction]:
    """The portrait family's directions, where codes are as long as those that they were found in."""
    if "directions" not in files:
        return {}
    lent = directions.read(files["directions"], LENT, device)
    return {name: one for name, one in lent.items() if one.vector.shape[-1] == generator.w_dim}


def _child(files: Mapping[str, Path], generator: Generator, device: torch.device) -> Boundary | None:
    """Where the portrait family's W has children, which is this one's where codes are as long."""
    if "child" not in files:
        return None
    lent = directions.read_boundary(files["child"], device)
    return lent if len(lent.normal) == generator.w_dim else None


def _direction(name: str, path: Path, generator: Generator, device: torch.device) -> Direction:
    """A published W direction, with the step that was measured for it."""
    vector, length = custom.read_direction(path, generator)
    other = Slider(name, "Other", name.replace("_", " "), "less", "more")
    shown = next((slider for slider in ABOUT.sliders if slider.name == name), other)
    return directions.of_slider(shown, vector.to(device), STEPS.get(name, STEP * length), "published")
