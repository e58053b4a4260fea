"""The full-size family from files: the published layouts with recipe weights, at small sizes."""

import argparse
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import save_file

from stitch.core.errors import EditError, WeightsError
from stitch.core.images import to_bytes
from stitch.core.records import Edit, Text
from stitch.families import portrait, relevance
from stitch.families.custom import with_generator, with_relevance
from stitch.families.ffhq import PARTS, PUBLISHED, SLIDERS
from stitch.families.ffhq import family as ffhq
from stitch.families.portrait.training.directions import LONGEST
from stitch.methods.stit import edit
from stitch.networks.e4e import Encoder
from stitch.networks.formats import checkpoints, generators
from stitch.networks.stylegan2 import Generator
from tests import full_size, golden, published
from tests.stages import finish

# isort: split
import open_clip

CPU = torch.device("cpu")
BUNDLED = next(part for part in PARTS if part.name == "directions")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return published.write(tmp_path_factory.mktemp("published"))


@pytest.fixture(scope="module")
def whole(files):
    return ffhq.load(files, CPU)


def without(files, *names):
    return {name: path for name, path in files.items() if name not in names}


def with_own(files, folder, **sizes) -> object:
    """The family with a generator of other sizes in a file of our own making."""
    torch.manual_seed(0)
    generator = Generator(**{**published.generator_sizes(False), **sizes})
    checkpoints.save_module(folder / "own.safetensors", generator)
    return with_generator(ffhq.load(files, CPU), folder / "own.safetensors")


def test_load_reads_every_size_from_the_files(whole):
    assert whole.generator.resolution == 32 and whole.generator.num_ws == 8
    assert set(whole.directions) == set(published.DIRECTIONS)
    assert {one.origin for one in whole.directions.values()} == {"published"}
    assert whole.relevance.shape == (whole.style_std.numel(), published.TEXTS["embed_dim"])
    networks = (whole.generator, whole.encoder, whole.parser, whole.perceptual, whole.identity, whole.text_encoder)
    assert not any(p.requires_grad for network in networks for p in network.parameters())
    assert not any(network.training for network in networks)


def test_load_keeps_the_numbers_of_the_files(whole):
    again = generators.from_rosinality(published.rosinality_generator(), torch.zeros(16))
    state = whole.generator.state_dict()
    assert all(torch.equal(state[key], tensor) for key, tensor in again.items() if key != "mapping.w_avg")
    expected = published.drawn(published.empty(Encoder, **published.encoder_sizes(False)), "encoder.")
    encoder = whole.encoder.encoder.state_dict()
    assert all(torch.equal(encoder[key.removeprefix("encoder.")], tensor) for key, tensor in expected.items())
    direction = torch.from_numpy(golden.normal("direction.yaw", (1, 16)))[0]
    yaw = whole.directions["yaw"]
    assert torch.allclose(yaw.vector, direction / direction.norm(), atol=1e-5) and yaw.unit == ffhq.STEPS["yaw"]
    kinds = [layer.is_conv for layer in whole.generator.layers]
    sizes = [layer.dimension for layer in whole.generator.layers]
    stds = [np.abs(golden.normal(f"std.{i}", (size,))) for i, size in enumerate(sizes)]
    kept = np.concatenate([std for std, kind in zip(stds, kinds, strict=True) if kind])
    assert np.array_equal(whole.style_std.numpy(), kept)


def test_load_adds_the_portrait_familys_directions_where_codes_are_as_long(files, whole, tmp_path):
    longer = ffhq.load({**files, "directions": BUNDLED.folder / BUNDLED.file}, CPU)
    assert set(longer.directions) == set(whole.directions)
    vectors = {slider.name: golden.normal(slider.name, (16,)) for slider in portrait.SLIDERS}
    save_file({f"direction.{name}": vector for name, vector in vectors.items()}, tmp_path / "directions.safetensors")
    found = ffhq.load({**files, "directions": tmp_path / "directions.safetensors"}, CPU).directions
    published_ones, lent = {one.name for one in PUBLISHED}, {one.name for one in portrait.SLIDERS}
    assert set(found) == set(whole.directions) | lent - published_ones
    assert found["glasses"].origin == "ours" and {found[name].origin for name in whole.directions} == {"published"}
    step = torch.from_numpy(vectors["glasses"])
    assert torch.allclose(found["glasses"].vector * found["glasses"].unit, step, atol=1e-5)


def test_load_tells_children_by_the_portrait_familys_plane_where_codes_are_as_long(files, whole, tmp_path):
    (child,) = (part for part in PARTS if part.name == "child")
    assert whole.child is None and ffhq.load({**files, "child": child.folder / child.file}, CPU).child is None
    plane = {"normal": golden.normal("child", (16,)), "offset": np.array([-1.5], np.float32)}
    save_file(plane, tmp_path / "child.safetensors")
    found = ffhq.load({**files, "child": tmp_path / "child.safetensors"}, CPU)
    assert found.child.offset == -1.5 and found.directions["age"].adults_below
    assert not found.directions["smile"].adults_below
    save_file({"normal": plane["normal"]}, tmp_path / "child.safetensors")
    with pytest.raises(WeightsError, match="boundary"):
        ffhq.load({**files, "child": tmp_path / "child.safetensors"}, CPU)


def test_a_step_was_measured_for_every_published_direction_but_roll():
    assert {*ffhq.STEPS, "roll"} == {slider.name for slider in PUBLISHED}
    assert all(0.3 < length <= LONGEST for length in ffhq.STEPS.values())


def test_directions_that_are_lent_lie_in_one_file():
    (own,) = (part for part in portrait.ABOUT.parts if part.name == "directions")
    assert replace(BUNDLED, family="portrait") == own and len({one.name for one in SLIDERS}) == len(SLIDERS)


@torch.no_grad()
def test_loaded_networks_work_together(whole):
    crops = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    pivots = whole.encoder(crops)
    plan = edit.resolve([Edit("smile", 1.0), Text("a face with glasses", strength=1.0)], whole)
    edited = edit.render(whole.generator, plan.codes(pivots, [0.0, 0.1], whole.generator))
    assert edited.shape == (2, 3, 32, 32) and edited.isfinite().all()
    assert not torch.allclose(edited, whole.generator(pivots))
    assert whole.parser(edited).shape == (2, 512, 512)
    assert torch.allclose(whole.identity(edited).norm(dim=1), torch.ones(2))
    larger = torch.nn.functional.interpolate(edited, scale_factor=2)
    assert whole.perceptual.distance(whole.perceptual.features(larger), whole.perceptual.features(larger)).max() == 0


def test_load_takes_the_generator_by_itself_where_the_encoder_has_none(files, whole, tmp_path):
    content = checkpoints.load_checkpoint(files["encoder"])
    bare = {key: tensor for key, tensor in content["state_dict"].items() if key.startswith("encoder.")}
    torch.save({**content, "state_dict": bare}, tmp_path / "e4e.pt")
    rosinality = {"g_ema": published.rosinality_generator(), "latent_avg": torch.zeros(16)}
    torch.save(rosinality, tmp_path / "g.pt")
    family = ffhq.load({**files, "encoder": tmp_path / "e4e.pt", "generator": tmp_path / "g.pt"}, CPU)
    code = torch.ones(1, 8, 16)
    assert torch.equal(family.generator(code), whole.generator(code))
    with pytest.raises(WeightsError, match="e4e.pt: .*an encoder without a generator"):
        ffhq.load({**files, "encoder": tmp_path / "e4e.pt"}, CPU)


@pytest.mark.parametrize("part", ["encoder", "parser", "identity", "detector", "perceptual", "clip"])
def test_load_refuses_another_networks_file(files, part):
    other = "parser" if part != "parser" else "identity"
    with pytest.raises(WeightsError, match=f"{files[other].name}: .*use"):
        ffhq.load({**files, part: files[other]}, CPU)


def test_load_names_a_missing_part(files):
    with pytest.raises(WeightsError, match="part 'identity' is missing"):
        ffhq.load(without(files, "identity"), CPU)
    with pytest.raises(WeightsError, match="part 'landmarks' is missing"):
        ffhq.detector(without(files, "landmarks"), "fan", CPU)


def test_load_without_clip_has_no_text_edits(files):
    family = ffhq.load(without(files, "clip"), CPU)
    assert family.text_encoder is None and family.relevance is None and family.style_std is None
    family = ffhq.load(without(files, "relevance"), CPU)
    assert family.text_encoder is not None and family.relevance is None and family.style_std is None
    with pytest.raises(EditError, match="stitch relevance"):
        edit.resolve([Text("a face with glasses")], family)


@torch.no_grad()
def test_picture_tower_prepares_pictures_as_clip_does(files):
    tower = ffhq.picture_tower(files, CPU)
    images = torch.rand(2, 3, 48, 48, generator=torch.Generator().manual_seed(0)) * 2 - 1
    found = tower(images)
    assert found.shape == (2, published.TEXTS["embed_dim"]) and not any(p.requires_grad for p in tower.parameters())
    prepare = open_clip.image_transform(tower.size, is_train=False)
    expected = tower.visual(torch.stack([prepare(Image.fromarray(picture)) for picture in to_bytes(images)]))
    # Bytes between the steps, as there are in CLIP's own program, change the picture by less than a level.
    assert torch.nn.functional.cosine_similarity(found, expected).min() > 0.999
    with pytest.raises(WeightsError, match="79999_iter.pth"):
        ffhq.picture_tower({**files, "clip": files["parser"]}, CPU)


def test_relevance_measured_here_serves_text_edits(files, tmp_path):
    family = with_own(files, tmp_path, channels={4: 2, 8: 1, 16: 1, 32: 1})
    path = tmp_path / "table.safetensors"
    finish(relevance.write(path, family.generator, ffhq.picture_tower(files, CPU), samples=1))
    whole = with_relevance(family, path)
    assert whole.text_unit == 2.0 and len(edit.resolve([Text("a face with glasses")], whole).shifts) == 1


def test_load_without_stds_moves_channels_as_the_authors_do(files):
    family = ffhq.load(without(files, "style_std"), CPU)
    assert family.style_std is None and family.text_unit == ffhq.TEXT_UNIT


@pytest.mark.parametrize("array", [np.zeros((3, 16)), np.ones((1, 5)), np.zeros((1, 16)), np.full((1, 16), np.nan)])
def test_load_refuses_what_is_no_direction(files, tmp_path, array):
    np.save(tmp_path / "d.npy", array)
    with pytest.raises(WeightsError, match="d.npy.*direction"):
        ffhq.load({**files, "direction.age": tmp_path / "d.npy"}, CPU)


def test_a_direction_may_differ_between_codes(files, tmp_path, whole):
    array = np.arange(1.0, 1 + 8 * 16).reshape(1, 8, 16)
    np.save(tmp_path / "d.npy", array)
    direction = ffhq.load({**files, "direction.age": tmp_path / "d.npy"}, CPU).directions["age"]
    assert direction.vector.shape == (8, 16)
    family = ffhq.load({**files, "direction.age": tmp_path / "d.npy"}, CPU)
    codes = edit.resolve([Edit("age", 1.0)], family).codes(torch.zeros(2, 8, 16), [0.0, 1.0], family.generator)
    length = np.linalg.norm(array[0], axis=1).mean()
    assert torch.allclose(codes[1], torch.from_numpy(array[0] / length).float() * ffhq.STEPS["age"], rtol=1e-5)


@golden.needs_real
def test_a_clip_is_edited_with_the_files_alone(tmp_path, capsys):
    result = full_size.main(tmp_path, full=False)
    assert result.edited_frames == full_size.FRAMES and result.path.stat().st_size > 1000
    assert np.isfinite(list(result.measures.values())).all()
    assert {"track", "align", "invert", "tune", "stitching", "merge"} <= set(capsys.readouterr().out.split())


@golden.needs_real
@pytest.mark.slow
def test_the_full_size_run_fits_into_16_gib(tmp_path):
    # In a process of its own, whose peak nothing else raised; -s shows seconds and memory of each stage.
    command = [sys.executable, "-m", "tests.full_size", str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, cwd=golden.REPOSITORY)
    print(result.stdout)
    assert result.returncode == 0, result.stderr
    assert int(re.findall(r"(\d+) MiB", result.stdout)[-1]) < 16 * 1024


# Own generators


def test_an_own_generator_that_fits_is_taken_with_a_word_of_warning(files, tmp_path):
    family = with_own(files, tmp_path)
    assert family.relevance is not None
    assert "own.safetensors" in family.notes[0] and "guess" in family.notes[0]


def test_an_own_generator_of_other_widths_goes_without_text_edits(files, tmp_path):
    family = with_own(files, tmp_path, channels={4: 6, 8: 6, 16: 4, 32: 4})
    assert family.relevance is None and family.style_std is None and family.directions


def test_an_own_generator_of_another_resolution_needs_its_encoder(files, tmp_path):
    with pytest.raises(WeightsError, match="own.safetensors: draws 16 px from 6 codes .* finds 8 codes"):
        with_own(files, tmp_path, resolution=16, channels={4: 6, 8: 6, 16: 4})


def synthesis(*keys: str) -> dict[str, torch.Tensor]:
    return {key: torch.zeros(1) for key in keys}


OTHERS = {
    "StyleGAN3": {"G_ema": None, **synthesis("synthesis.input.freqs", "synthesis.L0_36_512.weight")},
    "first StyleGAN": synthesis("generator.progression.0.conv1.conv.weight", "generator.to_rgb.0.conv.weight"),
    "diffusion model": {"state_dict": synthesis("model.diffusion_model.input_blocks.0.0.weight")},
    "encoder without a generator": {"state_dict": synthesis("encoder.input_layer.0.weight")},
    "discriminator": synthesis("b1024.fromrgb.weight", "b8.conv0.weight"),
    "class labels": synthesis("mapping.embed.weight", "synthesis.b4.const"),
    "residual make": synthesis("synthesis.b8.skip.weight"),
    "names of a generator": {"epoch": 3},
    "no StyleGAN2 generator": synthesis("conv1.weight", "fc.weight"),
    "1 colours": {"synthesis.b4.torgb.weight": torch.zeros(1, 8, 1, 1)},
}


@pytest.mark.parametrize("kind", OTHERS)
def test_another_kind_of_file_is_named(tmp_path, kind):
    torch.save({key: value for key, value in OTHERS[kind].items() if value is not None}, tmp_path / "own.pt")
    with pytest.raises(WeightsError, match=f"own.pt.*{kind}.*use a StyleGAN2 face generator"):
        generators.load_generator(tmp_path / "own.pt")


def test_a_missing_mean_code_is_measured(tmp_path):
    state = published.rosinality_generator()
    torch.save({"g": {}, "g_ema": state, "args": argparse.Namespace(size=32)}, tmp_path / "550000.pt")
    generator = generators.load_generator(tmp_path / "550000.pt")
    z = torch.randn(4000, 16, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        mean = generator.mapping(z).mean(0)
    assert (generator.w_avg - mean).abs().max() < 0.15 * mean.norm()
    assert generator.w_avg.norm() > 0


# Trackers


def test_fan_gives_68_landmarks_inside_the_box(files):
    detector = ffhq.detector(files, "fan", CPU)

    class OneFace:
        def detect(self, frame, threshold):
            boxes = np.array([[-5.0, 4.0, 60.0, 80.0]], np.float32)
            return type("Found", (), {"boxes": boxes, "scores": np.ones(1, np.float32), "landmarks": None})

    detector.detector = torch.nn.Module()
    detector.detector.detect = OneFace().detect
    found = detector.detect(np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8), 0.5)
    assert found.landmarks.shape == (1, 68, 2)
    assert (found.landmarks >= 0).all() and (found.landmarks <= [60, 64]).all()


def test_load_refuses_an_unknown_tracker(files):
    with pytest.raises(ValueError, match="tracker: got 'dlib'"):
        ffhq.detector(files, "dlib", CPU)


# Manifests


def expected(name: str, key: str = "key") -> dict[str, tuple[list[int], str]]:
    return {entry[key]: (entry["shape"], entry["rule"]) for entry in golden.manifest(name)["tensors"]}


def described(module: torch.nn.Module, prefix: str = "") -> dict[str, tuple[list[int], str]]:
    shapes, rules = module.state_dict(), published.rules(module)
    return {prefix + key: (list(tensor.shape), rules[key]) for key, tensor in shapes.items()}


@golden.needs_golden
def test_networks_have_the_manifests_names_shapes_and_rules():
    assert described(published.empty(published.BiSeNet, 19)) == expected("bisenet19")
    backbone = published.empty(published.Backbone, num_layers=50, drop_ratio=0.6, mode="ir_se")
    assert described(backbone) == expected("arcface_ir_se50")
    assert described(published.empty(Encoder), "encoder.") == expected("e4e_encoder_1024")
    with torch.device("meta"):
        generator = Generator(**published.generator_sizes(True))
    rosinality = published.to_rosinality(generator.state_dict())
    found = {key: (list(tensor.shape), published.rosinality_rule(key)) for key, tensor in rosinality.items()}
    assert found == expected("rosinality_ffhq_config_f_1024")
    shapes = {key: list(tensor.shape) for key, tensor in generator.state_dict().items()}
    nvidia = {key: shape for key, (shape, _) in expected("nvidia_ffhq_1024").items() if "resample_filter" not in key}
    assert shapes == nvidia
    alexnet = {key: list(tensor.shape) for key, tensor in published.alexnet().items() if key.startswith("features")}
    assert alexnet == {key: shape for key, (shape, _) in expected("lpips_alexnet").items()}
