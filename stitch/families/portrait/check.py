"""`python -m stitch.families.portrait.check CLIP... --teachers DIR`: how good the family portrait is, on filmed clips.

Every clip goes through the same `prepare` and `edit_video` as any user's, and public networks read what comes out. Of
these dlib's recognition and the reader of happiness had no part in training. Those of mesh, expressions, age and gender
taught the sliders on rendered faces, never the generator or the encoder: they may judge reconstructions; of edits they
say whether a slider does on a filmed face what it learnt on drawn ones.

All that is found is kept in the work folder, so that a killed check goes on. On clips that are judged nothing is tuned.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from PIL import Image

from stitch.core.errors import StitchError
from stitch.core.images import shrink, to_bytes, to_tensor
from stitch.core.records import Edit, Text
from stitch.core.settings import Preset, Settings
from stitch.families import load
from stitch.families.family import Family
from stitch.families.portrait import ABOUT, scores
from stitch.families.portrait.readers import Judges, Readings, read, read_named
from stitch.families.portrait.training.teachers import Teachers
from stitch.methods.stit import detail, edit, stitching
from stitch.methods.stit.pipeline import Prepared, describe, edit_video, prepare
from stitch.runtime import disk, pages, runs
from stitch.runtime.device import chosen
from stitch.runtime.memory import peak_memory_mib
from stitch.study.checks import changed_outside, latest_edit, timed
from stitch.study.evaluate.prepared import likeness
from stitch.video import files
from stitch.video.sheet import CELL_PX, contact_sheet

STRENGTH = 2.0
"""Of the edits that are read, both ways."""
FRAMES_READ, FRAMES_SHOWN, FRAMES_PROMPTED = 6, 2, 3


@dataclass(frozen=True)
class Case:
    """One clip of the check.

    Attributes:
        clip: the file.
        settings: of `prepare` and `edit_video`, with the trim.
        edits: names whose effect is read.
        prompts: whether the effects of `scores.PROMPTS` are read too.
        rendered: the edit that goes through `edit_video`.
    """

    clip: Path
    settings: Settings
    edits: tuple[str, ...]
    prompts: bool
    rendered: Edit

    @property
    def run_key(self) -> str:
        """Names all that stages 1-3 depend on."""
        weights = {"name": ABOUT.name, "weights": [part.digest for part in ABOUT.parts]}
        return runs.key_of(runs.identity_of(self.settings, runs.clip_of(self.clip), weights))

    @property
    def key(self) -> str:
        """Names all that the figures depend on."""
        prompts = scores.PROMPTS if self.prompts else ()
        asked = {"run": self.run_key, "stitching": asdict(self.settings.stitching), "edits": [*self.edits, *prompts]}
        return runs.key_of({**asked, "merge": asdict(self.settings.merge), "rendered": asdict(self.rendered)})


@dataclass(frozen=True, eq=False)
class Witness:
    """A clip that was prepared, and who looks at it.

    Attributes:
        prepared: the clip.
        family: at the size of its crops.
        settings: as it was prepared and edited with.
        judges: who reads faces.
        crops: what they read in all crops.
    """

    prepared: Prepared
    family: Family
    settings: Settings
    judges: Judges
    crops: Readings

    def drawn(self, rows: np.ndarray, edits: Sequence[Edit | Text] = ()) -> np.ndarray:
        """What the tuned generator draws of some frames, [n,S,S,3] uint8, edited or as they are."""
        generator, pivots = self.prepared.generator, self.prepared.pivots
        device = next(generator.parameters()).device
        pictures = []
        for row in rows:
            codes: edit.Codes = pivots.w[[row]].to(device)
            if edits:
                codes = edit.resolve(edits, self.family).codes(pivots.w[[row]].to(device), np.zeros(1), generator)
            pictures.append(to_bytes(edit.render(generator, codes))[0])
        return np.stack(pictures)


def judge(case: Case, family: Family, judges: Judges, work: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Everything that one clip shows.

    Args:
        case: which clip, and what is asked of it.
        family: loaded.
        judges: who reads faces.
        work: folder for the run and the result.
    Returns:
        Figures by name, plain JSON values; pictures for the contact sheet by its columns, some frames' each,
        [n,CELL_PX,CELL_PX,3] uint8 or a little larger.
    """
    run = work / "runs" / case.run_key
    resumed = run.exists()
    prepared, preparing = timed(prepare(case.clip, run, case.settings, family, work / "surveys"))
    output = work / f"{case.clip.stem}-{case.key}.mp4"
    result, editing = timed(edit_video(prepared, [case.rendered], output, case.settings, family))
    peak = peak_memory_mib()
    images = prepared.crops.images
    witness = Witness(prepared, family.at_size(images.shape[1]), case.settings, judges, read(judges, images))
    rows = spread(len(images), FRAMES_READ)
    shown = spread(len(images), FRAMES_SHOWN)
    edited, sheet = edits_read(witness, case.edits, rows, shown)
    prompted = prompts_read(witness) if case.prompts else {}
    whole, beside = rendered(witness, case.rendered, rows)
    wanted = ("boundary_ratio", "tl_id", "tg_id")
    measures: dict[str, Any] = {name: result.measures[name] for name in wanted if name in result.measures}
    figures: dict[str, Any] = {
        "frames": prepared.info.frames,
        "frames_lost": int((~prepared.track.found).sum()),
        "faces": prepared.track.faces,
        "crop_px": images.shape[1],
        **rebuilt(witness, case.rendered),
        "edits_wrong": sum(row["right"] is False for row in edited.values()),
        **scores.strength(edited),
        **measures,
        **({"tl_id_off": abs(measures["tl_id"] - 1)} if "tl_id" in measures else {}),
        **whole,
        "pixels_changed_outside": changed_outside(prepared, case.settings),
        "prepare_s": sum(preparing.values()),
        "edit_s": sum(editing.values()),
        "peak_mib": peak,
        "edits": edited,
        "prompts": prompted,
        "rendered": {"edit": describe([case.rendered]), **beside},
        "seconds": {**preparing, **editing},
        "resumed": resumed,
        "notes": list(result.notes),
    }
    label = f"{describe([case.rendered])}, pasted"
    pictures = {"original": images[shown], "tuned": witness.drawn(shown), **sheet, label: pasted(prepared, shown)}
    return figures, {name: _small(column) for name, column in pictures.items()}


@torch.no_grad()
def rebuilt(witness: Witness, asked: Edit) -> dict[str, Any]:
    """How well all crops are drawn by the encoder's codes, by the refined ones, after tuning, and with what an edit
    gets back of what tuning missed where it moves nothing ("laid", see `stit.detail`)."""
    prepared, family = witness.prepared, witness.family
    refined = torch.from_numpy(prepared.run.load("pivots")["w"])
    taken: dict[str, list[float]] = {}
    pictures = []
    stage = witness.settings.stitching
    for row, image in enumerate(prepared.crops.images):  # one at a time: a batch of large ones does not fit everywhere
        source = to_tensor(image[None]).to(family.generator.w_avg.device)
        pivot = prepared.pivots.w[[row]].to(source.device)
        tuned, edited = (edit.render(prepared.generator, codes) for codes in (
            pivot, edit.resolve([asked], family).codes(pivot, np.zeros(1), prepared.generator)))
        mask = stitching.faces(family.parser, source, stage)
        drawn = {
            "encoder": edit.render(family.generator, family.encoder(source)),
            "refined": edit.render(family.generator, refined[[row]].to(source.device)),
            "tuned": tuned,
            "laid": detail.rested_on(source, tuned, edited, stage.detail),
        }
        for name, picture in drawn.items():
            decibels, _, distance = likeness(picture, source, mask, family.perceptual)
            taken.setdefault(f"{name}_db", []).append(decibels)
            taken.setdefault(f"{name}_distance", []).append(distance)
        pictures.append(to_bytes(drawn["tuned"])[0])
    found = read(witness.judges, pictures)
    return {
        **scores.mesh_errors(found.meshes, witness.crops.meshes),
        **{name: float(np.nanmean(values)) for name, values in taken.items()},
        "tuned_db_worst": float(np.nanmin(taken["tuned_db"])),
        **scores.likeness(witness.crops.dlib, found.dlib),
        "missed": scores.missed(witness.crops.attributes, found.attributes),
    }


def edits_read(
    witness: Witness, names: Sequence[str], rows: np.ndarray, shown: np.ndarray
) -> tuple[dict[str, dict[str, Any]], dict[str, np.ndarray]]:
    """What edits do to what the tuned generator draws, before any stitching.

    Args:
        witness: the clip.
        names: of the edits, each taken at `STRENGTH` both ways.
        rows: which crops are read.
        shown: which are pictured.
    Returns:
        By description: `scores.edit_scores`, with dlib's distance "identity" from the clip and the gain of "happy";
        and the pictures.
    """
    before = read(witness.judges, witness.drawn(rows))
    figures, pictures = {}, {}
    for name in names:
        for strength in (STRENGTH, -STRENGTH):
            edits = [Edit(name, strength)]
            after = read(witness.judges, witness.drawn(rows, edits))
            figures[describe(edits)] = {
                **scores.edit_scores(name, strength, before.attributes, after.attributes),
                "identity": scores.likeness(witness.crops.at(rows).dlib, after.dlib)["identity"],
                "happy": float((after.happy - before.happy).mean()),
            }
            pictures[describe(edits)] = witness.drawn(shown, edits)
    return figures, pictures


def prompts_read(witness: Witness) -> dict[str, dict[str, Any]]:
    """What `scores.PROMPTS` do to what the tuned generator draws; `scores.prompt_scores` by the prompt."""
    rows = spread(len(witness.crops.happy), FRAMES_PROMPTED)
    before = read_named(witness.judges, witness.drawn(rows))
    found = {}
    for prompt in scores.PROMPTS:
        after = read_named(witness.judges, witness.drawn(rows, [Text(prompt.target, prompt.neutral, STRENGTH)]))
        found[prompt.target] = scores.prompt_scores(prompt, before, after)
    return found


def rendered(witness: Witness, edited: Edit, rows: np.ndarray) -> tuple[dict[str, float], dict[str, Any]]:
    """What the edit that was made last looks like in the frames it was pasted into.

    Args:
        witness: the clip.
        edited: that edit.
        rows: of which crops attributes are compared.
    Returns:
        TL-ID and TG-ID by dlib, and how far it finds the person from the clip's; scores of the edit.
    """
    found = read(witness.judges, pasted(witness.prepared, np.arange(len(witness.crops.happy))))
    whole = {f"{name}_dlib": value for name, value in scores.consistency(witness.crops.dlib, found.dlib).items()}
    whole["pasted_identity"] = scores.likeness(witness.crops.dlib, found.dlib)["identity"]
    before, after = witness.crops.at(rows), found.at(rows)
    beside: dict[str, Any] = {"happy": float((after.happy - before.happy).mean())}
    if edited.name in scores.SCALES and isinstance(edited.strength, float):
        beside |= scores.edit_scores(edited.name, edited.strength, before.attributes, after.attributes)
    return whole, beside


def pasted(prepared: Prepared, rows: np.ndarray) -> np.ndarray:
    """Crops with the last edit's stitched faces in them, [n,S,S,3] uint8."""
    folder = latest_edit(prepared)
    tiles, masks = (np.load(folder / f"{name}.npy", mmap_mode="r")[rows] for name in ("tiles", "masks"))
    return np.where(masks[..., None] > 0, tiles, prepared.crops.images[rows])


def spread(count: int, wanted: int) -> np.ndarray:
    """The middles of `wanted` equal parts of a row of `count`; all of them where there are not so many."""
    return np.unique(((np.arange(wanted) + 0.5) * count / wanted).astype(int))


def settings_for(
    clip: Path, frames: int, preset: Preset, size: int | None = None, epochs: int | None = None,
    shared_steps: int | None = None,
) -> Settings:
    """The preset's settings for the first frames of a clip.

    Args:
        clip: the file.
        frames: how many at most.
        preset: the family's own.
        size: of the crops, px; None takes what the face in the clip is worth.
        epochs, shared_steps: take the place of the preset's, for a quick try.
    Raises:
        VideoError: the clip cannot be read.
    """
    settings = Settings.preset(preset, ABOUT.presets)
    info = files.probe(clip)
    if frames < info.frames:
        settings = replace(settings, video=replace(settings.video, end_s=float(frames / info.rate)))
    settings = replace(settings, align=replace(settings.align, size=size))
    if epochs is not None:
        settings = replace(settings, tune=replace(settings.tune, epochs=epochs, least_steps=0))
    if shared_steps is not None:
        settings = replace(settings, stitching=replace(settings.stitching, shared_steps=shared_steps))
    return settings


def checked(case: Case, family: Family, judges: Judges, work: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """`judge`, or what it found earlier."""
    kept, pictured = (work / f"{case.clip.stem}-{case.key}.{ending}" for ending in ("json", "npz"))
    if not kept.exists():
        figures, pictures = judge(case, family, judges, work)
        with disk.whole(pictured) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, names=list(pictures), images=np.stack(list(pictures.values())))
        disk.write_whole(kept, json.dumps(figures, indent=1).encode())
    with np.load(pictured) as stored:
        return json.loads(kept.read_text()), dict(zip(stored["names"].tolist(), stored["images"], strict=True))


def save_sheet(path: Path, pictures: dict[str, dict[str, np.ndarray]], caption: str) -> None:
    """Write the contact sheet: a few rows a clip.

    Args:
        path: of the .png.
        pictures: of `judge`, by the clip's name.
        caption: above it.
    """
    columns = list(dict.fromkeys(name for one in pictures.values() for name in one))
    rows = [images for one in pictures.values() for images in zip(*(one[name] for name in columns), strict=True)]
    labels = [name for name, one in pictures.items() for _ in one[columns[0]]]
    path.parent.mkdir(parents=True, exist_ok=True)
    with disk.whole(path) as temporary:
        Image.fromarray(contact_sheet(rows, columns, labels, caption)).save(temporary)


def main(arguments: Iterable[str] | None = None) -> int:
    """Command line; 0 if every bar is met."""
    summary = (__doc__ or "").splitlines()[0]
    options = argparse.ArgumentParser(prog="python -m stitch.families.portrait.check", description=summary)
    options.add_argument("clips", nargs="+", type=Path, metavar="CLIP", help="filmed clips that nothing was tuned on")
    options.add_argument("--teachers", type=Path, required=True, help="folder of the public networks that read faces")
    options.add_argument("--work", type=Path, default=Path("out/check-portrait"), help="where what was done is kept")
    options.add_argument("--preset", default="fast", choices=get_args(Preset))
    options.add_argument("--frames", type=int, default=60, help="of each clip, from its beginning")
    options.add_argument("--edits", default=",".join(scores.SCALES), help="which are read (%(default)s)")
    options.add_argument("--no-prompts", action="store_true", help="leave free text out, which takes some minutes")
    options.add_argument("--render", default="smile=2", help="NAME=STRENGTH that goes into the video (%(default)s)")
    options.add_argument("--size", type=int, help="of the crops, px (the clip's own); 256 is what a CPU does soonest")
    options.add_argument("--epochs", type=int, help="of tuning, instead of the preset's: for a quick try")
    options.add_argument("--shared-steps", type=int, help="of stitching, instead of the preset's: for a quick try")
    options.add_argument("--device", default="cpu", help="auto, cpu, cuda or mps (%(default)s)")
    options.add_argument("--json", type=Path, help="where the figures go (check.json in --work)")
    options.add_argument("--sheet", type=Path, help="where the contact sheet goes (check.png in --work)")
    given = options.parse_args(None if arguments is None else list(arguments))
    edits = tuple(name for name in given.edits.split(",") if name)
    unknown = [name for name in edits if name not in scores.SCALES]
    if unknown:
        options.error(f"edits nobody can read: {', '.join(unknown)}; known: {', '.join(scores.SCALES)}")
    edited = _edit(given.render)
    if edited is None:
        options.error(f"--render {given.render}: wanted is NAME=STRENGTH, such as smile=2")
    for path in given.clips:
        if not path.is_file():
            options.error(f"{path}: no such clip")
    if len({path.stem for path in given.clips}) < len(given.clips):
        options.error("two clips have the same name; rename one")
    try:
        judges = Teachers(given.teachers)
    except FileNotFoundError as error:
        options.error(str(error))
    except ModuleNotFoundError as error:
        options.error(f"{given.teachers}: the teachers need the package {error.name}: pip install {error.name}")
    try:
        family = load.load_family(ABOUT.name, chosen(given.device))
        edit.resolve([edited], family)  # so that a misspelt name is refused now and not after tuning
        given.work.mkdir(parents=True, exist_ok=True)
        figures, pictures = {}, {}
        for path in given.clips:
            settings = settings_for(
                path, given.frames, given.preset, given.size, given.epochs, given.shared_steps
            )
            case = Case(path, settings, edits, not given.no_prompts, edited)
            figures[path.stem], pictures[path.stem] = checked(case, family, judges, given.work)
            took = f"{figures[path.stem]['prepare_s']:.0f} + {figures[path.stem]['edit_s']:.0f} s"
            print(f"{path.stem}: {took}", file=sys.stderr)
    except StitchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    found = scores.report(figures, given.preset)
    target = given.json or given.work / "check.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    disk.write_whole(target, json.dumps(found, indent=1).encode())
    save_sheet(given.sheet or given.work / "check.png", pictures, f"portrait, {given.preset}")
    print(scores.table(found))
    return 0 if found["met"] else 1


def _edit(text: str) -> Edit | None:
    name, _, strength = text.partition("=")
    try:
        return Edit(name, float(strength))
    except ValueError:
        return None


def _small(images: np.ndarray) -> np.ndarray:
    factor = max(1, images.shape[1] // CELL_PX)
    return np.stack([shrink(image, factor) for image in images])


if __name__ == "__main__":
    pages.restart(keep=True)
    sys.exit(main())
