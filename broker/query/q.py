"""The parser of q: text to AST. Source: ETSI GS CIM 009 v1.9.1, 4.9.

    Query     = Conj *("|" Conj)                     ; ';' binds tighter than '|'
    Conj      = Factor *(";" Factor)
    Factor    = "(" Query ")" / Term                 ; nested as in the clause's example 6
    Term      = Path                                 ; there is such a value
              / Path ("==" / "!=") Item *("," Item)  ; any of the values; none of them
              / Path (">" / ">=" / "<" / "<=") Comparable
              / Path ("~=" / "!~=") Pattern
    Path      = *(Name "{" [ Type *("," Type) ":" ]) Names *("}")   ; as many "}" as "{"
    Names     = Name *("." Name) [ "[" Member *("." Member) "]" ]
    Item      = Value / Comparable ".." Comparable
    Value     = Comparable / "true" / "false" / URI
    Comparable= Number / String / DateTime / Date / Time
    Name      = letter *(letter / number / "_" / "-" / ":")   ; ':' for compact IRIs
    Member    = 1*(any character but . [ ])          ; of a JSON object, a language, or '*'
    String    = a JSON string
    Pattern   = '"' *char '"'                        ; \\" is a quote, any other backslash is the expression's own
              / up to the next ";", "|" or ")" that stands outside the expression's own (…) and […]

A URI ends at the next ';', '|', ',' or unpaired ')': one that has these inside must stand in quotes. The entity's own
createdAt, modifiedAt and expiresAt stand alone and unexpanded, as do the instance members that end a path.
`a{b}` speaks of the entities that the relationship a points to; only who can look them up (`linked`) is given it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import Final, cast

import orjson

from broker.config import Limits
from broker.errors import BadRequestData, TooComplexQuery
from broker.ngsild.model import Iri
from broker.query.ast import And, Comparison, Exists, Linked, Operator, Or, Path, Q, Range, Scalar
from broker.query.literals import comparable_literal, literal
from broker.query.pattern import check_pattern
from broker.query.targets import ENTITY_MEMBERS, INSTANCE_MEMBERS
from broker.query.values import comparable

DEEPEST: Final = 32
"""Parentheses within each other, levels: more than any person writes, far less than Python's stack."""

DEEPEST_LINK: Final = 8
"""Relationships followed one after the other."""

_NAME = re.compile(r"[^\W\d_][\w:-]*")
_LINK = re.compile(r"([^\W\d_][\w:-]*)\{")
_TYPES = re.compile(r"([^\W\d_]\w*(?:,[^\W\d_]\w*)*):")
_MEMBERS = re.compile(r"\[([^\[\]]*)\]")
_OPERATOR = re.compile(r"==|!=|>=|<=|!~=|~=|>|<")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_QUOTE = re.compile(r'\\(.)|"', re.DOTALL)


def parse_q(
    text: str,
    expand: Callable[[str], str],
    limits: Limits,
    *,
    expand_values: Collection[str] = (),
    linked: bool = False,
) -> Q:
    """`text` (already URL-decoded) as AST, with names expanded by `expand`.

    `expand_values` names attributes, as in `text`, whose values are terms to expand. (jsonKeys needs nothing here: members
    of values are never expanded.) Raises BadRequestData for what the grammar does not allow, with position and text, and
    TooComplexQuery for too long, too deep, or too many terms.
    """
    if len(text) > limits.query_characters:
        raise TooComplexQuery(
            f"'q' has {len(text)} characters; the limit (limits.query_characters) is {limits.query_characters}."
        )
    parser = _Parser(text, expand, limits, frozenset(expand_values), linked=linked)
    query = parser.query(0)
    if parser.at < len(text):
        raise parser.expected("an operator, ';', '|' or the end")
    return query


def parse_path(text: str, expand: Callable[[str], str], limits: Limits) -> Path:
    """`text` as the path of an attribute or of a value in it. Raises BadRequestData."""
    parser = _Parser(text, expand, limits, frozenset())
    _, path = parser.path()
    if parser.at < len(text):
        raise parser.expected("the end of a path")
    return path


class _Parser:
    """A position in the text; each method reads one production and moves it on."""

    def __init__(
        self,
        text: str,
        expand: Callable[[str], str],
        limits: Limits,
        expand_values: frozenset[str],
        *,
        linked: bool = False,
    ) -> None:
        self.text = text
        self.at = 0
        self.terms = 0
        self.expand = expand
        self.limits = limits
        self.expand_values = expand_values
        self.linked = linked

    def expected(self, what: str, at: int | None = None) -> BadRequestData:
        where = self.at if at is None else at
        rest = self.text[where : where + 20]
        got = f"'{rest}'" if rest else "the end"
        return BadRequestData(f"'q' must have {what} at position {where + 1}, got {got}.")

    def take(self, token: str) -> bool:
        if self.text.startswith(token, self.at):
            self.at += len(token)
            return True
        return False

    def query(self, depth: int) -> Q:
        terms = [self.conjunction(depth)]
        while self.take("|"):
            terms.append(self.conjunction(depth))
        return terms[0] if len(terms) == 1 else Or(tuple(terms))

    def conjunction(self, depth: int) -> Q:
        terms = [self.factor(depth)]
        while self.take(";"):
            terms.append(self.factor(depth))
        return terms[0] if len(terms) == 1 else And(tuple(terms))

    def factor(self, depth: int) -> Q:
        if not self.take("("):
            return self.term()
        if depth == DEEPEST:
            raise TooComplexQuery(f"'q' has parentheses nested deeper than {DEEPEST} levels at position {self.at}.")
        inner = self.query(depth + 1)
        if not self.take(")"):
            raise self.expected("')'")
        return inner

    def term(self) -> Q:
        self.terms += 1
        if self.terms > self.limits.query_terms:
            raise TooComplexQuery(f"'q' has more than {self.limits.query_terms} terms (limits.query_terms).")
        links = self.links()
        name, path = self.path()
        for _ in links:
            if not self.take("}"):
                raise self.expected("'}'")
        term = self.tested(name, path)
        for relationship, types in reversed(links):
            term = Linked(relationship, types, term)
        return term

    def links(self) -> list[tuple[Iri, tuple[Iri, ...]]]:
        """The relationships that lead to the entity that the term is about, each with the types that it may have."""
        found: list[tuple[Iri, tuple[Iri, ...]]] = []
        while (link := _LINK.match(self.text, self.at)) is not None:
            if not self.linked:
                raise BadRequestData(
                    f"'q' asks for attributes of linked entities at position {self.at + 1}, which is not possible here."
                )
            if len(found) == DEEPEST_LINK:
                raise TooComplexQuery(f"'q' follows more than {DEEPEST_LINK} relationships at position {self.at + 1}.")
            self.at = link.end()
            hint = _TYPES.match(self.text, self.at)
            if hint is not None:
                self.at = hint.end()
            types = tuple(map(self.expand, hint[1].split(","))) if hint is not None else ()
            found.append((self.expand(link[1]), types))
        return found

    def tested(self, name: str, path: Path) -> Q:
        """What is asked of a path: that it is there, or a comparison."""
        found = _OPERATOR.match(self.text, self.at)
        if found is None:
            return Exists(path)
        self.at = found.end()
        sign = cast("Operator", found[0])
        values: tuple[Scalar | Range, ...]
        if sign in ("~=", "!~="):
            values = (self.pattern(),)
        elif sign in ("==", "!="):
            items = [self.item(name)]
            while self.take(","):
                items.append(self.item(name))
            values = tuple(items)
        else:
            values = (self.bound(),)
        return Comparison(path, sign, values)

    def path(self) -> tuple[str, Path]:
        names = [self.name()]
        while self.take("."):
            names.append(self.name())
        members: tuple[str, ...] = ()
        if self.text.startswith("[", self.at):
            found = _MEMBERS.match(self.text, self.at)
            members = tuple(found[1].split(".")) if found else ()
            if found is None or not all(members):
                raise self.expected("a path in brackets as in address[city]")
            self.at = found.end()
        if self.text.startswith("{", self.at):
            raise self.expected("the name of a relationship alone before '{'")
        first, last = names[0], names[-1]
        if len(names) == 1:
            own = first in ENTITY_MEMBERS and not members
            return first, Path(first if own else self.expand(first), (), members)
        ending = last if last in INSTANCE_MEMBERS else self.expand(last)
        return first, Path(self.expand(first), (*map(self.expand, names[1:-1]), ending), members)

    def name(self) -> str:
        found = _NAME.match(self.text, self.at)
        if found is None:
            raise self.expected("an attribute name (a letter, then letters, numbers and '_')")
        self.at = found.end()
        return found[0]

    def item(self, name: str) -> Scalar | Range:
        """One of the values of == and !=: a value or a range."""
        start = self.at
        if self.text.startswith('"', start):
            string = self.string()
            if self.take(".."):
                return self.range_of(string, self.bound(), start)
            return self.expand(string) if name in self.expand_values else string
        text = self.bare()
        low, dots, high = text.partition("..")
        if dots:
            least = self.number_checked(comparable_literal, low, start)
            if least is not None:
                if not high and self.text.startswith('"', self.at):
                    return self.range_of(least, self.string(), start)
                most = self.number_checked(comparable_literal, high, start)
                if most is not None:
                    return self.range_of(least, most, start)
        value = self.number_checked(literal, text, start)
        if name in self.expand_values and not isinstance(value, (bool, int, float)):
            return self.expand(text)
        if value is None:
            raise self.expected("a number, true, false, a date or time, a URI, or a string in double quotes", start)
        return value

    def range_of(self, low: Scalar, high: Scalar, start: int) -> Range:
        kinds = [found[0] for found in (comparable(low), comparable(high)) if found is not None]
        if kinds[0] != kinds[1]:
            raise self.expected("a range whose two ends are of one kind", start)
        return Range(low, high)

    def bound(self) -> Scalar:
        """What > >= < <= and ranges compare with."""
        start = self.at
        if self.text.startswith('"', start):
            return self.string()
        value = self.number_checked(comparable_literal, self.bare(), start)
        if value is None:
            raise self.expected("a number, a date or time, or a string in double quotes", start)
        return value

    def number_checked(self, read: Callable[[str], Scalar | None], text: str, start: int) -> Scalar | None:
        try:
            return read(text)
        except ValueError:
            raise self.expected("a number that a double holds", start) from None

    def bare(self) -> str:
        """The text of an unquoted value: up to ';', '|', ',', '"' or an unpaired ')'."""
        return self.until(';|,"')

    def until(self, ends: str, *, pattern: bool = False) -> str:
        start, depth, in_class = self.at, 0, False
        text = self.text
        while self.at < len(text):
            character = text[self.at]
            if pattern and character == "\\":
                self.at += 1
            elif in_class:
                in_class = character != "]" or text[self.at - 1] == "["
            elif pattern and character == "[":
                in_class = True
            elif character == "(":
                depth += 1
            elif character == ")":
                if depth == 0:
                    break
                depth -= 1
            elif character in ends and (depth == 0 or not pattern):
                break
            self.at += 1
        self.at = min(self.at, len(text))
        return text[start : self.at]

    def string(self) -> str:
        found = _STRING.match(self.text, self.at)
        if found is None:
            raise self.expected("a string that ends with a double quote")
        try:
            value: str = orjson.loads(found[0])
        except orjson.JSONDecodeError:
            raise self.expected("a string with the escapes JSON knows") from None
        self.at = found.end()
        return value

    def pattern(self) -> str:
        start = self.at
        quoted = _STRING.match(self.text, start)
        if quoted is not None:
            self.at = quoted.end()
            pattern = _QUOTE.sub(lambda found: '"' if found[1] == '"' else found[0], quoted[0][1:-1])
        else:
            pattern = self.until(";|", pattern=True)
        if not pattern:
            raise self.expected("a regular expression", start)
        check_pattern(pattern, "q", self.limits)
        return pattern
