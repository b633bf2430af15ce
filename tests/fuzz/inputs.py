"""What goes in: anything, and what was recorded with something wrong in it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

NAMES: Final = [
    *("__proto__", "constructor", "prototype", "toString", "hasOwnProperty", "__class__", "__dict__", "$where", "$ne"),
    *(
        "",
        " ",
        ".",
        "..",
        "a.b",
        "a/b",
        "../../etc/passwd",
        "%2e%2e",
        "%s%n",
        "{0}",
        "${x}",
        "#",
        "+",
        "$SYS",
        "a\x00b",
    ),
    *(
        "'; DROP TABLE entities; --",
        "<script>alert(1)</script>",
        "=1+1",
        "@context",
        "@type",
        "id",
        "type",
        "value",
        "-",
    ),
    *(
        "\u202e",
        "\ufeff",
        "\u0000",
        "a\nb",
        "a\r\nb: c",
        "å" * 40,
        "𝄞",
        "x" * 300,
        "NaN",
        "Infinity",
        "1e400",
        "urn:x:1",
    ),
]
"""Hostile, odd and reserved ones."""
NUMBERS: Final[list[int | float]] = [
    *(0, -0.0, 1, -1, 255, 256, 65536, 2**31, -(2**31), 2**53 + 1, 2**63 - 1, 2**63, -(2**63) - 1, 2**64, 10**30),
    *(0.1, 1e-320, 1e308, -1e308, 3.4e38, 1e15, 1e17, 253402300800, 253402300800000, 62135596800, -62135596801),
]
TIMES: Final = [
    *("2026-03-02T08:15:42Z", "2026-03-02T08:15:42.120334+02:00", "0000-01-01T00:00:00Z", "0001-01-01T00:00:00+23:59"),
    *("9999-12-31T23:59:59.999999999Z", "9999-12-31T23:59:59-23:59", "2026-02-30T00:00:00Z", "1970-01-01T00:00:00Z"),
    *("2026-03-02", "08:15:42Z", "2026-03-02T24:00:00Z", "2026-03-02T08:15:60Z", "２026-03-02T08:15:42Z", "now", "-1"),
]
numbers = st.sampled_from(NUMBERS) | st.integers(-(2**70), 2**70) | st.floats()
finite = st.sampled_from(NUMBERS) | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False)
texts = st.sampled_from(NAMES) | st.sampled_from(TIMES) | st.text(st.characters(codec="utf-8"), max_size=30)
any_texts = texts | st.text(max_size=30)
"""Also with half surrogate pairs, as JSON's escapes can have them."""
values: SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | numbers | any_texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=10,
)
"""Any value of JSON, and NaN and infinities."""

_BYTES: Final = st.tuples(
    st.sampled_from(["set", "insert", "delete", "double", "cut", "bit"]), st.integers(0, 4000), st.integers(0, 255)
)


def edited(seeds: Sequence[bytes]) -> SearchStrategy[bytes]:
    """One of `seeds` with up to six edits, two of them joined, or any bytes."""
    one = st.sampled_from(list(seeds))
    return st.one_of(
        st.builds(_edited, one, st.lists(_BYTES, max_size=6)),
        st.builds(lambda first, then, at: first[:at] + then[at // 2 :], one, one, st.integers(0, 300)),
        st.binary(max_size=200),
    )


def _edited(seed: bytes, edits: list[tuple[str, int, int]]) -> bytes:
    data = bytearray(seed)
    for what, where, value in edits:
        at = where % (len(data) + 1)
        if what == "insert" or not data:
            data.insert(at, value)
        elif what == "set":
            data[at % len(data)] = value
        elif what == "bit":
            data[at % len(data)] ^= 1 << value % 8
        elif what == "delete":
            del data[at : at + 1 + value % 4]
        elif what == "double":
            data[at:at] = data[at : at + 1 + value % 32] * (1 + value % 5)
        else:
            del data[at:]
    return bytes(data)


def edited_text(seeds: Sequence[str], pieces: Sequence[str]) -> SearchStrategy[str]:
    """One of `seeds` with up to five edits, in which `pieces` (words of the grammar) stand too; or pieces alone."""
    piece = st.sampled_from(list(pieces)) | texts
    edit = st.tuples(st.integers(0, 4000), st.integers(0, 6), piece)
    return st.one_of(
        st.builds(_edited_text, st.sampled_from(list(seeds)), st.lists(edit, max_size=5)),
        st.lists(piece, max_size=12).map("".join),
    )


def _edited_text(seed: str, edits: list[tuple[int, int, str]]) -> str:
    for where, gone, piece in edits:
        at = where % (len(seed) + 1)
        seed = seed[:at] + piece + seed[at + gone :]
    return seed


def edited_json(seeds: Sequence[bytes]) -> SearchStrategy[bytes]:
    """One of these JSON texts with up to three of its members replaced, removed or renamed, or moved deeper."""
    documents = [(seed, _places(json.loads(seed))) for seed in seeds]

    @st.composite
    def changed(draw: st.DrawFn) -> bytes:
        seed, places = draw(st.sampled_from(documents))
        document = json.loads(seed)
        for _ in range(draw(st.integers(0, 3))):
            what = draw(st.sampled_from(["set", "set", "set", "remove", "rename", "more", "deep"]))
            place = draw(st.sampled_from(places)) if places else ()
            document = _changed(document, place, what, draw(values) if what in ("set", "more") else draw(texts))
        return json.dumps(document).encode()

    return changed()


def _places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(place for name, member in inner for place in _places(member, (*at, name)))]


def _changed(document: Any, place: tuple[Any, ...], what: str, value: Any) -> Any:
    if not place:
        return [document] if what == "deep" else document if what in ("rename", "remove", "more") else value
    inner = document
    for step in place[:-1]:
        try:
            inner = inner[step]
        except (KeyError, IndexError, TypeError):  # an earlier edit has taken it away
            return document
    last = place[-1]
    if not (isinstance(inner, dict) and last in inner) and not (isinstance(inner, list) and isinstance(last, int)):
        return document
    if isinstance(inner, list):
        if last < len(inner):
            inner[last] = value
    elif what == "remove":
        del inner[last]
    elif what == "rename":
        inner[value] = inner.pop(last)
    elif what == "more":
        inner["__proto__"] = value
    elif what == "deep":
        for _ in range(40):
            inner[last] = [inner[last]]
    else:
        inner[last] = value
    return document
