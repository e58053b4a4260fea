"""The page: what a browser sees of Stitch. One card, one file: its widgets and what happens when they are touched."""
