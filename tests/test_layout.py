"""The house: which floor may know which, how long files are, how much a function is told."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted([*(ROOT / "stitch").rglob("*.py"), ROOT / "app.py", ROOT / "weights.py"])

FLOORS = (
    ("core",),
    ("runtime",),
    ("networks/formats/kinds", "networks/formats/pytorch", "networks/formats/pickled", "networks/formats/standins"),
    ("video", "store"),
    ("video/trust",),
    ("networks",),
    ("families/about", "families/family"),
    ("families", "faces"),
    ("methods/stit",),
    ("methods", "methods/pti", "methods/latent_transformer"),
    ("study",),
    ("service",),
    ("cli", "page"),
    (
        "families/miniature/check", "families/miniature/train", "families/portrait/check", "families/portrait/train",
        "study/trust", "__init__", "__main__", "../app", "../weights",
    ),
)
"""From the lowest to the highest: a module imports from its own floor and from lower ones. The longest name counts."""

LONGEST_FILE, MOST_PARAMETERS, MOST_ENTRIES = 450, 7, 14


def place(path: Path) -> str:
    """A module's name in the table of floors: below `stitch/`, without the ending."""
    inside = path.relative_to(ROOT / "stitch") if path.is_relative_to(ROOT / "stitch") else Path("..") / path.name
    return inside.with_suffix("").as_posix()


def floor(name: str) -> int:
    fitting = [(len(entry), number) for number, entries in enumerate(FLOORS) for entry in entries
               if name == entry or name.startswith(f"{entry}/")]
    assert fitting, f"{name}: on no floor"
    return max(fitting)[1]


def imported(tree: ast.AST):
    """Modules of our own that a file imports, wherever in it; under TYPE_CHECKING too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def module(name: str) -> str | None:
    """The place of the module that an import names, or names something of."""
    parts = name.split(".")
    if parts[0] in ("app", "weights"):
        return f"../{parts[0]}"
    if parts[0] != "stitch" or len(parts) == 1:
        return None
    for count in range(len(parts), 1, -1):
        path = ROOT.joinpath(*parts[:count])
        if path.with_suffix(".py").is_file() or path.is_dir():
            return "/".join(parts[1:count])
    return None


@pytest.mark.parametrize("path", FILES, ids=place)
def test_file_imports_from_its_floor_and_lower_ones_alone(path):
    here = floor(place(path).removesuffix("/__init__"))
    wrong = [name for name in imported(ast.parse(path.read_text())) if (other := module(name)) and floor(other) > here]
    assert wrong == []


@pytest.mark.parametrize(("folder", "foreign"), [("page", "torch"), ("cli", "torch"), ("service", "gradio")])
def test_doors_hold_no_tensor_and_what_stands_behind_them_no_widget(folder, foreign):
    knowing = [place(path) for path in (ROOT / "stitch" / folder).glob("*.py")
               if any(name.split(".")[0] == foreign for name in imported(ast.parse(path.read_text())))]
    assert knowing == []


def test_no_file_is_long():
    long = {place(path): count for path in FILES if (count := len(path.read_text().splitlines())) > LONGEST_FILE}
    assert long == {}


def test_no_function_is_told_much():
    found = []
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                told = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
                if len([one for one in told if one.arg not in ("self", "cls")]) > MOST_PARAMETERS:
                    found.append(f"{place(path)}:{node.lineno}")
    assert found == []


def test_package_has_few_entries():
    entries = [path for path in (ROOT / "stitch").iterdir() if path.name != "__pycache__"]
    assert len(entries) <= MOST_ENTRIES
