"""The card of the result: every version of a clip in reach, two of them side by side, and how good they are."""

from typing import Any

import gradio as gr
import pandas as pd

from stitch.core.errors import RunError
from stitch.page.parts import address, choices, part, wipe
from stitch.page.shared import Card, Shared, Updates, Visit
from stitch.page.wording import told
from stitch.runtime.jobs import Job
from stitch.service.sessions import Entry
from stitch.study.verdicts import BARS
from stitch.video.trust import disclosure

_JUDGED = ("psnr_tuned_db", "boundary_ratio", "tl_id", "tg_id")
_FIELD = (
    ("psnr_inversion_db", "PSNR of the encoder alone, dB"), ("psnr_tuned_db", "PSNR after tuning, dB"),
    ("boundary_ratio", "Difference at the seam after stitching, share of plain pasting"),
    ("tl_id", "TL-ID, the source is 1"), ("tg_id", "TG-ID, the source is 1"),
)
_PLOTS = (
    ("Identity, the source is 1", {"neighbours (TL-ID)": "tl_id", "all frames (TG-ID)": "tg_id"}),
    ("Difference around the face, levels of 255", {"before": "ring_naive", "after": "ring_stitched"}),
    ("How exactly the face is redrawn, dB", {"encoder": "psnr_inversion_db", "learned": "psnr_tuned_db"}),
)
_FILES = {"all.zip": "Everything in one file", "edited.mp4": "The edited clip", "side_by_side.mp4": "Side by side",
          "stages.png": "Stage by stage", "settings.json": "Settings"}


class ResultCard(Card):
    """What was made of a clip."""

    def __init__(self, shared: Shared) -> None:
        with gr.Column(visible=False, elem_classes="card", elem_id="finished") as self.card:
            gr.HTML("<h2 class='step'>Result</h2>")
            self.player = part("wipe", None, elem_id="result")
            self.versions = part("choices", None, elem_id="versions")
            self.against = part("choices", None, elem_id="against")
            self.sentence = gr.Textbox(label="Say it where you publish it", interactive=False, buttons=["copy"],
                                       elem_id="disclosure")
            self.verdict = part("status", None, elem_id="verdict")
            self.worst = part("choices", None, elem_id="worst")
            self.files = part("status", None, elem_id="files")
            with gr.Accordion("Advanced: measures and stages", open=False, elem_classes="group"):
                self.measures = part("status", None, elem_id="measures")
                self.stages = part("status", None, elem_id="stages-sheet")
                self.plots = [gr.LinePlot(x="seconds", y="value", color="what", height=210, buttons=[], title=title)
                              for title, _ in _PLOTS]
        shared.on(self.versions.select, self.choose, self.verdict, self.against)
        shared.on(self.against.select, self.compare, self.verdict)

    def choose(self, visit: Visit, chosen: gr.EventData) -> Updates:
        """Another version is to be shown."""
        entry = visit.entry
        if chosen.id not in entry.versions():
            raise RunError("this version is no longer here; render it again")
        entry.change(result=str(chosen.id))
        lefts = (visit[self.against] or {"items": []})["items"]
        return self._shown(entry, next((one["id"] for one in lefts if one["pressed"]), ""))

    def compare(self, visit: Visit, chosen: gr.EventData) -> Updates:
        """The left side is to be the original, or another version."""
        return self._shown(visit.entry, str(chosen.id))

    def opened(self, entry: Entry) -> Updates:
        """A run, as it is now."""
        return self._shown(entry)

    def closed(self) -> Updates:
        """No run is open."""
        return {self.card: gr.update(visible=False), self.player: None}

    def follow(self, visit: Visit, job: Job) -> Updates:
        """What a render made, once it has ended."""
        return self._shown(visit.entry) if job.kind == "render" and job.state == "done" else {}

    def _shown(self, entry: Entry, left: str = "") -> Updates:
        made = entry.versions()
        if not made:
            return self.closed()
        key = entry.about.result if entry.about.result in made else list(made)[-1]
        record, folder, other = made[key], entry.shown / key, made.get(left)
        title, against = told(record["look"]), told(other["look"]) if other else "original"
        source = entry.shown / left / "edited.mp4" if other else entry.player
        items = [{"id": one, "label": f"{number}: {told(said['look'])}", "picture": said.get("poster", ""),
                  "pressed": one == key} for number, (one, said) in enumerate(made.items(), 1)]
        lefts = [{"id": "", "label": "Original", "pressed": not other}] + [
            {"id": one["id"], "label": one["label"], "pressed": one["id"] == left} for one in items if one["id"] != key]
        # In the browser alone: the player goes to the frame.
        worst = [{"id": one["at_s"], "seek": one["at_s"], "label": f"{one['at_s']:.2f} s", "note": one["why"],
                  "picture": one["picture"]} for one in record["worst"]]
        sheet = folder / "stages.png"
        return {
            self.card: gr.update(visible=True),
            self.player: wipe({"Clip": (address(source), address(folder / "edited.mp4"))}, (against, title),
                              offset_s=0.0 if other else record["begin_s"]),
            self.versions: choices(items, "Versions", "Your versions of this clip:") if len(made) > 1 else None,
            self.against: choices(lefts, "Left side", "On the left:") if len(made) > 1 else None,
            self.sentence: record.get("disclosure") or disclosure.sentence(title),
            self.verdict: {"title": title, "figures": _verdicts(record["measures"])},
            self.worst: choices(worst, "Frames worth a second look", "Frames worth a second look:") if worst else None,
            self.files: {"links": [{"url": address(folder / file), "name": title} for file, title in _FILES.items()
                                   if (folder / file).is_file()]},
            self.measures: {"rows": [(title, f"{record['measures'][name]:.3f}") for name, title in _FIELD
                                     if name in record["measures"]]},
            self.stages: {"heading": "A few frames at each stage:", "pictures": [
                {"picture": address(sheet), "label": "original to stitched result"}]} if sheet.is_file() else None,
            **{widget: _lines(record, lines) for widget, (_, lines) in zip(self.plots, _PLOTS, strict=True)},
        }


def _verdicts(measures: dict[str, float]) -> list[dict[str, str]]:
    """How good it is, in words: the measures of `stitch evaluate` that a render takes itself."""
    judged = ((BARS[name], measures[name]) for name in _JUDGED if name in measures)
    return [{"name": bar.plain, "verdict": bar.verdict(value), "hint": bar.hint} for bar, value in judged]


def _lines(record: dict[str, Any], lines: dict[str, str]) -> pd.DataFrame:
    columns, rate = record["per_frame"], record["rate"]
    rows = [(index / rate, value, what) for what, column in lines.items()
            for index, value in zip(columns.get("frames", []), columns.get(column, []), strict=False)
            if value is not None]
    return pd.DataFrame(rows, columns=["seconds", "value", "what"])
