"""A hash of networks and whatever else a result depends on."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn

_KNOWN: WeakKeyDictionary[Any, dict[tuple[str, ...], str]] = WeakKeyDictionary()


def fingerprint_of(record: Any, *names: str) -> str:
    """`fingerprint` of some attributes of a frozen record; the same attributes are hashed once in a process.

    Args:
        record: compared by identity, such as a loaded family, whose networks do not change.
        names: of its attributes.
    Returns:
        Hexadecimal digits.
    """
    known = _KNOWN.setdefault(record, {})
    if names not in known:
        known[names] = fingerprint(*(getattr(record, name) for name in names))
    return known[names]


def fingerprint(*things: Any) -> str:
    """Hash of networks, tensors and plain values, so that a changed weight is noticed.

    Args:
        things: modules (by their state), tensors, arrays, dataclasses, mappings, sequences, plain values; other objects
            by their attributes.
    Returns:
        Hexadecimal digits.
    """
    digest = hashlib.blake2b(digest_size=16)
    for part in _parts(things):
        digest.update(part)
    return digest.hexdigest()


def _parts(thing: Any, above: tuple[int, ...] = ()) -> Iterator[bytes]:
    """The bytes that `fingerprint` hashes; `above` are the objects around this one, against cycles."""
    if isinstance(thing, nn.Module):
        yield from _parts(thing.state_dict(), above)
    elif isinstance(thing, Tensor):
        yield f"{thing.dtype}{tuple(thing.shape)}".encode()
        yield thing.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    elif isinstance(thing, np.ndarray):
        yield f"{thing.dtype}{thing.shape}".encode()
        yield np.ascontiguousarray(thing).tobytes()
    elif isinstance(thing, Mapping):
        for name in thing:
            yield f"{name}:".encode()
            yield from _parts(thing[name], above)
    elif isinstance(thing, list | tuple):
        yield f"{len(thing)}[".encode()
        for item in thing:
            yield from _parts(item, above)
    elif thing is None or isinstance(thing, str | bytes | int | float | bool):
        yield repr(thing).encode()
    elif id(thing) not in above:
        yield type(thing).__qualname__.encode()
        names = [field.name for field in fields(thing)] if is_dataclass(thing) else sorted(vars(thing))
        for name in names:
            yield from _parts(getattr(thing, name), (*above, id(thing)))
