"""The page's own look: paper, ink and a thread of one colour, by day and by night."""

import gradio as gr

from stitch.page.parts import ASSETS

STYLE = ASSETS / "style.css"


def theme() -> gr.themes.Base:
    """Plain labels, round corners, the reader's own typeface."""
    fonts = ["ui-sans-serif", "system-ui", "-apple-system", "Segoe UI", "sans-serif"]
    made = gr.themes.Base(
        primary_hue="orange", neutral_hue="stone", font=fonts, font_mono=["ui-monospace", "monospace"], radius_size="lg"
    )
    return made.set(
        body_background_fill="var(--paper)", body_background_fill_dark="var(--paper)",
        block_background_fill="var(--card)", block_background_fill_dark="var(--card)",
        block_border_color="var(--line)", block_border_color_dark="var(--line)",
        block_shadow="none", block_shadow_dark="none",
        block_title_background_fill="transparent", block_title_padding="0", block_title_text_weight="550",
        block_title_text_color="var(--ink)", block_title_text_color_dark="var(--ink)",
        block_label_background_fill="transparent", block_info_text_color="var(--quiet)",
        block_info_text_color_dark="var(--quiet)",
        input_background_fill="var(--wash)", input_background_fill_dark="var(--wash)",
        slider_color="var(--thread)", slider_color_dark="var(--thread)",
        color_accent="var(--thread)",
        button_primary_background_fill="#c2410c", button_primary_background_fill_hover="#9a3412",
        button_primary_background_fill_dark="#c2410c", button_primary_background_fill_hover_dark="#9a3412",
        button_primary_text_color="white", button_primary_text_color_dark="white",
        button_secondary_background_fill="var(--wash)", button_secondary_background_fill_dark="var(--wash)",
        button_secondary_text_color="var(--ink)", button_secondary_text_color_dark="var(--ink)",
    )
