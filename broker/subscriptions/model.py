"""Subscription documents in and out, and the body that is stored (record kind 'subscription').

    {"id": "urn:…", "document": {…}, "terms": {"entities": {"Room": "https://…/Room"}, "q": {…}, …},
     "context": …, "contextUrl": …, "createdAt": "…Z", "modifiedAt": "…Z", "granted": true}

`document` is as the subscriber wrote it, without '@context', 'id' and what is generated. `terms` are the names in each of
its members and the IRIs that the @context of that request gave them; `context` is that @context (a URL, a list, an
object), None for the core one alone, and `contextUrl` names it in a Link header where that is not its only URL. `granted`
is there when it was made with the grant of personal data. Source: ETSI GS CIM 009 v1.9.1, 5.2.12-5.2.15, 5.8.1-5.8.3.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from broker.clock import Micros, Stamp
from broker.config import Limits
from broker.errors import BadRequestData
from broker.ngsild.model import NGSI_LD_NULL, Iri
from broker.ngsild.names import Names
from broker.subscriptions.params import NOTIFICATION_READ_ONLY
from broker.subscriptions.state import DeliveryState
from broker.subscriptions.subscription import (
    DEFAULT_TRIGGERS,
    READ_ONLY,
    Subscription,
    compile_subscription,
    read_subscription,
)

PERIODIC: Final = "interval"
"""The key that the records of subscriptions with a timeInterval carry."""

_NOT_KEPT = frozenset({"@context", "id", *READ_ONLY})


def parse_subscription(
    document: dict[str, Any], names: Names, context: Any, limits: Limits, stamp: Stamp, new_id: str
) -> dict[str, Any]:
    """The body to store for a new subscription (5.8.1). `new_id` is used where the document has no id.

    Raises BadRequestData, OperationNotSupported, TooComplexQuery.
    """
    given = document.get("id", new_id)
    if not isinstance(given, str):
        raise BadRequestData("'id' must be a URI as a string.")
    kept = _kept(document)
    terms = _Terms(names)
    subscription = read_subscription(given, kept, context, terms.of, limits)
    _refuse_past(subscription, kept, stamp.now)
    return {
        "id": given,
        "document": kept,
        "terms": terms.found,
        "context": context,
        "createdAt": stamp.text,
        "modifiedAt": stamp.text,
    }


def parse_patch(
    body: dict[str, Any],
    patch: dict[str, Any],
    names: Names,
    context: Any,
    limits: Limits,
    stamp: Stamp,
    context_url: str | None = None,
) -> dict[str, Any]:
    """The body after a fragment (5.8.2, 5.5.8): each member given replaces the one there, an NGSI-LD Null removes it.

    `context` is the one of this request; it becomes the one to notify with only where the fragment has a term in it.
    """
    if patch.get("id", body["id"]) != body["id"]:
        raise BadRequestData(f"'id' cannot be changed: it is '{body['id']}'.")
    if patch.get("type", "Subscription") != "Subscription":
        raise BadRequestData(f"'type' must be 'Subscription', got {patch['type']!r}.")
    given = _kept(patch)
    if not given:
        raise BadRequestData("The fragment has no member that can be changed.")
    document = dict(body["document"])
    for name, value in given.items():
        if value is None:
            raise BadRequestData(f"'{name}' must not be null; '{NGSI_LD_NULL}' removes a member.")
        if value == NGSI_LD_NULL:
            document.pop(name, None)
        else:
            document[name] = value
    kept: dict[str, dict[str, Iri]] = {
        member: terms for member, terms in body["terms"].items() if member in document and member not in given
    }
    fresh = _Terms(names)
    subscription = read_subscription(
        body["id"],
        document,
        body["context"],
        lambda member: kept[member].__getitem__ if member in kept else fresh.of(member),
        limits,
    )
    _refuse_past(subscription, given, stamp.now)
    if context is not None and any(fresh.found.values()):
        body = {**body, "context": context, "contextUrl": context_url}
    return {**body, "document": document, "terms": {**kept, **fresh.found}, "modifiedAt": stamp.text}


def keys_of(body: dict[str, Any]) -> tuple[str, ...]:
    """The keys of a subscription's record."""
    return (PERIODIC,) if "timeInterval" in body["document"] else ()


def render_subscription(
    body: dict[str, Any], state: DeliveryState, names: Names, now: Micros, *, sys_attrs: bool = False
) -> dict[str, Any]:
    """The document for a reader (5.8.3): names compacted by the reader's @context, and what is generated.

    q keeps the names as they were written.
    """
    document: dict[str, Any] = body["document"]
    terms: dict[str, dict[str, Iri]] = body["terms"]

    def again(member: str) -> Callable[[str], str]:
        known = terms.get(member, {})
        return lambda term: names.compact(known[term]) if term in known else term

    rendered: dict[str, Any] = {"id": body["id"], "type": "Subscription", **document}
    if "entities" in document:
        kinds = again("entities")
        rendered["entities"] = [{**entry, "type": _rewrite(entry["type"], kinds)} for entry in document["entities"]]
    if "watchedAttributes" in document:
        rendered["watchedAttributes"] = [again("watchedAttributes")(name) for name in document["watchedAttributes"]]
    if "geoQ" in document and "geoproperty" in document["geoQ"]:
        rendered["geoQ"] = {**document["geoQ"], "geoproperty": again("geoQ")(document["geoQ"]["geoproperty"])}
    notification = dict(document["notification"])
    if "attributes" in notification:
        notification["attributes"] = [again("notification")(name) for name in notification["attributes"]]
    for member in ("pick", "omit"):
        if member in notification:
            notification[member] = [_rewrite(name, again("notification")) for name in notification[member]]
    rendered["notification"] = {**notification, **state.members()}
    if "timeInterval" not in document:
        rendered.setdefault("notificationTrigger", sorted(DEFAULT_TRIGGERS))
    rendered["status"] = compile_subscription(body, UNLIMITED).status(now)
    context_url = body["context"] if isinstance(body["context"], str) else body.get("contextUrl")
    if context_url is not None:
        rendered.setdefault("jsonldContext", context_url)
    if sys_attrs:
        rendered |= {"createdAt": body["createdAt"], "modifiedAt": body["modifiedAt"]}
    return rendered


UNLIMITED = Limits(
    query_characters=1 << 40,
    query_terms=1 << 40,
    pattern_characters=1 << 40,
    geometry_vertices=1 << 40,
    join_level=1 << 40,
    query_results=1 << 40,
)
"""For what was accepted before: lowering a limit must not break a subscription that is there."""


class _Terms:
    """Expands, and keeps what was expanded, by the document's member."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self.found: dict[str, dict[str, Iri]] = {}

    def of(self, member: str) -> Callable[[str], Iri]:
        """The expansion of the terms in `member`."""
        found = self.found.setdefault(member, {})

        def expand(term: str) -> Iri:
            found[term] = iri = self._names.expand(term)
            return iri

        return expand


def _kept(document: dict[str, Any]) -> dict[str, Any]:
    """What of a document is the subscriber's."""
    kept = {name: value for name, value in document.items() if name not in _NOT_KEPT}
    notification = kept.get("notification")
    if isinstance(notification, dict):
        kept["notification"] = {
            name: value for name, value in notification.items() if name not in NOTIFICATION_READ_ONLY
        }
    return kept


def _refuse_past(subscription: Subscription, given: dict[str, Any], now: Micros) -> None:
    if "expiresAt" in given and subscription.expires_at is not None and subscription.expires_at <= now:
        raise BadRequestData(f"'expiresAt' must be in the future, got '{given['expiresAt']}'.")


def _rewrite(selection: str, compact: Callable[[str], str]) -> str:
    """A type selection (4.17) or a projection (4.21) with its names compacted."""
    out, name = [], ""
    for character in selection + "\0":
        if character in ",;|(){}\0":
            out.append(compact(name) if name else "")
            out.append(character)
            name = ""
        else:
            name += character
    return "".join(out)[:-1]
