"""Who is at the other end of a message, whatever carries it."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Protocol

from aiocoap import Message


class Peer(Protocol):
    """Who is at the other end. Also aiocoap's `Message.remote`, as far as that is needed."""

    key: Hashable
    """Tells endpoints apart."""
    device: str
    """Whose credential it proved; '' without one."""
    key_id: str
    """That credential; '' without one."""
    connection: bytes
    """What names the connection or session, random; b'' for datagrams from an address."""

    @property
    def hostinfo(self) -> str:
        """For logs and lineage: address and port."""
        ...

    def send(self, datagram: bytes) -> None:
        """Send one datagram, or drop it."""
        ...


def exchange_of(message: Message) -> bytes:
    """What a message and its retransmissions have, and no other of its endpoint for a while.

    TCP has no message ids. There, and in a DTLS session, tokens and ids are the connection's own.
    """
    number = message.mid.to_bytes(2, "big") if message.mid is not None else b""
    return bytes(message.remote.connection) + bytes(message.token) + number
