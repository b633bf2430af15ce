"""LwM2M's registration: what a device says it has (CoRE link format, RFC 6690) and how it is called. Pure."""

from __future__ import annotations

import json
import re
from functools import cache
from importlib import resources
from typing import Final

from msgspec import Struct

from adapters.coap.reading import SENML_CBOR, SENML_JSON, TLV, device_of
from adapters.coap.tlv import Path
from adapters.members import NotUnderstood, shown

LINKS_MOST: Final = 500
"""Links of one registration, count."""
OBSERVED_MOST: Final = 64
"""Paths of one device that are observed, count."""
LIFETIME_SECONDS: Final = 86_400
"""Of a registration that does not say it (OMA LwM2M 1.1, 6.2.1)."""
LONGEST_LIFETIME: Final = 366 * 86_400
# What of the device itself is worth knowing: battery, signal, place. Whole objects would tell of their clocks, too.
_OF_DEVICE: Final = {3: ((9,), (7,)), 4: ((2,),), 6: ((),)}
# Names of endpoints that have a hardware id in them (OMA LwM2M 1.1, 7.3.1).
_NAMED = re.compile(r"urn:(?:dev:)?(imei|imei-imsi|imei-msisdn|mac|os|esn|meid|uuid|eui64):([^:]{1,64})", re.IGNORECASE)


class Links(Struct, frozen=True):
    """What a registration lists."""

    paths: tuple[Path, ...]
    """Objects and their instances."""
    formats: frozenset[int]
    """Content-Formats that the device says it has; empty: it does not say."""


def read_links(payload: bytes) -> Links:
    """The links of a registration. Raises NotUnderstood."""
    try:
        text = payload.decode()
    except UnicodeDecodeError:
        raise NotUnderstood("The links must be UTF-8.") from None
    paths: list[Path] = []
    formats: set[int] = set()
    for link in _apart(text, ","):
        target, *parameters = _apart(link, ";") or [""]
        if not (target.startswith("<") and target.endswith(">")) or "<" in target[1:]:
            raise NotUnderstood(f"A link must be such as </3303/0>, got {shown(target[:40])}.")
        if len(paths) == LINKS_MOST:
            raise NotUnderstood(f"At most {LINKS_MOST} links are taken.")
        for parameter in parameters:
            name, _, value = parameter.partition("=")
            if name == "ct":
                formats |= {int(one) for one in value.strip('"').split() if _is_number(one)}
        # Objects may stand below a root of the device's own (</lwm2m>;rt="oma.lwm2m"), which is no path of numbers.
        steps = target[1:-1].strip("/").split("/")
        if all(map(_is_number, steps)):
            paths.append(tuple(int(step) for step in steps[:2]))
    return Links(tuple(dict.fromkeys(paths)), frozenset(formats))


def _apart(text: str, at: str) -> list[str]:
    """The parts of `text` between one character, where that is not within quotes or angle brackets."""
    parts: list[str] = []
    start, closes = 0, ""
    for index, character in enumerate(text):
        if closes:
            closes = "" if character == closes else closes
        elif character in '"<':
            closes = '"' if character == '"' else ">"
        elif character == at:
            parts.append(text[start:index].strip())
            start = index + 1
    rest = text[start:].strip()
    return [*parts, rest] if rest or parts else []


def _is_number(step: str) -> bool:
    return step.isascii() and step.isdecimal() and len(step) <= 5


def device_of_endpoint(name: str) -> str:
    """The device that an endpoint's name means: its hardware id where that has one. Raises NotUnderstood."""
    found = _NAMED.fullmatch(name)
    if found is None:
        return device_of(name)
    return device_of(found[2].partition("-")[0] if found[1].lower().startswith("imei") else found[2])


def accept_of(links: Links, version: str) -> int:
    """The Content-Format to ask a device for: the shortest that it has, TLV of LwM2M 1.0, which has no other of ours."""
    for one in (SENML_CBOR, SENML_JSON, TLV):
        if one in links.formats:
            return one
    return TLV if version.startswith("1.0") else SENML_JSON


@cache
def _measuring() -> frozenset[int]:
    table = json.loads((resources.files("schemas") / "lwm2m.json").read_bytes())
    return frozenset(int(one) for one, known in table["objects"].items() if known.get("values"))


def worth_observing(links: Links) -> list[Path]:
    """The paths to observe: instances of objects that measure, and what of the device itself is worth knowing."""
    found: list[Path] = []
    for path in links.paths:
        if len(path) == 2 and path[0] in _OF_DEVICE:
            found += [(*path, *rest) for rest in _OF_DEVICE[path[0]]]
        elif len(path) == 2 and path[0] in _measuring():
            found.append(path)
    return found[:OBSERVED_MOST]


def lifetime_of(text: str | None) -> int:
    """A registration's lifetime, seconds. Raises NotUnderstood."""
    if text is None:
        return LIFETIME_SECONDS
    if not text.isascii() or not text.isdecimal() or len(text) > 10 or int(text) < 1:
        raise NotUnderstood(f"'lt' must be a lifetime in seconds, got {shown(text)}.")
    return min(int(text), LONGEST_LIFETIME)
