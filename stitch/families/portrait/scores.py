"""The arithmetic of `stitch.families.portrait.check`: readings of faces in, figures and verdicts out."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from stitch.core import metrics
from stitch.core.settings import Preset

Readings = Mapping[str, np.ndarray]
"""What was read in n pictures: [n] by attribute."""

EYES = ((33, 133), (263, 362))
"""Corners of both eyes in the mesh."""
LIDS_AND_LIPS = (
    33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246,
    263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466,
    61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185,
    78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191,
)  # fmt: skip

SCALES = {"smile": 0.29, "age": 12.9, "gender": 4.0, "eyes_open": 0.15, "mouth_open": 0.1}
"""One unit of each attribute. Of smile, age and gender (in logits): the std over 80 CC0 portraits of different people.
In posed pictures eyes and mouths hardly vary (0.065 and 0.016), so theirs are fixed: a quarter of a blink, and a mouth
about to speak."""
LIMITS = {"smile": (0.0, 1.0), "age": (0.0, 99.0), "gender": (-9.2, 9.2), "eyes_open": (-1.0, 0.0),
          "mouth_open": (0.0, 1.0)}  # fmt: skip
"""Where the reader of each attribute ends."""
MOVED, ROOM = 0.1, 0.25
"""Units that an edit must move its attribute by, and that a reader must have left for that to be judged."""



class Prompt(NamedTuple):
    """A free-text edit, and what it should move.

    Attributes:
        target, neutral: the text's two ends.
        attribute: of `training.attributes.named`.
        sign: which way.
        scale: std of the attribute over rendered faces.
    """

    target: str
    neutral: str
    attribute: str
    sign: int
    scale: float


PROMPTS = (
    Prompt("a smiling face", "a face", "smile", 1, 0.35),
    Prompt("an old face", "a face", "age", 1, 10.5),
    Prompt("a young face", "a face", "age", -1, 10.5),
    Prompt("a woman", "a person", "gender", -1, 2.9),
    Prompt("a man", "a person", "gender", 1, 2.9),
    Prompt("a face with an open mouth", "a face", "mouth_open", 1, 0.034),
    Prompt("a face with closed eyes", "a face", "eyes_open", -1, 0.065),
    Prompt("a face with blond hair", "a face", "hair_dark", -1, 14.9),
    Prompt("a face with black hair", "a face", "hair_dark", 1, 14.9),
    Prompt("a face with glasses", "a face", "glasses", 1, 0.025),
    Prompt("a face with raised eyebrows", "a face", "brows", 1, 0.113),
    Prompt("a face with red lipstick", "a face", "lipstick", 1, 7.9),
)
"""Twelve over nine attributes, chosen before any was tried on a clip."""
PROMPTS_RIGHT = 10

SAME_PERSON, SAME_PERSON_LFW = 0.41, 0.6
"""Distances of dlib's descriptors: 1 % of 3,160 pairs of the 80 portraits lie nearer than the first; the second is what
dlib's authors took for LFW, within which lie 10 % of those pairs."""

_TUNED_DB: Mapping[Preset, float] = {"paper": 30, "fast": 28}
_SEAM: Mapping[Preset, float] = {"paper": 0.35, "fast": 0.5}


def bars(preset: Preset) -> dict[str, tuple[str, float]]:
    """What a clip must reach, by figure: "<=" or ">=", and the bar."""
    wanted: dict[str, tuple[str, float]] = {
        "frames_lost": ("<=", 0),
        "landmarks": ("<=", 0.025),
        "encoder_db": (">=", 17),
        "same_person": (">=", 1),
        "edits_wrong": ("<=", 0),
        "tl_id_off": ("<=", 0.01),
        "tl_id_off_dlib": ("<=", 0.01),
        "tg_id": (">=", 0.97),
        "tg_id_dlib": (">=", 0.97),
        "pixels_changed_outside": ("<=", 0),
    }
    if preset in _TUNED_DB:
        wanted |= {"tuned_db": (">=", _TUNED_DB[preset]), "boundary_ratio": ("<=", _SEAM[preset])}
    return wanted


def attributes(expressions: Mapping[str, float], age: float, male: float) -> dict[str, float]:
    """The attributes of `SCALES` of one face; each grows with what its slider's higher end says.

    Args:
        expressions: in [0,1] by the names of MediaPipe's blendshapes.
        age: years.
        male: probability.
    """
    male = min(max(male, 1e-4), 1 - 1e-4)
    return {
        "smile": (expressions["mouthSmileLeft"] + expressions["mouthSmileRight"]) / 2,
        "age": age,
        "gender": float(np.log(male / (1 - male))),
        "eyes_open": -(expressions["eyeBlinkLeft"] + expressions["eyeBlinkRight"]) / 2,
        "mouth_open": expressions["jawOpen"],
    }


def mesh_errors(found: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Mean distance between meshes as a share of the distance of the eyes.

    Args:
        found, truth: [N,478,2] px of the same crops.
    Returns:
        "landmarks" over all points and frames, "landmarks_worst" of the worst frame, "lids_lips" over those.
    """
    first, second = (truth[:, list(eye)].mean(1) for eye in EYES)
    share = np.linalg.norm(found - truth, axis=2) / np.linalg.norm(first - second, axis=1)[:, None]
    return {
        "landmarks": float(share.mean()),
        "landmarks_worst": float(share.mean(1).max()),
        "lids_lips": float(share[:, list(LIDS_AND_LIPS)].mean()),
    }


def likeness(before: np.ndarray, after: np.ndarray) -> dict[str, float]:
    """Whether pictures show the person that they are of.

    Args:
        before, after: [N,K] descriptors, of the clip and of what was made of the same frames.
    Returns:
        "identity" and "identity_worst", distances; "same_person" and "same_person_lfw", shares of the frames within
        `SAME_PERSON` and `SAME_PERSON_LFW`; and "identity_of_clip", how far the clip's own frames lie apart.
    """
    distances = np.linalg.norm(after - before, axis=1)
    pairs = np.linalg.norm(before[:, None] - before[None], axis=2)[np.triu_indices(len(before), 1)]
    return {
        "identity": float(distances.mean()),
        "identity_worst": float(distances.max()),
        "identity_of_clip": float(pairs.mean()) if len(pairs) else 0.0,
        "same_person": float((distances < SAME_PERSON).mean()),
        "same_person_lfw": float((distances < SAME_PERSON_LFW).mean()),
    }


def consistency(before: np.ndarray, after: np.ndarray) -> dict[str, float]:
    """TL-ID and TG-ID (section 4.2) of descriptors of any length, [N,K] each; nothing for a single frame."""
    if len(before) < 2:
        return {}
    local = metrics.tl_id(before, after)
    return {"tl_id": local, "tl_id_off": abs(local - 1), "tg_id": metrics.tg_id(before, after)}


def edit_scores(aim: str, strength: float, before: Readings, after: Readings) -> dict[str, Any]:
    """What an edit does.

    Args:
        aim: the attribute that it names.
        strength: only its sign counts.
        before, after: readings of the same frames.
    Returns:
        "gain": mean move of the aimed attribute the wished way, in units of `SCALES`; "room": how far the reader could
        have gone that way; "right": whether the gain is `MOVED` or more, None where there is less than `ROOM`;
        "change": the move in the reader's own unit; "moves": of all attributes, in units; "leak" and "leak_to": the
        largest one of another attribute.
    """
    sign = 1 if strength > 0 else -1
    moves = {name: float((after[name] - before[name]).mean()) / scale for name, scale in SCALES.items()}
    gain = sign * moves[aim]
    room = float(np.abs(LIMITS[aim][sign > 0] - before[aim]).mean()) / SCALES[aim]
    leak_to = max((name for name in moves if name != aim), key=lambda name: abs(moves[name]))
    return {
        "gain": gain,
        "room": room,
        "right": gain >= MOVED if room >= ROOM else None,
        "change": moves[aim] * SCALES[aim],
        "moves": moves,
        "leak": abs(moves[leak_to]),
        "leak_to": leak_to,
    }


def prompt_scores(prompt: Prompt, before: Readings, after: Readings) -> dict[str, Any]:
    """What a free-text edit does.

    Args:
        prompt: the edit.
        before, after: `training.attributes.named` of the same frames.
    Returns:
        "gain": mean move of its attribute the wished way, in std over rendered faces, NaN where it was not read;
        "right": whether that is `MOVED` or more.
    """
    move = after[prompt.attribute] - before[prompt.attribute]
    gain = prompt.sign * float(np.nanmean(move)) / prompt.scale if np.isfinite(move).any() else float("nan")
    return {"gain": gain, "right": gain >= MOVED}


def prompts_over_clips(clips: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Each free-text edit over all clips: mean "gain", and whether that is "right"."""
    found: dict[str, dict[str, Any]] = {}
    for target in dict.fromkeys(target for clip in clips for target in clip.get("prompts", {})):
        gains = [clip["prompts"][target]["gain"] for clip in clips if target in clip.get("prompts", {})]
        mean = float(np.nanmean(gains)) if np.isfinite(gains).any() else float("nan")
        found[target] = {"gain": mean, "right": mean >= MOVED}
    return found


def missed(truth: Readings, found: Readings) -> dict[str, float]:
    """How far reconstructions are from the clip in every attribute, whatever the way: mean over frames, in units."""
    return {name: float(np.abs(found[name] - truth[name]).mean()) / scale for name, scale in SCALES.items()}


def strength(edits: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Strength against identity: what two edits do in their readers' own units, and what they cost in likeness.

    Args:
        edits: of `edit_scores` by description, each with its "identity".
    Returns:
        "smile_gain" (share of a smile), "smile_identity", "years_younger" and "younger_identity", as far as they are
        there.
    """
    found: dict[str, float] = {}
    for name, figure, likewise, sign in (
        ("smile +2", "smile_gain", "smile_identity", 1), ("age -2", "years_younger", "younger_identity", -1),
    ):
        if name in edits:
            found |= {figure: sign * edits[name]["change"], likewise: edits[name]["identity"]}
    return found


def verdicts(figures: Mapping[str, Any], preset: Preset) -> dict[str, bool]:
    """Which bars a clip meets; a figure that it lacks, such as TL-ID of a single frame, is not judged."""
    return {
        name: bool(figures[name] <= bar if sign == "<=" else figures[name] >= bar)
        for name, (sign, bar) in bars(preset).items() if name in figures
    }


def edits_over_clips(clips: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Each edit over all clips.

    Args:
        clips: figures with "edits", of `edit_scores` by the edit's description, each with its "identity".
    Returns:
        By description: "right" of "judged" clips, and means of "gain", "change", "leak" and "identity".
    """
    found: dict[str, dict[str, Any]] = {}
    for name in dict.fromkeys(name for clip in clips for name in clip["edits"]):
        rows = [clip["edits"][name] for clip in clips if name in clip["edits"]]
        judged = [row["right"] for row in rows if row["right"] is not None]
        means = {key: float(np.mean([row[key] for row in rows])) for key in ("gain", "change", "leak", "identity")}
        found[name] = {"right": sum(judged), "judged": len(judged), **means}
    return found


def report(clips: Mapping[str, Mapping[str, Any]], preset: Preset) -> dict[str, Any]:
    """Everything that was found, plain JSON values.

    Args:
        clips: figures by the clip's name.
        preset: whose bars count.
    Returns:
        "clips"; "bars": sign, bar and by clip whether it is met; "edits" of `edits_over_clips`; "prompts" of
        `prompts_over_clips`; "met": all bars are.
    """
    met = {name: verdicts(figures, preset) for name, figures in clips.items()}
    rows = {
        name: {"sign": sign, "bar": bar, "met": {clip: one[name] for clip, one in met.items() if name in one}}
        for name, (sign, bar) in bars(preset).items()
    }
    prompts = prompts_over_clips(list(clips.values()))
    enough = not prompts or sum(row["right"] for row in prompts.values()) >= PROMPTS_RIGHT
    return {
        "preset": preset,
        "clips": dict(clips),
        "bars": rows,
        "edits": edits_over_clips(list(clips.values())),
        "prompts": prompts,
        "met": enough and all(all(one.values()) for one in met.values()),
    }


def table(found: Mapping[str, Any]) -> str:
    """A report in lines for people: a column a clip, then the edits over all of them."""
    clips, preset_bars = found["clips"], found["bars"]
    lines = [" " * 24 + "".join(f"{name[:14]:>16}" for name in clips) + "   bar"]
    names = [
        name for name in dict.fromkeys(name for figures in clips.values() for name in figures)
        if all(isinstance(figures.get(name, 0), int | float) for figures in clips.values())
    ]
    for name in names:
        bar = preset_bars.get(name)
        cells = ""
        for clip, figures in clips.items():
            verdict = "" if bar is None or clip not in bar["met"] else "met" if bar["met"][clip] else "MISSED"
            cells += f"{_number(figures.get(name)):>9} {verdict:6}"
        lines.append(f"{name:24}{cells}" + (f"   {bar['sign']} {bar['bar']:g}" if bar else ""))
    lines += ["", f"{'edit':16}{'right':>8}{'gain':>8}{'change':>9}{'leak':>7}{'identity':>10}   worst leak to"]
    for name, row in found["edits"].items():
        leaks = [figures["edits"][name]["leak_to"] for figures in clips.values() if name in figures["edits"]]
        right = f"{row['right']}/{row['judged']}" if row["judged"] else "no room"
        numbers = f"{row['gain']:8.2f}{row['change']:9.3f}{row['leak']:7.2f}{row['identity']:10.3f}"
        lines.append(f"{name:16}{right:>8}{numbers}   {', '.join(dict.fromkeys(leaks))}")
    prompts = found["prompts"]
    if prompts:
        right = sum(row["right"] for row in prompts.values())
        lines += ["", f"free text, std of the attribute over rendered faces: {right} of {len(prompts)} right"]
        lines += [f"{name:30}{row['gain']:8.2f}{'' if row['right'] else '  WRONG'}" for name, row in prompts.items()]
    for title, key, form in (("missed by the reconstruction, units", "missed", ".2f"), ("seconds", "seconds", ".0f")):
        lines += ["", *(
            f"{title}, {clip}: {', '.join(f'{name} {value:{form}}' for name, value in figures[key].items())}"
            for clip, figures in clips.items() if key in figures
        )]
    return "\n".join(lines)


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.4f}" if abs(value) < 10 else f"{value:.1f}"
