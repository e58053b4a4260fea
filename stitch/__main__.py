"""The command line: arguments -> settings -> events printed. `python -m stitch --help` lists the commands."""

import argparse
import os
import sys
import textwrap
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stitch.cli import batch, evaluate, forget, study
from stitch.cli.arguments import edits_asked, parser, sample_asked, source_and_settings
from stitch.cli.console import Console, story
from stitch.core.errors import StitchError, WeightsError
from stitch.core.settings import Settings
from stitch.families import load
from stitch.runtime import disk, pages
from stitch.store import local
from stitch.video.guarded import is_photo
from stitch.video.trust import disclosure

if TYPE_CHECKING:
    from stitch.core.records import EditResult
    from stitch.families.family import Family

EXIT_ERROR, EXIT_STOPPED = 1, 130
ORIGINS = {
    "published": "taken as others published it",
    "ours": "found by Stitch's own training, on faces that the generator draws",
    "yours": "from your own file",
}
RESUMABLE = ("edit", "batch", "prepare", "relevance", "study", "weights")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: the arguments, without the program's name; None takes the process's own.
    Returns:
        0, or 1 for a problem that one line on stderr explains, or 130 when stopped by Ctrl-C. Wrong usage exits with 2;
        "verify" has codes of its own (`stitch.video.trust.verify.CODES`).
    """
    said, options = batch.split(sys.argv[1:] if argv is None else argv)
    arguments = parser().parse_args(said, argparse.Namespace(options=options))
    console = Console(as_json=arguments.json, quiet=arguments.quiet)
    try:
        return COMMANDS[arguments.command](arguments, console) or 0
    except StitchError as error:
        console.error(error)
        return EXIT_ERROR
    except KeyboardInterrupt:
        console.close()
        resumes = "; the same command goes on from here" if arguments.command in RESUMABLE else ""
        print(f"\nstitch: stopped{resumes}", file=sys.stderr)
        return EXIT_STOPPED
    except BrokenPipeError:
        # Whoever read our output has left; there is nobody to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_ERROR


def _edit(arguments: argparse.Namespace, console: Console) -> None:
    source, settings, known = source_and_settings(arguments)
    disk.check_outputs(source, arguments.output, arguments.comparison, arguments.sheet, is_photo(source))
    began = time.monotonic()
    family = _family(arguments, console, known)
    from stitch.methods.stit import pipeline
    from stitch.methods.stit.edit import resolve
    from stitch.runtime.memory import peak_memory_mib

    edits = edits_asked(arguments)
    resolve(edits, family)
    prepared = console.watch(pipeline.prepare(source, arguments.run, settings, family))
    result = console.watch(
        pipeline.edit_video(
            prepared, edits, arguments.output, settings, family, arguments.comparison, arguments.sheet
        )
    )
    facts = _facts(result) | {"took_s": round(time.monotonic() - began, 1), "peak_memory_mib": peak_memory_mib()}
    facts |= {name: _text(getattr(arguments, name)) for name in ("comparison", "sheet")}
    facts |= {"run": str(prepared.run.folder)}
    told, merge = pipeline.describe(edits), settings.merge
    facts |= {"disclosure": disclosure.sentence(told, is_photo(source), merge.badge_language),
              "credentials": merge.credentials, "watermark": merge.watermark}
    console.say(story(facts), **facts)


def _prepare(arguments: argparse.Namespace, console: Console) -> None:
    source, settings, known = source_and_settings(arguments)
    family = _family(arguments, console, known)
    from stitch.methods.stit import pipeline

    prepared = console.watch(pipeline.prepare(source, arguments.run, settings, family))
    folder = prepared.run.folder
    console.say(
        f"prepared {len(prepared.crops.row_of)} of {prepared.info.frames} frames in {folder}\n"
        f"now: python -m stitch edit --run {folder} -o OUT.mp4 --edit NAME=STRENGTH",
        run=str(folder), frames=prepared.info.frames, prepared_frames=len(prepared.crops.row_of),
    )


def _edits(arguments: argparse.Namespace, console: Console) -> None:
    family = _family(arguments, console)
    from stitch.methods.stit.edit import STRENGTH_LIMIT
    from stitch.methods.stit.text import known_words

    table = [
        {
            "name": name, "group": one.group, "low": one.low, "high": one.high, "description": one.description,
            "origin": one.origin,
        }
        for name, one in family.directions.items()
    ]
    width = max((len(name) for name in family.directions), default=0)
    texts = family.text_encoder is not None and family.relevance is not None
    lines = [f"edits of the family {family.name} ({family.licence})", ""]
    for row in table:
        ends = f" (-: {row['low']}, +: {row['high']})" if row["low"] else ""
        lines += [f"  {row['name']:<{width}}  {row['description']}{ends}, {row['origin']}"]
    origins = [f"{name}: {meaning}" for name, meaning in ORIGINS.items() if name in {row["origin"] for row in table}]
    lines += ["", *origins]
    lines += [f"strengths usually lie between -3 and 3, at most {STRENGTH_LIMIT:g} either way; 0 changes nothing"]
    words = known_words(family.text_encoder) if family.text_encoder is not None and texts else []
    if texts:
        lines += ["free text: --text 'a face with glasses' --text-strength 2"]
    if words:
        lines += textwrap.wrap(f"words it knows: {', '.join(words)}", 100, subsequent_indent="  ")
    console.say("\n".join(lines), family=family.name, edits=table, limit=STRENGTH_LIMIT, texts=texts, words=words)


def _estimate(arguments: argparse.Namespace, console: Console) -> None:
    source, settings, _ = source_and_settings(arguments)
    family = _family(arguments, console)
    from stitch.faces.survey import unsearched
    from stitch.study import estimate
    from stitch.video import files

    info = files.probe(source, settings.video)
    family = estimate.sized(family, info, settings)
    costs = console.watch(estimate.measure(family, info, settings))
    searched = unsearched(source, settings, family)
    expected = estimate.price(costs, info.frames, settings, family.generator.resolution, searched)
    console.say(
        f"{estimate.lines(expected)}\nthe face is drawn at {family.generator.resolution} px",
        total_s=expected.total_s, further_edit_s=expected.edit_s, stages_s=expected.stages,
        memory_bytes=expected.memory_bytes, disk_bytes=expected.disk_bytes, size_px=family.generator.resolution,
    )


def _bench(arguments: argparse.Namespace, console: Console) -> None:
    family = _family(arguments, console)
    if bool(arguments.against) != bool(arguments.clips):
        arguments.fail("--against plain and clips: give both, or neither")
    if arguments.against:
        from stitch.core.records import Edit
        from stitch.study import against

        settings = Settings.preset(arguments.preset, load.about(family.name).presets)
        settings = replace(settings, align=replace(settings.align, size=arguments.crop_size))
        asked = Edit(*arguments.edit)
        rows = [console.watch(against.compare(clip, arguments.frames, asked, arguments.preset, settings, family))
                for clip in arguments.clips]
        console.say(against.table(rows), compared=[asdict(row) for row in rows])
        return
    from stitch.study import benchmark

    report = console.watch(benchmark.run(family))
    console.say(benchmark.table(report), **asdict(report))


def _batch(arguments: argparse.Namespace, console: Console) -> None:
    batch.run(arguments, console, lambda asked: edits_asked(parser().parse_args(["edit", *asked])))


def _evaluate(arguments: argparse.Namespace, console: Console) -> None:
    evaluate.run(arguments, console, lambda known: _family(arguments, console, known))


def _study(arguments: argparse.Namespace, console: Console) -> None:
    study.run(arguments, console, lambda: _family(arguments, console))


def _relevance(arguments: argparse.Namespace, console: Console) -> None:
    disk.check_output(arguments.out, "table", (".safetensors",))
    family = _family(arguments, console)
    from stitch.families import relevance

    device = next(family.generator.parameters()).device
    tower = load.picture_tower(arguments.family or load.default(), device, arguments.weights)
    samples = arguments.samples or relevance.SAMPLES
    table = console.watch(relevance.write(arguments.out, family.generator, tower, samples, arguments.seed))
    console.say(
        f"{arguments.out}: {len(table.rows)} style channels\n"
        f"now: python -m stitch edit IN.mp4 -o OUT.mp4 --relevance {arguments.out} --text 'a face with glasses', with "
        "the same --family and --generator",
        path=str(arguments.out), channels=len(table.rows), samples=samples, seed=arguments.seed,
    )


def _sample(arguments: argparse.Namespace, console: Console) -> None:
    draw, asked = sample_asked(arguments)
    console.watch(draw(asked))
    told = f"\n  truth  {asked.truth}" if asked.truth else ""
    console.say(f"{asked.path}: {asked.frames} frames{told}", path=str(asked.path))


def _weights(arguments: argparse.Namespace, console: Console) -> None:
    families = [arguments.family] if arguments.family else [
        name for name, one in load.known().items() if not (one.bundled and arguments.action == "fetch")
    ]
    if arguments.only and len(families) > 1:
        arguments.fail("--only: name the --family too")
    # What is optional is fetched when it is named, and shown in any case.
    everything = arguments.action != "fetch" and not arguments.only
    parts = [row for name in families for row in load.parts_of(name, arguments.only, everything)]
    if arguments.action == "fetch":
        console.watch(local.fetch(parts, arguments.weights))
    if arguments.action == "verify":
        held = console.watch(local.verify(parts, arguments.weights))
    else:
        held = local.survey(parts, arguments.weights)
    facts = {"store": str(local.store()), "parts": [local.facts(one) for one in held]}
    console.say(local.paths(held) if arguments.action == "where" else local.table(held), **facts)
    if wrong := [str(one.path) for one in held if one.state == "damaged"]:
        raise WeightsError(f"damaged: {', '.join(wrong)}; what was fetched has been deleted and can be fetched again "
                           "with 'stitch weights fetch', for bundled files install Stitch again")


def _verify(arguments: argparse.Namespace, console: Console) -> int:
    from stitch.video.trust import verify

    report = verify.check(arguments.file)
    console.say("\n".join([f"{arguments.file}: {report.title}", *(f"  {one}" for one in report.sentences)]),
                path=str(arguments.file), **report.plain())
    return verify.CODES[report.state]


def _family(arguments: argparse.Namespace, console: Console, name: str | None = None) -> "Family":
    import torch

    from stitch.families.custom import directions_in
    from stitch.runtime import device

    if arguments.threads is not None:
        torch.set_num_threads(arguments.threads)
    name = arguments.family or name or load.default()
    place = device.chosen(arguments.device)
    console.watch(local.fetch(load.needed(name, arguments.tracker), arguments.weights))
    directions = [one for given, path in arguments.direction
                  for one in ([(given, path)] if given else directions_in(path))]
    own = load.Own(arguments.weights, _generator(arguments, console), arguments.relevance, directions)
    return load.load_family(name, place, arguments.tracker, own)


def _generator(arguments: argparse.Namespace, console: Console) -> Path | None:
    """The generator's file that is to draw in place of the family's, fetched where it is a family's word."""
    asked: Path | None = arguments.generator
    if asked is None or asked.exists() or str(asked) not in load.generators():
        return asked
    console.watch(local.fetch(load.parts_of(str(asked), [load.ALONE]), arguments.weights))
    return load.find(str(asked), load.ALONE, arguments.weights)


def _facts(result: "EditResult") -> dict[str, Any]:
    return {
        "path": str(result.path),
        "frames": result.info.frames,
        "width": result.info.width,
        "height": result.info.height,
        "rate": str(result.info.rate),
        "edited_frames": result.edited_frames,
        "unedited_frames": list(result.unedited_frames),
        "measures": result.measures,
        "notes": list(result.notes),
    }


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


COMMANDS: dict[str, Callable[[argparse.Namespace, Console], int | None]] = {
    "edit": _edit, "batch": _batch, "prepare": _prepare, "estimate": _estimate, "edits": _edits, "bench": _bench,
    "evaluate": _evaluate, "study": _study, "relevance": _relevance, "sample": _sample, "verify": _verify,
    "weights": _weights, "forget": forget.run,
}

if __name__ == "__main__":
    pages.restart(keep=True)
    sys.exit(main())
