"""PTI frame by frame on small clips."""

from dataclasses import replace

import numpy as np

from stitch.core.events import finished
from stitch.core.records import Edit
from stitch.core.settings import PRESETS
from stitch.methods.pti.pipeline import edit_video
from stitch.video import files
from tests.conftest import draw_clip

QUICK = replace(PRESETS["draft"], tune=replace(PRESETS["draft"].tune, epochs=20, least_steps=0))


def test_edit_video_tunes_each_frame_by_itself_and_leaves_the_frame_beyond_the_face(tmp_path, family):
    clip = draw_clip(tmp_path / "clip.mp4", frames=3, lost=(2,))
    settings = replace(QUICK, video=replace(QUICK.video, crf=0))
    drawn = finished(edit_video(clip, [Edit("smile", 2.0)], tmp_path / "out.mp4", settings, family, tmp_path, steps=3))
    assert drawn.crops.frames.tolist() == [0, 1] and drawn.redrawn.shape == drawn.edited.shape == (2, 32, 32, 3)
    untuned = replace(settings, tune=replace(settings.tune, epochs=0))
    plain = finished(edit_video(clip, [Edit("smile", 2.0)], tmp_path / "no.mp4", untuned, family, tmp_path, steps=3))
    off = [np.abs(one.redrawn.astype(int) - one.crops.images).mean((1, 2, 3)) for one in (drawn, plain)]
    assert (off[0] < 0.8 * off[1]).all()
    source, edited = (list(files.frames(files.probe(path))) for path in (clip, tmp_path / "out.mp4"))
    assert len(edited) == 3 and np.abs(source[2].astype(int) - edited[2]).max() <= 8
    assert np.abs(source[0].astype(int) - edited[0])[:20].max() <= 8
