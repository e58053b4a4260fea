"""Plots as pages that need nothing else."""

from pathlib import Path

import plotly.graph_objects as go

from stitch.runtime.disk import disk_errors, write_whole


def write(path: Path, plot: go.Figure) -> None:
    """Write a page with one figure.

    Args:
        path: of the page, .html.
        plot: what it shows.
    Raises:
        RunError: it cannot be written.
    """
    page = plot.to_html({"displayModeBar": False, "responsive": True}, include_plotlyjs=True)
    with disk_errors(str(path)):
        write_whole(path, page.encode())
