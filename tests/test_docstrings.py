"""Everything public says what it does."""

import ast
from collections.abc import Iterator

import pytest

from tests import golden

FILES = sorted(
    path.relative_to(golden.REPOSITORY).as_posix()
    for path in [*(golden.REPOSITORY / "stitch").rglob("*.py"), *golden.REPOSITORY.glob("*.py")]
    if path.read_text(encoding="utf-8").strip()
)
Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def definitions(node: ast.AST, prefix: str = "") -> Iterator[tuple[str, Definition]]:
    """Public classes, functions and methods by their dotted names; what is inside a function is nobody else's."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Definition):
            if not child.name.startswith("_"):
                yield prefix + child.name, child
                if isinstance(child, ast.ClassDef):
                    yield from definitions(child, f"{prefix}{child.name}.")
        elif isinstance(child, ast.If | ast.Try | ast.With):
            yield from definitions(child, prefix)


@pytest.mark.parametrize("path", FILES)
def test_everything_public_has_a_docstring(path):
    tree = ast.parse((golden.REPOSITORY / path).read_text(encoding="utf-8"))
    missing = [name for name, node in definitions(tree) if ast.get_docstring(node) is None]
    missing += ["the module"] if ast.get_docstring(tree) is None else []
    assert missing == []


def test_definitions_finds_methods_and_setters_and_leaves_out_what_is_nested():
    text = "class A:\n @property\n def a(self): ...\n @a.setter\n def a(self, x): ...\n def _b(self): ...\n"
    text += "if True:\n def f():\n  def g(): ...\nclass _B:\n def c(self): ...\n"
    assert [name for name, _ in definitions(ast.parse(text))] == ["A", "A.a", "A.a", "f"]
