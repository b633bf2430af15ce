"""One script in a sandbox of its own: QuickJS with bounds of time, memory and stack, and nothing of the outside in reach.

Everything that a script can bring about happens inside a call that is bounded, and what ends a call is turned into text
by the engine's own functions (`prelude.js` sees to that): the binding does that part without a time limit.

A sandbox belongs to the thread that made it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Final

import orjson
import quickjs

from broker.codecs.base import CodecError

MOST_SOURCE: Final = 256 * 1024
"""Characters of a script; the longest of The Things Network's device repository has 101,227."""
MOST_ANSWER: Final = 64 * 1024
"""Characters of an answer as JSON; 64 numbers with names need 2,000."""
STACK_BYTES: Final = 256 * 1024
CALLS: Final = 5_000
"""After so many calls a context is made anew: whatever it may have gathered is gone."""
_NO_LIMIT: Final = -1
_DEEPEST: Final = 32
"""Levels of an answer."""

Answer = dict[str, Any] | list[Any] | str | float | int | bool | None

_STYLES: Final = {"decodeUplink": 0, "decodeDownlink": 0, "encodeDownlink": 0, "normalizeUplink": 0}
_STYLES_BY_ORDER: Final = {"Decode": 1, "Decoder": 2, "Encode": 3, "Encoder": 4}
_EXTENDS: Final = re.compile(
    r"\b(?:Array|ArrayBuffer|BigInt|Boolean|Buffer|DataView|Date|Function|Map|Number|Object|RegExp|Set|String|Symbol"
    r"|Uint8Array)\s*\.\s*prototype\s*(?:\.|\[)[^=;\n]{1,80}=(?!=)"
    r"|\b(?:Math|Object|Array|Number|String|JSON)\s*\.\s*\w+\s*=(?!=)"
    r"|\bdefinePropert(?:y|ies)\s*\(\s*\w+\.prototype\b"
)
"""Built-in objects that a script adds to. Where this does not see it, the addition fails: they are frozen."""
_TOP_LEVEL: Final = re.compile(r"^(?:async )?function\*? +(\w+)|^var +(\w+)", re.MULTILINE)
_OF_GLOBAL: Final = re.compile(r"\b(?:this|global|globalThis)\.(\w+)")


class ScriptStopped(CodecError):
    """The script went beyond a bound: time, memory or stack."""


class _MemoryExhausted(ScriptStopped):
    """Perhaps by what earlier calls left: it is worth another try."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one call may use."""

    seconds: float = 0.25
    """Of processor time, of the whole process while the call runs: some more than its own."""
    megabytes: int = 16


class Sandbox:
    """One script. `call` runs one of its `functions`."""

    def __init__(self, source: str, bounds: Bounds) -> None:
        """Raises CodecError when it is too long or does not run, ScriptStopped when it goes beyond a bound."""
        if len(source) > MOST_SOURCE:
            raise CodecError(f"The script has {len(source)} characters; {MOST_SOURCE} are the most.")
        if "\0" in source:
            raise CodecError("The script must be text without the character U+0000.")
        self._source = source
        self._bounds = bounds
        self._frozen = not _needs_own_context(source)
        _check_syntax(source, bounds)
        self._calls = 0
        self._act: Any = None
        self.functions: tuple[str, ...] = ()
        """Those of the names that are known which the script has."""
        self._begin()
        if self._source and not self.functions:
            raise CodecError(
                "The script has none of the functions decodeUplink(input), Decode(fPort, bytes), Decoder(bytes, port), "
                "encodeDownlink(input), Encode(fPort, data), Encoder(data, port)."
            )

    def call(self, name: str, given: dict[str, Any], at_ms: int = 0) -> Answer:
        """What function `name` answers; `at_ms` (Unix time) is its input's `recvTime`, a Date; 0 for none.

        Numbers that JSON has no word for are there as floats (nan, inf). Raises CodecError when the script throws or its
        answer is too long, ScriptStopped when it goes beyond a bound.
        """
        if self._act is None or self._calls >= CALLS:
            self._begin()
        try:
            return self._call(name, given, at_ms)
        except _MemoryExhausted:
            if self._calls == 1:
                raise
            self._begin()
            return self._call(name, given, at_ms)

    def _call(self, name: str, given: dict[str, Any], at_ms: int) -> Answer:
        if name not in self.functions:
            raise CodecError(f"The script has no function {name}.")
        self._calls += 1
        style = _STYLES[name] if name in _STYLES else _STYLES_BY_ORDER[name]
        answer = self._bounded(name, style, orjson.dumps(given).decode(), float(at_ms))
        if answer[0] == "!":
            self._act = None
            answer = answer[1:]
        kind, text = answer[0], answer[1:]
        if kind == "n":
            return None
        if kind == "e":
            if text.startswith("InternalError: out of memory"):
                raise self._stopped(text)
            if text == "null":  # when there is no memory for an error, null is thrown
                text = "null (which it threw, or no memory was left for an error)"
            raise CodecError(f"The script failed: {text}")
        if kind == "l":
            raise CodecError(f"The script's answer has {text} characters; {MOST_ANSWER} are the most.")
        try:
            found: Answer = orjson.loads(text)
        except ValueError as error:  # half a surrogate pair, or too deep
            raise CodecError(f"The script's answer cannot be read: {error}.") from None
        if _deeper(found, _DEEPEST):
            raise CodecError(f"The script's answer is nested deeper than {_DEEPEST} levels.")
        return _restored(found) if kind == "x" else found

    def _begin(self) -> None:
        self._act = None
        context = _context(self._bounds)
        context.set_time_limit(_NO_LIMIT)  # of our own part
        make = context.eval(_prelude())
        self._act = make(context.eval(_buffer()), self._frozen, MOST_ANSWER)
        context.set_time_limit(self._bounds.seconds)
        self._calls = 0
        answer = self._bounded("", 0, self._source, 0.0)
        if answer[0] == "e":
            if answer[1:].startswith("InternalError: out of memory"):
                raise self._stopped(answer[1:])
            raise CodecError(f"The script does not run: {answer[1:]}")
        self.functions = tuple(name for name in answer[1:].split(",") if name)

    def _bounded(self, *arguments: str | float) -> str:
        try:
            answer: str = self._act(*arguments)
        except (quickjs.JSException, MemoryError) as error:
            raise self._stopped(str(error)) from None
        return answer

    def _stopped(self, said: str) -> ScriptStopped:
        self._act = None  # what it left half done is not used again
        if "interrupted" in said:
            return ScriptStopped(f"The script was stopped after {self._bounds.seconds:g} s of processor time.")
        if "out of memory" in said or said.startswith("null"):  # when there is not even memory to say so
            return _MemoryExhausted(
                f"The script was stopped: it needs more than {self._bounds.megabytes} MB of memory."
            )
        return ScriptStopped(f"The script was stopped: {said.partition(chr(10))[0][:200]}")


def _needs_own_context(source: str) -> bool:
    if _EXTENDS.search(source) is not None:
        return True
    own = {name for found in _TOP_LEVEL.findall(source) for name in found}
    return not own.isdisjoint(_OF_GLOBAL.findall(source))


def _context(bounds: Bounds) -> quickjs.Context:
    context = quickjs.Context()
    context.set_memory_limit(bounds.megabytes * 1024 * 1024)
    context.set_max_stack_size(STACK_BYTES)
    context.set_time_limit(bounds.seconds)
    return context


def _check_syntax(source: str, bounds: Bounds) -> None:
    """The text is a whole program by itself, so that as the body of a function it stays within it. Nothing of it runs."""
    try:
        _context(bounds).eval("throw null;" + source)
    except quickjs.JSException as error:
        said = str(error)
        if said.startswith("SyntaxError"):
            raise CodecError(f"The script does not run: {_with_line(said)}") from None
        if not said.startswith("null"):
            raise ScriptStopped(f"The script cannot be read: {said.partition(chr(10))[0][:200]}") from None
    except UnicodeEncodeError:
        raise CodecError("The script must be Unicode text without half surrogate pairs.") from None


def _with_line(said: str) -> str:
    first = said.partition("\n")[0][:300]
    place = re.search(r":(\d+):\d+\)?\s*$", said)
    return f"{first} (line {place[1]})" if place else first


def _deeper(value: Answer, levels: int) -> bool:
    if isinstance(value, dict):
        return levels == 0 or any(_deeper(each, levels - 1) for each in value.values())
    if isinstance(value, list):
        return levels == 0 or any(_deeper(each, levels - 1) for each in value)
    return False


def _restored(value: Any) -> Any:
    """Numbers that came as marked texts, as numbers."""
    if isinstance(value, dict):
        return {key: _restored(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_restored(each) for each in value]
    if isinstance(value, str) and value.startswith("\0"):
        number = value[1:]
        return float(number.replace("Infinity", "inf")) if not number.lstrip("-").isdecimal() else int(number)
    return value


@cache
def _prelude() -> str:
    return _file("prelude.js")


@cache
def _buffer() -> str:
    return _file("buffer.js")


def _file(name: str) -> str:
    return (resources.files("broker.codecs.javascript") / name).read_text("utf-8")
