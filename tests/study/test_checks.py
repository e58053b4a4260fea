"""What the families' checks share."""

from dataclasses import replace

import numpy as np
import pytest

from stitch.core.events import Notice, Progress, finished
from stitch.core.records import Edit
from stitch.core.settings import Settings
from stitch.methods.stit import pipeline
from stitch.study import checks


def test_timed_gives_each_stage_the_seconds_up_to_its_progress() -> None:
    def work():
        yield Progress("align", 1, 2)
        yield Notice("said")
        yield Progress("align", 2, 2)
        yield Progress("tune", 1, 1)
        return "made"

    ticks = iter((0.0, 1.0, 3.0, 7.0, 15.0))
    assert checks.timed(work(), lambda: next(ticks)) == ("made", {"align": 3.0, "tune": 12.0})


@pytest.fixture
def settings() -> Settings:
    quick = Settings.preset("draft")
    return replace(
        quick, tune=replace(quick.tune, epochs=1, least_steps=0), stitching=replace(quick.stitching, steps=1)
    )


def test_changed_outside_counts_what_a_torn_mask_uncovers(clip, tmp_path, family, settings, monkeypatch) -> None:
    prepared = finished(pipeline.prepare(clip, tmp_path / "run", settings, family))
    with pytest.raises(ValueError, match="no edit was made"):
        checks.latest_edit(prepared)
    for name in ("age", "smile"):
        finished(pipeline.edit_video(prepared, [Edit(name, 2.0)], tmp_path / f"{name}.mp4", settings, family))
    last = checks.latest_edit(prepared)
    assert len(list(last.parent.iterdir())) == 2 and np.load(last / "tiles.npy").shape[0] == 8
    assert checks.changed_outside(prepared, settings) == 0
    nothing = np.zeros_like
    monkeypatch.setattr(checks.geometry, "warp_mask", lambda mask, quad, *size: nothing(np.empty(size, bool)))
    monkeypatch.setattr(checks.merge, "paste", lambda frame, *_: frame + np.uint8(1))
    assert checks.changed_outside(prepared, settings) == 8 * prepared.info.width * prepared.info.height
