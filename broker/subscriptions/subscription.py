"""A subscription ready for use: checked, names expanded, its predicates compiled.

Made from a stored body (`model.py`), which keeps the document as written and, for each of its members, the terms in it
and the IRIs they stood for: so it needs no @context to be read again.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from broker.clock import Micros
from broker.config import Limits
from broker.errors import BadRequestData, OperationNotSupported, TooComplexQuery
from broker.ngsild.change import EntityChange
from broker.ngsild.fallback import NATIVE, Version
from broker.ngsild.language import parse_languages
from broker.ngsild.model import Entity, Iri
from broker.ngsild.names import is_uri
from broker.query.ast import EntityQuery, GeoQuery, HasType, Q, ScopeQuery
from broker.query.builder import names_of
from broker.query.geo import parse_geo
from broker.query.linked import LinkedMatcher, compile_linked, depth_of
from broker.query.match import compile_query
from broker.query.pattern import check_pattern
from broker.query.q import parse_q
from broker.query.scope import parse_scope
from broker.query.types import parse_types
from broker.subscriptions import members
from broker.subscriptions.endpoint import Endpoint
from broker.subscriptions.params import NotificationParams, read_notification
from broker.subscriptions.receivers.model import RECEIVER
from broker.subscriptions.receivers.rules import Rules, compile_rules
from broker.subscriptions.signing import Secret, read_secrets

Status = Literal["active", "paused", "expired"]

SERVED = (
    "@context",
    "csf",
    "datasetId",
    "description",
    "entities",
    "expandValues",
    "expiresAt",
    "geoQ",
    "id",
    "isActive",
    "jsonKeys",
    "jsonldContext",
    "lang",
    "localOnly",
    "ngsildConformance",
    "notification",
    "notificationTrigger",
    "q",
    "scopeQ",
    "splitEntities",
    "subscriptionName",
    "throttling",
    "timeInterval",
    "type",
    "watchedAttributes",
)
READ_ONLY = ("createdAt", "modifiedAt", "status")
"""Generated; ignored when provided (5.2.12, Table 5.2.12-2)."""

_VERSION = re.compile(r"(\d{1,3})\.(\d{1,3})", re.ASCII)
_ATTRIBUTE_TRIGGERS = ("attributeCreated", "attributeUpdated", "attributeDeleted")
_TRIGGERS: dict[str, tuple[str, ...]] = {
    **{name: (name,) for name in (*_ATTRIBUTE_TRIGGERS, "entityCreated", "entityDeleted")},
    "entityUpdated": _ATTRIBUTE_TRIGGERS,
}
DEFAULT_TRIGGERS = frozenset({"attributeCreated", "attributeUpdated"})
"""Where the document names none (5.2.12)."""


@dataclass(frozen=True, slots=True)
class Selector:
    """One EntitySelector (5.2.33) with the subscription's q, geoQ and scopeQ, as one query; and the same compiled."""

    query: EntityQuery
    matches: Callable[[Entity], bool]
    """But for what q asks of linked entities, if it does."""
    linked: LinkedMatcher | None = None
    """q, where it asks for linked entities: then it must hold, too."""


@dataclass(frozen=True, slots=True)
class Subscription:
    """5.2.12, as matching and delivery use it."""

    id: str
    selectors: tuple[Selector, ...]
    """Any of them; one that selects every type where the document has no `entities`."""
    watched: frozenset[Iri]
    """Empty: any attribute."""
    triggers: frozenset[str]
    """Of attributeCreated, attributeUpdated, attributeDeleted, entityCreated, entityDeleted."""
    notification: NotificationParams
    throttling: float
    """Seconds; 0: none."""
    interval: float
    """timeInterval: seconds between notifications that come whatever changes; 0: they come with changes."""
    datasets: frozenset[str]
    """Only instances of these datasetIds are shown, '@none' for the default one; empty: all."""
    languages: tuple[str, ...]
    conformance: Version
    """The version of NGSI-LD that notifications conform to."""
    expires_at: Micros | None
    active: bool
    context: Any
    """The @context to notify with: a URL, or what may stand in '@context'; None for the core one."""
    granted: bool = False
    """Whether it was made by somebody who may see personal data, and so is told of it."""
    signing: tuple[Secret, ...] = ()
    """What notifications are signed with; none: they are not."""
    context_url: str | None = None
    """What names `context` in a Link header, where that is not its only URL (5.13.1)."""
    rules: Rules | None = None
    """Of a ready receiver: they decide what is told, and in which words."""

    @property
    def digest(self) -> float:
        """For how long what happens is gathered into one message, seconds; 0: it is not."""
        return self.rules.receiver.digest_minutes * 60 if self.rules is not None else 0.0

    def selects(self, change: EntityChange) -> bool:
        """Whether a change is of an entity that it selects (but for what q asks of linked ones)."""
        if self.rules is not None:
            return self.rules.tells(change)
        return any(selector.matches(change.entity) for selector in self.selectors)

    def status(self, now: Micros) -> Status:
        """5.2.12."""
        if self.expires_at is not None and self.expires_at <= now:
            return "expired"
        return "active" if self.active else "paused"


def compile_subscription(body: dict[str, Any], limits: Limits) -> Subscription:
    """The subscription of a stored body. Raises BadRequestData, OperationNotSupported, TooComplexQuery."""
    if RECEIVER in body:
        return _of_receiver(body, limits)
    document: dict[str, Any] = body["document"]
    terms: dict[str, dict[str, Iri]] = body["terms"]
    subscription = read_subscription(
        body["id"], document, body.get("context"), lambda member: terms.get(member, {}).__getitem__, limits
    )
    return replace(
        subscription,
        context_url=body.get("contextUrl"),
        granted=body.get("granted") is True,
        signing=read_secrets(body),
    )


def _of_receiver(body: dict[str, Any], limits: Limits) -> Subscription:
    """A ready receiver, as a subscription to all that its rules look at."""
    rules = compile_rules(body, limits)
    return Subscription(
        id=body["id"],
        selectors=tuple(_selector(EntityQuery(types=HasType(kind))) for kind in rules.types),
        watched=frozenset(),
        triggers=frozenset({*_ATTRIBUTE_TRIGGERS, "entityCreated"}),
        notification=NotificationParams(Endpoint(uri=""), show_changes=True),
        throttling=0.0,
        interval=0.0,
        datasets=frozenset(),
        languages=(),
        conformance=NATIVE,
        expires_at=None,
        active=rules.receiver.active,
        context=None,
        granted=body.get("granted") is True,
        rules=rules,
    )


def read_subscription(
    subscription_id: str,
    document: dict[str, Any],
    context: Any,
    expand: Callable[[str], Callable[[str], Iri]],
    limits: Limits,
) -> Subscription:
    """Check `document` and compile it. `expand` gives, for a member's name, the expansion of the terms in that member."""
    if "temporalQ" in document:
        raise BadRequestData("'temporalQ' is for subscriptions to registrations only (5.2.12), not to entities.")
    members.known_members(document, "Subscription", (*SERVED, *READ_ONLY))
    if document.get("type") != "Subscription":
        raise BadRequestData(f"'type' must be 'Subscription', got {document.get('type')!r}.")
    if not is_uri(subscription_id):
        raise BadRequestData(f"'id' must be a URI, got '{subscription_id}'.")
    local_only = members.flag(document.get("localOnly", False), "'localOnly'")
    if "entities" not in document and "watchedAttributes" not in document and not local_only:
        raise BadRequestData("A subscription must have 'entities' or 'watchedAttributes' (or 'localOnly': true).")
    if "notification" not in document:
        raise BadRequestData("'notification' is missing: it says where notifications go.")
    interval = members.positive(document["timeInterval"], "'timeInterval'") if "timeInterval" in document else 0.0
    if interval:
        for name in ("watchedAttributes", "throttling"):
            if name in document:
                raise BadRequestData(f"'timeInterval' must not be given together with '{name}' (5.2.12).")
        if "entities" not in document and not local_only:
            raise BadRequestData("'timeInterval' needs 'entities' (or 'localOnly': true): they are what is told of.")
    members.flag(document.get("splitEntities", False), "'splitEntities'")  # no entity is split here: of no effect
    if "csf" in document:
        # Which sources are asked: this broker is the only one.
        parse_q(members.text(document["csf"], "'csf'"), expand("csf"), limits)
    for name in ("subscriptionName", "description"):
        if name in document:
            members.text(document[name], f"'{name}'")
    watched = (
        members.texts(document["watchedAttributes"], "'watchedAttributes'") if "watchedAttributes" in document else []
    )
    return Subscription(
        id=subscription_id,
        selectors=_read_selectors(document, expand, limits),
        watched=frozenset(map(expand("watchedAttributes"), watched)),
        triggers=_read_triggers(document),
        notification=read_notification(document["notification"], expand("notification"), limits),
        throttling=members.positive(document["throttling"], "'throttling'") if "throttling" in document else 0.0,
        interval=interval,
        datasets=_read_datasets(document),
        languages=parse_languages(members.text(document["lang"], "'lang'")) if "lang" in document else (),
        conformance=_read_conformance(document),
        expires_at=members.date_time(document["expiresAt"], "'expiresAt'") if "expiresAt" in document else None,
        active=members.flag(document.get("isActive", True), "'isActive'"),
        context=_read_context(document) or context,
    )


def _read_selectors(
    document: dict[str, Any], expand: Callable[[str], Callable[[str], Iri]], limits: Limits
) -> tuple[Selector, ...]:
    q = _read_q(document, expand("q"), limits)
    scope = parse_scope(members.text(document["scopeQ"], "'scopeQ'"), limits) if "scopeQ" in document else None
    geo = _read_geo(document["geoQ"], expand("geoQ"), limits) if "geoQ" in document else None
    if "entities" not in document:
        return (_selector(EntityQuery(q=q, geo=geo, scope=scope)),)
    entries = document["entities"]
    if not isinstance(entries, list) or not 0 < len(entries) <= members.LIST_ENTRIES:
        raise BadRequestData(f"'entities' must be a list of 1 to {members.LIST_ENTRIES} selectors.")
    return tuple(_selector(_read_entity(entry, q, geo, scope, expand("entities"), limits)) for entry in entries)


def _read_q(document: dict[str, Any], expand: Callable[[str], Iri], limits: Limits) -> Q | None:
    expanded, kept = (
        frozenset(names_of(members.text(document[name], f"'{name}'") if name in document else None, name, limits))
        for name in ("expandValues", "jsonKeys")
    )
    if "q" not in document:
        return None
    q = parse_q(members.text(document["q"], "'q'"), expand, limits, expand_values=expanded - kept, linked=True)
    if depth_of(q) > limits.join_level:
        raise TooComplexQuery(
            f"'q' follows more than {limits.join_level} relationships one after the other (limits.join_level)."
        )
    return q


def _selector(query: EntityQuery) -> Selector:
    if not depth_of(query.q):
        return Selector(query, compile_query(query))
    assert query.q is not None
    return Selector(query, compile_query(replace(query, q=None)), compile_linked(query.q))


def _read_entity(
    entry: Any,
    q: Q | None,
    geo: GeoQuery | None,
    scope: ScopeQuery | None,
    expand: Callable[[str], Iri],
    limits: Limits,
) -> EntityQuery:
    """An EntitySelector (5.2.33). `id` takes precedence over `idPattern`."""
    selector = members.mapping(entry, "'entities': each entry")
    members.known_members(selector, "'entities'", ("type", "id", "idPattern"))
    if "type" not in selector:
        raise BadRequestData("'entities': each entry must have a 'type' ('*' for all types).")
    kind = members.text(selector["type"], "'entities.type'")
    ids: tuple[str, ...] = ()
    if "id" in selector:
        given = selector["id"]
        ids = tuple(members.texts(given if isinstance(given, list) else [given], "'entities.id'"))
        for one in ids:
            if not is_uri(one):
                raise BadRequestData(f"'entities.id' must be a URI, got '{one}'.")
    pattern = None
    if "idPattern" in selector:
        pattern = members.text(selector["idPattern"], "'entities.idPattern'")
        check_pattern(pattern, "entities.idPattern", limits)
    return EntityQuery(
        ids=ids,
        id_pattern=pattern if not ids else None,
        types=parse_types(kind, expand, limits) if kind != "*" else None,
        q=q,
        geo=geo,
        scope=scope,
    )


def _read_geo(value: Any, expand: Callable[[str], Iri], limits: Limits) -> GeoQuery:
    """A GeoQuery (5.2.13)."""
    geo = members.mapping(value, "'geoQ'")
    members.known_members(geo, "'geoQ'", ("georel", "geometry", "coordinates", "geoproperty"))
    for name in ("georel", "geometry", "coordinates"):
        if name not in geo:
            raise BadRequestData(f"'geoQ.{name}' is missing; a geoquery needs 'georel', 'geometry' and 'coordinates'.")
    coordinates = geo["coordinates"]
    if not isinstance(coordinates, (str, list)):
        raise BadRequestData("'geoQ.coordinates' must be a JSON array, or one as a string.")
    return parse_geo(
        members.text(geo["georel"], "'geoQ.georel'"),
        members.text(geo["geometry"], "'geoQ.geometry'"),
        coordinates,
        members.text(geo["geoproperty"], "'geoQ.geoproperty'") if "geoproperty" in geo else None,
        expand,
        limits,
    )


def _read_datasets(document: dict[str, Any]) -> frozenset[str]:
    datasets = members.texts(document["datasetId"], "'datasetId'") if "datasetId" in document else []
    for dataset in datasets:
        if dataset != "@none" and not is_uri(dataset):
            raise BadRequestData(f"'datasetId' must be URIs or '@none', got '{dataset[:100]}'.")
    return frozenset(datasets)


def _read_conformance(document: dict[str, Any]) -> Version:
    if "ngsildConformance" not in document:
        return NATIVE
    text = members.text(document["ngsildConformance"], "'ngsildConformance'")
    found = _VERSION.fullmatch(text)
    if found is None:
        raise BadRequestData(f"'ngsildConformance' must be a version like '1.8', got '{text[:100]}'.")
    return min((int(found[1]), int(found[2])), NATIVE)


def _read_triggers(document: dict[str, Any]) -> frozenset[str]:
    if "notificationTrigger" not in document:
        return DEFAULT_TRIGGERS
    named = members.texts(document["notificationTrigger"], "'notificationTrigger'")
    return frozenset(
        trigger
        for name in named
        for trigger in _TRIGGERS[members.one_of(name, "'notificationTrigger'", tuple(_TRIGGERS))]
    )


def _read_context(document: dict[str, Any]) -> str | None:
    if "jsonldContext" not in document:
        return None
    url = members.text(document["jsonldContext"], "'jsonldContext'")
    if not is_uri(url):
        raise BadRequestData(f"'jsonldContext' must be the URI of a JSON-LD @context, got '{url}'.")
    if not url.startswith(("http://", "https://")):
        raise OperationNotSupported("'jsonldContext' must be an http or https URL.")
    return url
