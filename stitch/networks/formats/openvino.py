"""Constants of an OpenVINO network (.xml names layers, shapes and offsets; .bin holds the numbers), without OpenVINO.

Only what is stored is read: names, shapes and values of the layers of type Const. The files are not trusted: the XML
may declare no document type and hence no entities, its size and depth are limited, and every offset and size is checked
against the file before a number is read.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn
from xml.parsers import expat

import numpy as np

from stitch.core.errors import WeightsError

XML_LIMIT_BYTES = 8 << 20
DEPTH_LIMIT = 32
LAYER_LIMIT = 20_000

_TYPES: Mapping[str, str] = {"f32": "<f4", "f16": "<f2", "i64": "<i8", "i32": "<i4", "i8": "i1", "u8": "u1"}


@dataclass(frozen=True, eq=False)
class Constant:
    """One stored array.

    Attributes:
        name: of the layer.
        values: read-only, of the stored shape and type.
    """

    name: str
    values: np.ndarray


def read_constants(xml: bytes, weights: bytes, what: str) -> list[Constant]:
    """All constants of a network, in the order of its layers.

    Args:
        xml: content of the .xml file.
        weights: content of the .bin file.
        what: name of the network, for messages.
    Returns:
        One entry per layer of type Const; values share the memory of `weights`.
    Raises:
        WeightsError: not such a network, damaged, or hostile: a document type, too large, too deep, a type or shape
            that makes no sense, or numbers outside the file.
    """
    return [
        Constant(attributes["name"], _values(attributes, weights, what)) for attributes in _constant_layers(xml, what)
    ]


def _constant_layers(xml: bytes, what: str) -> list[dict[str, str]]:
    """Attributes of every Const layer and of its <data> element together."""
    if len(xml) > XML_LIMIT_BYTES:
        raise WeightsError(f"{what}: {len(xml)} bytes of XML, expected at most {XML_LIMIT_BYTES}; use another file")
    layers: list[dict[str, str]] = []
    path: list[str] = []
    constant = False

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal constant
        path.append(tag)
        if len(path) > DEPTH_LIMIT or len(layers) > LAYER_LIMIT:
            raise WeightsError(f"{what}: too many or too deep layers; use another file")
        if path == ["net", "layers", "layer"]:
            constant = attributes.get("type") == "Const"
            if constant:
                layers.append({"name": attributes.get("name", "")})
        elif constant and path == ["net", "layers", "layer", "data"]:
            layers[-1] |= {key: value for key, value in attributes.items() if key != "name"}

    def end(_: str) -> None:
        path.pop()

    def refuse(*_: object) -> NoReturn:
        raise WeightsError(f"{what}: the XML declares a document type, which no network needs; use another file")

    parser = expat.ParserCreate()
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
    try:
        parser.Parse(xml, True)
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise WeightsError(f"{what}: not an OpenVINO network, or damaged ({error}); fetch it again") from error
    if not layers:
        raise WeightsError(f"{what}: no constants inside; expected an OpenVINO network with its weights")
    return layers


def _values(attributes: Mapping[str, str], weights: bytes, what: str) -> np.ndarray:
    name = attributes["name"]
    try:
        dtype = np.dtype(_TYPES[attributes["element_type"]])
        text = attributes["shape"].strip()
        shape = tuple(_natural(size) for size in text.split(",")) if text else ()
        offset, size = _natural(attributes["offset"]), _natural(attributes["size"])
    except (KeyError, ValueError) as error:
        raise WeightsError(f"{what}: layer {name!r} is no proper constant ({error}); fetch it again") from error
    count = math.prod(shape)
    if count * dtype.itemsize != size or offset + size > len(weights):
        raise WeightsError(
            f"{what}: layer {name!r} of shape {list(shape)} wants {size} bytes at {offset} of {len(weights)};"
            " the files do not belong together, or are damaged: fetch them again"
        )
    return np.frombuffer(weights, dtype, count, offset).reshape(shape)


def _natural(text: str) -> int:
    """A whole number >= 0, of digits alone and few of them."""
    text = text.strip()
    if not (text.isascii() and text.isdigit()) or len(text) > 12:
        raise ValueError(f"{text[:20]!r} is no size")
    return int(text)
