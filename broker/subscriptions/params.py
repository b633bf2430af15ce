"""What notifications look like (ETSI GS CIM 009 v1.9.1, 5.2.14, 4.21, 4.5.23)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from broker.config import Limits
from broker.errors import BadRequestData
from broker.ngsild.linked import Join
from broker.ngsild.model import Iri
from broker.ngsild.projection import MEMBERS, Projection, parse_projection
from broker.ngsild.render import Representation
from broker.subscriptions import members
from broker.subscriptions.endpoint import Endpoint, read_endpoint

_FORMATS: Final[dict[str, Representation]] = {
    "normalized": "normalized",
    "concise": "concise",
    "simplified": "simplified",
    "keyValues": "simplified",
}
_NOTIFICATION: Final = (
    "attributes",
    "endpoint",
    "format",
    "join",
    "joinLevel",
    "omit",
    "pick",
    "showChanges",
    "sysAttrs",
)
NOTIFICATION_READ_ONLY = ("status", "timesSent", "timesFailed", "lastNotification", "lastSuccess", "lastFailure")
"""5.2.14.2: generated; ignored when provided."""


@dataclass(frozen=True, slots=True)
class NotificationParams:
    """5.2.14.1."""

    endpoint: Endpoint
    format: Representation = "normalized"
    pick: Projection | None = None
    """Only these members of an entity; None: all. `attributes` stands here as what it is a synonym of."""
    omit: Projection | None = None
    join: Join | None = None
    show_changes: bool = False
    """With what was there before."""
    sys_attrs: bool = False


def read_notification(value: Any, expand: Callable[[str], Iri], limits: Limits) -> NotificationParams:
    """The `notification` member. Raises BadRequestData, TooComplexQuery."""
    document = members.mapping(value, "'notification'")
    members.known_members(document, "'notification'", (*_NOTIFICATION, *NOTIFICATION_READ_ONLY))
    if "endpoint" not in document:
        raise BadRequestData("'notification.endpoint' is missing: it says where notifications go.")
    notation = members.one_of(document.get("format", "normalized"), "'notification.format'", tuple(_FORMATS))
    changes = members.flag(document.get("showChanges", False), "'notification.showChanges'")
    if changes and _FORMATS[notation] == "simplified":
        raise BadRequestData(
            f"'notification.showChanges' cannot be true with the format '{notation}', which has no place for what was before."
        )
    join = _read_join(document, limits)
    pick, omit = _read_projections(document, expand, limits, join)
    return NotificationParams(
        endpoint=read_endpoint(document["endpoint"]),
        format=_FORMATS[notation],
        pick=pick,
        omit=omit,
        join=join,
        show_changes=changes,
        sys_attrs=members.flag(document.get("sysAttrs", False), "'notification.sysAttrs'"),
    )


def _read_join(document: dict[str, Any], limits: Limits) -> Join | None:
    """4.5.23."""
    level = members.level(document.get("joinLevel", 1), "'notification.joinLevel'", limits.join_level)
    kind = members.one_of(document.get("join", "@none"), "'notification.join'", ("flat", "inline", "@none"))
    return None if kind == "@none" else Join("flat" if kind == "flat" else "inline", level)


def _read_projections(
    document: dict[str, Any], expand: Callable[[str], Iri], limits: Limits, join: Join | None
) -> tuple[Projection | None, Projection | None]:
    """`pick` (or `attributes`) and `omit` (4.21)."""
    if "attributes" in document:
        for other in ("pick", "omit"):
            if other in document:
                raise BadRequestData(f"'notification.attributes' must not be given together with '{other}'.")
        return _read_attributes(document["attributes"], expand), None
    pick, omit = (
        parse_projection(
            ",".join(members.texts(document[name], f"'notification.{name}'")),
            f"notification.{name}",
            expand,
            limits.query_results,
        )
        if name in document
        else None
        for name in ("pick", "omit")
    )
    if pick is not None and omit is not None and (both := pick.names & omit.plain):
        raise BadRequestData(
            f"'notification.pick' and 'omit' must not name the same, got {', '.join(sorted(both))} in both."
        )
    for name, projection in (("pick", pick), ("omit", omit)):
        if projection is not None and projection.depth > (join.level if join is not None else 0):
            raise BadRequestData(
                f"'notification.{name}' asks for members of linked entities deeper than 'join' and 'joinLevel' retrieve them."
            )
    return pick, omit


def _read_attributes(value: Any, expand: Callable[[str], Iri]) -> Projection:
    names = members.texts(value, "'notification.attributes'")
    for name in names:
        if name in MEMBERS or name in ("@id", "@type"):
            raise BadRequestData(f"'notification.attributes' names attributes, '{name}' is none; 'pick' takes it.")
    return Projection(MEMBERS | {expand(name) for name in names})
