"""An AST of q as text again, for names that expand to themselves behind `VOCAB`."""

from __future__ import annotations

import orjson

from broker.query.ast import And, Comparison, Exists, Linked, Or, Path, Q, Range, Scalar

VOCAB = "https://example.org/"


def expand(term: str) -> str:
    return VOCAB + term


def format_q(q: Q) -> str:
    """The text that parses to `q`."""
    match q:
        case Exists(path):
            return format_path(path)
        case Comparison(path, sign, values):
            if sign in ("~=", "!~="):
                return f"{format_path(path)}{sign}" + '"' + str(values[0]).replace('"', '\\"') + '"'
            return f"{format_path(path)}{sign}{','.join(map(format_value, values))}"
        case And(terms):
            return ";".join(f"({format_q(term)})" if isinstance(term, And | Or) else format_q(term) for term in terms)
        case Or(terms):
            return "|".join(f"({format_q(term)})" if isinstance(term, Or) else format_q(term) for term in terms)
        case Linked():
            raise AssertionError("no test prints one")


def format_path(path: Path) -> str:
    text = ".".join(name.removeprefix(VOCAB) for name in (path.attribute, *path.subattributes))
    return f"{text}[{'.'.join(path.members)}]" if path.members else text


def format_value(value: Scalar | Range) -> str:
    if isinstance(value, Range):
        return f"{format_value(value.low)}..{format_value(value.high)}"
    return orjson.dumps(value).decode()
