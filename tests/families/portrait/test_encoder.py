import torch

from stitch.families.miniature.training.loop import Schedule
from stitch.families.portrait.encoder import FaceEncoder, LatentSpace
from stitch.families.portrait.training import encoder
from stitch.networks.efficientnet import Stage
from stitch.networks.formats.checkpoints import load_module, save_module
from tests.families.portrait import tiny

STAGES = (Stage(3, 2, 1, 4, 1), Stage(3, 2, 2, 6, 1))


def small(style_dim: int = 8) -> FaceEncoder:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return FaceEncoder(16, style_dim, 4, STAGES, width=4)


def test_latent_space_whitens_its_samples():
    rng = torch.Generator().manual_seed(0)
    w = torch.randn(4000, 5, generator=rng) @ torch.randn(5, 5, generator=rng) + 3
    space = LatentSpace.of(w)
    white = space.whiten(w)
    torch.testing.assert_close(white.T @ white / len(w), torch.eye(5), atol=1e-3, rtol=0)
    torch.testing.assert_close(space(white), w, atol=1e-3, rtol=1e-4)
    assert (space.deviation.diff() <= 0).all()


def test_encoder_answers_one_code_whatever_the_size_of_the_crop():
    network = small()
    for side in (16, 32, 48):
        assert network(torch.zeros(2, 3, side, side)).shape == (2, 8)


def test_encoder_file_brings_back_the_network(tmp_path):
    network = small().eval()
    save_module(tmp_path / "encoder.safetensors", network)
    loaded = load_module(tmp_path / "encoder.safetensors", FaceEncoder)
    crops = torch.rand(2, 3, 32, 32)
    assert torch.equal(loaded(crops), network(crops))


def test_regress_finds_a_linear_layer_that_exists():
    network = small().eval()
    crops = torch.rand(20, 3, 16, 16, generator=torch.Generator().manual_seed(2)) * 2 - 1
    w = network(crops)
    with torch.no_grad():
        network.linear.weight.zero_()
    encoder.regress(network, zip(crops.split(5), w.split(5), strict=True), ridge=1e-9)
    torch.testing.assert_close(network(crops), w, atol=1e-3, rtol=1e-3)


def test_train_learns_codes_and_writes_the_encoder(tmp_path):
    schedule = Schedule(steps=40, batch=8, learning_rate=3e-3, log_every=10)
    network = encoder.train(
        tmp_path, tiny.generator(), small(), tmp_path / "out", counts=(80, 16), schedule=schedule
    )
    assert (tmp_path / "out" / "encoder.safetensors").stat().st_size < 40_000
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert "held_r2" in (tmp_path / "out" / "log.jsonl").read_text().splitlines()[-1]
