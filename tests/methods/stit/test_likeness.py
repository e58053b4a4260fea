from dataclasses import replace

import pytest
import torch

from stitch.methods.stit import pipeline
from stitch.methods.stit.likeness import likeness
from tests.methods.stit.test_pipeline import drive, quick


def test_likeness_is_one_for_what_the_generator_drew_itself_and_less_for_other_faces(family) -> None:
    pivots = family.generator.broadcast(torch.randn(3, 8, generator=torch.Generator().manual_seed(0)))
    drawn = family.generator(pivots).clamp(-1, 1)
    assert likeness(drawn, pivots, family) == pytest.approx(1, abs=1e-5)
    assert likeness(drawn.flip(1) * -0.5, pivots, family) < 0.9


def test_prepare_says_where_something_is_before_the_face(family, clip, tmp_path) -> None:
    def masked(images):
        labels = torch.ones(len(images), 32, 32, dtype=torch.long)
        labels[:, 22:] = 0
        return labels

    told = drive(pipeline.prepare(clip, tmp_path / "run", quick(), replace(family, parser=masked))).notes
    assert any("before the face in 8 of 8 frames (between 0 and 7)" in note for note in told)
    bare = replace(family, parser=lambda images: torch.ones(len(images), 32, 32, dtype=torch.long))
    assert not any("before the face" in note for note in drive(pipeline.prepare(clip, None, quick(), bare)).notes)


def test_prepare_says_that_a_face_is_not_of_the_familys_world_each_time(family, clip, tmp_path) -> None:
    strange = replace(family, least_likeness=1.1)
    first, again = (drive(pipeline.prepare(clip, tmp_path / "run", quick(), strange)) for _ in range(2))
    assert "hardly known to the family miniature" in first.notes[-1] and again.notes == first.notes
    assert drive(pipeline.prepare(clip, tmp_path / "other", quick(), family)).notes == first.notes[:-1]
