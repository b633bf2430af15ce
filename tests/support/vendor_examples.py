"""Reads The Things Network's device repository (`vendor/*/*-codec.yaml`) and holds our codecs against its examples.

`python -m tests.support.vendor_examples CHECKOUT` prints the table of docs/codecs-own.md.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from broker.clock import SECOND
from broker.codecs.base import CodecError, Value
from broker.codecs.registry import codec, codec_names
from tests.support.vendor_fields import CODECS, FIELDS, WORDS

AT = 1_750_000_000 * SECOND
_NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?")


@dataclass(frozen=True)
class Example:
    """One published example of a model that we have a codec for."""

    vendor: str
    model: str
    codec: str
    f_port: int
    payload: bytes
    expected: dict[str, Value] | None
    """'quantity/channel' -> value, of what the vendor gives and we take; None: the vendor's codec refuses it."""
    unmapped: tuple[str, ...] = ()


@dataclass
class Result:
    """How our codec did."""

    example: Example
    found: dict[str, Value] | str
    """What it gave, or why it refused."""
    different: list[str] = field(default_factory=list)

    @property
    def identical(self) -> bool:
        """Whether all that the vendor gives and we take is the same."""
        return not self.different


def examples(root: Path, vendor: str) -> Iterator[Example]:
    """Those of the models that `CODECS` has."""
    for file in sorted((root / "vendor" / vendor).glob("*-codec.yaml")):
        model = file.name.removesuffix("-codec.yaml")
        name = CODECS[vendor].get(model) or CODECS[vendor].get("*", "")
        if not name or name.format(model) not in codec_names():
            continue
        described = yaml.safe_load(file.read_text(encoding="utf-8")).get("uplinkDecoder") or {}
        for one in described.get("examples") or []:
            payload = bytes(byte & 0xFF for byte in one["input"]["bytes"])
            output = one.get("output") or {}
            expected, unmapped = _expected(vendor, model, output.get("data"))
            yield Example(
                vendor, model, name.format(model), one["input"].get("fPort", 1), payload,
                None if output.get("errors") else expected, unmapped,
            )  # fmt: skip


def tried(root: Path, vendor: str) -> int:
    """How many examples the repository has of the vendor."""
    count = 0
    for file in (root / "vendor" / vendor).glob("*-codec.yaml"):
        described = yaml.safe_load(file.read_text(encoding="utf-8")).get("uplinkDecoder") or {}
        count += len(described.get("examples") or [])
    return count


def _expected(vendor: str, model: str, data: Any) -> tuple[dict[str, Value], tuple[str, ...]]:
    found: dict[str, Value] = {}
    unmapped: list[str] = []
    if not isinstance(data, dict) or "Cmd" in data:  # an answer to a setting
        return found, ()
    for name, raw in data.items():
        key = f"{model}:{name}" if f"{model}:{name}" in FIELDS[vendor] else str(name)
        if key not in FIELDS[vendor]:
            unmapped.append(key)
            continue
        target = FIELDS[vendor][key]
        value = _plain(raw)
        if target is None or value is None:
            continue
        quantity, factor = target
        found[quantity] = value * factor if factor != 1 and not isinstance(value, (bool, str)) else value
    return found, tuple(unmapped)


def _plain(raw: Any) -> Value | None:
    if isinstance(raw, dict):
        return _plain(raw.get("value"))
    if isinstance(raw, str):
        if raw in WORDS:
            return WORDS[raw]
        number = _NUMBER.match(raw)
        return float(number.group()) if number else None
    return raw if isinstance(raw, (bool, int, float)) else None


def check(example: Example) -> Result:
    """Our codec on the example."""
    try:
        measured = codec(example.codec).decode(example.payload, example.f_port, AT)
    except CodecError as error:
        return Result(example, str(error), [] if example.expected is None else [f"refused: {error}"])
    found: dict[str, Value] = {}
    for one in measured:
        found[f"{one.quantity}/{one.channel}" if one.channel else one.quantity] = one.value
    result = Result(example, found, [f"not mapped: {name}" for name in example.unmapped])
    if example.expected is None:
        if found:
            result.different.append("the vendor refuses it, we do not")
        return result
    for name, value in example.expected.items():
        if name not in found:
            result.different.append(f"{name}: {value} is missing")
        elif not same(found[name], value):
            result.different.append(f"{name}: {found[name]}, the vendor has {value}")
    return result


def same(ours: Value, theirs: Value) -> bool:
    """Equal, but for how a double is printed and for what the vendor rounds (to seven digits or to millionths)."""
    if isinstance(ours, str) or isinstance(theirs, str):
        return ours == theirs
    return math.isclose(ours, theirs, rel_tol=1e-7, abs_tol=1e-6)


def table(root: Path) -> Iterator[str]:
    """A line a vendor: examples published, of models that we have, the same, those of them with measurements, different."""
    for vendor in CODECS:
        results = [check(example) for example in examples(root, vendor)]
        alike = [result for result in results if result.identical]
        measured = sum(bool(result.example.expected) for result in alike)
        counts = (tried(root, vendor), len(results), len(alike), measured, len(results) - len(alike))
        yield f"| {vendor} | {' | '.join(map(str, counts))} |"


if __name__ == "__main__":
    sys.stdout.write("\n".join(table(Path(sys.argv[1]))) + "\n")
