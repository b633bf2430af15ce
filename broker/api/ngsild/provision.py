"""Provision of whole entities: create, merge, replace, delete (ETSI GS CIM 009 v1.9.1, 5.6.1, 5.6.6, 5.6.17, 5.6.18)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from urllib.parse import quote

from aiohttp import web

from broker.api.conditional import if_matching
from broker.api.context import read_document, request_context
from broker.api.ids import entity_id
from broker.api.ngsild.entities import ALL, ONE
from broker.api.parameters import options, parameters
from broker.api.route import CONDITIONS, Route
from broker.api.services import Services
from broker.api.tenant import tenant_of
from broker.api.typed import of_type, type_check
from broker.entities.commands import CreateEntity, DeleteEntity, merge_entity, replace_entity
from broker.errors import BadRequestData, InvalidRequest
from broker.ngsild.fragment import Fragment
from broker.ngsild.language import parse_languages
from broker.ngsild.members import date_time
from broker.ngsild.parse import Rules, parse_entity, parse_fragment
from broker.query.builder import flag

CREATE = frozenset({"local"})
MERGE = frozenset({"format", "lang", "local", "observedAt", "options", "type"})
REPLACE = frozenset({"local", "type"})
DELETE = frozenset({"local", "type"})

_SIMPLIFIED = frozenset({"simplified", "keyValues"})


def routes(services: Services) -> list[Route]:
    """Create, merge, replace, delete."""
    limits = services.settings.limits
    rules = Rules(geometry_vertices=limits.geometry_vertices)

    async def create(request: web.Request) -> web.Response:
        """Create Entity (6.4.3.1, 5.6.1)."""
        flag(parameters(request, CREATE), "local")
        sent = await read_document(request, services)
        fragment = parse_entity(sent.value, sent.names, rules)
        # Last, so that a request which is refused brings no tenant into being.
        tenant = await tenant_of(request, services, create=True)
        await tenant.writer.execute(CreateEntity(fragment))
        return web.Response(status=201, headers={"Location": f"{ALL}/{quote(fragment.id or '', safe=':@,;=+$')}"})

    async def merge(request: web.Request) -> web.Response:
        """Merge Entity (6.5.3.4, 5.6.17)."""
        tenant = await tenant_of(request, services)
        given = parameters(request, MERGE)
        flag(given, "local")
        wanted = entity_id(request)
        simplified = _simplified(given)
        observed_at = date_time(given["observedAt"], "observedAt", "The request") if "observedAt" in given else None
        lang = _language(given)
        sent = await read_document(request, services)
        fragment = parse_fragment(sent.value, sent.names, rules, nulls="deep", simplified=simplified)
        _same_id(fragment, wanted)
        command = merge_entity(wanted, fragment, observed_at=observed_at, lang=lang)
        narrowed = of_type(command, given.get("type"), sent.names, limits)
        await tenant.writer.execute(if_matching(request, wanted, narrowed))
        return web.Response(status=204)

    async def replace(request: web.Request) -> web.Response:
        """Replace Entity (6.5.3.3, 5.6.18)."""
        tenant = await tenant_of(request, services)
        given = parameters(request, REPLACE)
        flag(given, "local")
        wanted = entity_id(request)
        sent = await read_document(request, services)
        fragment = parse_fragment(sent.value, sent.names, rules)
        _same_id(fragment, wanted)
        fragment = dataclasses.replace(fragment, id=wanted)
        command = replace_entity(wanted, fragment)
        narrowed = of_type(command, given.get("type"), sent.names, limits)
        await tenant.writer.execute(if_matching(request, wanted, narrowed))
        return web.Response(status=204)

    async def delete(request: web.Request) -> web.Response:
        """Delete Entity (6.5.3.2, 5.6.6)."""
        tenant = await tenant_of(request, services)
        given = parameters(request, DELETE)
        wanted = entity_id(request)
        flag(given, "local")
        check = None
        if "type" in given:
            check = type_check(given["type"], await request_context(request, services), limits)
        await tenant.writer.execute(if_matching(request, wanted, DeleteEntity(wanted, check)))
        return web.Response(status=204)

    return [
        Route("POST", ALL, create, parameters=CREATE, body="NewEntity", answers={201: "", 409: ""}),
        Route(
            "PATCH",
            ONE,
            merge,
            parameters=MERGE,
            options=_SIMPLIFIED,
            headers=CONDITIONS,
            body="EntityFragment",
            answers={204: ""},
        ),
        Route("PUT", ONE, replace, parameters=REPLACE, headers=CONDITIONS, body="EntityFragment", answers={204: ""}),
        Route("DELETE", ONE, delete, parameters=DELETE, headers=CONDITIONS, answers={204: ""}),
    ]


def _same_id(fragment: Fragment, wanted: str) -> None:
    """The body may name the entity that the path names, and no other."""
    if fragment.id is not None and fragment.id != wanted:
        raise BadRequestData(f"The 'id' in the body must be that of the path, '{wanted}', got '{fragment.id[:100]}'.")


def _simplified(given: Mapping[str, str]) -> bool:
    """Whether the body is in simplified representation; `format` decides over the deprecated `options` (6.5.3.4)."""
    keywords = options(given, _SIMPLIFIED)
    if "format" not in given:
        return bool(keywords)
    if given["format"] not in _SIMPLIFIED:
        raise InvalidRequest(
            f"The parameter 'format' must be one of {', '.join(sorted(_SIMPLIFIED))}, got '{given['format'][:100]}'."
        )
    return True


def _language(given: Mapping[str, str]) -> str | None:
    """The one natural language of texts in the body (RFC 5646)."""
    if "lang" not in given:
        return None
    found = parse_languages(given["lang"])
    if len(found) != 1 or found[0] == "*":
        raise BadRequestData(f"The parameter 'lang' must be one language tag, got '{given['lang'][:100]}'.")
    return given["lang"]
