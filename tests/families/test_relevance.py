from pathlib import Path

import pytest
import torch

from stitch.core.errors import StitchError, WeightsError
from stitch.core.events import Notice, Progress
from stitch.core.records import Relevance
from stitch.families import relevance
from stitch.networks.stylegan2 import Generator
from tests.stages import finish


def tiny(seed: int = 0) -> Generator:
    torch.manual_seed(seed)
    return Generator(8, 4, 1, {4: 4, 8: 3}, z_dim=4).requires_grad_(False).eval()


def colours(images: torch.Tensor) -> torch.Tensor:
    return torch.cat([images.mean((2, 3)), images.std((2, 3)), torch.ones(len(images), 1)], dim=1)


class Colours(torch.nn.Module):
    """`colours` as a tower that counts its pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.seen += len(images)
        return colours(images)


def test_measure_gives_a_unit_row_per_channel() -> None:
    generator = tiny()
    found = finish(relevance.measure(generator, colours, samples=5))[0]
    channels = sum(layer.dimension for layer in generator.layers if layer.is_conv)
    assert found.rows.shape == (channels, 7) and found.std.shape == (channels,)
    assert torch.allclose(found.rows.norm(dim=1), torch.ones(channels), atol=1e-5)


def test_measure_is_the_mean_change_over_the_faces_of_the_seed() -> None:
    generator = tiny()
    found = finish(relevance.measure(generator, colours, samples=20, seed=3))[0]
    z = torch.randn(2048, 4, generator=torch.Generator().manual_seed(3))[:20]
    position, layer = [(index, layer) for index, layer in enumerate(generator.layers) if layer.is_conv][-1]
    ends = []
    for sign in (1, -1):
        styles = generator.styles(generator.broadcast(generator.mapping(z)))
        styles[position][:, 1] += sign * relevance.ALPHA * found.std[layer.offset + 1]
        seen = colours(generator.from_styles(styles).clamp(-1, 1))
        ends.append(seen / seen.norm(dim=1, keepdim=True))
    change = (ends[0] - ends[1]).mean(0)
    assert torch.allclose(found.rows[layer.offset + 1], change / change.norm(), atol=1e-4)


def test_by_gradient_moves_the_embedding_where_it_is_asked_to() -> None:
    generator = tiny()
    table = relevance.by_gradient(generator, colours, samples=12, damping=1e-6)
    z = torch.randn(2048, 4, generator=torch.Generator().manual_seed(0))[:12]
    layers = [(index, layer) for index, layer in enumerate(generator.layers) if layer.is_conv]

    def seen(shift: torch.Tensor) -> torch.Tensor:
        styles = generator.styles(generator.broadcast(generator.mapping(z)))
        for index, layer in layers:
            styles[index] = styles[index] + shift[layer.offset : layer.offset + layer.dimension]
        return torch.nn.functional.normalize(colours(generator.from_styles(styles)), dim=1)

    for wanted in range(3):
        shift = 1e-3 * table.rows[:, wanted] * table.std
        change = (seen(shift) - seen(0 * shift)).mean(0)
        assert change[wanted] > 0 and change.abs().argmax() == wanted


def test_steadied_leaves_still_what_is_seen() -> None:
    generator = tiny()

    def light(images: torch.Tensor) -> torch.Tensor:
        return images[:, :1, 4:8].mean((2, 3))

    free = relevance.by_gradient(generator, colours, samples=6)
    table = relevance.steadied(free, generator, light, samples=6)
    z = torch.randn(2048, 4, generator=torch.Generator().manual_seed(0))[:6]

    def seen(shift: torch.Tensor) -> torch.Tensor:
        styles = generator.styles(generator.broadcast(generator.mapping(z)))
        for index, layer in enumerate(generator.layers):
            if layer.is_conv:
                styles[index] = styles[index] + shift[layer.offset : layer.offset + layer.dimension]
        return light(generator.from_styles(styles)).mean()

    assert torch.equal(table.std, free.std)
    moved, freely = (
        sum(float((seen(1e-3 * row * table.std) - seen(0 * row)).abs()) for row in one.rows.T) for one in (table, free)
    )
    assert moved < 0.1 * freely


def test_measure_goes_on_where_it_was_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = finish(relevance.measure(tiny(), colours, samples=3))[0]
    kept = tmp_path / "kept.safetensors"
    stage = relevance.measure(tiny(), colours, samples=3, checkpoint=kept)
    for _ in range(5):
        next(stage)
    stage.close()
    again = relevance.measure(tiny(), colours, samples=3, checkpoint=kept)
    first = next(again)
    assert isinstance(first, Progress) and first.done == 4
    assert torch.equal(finish(again)[0].rows, whole.rows)


def test_measure_killed_goes_on_from_what_it_had_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relevance, "_SAVE_EVERY_S", -1.0)
    kept, found = tmp_path / "kept.safetensors", tmp_path / "found.safetensors"
    stage = relevance.measure(tiny(), colours, samples=3, checkpoint=kept)
    for _ in range(4):
        next(stage)
    found.write_bytes(kept.read_bytes())  # what a killed process leaves: nothing is written at its end
    assert next(relevance.measure(tiny(), colours, samples=3, checkpoint=found)).done == 3


def test_measure_begins_anew_for_another_tower(tmp_path: Path) -> None:
    kept = tmp_path / "kept.safetensors"
    finish(relevance.measure(tiny(), colours, samples=2, checkpoint=kept, tower="one"))
    assert next(relevance.measure(tiny(), colours, samples=2, checkpoint=kept, tower="other")).done == 0


def test_cost_is_that_of_the_pictures_that_measure_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter((10.0, 12.0))
    monkeypatch.setattr(relevance.time, "perf_counter", lambda: next(times))
    expected = relevance.cost(tiny(), colours, samples=20)
    tower = Colours()
    found = finish(relevance.measure(tiny(), tower, samples=20))[0]
    assert expected.pictures == tower.seen and expected.channels == len(found.rows)
    assert expected.size == 4 * (found.rows.numel() + found.std.numel())
    assert expected.seconds == 2.0 * 2 * expected.channels, "a batch of 16 took 2 s, and 20 samples are two batches"


def test_write_says_the_cost_first_and_leaves_the_table_alone(tmp_path: Path) -> None:
    path = tmp_path / "table.safetensors"
    found, events = finish(relevance.write(path, tiny(), Colours(), samples=2))
    assert isinstance(events[0], Notice) and "11 style channels: 44 pictures, about " in events[0].message
    assert all(isinstance(event, Progress) for event in events[1:])
    assert torch.equal(relevance.load(path, tiny()).rows, found.rows)
    assert list(tmp_path.iterdir()) == [path]


def test_write_stopped_keeps_its_work_beside_the_table(tmp_path: Path) -> None:
    path = tmp_path / "table.safetensors"
    whole = finish(relevance.write(tmp_path / "whole.safetensors", tiny(), Colours(), samples=2))[0]
    begun = relevance.write(path, tiny(), Colours(), samples=2)
    while next(begun) != Progress("relevance", 5, 11, "channel"):
        pass
    with pytest.raises(KeyboardInterrupt):
        begun.throw(KeyboardInterrupt)
    assert not path.exists() and (tmp_path / "table.unfinished.safetensors").exists()
    found, events = finish(relevance.write(path, tiny(), Colours(), samples=2))
    assert "of which 5 are there already: 24 pictures" in events[0].message
    assert events[1] == Progress("relevance", 5, 11, "channel")
    assert torch.equal(found.rows, whole.rows)


def test_write_refuses_a_place_that_it_could_not_write_to(tmp_path: Path) -> None:
    for name in ("table.npy", "nowhere/table.safetensors"):
        with pytest.raises(StitchError, match="table"):
            next(relevance.write(tmp_path / name, tiny(), Colours()))


def test_measure_begins_anew_for_another_generator(tmp_path: Path) -> None:
    kept = tmp_path / "kept.safetensors"
    finish(relevance.measure(tiny(), colours, samples=2, checkpoint=kept))[0]
    stage = relevance.measure(tiny(seed=1), colours, samples=2, checkpoint=kept)
    assert next(stage).done == 0


def test_load_gives_back_what_was_saved_and_refuses_another_generators(tmp_path: Path) -> None:
    found = finish(relevance.measure(tiny(), colours, samples=2))[0]
    path = tmp_path / "relevance.safetensors"
    relevance.save(path, found, tiny())
    assert torch.equal(relevance.load(path, tiny()).rows, found.rows)
    elsewhere = tiny()
    elsewhere.w_avg.add_(1e-7)  # worked out on a machine that adds in another order
    assert torch.equal(relevance.load(path, elsewhere).rows, found.rows)
    with pytest.raises(WeightsError, match="another generator"):
        relevance.load(path, tiny(seed=1))
    strange = Relevance(found.rows * torch.nan, found.std)
    relevance.save(path, strange, tiny())
    with pytest.raises(WeightsError, match="no number"):
        relevance.load(path, tiny())
    relevance.save(path, Relevance(found.rows[1:], found.std), tiny())
    with pytest.raises(WeightsError, match=r"\(10, 7\) and \(11,\), and this generator has 11 style .*relevance"):
        relevance.load(path, tiny())
    path.write_bytes(b"no table")
    with pytest.raises(WeightsError, match="no table"):
        relevance.load(path, tiny())
    with pytest.raises(WeightsError, match="stitch relevance"):
        relevance.load(tmp_path / "missing.safetensors", tiny())
