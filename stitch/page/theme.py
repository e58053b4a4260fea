"""The page's own look: paper, ink and a thread of one colour, by day and by night; its colours stand in `style.css`."""

import gradio as gr

from stitch.page.parts import ASSETS

STYLE = ASSETS / "style.css"


def theme() -> gr.themes.Base:
    """Plain labels, round corners, the reader's own typeface."""
    fonts = ["ui-sans-serif", "system-ui", "-apple-system", "Segoe UI", "sans-serif"]
    return gr.themes.Base(
        primary_hue="orange", neutral_hue="stone", font=fonts, font_mono=["ui-monospace", "monospace"], radius_size="lg"
    )
