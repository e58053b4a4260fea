"""What presets mean."""

import pytest

from stitch.core.settings import PRESETS, Settings, StitchingSettings, TuneSettings
from stitch.families import load


@pytest.mark.parametrize(("preset", "steps"), [("paper", 350), ("fast", 105), ("draft", 44)])
def test_a_photo_takes_as_many_steps_as_pti_or_the_presets_share_of_them(preset, steps):
    assert Settings.preset(preset).tune.steps(1) == steps


def test_steps_are_whole_epochs_and_the_least_counts_for_short_clips_alone():
    settings = TuneSettings(epochs=10, least_steps=44, batch=4)
    assert [settings.steps(frames) for frames in (1, 9, 18, 100)] == [44, 45, 50, 250]
    assert TuneSettings(epochs=8, least_steps=480).steps(1) == 350, "no frame more often than PTI's photo"
    assert TuneSettings(epochs=8, least_steps=480).steps(2) == 480


def test_paper_is_the_same_in_every_family_and_has_nothing_of_ours():
    for about in load.known().values():
        assert set(about.presets) == set(PRESETS) and about.presets["paper"] == PRESETS["paper"]
    tune, stitching = PRESETS["paper"].tune, PRESETS["paper"].stitching
    assert (tune.epochs, tune.batch, stitching.steps, stitching.tuned) == (80, 1, 100, "weights")
    assert (stitching.shared_steps, stitching.detail, tune.shuffle) == (0, 0.0, False)


def test_stitching_refuses_to_tune_what_it_does_not_know():
    with pytest.raises(ValueError, match="tuned: got 'noise', expected 'weights' or 'features'"):
        StitchingSettings(tuned="noise")  # type: ignore[arg-type]


def test_preset_refuses_a_word_that_is_none():
    with pytest.raises(ValueError, match="preset: got 'slow', expected 'paper', 'fast', 'draft'"):
        Settings.preset("slow")
