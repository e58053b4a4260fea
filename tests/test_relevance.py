from pathlib import Path

import pytest
import torch

from stitch import relevance
from stitch.errors import WeightsError
from stitch.events import Progress
from stitch.networks.stylegan2 import Generator
from tests.rooms import finish


def tiny(seed: int = 0) -> Generator:
    torch.manual_seed(seed)
    return Generator(8, 4, 1, {4: 4, 8: 3}, z_dim=4).requires_grad_(False).eval()


def colours(images: torch.Tensor) -> torch.Tensor:
    return torch.cat([images.mean((2, 3)), images.std((2, 3)), torch.ones(len(images), 1)], dim=1)


def test_measure_gives_a_unit_row_per_channel() -> None:
    generator = tiny()
    found = finish(relevance.measure(generator, colours, samples=5))[0]
    channels = sum(layer.dimension for layer in generator.layers if layer.is_conv)
    assert found.rows.shape == (channels, 7) and found.spread.shape == (channels,)
    assert torch.allclose(found.rows.norm(dim=1), torch.ones(channels), atol=1e-5)
    assert relevance.pictures_needed(generator, 5) == 10 * channels


def test_measure_is_the_mean_change_over_the_faces_of_the_seed() -> None:
    generator = tiny()
    found = finish(relevance.measure(generator, colours, samples=20, seed=3))[0]
    z = torch.randn(2048, 4, generator=torch.Generator().manual_seed(3))[:20]
    position, layer = [(index, layer) for index, layer in enumerate(generator.layers) if layer.is_conv][-1]
    ends = []
    for sign in (1, -1):
        styles = generator.styles(generator.broadcast(generator.mapping(z)))
        styles[position][:, 1] += sign * relevance.ALPHA * found.spread[layer.offset + 1]
        seen = colours(generator.from_styles(styles).clamp(-1, 1))
        ends.append(seen / seen.norm(dim=1, keepdim=True))
    change = (ends[0] - ends[1]).mean(0)
    assert torch.allclose(found.rows[layer.offset + 1], change / change.norm(), atol=1e-4)


def test_measure_goes_on_where_it_was_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relevance, "_SAVE_EVERY", 2)
    whole = finish(relevance.measure(tiny(), colours, samples=3))[0]
    kept = tmp_path / "kept.safetensors"
    room = relevance.measure(tiny(), colours, samples=3, checkpoint=kept)
    for _ in range(5):
        next(room)
    room.close()
    again = relevance.measure(tiny(), colours, samples=3, checkpoint=kept)
    first = next(again)
    assert isinstance(first, Progress) and first.done == 4
    assert torch.equal(finish(again)[0].rows, whole.rows)


def test_measure_begins_anew_for_another_generator(tmp_path: Path) -> None:
    kept = tmp_path / "kept.safetensors"
    finish(relevance.measure(tiny(), colours, samples=2, checkpoint=kept))[0]
    room = relevance.measure(tiny(seed=1), colours, samples=2, checkpoint=kept)
    assert next(room).done == 0


def test_load_gives_back_what_was_saved_and_refuses_another_generators(tmp_path: Path) -> None:
    found = finish(relevance.measure(tiny(), colours, samples=2))[0]
    path = tmp_path / "relevance.safetensors"
    relevance.save(path, found, tiny())
    assert torch.equal(relevance.load(path, tiny()).rows, found.rows)
    with pytest.raises(WeightsError, match="another generator"):
        relevance.load(path, tiny(seed=1))
    path.write_bytes(b"no table")
    with pytest.raises(WeightsError, match="no table"):
        relevance.load(path, tiny())
    with pytest.raises(WeightsError, match="stitch relevance"):
        relevance.load(tmp_path / "missing.safetensors", tiny())
