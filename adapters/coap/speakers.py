"""Who speaks: whose credential protects a message, and only without one who the device says that it is."""

from __future__ import annotations

from aiocoap import Code

from adapters.coap.peer import Peer
from adapters.coap.refusal import Refused
from broker.pipeline.intake import Keyring


class Speakers:
    """Tells which device is at the other end."""

    def __init__(self, keyring: Keyring | None, *, plain: bool) -> None:
        """`keyring`: the devices' keys; None: there are none. `plain`: whether unprotected messages are taken."""
        self._keyring = keyring
        self._plain = plain

    def admit(self, peer: Peer) -> None:
        """Raises Refused for a message that is not protected where it must be, before any of it is kept."""
        if not self.proven(peer) and not self._plain:
            raise Refused(Code.UNAUTHORIZED, "Messages must be protected: OSCORE or DTLS.")

    def proven(self, peer: Peer) -> str:
        """The device whose credential was proved; '' without one. Raises Refused for one that was revoked or has ended."""
        if peer.device and (self._keyring is None or not self._keyring.holds(peer.key_id)):
            raise Refused(Code.UNAUTHORIZED, "The credential is not in force any more.")
        return peer.device

    def who(self, peer: Peer, named: str) -> str:
        """The device that speaks, given the id that it names ('' for none). Raises Refused."""
        self.admit(peer)
        proven = self.proven(peer)
        if proven:
            if named and named != proven:
                raise Refused(Code.FORBIDDEN, "The credential is another device's.")
            return proven
        if not named:
            raise Refused(Code.NOT_FOUND, "Say which device sends: /up/{device}, or register first.")
        if self._keyring is not None and self._keyring.keyed(named):
            raise Refused(Code.UNAUTHORIZED, "This device has a key, and must use it.")
        return named
