"""Which files each family of weights needs, where they lie, and what they must be.

`python weights.py` prints the table's rows for the bundled files as they are now, to put here after a training.
"""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from stitch.errors import StitchError, WeightsError

if TYPE_CHECKING:
    import torch

    from stitch.family import Family

FAMILIES = ("miniature", "ffhq")
TRACKERS = ("family", "retinaface")
BUNDLED = Path(__file__).resolve().parent / "stitch" / "miniature" / "weights"


@dataclass(frozen=True)
class Part:
    """One file of a family.

    Attributes:
        family, name: which part of which family.
        file: its name.
        size: bytes.
        sha256: of the content, hexadecimal.
        licence: one line for people.
    """

    family: str
    name: str
    file: str
    size: int
    sha256: str
    licence: str


DRAWN = "MIT; trained on drawn faces, no real person"
TABLE: tuple[Part, ...] = (
    Part("miniature", "clip", "clip.safetensors", 5830612,
         "bc4c5c98d8d164034d8f42d315cd6b320bbcace8fbecde18c06711a9401ca1e1", DRAWN),
    Part("miniature", "detector", "detector.safetensors", 1640516,
         "8c67f5691ed6b2c0fde4d6e7105ce92a8986cb742aba73be99286060b70c8da8", DRAWN),
    Part("miniature", "directions", "directions.safetensors", 4992,
         "45cf60af3f440e2705156a036ff735232026bdf9a1eca8fcd2f9c2e0d3eb9104", DRAWN),
    Part("miniature", "encoder", "encoder.safetensors", 3140784,
         "79d53dd96f8b4d2eefe68326f80daa3ad7bd48382bae43b1c70ea7de268efc44", DRAWN),
    Part("miniature", "generator", "generator.safetensors", 2822796,
         "8fed509e7bf8a15a5ce4f6b9c766ba9fe0d35e9433bded1af13d44648d5cc42e", DRAWN),
    Part("miniature", "identity", "identity.safetensors", 3251336,
         "3d66dafe67c1379ae196998df2ed990d8b5bdb4c302e62563b9dddf80bbe1f2e", DRAWN),
    Part("miniature", "parser", "parser.safetensors", 639336,
         "d9614f6a32539df9acc003902a32bded7d8e422d4d5dccbbfd4479832d5f0eee", DRAWN),
    Part("miniature", "perceptual", "perceptual.safetensors", 453184,
         "0c2dfa80d4c8f31087448ef4375faa0375a8cf57640c87482eaac02fecdd076f", DRAWN),
    Part("miniature", "regressor", "regressor.safetensors", 877256,
         "1addf072704ac386b19002e60ba88b3d4f36876e125813f0713afe64fd49c99a", DRAWN),
    Part("miniature", "relevance", "relevance.safetensors", 214464,
         "b6be10ef9477f1849c209b55b0b8005f98b451cc828c508393d527edda72ede1", DRAWN),
)

# A user's own files, by the names they are published under, best first. They are loaded as safely and held to no hash.
OWN_FILES = {"retinaface": ("detection_Resnet50_Final.pth", "detection_mobilenet0.25_Final.pth")}


def find(family: str, part: str, folder: Path | None = None) -> Path:
    """Where a family's file is, after making sure that it is the right one.

    Args:
        family: a name of `FAMILIES`.
        part: a name in the table.
        folder: a user's own files, looked at first and not held to the table.
    Returns:
        An existing file.
    Raises:
        WeightsError: no such family or part, or the file is missing or not what the table says.
    """
    rows = {row.name: row for row in TABLE if row.family == family}
    if not rows:
        raise WeightsError(_unavailable(family))
    if part not in rows:
        raise WeightsError(f"family {family}: no part {part!r}; it has {', '.join(rows)}")
    row = rows[part]
    if folder is not None and (own := folder / row.file).is_file():
        return own
    path = BUNDLED / row.file
    if not path.is_file():
        raise WeightsError(f"{path}: missing; the installation is incomplete, install Stitch again")
    if path.stat().st_size != row.size or _sha256(path) != row.sha256:
        raise WeightsError(f"{path}: damaged or replaced; install Stitch again")
    return path


def find_own(kind: str, folder: Path | None) -> Path:
    """A user's own file of a kind of `OWN_FILES`.

    Raises:
        WeightsError: no folder was named, or it holds none of the names.
    """
    names = " or ".join(OWN_FILES[kind])
    if folder is None:
        raise WeightsError(f"{kind}: name the folder that holds {names} with --weights")
    for name in OWN_FILES[kind]:
        if (folder / name).is_file():
            return folder / name
    raise WeightsError(f"{folder}: holds no file for {kind}; put {names} there, or name another folder with --weights")


def load_family(
    name: str, where: "torch.device", tracker: str = "family", folder: Path | None = None
) -> "Family":
    """Load a family, verified, on a device.

    Args:
        name: a name of `FAMILIES`.
        where: the device its networks go to.
        tracker: "family" keeps the family's own face detector, "retinaface" takes the user's file instead.
        folder: the user's own files.
    Raises:
        WeightsError: the family is not available, or a file is missing or not what it should be.
    """
    if name != "miniature":
        raise WeightsError(_unavailable(name))
    for row in TABLE:
        find(row.family, row.name)
    if not TABLE:
        raise WeightsError(f"{BUNDLED}: holds no weights of the miniature family; install Stitch again")
    own = find_own(tracker, folder) if tracker != "family" else None
    from stitch.miniature.family import load

    family = load(where)
    if own is not None:
        from stitch.networks.facexlib import RetinaFaceDetector
        from stitch.networks.load import load_checkpoint

        family = replace(family, detector=RetinaFaceDetector.from_state(load_checkpoint(own)).to(where))
    return family


def device(name: str = "auto") -> "torch.device":
    """Where to compute, chosen once, at a door.

    Args:
        name: "auto" takes a CUDA device if there is one; else "cpu", "cuda" or "mps".
    Raises:
        StitchError: this machine has no such device.
    """
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if (name == "cuda" and not torch.cuda.is_available()) or (name == "mps" and not torch.backends.mps.is_available()):
        raise StitchError(f"device {name}: this machine has none that torch can use; leave --device out")
    return torch.device(name)


def _unavailable(family: str) -> str:
    if family == "ffhq":
        return "family ffhq: the full-size family is not in this release yet; use --family miniature"
    return f"family {family!r}: not known; the families are {', '.join(FAMILIES)}"


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def rows_on_disk() -> str:
    """The table's rows for the bundled files as they are now, as Python."""
    rows = (
        f'    Part("miniature", "{path.stem}", "{path.name}", {path.stat().st_size},\n'
        f'         "{_sha256(path)}", DRAWN),'
        for path in sorted(BUNDLED.glob("*.safetensors"))
    )
    return "\n".join(rows)


if __name__ == "__main__":
    print(rows_on_disk())
