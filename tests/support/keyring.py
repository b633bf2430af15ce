"""Devices' keys in memory, for tests of the CoAP server by itself."""

from __future__ import annotations

from broker.pipeline.intake import Credential, Numbers

KEY = bytes(range(16))


class Keyring:
    """Implements `broker.pipeline.intake.Keyring`: pre-shared keys by identity, the same key each."""

    def __init__(self, identities: dict[str, str]) -> None:
        """`identities`: whose they are."""
        self.identities = identities
        self.revoked: set[str] = set()

    def keyed(self, device_id: str) -> bool:
        """See there."""
        return device_id in self.identities.values()

    def holds(self, key_id: str) -> bool:
        """See there."""
        return key_id in self.identities and key_id not in self.revoked

    def pre_shared(self, identity: str) -> Credential | None:
        """See there."""
        return Credential(identity, self.identities[identity], KEY) if self.holds(identity) else None

    def oscore(self, theirs: bytes, context: bytes | None) -> Credential | None:
        """None has one."""
        return None

    async def take(self, key_id: str, count: int, *, begins: bool) -> Numbers:
        """Not asked: there is no OSCORE."""
        raise NotImplementedError

    async def rest(self, windows: dict[str, tuple[int, int]]) -> None:
        """Nothing to keep."""
