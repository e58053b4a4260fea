"""`stitch evaluate`: its arguments, and what it prints."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stitch.cli.console import Console
from stitch.core.errors import EditError

if TYPE_CHECKING:
    from stitch.families.family import Family

PURPOSE = "say how good an edit is, whoever made it: TL-ID, TG-ID, identity, flicker and more, of two clips or photos"


def add_arguments(command: argparse.ArgumentParser, count: Callable[[str], int], slider: Callable[[str], Any]) -> None:
    """What may be said.

    Args:
        command: the command's parser.
        count: reads a whole number from 1 on.
        slider: reads NAME=STRENGTH.
    """
    command.add_argument("original", type=Path, metavar="ORIGINAL", help="the source, a clip or a photo")
    command.add_argument("edited", type=Path, metavar="EDITED", help="what was made of it, by whatever program")
    command.add_argument("--run", type=Path, metavar="DIR",
                         help="folder of the prepared run it was made from: adds reconstruction and seam")
    command.add_argument("--report", type=Path, metavar="DIR",
                         help="write evaluation.json and evaluation.html, which needs nothing else, into this folder")
    command.add_argument("--face", type=count, default=1, metavar="N", help="which face of the original (1)")
    command.add_argument("--edit", action="append", default=[], type=slider, metavar="NAME=STRENGTH",
                         help="what was asked for, to have its success judged; repeatable")


def run(arguments: argparse.Namespace, console: Console, family: "Callable[[str | None], Family]") -> None:
    """Evaluate, print, and write the report.

    Args:
        arguments: of `add_arguments`.
        console: shows events.
        family: loads the family that the arguments name, else the one that is given, else the default.
    Raises:
        StitchError: a clip cannot be read, or the report cannot be written.
    """
    from stitch.core.records import Edit
    from stitch.study.evaluate import report
    from stitch.study.evaluate.measures import Asked, evaluate
    from stitch.study.evaluate.prepared import made_with

    if arguments.report is not None:
        report.check_folder(arguments.report)
    known = made_with(arguments.run)
    edits = tuple(Edit(name, strength) for name, strength in arguments.edit)
    if any(isinstance(one.strength, tuple) for one in edits):
        raise EditError("--edit: to be judged an edit needs one strength; leave out what comes and goes")
    asked = Asked(arguments.original, arguments.edited, arguments.face, edits, arguments.run)
    found = console.watch(evaluate(asked, family(None if known is None else known[1])))
    facts = found.record()
    if arguments.report is not None:
        page = console.watch(report.write(arguments.report, found))
        facts |= {"report": str(page)}
    console.say(story(facts), **facts)


def story(facts: dict[str, Any]) -> str:
    """An evaluation for people.

    Args:
        facts: of `Evaluation.record`, and where the report lies.
    """
    measures = facts["measures"].values()
    width = max(len(one["title"]) for one in measures)
    frames = "1 frame" if facts["compared_frames"] == 1 else f"{facts['compared_frames']} frames"
    lines = [f"{facts['edited']['path']} against {facts['original']['path']}: {frames}, the face in "
             f"{facts['face_frames']}"]
    for one in measures:
        if one["value"] is not None:
            verdict = one["verdict"] or "-"
            lines.append(f"  {one['title']:<{width}}  {one['value']:8.3f} {one['unit']:<15} {verdict:<5} {one['hint']}")
    moved = sorted(facts["attributes"]["moved"].items(), key=lambda one: -abs(one[1]))
    if moved:
        lines += [f"  moved (std), as {facts['attributes']['read_by']} see it, which are no independent reader:",
                  "    " + ", ".join(f"{name} {round(value, 2) + 0.0:+.2f}" for name, value in moved)]
    reasons: dict[str, list[str]] = {}
    for one in measures:
        if one["reason"]:
            reasons.setdefault(one["reason"], []).append(one["title"])
    lines += [f"  {', '.join(titles)}: {reason}" for reason, titles in reasons.items()]
    lines += [f"  report: {facts['report']}"] if "report" in facts else []
    return "\n".join(lines)
