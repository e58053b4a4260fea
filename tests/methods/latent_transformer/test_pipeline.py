"""The latent transformer on small clips, and the maps that come with Stitch."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from stitch.core.errors import EditError
from stitch.core.events import finished
from stitch.core.records import Edit, Track
from stitch.core.settings import Settings
from stitch.methods.latent_transformer import pipeline, train
from stitch.methods.latent_transformer.flow import followed
from stitch.methods.latent_transformer.transformer import WEIGHTS, LatentTransformers, trained
from stitch.video import files


@pytest.fixture
def transformers(family, monkeypatch):
    made = LatentTransformers(("smile",), family.generator.w_dim)
    with torch.no_grad():
        made.weight[0, 0] = 0.1 * torch.eye(family.generator.w_dim)
    monkeypatch.setattr(pipeline, "trained", lambda *_: made)
    return made


def test_edit_video_moves_codes_and_leaves_the_frame_beyond_the_face(clip, tmp_path, family, transformers):
    settings = Settings()
    settings = replace(settings, video=replace(settings.video, crf=0))
    drawn = finished(
        pipeline.edit_video(clip, [Edit("smile", 2.0)], tmp_path / "out.mp4", settings, family, tmp_path)
    )
    assert len(drawn.edited) == 8 and (drawn.edited != drawn.redrawn).any()
    source, edited = (np.stack(list(files.frames(files.probe(path)))).astype(int) for path in (
        clip, tmp_path / "out.mp4"))
    changed = np.abs(source - edited)
    assert changed[:, :20].mean() < 2 and changed.max() > 30


@pytest.mark.parametrize("asked", [Edit("age", 1.0), Edit("smile", ((0.0, 1.0), (1.0, 2.0)))])
def test_edit_video_refuses_what_it_was_not_trained_for_before_any_work(clip, tmp_path, family, transformers, asked):
    with pytest.raises(EditError, match="latent transformer"):
        next(pipeline.edit_video(clip, [asked], tmp_path / "out.mp4", Settings(), family, tmp_path))


def test_edited_codes_go_twice_as_far_at_twice_the_strength_and_add_up(transformers):
    w = torch.randn(3, 2, 8, generator=torch.Generator().manual_seed(0))
    once, twice = (transformers.edited(w, [Edit("smile", strength)]) for strength in (1.0, 2.0))
    assert torch.allclose(twice - w, 2 * (once - w), atol=1e-5)
    assert torch.allclose(transformers.edited(w, [Edit("smile", 1.0)] * 2), w * 1.1**2, atol=1e-5)


def test_followed_steadies_landmarks_of_a_face_that_stands_still():
    rng = np.random.default_rng(0)
    frame = np.kron(rng.integers(0, 255, (12, 16, 3), np.uint8), np.ones((8, 8, 1), np.uint8))
    landmarks = np.array([(50, 40), (80, 40), (65, 55), (52, 70), (78, 70)]) + rng.normal(0, 2, (12, 5, 2))
    seen = np.ones(12, bool)
    shots = np.repeat([0, 1], 6)
    track = finished(followed([frame] * 12, Track(landmarks, seen, seen, shots)))
    trembling = [np.abs(np.diff(points[:6], axis=0)).mean() for points in (landmarks, track.landmarks)]
    assert trembling[1] < 0.7 * trembling[0]
    assert (track.landmarks[[0, 6]] == landmarks[[0, 6]]).all(), "nothing is carried over a cut"


@pytest.mark.parametrize(("family_name", "style_dim"), [("miniature", 64), ("portrait", 512)])
def test_trained_maps_come_with_stitch_for_the_attributes_that_the_script_names(family_name, style_dim):
    found = trained(family_name, style_dim)
    assert found.names == tuple(train.TRAINED[family_name]) and (found.unit > 0).all()
    assert sum(path.stat().st_size for path in WEIGHTS.glob("*.safetensors")) <= 1.5e6


def test_trained_says_for_which_families_and_codes_there_is_one():
    with pytest.raises(EditError, match="family ffhq: no latent transformer.*miniature"):
        trained("ffhq", 512)
    with pytest.raises(EditError, match="codes of 64 numbers, and this generator has 8"):
        trained("miniature", 8)


def test_train_asks_for_the_folder_of_portraits_labels(tmp_path, monkeypatch, family, capsys):
    monkeypatch.setattr(train.load, "load_family", lambda *_: family)
    assert train.main(["portrait", "--out", str(tmp_path)]) == 1
    assert "--work" in capsys.readouterr().err
