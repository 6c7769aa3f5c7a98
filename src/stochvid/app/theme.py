"""The look of gradio's own parts: system fonts, so that nothing is fetched, and colours that can be read."""

import gradio as gr

SANS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "Arial", "sans-serif")
MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace")

# What lies around our parts. It is no part of `static/page.css`: gradio lets that reach only what lies within.
FRAME = """<style>
  .gradio-container { width: 100%; max-width: 1360px !important; margin: 0 auto !important; padding: 0 !important; }
  .gradio-container .main.app { padding: 14px clamp(10px, 2vw, 24px) 32px !important; }
  .gradio-container.gradio-container.gradio-container *:focus-visible {
    outline: 2px solid #1d5fc2 !important; outline-offset: 2px !important;
  }
  .dark .gradio-container.gradio-container.gradio-container *:focus-visible { outline-color: #7db1ff !important; }
  html:not(.sv-ready) .gradio-container .main { visibility: hidden; } /* static/work.js says when */
  footer { display: none !important; }
</style>"""


def make_theme() -> gr.themes.Base:
    """The page's theme; the colours of our own parts are in `static/page.css`."""
    theme = gr.themes.Base(
        primary_hue="orange",
        secondary_hue="slate",
        neutral_hue="slate",
        radius_size="md",
        spacing_size="sm",
        font=SANS,
        font_mono=MONO,
    )
    return theme.set(
        body_background_fill="#f6f7f9",
        body_background_fill_dark="#101318",
        background_fill_primary_dark="#171b22",
        background_fill_secondary_dark="#171b22",
        block_background_fill="#ffffff",
        block_background_fill_dark="#171b22",
        block_border_width="1px",
        block_border_color="#dfe3e8",
        block_border_color_dark="#2a303a",
        block_info_text_color="#566072",
        block_info_text_color_dark="#a3adbb",
        block_label_text_color="#3a4454",
        block_label_text_color_dark="#c8d0db",
        block_title_text_color="#1f2733",
        block_title_text_color_dark="#e2e6ec",
        body_text_color="#1f2733",
        body_text_color_dark="#e2e6ec",
        body_text_color_subdued="#566072",
        body_text_color_subdued_dark="#a3adbb",
        button_primary_background_fill="#b4480a",
        button_primary_background_fill_hover="#973b06",
        button_primary_background_fill_dark="#f59e42",
        button_primary_background_fill_hover_dark="#ffb466",
        button_primary_text_color="#ffffff",
        button_primary_text_color_dark="#1d1205",
        slider_color="#b4480a",
        slider_color_dark="#f59e42",
        input_background_fill_dark="#101318",
        input_border_width="1px",
        input_border_color="#8792a3",
        input_border_color_dark="#5b6675",
    )
