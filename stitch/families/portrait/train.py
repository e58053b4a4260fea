"""`python -m stitch.families.portrait.train PART ...`: renders the training sets and trains the family's own networks.

Seeded and resumable: run it again and it goes on where it was stopped. Finished files and the logs of their training go
to the weights folder. On two free CPU cores all parts take some hours.
"""

import argparse
import json
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from stitch.core.events import finished
from stitch.families import relevance
from stitch.families.custom import directions_in, read_direction
from stitch.families.miniature.networks import FaceParser, IdentityNet
from stitch.families.portrait import ABOUT, SLIDERS, WEIGHTS
from stitch.families.portrait.encoder import FaceEncoder
from stitch.families.portrait.generator import HEADS, RESOLUTION, read_generator, read_head, with_head
from stitch.families.portrait.language import FaceClip
from stitch.families.portrait.perceptual import perceptual, read_trunk
from stitch.families.portrait.training import (
    adapt,
    attributes,
    directions,
    distil,
    encoder,
    heads,
    language,
    people,
    published,
    sets,
    slopes,
    teachers,
)
from stitch.methods.stit.losses import feature_weights
from stitch.networks.efficientnet import EfficientNetLite
from stitch.networks.formats.checkpoints import load_module
from stitch.networks.mobilestylegan import MobileStyleGAN
from stitch.runtime import pages
from stitch.store import local
from stitch.store.checksums import rows_on_disk

LABELLED, PARSED, TONED, TOLD_APART = 3000, 1600, 600, 1400
"""Rendered faces that the teachers label, that the parser's teacher labels, which is slow, whose skin is read, and that
the identity network learns from."""
COMPARED, MOVED, COLOURED = 600, 30, 64
"""Rendered faces over which attributes spread, and that are moved along directions that others published, and
whose slopes a direction that colours is sought in."""


@dataclass(frozen=True)
class Places:
    """Folders and files that the parts work with.

    Attributes:
        work: for sets, checkpoints and logs, one subfolder a part.
        out: for finished files.
        taught_by: the teachers' folder; None where a part asks no teacher.
        people: pictures of people, one face each.
    """

    work: Path
    out: Path
    taught_by: Path | None
    people: Path | None

    def fetched(self) -> dict[str, Path]:
        """The files out of packages, by the names of their parts; what is missing is fetched.

        Raises:
            WeightsError: see `stitch.store.local.fetch`.
        """
        rows = [part for part in ABOUT.parts if part.sources]
        finished(local.fetch(rows))
        return {row.name: path for row, path in local.files_of(rows, None).items()}

    def generator(self, size: int) -> MobileStyleGAN:
        """The generator that draws `size` px."""
        published = read_generator(self.fetched())
        if size == published.resolution:
            return published
        return with_head(published, size, read_head(self.out / f"{HEADS[size]}.safetensors"))

    def trunk(self) -> EfficientNetLite:
        """EfficientNet-Lite0 with ImageNet's weights."""
        return read_trunk(self.fetched()["perceptual"])

    def faces(self, count: int) -> sets.Arrays:
        """Rendered faces, the first `count` of the set."""
        return sets.rendered(self.work / "faces", self.generator(256), count, encoder.SET_SEED)

    def taught(self) -> teachers.Teachers:
        """The teachers.

        Raises:
            FileNotFoundError: no folder was named, or it holds none.
        """
        return teachers.Teachers(self.taught_by or Path("teachers"))

    def looks(self, count: int) -> sets.Arrays:
        """What the teachers see in the first rendered faces."""
        return teachers.looks(self.work / "looks", self.faces(count)["images"], self.taught())

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
        heads.train(places.work, places.generator(RESOLUTION), size, out)

    return train


def _encoder(places: Places, out: Path, count: int) -> None:
    encoder.train(places.work, places.generator(256), places.trunk(), out, counts=(count, encoder.HELD))


def _adapted(places: Places, out: Path, count: int) -> None:
    first = load_module(places.work / "encoder" / "encoder.safetensors", FaceEncoder)
    judges = adapt.Judges(
        perceptual(places.trunk()),
        load_module(places.out / "identity.safetensors", IdentityNet),
        load_module(places.out / "parser.safetensors", FaceParser),
        feature_weights(people.SIZE, adapt.RAISED),
    )
    adapt.train(places.faces(count), places.portraits(), places.generator(256), judges, first, out)


def _parser(places: Places, out: Path, count: int) -> None:
    count = min(count, PARSED)
    rendered, portraits, taught = places.faces(count)["images"], places.portraits(), places.taught()
    labels = [teachers.parsed(places.work / name, images, taught)
              for name, images in (("parts", rendered), ("people-parts", portraits))]
    distil.train_parser(np.concatenate([rendered, portraits]), np.concatenate(labels), out)


def _directions(places: Places, out: Path, count: int) -> None:
    count = min(count, LABELLED)
    faces, looks = places.faces(count), places.looks(count)
    parser = load_module(places.out / "parser.safetensors", FaceParser)
    found = attributes.measured(faces["images"], looks, distil.parts_of(parser, faces["images"]))
    by_name = {name: torch.from_numpy(values) for name, values in found.items()}
    by_name |= directions.person(np.array(looks["identity"]), found)
    w = torch.from_numpy(np.array(faces["w"]))
    directions.save(out / "directions.safetensors", directions.boundaries(w, by_name, kept=directions.ALIKE))


def _tones(places: Places, out: Path, count: int) -> None:
    faces = places.faces(min(count, TONED))
    known = directions.read(places.out / "directions.safetensors")
    colours = directions.skin_colours(np.array(faces["images"]))
    steadied = directions.steadied(known, torch.from_numpy(np.array(faces["w"])), colours)
    directions.save(out / "directions.safetensors", steadied)


def _colours(places: Places, out: Path, count: int) -> None:
    known, generator = directions.read(places.out / "directions.safetensors"), places.generator(256)
    parser = load_module(places.out / "parser.safetensors", FaceParser)
    w, looks = torch.from_numpy(np.array(places.faces(count)["w"])), places.looks(min(count, COMPARED))
    grown = looks["age"] > directions.ADULT_YEARS
    blocks = {slider.name: slider.blocks_px for slider in SLIDERS}
    for name, wanted in slopes.WANTED.items():
        chosen = np.flatnonzero(grown & (looks["male"] > 0.9) if wanted.men else grown)[:COLOURED]
        least, largest = blocks[name] or (0, generator.last)
        moved = torch.tensor([float(least <= side <= largest) for side in generator.codes_px])
        known[name] = slopes.direction(wanted, slopes.slopes(generator, parser, w[chosen], moved), w)
        print(f"{name}: {known[name].held_r2:.2f} of the change in faces held out", file=sys.stderr)
    directions.save(out / "directions.safetensors", known)


def _child(places: Places, out: Path, count: int) -> None:
    count = min(count, LABELLED)
    w, ages = (torch.from_numpy(np.array(one)) for one in (places.faces(count)["w"], places.looks(count)["age"]))
    normal, offset = directions.child_boundary(w, ages)
    held = directions.held_boundary(w, ages) > 0
    young, grown = ages < directions.CHILD_YEARS, ages > directions.ADULT_YEARS
    told = {"children": int(young.sum()), "told": round(float(held[young].float().mean()), 3),
            "grown-ups": int(grown.sum()), "taken for one": round(float(held[grown].float().mean()), 4)}
    print(f"child: {told}", file=sys.stderr)
    tensors = {"normal": normal, "offset": torch.tensor([offset])}
    save_file(tensors, out / "child.safetensors", metadata={"held": json.dumps(told)})


def _clip(places: Places, out: Path, count: int) -> None:
    count = min(count, LABELLED)
    drawn, looks = places.faces(count)["images"], places.looks(count)
    parser = load_module(places.out / "parser.safetensors", FaceParser)
    found = attributes.named(drawn, looks, distil.parts_of(parser, drawn))
    encoder = load_module(places.out / "encoder.safetensors", FaceEncoder)
    language.train(language.faces(drawn, found), encoder, out)


def _relevance(places: Places, out: Path, _: int) -> None:
    tower = load_module(places.out / "clip.safetensors", FaceClip)
    generator = places.generator(256)
    table = relevance.steadied(relevance.by_gradient(generator, tower.encode_image), generator, directions.cheeks)
    relevance.save(out / "relevance.safetensors", table, generator)


def _identity(places: Places, out: Path, count: int) -> None:
    count = min(count, TOLD_APART)
    distil.train_identity(places.faces(count)["images"], places.looks(count)["identity"], out)


def _published(places: Places, folder: Path) -> str:
    """A line for each direction of a folder: how long a step of it is, and what else it moves."""
    faces, taught, generator = places.faces(COMPARED), places.taught(), places.generator(256)
    std = published.spreads(published.readings(faces["images"], places.looks(COMPARED)))
    w = torch.from_numpy(np.array(faces["w"][:MOVED]))

    def moved(codes: torch.Tensor) -> dict[str, np.ndarray]:
        images = published.pictures(generator, codes)
        return published.readings(images, teachers.seen(images, taught))

    lines = []
    for name, path in directions_in(folder):
        vector, _ = read_direction(path, generator)
        found = published.step(name, vector.reshape(-1, generator.w_dim).mean(0), w, moved, std)
        others = sorted(found.moves.items(), key=lambda move: -abs(move[1]))
        told = ", ".join(f"{other} {move:+.2f}" for other, move in others if abs(move) >= 0.1)
        lines.append(f"{name}: {found.length:.2f} by {found.attribute}; std a step: {told}")
        print(lines[-1], file=sys.stderr)
    return "\n".join(lines)


PARTS: Mapping[str, Callable[[Places, Path, int], None]] = {
    "head256": _head(256), "head512": _head(512), "encoder": _encoder,
    "parser": _parser, "directions": _directions, "tones": _tones, "colours": _colours, "child": _child,
    "identity": _identity, "clip": _clip, "relevance": _relevance, "adapted": _adapted,
}  # fmt: skip
"""In the order in which they need each other; each leaves one .safetensors in its folder."""


BETTERED = {"adapted": "encoder", "tones": "directions", "colours": "directions"}
"""Parts that go on from what another one left, and take its place."""


def main(arguments: Iterable[str] | None = None) -> int:
    """Command line."""
    summary = (__doc__ or "").splitlines()[0]
    options = argparse.ArgumentParser(prog="python -m stitch.families.portrait.train", description=summary)
    options.add_argument("parts", nargs="*", default=list(PARTS), help=f"what to train: {', '.join(PARTS)} (all)")
    options.add_argument("--teachers", type=Path, help="folder of the teachers, for labels")
    options.add_argument("--people", type=Path, help="folder of pictures of people, one face per .jpg")
    options.add_argument("--work", type=Path, default=Path("out/train-portrait"), help="for sets and checkpoints")
    options.add_argument("--out", type=Path, default=WEIGHTS, help="folder for the finished files")
    options.add_argument("--faces", type=int, default=encoder.COUNT, help="faces rendered for the encoder")
    options.add_argument("--threads", type=int, default=2, help="CPU threads")
    options.add_argument("--published", type=Path, metavar="DIR",
                         help="train nothing; print how long a step of each direction in a folder is")
    options.add_argument("--rows", action="store_true", help="train nothing; print `portrait.BUNDLED` of --out")
    given = options.parse_args(None if arguments is None else list(arguments))
    if given.rows:
        print(rows_on_disk(given.out))
        return 0
    if given.published is not None:
        torch.set_num_threads(given.threads)
        print(_published(Places(given.work, given.out, given.teachers, given.people), given.published))
        return 0
    unknown = set(given.parts) - set(PARTS)
    if unknown:
        options.error(f"unknown parts: {', '.join(sorted(unknown))}; known: {', '.join(PARTS)}")
    torch.set_num_threads(given.threads)
    places = Places(given.work, given.out, given.teachers, given.people)
    (given.out / "logs").mkdir(parents=True, exist_ok=True)
    for part in (part for part in PARTS if part in given.parts):
        print(f"training {part}", file=sys.stderr)
        out = given.work / part
        out.mkdir(parents=True, exist_ok=True)
        PARTS[part](places, out, given.faces)
        finished = next(out.glob("*.safetensors"))
        shutil.copyfile(finished, given.out / f"{BETTERED.get(part, part)}.safetensors")
        for log in sorted(out.rglob("log.jsonl")):
            name = "-".join((part, *log.relative_to(out).parts[:-1]))
            shutil.copyfile(log, given.out / "logs" / f"{name}.jsonl")
    return 0


if __name__ == "__main__":
    pages.restart(keep=True)
    sys.exit(main())
