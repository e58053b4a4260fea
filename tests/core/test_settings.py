"""What presets mean."""

from dataclasses import replace

import pytest

from stitch.core.settings import Settings


@pytest.mark.parametrize(("preset", "epochs"), [("paper", 350), ("fast", 105), ("draft", 44)])
def test_for_photo_takes_as_many_steps_as_pti_or_the_presets_share_of_them(preset, epochs):
    settings = Settings.preset(preset)
    changed = settings.for_photo()
    assert changed.tune.epochs == epochs
    assert replace(changed, tune=replace(changed.tune, epochs=settings.tune.epochs)) == settings
