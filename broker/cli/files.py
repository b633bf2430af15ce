"""Files of the registry: YAML (several documents a file) and JSON, read strictly, written so that they can be read again.

YAML is read by fewer rules than YAML 1.1 has: only `true`, `false`, `null`, and numbers as JSON writes them are no texts.
So `no`, 2026-01-31, 0012 and 12e45678 stay what they look like; an id of digits alone stands in quotes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

ENDINGS: Final = (".yaml", ".yml", ".json")

MOST_PARTS: Final = 5_000_000
"""Values and names in one file, count: a hundred thousand devices have some two million."""


@dataclass(frozen=True, slots=True)
class Document:
    """One thing that a file describes."""

    file: Path
    number: int
    """In the file, from 1."""
    content: dict[str, Any]

    @property
    def where(self) -> str:
        """'city/devices.yaml:3'."""
        return f"{self.file}:{self.number}"


class Unreadable(Exception):
    """A file cannot be read; the text says which, where and why."""


def no_other_tags(loader: Any) -> None:
    """Take from a loader's class all that gives values which JSON has not: bytes, times, sets."""
    loader.yaml_constructors = {
        tag: constructor
        for tag, constructor in loader.yaml_constructors.items()
        if tag is None or tag.rpartition(":")[2] in ("bool", "null", "int", "float", "str", "map", "seq")
    }


class _Loader(yaml.CSafeLoader):  # type: ignore[misc]  # PyYAML ships no types
    """Safe (no objects), and by the rules above."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  (PyYAML's way to say it)


for tag, pattern, first in (
    ("bool", r"^(?:true|false)$", "tf"),
    ("null", r"^(?:null|~|)$", ["n", "~", ""]),
    ("int", r"^-?(?:0|[1-9][0-9]*)$", "-0123456789"),
    ("float", r"^-?(?:0|[1-9][0-9]*)\.[0-9]+(?:[eE][-+][0-9]+)?$", "-0123456789"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(pattern), list(first))


def _mapping(loader: Any, node: Any) -> dict[Any, Any]:
    made: dict[Any, Any] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, str):
            raise yaml.constructor.ConstructorError(None, None, f"the name {key!r} must be a text", key_node.start_mark)
        if key in made:
            raise yaml.constructor.ConstructorError(None, None, f"'{key}' is there twice", key_node.start_mark)
        made[key] = loader.construct_object(value_node, deep=True)
    return made


_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)
no_other_tags(_Loader)


def read_files(paths: Iterable[Path]) -> Iterator[Document]:
    """The documents of all files; of a folder, of all that lie in it, in order of their names. Raises Unreadable."""
    for path in paths:
        if path.is_dir():
            found = sorted(file for file in path.rglob("*") if file.suffix in ENDINGS and file.is_file())
            if not found:
                raise Unreadable(f"{path}: there is no file in it that ends with {', '.join(ENDINGS)}.")
        else:
            found = [path]
        for file in found:
            yield from _documents(file)


def _documents(file: Path) -> Iterator[Document]:
    number = 0
    for content in _read(file):
        if content is None:
            continue
        things = content if isinstance(content, list) else [content]
        for thing in things:
            number += 1
            if not isinstance(thing, dict):
                raise Unreadable(f"{file}:{number}: a document must be an object with 'kind'.")
            yield Document(file, number, thing)


def _read(file: Path) -> list[Any]:
    try:
        text = file.read_text("utf-8-sig")
    except OSError as error:
        raise Unreadable(f"{file}: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise Unreadable(f"{file}: it is not UTF-8.") from None
    try:
        if file.suffix == ".json":
            return [json.loads(text, object_pairs_hook=_object)]
        found = list(yaml.load_all(text, _Loader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}" if mark is not None else "somewhere"
        raise Unreadable(f"{file}: not valid YAML at {place}: {error.problem}.") from None
    except (yaml.YAMLError, LookupError) as error:  # LookupError: '!!bool maybe'
        raise Unreadable(f"{file}: not valid YAML: {error}.") from None
    except RecursionError:
        raise Unreadable(f"{file}: nested too deeply.") from None
    except ValueError as error:
        raise Unreadable(f"{file}: not valid JSON: {error}.") from None
    if not within(found, MOST_PARTS):
        raise Unreadable(f"{file}: it has more than {MOST_PARTS} parts, or its aliases have no end.")
    return found


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name, value in pairs:
        if name in made:
            raise ValueError(f"'{name}' is there twice")
        made[name] = value
    return made


def within(value: Any, most: int) -> bool:
    """Whether a value of YAML has at most `most` parts when it is written out: aliases can make it endless."""
    waiting = [value]
    for _ in range(most):
        if not waiting:
            return True
        each = waiting.pop()
        if isinstance(each, dict):
            waiting += [*each, *each.values()]
        elif isinstance(each, list):
            waiting += each
    return not waiting


def as_yaml(documents: Iterable[dict[str, Any]]) -> str:
    """The documents of one file."""
    made: str = yaml.dump_all(
        documents, Dumper=yaml.CSafeDumper, sort_keys=False, allow_unicode=True, explicit_start=True, width=120
    )
    return made
