"""What was measured on this device, kept across restarts, so that a second visit knows the price at once."""

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
from stitch.families.family import Family
from stitch.runtime import runs
from stitch.runtime.disk import disk_errors, write_whole
from stitch.stit import stitching
from stitch.study.estimate import Costs

_KEPT = 300


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
            "torch": torch.__version__,
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
            "threads": torch.get_num_threads(),
        }

    def of(self, family: Family, info: ClipInfo) -> dict[str, Costs]:
        """What was measured; empty if nothing was, or not here, or not with these settings.

        Args:
            family: loaded.
            info: the clip.
        """
        with suppress(OSError, ValueError, TypeError, AttributeError):
            kept = json.loads(self._file(family, info).read_text())
            return {quality: Costs(**costs) for quality, costs in kept.items()}
        return {}

    def keep(self, family: Family, info: ClipInfo, costs: dict[str, Costs]) -> None:
        """Keep what was measured.

        Raises:
            RunError: the disk is full or the folder not writable.
        """
        path = self._file(family, info)
        with disk_errors("what was measured"):
            self.folder.mkdir(parents=True, exist_ok=True)
            write_whole(path, json.dumps({quality: asdict(one) for quality, one in costs.items()}).encode())
            for old in sorted(self.folder.glob("*.json"), key=lambda one: -one.stat().st_mtime)[_KEPT:]:
                old.unlink(missing_ok=True)

    def _file(self, family: Family, info: ClipInfo) -> Path:
        settings: dict[str, Any] = {
            quality: asdict(Settings.preset(quality)) for quality in get_args(Preset)
        }
        # A clip shorter than a chunk is stitched in a smaller one.
        chunk = min(info.frames, stitching.chunk_for(family.generator))
        about = self._about | {
            "family": family.name, "resolution": family.generator.resolution, "size": [info.width, info.height],
            "chunk": chunk, "settings": settings,
        }
        return self.folder / f"{runs.key_of(about)}.json"
