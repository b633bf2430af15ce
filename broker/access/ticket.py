"""Tickets: let in who cannot send headers, such as a browser's EventSource, once and soon.

A ticket says for what tenant it is, whether personal data is granted, in what @context names are read, and until when it
holds. It is signed with the broker's tokens, so every process knows it; that it is used once is the store's to say.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error
from hashlib import blake2b
from typing import Final

import msgspec
from msgspec import Struct

from broker.clock import SECOND, Micros
from broker.errors import Unauthorized

SECONDS: Final = 60
"""How long a ticket holds."""
CHARACTERS: Final = 8192
"""Longest ticket that is looked at."""
_SIGNATURE: Final = 32


class Ticket(Struct, frozen=True):
    """What a ticket says."""

    id: str
    until: Micros
    tenant: str = ""
    granted: bool = False
    context: str | None = None
    """URL of the @context; None: the core one."""


class Tickets:
    """Signs and reads tickets."""

    def __init__(self, *secrets: str) -> None:
        """`secrets`: the broker's tokens; without any, whoever asks is let in anyway."""
        self._key = blake2b(msgspec.json.encode(["stream ticket", *secrets])).digest()

    def write(self, ticket: Ticket) -> str:
        """The ticket as text for a URL."""
        body = msgspec.json.encode(ticket)
        return urlsafe_b64encode(self._sign(body) + body).rstrip(b"=").decode()

    def read(self, text: str, now: Micros) -> Ticket:
        """The ticket. Raises Unauthorized for one that is not ours, or has run out."""
        try:
            if len(text) > CHARACTERS:
                raise ValueError(text)
            both = urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
            signature, body = both[:_SIGNATURE], both[_SIGNATURE:]
            if not hmac.compare_digest(signature, self._sign(body)):
                raise ValueError(text)
            ticket = msgspec.json.decode(body, type=Ticket)
        except (ValueError, Error, msgspec.MsgspecError):
            raise Unauthorized("The ticket is not valid.") from None
        if ticket.until <= now:
            raise Unauthorized("The ticket has run out: ask for another one.")
        return ticket

    def _sign(self, body: bytes) -> bytes:
        return blake2b(body, key=self._key, digest_size=_SIGNATURE).digest()


def new_ticket(ticket_id: str, now: Micros, *, tenant: str, granted: bool, context: str | None) -> Ticket:
    """One that holds from now on."""
    return Ticket(ticket_id, now + SECONDS * SECOND, tenant, granted, context)
