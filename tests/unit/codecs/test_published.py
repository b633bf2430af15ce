"""Every codec gives what its vendor's published examples have: `tests/recorded/codecs/`, a file a vendor, with the source."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from broker.clock import SECOND
from broker.codecs.base import CodecError
from broker.codecs.quantities import quantity
from broker.codecs.registry import codec, codec_names
from tests.support.vendor_examples import same
from tests.unit.codecs.reading import AT, decode

FILES = sorted((Path(__file__).parents[2] / "recorded" / "codecs").glob("*.json"))
READ: list[tuple[str, dict[str, Any]]] = [
    (file.stem, vector) for file in FILES for vector in orjson.loads(file.read_bytes())["vectors"]
]
VECTORS = [pytest.param(vector, id=f"{stem}-{vector['model']}-{vector['bytes'][:24]}") for stem, vector in READ]
_WITHOUT = {"cayenne-lpp", "axioma-w1"}
"""Codecs whose published examples stand in tests of their own."""
_UNPUBLISHED = {"milesight-em300", "milesight-ws101", "milesight-em300-mcs", "milesight-em500-udl", "milesight-ws302"}
"""Documented without an example of bytes; `test_milesight.py` has them by their tables."""


@pytest.mark.parametrize("vector", VECTORS)
def test_a_published_example_gives_the_published_values(vector: dict[str, Any]) -> None:
    measured = decode(vector["codec"], vector["bytes"], vector["fPort"])
    found = {f"{one.quantity}/{one.channel}" if one.channel else one.quantity: one for one in measured}
    for name, expected in vector["values"].items():
        assert name in found
        assert same(found[name].value, expected), f"{name}: {found[name].value} is not {expected}"
    for one in measured:
        assert one.unit == quantity(one.quantity).unit
        assert type(one.value) is bool if quantity(one.quantity).kind == "boolean" else True
        assert one.observed_at == (vector["time"] * SECOND if "time" in vector else one.observed_at)
    assert bool(measured) or not vector["values"]


@pytest.mark.parametrize("vector", VECTORS)
def test_a_cut_example_gives_the_same_values_fewer_or_an_error(vector: dict[str, Any]) -> None:
    payload = bytes.fromhex(vector["bytes"])
    for length in range(len(payload)):
        try:
            found = codec(vector["codec"]).decode(payload[:length], vector["fPort"], AT)
        except CodecError:
            continue
        for one in found:
            assert type(one.value) is bool if quantity(one.quantity).kind == "boolean" else True


def test_every_vendors_file_names_its_source() -> None:
    assert all(orjson.loads(file.read_bytes())["source"] for file in FILES)


def test_every_codec_has_an_example() -> None:
    tested = {vector["codec"] for _, vector in READ}
    missing = set(codec_names()) - tested - _WITHOUT - {"object", "senml", "lwm2m", "javascript"}
    assert missing == _UNPUBLISHED
