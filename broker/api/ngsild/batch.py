"""Resources entityOperations/create, upsert, update, delete, merge (ETSI GS CIM 009 v1.9.1, 6.14-6.17, 6.31).

The array as a whole is refused (400) when it is not an array, empty, too long, or has an element that a
BatchOperationResult could not name: null, or one without an id. Everything else is said of the element alone. A long batch
is applied in parts of `CHUNK`, each durable as a whole before the next is begun; what has been answered is durable, and of a
request that was cut off before it was answered, a first part may have been applied.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from aiohttp import web

from broker.api.context import read_json_document
from broker.api.negotiation import JSON, LD_JSON
from broker.api.parameters import options, parameters
from broker.api.route import Route
from broker.api.services import Services, Tenant
from broker.api.tenant import tenant_of
from broker.config import Limits
from broker.entities.batch import CHUNK, Batch, Element, EntityCommand, UpsertEntity
from broker.entities.commands import CreateEntity, DeleteEntity, append_attributes, merge_entity
from broker.errors import AlreadyExists, BadRequestData, BrokerError, InternalError, PayloadTooLarge
from broker.jsonio import dumps
from broker.jsonld.context import Context
from broker.jsonld.link import parse_context_link
from broker.ngsild.merge import Outcome
from broker.ngsild.names import is_uri
from broker.ngsild.parse import Rules, parse_entity, parse_fragment
from broker.query.builder import flag

ALL = "/ngsi-ld/v1/entityOperations"

PLAIN = frozenset({"local"})
WITH_OPTIONS = frozenset({"local", "options"})
UPSERT_OPTIONS = frozenset({"replace", "update"})
UPDATE_OPTIONS = frozenset({"noOverwrite"})

MOST_CONTEXTS: Final = 100
"""Different @contexts in one batch, count: each may have to be fetched."""

Reader = Callable[[Any, Context], EntityCommand]
"""From an element and its @context to what is to be done. Raises BrokerError."""


def routes(services: Services) -> list[Route]:
    """The five operations."""
    limits = services.settings.limits
    rules = Rules(geometry_vertices=limits.geometry_vertices)

    async def create(request: web.Request) -> web.Response:
        """Batch Entity Creation (6.14.3.1, 5.6.7)."""
        flag(parameters(request, PLAIN), "local")
        body = await _read_array(request, services)

        def read(document: Any, names: Context) -> EntityCommand:
            return CreateEntity(parse_entity(document, names, rules))

        run = _Run(request, services, read)
        parts = _parts(body)
        first = await run.elements(parts[0])
        # Last, so that a request of which nothing can be applied brings no tenant into being.
        creates = len(parts) > 1 or any(isinstance(element, Element) for element in first)
        tenant = await tenant_of(request, services, create=creates)
        await run.apply(tenant, first)
        await run.all(tenant, parts[1:])
        return run.result() if run.errors else _ids(run.succeeded)

    async def upsert(request: web.Request) -> web.Response:
        """Batch Entity Creation or Update (6.15.3.1, 5.6.8)."""
        tenant = await tenant_of(request, services)
        given = parameters(request, WITH_OPTIONS)
        flag(given, "local")
        modes = options(given, UPSERT_OPTIONS)
        if len(modes) > 1:
            raise BadRequestData("The parameter 'options' must have one of 'replace' and 'update', not both.")
        body = await _read_array(request, services)

        def replacing(document: Any, names: Context) -> EntityCommand:
            return UpsertEntity(parse_entity(document, names, rules))

        def updating(document: Any, names: Context) -> EntityCommand:
            try:
                return UpsertEntity(parse_entity(document, names, rules), update=True)
            except BadRequestData as refusal:
                return UpsertEntity(parse_fragment(document, names, rules, nulls="whole"), update=True, refusal=refusal)

        run = _Run(request, services, updating if "update" in modes else replacing)
        await run.all(tenant, _parts(body))
        if run.errors:
            return run.result()
        return _ids(run.created) if run.created else web.Response(status=204)

    async def update(request: web.Request) -> web.Response:
        """Batch Entity Update (6.16.3.1, 5.6.9)."""
        tenant = await tenant_of(request, services)
        given = parameters(request, WITH_OPTIONS)
        flag(given, "local")
        overwrite = "noOverwrite" not in options(given, UPDATE_OPTIONS)

        def read(document: Any, names: Context) -> EntityCommand:
            return append_attributes(document["id"], parse_fragment(document, names, rules), overwrite=overwrite)

        return await changed(request, tenant, read)

    async def merge(request: web.Request) -> web.Response:
        """Batch Entity Merge (6.31.3.1, 5.6.20)."""
        tenant = await tenant_of(request, services)
        flag(parameters(request, PLAIN), "local")

        def read(document: Any, names: Context) -> EntityCommand:
            return merge_entity(document["id"], parse_fragment(document, names, rules, nulls="deep"))

        return await changed(request, tenant, read)

    async def changed(request: web.Request, tenant: Tenant, read: Reader) -> web.Response:
        run = _Run(request, services, read)
        await run.all(tenant, _parts(await _read_array(request, services)))
        return run.result() if run.errors else web.Response(status=204)

    async def delete(request: web.Request) -> web.Response:
        """Batch Entity Delete (6.17.3.1, 5.6.10). The ids are no JSON-LD, so neither content type asks for an @context."""
        tenant = await tenant_of(request, services)
        flag(parameters(request, PLAIN), "local")
        body = _checked(await read_json_document(request, services), limits)
        for position, element in enumerate(body, start=1):
            if type(element) is not str:
                raise BadRequestData(f"Each element of the array must be an entity's id; element {position} is not.")
        run = _Run(request, services, None)
        for part in _parts(body):
            await run.apply(tenant, [_deletion(entity_id) for entity_id in part])
        return run.result() if run.errors else web.Response(status=204)

    return [
        Route(
            "POST",
            f"{ALL}/create",
            create,
            parameters=PLAIN,
            body="NewEntities",
            answers={201: "EntityIds", 207: "BatchOperationResult"},
        ),
        Route(
            "POST",
            f"{ALL}/upsert",
            upsert,
            parameters=WITH_OPTIONS,
            options=UPSERT_OPTIONS,
            body="NewEntities",
            answers={201: "EntityIds", 204: "", 207: "BatchOperationResult"},
        ),
        Route(
            "POST",
            f"{ALL}/update",
            update,
            parameters=WITH_OPTIONS,
            options=UPDATE_OPTIONS,
            body="EntityFragments",
            answers={204: "", 207: "BatchOperationResult"},
        ),
        Route(
            "POST",
            f"{ALL}/delete",
            delete,
            parameters=PLAIN,
            context=False,
            body="EntityIds",
            answers={204: "", 207: "BatchOperationResult"},
        ),
        Route(
            "POST",
            f"{ALL}/merge",
            merge,
            parameters=PLAIN,
            body="EntityFragments",
            answers={204: "", 207: "BatchOperationResult"},
        ),
    ]


_Refused = tuple[str, BrokerError]
"""An element that could not be read, and why."""


class _Run:
    """One request: reads its elements, applies them part by part, and keeps what became of each."""

    def __init__(self, request: web.Request, services: Services, read: Reader | None) -> None:
        self._contexts = _Contexts(request, services)
        self._read = read
        self._applied = False
        self.succeeded: dict[str, None] = {}
        self.created: list[str] = []
        self.errors: list[_Refused] = []

    async def all(self, tenant: Tenant, parts: Sequence[Sequence[Any]]) -> None:
        """Read and apply part by part."""
        for part in parts:
            await self.apply(tenant, await self.elements(part))

    async def elements(self, part: Sequence[Any]) -> list[Element | _Refused]:
        """The elements, read."""
        read, names_of = self._read, self._contexts.names_of
        assert read is not None
        made: list[Element | _Refused] = []
        for document in part:
            entity_id = document["id"]
            try:
                names = self._contexts.known(document) or await names_of(document)
                made.append(Element(entity_id, read(document, names)))
            except BrokerError as error:
                made.append((entity_id, error))
        return made

    async def apply(self, tenant: Tenant, elements: Sequence[Element | _Refused]) -> None:
        """Apply them. Raises what the writer raises when nothing of the request has been applied yet."""
        good = [element for element in elements if isinstance(element, Element)]
        results = iter(await self._execute(tenant, good))
        for element in elements:
            if isinstance(element, Element):
                self._note(element.entity_id, next(results))
            else:
                self.errors.append(element)

    async def _execute(self, tenant: Tenant, elements: Sequence[Element]) -> list[Any]:
        if not elements:
            return []
        try:
            # What is behind the first part waits for room: to refuse it would leave half of the request undone.
            results = await tenant.writer.execute(Batch(elements), wait=self._applied, weight=len(elements))
        except InternalError as error:
            if len(elements) == 1:
                return [error]
            # One of them cannot be stored; alone, only that one fails.
            middle = len(elements) // 2
            return await self._execute(tenant, elements[:middle]) + await self._execute(tenant, elements[middle:])
        except BrokerError as error:
            if not self._applied:
                raise
            return [error] * len(elements)
        self._applied = True
        return results

    def _note(self, entity_id: str, result: Any) -> None:
        if isinstance(result, BrokerError):
            self.errors.append((entity_id, result))
        elif isinstance(result, Outcome) and result.not_updated:
            left = " ".join(f"'{name}': {reason}" for name, reason in result.not_updated)
            self.errors.append((entity_id, AlreadyExists(f"Not all of it was applied. {left}")))
        else:
            self.succeeded[entity_id] = None
            if result is None:
                self.created.append(entity_id)

    def result(self) -> web.Response:
        """207 with a BatchOperationResult (5.2.16, 5.2.17), always as JSON (6.3.6)."""
        errors = [{"entityId": entity_id, "error": error.problem()} for entity_id, error in self.errors]
        return web.Response(
            status=207, body=dumps({"success": list(self.succeeded), "errors": errors}), content_type=JSON
        )


class _Contexts:
    """The @contexts of a batch: each element's own (application/ld+json), or the Link header's for all (6.3.5)."""

    def __init__(self, request: web.Request, services: Services) -> None:
        self._resolver = services.contexts
        self._in_body = request.content_type == LD_JSON
        headers = request.headers
        self._linked = parse_context_link(headers.getall("Link")) if "Link" in headers else None
        if self._in_body and self._linked is not None:
            raise BadRequestData(
                f"The Link header must not name a JSON-LD @context when the content type is {LD_JSON}: it stands in the body."
            )
        self._last: tuple[Any, Context] | None = None
        self._met: dict[bytes, Context | BrokerError] = {}

    def known(self, document: dict[str, Any]) -> Context | None:
        """The element's, if it is that of the one before."""
        last = self._last
        return last[1] if last is not None and document.get("@context") == last[0] else None

    async def names_of(self, document: dict[str, Any]) -> Context:
        """The element's. Raises BadRequestData, LdContextNotAvailable."""
        if not self._in_body:
            if "@context" in document:
                raise BadRequestData(
                    f"The entity must not have an '@context' when the content type is {JSON}: name it in the Link header, "
                    f"or send {LD_JSON}."
                )
            value = self._linked
        else:
            value = document.get("@context")
            if value is None:
                raise BadRequestData(f"The entity must have an '@context' when the content type is {LD_JSON}.")
        names = await self._resolved(value)
        self._last = (document.get("@context"), names)
        return names

    async def _resolved(self, value: Any) -> Context:
        """One that cannot be had is not asked for again in the same request."""
        key = dumps(value)
        met = self._met.get(key)
        if met is None:
            if len(self._met) == MOST_CONTEXTS:
                raise BadRequestData(f"A batch must not have more than {MOST_CONTEXTS} different '@context's.")
            try:
                met = await self._resolver.resolve(value)
            except BrokerError as error:
                met = error
            self._met[key] = met
        if isinstance(met, BrokerError):
            raise met
        return met


async def _read_array(request: web.Request, services: Services) -> list[dict[str, Any]]:
    """The array of entities. Raises as `read_json_document` does, and BadRequestData for what cannot be named in a result."""
    body = _checked(await read_json_document(request, services), services.settings.limits)
    for position, element in enumerate(body, start=1):
        if type(element) is not dict:
            raise BadRequestData(f"Each element of the array must be an entity; element {position} is not.")
        if "@id" in element:
            keyword = element.pop("@id")
            if element.setdefault("id", keyword) != keyword:
                raise BadRequestData(f"Each entity must have one 'id'; element {position} of the array has two.")
        if type(element.get("id")) is not str:
            raise BadRequestData(f"Each entity must have an 'id'; element {position} of the array has none.")
    return body


def _checked(body: Any, limits: Limits) -> list[Any]:
    if type(body) is not list:
        raise BadRequestData("The body must be an array.")
    if not body:
        raise BadRequestData("The array must have at least one element.")
    if len(body) > limits.batch_entities:
        raise PayloadTooLarge(
            f"The batch has {len(body)} elements; the limit 'limits.batch_entities' is {limits.batch_entities}."
        )
    return body


def _deletion(entity_id: str) -> Element | _Refused:
    if not is_uri(entity_id):
        return entity_id, BadRequestData(f"An entity's id must be a URI, got '{entity_id[:100]}'.")
    return Element(entity_id, DeleteEntity(entity_id))


def _parts(body: list[Any]) -> list[list[Any]]:
    return [body[start : start + CHUNK] for start in range(0, len(body), CHUNK)]


def _ids(ids: Sequence[str] | dict[str, None]) -> web.Response:
    """201 with the ids of the entities that were created."""
    return web.Response(status=201, body=dumps(list(ids)), content_type=JSON)
