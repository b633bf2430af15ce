"""Small expressions over numbers: `(temperature - 32) / 1.8`. Pure; simpleeval evaluates, we say what it may meet.

    numbers, true, false, names; + - * / // % **, comparisons, and or not, a if b else c;
    abs ceil exp floor log log10 max min round sqrt

Limits hold before anything is evaluated: length, number of parts, depth, exponents. So an expression's cost is bounded
by its text, and there are no texts, lists, attributes, subscripts, loops or calls of anything else.
"""

from __future__ import annotations

import ast
import math
import operator
import warnings
from collections.abc import Callable, Mapping
from typing import Any

from simpleeval import SimpleEval

LONGEST = 300
"""Characters of an expression."""
PARTS = 100
"""Nodes of its syntax tree."""
DEEPEST = 20
"""Parts within parts."""
HIGHEST_POWER = 10

_FUNCTIONS: dict[str, tuple[Callable[..., float], int, int]] = {
    "abs": (abs, 1, 1),
    "ceil": (math.ceil, 1, 1),
    "exp": (math.exp, 1, 1),
    "floor": (math.floor, 1, 1),
    "log": (math.log, 1, 1),
    "log10": (math.log10, 1, 1),
    "max": (max, 2, 10),
    "min": (min, 2, 10),
    "round": (round, 1, 2),
    "sqrt": (math.sqrt, 1, 1),
}
"""With how many arguments each takes, at least and at most."""
_CONSTANTS = {"true": True, "false": False}
_OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: lambda base, exponent: _power(base, exponent),
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Not: operator.not_,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_ALLOWED = (
    ast.Expression,
    ast.BinOp,
    ast.UnaryOp,
    ast.BoolOp,
    ast.Compare,
    ast.IfExp,
    ast.Call,
    ast.Name,
    ast.Constant,
    ast.Load,
    ast.And,
    ast.Or,
    *_OPERATORS,
)


class FormulaError(ValueError):
    """The expression is not one of ours; the text says what is wrong with it."""


class Expression:
    """A checked expression, parsed once."""

    __slots__ = ("_evaluator", "_parsed", "names", "text")

    def __init__(self, text: str) -> None:
        """Raises FormulaError."""
        self.text = text
        tree = _tree(text)
        self._parsed = tree.body
        self._evaluator = SimpleEval(
            operators=_OPERATORS,
            functions={name: function for name, (function, _, _) in _FUNCTIONS.items()},
        )
        self.names = _names(tree)

    def value(self, values: Mapping[str, float | int | bool | str]) -> float | bool | None:
        """Its value, or None where there is none: a division by zero, a logarithm of a negative number, …"""
        self._evaluator.names = {**_CONSTANTS, **values}
        try:
            found = self._evaluator.eval(self.text, previously_parsed=self._parsed)
            if isinstance(found, bool):
                return found
            number = float(found)
        except (ArithmeticError, ValueError, TypeError):
            return None
        return number if math.isfinite(number) else None


def _tree(text: str) -> ast.Expression:
    # Before it is parsed: a parser's stack is not ours to limit.
    if not text.strip() or len(text) > LONGEST:
        raise FormulaError(f"it must have 1 to {LONGEST} characters, it has {len(text)}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise FormulaError(f"'{text}' is not an expression") from None
    if sum(1 for _ in ast.walk(tree)) > PARTS:
        raise FormulaError(f"it must have at most {PARTS} parts")
    _check(tree, 0)
    return tree


def _check(node: ast.AST, depth: int) -> None:
    if depth > DEEPEST:
        raise FormulaError(f"its parts must be at most {DEEPEST} deep")
    if not isinstance(node, _ALLOWED):
        raise FormulaError(f"{type(node).__name__} is not for expressions; {_WHAT}")
    if isinstance(node, ast.Constant) and type(node.value) not in (int, float, bool):
        raise FormulaError(f"{node.value!r:.40} is not a number")
    if isinstance(node, ast.Call):
        _check_call(node)
    for child in ast.iter_child_nodes(node):
        if not (isinstance(node, ast.Call) and child is node.func):
            _check(child, depth + 1)


_WHAT = "numbers, names, + - * / // % **, comparisons, and, or, not, if … else and functions are"


def _check_call(node: ast.Call) -> None:
    if not isinstance(node.func, ast.Name) or node.func.id not in _FUNCTIONS or node.keywords:
        raise FormulaError(f"functions are {', '.join(_FUNCTIONS)}")
    _, least, most = _FUNCTIONS[node.func.id]
    if not least <= len(node.args) <= most:
        takes = str(least) if least == most else f"{least} to {most}"
        raise FormulaError(f"'{node.func.id}' takes {takes} arguments")


def _names(tree: ast.Expression) -> frozenset[str]:
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    return frozenset(
        node.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and id(node) not in called and node.id not in _CONSTANTS
    )


def _power(base: float, exponent: float) -> float:
    if abs(exponent) > HIGHEST_POWER:
        raise OverflowError(f"powers are at most {HIGHEST_POWER}")
    made: float = float(base) ** exponent
    if isinstance(made, complex):
        raise ValueError("the power is not a real number")
    return made
