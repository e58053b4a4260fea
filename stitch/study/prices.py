"""What was measured on this device, kept across restarts, and what finished renders taught about it since."""

import hashlib
import json
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

import torch

import stitch
from stitch.core.records import ClipInfo
from stitch.core.settings import Preset, Settings
from stitch.families import load
from stitch.runtime import runs
from stitch.runtime.disk import disk_errors, write_whole
from stitch.study import estimate
from stitch.study.estimate import Costs

_KEPT = 300
_STAGE_S = 0.3  # shorter stages teach nothing


class Prices:
    """Measured costs by quality, for each family and size of frame.

    A changed device, another torch or another state of this program makes them void.

    Args:
        folder: where they are kept.
        device: that they were measured on.
    """

    def __init__(self, folder: Path, device: torch.device) -> None:
        self.folder = folder
        sources = sorted(Path(stitch.__file__).parent.rglob("*.py"))
        self._about = {
            "program": hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest(),
            "torch": torch.__version__, "device": str(device), "threads": torch.get_num_threads(),
        }

    def stages(self, family: str, info: ClipInfo, quality: str, frames: int) -> dict[str, float]:
        """Seconds of each stage; empty if nothing was measured yet, or not with these settings.

        Args:
            family: its name.
            info: the clip.
            quality: a preset's name.
            frames: of the part that is rendered.
        """
        with suppress(KeyError, TypeError, AttributeError):
            kept = self._read(family, info)
            preset = Settings.preset(quality, load.about(family).presets)  # type: ignore[arg-type]
            known = estimate.price(Costs(**kept["costs"][quality]), frames, preset, 1, searched=0)
            learned = kept["learned"].get(quality, {})
            return {stage: seconds * learned.get(stage, 1.0) for stage, seconds in known.stages.items()}
        return {}

    def keep(self, family: str, info: ClipInfo, costs: dict[str, Costs]) -> None:
        """Keep what was measured.

        Raises:
            RunError: the disk is full or the folder not writable.
        """
        self._write(family, info, {"costs": {quality: asdict(one) for quality, one in costs.items()}, "learned": {}})

    def learn(self, family: str, info: ClipInfo, quality: str, said: dict[str, float], took: dict[str, float]) -> None:
        """Correct what is kept by a finished render.

        Args:
            family, info, quality: of the render.
            said: seconds of each stage, as they were estimated.
            took: as they came to be; stages that were taken up from an earlier run are left out.
        Raises:
            RunError: the disk is full or the folder not writable.
        """
        kept = self._read(family, info)
        if not isinstance(kept.get("learned"), dict):
            return
        factors = kept["learned"].setdefault(quality, {})
        for stage in said.keys() & took.keys():
            if said[stage] > 0 and max(said[stage], took[stage]) > _STAGE_S:
                factors[stage] = min(20.0, max(0.05, factors.get(stage, 1.0) * took[stage] / said[stage]))
        self._write(family, info, kept)

    def _read(self, family: str, info: ClipInfo) -> dict[str, Any]:
        with suppress(OSError, ValueError):
            kept = json.loads(self._file(family, info).read_text())
            return kept if isinstance(kept, dict) else {}
        return {}

    def _write(self, family: str, info: ClipInfo, kept: dict[str, Any]) -> None:
        with disk_errors("what was measured"):
            self.folder.mkdir(parents=True, exist_ok=True)
            write_whole(self._file(family, info), json.dumps(kept).encode())
            for old in sorted(self.folder.glob("*.json"), key=lambda one: -one.stat().st_mtime)[_KEPT:]:
                old.unlink(missing_ok=True)

    def _file(self, family: str, info: ClipInfo) -> Path:
        presets = load.about(family).presets
        settings = {quality: asdict(Settings.preset(quality, presets)) for quality in get_args(Preset)}
        about = self._about | {"family": family, "size": [info.width, info.height], "settings": settings}
        return self.folder / f"{runs.key_of(about)}.json"
