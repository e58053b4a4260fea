"""What quality costs: presets and single knobs, as a page of plots that needs nothing else."""

from collections.abc import Mapping, Sequence
from typing import Any, get_args

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from stitch.core.settings import Preset
from stitch.study.compare import means
from stitch.study.variants import Variant
from stitch.study.verdicts import BARS

SHOWN = ("psnr_tuned_db", "lpips", "boundary_ratio", "tl_id", "identity", "flicker")
"""Measures that are drawn, each against seconds."""
_COLUMNS, _HEIGHT_PX = 2, 330
_PRESET, _KNOB = "#e8590c", "#5c7cfa"


def figure(record: Mapping[str, Any], variants: Sequence[Variant]) -> go.Figure:
    """Each measure against what it cost: one dot a preset, joined in their order, and one a knob.

    Args:
        record: of `stitch.study.compare.run`.
        variants: of `stitch.study.variants.presets`.
    """
    found = means(record)
    by_unit = [(name, BARS[name]) for name in SHOWN]
    titles = [f"{bar.title}{f' ({bar.unit})' if bar.unit else ''}" for _, bar in by_unit]
    rows = -(-len(SHOWN) // _COLUMNS)
    plot = make_subplots(rows, _COLUMNS, subplot_titles=titles, vertical_spacing=0.09)
    for number, (name, _) in enumerate(by_unit):
        row, column = number // _COLUMNS + 1, number % _COLUMNS + 1
        for presets, colour in ((True, _PRESET), (False, _KNOB)):
            dots = [(found[one.name]["total_s"], found[one.name][name], one.title) for one in variants
                    if (one.name in get_args(Preset)) == presets and {"total_s", name} <= found[one.name].keys()]
            if presets:
                dots.sort()
            x, y, text = zip(*dots, strict=True) if dots else ((), (), ())
            plot.add_scatter(
                x=x, y=y, text=text, row=row, col=column, showlegend=False, marker={"color": colour, "size": 9},
                mode="lines+markers+text" if presets else "markers", textposition="top center",
                hovertemplate="%{text}<br>%{x:.1f} s: %{y:.4g}<extra></extra>",
            )
        plot.update_xaxes(title_text="seconds a clip", type="log", row=row, col=column)
    heading = f"Cost against quality, family {record['family']} at {record['size_px']} px"
    return plot.update_layout(template="plotly_white", height=rows * _HEIGHT_PX + 80, title=heading)
