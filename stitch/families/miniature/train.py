"""`python -m stitch.families.miniature.train`: draws the training sets and trains every network of the family.

Seeded and resumable: run it again and it goes on where it was stopped. On two CPU cores it takes a few hours, on a GPU
minutes (drawing stays on the CPU). Finished files and the logs of their training go to the weights folder.
"""

import argparse
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import torch

from stitch.families import relevance
from stitch.families.miniature import WEIGHTS
from stitch.families.miniature.language import SmallClip
from stitch.families.miniature.training import (
    clip,
    detector,
    directions,
    encoder,
    generator,
    identity,
    parser,
    perceptual,
    regressor,
)
from stitch.networks.formats.checkpoints import load_module
from stitch.networks.stylegan2 import Generator
from stitch.runtime import pages
from stitch.store.checksums import rows_on_disk

SAMPLES, SEED = 40_000, 303
"""Labelled samples of the directions."""

RELEVANCE_SAMPLES, RELEVANCE_SEED = 16, 404

NETWORKS: Mapping[str, Callable[..., object]] = {
    "generator": generator.train, "parser": parser.train, "perceptual": perceptual.train, "detector": detector.train,
    "identity": identity.train, "clip": clip.train, "regressor": regressor.train,
}
"""Networks that learn from drawings alone."""

PARTS = (*NETWORKS, "encoder", "directions", "relevance")


def train(part: str, data: Path, work: Path, device: str) -> Path:
    """Train one part of the family, or go on with it.

    Args:
        part: a name of `PARTS`; encoder and directions need the generator, relevance needs clip too.
        data: folder for the drawn sets.
        work: folder for checkpoints and logs, one subfolder a part.
        device: "cpu" or "cuda".
    Returns:
        The finished file.
    """
    out = work / part
    out.mkdir(parents=True, exist_ok=True)
    if part in NETWORKS:
        NETWORKS[part](data, out, device=device)
    elif part == "encoder":
        encoder.train(data, _generator(work), out, device=device)
    elif part == "directions":
        _directions(work, out)
    else:
        _relevance(work, out)
    return out / f"{part}.safetensors"


def _generator(work: Path) -> Generator:
    return load_module(work / "generator" / "generator.safetensors", Generator)


def _directions(work: Path, out: Path) -> None:
    directions.save(out / "directions.safetensors", directions.boundaries(_generator(work), SAMPLES, SEED))


def _relevance(work: Path, out: Path) -> None:
    generator_ = _generator(work)
    tower = load_module(work / "clip" / "clip.safetensors", SmallClip)
    stage = relevance.measure(
        generator_, tower.encode_image, RELEVANCE_SAMPLES, RELEVANCE_SEED, out / "checkpoint.safetensors"
    )
    while True:
        try:
            event = next(stage)
        except StopIteration as end:
            relevance.save(out / "relevance.safetensors", end.value, generator_)
            return
        print(f"relevance: {event.done} of {event.total} channels", end="\r", file=sys.stderr)


def main(arguments: Iterable[str] | None = None) -> int:
    """Command line."""
    options = argparse.ArgumentParser(
        prog="python -m stitch.families.miniature.train", description=__doc__.splitlines()[0]
    )
    options.add_argument("parts", nargs="*", default=PARTS, help=f"what to train: {', '.join(PARTS)} (all)")
    options.add_argument("--work", type=Path, default=Path("out/train"), help="folder for drawings and checkpoints")
    options.add_argument("--out", type=Path, default=WEIGHTS, help="folder for the finished files")
    options.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options.add_argument("--threads", type=int, default=2, help="CPU threads")
    options.add_argument("--rows", action="store_true", help="train nothing; print `miniature.ROWS` of --out")
    given = options.parse_args(None if arguments is None else list(arguments))
    if given.rows:
        print(rows_on_disk(given.out))
        return 0
    unknown = set(given.parts) - set(PARTS)
    if unknown:
        options.error(f"unknown parts: {', '.join(sorted(unknown))}; known: {', '.join(PARTS)}")
    torch.set_num_threads(given.threads)
    (given.out / "logs").mkdir(parents=True, exist_ok=True)
    for part in (part for part in PARTS if part in given.parts):
        print(f"training {part}", file=sys.stderr)
        made = train(part, given.work / "data", given.work, given.device)
        shutil.copyfile(made, given.out / made.name)
        for log in sorted(made.parent.rglob("log.jsonl")):
            name = "-".join((part, *log.relative_to(made.parent).parts[:-1]))
            shutil.copyfile(log, given.out / "logs" / f"{name}.jsonl")
    return 0


if __name__ == "__main__":
    pages.restart(keep=True)
    sys.exit(main())
