"""The page: what a browser sees of Stitch. Plain Python says what is shown; `widgets` and `actions` know Gradio."""
