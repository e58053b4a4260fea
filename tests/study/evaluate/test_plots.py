"""The figures of a report."""

import json
import re

from stitch.study.evaluate.plots import plots


def test_plots_draw_what_there_is_and_bring_the_library_once() -> None:
    columns = {"identity": [0.5, None, 0.75], "flicker_original": [None] * 3, "flicker_edited": [None, 2.0, 3.0],
               "jitter_edited": [None] * 3}
    drawn = plots(columns, 2.0)
    assert [title for title, _, _ in drawn] == ["Likeness to the source", "Flicker"]
    assert ["plotly.js v" in figure for _, _, figure in drawn] == [True, False]
    lines = [re.findall(r'"[xy]":(\[.*?\])', figure.rsplit("Plotly.newPlot(")[-1])
             for _, _, figure in drawn]
    assert [[json.loads(values) for values in pair] for pair in lines] == [
        [[0, 0.5, 1], [0.5, None, 0.75]], [[0, 0.5, 1], [None, 2, 3]]]
