"""Codecs in JavaScript: what a script may throw, answer, use up or leave behind."""

from __future__ import annotations

from typing import Any, Final

import orjson
from hypothesis import strategies as st

from broker.codecs.base import CodecError
from broker.codecs.javascript.codec import encode_script
from broker.codecs.javascript.sandbox import MOST_ANSWER, Bounds
from broker.codecs.javascript.scripts import bound_here
from broker.codecs.registry import JAVASCRIPT, decode
from broker.devices.model import DeviceModel, Quantity
from tests.fuzz.inputs import edited_text, texts
from tests.fuzz.target import Target
from tests.fuzz.uplinks import check_measurements
from tests.support.recorded import RECEIVED

BOUNDS: Final = Bounds(seconds=0.02, megabytes=4)
_ANSWERS: Final = [
    *(
        "21.5",
        "NaN",
        "Infinity",
        "-0",
        "'21.5'",
        "null",
        "undefined",
        "true",
        "[]",
        "{}",
        "[[[[]]]]",
        "1n",
        "10n ** 400n",
        "Symbol('s')",
    ),
    *(
        "new Date(NaN)",
        "new Date(8.64e15)",
        "/x/g",
        "function () {}",
        "class {}",
        "new Map([[1, 2]])",
        "new Set([1])",
        "new Uint8Array(9)",
    ),
    *(
        "new ArrayBuffer(1 << 20)",
        "new Proxy({}, {})",
        "new Proxy([], {get() { throw 1; }})",
        "{get t() { throw new Error('no'); }}",
    ),
    *(
        "{toJSON() { return NaN; }}",
        "{toJSON() { return this; }}",
        "{valueOf() { for (;;); }}",
        "Object.create(null)",
        "globalThis",
        "Buffer.from('å')",
    ),
    *(
        "'x'.repeat(1e7)",
        "'x'.repeat(60000)",
        "Array(1e5).fill(1)",
        "'\\ud800'",
        "'\\0'",
        "'\\0NaN'",
        "{'\\0': '\\0x'}",
        "'\\0' + '9'.repeat(5000)",
    ),
    *(
        "[0, 255]",
        "[256]",
        "[1.5]",
        "['1']",
        "Array(242).fill(1)",
        "Array(243).fill(1)",
        "[,]",
        "Buffer.alloc(9)",
        "new Error('e')",
        "Promise.resolve(1)",
        "(function* () { yield 1; })()",
        "arguments",
        "Reflect.ownKeys",
        "new (class extends Array {})(3)",
    ),
    *(
        "{__proto__: {t: 1}}",
        "JSON.parse('{\"__proto__\": 1}')",
        "{length: 1e9}",
        "9007199254740993",
        "1e308 * 10",
        "-1e-320",
        "i",
        "i.recvTime",
    ),
]
_STATEMENTS: Final = [
    *(
        "for (;;);",
        "while (1) a.push(a);",
        "throw {};",
        "throw null;",
        "throw new Error('x'.repeat(1e5));",
        "return f();",
        "f(f);",
    ),
    *(
        "var a = []; for (;;) a.push(new Array(1000).fill('x'));",
        "/^(a+)+$/.test('a'.repeat(40) + 'b');",
        "return eval('1');",
        "delete globalThis.Object;",
    ),
    *(
        "Object.prototype.t = 1;",
        "Object.freeze(Object.prototype);",
        "JSON.stringify = null;",
        "Array.prototype.map = f;",
        "x = 1;",
        "var o = {}; o.o = o; return o;",
    ),
    *(
        "i.bytes.length = 1e9;",
        "i.bytes.sort(f);",
        "i.bytes = new Proxy(i.bytes, {});",
        "i.fPort.toFixed(200);",
        "label: for (var k in i) continue label;",
    ),
    *(
        "try { for (;;); } finally { for (;;); }",
        "return {data: {t: 1}, errors: ['e'.repeat(1e5)]};",
        "return {data: {t: 1}, errors: {}};",
        "return {errors: [null]};",
    ),
    *(
        "console.log(i);",
        "Error.stackTraceLimit = 1e9;",
        "Symbol.iterator = 1;",
        "new Array(-1);",
        "''.padEnd(1e9);",
        "BigInt.asIntN(1e9, 1n);",
        "[].concat(Array(1e6));",
    ),
    *(
        "var d = 0; (function g() { d++; g(); })();",
        "'a'.replace(/(?:)/g, f);",
        "String.raw`${f}`;",
        "with (i) { bytes; }",
        "'use strict';",
        "let t; t;",
        "return new.target;",
    ),
]
_GOOD: Final = [
    "function decodeUplink(i) { return {data: {t: (i.bytes[0] << 24 >> 16 | i.bytes[1]) / 10, n: i.fPort}}; }",
    "function Decode(fPort, bytes) { var t = {}; t.t = bytes.reduce(function (a, b) { return a * 256 + b; }, 0); return t; }",
    "module.exports = {decodeUplink: function (i) { return {data: {t: Buffer.from(i.bytes).readInt16BE(0) / 10}, warnings: []}; }};",
    "function encodeDownlink(i) { return {bytes: [1, i.data.t & 255], fPort: 5}; }",
    "function Encode(fPort, obj, variables) { return Object.keys(obj).map(function (k) { return obj[k] & 255; }); }",
    "function Encoder(obj, port) { var b = []; b[3] = 1; b[0] = b[1] = b[2] = port; return Buffer.from(b); }",
    "var decodeUplink = (i) => ({data: Object.fromEntries(i.bytes.map((b, n) => ['t' + n, b]))});\nfunction encodeDownlink(i) { return {bytes: [1, i.data.t], fPort: 5}; }",
]
_TOKENS: Final = ["(", ")", "{", "}", "[", "]", ";", ",", "=>", "...", "`${", "`", "/*", "*/", "//", "\n", "function ", "var ", "let ", "class A ", "async ", "await ", "yield ", "?.", "??", "**", "<!--", "\\u0041", "#x", "@"]  # fmt: skip


def _script(name: str, statements: list[str], answer: str, style: int) -> str:
    body = " ".join(statements)
    if name.startswith("encode"):
        return f"function f(x) {{ return f(x) + 1; }}\nfunction {name}(i) {{ {body}\nreturn {{bytes: {answer}, fPort: i.fPort}}; }}"
    data = (
        f"{{data: {{t: {answer}, u: {{v: {answer}}}}}}}"
        if style == 0
        else f"{{data: {answer}}}"
        if style == 1
        else answer
    )
    return f"function f(x) {{ return f(x) + 1; }}\nfunction {name}(i) {{ {body}\nreturn {data}; }}"


names = st.sampled_from(["decodeUplink", "Decode", "Decoder", "encodeDownlink", "Encode", "__proto__", "f"])
scripts = st.one_of(
    st.builds(
        _script, names, st.lists(st.sampled_from(_STATEMENTS), max_size=2), st.sampled_from(_ANSWERS), st.integers(0, 2)
    ),
    edited_text(_GOOD, [*_TOKENS, *_STATEMENTS, *_ANSWERS]),
)
sources = st.sampled_from(["t", "u.v", "t.t", "0", "__proto__", "t.0"]) | texts
rows = st.lists(
    st.builds(Quantity, quantity=st.sampled_from(["temperature", "motion", "open"]), source=sources),
    min_size=1,
    max_size=3,
).map(tuple)


def decoded(given: tuple[str, tuple[Quantity, ...], bytes, int]) -> None:
    source, quantities, payload, f_port = given
    bound_here(BOUNDS)
    model = DeviceModel(id="m", vendor="V", name="M", codec=JAVASCRIPT, script=source, quantities=quantities)
    found = decode(model, payload=payload, f_port=f_port, decoded=None, values=(), at=RECEIVED)
    check_measurements(found, units=False)
    assert len(orjson.dumps([one.value for one in found])) <= MOST_ANSWER


def encoded(given: tuple[str, dict[str, Any]]) -> None:
    bound_here(BOUNDS)
    f_port, payload = encode_script(given[0], given[1], 1)
    assert 1 <= f_port <= 223
    assert 1 <= len(payload) <= 242


plain = st.dictionaries(
    st.sampled_from(["t", "__proto__", "toJSON"]) | texts,
    texts | st.integers(-(2**53), 2**53) | st.booleans(),
    max_size=3,
)
TARGETS: Final = [
    Target("scripts", st.tuples(scripts, rows, st.binary(max_size=60), st.integers(1, 223)), decoded, (CodecError,), 2),
    Target("encoders of scripts", st.tuples(scripts, plain), encoded, (CodecError,)),
]  # fmt: skip
