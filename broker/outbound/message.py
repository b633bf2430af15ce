"""What is sent to whoever asked to be told, and what sends it: a transport for each scheme of a URI."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, Protocol
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Message:
    """A rendered notification on its way to one endpoint."""

    uri: str
    body: bytes
    headers: Mapping[str, str]
    """What the message says of itself and its receiver wants to hear (Content-Type, Link, receiverInfo)."""
    timeout: float
    """The endpoint's time, seconds."""
    id: str = ""
    """The same whenever this message is sent again."""
    info: tuple[tuple[str, str], ...] = ()
    """How to send it (notifierInfo)."""
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """To sign it with; none: it is not signed."""
    private: bool = False
    """Whoever knows the URI may send to it: of it, only the host is told."""
    failed_before: bool = False
    """The endpoint did not take the last one, as is known from before the start."""
    at: int = 0
    """Now, seconds since 1970: a signature says it."""


SHOWN_KEPT: Final = 20_000
"""URIs for logs that are kept, count: endpoints are the same all the time."""


class Transport(Protocol):
    """Sends messages."""

    async def send(self, message: Message) -> str:
        """Returns when the receiver has taken the message, with what it answered, for people.

        Raises OutboundError: Forbidden, Unreachable, TimedOut, BadAnswer, HostResting.
        """
        ...


def shown_of(message: Message) -> str:
    """A message's URI for logs and error texts."""
    shown = shown_uri(message.uri)
    return "/".join([*shown.split("/")[:3], "…"]) if message.private else shown


@lru_cache(maxsize=SHOWN_KEPT)
def shown_uri(uri: str) -> str:
    """A URI for logs and error texts: without user, password, query and fragment, where secrets may be."""
    try:
        parts = urlsplit(uri)
    except ValueError:
        return "a URI that cannot be read"
    if not parts.netloc:
        return f"{parts.scheme}:{parts.path}" if parts.scheme else parts.path
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
