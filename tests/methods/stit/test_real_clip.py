"""A filmed person through the whole door: the test of the machinery on input that nobody drew."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from stitch.core import geometry
from stitch.core.records import Edit
from stitch.core.settings import Settings, VideoSettings
from stitch.families.load import Own, load_family
from stitch.methods.stit.pipeline import edit_video, prepare
from stitch.video import files
from tests.stages import finish

REAL = Path(os.environ.get("STITCH_REAL", Path(__file__).resolve().parents[4] / "shared" / "real"))
CLIP = REAL / "s13.mp4"

pytestmark = pytest.mark.skipif(not CLIP.exists(), reason=f"no real clips in {REAL} (STITCH_REAL)")


def test_a_filmed_person_goes_through_the_same_door(tmp_path: Path) -> None:
    family = load_family("miniature", torch.device("cpu"), "retinaface", Own(REAL))
    settings = replace(Settings.preset("draft"), video=VideoSettings(end_s=0.2))
    prepared, _ = finish(prepare(CLIP, tmp_path / "run", settings, family))
    result, _ = finish(edit_video(prepared, [Edit("smile", 2.0)], tmp_path / "out.mp4", settings, family))
    source, made = prepared.info, files.probe(tmp_path / "out.mp4")
    assert prepared.track.found.all() and result.edited_frames == source.frames
    for name in ("width", "height", "rate", "frames", "audio"):
        assert getattr(made, name) == getattr(source, name), name
    assert result.measures["psnr_tuned_db"] > result.measures["psnr_inversion_db"] + 3
    corner = geometry.corners(*geometry.quads_from_landmarks(prepared.track.landmarks))[:, 0]
    assert np.linalg.norm(np.diff(corner, axis=0), axis=1).max() < 0.1 * geometry.side_px(prepared.crops.quads[0])
