"""Every network against the golden cases c01-c06 and c09 (lpips), found in the folder."""

import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from stitch.core.images import resize
from stitch.networks.e4e import Encoder, Inverter
from stitch.networks.facexlib import ArcFaceEmbedder, BiSeNetParser
from stitch.networks.formats.checkpoints import encoder_from_state, freeze
from stitch.networks.formats.generators import from_rosinality, generator_from_state, load_generator
from stitch.networks.perceptual import Perceptual
from stitch.networks.stylegan2 import Generator
from tests import golden

IMAGE = 1e-4
CODE = 2e-5


def rosinality(name: str) -> Generator:
    return generator_from_state(golden.state(name), golden.extra(name)["latent_avg"])


def nvidia(name: str) -> Generator:
    sizes = golden.manifest(name)["init_kwargs"]["synthesis_kwargs"]
    return generator_from_state(golden.state(name), conv_clamp=sizes.get("conv_clamp"))


@golden.needs_golden
@pytest.mark.parametrize("name", golden.manifests())
def test_recipe_gives_the_manifests_sums(name):
    manifest = golden.manifest(name)
    if manifest["checksum"]["num_values"] > 2e7:
        pytest.skip("full size: covered by its own case, whose numbers would differ")
    total, squares = golden.sums(golden.state(name).values())
    assert total == pytest.approx(manifest["checksum"]["sum"], rel=1e-9)
    assert squares == pytest.approx(manifest["checksum"]["sumsq"], rel=1e-12)


@golden.cases("c01", inside="cases", slow=True)
@torch.no_grad()
def test_rosinality_generator_equals_golden(case):
    side = int(re.findall(r"\d+", case.section)[0])
    generator = rosinality(golden.manifest_of("rosinality", case.section, lambda m: m["constructor"]["size"] == side))
    z, w, wplus = (golden.input_tensor(case.params["inputs"][key]) for key in ("z", "w", "wplus"))
    tag = case.section
    assert golden.difference(case, f"{tag}.w_of_z", generator.mapping(z)) < CODE
    for psi in case.params["psis"]:
        code = generator.mapping(z, psi)
        assert golden.difference(case, f"{tag}.z_psi{psi}.latent0", code) < CODE
        assert golden.difference(case, f"{tag}.z_psi{psi}.image", generator(generator.broadcast(code))) < IMAGE
    assert golden.difference(case, f"{tag}.w.image", generator(generator.broadcast(w))) < IMAGE
    assert golden.difference(case, f"{tag}.wplus.image", generator(wplus)) < IMAGE
    assert golden.difference(case, f"{tag}.wplus_zeronoise.image", generator(wplus, noise="none")) < IMAGE


@golden.cases("c02", inside="cases", where=lambda section, params: "layers" in params, slow=True)
@torch.no_grad()
def test_nvidia_generator_equals_golden(case):
    tag = case.section
    generator = nvidia(golden.manifest_of("nvidia", tag, golden.of_sizes(case.params["init_kwargs"])))
    assert [[f"synthesis.{x.name}", x.dimension, x.is_conv] for x in generator.layers] == case.params["layers"]
    assert generator.num_ws == case.params["num_ws"]
    ws = golden.input_tensor(case.params["inputs"]["ws"])
    results = {"ws.const.image": generator(ws), "ws.none.image": generator(ws, noise="none")}
    if "z" in case.params["inputs"]:
        z, psi, cutoff = golden.input_tensor(case.params["inputs"]["z"]), case.params["psi"], case.params["cutoff"]
        code = generator.mapping(z)
        results["w_of_z"] = code
        results["w_of_z_trunc"] = generator.mapping(z, psi)
        results["ws_of_z_trunc_cutoff"] = generator.broadcast(code, psi, cutoff)
        results["z_trunc.const.image"] = generator(generator.broadcast(code, psi))
    styles = generator.styles(ws)
    results |= {f"styles.{index:02d}": style for index, style in enumerate(styles)}
    if "style_delta" in case.params["inputs"]:
        name, rule = case.params["inputs"]["style_delta"]
        (scale,) = golden.numbers("# * normal", rule)
        deltas = [
            scale * torch.from_numpy(golden.normal(name.format(i=index), style.shape))
            for index, style in enumerate(styles)
        ]
        shifted = [style + delta for style, delta in zip(styles, deltas, strict=True)]
        results["styles_plus_delta.const.image"] = generator.from_styles(shifted)
    stored = {key.removesuffix(".stats") for key in case.keys(f"{tag}.") if not key.endswith(("mean", "pos"))}
    stored = {key.removesuffix(".patches").removesuffix(".down32").removeprefix(f"{tag}.") for key in stored}
    assert stored <= set(results)
    for key in stored:
        tolerance = IMAGE if key.endswith("image") else CODE
        assert golden.difference(case, f"{tag}.{key}", results[key]) < tolerance, key


@golden.cases("c02", inside="cases", where=lambda section, params: "globals_protocol3" in params)
@torch.no_grad()
def test_network_pickle_equals_golden(case):
    paths = sorted(golden.FOLDER.glob("c02_*.pkl"))
    assert paths
    z, psi = golden.input_tensor(case.params["inputs"]["z"]), case.params["truncation_psi"]
    for path in paths:
        generator = load_generator(path)
        assert generator.resolution == case.params["init_kwargs"]["img_resolution"]
        image = generator(generator.broadcast(generator.mapping(z, psi)), case.params["noise_mode"])
        assert golden.difference(case, f"{case.section}.image", image) < IMAGE, path


@golden.cases("c02", inside="cases", where=lambda section, params: "style_delta" in params["inputs"])
@torch.no_grad()
def test_stacked_generator_equals_golden(case):
    generator = nvidia(golden.manifest_of("nvidia", case.section, golden.of_sizes(case.params["init_kwargs"])))
    ws = golden.input_tensor(case.params["inputs"]["ws"])
    images = generator.stacked(len(ws))(ws)
    assert golden.difference(case, f"{case.section}.ws.const.image", images) < IMAGE


@golden.cases("c03", inside="cases", slow=True)
@torch.no_grad()
def test_both_layouts_give_the_golden_image(case):
    sizes = dict(zip(("size", "style_dim", "n_mlp", "channel_multiplier"), case.params["rosinality_ctor"], strict=True))
    name = golden.manifest_of("rosinality", f"r{case.section}", lambda m: sizes.items() <= m["constructor"].items())
    state = golden.state(name)
    renamed = from_rosinality(state, golden.extra(name)["latent_avg"])
    for old, new, _ in case.params["keymap"]:
        assert np.array_equal(renamed[new].flatten(), state[old].flatten()), (old, new)
    assert len(renamed) == len(case.params["keymap"]) + 1
    wplus = golden.input_tensor(case.params["inputs"]["wplus"])
    assert golden.difference(case, f"s{case.section}.image", generator_from_state(renamed)(wplus)) < IMAGE


@golden.cases("c04", where=lambda section, params: "style_count" in params, slow=True)
@torch.no_grad()
def test_encoder_equals_golden(case):
    styles = case.params["style_count"]
    manifest = golden.manifest_of("e4e", case.section.removeprefix("s"), lambda m: m["style_count"] == styles)
    encoder = encoder_from_state(golden.state(manifest))
    rule, name, shape = case.params["image"]
    noise, height, begin, end, count, low, high = golden.numbers(
        "clip(#*normal + #*sin(linspace(#,#,#)) along the width, #, #)", rule
    )
    wave = np.sin(np.linspace(begin, end, int(count))).astype(np.float32)
    picture = np.clip(np.float32(noise) * golden.normal(name, shape) + np.float32(height) * wave, low, high)
    assert golden.sums([torch.from_numpy(picture)]) == pytest.approx(case[f"{case.section}.image_checksum"], rel=1e-6)
    codes = encoder(torch.from_numpy(picture))
    assert codes.shape[1] == case.params["style_count"]
    assert golden.difference(case, f"{case.section}.codes", codes) < IMAGE
    inverter = freeze(Inverter(encoder, golden.extra(manifest)["latent_avg"]))
    pivots = inverter(torch.from_numpy(picture))
    assert golden.difference(case, f"{case.section}.codes_plus_avg", pivots) < IMAGE


@golden.cases("c04", where=lambda section, params: section == "resize")
def test_encoder_shrinks_with_antialiasing(case):
    picture = golden.input_tensor(case.params["input"])
    result = resize(picture[None], case.params["output"][0])[0]
    assert golden.difference(case, "resize.antialias_true", result) < 1e-6
    assert golden.difference(case, "resize.antialias_false", result) > 0.1


@golden.needs_golden
def test_encoder_default_sizes_are_the_published_ones():
    with torch.device("meta"):
        encoder = Encoder()
    shapes = {f"encoder.{key}": list(tensor.shape) for key, tensor in encoder.state_dict().items()}
    found = [golden.manifest(name) for name in golden.manifests() if name.startswith("e4e")]
    for published in [manifest for manifest in found if manifest["style_count"] == encoder.num_ws]:
        assert shapes == {entry["key"]: entry["shape"] for entry in published["tensors"]}


@golden.whole("c05")
@torch.no_grad()
def test_parser_scores_equal_golden(case):
    rule, name, shape = case.meta["image"]
    smooth, side, _, to, rough = golden.numbers(
        "image = # * bilinear_upsample(avg_pool #x# of a, to #, align_corners False) + # * a", rule
    )
    noise = torch.from_numpy(golden.normal(name, shape))
    pooled = F.avg_pool2d(noise, int(side))
    image = smooth * F.interpolate(pooled, size=int(to), mode="bilinear", align_corners=False) + rough * noise
    assert golden.sums([image]) == pytest.approx(case.meta["image_checksum"], rel=1e-5)
    parser = BiSeNetParser.from_state(golden.state(golden.manifest_of("bisenet", "", lambda _: True)))
    scores = parser.scores(image)
    for key, output in zip(("out", "out16", "out32"), parser.network(image), strict=True):
        assert golden.difference(case, key, output) < IMAGE
    labels = scores.argmax(1)[0].numpy()
    assert (labels != case["argmax"]).sum() <= 100
    assert np.abs(np.bincount(labels.ravel(), minlength=len(case["argmax_hist"])) - case["argmax_hist"]).max() <= 100


class Listening(torch.nn.Module):
    """In BiSeNet's place: remembers what it was given."""

    def forward(self, inputs):
        self.inputs = inputs
        return (torch.zeros(len(inputs), 19, *inputs.shape[-2:]),)


@golden.whole("c08")
def test_parser_input_equals_golden(case):
    stored = case.meta["results"]["calc_masks"]
    rule, name, shape = stored["image"]
    image = golden.numbers("# * normal", rule)[0] * torch.from_numpy(golden.normal(name, shape))
    parser = BiSeNetParser(Listening())
    step = shape[-1] // stored["network_input_shape"][-1]
    parser(image[..., ::step, ::step])  # the authors' nearest pixels; ours would be antialiased
    assert golden.difference(case, "calc_masks.network_input", parser.network.inputs) < 1e-5


def clipped(spec: list) -> torch.Tensor:
    scale, low, high = golden.numbers("clip(#*normal,#,#)", spec[0])
    return (scale * golden.input_tensor(spec[1:])).clamp(low, high)


@golden.whole("c06")
@torch.no_grad()
def test_embeddings_equal_golden(case):
    embedder = ArcFaceEmbedder.from_state(golden.state(golden.manifest_of("arcface", "", lambda _: True)))
    small, large = map(clipped, (case.meta["image112"], case.meta["image256"]))
    assert golden.difference(case, "embedding_112", embedder.network(small)) < 1e-5
    face = embedder.inner_face(large)
    rows, columns = np.subtract(case.meta["_summarised"]["crop"], face.shape)[2:].tolist()
    assert golden.difference(case, "crop", F.pad(face, (0, columns, 0, rows))) < 1e-5
    assert golden.difference(case, "embedding_256_crop", embedder(large)) < 1e-5


def lpips_picture(name: str, shape: list[int], rule: str) -> torch.Tensor:
    parts, height, rough, low, high = golden.numbers("k = S//#; clip(#*k * U + #*a, #, #)", rule)
    noise = torch.from_numpy(golden.normal(name, shape))
    side = int(shape[-1] // parts)
    smooth = F.interpolate(F.avg_pool2d(noise, side), size=shape[-1], mode="bilinear", align_corners=False)
    return (height * side * smooth + rough * noise).clamp(low, high)


@golden.cases("c09", where=lambda section, params: section.startswith("lpips."))
@torch.no_grad()
def test_lpips_equals_golden(case):
    first, second, shape = case.params["inputs"]
    pair = [lpips_picture(name, shape, case.meta["smooth_input_rule"]) for name in (first, second)]
    assert [image.double().sum().item() for image in pair] == pytest.approx(case.params["input_sums"], rel=1e-5)
    name = golden.manifest_of("lpips", "", lambda _: True)
    state, manifest = golden.state(name), golden.manifest(name)
    package = Perceptual.from_lpips_alex(state)
    for weight, stored in zip(package.linear, manifest["package_linear_weights"].values(), strict=True):
        assert golden.sums([weight.detach()]) == pytest.approx((stored["sum"], stored["sumsq"]), rel=1e-9)
    linear = manifest["recipe_linear_weights"]
    recipe = {x["key"]: golden.draw(x["rule"], x["key"], x["shape"], manifest["salt"]) for x in linear}
    stages = torch.stack(package.distances(*[package.features(image) for image in pair]))
    assert golden.difference(case, f"{case.section}.package_lin.per_layer", stages) < 1e-5
    assert golden.difference(case, f"{case.section}.package_lin", package(*pair)) < 1e-5
    other = Perceptual.from_lpips_alex(state, recipe)
    assert golden.difference(case, f"{case.section}.recipe_lin", other(*pair)) < 1e-5
