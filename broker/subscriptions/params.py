"""What notifications look like (ETSI GS CIM 009 v1.9.1, 5.2.14)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from broker.errors import BadRequestData, OperationNotSupported
from broker.ngsild.model import Iri
from broker.subscriptions import members
from broker.subscriptions.endpoint import Endpoint, read_endpoint

Format = Literal["normalized", "concise", "simplified"]

_FORMATS: dict[str, Format] = {
    "normalized": "normalized",
    "concise": "concise",
    "simplified": "simplified",
    "keyValues": "simplified",
}
_NOTIFICATION = ("attributes", "format", "endpoint", "showChanges", "sysAttrs")
NOTIFICATION_READ_ONLY = ("status", "timesSent", "timesFailed", "lastNotification", "lastSuccess", "lastFailure")
"""5.2.14.2: generated; ignored when provided."""
_NOTIFICATION_NOT_SERVED = ("join", "joinLevel", "omit", "pick")


@dataclass(frozen=True, slots=True)
class NotificationParams:
    """5.2.14.1."""

    endpoint: Endpoint
    format: Format = "normalized"
    attributes: tuple[Iri, ...] | None = None
    """Only these; None: all."""
    sys_attrs: bool = False


def read_notification(value: Any, expand: Callable[[str], Iri]) -> NotificationParams:
    """The `notification` member. Raises BadRequestData, OperationNotSupported."""
    document = members.mapping(value, "'notification'")
    members.known_members(
        document, "'notification'", (*_NOTIFICATION, *NOTIFICATION_READ_ONLY), _NOTIFICATION_NOT_SERVED
    )
    if "endpoint" not in document:
        raise BadRequestData("'notification.endpoint' is missing: it says where notifications go.")
    if "showChanges" in document and members.flag(document["showChanges"], "'notification.showChanges'"):
        raise OperationNotSupported("'notification.showChanges' is not supported by this broker.")
    attributes = None
    if "attributes" in document:
        names = members.texts(document["attributes"], "'notification.attributes'")
        for name in names:
            if name in ("id", "type", "scope", "@id", "@type"):
                raise BadRequestData(f"'notification.attributes' names attributes, '{name}' is none.")
        attributes = tuple(expand(name) for name in names)
    return NotificationParams(
        endpoint=read_endpoint(document["endpoint"]),
        format=_FORMATS[members.one_of(document.get("format", "normalized"), "'notification.format'", tuple(_FORMATS))],
        attributes=attributes,
        sys_attrs=members.flag(document.get("sysAttrs", False), "'notification.sysAttrs'"),
    )
