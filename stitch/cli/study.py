"""`stitch study`: its arguments, and what it prints."""

import argparse
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from stitch.cli.console import Console
from stitch.core.errors import EditError
from stitch.core.settings import Preset, Settings
from stitch.families import load

if TYPE_CHECKING:
    from stitch.core.records import Edit
    from stitch.families.family import Family

PURPOSE = ("compare on clips of yours: the method without each of its parts and other methods (ablation), what "
           "quality costs (presets), what longer clips cost (length), or on photos of many people whom a family serves "
           "worse (fairness)")
KINDS = ("ablation", "presets", "length", "fairness")


def add_arguments(command: argparse.ArgumentParser, count: Callable[[str], int], slider: Callable[[str], Any]) -> None:
    """What may be said.

    Args:
        command: the command's parser.
        count: reads a whole number from 1 on.
        slider: reads NAME=STRENGTH.
    """
    command.add_argument("kind", choices=KINDS, help="what is compared")
    command.add_argument("clips", nargs="+", type=Path, metavar="CLIP",
                         help="clips, named differently; for fairness a folder of photos, one person each")
    command.add_argument("--out", type=Path, required=True, metavar="DIR",
                         help="folder for the record, the table, edited clips and pictures; the same command goes on "
                              "from what is there (length and fairness begin anew)")
    command.add_argument("--edit", action="append", default=[], type=slider, metavar="NAME=STRENGTH",
                         help="the edit that is made of each clip (smile=2); repeatable")
    command.add_argument("--only", action="append", default=[], metavar="VARIANT",
                         help="these variants alone, by the names of their files; repeatable")
    command.add_argument("--frames", type=count, metavar="N",
                         help="of each clip, from its beginning (all); for length, of the longest that is made (2400)")
    command.add_argument("--face", type=count, default=1, metavar="N", help="which face of each clip (1)")
    command.add_argument("--preset", choices=get_args(Preset), default="fast",
                         help="steps of the full method; of presets, the one whose knobs are turned (fast)")
    command.add_argument("--projection", type=count, metavar="N",
                         help="steps of optimised pivots, for each frame (PTI's 450)")
    command.add_argument("--tune-steps", type=count, metavar="N",
                         help="of tuning at least, of a clip and of each frame that PTI tunes by itself (the preset's)")
    command.add_argument("--steps", type=lambda text: 0 if text == "0" else count(text), metavar="N",
                         help="of stitching for each frame (the preset's)")
    command.add_argument("--shared-steps", type=count, metavar="N",
                         help="of stitching that all frames take together (the preset's)")
    command.add_argument("--labels", type=Path, metavar="FILE",
                         help='for fairness: JSON, {"anna": {"sex": "female", "age": 40}}, by the names of the '
                              "photos without ending")
    command.add_argument("--seed", type=int, default=0, metavar="N", help="of everything random (0)")


def run(arguments: argparse.Namespace, console: Console, family: "Callable[[], Family]") -> None:
    """Compare, write what was found, and print the table.

    Args:
        arguments: of `add_arguments`.
        console: shows events.
        family: loads the family that the arguments name.
    Raises:
        StitchError: nothing could be made of any clip, or the folder cannot be written.
    """
    from stitch.core.records import Edit
    from stitch.methods.pti.projector import STEPS
    from stitch.study import compare, plots, presets, variants
    from stitch.study.evaluate.report import check_folder

    check_folder(arguments.out)
    if arguments.kind == "fairness":
        _fairness(arguments, console, family)
        return
    known = load.about(arguments.family or load.default()).presets
    preset = Settings.preset(arguments.preset, known)
    edits = tuple(Edit(name, strength) for name, strength in arguments.edit or [("smile", 2.0)])
    if arguments.kind == "length":
        _length(arguments, console, edits, preset, family)
        return
    settings = _settings(arguments, preset)
    if arguments.kind == "ablation":
        chosen = variants.ablation(arguments.projection or STEPS)
    else:
        chosen = variants.presets(known, arguments.preset)
    if arguments.only:
        names = [one.name for one in chosen]
        if unknown := [name for name in arguments.only if name not in names]:
            raise EditError(f"--only {unknown[0]}: not known; there are {', '.join(names)}")
        chosen = tuple(one for one in chosen if one.name in arguments.only)
    study = compare.Study(chosen, edits, settings, arguments.frames, arguments.out)
    record = console.watch(compare.run(arguments.clips, study, family()))
    if arguments.kind == "ablation":
        record["projection_steps"] = arguments.projection or STEPS
    compare.finish(study, record, arguments.kind)
    if arguments.kind == "presets":
        plots.write(arguments.out / "presets.html", presets.figure(record, chosen))
    console.say(f"{compare.table(record, chosen)}\n{arguments.out / arguments.kind}.json", **record)


def _length(
    arguments: argparse.Namespace, console: Console, edits: "tuple[Edit, ...]", preset: Settings,
    family: "Callable[[], Family]",
) -> None:
    from stitch.study import lengths, plots

    if len(arguments.clips) > 1:
        raise EditError(f"{arguments.clips[1]}: length takes one clip, and makes longer ones of it")
    longest = arguments.frames or lengths.LENGTHS[-1]
    asked = (*(frames for frames in lengths.LENGTHS if frames < longest), longest)
    settings = _settings(arguments, lengths.simulated(preset))
    record = console.watch(lengths.run(arguments.clips[0], edits, settings, family(), asked))
    _keep(arguments.out / "length.json", record)
    plots.write(arguments.out / "length.html", lengths.figure(record))
    console.say("\n".join(map(lengths.line, record["rows"])), **record)


def _keep(path: Path, record: Any) -> None:
    from stitch.runtime import disk

    with disk.disk_errors(f"folder {path.parent}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        disk.write_whole(path, json.dumps(record, indent=1).encode())


def _fairness(arguments: argparse.Namespace, console: Console, family: "Callable[[], Family]") -> None:
    from stitch.study import fairness

    if len(arguments.clips) > 1:
        raise EditError(f"{arguments.clips[1]}: fairness takes one folder of photos")
    record = console.watch(fairness.run(arguments.clips[0], arguments.labels, family()))
    _keep(arguments.out / "fairness.json", record)
    console.say(f"{fairness.table(record)}\n{arguments.out / 'fairness.json'}", **record)


def _settings(arguments: argparse.Namespace, settings: Settings) -> Settings:
    tune, stitching = settings.tune, settings.stitching
    if arguments.tune_steps is not None:
        tune = replace(tune, epochs=1, least_steps=arguments.tune_steps)
    if arguments.steps is not None:
        stitching = replace(stitching, steps=arguments.steps)
    if arguments.shared_steps is not None:
        stitching = replace(stitching, shared_steps=arguments.shared_steps)
    return replace(settings, tune=tune, stitching=stitching, faces=replace(settings.faces, face=arguments.face),
                   seed=arguments.seed)
