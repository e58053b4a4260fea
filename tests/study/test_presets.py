"""The plot of cost against quality."""

from stitch.core.settings import PRESETS
from stitch.study import presets, variants


def test_figure_joins_presets_by_cost_and_leaves_out_what_was_not_measured():
    chosen = variants.presets(PRESETS, "fast")
    measured = {"draft": (1.0, 28.0), "fast": (3.0, 31.0), "tuning_x2": (5.0, 32.0)}
    rows = {name: {"total_s": cost, "measures": {"psnr_tuned_db": {"value": quality}}}
            for name, (cost, quality) in measured.items()}
    record = {"family": "miniature", "size_px": 128, "variants": {one.name: one.title for one in chosen},
              "clips": {"clip": rows}}
    figure = presets.figure(record, chosen)
    joined, knobs = figure.data[:2]
    assert list(joined.x) == [1, 3] and list(joined.y) == [28, 31] and list(joined.text) == ["draft", "fast"]
    assert list(knobs.x) == [5] and knobs.mode == "markers"
    assert all(len(one.x or ()) == 0 for one in figure.data[2:])
