"""The command line's arguments: what may be said, and what settings and edits it means."""

import argparse
import math
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from stitch.cli import batch, evaluate, forget, study
from stitch.core.settings import Corner, Precision, Preset, Settings
from stitch.families import load
from stitch.families.about import Draw, Sample
from stitch.runtime import runs
from stitch.video.trust.disclosure import LANGUAGES

if TYPE_CHECKING:
    from stitch.core.records import Edit, Points, Text

T = TypeVar("T")

SCENES = ("plain", "busy", "moving-camera", "two-people", "lost-face", "cut")


def parser() -> argparse.ArgumentParser:
    """The parser of all commands; the chosen one's name is its "command"."""
    whole = argparse.ArgumentParser(
        prog="stitch", description="Edit faces in real videos so that the result looks filmed.", allow_abbrev=False
    )
    families = tuple(load.known())
    commands = whole.add_subparsers(required=True, metavar="COMMAND", dest="command")

    def command(name: str, purpose: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=purpose, description=purpose, allow_abbrev=False)
        made.set_defaults(fail=made.error)
        made.add_argument("--json", action="store_true", help="print one event a line on stdout, for programs")
        made.add_argument("-q", "--quiet", action="store_true", help="print errors only")
        return made

    edit = command("edit", "edit the face in a clip or a photo")
    edit.add_argument("clip", nargs="?", type=Path, metavar="IN",
                      help="the clip or photo; not needed with a prepared --run")
    edit.add_argument("-o", "--output", type=Path, required=True, metavar="OUT",
                      help="the edited clip, .mp4, or the edited photo, .png, .jpg or .webp")
    edit.add_argument("--edit", action="append", default=[], type=_slider, metavar="NAME=STRENGTH",
                      help="a named edit: smile=2, or over time smile=0@0,2@1.5 (strength@seconds); repeatable")
    edit.add_argument("--raw-edit", action="append", default=[], type=_slider, metavar="NAME=FACTOR",
                      help="the same with the bare factor on the unit direction, not calibrated; repeatable")
    edit.add_argument("--text", action="append", default=[], metavar="WORDS",
                      help="what the face should be, such as 'a face with glasses'; repeatable")
    edit.add_argument("--text-strength", action="append", default=[], type=_strength, metavar="STRENGTH",
                      help="of the texts in turn, or once for all (2); over time as with --edit")
    edit.add_argument("--neutral", action="append", default=[], metavar="WORDS",
                      help="what the face is now, for the texts in turn or once for all ('a face')")
    edit.add_argument("--channels", type=_count, metavar="N", help="how many style channels a text may move")
    edit.add_argument("--beta", type=_number, metavar="X", help="StyleCLIP's threshold instead of --channels")
    edit.add_argument("--comparison", type=Path, metavar="FILE", help="also write original and edited side by side")
    edit.add_argument("--sheet", type=Path, metavar="FILE", help="also write a contact sheet of all stages")
    edit.add_argument("--distance", choices=("l1", "l2"), help="of the stitching losses (paper: l1, code: l2)")
    edit.add_argument("--mask-from", choices=("union", "edited", "crop"),
                      help="picture that the mask is parsed from (union; paper: edited, code: crop)")
    edit.add_argument("--badge", action="store_const", const=True,
                      help="write 'AI-edited' into a corner of every frame")
    edit.add_argument("--badge-place", choices=get_args(Corner), help="into which corner (bottom-right)")
    edit.add_argument("--language", choices=LANGUAGES, help="of the badge and of the sentence to publish (en)")
    edit.add_argument("--no-watermark", dest="watermark", action="store_const", const=False,
                      help="leave the invisible mark out of the edited pixels")
    edit.add_argument("--no-credentials", dest="credentials", action="store_const", const=False,
                      help="leave the result unsigned; its metadata says so")
    edit.add_argument("--crf", type=_quality, metavar="N", help="quality of written clips, 0-51, lower is better (16)")

    prepare = command("prepare", "do the slow part of a clip once, for any number of edits")
    prepare.add_argument("clip", type=Path, metavar="IN", help="the clip")
    prepare.set_defaults(distance=None, mask_from=None, crf=None)
    prepare.set_defaults(steps=None, tuned=None, shared_steps=None, chunk=None, detail=None)

    estimate = command("estimate", "say how long a clip will take here and how much memory, before anything long runs")
    estimate.add_argument("clip", type=Path, metavar="IN", help="the clip")
    estimate.set_defaults(run=None, distance=None, mask_from=None, crf=None)
    for made in (prepare, estimate):
        made.set_defaults(badge=None, badge_place=None, language=None, watermark=None, credentials=None)

    for made in (edit, estimate):
        made.add_argument("--chunk", type=_count, metavar="N",
                          help="frames stitched at once (as many as fit; halved when the memory runs out)")
        made.add_argument("--steps", type=_steps, metavar="N", help="of stitching for each frame (paper: 100)")
        made.add_argument("--tuned", choices=("weights", "features"), help="what these steps move (paper: weights)")
        made.add_argument("--shared-steps", type=_steps, metavar="N",
                          help="of stitching that all frames take together, before their own (paper: 0)")
        made.add_argument("--detail", type=_share, metavar="P",
                          help="share of what tuning missed, laid over what the edit leaves alone (paper: 0)")
    for made in (edit, prepare):
        made.add_argument("--run", type=Path, metavar="DIR",
                          help="folder that keeps the prepared clip (default: one in the user's cache folder)")
    for made in (edit, prepare, estimate):
        made.add_argument("--preset", choices=get_args(Preset), help="fast (default), paper's steps, or a draft")
        made.add_argument("--precision", choices=get_args(Precision),
                          help="of the tuning loops (auto: fp32 on a CPU, tf32 on a GPU); bf16 is the coarsest")
        made.add_argument("--checkpointing", action="store_const", const=True,
                          help="tune with less memory and more time, for GPUs of 8 GB; the result is the same")
        made.add_argument("--start", type=_seconds, metavar="S", help="begin here, in seconds")
        made.add_argument("--end", type=_seconds, metavar="S", help="end here, in seconds")
        made.add_argument("--face", type=_count, metavar="N",
                          help="which face, counted over the whole clip by how surely and long each is seen (1)")
        made.add_argument("--threshold", type=_share, metavar="P", help="lowest detection score that counts (0.5)")
        made.add_argument("--size", dest="crop_size", type=_count, metavar="PX",
                          help="side of the aligned face, one that the family draws at (as large as it is in the clip)")
        made.add_argument("--epochs", type=_count, metavar="N", help="how often tuning sees each frame (paper: 80)")
        made.add_argument("--locality", action=argparse.BooleanOptionalAction,
                          help="locality regularisation while tuning (paper: on, code: off; the preset decides)")
        made.add_argument("--seed", type=int, metavar="N", help="of everything random (0)")

    edits = command("edits", "list the edits of a family")
    bench = command("bench", "measure how fast this machine does each stage, or how soon a preset is good")
    bench.add_argument("--against", choices=("plain",), help="edit the clips in a plain loop at the paper's schedule "
                       "too, and say how much sooner the preset is as good; takes minutes a frame on a CPU")
    bench.add_argument("clips", nargs="*", type=Path, metavar="CLIP", help="for --against")
    bench.add_argument("--frames", type=_count, default=8, metavar="N", help="of each clip, the first (8)")
    bench.add_argument("--size", dest="crop_size", type=_count, metavar="PX", help="side of the aligned face")
    bench.add_argument("--edit", type=_slider, default=("smile", 2.0), metavar="NAME=STRENGTH", help="(smile=2)")
    bench.add_argument("--preset", choices=get_args(Preset), default="fast", help="compared with the paper's (fast)")
    relevance = command("relevance", "measure once what free text can move in a generator that has no table of it yet")
    relevance.add_argument("-o", "--out", type=Path, required=True, metavar="FILE", help="the table, .safetensors")
    relevance.add_argument("--samples", type=_count, metavar="N", help="faces for each style channel (100)")
    relevance.add_argument("--seed", type=int, default=0, metavar="N", help="of the faces (0)")
    for made in (edit, edits):
        made.add_argument("--direction", action="append", default=[], type=_direction, metavar="NAME=FILE",
                          help="a direction of your own (.npy, .pt, .safetensors) for --edit NAME=STRENGTH, or a "
                               "folder of them, each named as its file; repeatable")
        made.add_argument("--relevance", type=Path, metavar="FILE",
                          help="the table behind text edits that 'stitch relevance' measured for this generator")
    batch.add_arguments(command("batch", batch.PURPOSE), _count)
    judged = command("evaluate", evaluate.PURPOSE)
    evaluate.add_arguments(judged, _count, _slider)
    studied = command("study", study.PURPOSE)
    study.add_arguments(studied, _count, _slider)
    for made in (prepare, estimate, bench, relevance, judged, studied):
        made.set_defaults(relevance=None, direction=[])
    for made in (edit, prepare, estimate, edits, bench, relevance, judged, studied):
        made.add_argument("--family", choices=families, help=f"whose faces are drawn ({load.default()})")
        made.add_argument("--tracker", choices=load.trackers(), default=load.OWN_TRACKER,
                          help="face detector: the family's own, RetinaFace, or RetinaFace and FAN's landmarks")
        made.add_argument("--generator", type=Path, metavar="FILE",
                          help="a StyleGAN2 face generator of your own, rosinality's (.pt) or NVIDIA's (.pkl); or "
                               f"{' or '.join(load.generators())} for that family's, fetched by itself, which has the "
                               "W of the family portrait; for a GPU, and not tried together so far")
        made.add_argument("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto",
                          help="where to compute (auto)")
        made.add_argument("--threads", type=_count, metavar="N", help="processor threads (torch's choice)")

    files = command("weights", "list, fetch or check the files of weights")
    files.add_argument("action", choices=("list", "fetch", "verify", "where"), help="what is there and what it may be "
                       "used for; fetch what is missing; read everything anew; or print the paths")
    files.add_argument("--family", choices=families, help="of this family (else of all; fetch: of those to fetch)")
    files.add_argument("--only", action="append", default=[], metavar="PART",
                       help="this part only, such as encoder or direction; repeatable")
    for made in (edit, prepare, estimate, edits, bench, relevance, judged, studied, files):
        made.add_argument("--weights", type=Path, metavar="DIR",
                          help="folder of your own files, taken first (default: the variable STITCH_WEIGHTS)")

    verify = command("verify", "say what a file says about itself: credentials, watermark, metadata")
    verify.add_argument("file", type=Path, metavar="FILE", help="a clip or a photo, whoever made it; ends with 0 if it "
                        "is Stitch's and unchanged, 3 if it is not, 4 if it was changed, 5 if credentials are missing")
    forget.add_arguments(command("forget", "delete what is kept of a clip, or of all clips"))

    sample = command("sample", "draw a talking-head clip with sound")
    sample.add_argument("output", type=Path, metavar="OUT", help="the clip, .mp4")
    sample.add_argument("--seed", type=int, default=0, metavar="N", help="of the person and the motion (0)")
    sample.add_argument("--frames", type=_count, default=75, metavar="T", help="how many (75)")
    sample.add_argument("--size", type=_size, default=(640, 480), metavar="WxH", help="in pixels (640x480)")
    sample.add_argument("--fps", type=_rate, default=Fraction(25), metavar="R",
                        help="frames a second, such as 30000/1001 (25)")
    sample.add_argument("--family", choices=families, default=load.default(), help=f"who draws it ({load.default()})")
    sample.add_argument("--scene", choices=SCENES, help="what happens (plain); only some families have scenes")
    sample.add_argument("--truth", type=Path, metavar="FILE",
                        help="also write what is really there, as JSON; only families that know it")
    return whole


def source_and_settings(arguments: argparse.Namespace) -> tuple[Path, Settings, str | None]:
    """The clip, the settings, and the family's name if the run knows it.

    Without a clip all are the prepared run's, and a preset speaks of stages 4-6 only.

    Raises:
        RunError: without a clip, there is no prepared run.
    """
    if arguments.clip is None and arguments.run is None:
        arguments.fail("name the clip, or with --run DIR a prepared one")
    family = None
    if arguments.clip is not None:
        presets = load.about(arguments.family or load.default()).presets
        source, settings = arguments.clip, Settings.preset(arguments.preset or "fast", presets)
    else:
        source, settings, family = runs.recorded(arguments.run)
        if arguments.preset is not None:
            settings = replace(settings, stitching=load.about(family).presets[arguments.preset].stitching)
    locality = {None: None, True: Settings().tune.locality_weight, False: 0.0}[arguments.locality]
    settings = replace(
        settings,
        video=_changed(settings.video, start_s=arguments.start, end_s=arguments.end, crf=arguments.crf),
        faces=_changed(settings.faces, face=arguments.face, threshold=arguments.threshold),
        align=_changed(settings.align, size=arguments.crop_size),
        tune=_changed(
            settings.tune, epochs=arguments.epochs, least_steps=arguments.epochs and 0, locality_weight=locality
        ),
        stitching=_changed(
            settings.stitching, steps=arguments.steps, tuned=arguments.tuned, shared_steps=arguments.shared_steps,
            chunk=arguments.chunk, distance=arguments.distance, mask_from=arguments.mask_from, detail=arguments.detail,
        ),
        merge=_changed(
            settings.merge, badge=arguments.badge, badge_place=arguments.badge_place, badge_language=arguments.language,
            watermark=arguments.watermark, credentials=arguments.credentials,
        ),
        compute=_changed(settings.compute, precision=arguments.precision, checkpointing=arguments.checkpointing),
        seed=settings.seed if arguments.seed is None else arguments.seed,
    )
    return source, settings, family


def _changed(stage: T, **given: Any) -> T:
    """A stage's settings with what was given; None leaves the default."""
    return replace(stage, **{name: value for name, value in given.items() if value is not None})  # type: ignore[type-var]


def sample_asked(arguments: argparse.Namespace) -> tuple[Draw, Sample]:
    """Who draws a sample clip, and what is to be drawn; options that the family does not have are refused."""
    family = load.about(arguments.family)
    for name in ("scene", "truth"):
        if getattr(arguments, name) is not None and name not in family.sample_options:
            others = [one.name for one in load.known().values() if name in one.sample_options]
            arguments.fail(f"--{name}: the family {family.name} has none; leave it out, or take --family "
                           f"{' or '.join(others)}")
    return family.sample, Sample(
        arguments.output, arguments.seed, arguments.frames, arguments.size, arguments.fps, arguments.scene,
        arguments.truth,
    )


def edits_asked(arguments: argparse.Namespace) -> "list[Edit | Text]":
    """The sliders and texts of an edit command, in the order given."""
    for name in ("text_strength", "neutral"):
        if len(getattr(arguments, name)) not in (0, 1, len(arguments.text)):
            arguments.fail(f"--{name.replace('_', '-')}: give one for all texts, or one for each")
    from stitch.core.records import Edit, Text

    asked: list[Edit | Text] = [Edit(name, strength) for name, strength in arguments.edit]
    asked += [Edit(name, factor, raw=True) for name, factor in arguments.raw_edit]
    for number, target in enumerate(arguments.text):
        given = {
            "neutral": _nth(arguments.neutral, number),
            "strength": _nth(arguments.text_strength, number),
            "channels": arguments.channels,
            "beta": arguments.beta,
        }
        asked.append(Text(target, **{name: value for name, value in given.items() if value is not None}))
    return asked


def _nth(values: Sequence[T], number: int) -> T | None:
    """The value for the text with this number; one value serves for all."""
    return None if not values else values[number if len(values) > 1 else 0]


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number")
    return value


def _seconds(text: str) -> float:
    value = _number(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is before the clip begins")
    return value


def _share(text: str) -> float:
    value = _number(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not between 0 and 1")
    return value


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return int(text)


def _steps(text: str) -> int:
    return 0 if text == "0" else _count(text)


def _quality(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 51:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 to 51")
    return int(text)


def _strength(text: str) -> "float | Points":
    """A strength, or strengths at times: "2", or "0@0,2@1.5" (value@seconds)."""
    if "@" not in text:
        return _number(text)
    points = []
    for point in text.split(","):
        value, _, seconds = point.partition("@")
        points.append((_seconds(seconds), _number(value)))
    return tuple(points)


def _slider(text: str) -> "tuple[str, float | Points]":
    name, equals, strength = text.partition("=")
    if not equals or not name.strip():
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=STRENGTH, such as smile=2 or smile=0@0,2@1.5")
    return name.strip(), _strength(strength)


def _direction(text: str) -> tuple[str | None, Path]:
    """NAME=FILE, or a folder, which names its own."""
    name, equals, file = text.partition("=")
    if not equals or Path(text).is_dir():
        return None, Path(text)
    if not name.strip() or not file:
        raise argparse.ArgumentTypeError(f"{text!r} is neither NAME=FILE, such as squint=squint.npy, nor a folder")
    return name.strip(), Path(file)


def _rate(text: str) -> Fraction:
    try:
        rate = Fraction(text)
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if not 1 <= rate <= 240:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of frames a second from 1 to 240")
    return rate


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.lower().partition("x")
    if not all(side.isascii() and side.isdigit() and 32 <= int(side) <= 8192 for side in (width, height)):
        raise argparse.ArgumentTypeError(f"{text!r} is not WIDTHxHEIGHT in pixels, such as 640x480")
    return int(width), int(height)
