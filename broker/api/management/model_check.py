"""/api/v1/model-check: do the entities keep to the published Smart Data Models? Needs the package that carries them."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from aiohttp import web

from broker.api.management.common import answer, page_limit
from broker.api.parameters import parameters
from broker.api.route import Route
from broker.api.services import Services
from broker.devices.defaults import entity_models
from broker.devices.model_check import Check
from broker.devices.published import MissingPackage, Published, installed
from broker.errors import OperationNotSupported
from broker.ngsild.render import render_entity
from broker.query.ast import EntityQuery
from broker.query.builder import flag
from broker.query.types import parse_types

ASKED: Final = frozenset({"type", "id", "strict", "limit"})


def routes(services: Services) -> list[Route]:
    """The report."""
    limits, names = services.settings.limits, services.contexts.core
    store = services.tenants.default.store

    async def check(request: web.Request) -> web.Response:
        """Hold entities against the Smart Data Models. All, or those of 'type' or 'id': what deviates from the published model of their type, and how many do. Personal entities are looked at with a grant alone."""
        given = parameters(request, ASKED)
        most = page_limit(given)
        query = EntityQuery(
            ids=tuple(given["id"].split(",")) if "id" in given else (),
            types=parse_types(given["type"], names.expand, limits) if "type" in given else None,
            now=services.clock.now(),
        )
        wanted = {names.compact(one) for one in await store.entity_types()}
        try:
            # Loading takes most of a second and is kept: by the types that there are, not by what is asked for.
            found: Published = await asyncio.to_thread(installed, *sorted(wanted | entity_models().keys()))
        except MissingPackage as error:
            raise OperationNotSupported(str(error)) from None
        report = Check(found, strict=flag(given, "strict"), keep=most)
        async for batch in store.stream(query):
            shown: list[dict[str, Any]] = [render_entity(entity, names) for entity in batch]
            await asyncio.to_thread(report.look_at, shown)
        return answer(report.report())

    return [Route("GET", "/api/v1/model-check", check, parameters=ASKED, answers={200: "ModelCheck", 422: ""})]
