"""Finds the golden cases and fills networks by their recipe (the README in the golden folder describes both).

The folder is named by STITCH_GOLDEN (default: ../shared/golden beside the repository). Use in a test:

    @golden.cases("c07")                       # one test per section of the case's JSON; skipped where there is none
    def test_crop_equals_golden(case): ...

    case.meta, case.params                     # the whole JSON, and the part of this section
    case["a.raw.c"], case.keys("a.")           # arrays
    golden.normal("golden/c07/frame", (4, 4))  # an input by its name
    golden.difference(case, key, result)       # largest difference; understands summarised arrays
    golden.numbers(r"# * normal", text)        # what the JSON says in words
    golden.manifest_of("nvidia", where)        # the manifest of a network, by what the case says of it

No name, size, salt or rate of a case is written into a test: another folder of the same form runs too.
"""

import functools
import json
import os
import re
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

REPOSITORY = Path(__file__).resolve().parent.parent
FOLDER = (REPOSITORY / os.environ.get("STITCH_GOLDEN", "../shared/golden")).resolve()
REAL = (REPOSITORY / os.environ.get("STITCH_REAL", "../shared/real")).resolve()

FULL_SIZE = 512
"""Networks from this resolution on take minutes."""

needs_golden = pytest.mark.skipif(
    not (FOLDER / "README.md").exists(), reason=f"no golden data in {FOLDER}; name the folder in STITCH_GOLDEN"
)
needs_real = pytest.mark.skipif(
    not (REAL / "README.md").exists(), reason=f"no real clips in {REAL}; name the folder in STITCH_REAL"
)


@dataclass(frozen=True)
class Case:
    """One case of the folder, or one section of it.

    Attributes:
        name: of the files, e.g. "c01_rosinality".
        section: key of the part of the JSON that this case is about; empty for the whole.
        meta: the whole JSON.
        params: the section's part of it (the whole without one).
    """

    name: str
    section: str = ""
    meta: dict[str, Any] = field(default_factory=dict, repr=False)
    params: Any = field(default=None, repr=False)

    def __getitem__(self, key: str) -> np.ndarray:
        return _arrays(self.name)[key]

    def __contains__(self, key: str) -> bool:
        return key in self.meta["arrays"]

    def keys(self, prefix: str = "") -> list[str]:
        """Names of the stored arrays that start so."""
        return [key for key in self.meta["arrays"] if key.startswith(prefix)]

    def bits(self, key: str, shape: Sequence[int]) -> np.ndarray:
        """A packed boolean mask, [*shape] bool."""
        return np.unpackbits(self[key], count=int(np.prod(shape))).reshape(shape).astype(bool)


@functools.cache
def _arrays(name: str) -> Any:
    return np.load(FOLDER / f"{name}.npz", allow_pickle=False)


def load(number: str) -> Case:
    """The whole case with this number, e.g. "c09"."""
    (path,) = FOLDER.glob(f"{number}_*.json")
    meta = json.loads(path.read_text(encoding="utf-8"))
    return Case(path.stem, meta=meta, params=meta)


def cases(
    number: str,
    inside: str | None = None,
    where: Callable[[str, Any], bool] = lambda section, params: isinstance(params, dict) and section != "arrays",
    slow: bool = False,
    argument: str = "case",
) -> pytest.MarkDecorator:
    """Parametrises a test with the sections found in a case's JSON; skips it where the folder is missing.

    Args:
        number: "c01" to "c11".
        inside: the entry whose entries are the sections ("cases" in c01-c03); None takes the top level.
        where: of (section, its value): whether to take it. Without this, every section that is a dict.
        slow: whether sections of full-size networks (those whose name says so, "r1024") are marked slow.
        argument: the test's parameter.
    """
    if not _present(number):
        return pytest.mark.parametrize(argument, [_missing(number)])
    entire = load(number)
    sections = entire.meta if inside is None else entire.meta[inside]
    found = [
        pytest.param(
            Case(entire.name, section, entire.meta, params),
            id=f"{number}-{section}",
            marks=[pytest.mark.slow] if slow and int((re.findall(r"\d+", section) or [0])[0]) >= FULL_SIZE else [],
        )
        for section, params in sections.items()
        if not section.startswith("_") and where(section, params)
    ]
    return pytest.mark.parametrize(argument, found)


def whole(number: str, argument: str = "case") -> pytest.MarkDecorator:
    """As `cases`, for a test of the whole case."""
    found = pytest.param(load(number), id=number) if _present(number) else _missing(number)
    return pytest.mark.parametrize(argument, [found])


def _present(number: str) -> bool:
    return any(FOLDER.glob(f"{number}_*.json"))


def _missing(number: str) -> Any:
    reason = f"no golden case {number} in {FOLDER}; name the folder in STITCH_GOLDEN"
    return pytest.param(None, marks=pytest.mark.skip(reason=reason), id=f"{number}-missing")


def _generator(name: str) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(name.encode("utf-8")))


def normal(name: str, shape: Sequence[int], dtype: Any = np.float32) -> np.ndarray:
    """The input of this name: standard normal numbers seeded with the name's CRC-32."""
    return _generator(name).standard_normal(tuple(shape), dtype=dtype)


def numbers(pattern: str, text: str) -> list[float]:
    """Numbers that a rule in words holds, where the pattern has `#`; blanks count for nothing.

    Args:
        pattern: literal text, e.g. "# * normal".
        text: of the JSON.
    Raises:
        ValueError: the text says something else.
    """
    number = r"([-+]?\d+(?:\.\d*)?(?:e[-+]?\d+)?)"
    squeezed = re.escape(re.sub(r"\s", "", pattern)).replace(r"\#", number).replace("#", number)
    found = re.search(squeezed, re.sub(r"\s", "", text))
    if found is None:
        raise ValueError(f"{text!r}: expected {pattern!r}")
    return [float(value) for value in found.groups()]


def input_tensor(spec: Sequence[Any]) -> Tensor:
    """The input of a JSON entry [name, shape], as a tensor."""
    return torch.from_numpy(normal(spec[0], spec[1]))


def draw(rule: str, key: str, shape: Sequence[int], salt: str = "") -> Tensor:
    """A tensor by the recipe (section 1 of the README)."""
    kind, *numbers = rule.split(":")
    shape = tuple(shape)
    if kind == "int0":
        return torch.zeros(shape, dtype=torch.int64)
    if kind == "fir":
        taps = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 64 * float(numbers[0])
        return torch.from_numpy(taps.astype(np.float32))
    value = np.asarray(normal(salt + key, shape))
    fan_in = int(np.prod(shape[1:]))
    if kind == "normal":
        mean, std = numbers
        value = value * np.float32(std) + np.float32(mean)
    elif kind == "he":
        value = value * np.float32(np.sqrt(2 / fan_in))
    elif kind == "lecun":
        value = value * np.float32(np.sqrt(1 / fan_in))
    elif kind == "absvar":
        value = np.abs(value) * np.float32(0.2) + np.float32(0.8)
    elif kind == "abs":
        value = np.abs(value) * np.float32(numbers[0])
    else:
        raise ValueError(f"rule: got {rule!r}, expected one of the golden README")
    return torch.from_numpy(np.asarray(value, dtype=np.float32))


@functools.cache
def manifest(name: str) -> dict[str, Any]:
    """A manifest's JSON, e.g. of "nvidia_n64"."""
    return json.loads((FOLDER / "manifests" / f"{name}.json").read_text(encoding="utf-8"))


def manifests() -> list[str]:
    """Names of the manifests found."""
    return sorted(path.stem for path in (FOLDER / "manifests").glob("*.json"))


def manifest_of(kind: str, section: str, where: Callable[[dict[str, Any]], bool]) -> str:
    """Name of the manifest of a case's network.

    Args:
        kind: how the name begins, e.g. "rosinality".
        section: of the case; among several manifests the one that ends so is taken, else the first.
        where: whether a manifest is of the sizes that the case tells.
    """
    found = [name for name in manifests() if name.startswith(kind) and where(manifest(name))]
    if not found:
        raise ValueError(f"{section}: no manifest {kind}_* of these sizes in {FOLDER}")
    return next((name for name in found if name.endswith(f"_{section}")), found[0])


def of_sizes(kwargs: dict[str, Any]) -> Callable[[dict[str, Any]], bool]:
    """For `manifest_of`: constructor arguments equal, those that say nothing left out."""

    def plain(value: dict[str, Any]) -> dict[str, Any]:
        return {key: plain(x) if isinstance(x, dict) else x for key, x in value.items() if x not in (None, {})}

    return lambda found: plain(found.get("init_kwargs", {})) == plain(kwargs)


def _fill(entries: Iterable[dict[str, Any]], salt: str) -> dict[str, Tensor]:
    return {entry["key"]: draw(entry["rule"], entry["key"], entry["shape"], salt) for entry in entries}


def state(name: str) -> dict[str, Tensor]:
    """The state dict of a manifest, filled by the recipe."""
    return _fill(manifest(name)["tensors"], manifest(name)["salt"])


def extra(name: str) -> dict[str, Tensor]:
    """Tensors kept beside the state dict of a manifest (`latent_avg`)."""
    return _fill(manifest(name).get("extra_tensors", []), manifest(name)["salt"])


def sums(tensors: Iterable[Tensor]) -> tuple[float, float]:
    """Float64 sum and sum of squares of all float32 tensors, in order."""
    total = squares = 0.0
    for tensor in tensors:
        if tensor.dtype == torch.float32:
            values = tensor.numpy().astype(np.float64)
            total += float(values.sum())
            squares += float(np.square(values).sum())
    return total, squares


def difference(case: Case, key: str, actual: Tensor | np.ndarray) -> float:
    """Largest absolute difference from the stored array, or from its patches, block means and channel means.

    Args:
        case: where `key` (or `key` + ".stats" and so on, for summarised arrays) is stored.
        actual: the result, of the full shape.
    Raises:
        ValueError: the shape is wrong.
    """
    actual = actual.detach().cpu().numpy() if isinstance(actual, Tensor) else actual
    shape = case.meta.get("_summarised", {}).get(key)
    if shape is None:
        return _gap(actual, case[key], key)
    if list(actual.shape) != shape:
        raise ValueError(f"{key}: got shape {list(actual.shape)}, expected {shape}")
    actual = actual.astype(np.float64)
    rows, columns = shape[2] // 32, shape[3] // 32
    patches = [actual[:, :, row : row + 32, column : column + 32] for row, column in case[f"{key}.patch_pos"]]
    return max(
        _gap(np.stack(patches), case[f"{key}.patches"], key),
        _gap(actual.reshape(shape[0], shape[1], 32, rows, 32, columns).mean((3, 5)), case[f"{key}.down32"], key),
        _gap(actual.mean((2, 3)), case[f"{key}.chan_mean"], key),
        _gap(np.array([actual.mean(), actual.std(), actual.min(), actual.max()]), case[f"{key}.stats"], key),
    )


def _gap(actual: np.ndarray, expected: np.ndarray, key: str) -> float:
    if actual.shape != expected.shape:
        raise ValueError(f"{key}: got shape {list(actual.shape)}, expected {list(expected.shape)}")
    return float(np.abs(actual.astype(np.float64) - expected.astype(np.float64)).max(initial=0.0))
