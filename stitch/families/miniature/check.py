"""`python -m stitch.families.miniature.check`: how good the miniature family is, on clips that no training has seen.

Ten clips are drawn, written as video, and go through the same `prepare` and `edit_video` as any user's clip. What is
found is compared with what was drawn; what is edited is read by a regressor that saw neither the generator nor the
directions in training. Every clip's figures are kept in the work folder, so that a killed check goes on.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor

from stitch.core import geometry
from stitch.core.events import finished
from stitch.core.images import to_tensor
from stitch.core.records import ClipInfo, Edit, FrameMeasures, Text
from stitch.core.settings import Preset, Settings
from stitch.families.family import Family, Generator
from stitch.families.miniature import WEIGHTS
from stitch.families.miniature.clips import FrameTruth, Scene, draw_clip
from stitch.families.miniature.family import files_in, load
from stitch.families.miniature.networks import Regressor
from stitch.methods.stit import edit
from stitch.methods.stit.masks import NOT_FACE
from stitch.methods.stit.pipeline import Prepared, edit_video, prepare
from stitch.networks.formats.checkpoints import load_module
from stitch.runtime.device import chosen
from stitch.study.checks import changed_outside
from stitch.video import files

SEEDS = tuple(range(77_000, 77_010))
SCENES: tuple[Scene, ...] = ("plain", "busy", "plain", "busy", "moving-camera") * 2
EDITS = (
    "smile", "age", "glasses", "beard", "hair_lightness", "gender", "lipstick", "mouth_open", "hair_length", "makeup"
)
"""The edit that each clip is rendered with."""

DIRECTIONS = (
    "smile", "age", "gender", "glasses", "beard", "lipstick", "hair_length", "hair_lightness", "makeup", "mouth_open",
    "eyes_open", "yaw",
)
SPEARMAN, LEAK = 0.95, 1 / 3
"""A direction is true when the aimed attribute, over all clips, follows the strength by at least this rank correlation,
and no other attribute moves by more than this share of it."""

STRENGTHS = (-3, -2, -1, 0, 1, 2, 3)

PROMPTS = (
    ("a smiling face", "smile", 1),
    ("a sad face", "smile", -1),
    ("a face with glasses", "glasses", 1),
    ("a man with a beard", "beard", 1),
    ("an old person", "age", 1),
    ("a young person", "age", -1),
    ("a woman with red lipstick", "lipstick", 1),
    ("a person with long hair", "hair_length", 1),
    ("a person with short hair", "hair_length", -1),
    ("a person with blond hair", "hair_lightness", 1),
    ("a person with black hair", "hair_lightness", -1),
    ("a face with an open mouth", "mouth_open", 1),
)
"""Free text, the drawn factor that it names, and which way that should move."""

BARS: dict[str, tuple[str, float]] = {
    "landmark_error": ("<=", 0.03),
    "frames_lost_plain_busy": ("<=", 0),
    "parser_iou": (">=", 0.93),
    "psnr_inversion_db": (">=", 20),
    "psnr_tuned_db": (">=", 31),
    "directions_true": (">=", 8),
    "directions_identity_min": (">=", 0.75),
    "prompts_right": (">=", len(PROMPTS)),
    "boundary_ratio": ("<=", 0.25),
    "tl_id": (">=", 0.995),
    "tg_id": (">=", 0.95),
    "pixels_changed_outside": ("<=", 0),
}


@dataclass(frozen=True)
class Case:
    """One clip of the check."""

    seed: int
    scene: Scene
    edit: str
    frames: int
    size: tuple[int, int]
    preset: Preset


def cases(clips: int, frames: int, size: tuple[int, int], preset: Preset) -> list[Case]:
    """The first `clips` of the ten cases."""
    rows = zip(SEEDS, SCENES, EDITS, strict=True)
    return [Case(seed, scene, name, frames, size, preset) for seed, scene, name in rows][:clips]


def run_case(case: Case, family: Family, regressor: Regressor, folder: Path) -> dict[str, Any]:
    """Everything that one clip shows.

    Args:
        case: which clip.
        family: the miniature family.
        regressor: the independent witness.
        folder: for the clip, its run and its result.
    Returns:
        Figures by name, plain JSON values.
    """
    folder.mkdir(parents=True, exist_ok=True)
    source, truths = folder / "clip.mp4", []
    rate = Fraction(25)
    info = ClipInfo(source, *case.size, rate, case.frames, 0.0, case.frames / 25, audio=False)
    with files.Writer(source, info, crf=10) as writer:
        for frame, truth in draw_clip(case.seed, case.frames, case.size, float(rate), case.scene):
            writer.add(frame)
            truths.append(truth)
    settings = Settings.preset(case.preset)
    started = time.monotonic()
    prepared = finished(prepare(source, folder / "run", settings, family))
    prepared_s = time.monotonic() - started
    output = folder / "edited.mp4"
    result = finished(
        edit_video(prepared, [Edit(case.edit, 2.0)], output, settings, family, sheet=folder / "sheet.png")
    )
    per_frame = cast(FrameMeasures, result.per_frame)
    figures: dict[str, Any] = {
        "seed": case.seed, "scene": case.scene, "edit": case.edit, "frames": case.frames, "preset": case.preset,
        "prepare_s": round(prepared_s, 1), "edit_s": round(time.monotonic() - started - prepared_s, 1),
        "frames_lost": int((~prepared.track.found).sum()),
        "landmark_error": landmark_error(prepared, truths),
        "parser_iou": parser_iou(prepared, truths, family),
        "pixels_changed_outside": changed_outside(prepared, settings),
        "ring_naive": float(np.nanmean(per_frame.ring_naive)),
        "ring_stitched": float(np.nanmean(per_frame.ring_stitched)),
        **result.measures,
    }
    figures["directions"] = direction_figures(prepared, family, regressor)
    figures["prompts"] = prompt_figures(prepared, family, regressor)
    return figures


def landmark_error(prepared: Prepared, truths: Sequence[FrameTruth]) -> float:
    """Mean distance of the tracked landmarks from the drawn ones over the distance of the eyes, over all frames."""
    errors = []
    for found, truth in zip(prepared.track.landmarks, truths, strict=True):
        if truth.people and np.isfinite(found).all():
            drawn = truth.people[0].landmarks
            eyes = np.linalg.norm(drawn[36:42].mean(0) - drawn[42:48].mean(0))
            errors.append(np.linalg.norm(found - drawn, axis=1).mean() / eyes)
    return float(np.mean(errors))


def parser_iou(prepared: Prepared, truths: Sequence[FrameTruth], family: Family) -> float:
    """Face and hair as parsed against face and hair as drawn, over all crops."""
    common = union = 0
    for index, image in enumerate(prepared.crops.images):
        labels = family.parser(to_tensor(image[None]))[0].numpy()
        size = labels.shape[0]
        drawn = truths[int(prepared.crops.frames[index])].labels
        centres = np.stack(np.meshgrid(*[np.arange(size) + 0.5] * 2), -1).reshape(-1, 2)
        places = geometry.transform_points(geometry.quad_transform(prepared.crops.quads[index], size), centres)
        x, y = np.floor(places).astype(int).T
        inside = (x >= 0) & (y >= 0) & (x < drawn.shape[1]) & (y < drawn.shape[0])
        truth = ~np.isin(drawn[y[inside], x[inside]], NOT_FACE)
        parsed = ~np.isin(labels.reshape(-1)[inside], NOT_FACE)
        common += int((truth & parsed).sum())
        union += int((truth | parsed).sum())
    return common / max(union, 1)


@torch.no_grad()
def direction_figures(prepared: Prepared, family: Family, regressor: Regressor) -> dict[str, dict[str, float]]:
    """For each slider: the aimed attribute at each strength, moves of all, identity."""
    pivots = _sampled(prepared)
    names = list(regressor.factors)
    aims = [name for name in DIRECTIONS if name in names]
    figures = {}
    for name in DIRECTIONS:
        curve, identities = [], []
        plain = _draw(prepared.generator, pivots, family, [])
        for strength in STRENGTHS:
            drawn = plain if strength == 0 else _draw(prepared.generator, pivots, family, [Edit(name, float(strength))])
            curve.append(regressor(drawn).mean(0))
            if abs(strength) == 2:
                identities.append(float((family.identity(drawn) * family.identity(plain)).sum(1).mean()))
        table = torch.stack(curve).numpy()
        aimed = table[:, names.index(name)]
        moves = {other: abs(float(table[-1, names.index(other)] - table[0, names.index(other)])) for other in aims}
        figures[name] = {
            "curve": aimed.tolist(),
            "moved": moves.pop(name),
            **{f"moved_{other}": moved for other, moved in moves.items()},
            "identity": float(np.mean(identities)),
        }
    return figures


@torch.no_grad()
def prompt_figures(prepared: Prepared, family: Family, regressor: Regressor) -> dict[str, float]:
    """For each prompt: how far the named attribute moves the right way, in standard units, at strength 2."""
    pivots = _sampled(prepared)
    before = regressor(_draw(prepared.generator, pivots, family, [])).mean(0)
    figures = {}
    for prompt, factor, sign in PROMPTS:
        after = regressor(_draw(prepared.generator, pivots, family, [Text(prompt)])).mean(0)
        figures[prompt] = sign * float((after - before)[regressor.factors.index(factor)])
    return figures


def _sampled(prepared: Prepared, count: int = 4) -> Tensor:
    rows = np.unique(np.linspace(0, len(prepared.pivots.w) - 1, count).round().astype(int))
    return prepared.pivots.w[rows]


def _draw(generator: Generator, pivots: Tensor, family: Family, edits: Sequence[Edit | Text]) -> Tensor:
    codes: edit.Codes = pivots
    if edits:
        codes = edit.resolve(edits, family).codes(pivots, np.zeros(len(pivots)), generator)
    return edit.render(generator, codes).clamp(-1, 1)


def summary(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Figures over all clips, each bar with whether it is met.

    Args:
        results: of `run_case`.
    Returns:
        Plain JSON values: `figures`, `directions`, `prompts`, `bars` (figure, sign, bar, met). The boundary's ratio is
        the error after stitching over that of a naive paste, each over all clips; `boundary_ratio_of_clips` averages
        the ratios of single clips instead, where clips count most whose naive paste is off by little more than the
        camera's noise, which no tuning can draw.
    """
    def mean(name: str) -> float:
        return float(np.mean([result[name] for result in results if name in result]))

    directions: dict[str, dict[str, Any]] = {}
    for name in DIRECTIONS:
        rows = [result["directions"][name] for result in results]
        curve = np.mean([row["curve"] for row in rows], axis=0)
        keys = [key for key in rows[0] if key.startswith("moved_")]
        moved = float(np.mean([row["moved"] for row in rows]))
        leaks = {key[6:]: float(np.mean([row[key] for row in rows])) / max(moved, 1e-9) for key in keys}
        worst = max(leaks, key=lambda other: leaks[other])
        directions[name] = {
            "spearman": float(spearmanr(STRENGTHS, curve).statistic), "curve": curve.tolist(), "moved": moved,
            "leak": leaks[worst], "leak_to": worst,
            "identity": float(np.mean([row["identity"] for row in rows])),
        }
    prompts = {prompt: float(np.mean([result["prompts"][prompt] for result in results])) for prompt, _, _ in PROMPTS}
    names = (
        "landmark_error", "parser_iou", "psnr_inversion_db", "psnr_tuned_db", "ring_naive", "ring_stitched", "tl_id",
        "tg_id",
    )
    figures = {name: mean(name) for name in names}
    figures["boundary_ratio"] = figures["ring_stitched"] / figures["ring_naive"]
    figures["boundary_ratio_of_clips"] = mean("boundary_ratio")
    figures["frames_lost_plain_busy"] = sum(r["frames_lost"] for r in results if r["scene"] in ("plain", "busy"))
    figures["pixels_changed_outside"] = sum(result["pixels_changed_outside"] for result in results)
    figures["directions_true"] = sum(
        row["spearman"] >= SPEARMAN and row["leak"] < LEAK for row in directions.values()
    )
    figures["directions_identity_min"] = min(row["identity"] for row in directions.values())
    figures["prompts_right"] = sum(move > 0 for move in prompts.values())
    bars = {
        name: {"figure": figures[name], "sign": sign, "bar": bar,
               "met": bool(figures[name] <= bar if sign == "<=" else figures[name] >= bar)}
        for name, (sign, bar) in BARS.items()
    }
    return {"clips": len(results), "figures": figures, "directions": directions, "prompts": prompts, "bars": bars}


def main(arguments: Iterable[str] | None = None) -> int:
    """Command line; 0 if every bar is met."""
    parser = argparse.ArgumentParser(
        prog="python -m stitch.families.miniature.check", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--out", type=Path, default=Path("out/check.json"), help="where the JSON goes")
    parser.add_argument("--work", type=Path, default=Path("out/check"), help="folder for the clips and their runs")
    parser.add_argument("--clips", type=int, default=len(SEEDS), help="how many of the ten clips")
    parser.add_argument("--frames", type=int, default=16, help="frames per clip")
    parser.add_argument("--size", default="480x360", help="WIDTHxHEIGHT of the clips")
    parser.add_argument("--preset", default="paper", choices=get_args(Preset))
    parser.add_argument("--part", default="0/1", help="K/N: only every Nth clip, beginning with the Kth (from 0)")
    parser.add_argument("--weights", type=Path, default=WEIGHTS, help="folder of the family's files")
    given = parser.parse_args(None if arguments is None else list(arguments))
    width, height = (int(side) for side in given.size.split("x"))
    first, every = (int(number) for number in given.part.split("/"))
    family = load(files_in(given.weights), chosen("cpu"))
    regressor = load_module(given.weights / "regressor.safetensors", Regressor)
    results, missing = [], 0
    for index, case in enumerate(cases(given.clips, given.frames, (width, height), given.preset)):
        folder = given.work / f"{case.seed}-{case.scene}"
        kept = folder / "figures.json"
        if not kept.exists() and index % every == first:
            figures = run_case(case, family, regressor, folder)
            kept.write_text(json.dumps(figures, indent=1))
            print(f"{case.seed} {case.scene}: {figures['prepare_s']:.0f} + {figures['edit_s']:.0f} s", file=sys.stderr)
        if kept.exists():
            results.append(json.loads(kept.read_text()))
        else:
            missing += 1
    report = summary(results)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(report, indent=1))
    for name, row in report["bars"].items():
        verdict = "met" if row["met"] else "MISSED"
        print(f"{name:26} {row['figure']:9.4f} {row['sign']} {row['bar']:<8.4g} {verdict}")
    if missing:
        print(f"{missing} clips are still to be checked")
    return 0 if not missing and all(row["met"] for row in report["bars"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
