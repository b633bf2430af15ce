"""Writes the product's @contexts (`schemas/context/knutpunkt-*.jsonld`) from the tables: `python -m tests.docs.context`.

The IRIs of the Smart Data Models are those that `pysmartdatamodels` has.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from broker.codecs.quantities import quantity_names
from broker.devices.defaults import default_attribute, entity_models
from broker.devices.published import Published, installed, iri_of
from broker.jsonld.core import core_definitions
from broker.jsonld.own import PUBLISHED
from broker.ngsild.model import DEFAULT_VOCAB

FOLDER = Path(__file__).parents[2] / "schemas" / "context"
OWN_BASE = "urn:knutpunkt:v1:"
"""Of what the Smart Data Models lack."""

WRITTEN = (
    *("observedBy", "implausible", "takenFrom"),
    *("containedInPlace", "isSpaceOfBuilding", "refPointOfInterest"),
    *("Device", "controlledAsset", "name", "modelName", "brandName", "category", "controlledProperty"),
    *("refDeviceModel", "supportedProtocol", "DeviceModel", "manufacturerName"),
    *("Alert", "alertSource", "alarmState", "subCategory", "severity", "dateIssued", "validFrom", "validTo"),
    *("acknowledgedBy", "comment", "closedBecause", "refDevice"),
)
"""What the broker itself writes, whichever @context a virtual sensor was defined with: of one IRI, the stored one."""
PLACES = ("Building", "BuildingSpace", "Room")
"""Types that the broker knows by their stored IRI."""


def names() -> Iterator[str]:
    """All types and attributes that the tables and the broker use."""
    yield from WRITTEN
    for name, entity in entity_models().items():
        yield name
        yield from (one for one in (entity.observed, entity.observed_from, entity.device) if one)
        yield from (mapped.attribute for mapped in entity.quantities.values())
    for name in quantity_names():
        attribute = default_attribute(name)
        if attribute is not None:
            yield attribute


def documents() -> dict[str, dict[str, Any]]:
    """What each file has to say, by its name."""
    core = core_definitions()
    used = [name for name in dict.fromkeys(names()) if name not in core]
    stored = {name: DEFAULT_VOCAB + name for name in used}
    models = installed(*entity_models())
    meant: dict[str, str] = {}
    for name, entity in entity_models().items():
        meant[name] = iri_of(name, entity.subject) if entity.subject else OWN_BASE + name
    for name, entity in entity_models().items():
        if entity.subject:
            _add_attributes(meant, models, entity.subject, name, core)
    meant |= {name: OWN_BASE + name for name in used if name not in meant}
    meant |= {name: stored[name] for name in (*WRITTEN, *PLACES)}
    return {PUBLISHED[0]: _document(stored), PUBLISHED[1]: _document(meant)}


def _add_attributes(meant: dict[str, str], models: Published, subject: str, name: str, core: dict[str, Any]) -> None:
    """The first type's IRI stands: the models have several for one name, and NGSI-LD has no scoped contexts (5.5.7)."""
    for attribute, row in models.attributes(subject, name).items():
        if (
            row.context.startswith("https://smartdatamodels.org/")
            and attribute not in core
            and attribute.isidentifier()
        ):
            meant.setdefault(attribute, row.context)


def _document(terms: dict[str, str]) -> dict[str, Any]:
    return {"@context": {name: terms[name] for name in sorted(terms)}}


def text(document: dict[str, Any]) -> str:
    """A file's text."""
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for name, document in documents().items():
        (FOLDER / f"{name}.jsonld").write_text(text(document), encoding="utf-8")
