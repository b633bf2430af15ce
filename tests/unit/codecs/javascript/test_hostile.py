"""What a script may do to us: nothing, and nothing to another device's decoding. Each ends in its time, with a reason."""

from __future__ import annotations

import contextlib
import re
import time

import pytest

from broker.codecs.base import CodecError
from broker.codecs.javascript.sandbox import Bounds, Sandbox, ScriptStopped

BOUNDS = Bounds(seconds=0.1, megabytes=8)
FORMER = "Object.prototype.extended = 1;\n"
"""Makes a script one that extends built-in objects, so that it runs where nothing of the language is frozen."""

STOPPED = {
    "an endless loop": "for (;;);",
    "an endless loop that catches everything": "for (;;) { try { for (;;); } catch (e) {} finally { for (;;); } }",
    "a memory bomb": "var all = []; for (;;) all.push(new Array(1000).fill('x'));",
    "a regular expression that backtracks": "return /^(a+)+$/.test('a'.repeat(50) + 'b');",
    "a loop while its error is told": "throw { get message() { for (;;); } };",
    "a loop while its error is made a text": "throw { toString() { for (;;); }, toJSON() { for (;;); } };",
    "a loop while its answer is written": "return { toJSON() { for (;;); } };",
    "a loop in a getter of its answer": "return { get temperature() { for (;;); } };",
    "a loop in a proxy": "return new Proxy({}, { ownKeys() { for (;;); } });",
    "a loop of then": "return { get then() { for (;;); } };",
    "an array that is sorted for ever": "[3, 2, 1].sort(function () { for (;;); });",
    "errors whose text is a loop": "try { InternalError.prototype.toString = function () { for (;;); }; } catch (e) {}"
    "try { Error.prototype.toString = function () { for (;;); }; } catch (e) {} for (;;);",
    "errors whose primitive is a loop": "try { InternalError.prototype[Symbol.toPrimitive] = function () { for (;;); };"
    "Object.prototype[Symbol.toPrimitive] = function () { for (;;); }; } catch (e) {} for (;;);",
    "errors whose stack is a loop": "try { Error.prepareStackTrace = function () { for (;;); };"
    "Object.defineProperty(Object.prototype, 'stack', { get() { for (;;); } }); } catch (e) {} for (;;);",
    "errors whose name is a loop": "try { Object.defineProperty(InternalError.prototype, 'name', { get() { for (;;); } });"
    "Object.defineProperty(Object.prototype, 'name', { get() { for (;;); } }); } catch (e) {} for (;;);",
}
REFUSED = {
    "endless recursion": ("function r() { return r() + 1; } return r();", "call stack"),
    "a text of 256 MB": ("return { text: 'x'.repeat(1 << 28) };", "memory|string length"),
    "an array buffer of 1 GB": ("return new ArrayBuffer(1 << 30).byteLength;", "memory|length"),
    "an answer of 10 MB": ("return { text: 'x'.repeat(1e6) };", "characters"),
    "an answer with a million members": ("return Array(1e5).fill(1);", "characters|memory"),
    "an answer of itself": ("var a = {}; a.a = a; return a;", "circular"),
    "an answer that is deep": ("var a = {}; for (var i = 0; i < 100; i++) a = { a: a }; return a;", "deeper|stack"),
    "a number thrown": ("throw 17;", "17"),
    "nothing thrown": ("throw null;", "null"),
    "an object thrown": ("throw { code: 4 };", "code"),
    "a symbol thrown": ("throw Symbol('s');", "Symbol"),
    "a function thrown": ("throw function f() {};", "function"),
    "a proxy thrown that has nothing": (
        "throw new Proxy({}, { get() { throw 1; }, has() { throw 2; } });",
        "cannot be shown",
    ),
    "an error with a long text": ("throw new Error('x'.repeat(100000));", "x{400}"),
    "a promise": ("return (async function () { return {}; })();", "promise"),
    "half a surrogate pair": (
        "return '\\ud800' + String.fromCharCode(0xdc00, 0xd800) + '\\ud800';",
        "cannot be read|^$",
    ),
}


def script(body: str) -> str:
    return "function decodeUplink(input) {\n" + body + "\n}"


@pytest.mark.parametrize("former", ["", FORMER], ids=["frozen", "own context"])
@pytest.mark.parametrize("body", STOPPED.values(), ids=STOPPED)
def test_it_is_stopped(body: str, former: str) -> None:
    sandbox = Sandbox(former + script(body), BOUNDS)
    began = time.process_time()
    with pytest.raises(ScriptStopped, match=r"stopped"):
        sandbox.call("decodeUplink", {})
    assert time.process_time() - began < 2


@pytest.mark.parametrize("former", ["", FORMER], ids=["frozen", "own context"])
@pytest.mark.parametrize(("body", "reason"), REFUSED.values(), ids=REFUSED)
def test_it_is_refused_with_the_reason(body: str, reason: str, former: str) -> None:
    sandbox = Sandbox(former + script(body), BOUNDS)
    try:
        answer = sandbox.call("decodeUplink", {})
    except CodecError as error:
        assert re.search(reason, str(error)), str(error)
        assert len(str(error)) < 700
    else:
        assert "^$" in reason
        assert isinstance(answer, str)


@pytest.mark.parametrize("body", [*STOPPED.values(), *(body for body, _ in REFUSED.values())])
def test_afterwards_it_decodes_as_before(body: str) -> None:
    sandbox = Sandbox(
        f"function decodeUplink(i) {{ if (i.bad) {{ {body} }} return {{ good: [1.5, 'å', null] }}; }}", BOUNDS
    )
    for bad in (True, True, False):
        try:
            answer = sandbox.call("decodeUplink", {"bad": bad})
        except CodecError:
            assert bad
    assert answer == {"good": [1.5, "å", None]}


@pytest.mark.parametrize("at_load", ["for (;;);", "var a = []; for (;;) a.push(a.concat(a, [1]));"])
def test_a_script_that_does_not_end_is_stopped_before_it_is_called(at_load: str) -> None:
    with pytest.raises(ScriptStopped):
        Sandbox(at_load + script("return {};"), BOUNDS)


ABSENT = """
    var names = ["process", "window", "self", "std", "os", "fetch", "XMLHttpRequest", "WebAssembly", "setTimeout",
        "setInterval", "Worker", "importScripts", "Deno", "bjson", "print", "scriptArgs", "__loadScript", "eval",
        "WeakRef", "SharedArrayBuffer", "Atomics", "FinalizationRegistry", "performance", "navigator", "gc"];
    return names.filter(function (name) { return typeof global[name] !== "undefined"; });
"""


def test_there_is_nothing_of_the_outside() -> None:
    assert (
        Sandbox(script(ABSENT.replace("global[", "(0, function () { return this; })()[")), BOUNDS).call(
            "decodeUplink", {}
        )
        == []
    )


@pytest.mark.parametrize(
    "body",
    [
        "return eval('1');",
        "return new Function('return 1')();",
        "return (function () {}).constructor('return 1')();",
        "return (async function () {}).constructor('return 1')();",
        "return (function* () {}).constructor('return 1')();",
        "return require('fs');",
        "return import('os').then(function () {});",
        "return require('child_process');",
    ],
)
def test_texts_do_not_become_code_and_there_are_no_other_modules(body: str) -> None:
    with pytest.raises(CodecError):
        Sandbox(script(body), BOUNDS).call("decodeUplink", {})


KEEPING = {
    "a variable": "var kept = 0; function decodeUplink(i) { return ++kept; }",
    "a let": "let kept = 0; function decodeUplink(i) { return ++kept; }",
    "a const object": "const kept = { n: 0 }; function decodeUplink(i) { return ++kept.n; }",
    "a global that was never declared": "function decodeUplink(i) { if (typeof kept === 'undefined') kept = 0; return ++kept; }",
    "a member of this": "function decodeUplink(i) { this.kept = (this.kept || 0) + 1; return this.kept; }",
    "a global that cannot be removed": "function decodeUplink(i) { var g = (0, function () { return this; })();"
    "if (!g.kept) Object.defineProperty(g, 'kept', { value: { n: 0 } }); return ++g.kept.n; }",
    "a symbol of the global object": "function decodeUplink(i) { var g = (0, function () { return this; })(), s = Symbol.for('kept');"
    "g[s] = (g[s] || 0) + 1; return g[s]; }",
    "a member of a built-in object": "function decodeUplink(i) { var m = Math; m.kept = (m.kept || 0) + 1; return m.kept || 1; }",
    "a built-in function": "function decodeUplink(i) { var f = parseInt; f.kept = (f.kept || 0) + 1; return f.kept || 1; }",
    "a prototype": "function decodeUplink(i) { var p = Array['proto' + 'type']; p.kept = (p.kept || 0) + 1; return p.kept || 1; }",
    "a prototype of a prototype": "function decodeUplink(i) { var p = Object.getPrototypeOf([].values()); p.kept = (p.kept || 0) + 1;"
    " return p.kept || 1; }",
    "a prototype of a generator": "function decodeUplink(i) { var p = Object.getPrototypeOf(Object.getPrototypeOf((function* () {})()));"
    "p = Object.getPrototypeOf(p); p.kept = (p.kept || 0) + 1; return p.kept || 1; }",
    "a prototype of a helper": "function decodeUplink(i) { var p = Object.getPrototypeOf([].values().map(String));"
    "p.kept = (p.kept || 0) + 1; return p.kept || 1; }",
    "a promise's prototype": "function decodeUplink(i) { var p = Object.getPrototypeOf((async function () {})());"
    "p.kept = (p.kept || 0) + 1; return p.kept || 1; }",
    "an error of atob": "function decodeUplink(i) { try { atob('*'); } catch (e) { var p = Object.getPrototypeOf(e);"
    "p.kept = (p.kept || 0) + 1; return p.kept || 1; } }",
    "Buffer": "function decodeUplink(i) { Buffer.kept = (Buffer.kept || 0) + 1; return Buffer.kept || 1; }",
    "Buffer's methods": "function decodeUplink(i) { var m = Buffer.from([1]).readUInt8; m.kept = (m.kept || 0) + 1; return m.kept || 1; }",
    "console": "function decodeUplink(i) { console.kept = (console.kept || 0) + 1; return console.kept || 1; }",
    "a module that is required": "function decodeUplink(i) { var m = require('buffer'); m.kept = (m.kept || 0) + 1; return m.kept || 1; }",
    "require itself": "function decodeUplink(i) { require.kept = (require.kept || 0) + 1; return require.kept || 1; }",
    "module": "module.kept = (module.kept || 0) + 1; function decodeUplink(i) { return module.kept; }",
    "a regular expression's place": "const kept = /a/g; function decodeUplink(i) { kept.test('aaa'); return kept.lastIndex; }",
    "a text's template": "function decodeUplink(i) { var t = (function (s) { return s; })`a`; try { t.kept = (t.kept || 0) + 1; } catch (e) {}"
    "return t.kept || 1; }",
    "an extended built-in object": "Object.prototype.kept = 0; function decodeUplink(i) { return ++Object.prototype.kept; }",
}


@pytest.mark.parametrize("source", KEEPING.values(), ids=KEEPING)
def test_nothing_is_kept_from_one_call_to_the_next(source: str) -> None:
    sandbox = Sandbox(source, BOUNDS)
    assert [sandbox.call("decodeUplink", {}) for _ in range(3)] == [1, 1, 1]


POLLUTING = (
    "var o = Object, p = o['proto' + 'type']; try { p.toString = p.polluted = function () { return 'polluted'; }; } catch (e) {}"
    "try { var j = JSON; j.stringify = j.parse = function () { return 'polluted'; }; } catch (e) {}"
    "try { Array['proto' + 'type'].map = function () { return 'polluted'; }; } catch (e) {}"
    "try { ({}).__proto__.polluted = 'polluted'; ({}).constructor.keys = null; } catch (e) {}"
    "try { Math = JSON = Object = Array = Buffer = undefined; } catch (e) {}"
)


@pytest.mark.parametrize("former", ["", FORMER], ids=["frozen", "own context"])
def test_one_call_does_not_pollute_the_next(former: str) -> None:
    sandbox = Sandbox(
        f"{former}function decodeUplink(i) {{ if (i.bad) {{ {POLLUTING} }}"
        "return [String({}), ({}).polluted === undefined, [1].map(String), Object.keys({a: 1}), Math.max(1, 2),"
        "JSON.stringify([1]), Buffer.from([1]).toString('hex')]; }",
        BOUNDS,
    )
    clean = ["[object Object]", True, ["1"], ["a"], 2, "[1]", "01"]
    with contextlib.suppress(CodecError):
        sandbox.call("decodeUplink", {"bad": True})
    assert sandbox.call("decodeUplink", {}) == clean


@pytest.mark.parametrize(
    "source",
    [
        "}); (function () {",
        "return 1",
        "})()}); kept = 1; ((function(){(function(){",
        "/*",
        "`",
        "'use strict'; with (a) {}",
        "1 +",
    ],
)
def test_a_text_that_is_no_whole_script_is_refused(source: str) -> None:
    with pytest.raises(CodecError, match=r"does not run: SyntaxError"):
        Sandbox(source + "\n" + script("return 1;") if source != "1 +" else source, BOUNDS)


def test_a_script_with_the_character_0_is_refused() -> None:
    with pytest.raises(CodecError, match=r"without the character U\+0000"):
        Sandbox(script("return 1;") + "\0", BOUNDS)


def test_a_script_that_is_too_long_is_refused() -> None:
    with pytest.raises(CodecError, match=r"262144 are the most"):
        Sandbox("//" + "x" * 300_000, BOUNDS)
