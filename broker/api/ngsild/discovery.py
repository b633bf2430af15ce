"""Which entity types and attributes there are (ETSI GS CIM 009 v1.9.1, 5.7.5-5.7.10 and 6.25-6.28)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from operator import itemgetter
from typing import Any, Final

from aiohttp import web

from broker.api.answer import answer
from broker.api.context import request_context
from broker.api.negotiation import DATA, negotiate
from broker.api.parameters import parameters
from broker.api.route import Route
from broker.api.services import Services
from broker.api.tenant import tenant_of
from broker.errors import BadRequestData, ResourceNotFound
from broker.jsonld.context import Context
from broker.ngsild.model import Iri
from broker.ngsild.names import Names, is_name, is_uri
from broker.query.builder import flag
from broker.stores.base import AttributeInfo, TypeInfo

TYPES: Final = "/ngsi-ld/v1/types"
TYPE: Final = "/ngsi-ld/v1/types/{type}"
ATTRIBUTES: Final = "/ngsi-ld/v1/attributes"
ATTRIBUTE: Final = "/ngsi-ld/v1/attributes/{attribute}"

LIST: Final = frozenset({"details", "local"})
ONE: Final = frozenset({"local"})


def routes(services: Services) -> list[Route]:
    """Types and attributes: the lists, short or with details, and one of each."""

    async def types(request: web.Request) -> web.Response:
        """Retrieve Available Entity Types, with `details` their details (6.25.3.1, 5.7.5, 5.7.6)."""
        tenant = await tenant_of(request, services)
        names, media_type, given = await _asked(request, services, LIST)
        body: Any
        if flag(given, "details"):
            body = _by_name("typeName", (_entity_type(info, names) for info in await tenant.store.type_details()))
        else:
            listed = _compacted(await tenant.store.entity_types(), names)
            body = {"id": _list_id("EntityTypeList", services), "type": "EntityTypeList", "typeList": listed}
        return answer(request, body, names, media_type)

    async def one_type(request: web.Request) -> web.Response:
        """Retrieve Available Entity Type Information (6.26.3.1, 5.7.7)."""
        tenant = await tenant_of(request, services)
        names, media_type, _ = await _asked(request, services, ONE)
        name = request.match_info["type"]
        iri = _expanded(name, names, "entity type")
        found = await tenant.store.type_details(iri) if iri is not None else []
        if not found:
            raise ResourceNotFound(f"No entity has the type '{iri or name}'.")
        return answer(request, _entity_type_info(found[0], names), names, media_type)

    async def attributes(request: web.Request) -> web.Response:
        """Retrieve Available Attributes, with `details` their details (6.27.3.1, 5.7.8, 5.7.9)."""
        tenant = await tenant_of(request, services)
        names, media_type, given = await _asked(request, services, LIST)
        body: Any
        if flag(given, "details"):
            body = _by_name(
                "attributeName", (_attribute_in_list(info, names) for info in await tenant.store.attribute_details())
            )
        else:
            listed = _compacted(await tenant.store.attributes(), names)
            body = {"id": _list_id("AttributeList", services), "type": "AttributeList", "attributeList": listed}
        return answer(request, body, names, media_type)

    async def one_attribute(request: web.Request) -> web.Response:
        """Retrieve Available Attribute Information (6.28.3.1, 5.7.10)."""
        tenant = await tenant_of(request, services)
        names, media_type, _ = await _asked(request, services, ONE)
        name = request.match_info["attribute"]
        iri = _expanded(name, names, "attribute")
        found = await tenant.store.attribute_details(iri) if iri is not None else []
        if not found:
            raise ResourceNotFound(f"No entity has the attribute '{iri or name}'.")
        return answer(request, _attribute(found[0], names), names, media_type)

    return [
        Route("GET", TYPES, types, parameters=LIST, answers={200: "EntityTypes"}, media=DATA),
        Route("GET", TYPE, one_type, parameters=ONE, answers={200: "EntityTypeInfo"}, media=DATA),
        Route("GET", ATTRIBUTES, attributes, parameters=LIST, answers={200: "Attributes"}, media=DATA),
        Route("GET", ATTRIBUTE, one_attribute, parameters=ONE, answers={200: "AttributeInfo"}, media=DATA),
    ]


async def _asked(
    request: web.Request, services: Services, known: frozenset[str]
) -> tuple[Context, str, Mapping[str, str]]:
    """The @context, the media type and the parameters. `local` limits nothing: all that is known is this broker's."""
    media_type = negotiate(request.headers.get("Accept"), DATA)
    given = parameters(request, known)
    flag(given, "local")
    return await request_context(request, services), media_type, given


def _expanded(name: str, names: Names, what: str) -> Iri | None:
    """The IRI of a name in a path; None for one that can stand for nothing, such as 'id'. Raises BadRequestData (4.6.2)."""
    if not is_name(name) and not is_uri(name):
        raise BadRequestData(
            f"The name of an {what} must be a letter, then letters, digits and '_', or a URI; got '{name[:100]}'."
        )
    try:
        return names.expand(name)
    except BadRequestData:
        return None


def _list_id(kind: str, services: Services) -> str:
    return f"urn:ngsi-ld:{kind}:{services.clock.new_id()}"


def _compacted(iris: Iterable[Iri], names: Names) -> list[str]:
    return sorted(map(names.compact, iris))


def _by_name(name: str, items: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(items, key=itemgetter(name))


def _entity_type(info: TypeInfo, names: Names) -> dict[str, Any]:
    """EntityType (5.2.25)."""
    return {
        "id": info.type,
        "type": "EntityType",
        "typeName": names.compact(info.type),
        "attributeNames": _compacted(info.attributes, names),
    }


def _entity_type_info(info: TypeInfo, names: Names) -> dict[str, Any]:
    """EntityTypeInfo (5.2.26), whose attributes have only some of the members of 5.2.28."""
    return {
        "id": info.type,
        "type": "EntityTypeInfo",
        "typeName": names.compact(info.type),
        "entityCount": info.count,
        "attributeDetails": _by_name(
            "attributeName",
            (
                {
                    "id": attribute,
                    "type": "Attribute",
                    "attributeName": names.compact(attribute),
                    "attributeTypes": sorted(types),
                }
                for attribute, types in info.attributes.items()
            ),
        ),
    }


def _attribute_in_list(info: AttributeInfo, names: Names) -> dict[str, Any]:
    """Attribute (5.2.28), restricted as 5.7.9.4 says."""
    return {
        "id": info.attribute,
        "type": "Attribute",
        "attributeName": names.compact(info.attribute),
        "typeNames": _compacted(info.entity_types, names),
    }


def _attribute(info: AttributeInfo, names: Names) -> dict[str, Any]:
    """Attribute (5.2.28), whole."""
    return {
        **_attribute_in_list(info, names),
        "attributeCount": info.count,
        "attributeTypes": sorted(info.attribute_types),
    }
