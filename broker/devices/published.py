"""The published Smart Data Models, as the installed package `pysmartdatamodels` has them, or a folder with checkouts of
their repositories. Nothing is fetched, and none of the package's code is run.

The package has of each attribute its JSON type, format, enumeration, kind of NGSI-LD attribute and unit, and of each type
what it requires; not the limits of numbers, which only the repositories' JSON Schemas have.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata, util
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

PACKAGE: Final = "pysmartdatamodels"
EXTRA: Final = "smart-data-models"
_BASE: Final = "https://smartdatamodels.org/"
_PUBLISHED_AT: Final = (
    "https://smart-data-models.github.io/",
    "https://smart-data-models.github.com/",
    "https://raw.githubusercontent.com/smart-data-models/",
)
_SIMPLE: Final = frozenset({"string", "number", "integer", "boolean", "array", "object"})
_INSIDE: Final = frozenset({"id", "type", "bbox", "coordinates"})
"""Of every entity, or of a geometry: looked at in another way."""


class Row(Struct, frozen=True):
    """One attribute of a type, as the package lists it."""

    name: str = msgspec.field(name="property")
    model: str = msgspec.field(name="dataModel")
    subject: str = msgspec.field(name="repoName")
    context: str = ""
    """Its IRI."""
    json_type: Any = msgspec.field(name="type", default=None)
    kind: str | None = msgspec.field(name="typeNGSI", default=None)
    """Property, Relationship or GeoProperty."""
    format: str | None = None
    enum: Any = None
    units: str | None = None
    """In words; few say it."""
    parent: str | None = msgspec.field(name="parentId", default=None)
    description: str = ""


class _Model(Struct, frozen=True):
    subject: str
    name: str = msgspec.field(name="dataModel")
    version: str = ""
    required: tuple[str, ...] | None = None


class MissingPackage(Exception):
    """The package is not installed, or is not what it was."""


@dataclass(frozen=True, slots=True)
class Published:
    """What the package says."""

    version: str
    models: Mapping[tuple[str, str], _Model]
    rows: Mapping[tuple[str, str], Mapping[str, Row]]
    """Of the types that were asked for."""

    def subjects(self, name: str) -> list[str]:
        """Where there is a type of that name."""
        return sorted(subject for subject, model in self.models if model == name)

    def attributes(self, subject: str, name: str) -> Mapping[str, Row]:
        """The attributes of a type, by name; empty when it was not asked for."""
        return self.rows.get((subject, name), {})

    def model_version(self, subject: str, name: str) -> str:
        """The version of a type."""
        return self.models[subject, name].version

    def schema(self, subject: str, name: str) -> dict[str, Any]:
        """The JSON Schema of a type's simplified representation, as far as the package tells."""
        return {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": {row.name: _schema(row) for row in self.attributes(subject, name).values()},
            "required": list(self.models[subject, name].required or ("id", "type")),
        }


@lru_cache(maxsize=2)
def installed(*names: str) -> Published:
    """The package's models, with the attributes of the types of these names; all when none is given: 200 MB meanwhile.

    Raises MissingPackage.
    """
    spec = util.find_spec(PACKAGE)  # does not run the package
    if spec is None or not spec.submodule_search_locations:
        raise MissingPackage(f"The package '{PACKAGE}' is not installed: pip install 'knutpunkt[{EXTRA}]'.")
    folder = Path(spec.submodule_search_locations[0]) / "model-assets"
    try:
        models = msgspec.json.decode((folder / "datamodels_metadata.json").read_bytes(), type=list[_Model])
        rows = msgspec.json.decode(gzip.decompress((folder / "smartdatamodels.json.gz").read_bytes()), type=list[Row])
    except (OSError, EOFError, msgspec.MsgspecError) as error:
        raise MissingPackage(f"The package '{PACKAGE}' is not as expected: {error}") from None
    return Published(metadata.version(PACKAGE), {(one.subject, one.name): one for one in models}, _by_type(rows, names))


def _by_type(rows: Iterable[Row], names: tuple[str, ...]) -> dict[tuple[str, str], dict[str, Row]]:
    made: dict[tuple[str, str], dict[str, Row]] = {}
    wanted = frozenset(names)
    for row in rows:
        if (not wanted or row.model in wanted) and row.parent is None and row.name not in _INSIDE:
            # Members of objects in arrays stand among the attributes, before the attribute of that name if there is one.
            made.setdefault((row.subject, row.model), {})[row.name] = row
    return made


def _schema(row: Row) -> dict[str, Any]:
    made: dict[str, Any] = {}
    types = row.json_type if isinstance(row.json_type, list) else [row.json_type]
    if all(isinstance(one, str) and one in {*_SIMPLE, "null"} for one in types):
        made["type"] = types if len(types) > 1 else types[0]
    if isinstance(row.enum, list):
        made["enum"] = row.enum
    if row.format in ("date-time", "date", "time", "uri", "email", "idn-email"):
        made["format"] = row.format
    return made


def iri_of(name: str, subject: str) -> str:
    """The IRI that the models' own @context has for a type."""
    return f"{_BASE}{subject}/{name}"


# --- a folder of checkouts --------------------------------------------------------------------------------------------


def schema_file(folder: Path, subject: str, name: str) -> Path:
    """Where a checkout has the JSON Schema of a type."""
    return folder / subject / name / "schema.json"


def retriever(folder: Path) -> Callable[[str], Any]:
    """What a reference in such a schema names, from the folder. It raises LookupError for what is not there."""

    def retrieve(url: str) -> Any:
        plain = url.partition("#")[0]
        for base in _PUBLISHED_AT:
            if plain.startswith(base):
                path = (folder / plain.removeprefix(base).replace("/master/", "/", 1)).resolve()
                if path.is_relative_to(folder.resolve()) and path.is_file():
                    return msgspec.json.decode(path.read_bytes())
        raise LookupError(f"'{url}' is not in the folder {folder}.")

    return retrieve
