"""Resources entities/{entityId}/attrs and entities/{entityId}/attrs/{attrId} (ETSI GS CIM 009 v1.9.1, 6.6 and 6.7)."""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import web

from broker.api.conditional import if_matching
from broker.api.context import read_document, request_context
from broker.api.ids import attribute_name, entity_id
from broker.api.parameters import options, parameters
from broker.api.problem import JSON
from broker.api.route import CONDITIONS, Route
from broker.api.services import Services
from broker.api.tenant import tenant_of
from broker.api.typed import of_type
from broker.entities.commands import (
    ChangeEntity,
    append_attributes,
    delete_attribute,
    partial_update,
    replace_attribute,
    update_attributes,
)
from broker.errors import BadRequestData
from broker.jsonio import dumps
from broker.ngsild.merge import Outcome
from broker.ngsild.names import Names, is_uri
from broker.ngsild.parse import Rules, parse_attribute, parse_fragment
from broker.query.builder import flag

ALL = "/ngsi-ld/v1/entities/{entity}/attrs"
ONE = "/ngsi-ld/v1/entities/{entity}/attrs/{attribute}"

APPEND = frozenset({"options", "type", "local"})
APPEND_OPTIONS = frozenset({"noOverwrite"})
UPDATE = frozenset({"type", "local"})
DELETE = frozenset({"datasetId", "deleteAll", "type", "local"})


def routes(services: Services) -> list[Route]:
    """Append, update, partial update, replace, delete."""
    limits = services.settings.limits
    rules = Rules(geometry_vertices=limits.geometry_vertices)

    def narrowed(command: ChangeEntity, given: Mapping[str, str], names: Names) -> ChangeEntity:
        if not given:
            return command
        flag(given, "local")
        return of_type(command, given.get("type"), names, limits)

    async def update(request: web.Request) -> web.Response:
        """Update Attributes (6.6.3.2, 5.6.2)."""
        tenant = await tenant_of(request, services)
        given = parameters(request, UPDATE)
        entity = entity_id(request)
        sent = await read_document(request, services)
        fragment = parse_fragment(sent.value, sent.names, rules, nulls="whole")
        command = narrowed(update_attributes(entity, fragment), given, sent.names)
        return _answer(await tenant.writer.execute(if_matching(request, entity, command)))

    async def append(request: web.Request) -> web.Response:
        """Append Attributes (6.6.3.1, 5.6.3)."""
        tenant = await tenant_of(request, services)
        given = parameters(request, APPEND)
        overwrite = "noOverwrite" not in options(given, APPEND_OPTIONS)
        entity = entity_id(request)
        sent = await read_document(request, services)
        fragment = parse_fragment(sent.value, sent.names, rules)
        command = narrowed(append_attributes(entity, fragment, overwrite=overwrite), given, sent.names)
        return _answer(await tenant.writer.execute(if_matching(request, entity, command)))

    async def partial(request: web.Request) -> web.Response:
        """Partial Attribute Update (6.7.3.1, 5.6.4)."""
        tenant = await tenant_of(request, services)
        given = parameters(request, UPDATE)
        entity = entity_id(request)
        sent = await read_document(request, services)
        name = attribute_name(request)
        instance = parse_attribute(name, sent.value, sent.names, rules)
        command = narrowed(partial_update(entity, sent.names.expand(name), instance), given, sent.names)
        await tenant.writer.execute(if_matching(request, entity, command))
        return web.Response(status=204)

    async def replace(request: web.Request) -> web.Response:
        """Replace Attribute (6.7.3.3, 5.6.19)."""
        tenant = await tenant_of(request, services)
        given = parameters(request, UPDATE)
        entity = entity_id(request)
        sent = await read_document(request, services)
        name = attribute_name(request)
        instance = parse_attribute(name, sent.value, sent.names, rules, whole=True)
        command = replace_attribute(entity, sent.names.expand(name), instance)
        await tenant.writer.execute(if_matching(request, entity, narrowed(command, given, sent.names)))
        return web.Response(status=204)

    async def delete(request: web.Request) -> web.Response:
        """Delete Attribute (6.7.3.2, 5.6.5)."""
        tenant = await tenant_of(request, services)
        given = parameters(request, DELETE)
        entity = entity_id(request)
        dataset = given.get("datasetId")
        if dataset is not None and dataset != "@none" and not is_uri(dataset):
            raise BadRequestData(f"The parameter 'datasetId' must be a URI, got '{dataset[:100]}'.")
        names = await request_context(request, services)
        command = delete_attribute(
            entity,
            names.expand(attribute_name(request)),
            dataset_id=dataset,
            delete_all=flag(given, "deleteAll"),
        )
        await tenant.writer.execute(if_matching(request, entity, narrowed(command, given, names)))
        return web.Response(status=204)

    return [
        Route(
            "PATCH",
            ALL,
            update,
            parameters=UPDATE,
            headers=CONDITIONS,
            body="EntityFragment",
            answers={204: "", 207: "UpdateResult"},
        ),
        Route(
            "POST",
            ALL,
            append,
            parameters=APPEND,
            options=APPEND_OPTIONS,
            headers=CONDITIONS,
            body="EntityFragment",
            answers={204: "", 207: "UpdateResult"},
        ),
        Route(
            "PATCH", ONE, partial, parameters=UPDATE, headers=CONDITIONS, body="AttributeFragment", answers={204: ""}
        ),
        Route("PUT", ONE, replace, parameters=UPDATE, headers=CONDITIONS, body="AttributeFragment", answers={204: ""}),
        Route("DELETE", ONE, delete, parameters=DELETE, headers=CONDITIONS, answers={204: ""}),
    ]


def _answer(outcome: Outcome) -> web.Response:
    """204 when all was done, else 207 with an UpdateResult (5.2.18), whose names are IRIs (6.3.6)."""
    if not outcome.not_updated:
        return web.Response(status=204)
    result = {
        "updated": list(outcome.attributes),
        "notUpdated": [{"attributeName": name, "reason": reason} for name, reason in outcome.not_updated],
    }
    return web.Response(status=207, body=dumps(result), content_type=JSON)
