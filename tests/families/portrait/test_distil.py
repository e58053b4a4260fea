import numpy as np
import torch

from stitch.families.miniature.networks import FaceParser, IdentityNet
from stitch.families.miniature.training.loop import Schedule
from stitch.families.portrait.training import distil
from stitch.networks.formats.checkpoints import load_module

SCHEDULE = Schedule(steps=2, batch=4, learning_rate=1e-3, log_every=1)


def images(count: int = 20) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)


def test_split_keeps_every_tenth_apart():
    learnt, held = distil.split(25)
    assert held.tolist() == [0, 10, 20] and not set(learnt) & set(held) and len(learnt) == 22


def test_train_parser_writes_a_parser(tmp_path, monkeypatch):
    monkeypatch.setattr(distil, "PARSER_SIZE", 32)
    monkeypatch.setattr(distil, "PARSER_CHANNELS", (4, 6))
    monkeypatch.setattr(distil, "PARSER_WIDTH", 4)
    labels = np.random.default_rng(1).integers(0, 19, (20, 32, 32), dtype=np.uint8)
    distil.train_parser(images(), labels, tmp_path, schedule=SCHEDULE)
    parser = load_module(tmp_path / "parser.safetensors", FaceParser)
    assert parser(torch.zeros(1, 3, 64, 64)).shape == (1, 32, 32)
    assert "iou_face" in (tmp_path / "log.jsonl").read_text()


def test_augmented_counts_what_is_covered_as_background(monkeypatch):
    monkeypatch.setattr(distil, "PARSER_SIZE", 64)
    people, skin = torch.zeros(40, 3, 64, 64), torch.ones(40, 64, 64, dtype=torch.uint8)
    pictures, classes = distil.augmented(people, skin, torch.Generator().manual_seed(0))
    assert pictures.shape == (40, 3, 64, 64) and classes.shape == (40, 64, 64)
    assert set(classes.unique().tolist()) == {0, 1}
    assert 0.1 < float((classes[:, 16:48, 16:48] == 0).any(2).any(1).float().mean()) < 0.6


def test_agreement_of_a_parser_with_itself_is_whole():
    parser = FaceParser(32, channels=(4, 6), width=4).eval()
    faces = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert distil.agreement(parser, faces, parser(faces))["iou_mean"] == 1
    assert distil.agreement(parser, faces, parser(faces.flip(1) * -3))["accuracy"] < 1


def test_train_identity_writes_unit_vectors(tmp_path, monkeypatch):
    monkeypatch.setattr(distil, "IDENTITY_SIZE", 32)
    monkeypatch.setattr(distil, "IDENTITY_CHANNELS", (4, 6, 8))
    monkeypatch.setattr(distil, "IDENTITY_DIMENSION", 5)
    embeddings = np.random.default_rng(2).standard_normal((20, 16)).astype(np.float32)
    distil.train_identity(images(), embeddings, tmp_path, schedule=SCHEDULE)
    network = load_module(tmp_path / "identity.safetensors", IdentityNet)
    torch.testing.assert_close(network(torch.rand(2, 3, 48, 48)).norm(dim=1), torch.ones(2))
    assert "held_rank1" in (tmp_path / "log.jsonl").read_text()
