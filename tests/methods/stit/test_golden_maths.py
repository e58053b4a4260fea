"""Geometry, masks, losses and metrics against the published programs' numbers (golden cases c07, c08, c09, c11)."""

import re

import numpy as np
import pytest
import torch
from torch import Tensor

from stitch.core import geometry, images, metrics
from stitch.methods.stit import losses, masks, merge
from tests import golden


def close_bytes(actual: np.ndarray, expected: np.ndarray, levels: int = 1) -> bool:
    """Section 4: equal, or off by so many levels in at most 0.1 % of the bytes."""
    gap = np.abs(actual.astype(int) - expected.astype(int))
    return gap.max() <= levels and (gap > 0).mean() <= 1e-3


def is_crop(section: str, params: object) -> bool:
    return section.startswith("crop.")


def bits(case: golden.Case, key: str) -> Tensor:
    size = case.meta["size"]
    return torch.from_numpy(case.bits(key, (1, 1, size, size))).float()


@golden.needs_golden
def test_quads_equal_golden() -> None:
    case = golden.load("c07")
    whole = [slice(0, case.params["frame_count"])]
    for landmarks in (key for key in case.keys() if key.endswith(".landmarks")):
        clip = landmarks.removesuffix(".landmarks")
        for scale in case.params["scales"]:
            raw = geometry.quads_from_landmarks(case[landmarks], scale)
            for name, values in zip("cxy", raw, strict=True):
                assert golden.difference(case, f"{clip}.scale{scale}.raw.{name}", values) < 1e-8
            for centre_sigma, axes_sigma in case.params["sigmas"]:
                sigmas = (centre_sigma, axes_sigma, axes_sigma)
                smoothed = [geometry.smooth(*pair, whole) for pair in zip(raw, sigmas, strict=True)]
                key = f"{clip}.scale{scale}.c{centre_sigma}_xy{axes_sigma}"
                for name, values in zip("cxy", smoothed, strict=True):
                    assert golden.difference(case, f"{key}.{name}", values) < 1e-8
                assert golden.difference(case, f"{key}.quads", geometry.corners(*smoothed)) < 1e-8


@golden.cases("c07", where=is_crop)
def test_perspective_coefficients_equal_golden(case: golden.Case) -> None:
    size = case.params["output_size"]
    frame_to_crop = np.linalg.inv(geometry.quad_transform(case[f"{case.section}.quad"] + 0.5, size))
    coefficients = (frame_to_crop / frame_to_crop[2, 2]).ravel()[:8]
    np.testing.assert_allclose(coefficients, case[f"{case.section}.coefficients"], rtol=1e-7, atol=1e-8)


@golden.cases("c07", where=is_crop)
def test_crop_equals_golden(case: golden.Case) -> None:
    # The reference shrinks the quad and then adds half a pixel: half a shrunk pixel too far for our convention.
    half = 0.5 * max(1, case.params["shrink"])
    quad = case[f"{case.section}.quad"] + half
    crop = geometry.sample_crop(case[case.params["picture"]], quad, case.params["output_size"], border="black")
    assert close_bytes(crop, case[f"{case.section}.image"])


@golden.needs_golden
def test_paste_equals_golden() -> None:
    case = golden.load("c07")
    for name in (key.removesuffix(".tile") for key in case.keys("paste.") if key.endswith(".tile")):
        crop = name.replace("paste.", "crop.")
        frame, quad, tile = case[case.params[crop]["picture"]], case[f"{crop}.quad"] + 0.5, case[f"{name}.tile"]
        opaque = np.full(tile.shape[:2], 255, np.uint8)
        plain = merge.composite(frame, tile, opaque, quad, prescale=False)
        assert close_bytes(plain, case[f"{name}.plain"])
        for key in case.keys(f"{name}.mask_radius"):
            radius = int(re.findall(r"\d+$", key)[0])
            alpha = merge.feather(case[f"{name}.mask"], radius)
            pasted = merge.composite(frame, tile, alpha, quad, prescale=False)
            assert close_bytes(pasted, case[key], levels=2 if radius else 1)


@golden.needs_golden
def test_regions_equal_golden_bits() -> None:
    case = golden.load("c08")
    for key in (key for key in case.keys() if key.endswith(".mask_bits")):
        name, mask = key.removesuffix(".mask_bits"), bits(case, key)
        for edge, inner, outer, whole in case.params["params"]:
            regions = masks.regions(mask, outer, edge, inner, whole)
            prefix = f"{name}.p{edge}_{inner}_{outer}_{whole:d}"
            assert torch.equal(regions.mask, bits(case, f"{prefix}.content_bits"))
            assert torch.equal(regions.boundary, bits(case, f"{prefix}.border_bits"))
            assert torch.equal(regions.dilated_mask, bits(case, f"{prefix}.full_bits"))


@golden.needs_golden
def test_masks_from_labels_equal_golden() -> None:
    case = golden.load("c08")
    edge, inner, outer, whole = case.params["results"]["calc_masks"]["args_border_inner_outer_whole"]
    size = case.params["results"]["calc_masks"]["image"][2][-1]
    labels = case["calc_masks.labels"]
    ratio = size // len(labels)
    foreground = masks.foreground(torch.from_numpy(labels.astype(np.int64))[None])
    regions = masks.regions(foreground, outer // ratio, edge // ratio, inner // ratio, whole)
    for key, mask in (
        ("calc_masks.content", regions.mask),
        ("calc_masks.border", regions.boundary),
        ("calc_masks.full", regions.dilated_mask),
        ("calc_mask", foreground),
    ):
        resized = masks.resize(mask, size, soft=True)
        assert golden.difference(case, key, resized) < 1e-5
        np.testing.assert_allclose(resized[0, 0].double().sum(1), case[f"{key}.row_sums"], atol=size * 1e-5)
        np.testing.assert_allclose(resized[0, 0].double().sum(0), case[f"{key}.col_sums"], atol=size * 1e-5)


@golden.needs_golden
def test_conversions_equal_golden() -> None:
    case = golden.load("c08")
    picture = images.to_bytes(torch.from_numpy(case["tensor2pil.input"]))
    assert np.array_equal(picture[0], case["tensor2pil.output"])
    expected = case["tensor2pil.mask_output"]
    begin, end, count = golden.numbers("m=linspace(#,#,#)", case.params["results"]["tensor2pil"])
    mask = torch.linspace(begin, end, int(count)).reshape(1, *expected.shape)
    assert np.array_equal(images.to_bytes(2 * mask - 1)[..., 0], expected)
    assert golden.difference(case, "to_network.normalised", images.to_tensor(case["to_network.u8"])) < 1e-6


@golden.cases("c09", where=lambda section, params: section == "masked_l2")
def test_masked_distance_equals_golden(case: golden.Case) -> None:
    first, second, shape = case.params["inputs"]
    pair = [golden.input_tensor((name, shape)) for name in (first, second)]
    name, *mask_shape = re.findall(r"of (\S+) shape \[(\d+),(\d+),(\d+),(\d+)\]", case.params["mask"])[0]
    scale, mean, low, high = golden.numbers("clip(#*normal+#,#,#)", case.params["mask"])
    (threshold,) = golden.numbers("binary mask = that > #", case.params["mask"])
    noise = torch.from_numpy(golden.normal(name, [int(side) for side in mask_shape]))
    soft = noise.mul(scale).add(mean).clamp(low, high)
    for kind, mask in (("soft", soft), ("binary", (soft > threshold).float())):
        for distance, expected in case.params[kind].items():
            assert losses.masked_distance(*pair, mask, distance).item() == pytest.approx(expected, rel=1e-5)


@golden.cases("c11")
def test_identity_metrics_equal_golden(case: golden.Case) -> None:
    same = f"{case.section}.original" not in case
    # A section without arrays is a clip against itself: the one with the same original.
    own = [
        section
        for section, part in case.meta.items()
        if f"{section}.original" in case and part["TL_ID_original_mean"] == case.params["TL_ID_original_mean"]
    ]
    original = case[f"{own[0] if same else case.section}.original"]
    edited = original if same else case[f"{case.section}.edited"]
    for name, metric in (("TL_ID", metrics.tl_id), ("TG_ID", metrics.tg_id)):
        assert metric(original, edited) == pytest.approx(case.params[name], abs=1e-7)
        ratio = metric(original, 3.0 * edited, "ratio_of_means")
        assert ratio == pytest.approx(case.params[f"{name}_ratio_of_means"], abs=1e-7)
