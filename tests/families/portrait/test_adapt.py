import torch

from stitch.families.miniature.training.loop import Schedule
from stitch.families.portrait.training import adapt, sets
from stitch.networks.perceptual import Perceptual
from tests.families.portrait import tiny
from tests.families.portrait.test_encoder import small


def test_train_uses_every_loss_and_writes_the_encoder(tmp_path, monkeypatch):
    monkeypatch.setattr(adapt, "RENDERED", 4)
    torch.manual_seed(0)
    generator, network = tiny.generator(), small()
    faces = sets.rendered(tmp_path / "faces", generator, 16, seed=1)
    people = sets.rendered(tmp_path / "people", generator, 16, seed=2)["images"]
    perceptual = Perceptual.slim((4, 6)).requires_grad_(False)
    schedule = Schedule(steps=2, batch=3, learning_rate=1e-3, log_every=1)
    adapt.train(faces, people, generator, perceptual, network, tmp_path / "out", schedule=schedule)
    line = (tmp_path / "out" / "log.jsonl").read_text().splitlines()[-1]
    assert all(name in line for name in ("code", "pixel", "feature", "prior", "held_db", "held_distance"))
    assert (tmp_path / "out" / "encoder.safetensors").exists()
