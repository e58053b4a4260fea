"""`stitch forget`: its arguments, and what it says."""

import argparse
from pathlib import Path

from stitch.cli.console import Console


def add_arguments(made: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    made.add_argument("run", nargs="?", type=Path, metavar="CLIP|RUN",
                      help="a clip, or a run's folder: everything kept of that clip is deleted, the clip itself is not")
    made.add_argument("--all", action="store_true", help="everything kept of any clip, here and by the page")
    made.add_argument("--runs", type=Path, metavar="DIR", help="where the page's runs are kept, as for app.py")


def run(arguments: argparse.Namespace, console: Console) -> None:
    """Delete what was asked and say what is gone.

    Raises:
        RunError: there is no such clip or run, or somebody works in one.
        VideoError: the clip cannot be read.
    """
    if (arguments.run is None) == (not arguments.all):
        arguments.fail("name a clip or a run's folder, or --all")
    from stitch.service import forget

    gone = forget.everything(arguments.runs) if arguments.all else forget.clip(arguments.run, arguments.runs)
    lines = [f"deleted {folder}" for folder in gone] or ["nothing was kept"]
    console.say("\n".join([*lines, "clips and results that you named yourself are left as they are"]),
                deleted=[str(folder) for folder in gone])
