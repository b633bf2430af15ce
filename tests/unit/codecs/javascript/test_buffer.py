"""Buffer as payload codecs use it. The expected values are what Node 20 gives for the same expressions."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.codecs.javascript.sandbox import Bounds, Sandbox

EXPRESSIONS = [
    ("Buffer.from('00ff7f80', 'hex').readInt16LE(1)", 32767),
    ("Buffer.from('ff80', 'hex').readInt16BE()", -128),
    ("Buffer.from('0041c80000', 'hex').readFloatBE(1)", 25),
    ("Buffer.from([1, 2, 3]).readUIntBE(0, 3)", 66051),
    ("Buffer.from([255, 2, 128]).readIntLE(0, 3)", -8387841),
    ("Buffer.from('aGVq', 'base64').toString()", "hej"),
    ("Buffer.from('å').toString('hex')", "c3a5"),
    ("Buffer.from([0xc3, 0xa5, 0x21]).toString('utf8')", "å!"),
    ("Buffer.from([1, 2, 254]).toString('base64')", "AQL+"),
    ("Buffer.concat([Buffer.from([1]), Uint8Array.of(2, 3)]).length", 3),
    ("Buffer.from([1, 2, 3, 4]).slice(1, 3).toString('hex')", "0203"),
    ("(function () { var b = Buffer.alloc(4); b.writeInt16BE(-2, 1); return b.toString('hex'); })()", "00fffe00"),
    ("(function () { var b = Buffer.alloc(3); b.writeUIntLE(66051, 0, 3); return b.toString('hex'); })()", "030201"),
    ("JSON.stringify(Buffer.from([7]))", '{"type":"Buffer","data":[7]}'),
    ("Buffer.isBuffer(Buffer.from([])) && !Buffer.isBuffer([])", True),
    ("Buffer.from([1, 2]).equals(Buffer.from('0102', 'hex'))", True),
    ("btoa('hej') + atob('aGVq')", "aGVqhej"),
    ("Buffer.from([1, 2]).readUint8(1)", 2),
    ("(function () { try { Buffer.from([1]).readInt16BE(); } catch (e) { return e.name; } })()", "RangeError"),
    ("Buffer.byteLength('åä')", 4),
]


def evaluated(expression: str) -> object:
    return Sandbox("function Decode() { return [" + expression + "]; }", Bounds()).call("Decode", {})


@pytest.mark.parametrize(("expression", "expected"), EXPRESSIONS)
def test_it_gives_what_node_gives(expression: str, expected: object) -> None:
    assert evaluated(expression) == [expected]


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_node_gives_the_same() -> None:
    program = "console.log(JSON.stringify([" + ", ".join(expression for expression, _ in EXPRESSIONS) + "]))"
    said = subprocess.run(["node", "-e", program], capture_output=True, check=True, text=True).stdout
    assert json.loads(said) == [expected for _, expected in EXPRESSIONS]


ROUND = Sandbox(
    "function Decode(port, bytes) { var b = Buffer.from(bytes); return ['hex', 'base64', 'base64url', 'latin1', 'binary']"
    ".map(function (e) { return Buffer.from(b.toString(e), e).toJSON().data; }); }",
    Bounds(),
)


@given(st.binary(max_size=64))
def test_every_encoding_gives_the_bytes_back(content: bytes) -> None:
    assert ROUND.call("Decode", {"fPort": 1, "bytes": list(content)}) == [list(content)] * 5
