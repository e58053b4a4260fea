"""Measures over time as figures that a page can hold."""

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go
from markupsafe import Markup

_PLOTS = (
    ("Likeness to the source", "cosine of identities; 1 is the same picture of the same person",
     {"identity": "edited"}),
    ("Consistency of the person", "cosines of the edited frames against the source's; 1 is the source's own",
     {"tg_id": "all frames (TG-ID)", "tl_id": "frame before (TL-ID)"}),
    ("Flicker", "levels of 255 that the motion does not explain, in the face",
     {"flicker_original": "original", "flicker_edited": "edited"}),
    ("Landmark jitter", "of the distance of the eyes", {"jitter_original": "original", "jitter_edited": "edited"}),
    ("Background", "mean change outside the face, levels of 255", {"background_mean": "edited"}),
    ("Reconstruction", "PSNR of the learned face, dB", {"psnr_tuned_db": "edited"}),
)
"""Title, what is drawn, and its lines: column and name. The last line is the one to look at."""

_ACCENT, _QUIET, _FAINT = "#e8590c", "#8d867a", "rgba(141,134,122,.22)"
"""Legible on light and on dark; text takes the page's colours (page.css)."""
_HEIGHT_PX, _DOTS_BELOW = 190, 12
_TEMPLATE = {"layout": {
    "paper_bgcolor": "rgba(0,0,0,0)", "plot_bgcolor": "rgba(0,0,0,0)",
    "margin": {"l": 52, "r": 8, "t": 26, "b": 24, "autoexpand": False},  # page.css draws the shown moment between them
    "font": {"family": "system-ui, sans-serif", "size": 11, "color": _QUIET},
    "hovermode": "x unified", "hoverdistance": -1, "hoverlabel": {"namelength": -1}, "dragmode": False,
    "showlegend": True,
    "legend": {"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom", "itemclick": False, "itemdoubleclick": False},
    "xaxis": {"fixedrange": True, "showgrid": False, "zeroline": False, "ticksuffix": " s", "hoverformat": ".2f",
              "nticks": 7},
    "yaxis": {"fixedrange": True, "gridcolor": _FAINT, "zeroline": False, "hoverformat": ".4r", "nticks": 5,
              "ticklabelstandoff": 4},
}}
_CONFIG = {"displayModeBar": False, "responsive": True, "doubleClick": False, "showTips": False}


def plots(columns: Mapping[str, Sequence[float | None]], rate: float) -> list[tuple[str, str, Markup]]:
    """Draw what there is.

    Args:
        columns: [T] by measure, None where there is nothing.
        rate: moments per second.
    Returns:
        Title, what is drawn, and the figure as HTML; the first figure brings the library for all.
    """
    drawn: list[tuple[str, str, Markup]] = []
    for title, hint, names in _PLOTS:
        lines = {name: columns[column] for column, name in names.items()
                 if any(value is not None for value in columns.get(column, ()))}
        if lines:
            html = _figure(lines, rate).to_html(_CONFIG, full_html=False, include_plotlyjs=not drawn)
            drawn.append((title, hint, Markup(html)))  # nosec B704  # of our own titles and numbers
    return drawn


def _figure(lines: Mapping[str, Sequence[float | None]], rate: float) -> go.Figure:
    seconds = [round(moment / rate, 4) for moment in range(len(next(iter(lines.values()))))]
    layout = {"template": _TEMPLATE, "height": _HEIGHT_PX, "xaxis_range": [0, seconds[-1]]}
    figure = go.Figure(layout=layout)
    for number, (name, values) in enumerate(lines.items(), 1):
        chief = number == len(lines)
        figure.add_scatter(
            x=seconds, y=list(values), name=name, cliponaxis=False, marker_size=5,
            mode="lines+markers" if len(values) < _DOTS_BELOW else "lines",
            line={"width": 1.75 if chief else 1.25, "color": _ACCENT if chief else _QUIET},
        )
    return figure
