"""The repository's files: vendors, their end devices, the codecs of those with examples. Pure, but for reading."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from broker.cli.files import no_other_tags, within
from broker.codecs.javascript.sandbox import MOST_SOURCE

REGION: Final = "EU863-870"
"""Its profile is taken where a device has several."""
_MOST_YAML: Final = 4 * 1024 * 1024
_MOST_PARTS: Final = 500_000
"""Values and names in one file, count."""
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}", re.ASCII)


class UnreadableFile(Exception):
    """A file of the repository is not as its schema says; the text names it."""


@dataclass(frozen=True, slots=True)
class Example:
    """What goes into a codec's function, and what its author says comes out."""

    routine: str
    """decodeUplink, encodeDownlink or decodeDownlink."""
    description: str
    given: dict[str, Any]
    expected: Any


@dataclass(frozen=True, slots=True)
class RepositoryCodec:
    """One `*-codec.yaml`: a script for each direction."""

    path: str
    """Below `vendor/`."""
    scripts: dict[str, str]
    """By routine, the name of its file beside it."""
    examples: list[Example]


@dataclass(frozen=True, slots=True)
class EndDevice:
    """One end device of a vendor."""

    vendor: str
    vendor_name: str
    id: str
    name: str
    sensors: list[str] = field(default_factory=list)
    codec: str | None = None
    """The id of its codec; None: the repository has none."""


class _Loader(yaml.CSafeLoader):  # type: ignore[misc]  # PyYAML ships no types
    """Safe (no objects), by the core schema of YAML 1.2, in which `on`, `no` and dates are texts."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  (PyYAML's way to say it)


for tag, pattern, first in (
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    ("null", r"^(?:null|Null|NULL|~|)$", ["n", "N", "~", ""]),
    ("int", r"^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$", "-+0123456789"),
    ("float", r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$", "-+.0123456789"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(pattern), list(first))


def _integer(loader: Any, node: Any) -> int:
    text = loader.construct_scalar(node)
    return int(text, 0) if text[:2] in ("0x", "0o") else int(text)


_Loader.add_constructor("tag:yaml.org,2002:int", _integer)
no_other_tags(_Loader)


def devices(root: Path, vendors: frozenset[str] = frozenset()) -> Iterator[EndDevice | UnreadableFile]:
    """The end devices in the order of the repository, of all vendors or of these."""
    index = _load(root, "vendor/index.yaml")
    for vendor in _list(index, "vendors", "vendor/index.yaml"):
        if not isinstance(vendor, dict):
            yield UnreadableFile(f"vendor/index.yaml: a vendor must be an object, got {str(vendor)[:100]!r}.")
            continue
        try:
            vendor_id = _name(vendor.get("id"))
        except UnreadableFile as error:
            yield error
            continue
        if (vendors and vendor_id not in vendors) or not (root / "vendor" / vendor_id / "index.yaml").is_file():
            continue
        try:
            path = f"vendor/{vendor_id}/index.yaml"
            listed = _list(_load(root, path), "endDevices", path)
        except UnreadableFile as error:
            yield error
            continue
        for device_id in listed:
            try:
                yield _device(root, vendor_id, str(vendor.get("name") or vendor_id), _name(device_id))
            except UnreadableFile as error:
                yield error


def codec(root: Path, vendor: str, codec_id: str) -> RepositoryCodec:
    """One codec of a vendor. Raises UnreadableFile."""
    path = f"vendor/{_name(vendor)}/{_name(codec_id)}.yaml"
    document = _load(root, path)
    scripts: dict[str, str] = {}
    examples: list[Example] = []
    for part, routine in (
        ("uplinkDecoder", "decodeUplink"),
        ("downlinkEncoder", "encodeDownlink"),
        ("downlinkDecoder", "decodeDownlink"),
    ):
        described = document.get(part)
        if not isinstance(described, dict) or not described.get("fileName"):
            continue
        scripts[routine] = str(described["fileName"])
        examples += [
            Example(routine, str(one.get("description") or ""), one["input"], one.get("output"))
            for one in _list(described, "examples", path)
            if isinstance(one, dict) and isinstance(one.get("input"), dict)
        ]
    return RepositoryCodec(path.removeprefix("vendor/"), scripts, examples)


def codecs(root: Path) -> Iterator[RepositoryCodec | UnreadableFile]:
    """Every `vendor/*/*-codec.yaml`, whether a device has it or not."""
    for file in sorted((root / "vendor").glob("*/*-codec.yaml")):
        try:
            yield codec(root, file.parent.name, file.stem)
        except UnreadableFile as error:
            yield error


def script(root: Path, vendor: str, file_name: str) -> str:
    """The source of a script. Raises UnreadableFile."""
    path = f"vendor/{vendor}/{file_name}"
    text = _text(root, path, 4 * MOST_SOURCE)
    if len(text) > MOST_SOURCE:
        raise UnreadableFile(f"{path}: it has {len(text)} characters; {MOST_SOURCE} are the most.")
    return text


def _device(root: Path, vendor: str, vendor_name: str, device_id: str) -> EndDevice:
    path = f"vendor/{vendor}/{device_id}.yaml"
    document = _load(root, path)
    found: str | None = None
    for version in reversed(_list(document, "firmwareVersions", path)):  # the newest stands last
        profiles = version.get("profiles") if isinstance(version, dict) else None
        if not isinstance(profiles, dict):
            continue
        for region in sorted(profiles, key=lambda name: name != REGION):
            named = profiles[region].get("codec") if isinstance(profiles[region], dict) else None
            found = found or (str(named) if named else None)
    return EndDevice(
        vendor,
        vendor_name,
        device_id,
        str(document.get("name") or device_id),
        [str(one) for one in _list(document, "sensors", path)],
        found,
    )


def _list(document: dict[str, Any], member: str, path: str) -> list[Any]:
    found = document.get(member) or []
    if not isinstance(found, list):
        raise UnreadableFile(f"{path}: '{member}' must be a list.")
    return found


def _name(value: object) -> str:
    """Names of the repository become paths: nothing else may stand in them."""
    if not isinstance(value, str) or _NAME.fullmatch(value) is None:
        raise UnreadableFile(f"{str(value)[:100]!r} is no name of a file in the repository.")
    return value


def _load(root: Path, path: str) -> dict[str, Any]:
    text = _text(root, path, _MOST_YAML)
    try:
        document = yaml.load(text, _Loader)  # noqa: S506  (a safe loader)
    except (yaml.YAMLError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise UnreadableFile(f"{path}: not valid YAML: {str(error)[:200]}") from None
    if not isinstance(document, dict):
        raise UnreadableFile(f"{path}: it must be an object.")
    if not within(document, _MOST_PARTS):
        raise UnreadableFile(f"{path}: it has more than {_MOST_PARTS} parts, or its aliases have no end.")
    return document


def _text(root: Path, path: str, most: int) -> str:
    file = (root / path).resolve()
    if not file.is_relative_to(root.resolve()):
        raise UnreadableFile(f"{path}: it lies outside of the checkout.")
    try:
        if file.stat().st_size > most:
            raise UnreadableFile(f"{path}: it has more than {most} bytes.")
        return file.read_text("utf-8-sig")
    except OSError as error:
        raise UnreadableFile(f"{path}: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise UnreadableFile(f"{path}: it is not UTF-8.") from None
