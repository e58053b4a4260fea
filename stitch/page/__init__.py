"""The page: what a browser sees of Stitch. Plain Python knows what is shown; `layout` alone knows the widgets."""
