from __future__ import annotations

import pytest

from broker.errors import BadRequestData
from broker.jsonld.core import CORE_URL, is_core_url
from tests.unit.jsonld.contexts import CORE, context

ROOM = {
    "ex": "https://example.org/ns/",
    "temp": "ex:temperature",
    "location": "ex:whereabouts",
    "name": {"@id": "https://schema.org/name"},
    "inBuilding": {"@id": "ex:inBuilding", "@type": "@id"},
}


def test_a_term_of_the_users_context_expands_and_compacts() -> None:
    room = context(ROOM)
    assert room.expand("temp") == "https://example.org/ns/temperature"
    assert room.compact("https://example.org/ns/temperature") == "temp"
    assert room.expand("inBuilding") == "https://example.org/ns/inBuilding"


def test_a_term_that_no_context_has_goes_to_the_default_vocabulary() -> None:
    assert CORE.expand("temperature") == "https://uri.etsi.org/ngsi-ld/default-context/temperature"
    assert CORE.compact("https://uri.etsi.org/ngsi-ld/default-context/temperature") == "temperature"


def test_the_core_context_cannot_be_overridden() -> None:
    room = context(ROOM)
    assert room.expand("location") == "https://uri.etsi.org/ngsi-ld/location"
    assert room.compact("https://uri.etsi.org/ngsi-ld/location") == "location"
    # What the user meant by the term is still reachable by its compact IRI.
    assert room.compact("https://example.org/ns/whereabouts") == "ex:whereabouts"


def test_the_core_vocabulary_wins_over_the_users() -> None:
    mine = context({"@vocab": "https://example.org/v#", "known": {}})
    assert mine.expand("unknown") == "https://uri.etsi.org/ngsi-ld/default-context/unknown"
    assert mine.expand("known") == "https://example.org/v#known"


def test_compact_iris_and_iris_expand() -> None:
    room = context(ROOM)
    assert room.expand("ex:humidity") == "https://example.org/ns/humidity"
    assert room.expand("https://other.example/x") == "https://other.example/x"
    assert room.compact("https://other.example/x") == "https://other.example/x"


def test_an_iri_in_the_default_vocabulary_whose_name_means_something_else_is_a_compact_iri() -> None:
    iri = "https://uri.etsi.org/ngsi-ld/default-context/temp"
    assert context(ROOM).compact(iri) == "ngsi-ld:default-context/temp"
    assert CORE.compact(iri) == "temp"


def test_the_shortest_term_is_chosen() -> None:
    two = context({"temperature": "https://example.org/t", "temp": "https://example.org/t"})
    assert two.compact("https://example.org/t") == "temp"


def test_swedish_names_are_names() -> None:
    assert CORE.compact(CORE.expand("flödeÖver2")) == "flödeÖver2"


@pytest.mark.parametrize("name", ["", "a b", "2nd", "a-b", "_x", "a.b", "<x>", "a\n", "@type", "http://a b"])
def test_invalid_names_are_refused(name: str) -> None:
    with pytest.raises(BadRequestData, match="is not valid"):
        CORE.expand(name)


def test_vocabulary_values_may_be_any_text() -> None:
    room = context(ROOM)
    for text in ("nonUrban area", "a-b", "temp", "ex:x", "urn:x:y", "type", "2", "å: ä"):
        assert room.compact(room.expand_value(text)) == text
    assert room.expand_value("temp") == "https://example.org/ns/temperature"


def test_a_body_gets_the_users_context_and_the_core() -> None:
    assert context({"a": "https://a.example/"}).value == [{"a": "https://a.example/"}, CORE_URL]
    assert CORE.value == CORE_URL
    assert CORE.url == CORE_URL
    assert context({"a": "https://a.example/"}).url is None


@pytest.mark.parametrize("version", ["", "-v1.3", "-v1.4", "-v1.5", "-v1.6", "-v1.7", "-v1.8", "-v1.9"])
def test_every_version_of_the_core_context_is_known(version: str) -> None:
    assert is_core_url(f"https://uri.etsi.org/ngsi-ld/v1/ngsi-ld-core-context{version}.jsonld")


def test_a_context_that_is_no_json_ld_is_refused_with_the_reason() -> None:
    with pytest.raises(BadRequestData, match="not valid JSON-LD"):
        context({"a": 17})
    with pytest.raises(BadRequestData, match="not valid JSON-LD"):
        context({"a": {"@id": "b:c", "@type": 5}})


def test_made_up_names_do_not_fill_the_memory() -> None:
    mine = context(ROOM)
    for number in range(45_000):
        mine.expand(f"n{number}")
    assert mine.expand("temp") == "https://example.org/ns/temperature"
    assert len(mine._expanded) < 25_000
