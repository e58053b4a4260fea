"""Tuning loops and edits against the published programs' numbers (golden cases c09 pti.*, stitch.*; c10)."""

import hashlib
import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from stitch.core.errors import EditError
from stitch.core.images import to_tensor
from stitch.core.records import Crops, Direction, Edit, LayerInfo, Pivots, Regions, Text
from stitch.core.settings import StitchingSettings, TuneSettings
from stitch.methods.stit import edit, masks
from stitch.methods.stit import tune as stages
from stitch.methods.stit.losses import locality_codes
from stitch.methods.stit.stitching import Stitched, stitch_chunk
from stitch.methods.stit.text import TEMPLATES, text_axis, text_direction
from stitch.networks.formats import generators
from stitch.networks.perceptual import Perceptual
from stitch.networks.stylegan2 import Generator
from stitch.runtime.optimizer import Rates, Recipe
from tests import golden


def run(stage):
    """A stage's result; its events are dropped."""
    while True:
        try:
            next(stage)
        except StopIteration as end:
            return end.value


def generator_of(sizes: dict, section: str) -> Generator:
    """The generator with these constructor arguments."""
    name = golden.manifest_of("nvidia", section, golden.of_sizes(sizes))
    return generators.generator_from_state(golden.state(name), conv_clamp=sizes["synthesis_kwargs"].get("conv_clamp"))


def loops_generator(case: golden.Case) -> Generator:
    sizes = case.meta["pti"]["init_kwargs"]
    return generator_of(sizes, f"loops_{sizes['img_resolution']}")


def rates_of(shared: dict) -> Rates:
    """Adam's rates as the two parts of c09 tell them."""
    usual = Rates(shared["lr"]).betas
    betas = shared.get("betas", (shared.get("beta1", usual[0]), shared.get("beta2", usual[1])))
    return Rates(shared["lr"], betas=(betas[0], betas[1]))


def pivots_of(case: golden.Case) -> Tensor:
    return torch.from_numpy(case["pti.pivots"])


# Tuning


def is_tuning(section: str, params: object) -> bool:
    return section.startswith("pti.")


def z_name(case: golden.Case, step: int) -> str:
    return case.params["z"].split(",")[0].format(step=step)


@golden.cases("c09", where=is_tuning)
def test_tune_equals_golden(case: golden.Case, monkeypatch) -> None:
    shared = case.meta["pti"]
    # The method has one weight for both halves of L_R; where a case has two, the squares are scaled by their ratio,
    # here and, inversely, by the weight of the squares of equation 1.
    held_l2, held_lpips = (case.params.get(name, 0.0) for name in ("l2_lambda", "lpips_lambda"))
    ratio = held_l2 / held_lpips if held_lpips else 1.0
    squares = stages.mean_squared_error
    monkeypatch.setattr(stages, "mean_squared_error", lambda *pair: ratio * squares(*pair))
    images = case["pti.targets_u8"]
    crops = Crops(images, np.zeros((len(images), 4, 2)), np.arange(len(images)))
    pivots = Pivots(pivots_of(case))
    generator = loops_generator(case)
    before = {name: tensor.clone() for name, tensor in generator.state_dict().items()}
    assert golden.difference(case, "pti.pivot_images", edit.render(generator, pivots.w)) < 1e-4
    settings = TuneSettings(
        epochs=shared["epochs"],
        l2_weight=shared["l2_lambda"] / ratio,
        lpips_weight=shared["lpips_lambda"],
        locality_weight=held_lpips,
        locality_alpha=case.params.get("alpha", 0.0),
        locality_psi=case.params.get("truncation_psi", 0.5),
    )
    perceptual = Perceptual.from_lpips_alex(golden.state(golden.manifest_of("lpips", "", lambda _: True)))

    if "z" in case.params:
        monkeypatch.setattr(stages, "_epoch_draws", lambda frames, settings, z_dim, seed, epoch: (list(range(frames)), (
            torch.from_numpy(np.concatenate([golden.normal(z_name(case, epoch * frames + row), (1, z_dim))
                                             for row in range(frames)])))))
    tuned = run(stages.tune(crops, pivots, generator, perceptual, Recipe(settings, rates_of(shared))))
    expected = case[f"{case.section}.losses_total_l2_lpips"]
    tuned.losses[:, 1] /= ratio
    np.testing.assert_allclose(tuned.losses.numpy(), expected, rtol=1e-4)
    if (key := f"{case.section}.regulariser_losses") in case:
        total, l2, lpips = tuned.losses.double().T
        locality = total - shared["l2_lambda"] * l2 - shared["lpips_lambda"] * lpips
        np.testing.assert_allclose(locality, case[key], rtol=1e-3, atol=1e-6)
    assert golden.difference(case, f"{case.section}.final_images", edit.render(tuned.generator, pivots.w)) < 3e-4
    assert all(torch.equal(tensor, before[name]) for name, tensor in generator.state_dict().items())
    after = tuned.generator.state_dict()
    for name, change in case.params["rms_change_per_tensor"].items():
        if name in after:
            moved = float((after[name] - before[name]).square().mean().sqrt())
            assert moved == pytest.approx(change, rel=1e-2), name


@golden.cases("c09", where=lambda section, params: section.startswith("pti.") and "z" in params)
def test_locality_equals_golden(case: golden.Case) -> None:
    generator = loops_generator(case)
    if f"{case.section}.w_samples" not in case:
        pytest.skip(f"{case.section}: only the losses are stored")
    steps = len(case[f"{case.section}.w_samples"])
    z = torch.from_numpy(
        np.concatenate([golden.normal(z_name(case, step), (1, generator.z_dim)) for step in range(steps)])
    )
    samples = generator.broadcast(generator.mapping(z, case.params["truncation_psi"]))
    assert golden.difference(case, f"{case.section}.w_samples", samples) < 2e-5
    pivots = pivots_of(case).repeat(case.meta["pti"]["epochs"], 1, 1)
    codes = locality_codes(pivots, samples, case.params["alpha"])
    assert golden.difference(case, f"{case.section}.territory_ws", codes) < 1e-4


# Stitching


def is_stitching(section: str, params: object) -> bool:
    return section.startswith("stitch.")


def w_edit(rule: str) -> tuple[str, ...]:
    """Name and shape of the direction in a rule in words."""
    return re.findall(r"normal of (\S+) with shape \[(\d+),\s*(\d+),\s*(\d+)\]", rule)[0]


def stitch_inputs(case: golden.Case):
    """Generator, codes, crop, content picture, regions and settings of a stitch.* section."""
    shared = case.meta["stitch"]
    _, kind, distance, *_ = case.section.split(".")
    frame = shared["frame"]
    generator = loops_generator(case)
    pivot = pivots_of(case)[frame : frame + 1]
    if kind == "w":
        (scale,), (name, *shape) = golden.numbers("+ # * normal", shared["w_edit"]), w_edit(shared["w_edit"])
        codes: Tensor | list[Tensor] = pivot + scale * torch.from_numpy(golden.normal(name, [int(x) for x in shape]))
    else:
        (scale,) = golden.numbers("+ # * normal", shared["style_edit"])
        name = re.findall(r"normal of (\S+)", shared["style_edit"])[0]
        codes = [
            style + scale * torch.from_numpy(golden.normal(name.format(i=index), style.shape))
            if layer.is_conv
            else style
            for index, (layer, style) in enumerate(zip(generator.layers, generator.styles(pivot), strict=True))
        ]
    edited = torch.from_numpy(case[f"stitch.edited_{kind}_image"])
    scale, offset = golden.numbers("# * edited + #", shared["l1_offset"]) if distance.endswith("offset") else (1, 0)
    content = scale * edited + offset
    crop = to_tensor(case["pti.targets_u8"][frame : frame + 1])
    regions = [torch.from_numpy(case[f"stitch.{name}_mask"])[None, None] for name in ("content", "full", "border")]
    settings = StitchingSettings(
        steps=shared["steps"],
        content_weight=shared["content_loss_lambda"],
        distance=distance[:2],
        stop_below=case.params.get("threshold"),
    )
    return generator, codes, crop, content, Regions(*regions), settings, rates_of(shared)


@golden.whole("c09")
def test_regions_of_the_stitching_case_equal_golden(case: golden.Case) -> None:
    edge, inner, outer, whole = case.meta["stitch"]["create_masks_args"]
    found = masks.regions(torch.from_numpy(case["stitch.mask"])[None, None], outer, edge, inner, whole)
    for name, mask in (("content", found.mask), ("full", found.dilated_mask), ("border", found.boundary)):
        assert golden.difference(case, f"stitch.{name}_mask", mask[0, 0]) < 1e-6


@golden.cases("c09", where=is_stitching)
def test_stitch_chunk_equals_golden(case: golden.Case) -> None:
    generator, codes, crop, content, regions, settings, rates = stitch_inputs(case)
    drawn = generator(codes) if isinstance(codes, Tensor) else generator.from_styles(codes)
    kind = case.section.split(".")[1]
    assert golden.difference(case, f"stitch.edited_{kind}_image", drawn) < 1e-4
    # In plain L1 the first content residual is rounding noise and its sign the gradient: runs separate.
    loose = ".l1" in case.section and "offset" not in case.section
    result: Stitched = run(stitch_chunk(generator, codes, crop, content, regions, Recipe(settings, rates)))
    expected = case[f"{case.section}.border_content_losses"]
    actual = result.losses[:, 0].numpy()
    assert actual.shape == expected.shape
    tolerance = {"rtol": 0, "atol": 5e-3} if loose else {"rtol": 1e-4, "atol": 1e-7}
    np.testing.assert_allclose(actual, expected, **tolerance)
    assert golden.difference(case, f"{case.section}.final_image", result.images) < (2e-2 if loose else 1e-4)


# Edits


def family_with(**parts):
    """As much of a family as an edit needs."""
    return SimpleNamespace(**{"name": "golden", "text_encoder": None, "relevance": None, "directions": {}} | parts)


class StoredTexts:
    """A text encoder that knows two texts, by their stored embeddings for every template."""

    def __init__(self, case: golden.Case, part: str) -> None:
        stored = case.meta[part]["text_embeddings"]
        self.embeddings = {name: torch.from_numpy(golden.normal(*spec[1:])) for name, spec in stored.items()}
        self.neutral, self.target = self.embeddings

    def __call__(self, texts: list[str]) -> Tensor:
        (name,) = [name for name in self.embeddings if texts[0] == TEMPLATES[0].format(name)]
        assert texts == [template.format(name) for template in TEMPLATES]
        return self.embeddings[name]

    words = ()

    def unknown_words(self, text: str) -> list[str]:
        return []


@golden.needs_golden
def test_templates_equal_golden() -> None:
    expected = golden.load("c10").meta["templates"]
    assert len(TEMPLATES) == expected["count"]
    digest = hashlib.sha256("\n".join(TEMPLATES).encode("utf-8")).hexdigest()
    assert digest == expected["sha256_of_newline_joined"]


@golden.needs_golden
def test_plan_codes_equal_golden_interfacegan() -> None:
    case = golden.load("c10")
    stored = case.meta["interfacegan"]
    pivots = golden.input_tensor(stored["pivots"])
    for name, factor in stored["edits"]:
        row = golden.normal(stored["names"][name], pivots.shape[1:], np.float64)[0]
        direction = Direction(torch.from_numpy(row / np.linalg.norm(row)).float(), unit=1.0, description=name)
        # The reference halves the factor.
        plan = edit.resolve([Edit(name, factor / 2, raw=True)], family_with(directions={name: direction}))
        key = f"interfacegan.{name}.{factor}"
        count = len(case[key])
        assert golden.difference(case, key, plan.codes(pivots[:count], np.zeros(count), None)) < 1e-6


@golden.needs_golden
def test_freeze_fine_layers_equals_golden() -> None:
    case = golden.load("c10")
    pivots = Pivots(golden.input_tensor(case.meta["interfacegan"]["pivots"]))
    frozen = edit.freeze_fine_layers(pivots, case.meta["freeze_fine_layers"]["k"])
    assert golden.difference(case, "freeze_fine_layers", frozen.w) < 1e-6


def edit_layers(part: dict) -> list[LayerInfo]:
    """Layers of a c10 part, whose JSON lists them in one of two ways."""
    found, offset = [], 0
    for index, layer in enumerate(part["layers"]):
        if isinstance(layer, dict):
            found.append(LayerInfo(*layer.values()))
        else:
            name, dimension, is_conv = layer
            found.append(LayerInfo(name, dimension, is_conv, index, offset if is_conv else None))
            offset += dimension * is_conv
    return found


def beta_of(case: golden.Case) -> float:
    """The threshold of the styles and sums that are stored: one for all parts."""
    return next(part["beta"] for part in case.meta.values() if isinstance(part, dict) and "beta" in part)


def relevance_of(case: golden.Case, part: str) -> Tensor:
    rule, name, shape = case.meta[part]["delta_i_c"]
    return golden.numbers("# * normal", rule)[0] * torch.from_numpy(golden.normal(name, shape))


@golden.cases("c10", where=lambda section, params: "delta_i_c" in params)
def test_text_direction_equals_golden(case: golden.Case) -> None:
    texts, relevance, layers = (
        StoredTexts(case, case.section),
        relevance_of(case, case.section),
        edit_layers(case.params),
    )
    neutral, target = torch.from_numpy(case[f"{case.section}.class_weights"]).unbind(1)
    axis = (target - neutral) / (target - neutral).norm()
    assert (text_axis(texts, texts.target, texts.neutral) - axis).abs().max() < 1e-6
    for key in case.keys(f"{case.section}.direction.beta"):
        beta = float(key.rpartition("beta")[2])
        direction = text_direction(texts, relevance, layers, Text(texts.target, texts.neutral, beta=beta))
        assert direction.channels == case.params[f"nonzero_beta{beta}"]
        moved = [shift for shift, layer in zip(direction.shifts, layers, strict=True) if layer.is_conv]
        assert golden.difference(case, key, torch.cat(moved)) < 1e-6
        assert all(not shift.any() for shift, layer in zip(direction.shifts, layers, strict=True) if not layer.is_conv)
        sums = f"{case.section}.to_styles."
        if f"{sums}sums" in case and beta == beta_of(case):
            shifts = [shift.double() for shift in direction.shifts]
            # Of hundreds of numbers in float32 each: processors differ in the last digits.
            assert golden.difference(case, f"{sums}sums", torch.stack([shift.sum() for shift in shifts])) < 1e-5
            assert (
                golden.difference(case, f"{sums}abs_sums", torch.stack([shift.abs().sum() for shift in shifts])) < 1e-5
            )
        asked = Text(texts.target, texts.neutral, channels=direction.channels)
        counted = text_direction(texts, relevance, layers, asked)
        assert all(torch.equal(*pair) for pair in zip(counted.shifts, direction.shifts, strict=True))
    with pytest.raises(EditError, match="lower beta"):
        text_direction(texts, relevance, layers, Text(texts.target, texts.neutral, beta=1e3))


@golden.cases("c10", where=lambda section, params: "edit_range" in params and "delta_i_c" in params)
def test_text_edit_equals_golden(case: golden.Case) -> None:
    part, texts = case.params, StoredTexts(case, case.section)
    generator = generator_of(part["init_kwargs"], f"edit_{case.section}")
    strengths = np.linspace(*part["edit_range"])
    family = family_with(
        generator=generator,
        text_encoder=texts,
        relevance=relevance_of(case, case.section),
        style_std=None,
        # Text strengths end at 5, the reference's range may be wider: the unit carries the rest.
        text_unit=max(1.0, float(np.abs(strengths).max()) / 4),
        text_channels=5,
    )
    pivots = golden.input_tensor(part["pivots"])
    for index, strength in enumerate(strengths):
        strength = float(strength) / family.text_unit
        plan = edit.resolve([Text(texts.target, texts.neutral, strength, beta=part["beta"])], family)
        styles = plan.codes(pivots, np.zeros(len(pivots)), generator)
        assert golden.difference(case, f"{case.section}.edit{index}.styles", torch.cat(styles, 1)) < 2e-5
        assert golden.difference(case, f"{case.section}.edit{index}.image", edit.render(generator, styles)) < 1e-4
