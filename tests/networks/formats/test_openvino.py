
import numpy as np
import pytest

from stitch.core.errors import WeightsError
from stitch.networks.formats import openvino
from stitch.networks.formats.openvino import read_constants


def network(*layers: str, head: str = "") -> bytes:
    return f'<?xml version="1.0"?>{head}<net><layers>{"".join(layers)}</layers></net>'.encode()


def constant(name: str = "a", shape: str = "2, 1", kind: str = "f32", offset: str = "4", size: str = "8") -> str:
    data = f'<data element_type="{kind}" shape="{shape}" offset="{offset}" size="{size}"/>'
    return f'<layer id="0" name="{name}" type="Const">{data}<output><port id="0"/></output></layer>'


WEIGHTS = np.arange(4, dtype="<f4").tobytes()


def test_read_constants_reads_names_shapes_and_values_in_order():
    other = '<layer id="1" name="x" type="Add"><data auto_broadcast="numpy"/></layer>'
    first, second = read_constants(
        network(constant(), other, constant("b", "", "i64", "0", "8")), WEIGHTS, "net"
    )
    assert (first.name, first.values.tolist(), first.values.shape) == ("a", [[1.0], [2.0]], (2, 1))
    assert (second.name, second.values.shape, second.values.dtype) == ("b", (), np.int64)


@pytest.mark.parametrize(
    "layer",
    [
        constant(offset="12"),  # beyond the file
        constant(size="12"),  # not the shape's size
        constant(offset="-4"),
        constant(shape="2, -1"),
        constant(shape="2, x"),
        constant(shape="99999999999, 99999999999", size="8"),
        constant(shape="1" * 5000),
        constant(kind="string"),
        '<layer name="a" type="Const"></layer>',
    ],
)
def test_read_constants_refuses_what_does_not_fit_the_file(layer):
    with pytest.raises(WeightsError, match="net"):
        read_constants(network(layer), WEIGHTS, "net")


def test_read_constants_refuses_document_types_and_entities():
    bomb = '<!DOCTYPE net [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]>'
    with pytest.raises(WeightsError, match="document type"):
        read_constants(network(constant(name="&b;"), head=bomb), WEIGHTS, "net")


def test_read_constants_refuses_depth_size_and_garbage(monkeypatch):
    with pytest.raises(WeightsError, match="deep"):
        read_constants(b"<net>" + b"<a>" * 40, WEIGHTS, "net")
    with pytest.raises(WeightsError, match="damaged"):
        read_constants(b"\x00\x01garbage", WEIGHTS, "net")
    with pytest.raises(WeightsError, match="no constants"):
        read_constants(network(), WEIGHTS, "net")
    monkeypatch.setattr(openvino, "XML_LIMIT_BYTES", 10)
    with pytest.raises(WeightsError, match="bytes of XML"):
        read_constants(network(constant()), WEIGHTS, "net")
