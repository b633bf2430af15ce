"""The @contexts that the product publishes: what they say, and that no broker fetches them."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from broker.codecs.quantities import quantity_names
from broker.devices.defaults import default_attribute, entity_models
from broker.devices.published import PACKAGE
from broker.jsonld.core import CORE_URL, core_definitions
from broker.jsonld.own import PUBLISHED, published_name, published_terms
from broker.ngsild.model import DEFAULT_VOCAB
from tests.docs.context import WRITTEN, documents, names
from tests.unit.jsonld.contexts import Web

STORED, MEANT = PUBLISHED


def test_the_files_are_what_the_tables_say() -> None:
    if find_spec(PACKAGE) is None:
        pytest.skip("pysmartdatamodels is not installed")
    for name, document in documents().items():
        assert published_terms(name) == document["@context"], "run: .venv/bin/python -m tests.docs.context"


@pytest.mark.parametrize("context", PUBLISHED)
def test_every_name_in_use_is_a_term(context: str) -> None:
    terms, core = published_terms(context), core_definitions()
    assert {name for name in names() if name not in core} <= terms.keys()
    assert not terms.keys() & core.keys(), "the core's terms cannot be overridden"


def test_without_a_context_and_with_the_first_one_names_mean_the_same() -> None:
    assert all(iri == DEFAULT_VOCAB + name for name, iri in published_terms(STORED).items())


def test_the_second_one_says_the_models_iris_and_own_ones_for_what_they_lack() -> None:
    terms = published_terms(MEANT)
    assert terms["fillingLevel"] == "https://smartdatamodels.org/dataModel.WasteManagement/fillingLevel"
    assert terms["waterTemperature"] == "urn:knutpunkt:v1:waterTemperature"
    assert terms["Lifebuoy"] == "urn:knutpunkt:v1:Lifebuoy"
    for name in WRITTEN:
        assert terms.get(name, DEFAULT_VOCAB + name) == DEFAULT_VOCAB + name, "the broker writes it itself"
    assert len(set(terms.values())) == len(terms), "two names of one IRI could not be told apart"


@pytest.mark.parametrize("context", PUBLISHED)
async def test_no_network_is_asked_for_them_whatever_the_host(context: str) -> None:
    web = Web()
    resolver = web.resolver()
    for base in ("http://127.0.0.1:1026", "https://hub.example/behind/a/proxy", ""):
        url = f"{base}/context/{context}.jsonld"
        made = await resolver.resolve([url, CORE_URL])
        for name in entity_models():
            assert made.compact(made.expand(name)) == name
        for name in quantity_names():
            attribute = default_attribute(name)
            assert attribute is None or made.compact(made.expand(attribute)) == attribute
        assert made.expand("relativeHumidity") == published_terms(context)["relativeHumidity"]
    assert web.asked == []


@pytest.mark.parametrize(
    "url",
    [
        "https://a.example/context/v1.jsonld",
        "/context/knutpunkt-v2.jsonld",
        "https://a.example/knutpunkt-v1.jsonld",
        "https://a.example/?/context/knutpunkt-v1.jsonld",
        "ftp://a.example/context/knutpunkt-v1.jsonld",
    ],
)
def test_other_urls_are_not_taken_for_them(url: str) -> None:
    assert published_name(url) is None
