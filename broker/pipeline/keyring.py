"""The devices' keys in memory, in step with the store: what CoAP asks with every handshake and message.

Secrets stay sealed in memory and are opened when one is asked for. A change made by another process is seen within
`LOOK_SECONDS`; one made here, before it is answered.
"""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from broker.clock import Clock
from broker.devices.credentials import DeviceKey, RestOscore, TakeOscore, about, as_key
from broker.devices.sealing import Sealer
from broker.errors import BrokerError
from broker.pipeline.expiry import Executor
from broker.pipeline.intake import Credential, Numbers
from broker.stores.base import TenantStore

log = structlog.get_logger(__name__)

LOOK_SECONDS: Final = 2.0
"""How often it is looked whether keys changed."""
PAGE: Final = 2000
"""Keys read at once, count."""


class Keys:
    """A `Keyring`. `run` keeps it in step."""

    def __init__(self, store: TenantStore, writer: Executor, clock: Clock, sealer: Sealer) -> None:
        self._store = store
        self._writer = writer
        self._clock = clock
        self._sealer = sealer
        self._epoch = -1
        self._keys: dict[str, DeviceKey] = {}
        self._credentials: dict[str, str] = {}
        self._devices: dict[str, list[str]] = {}
        self._reading = asyncio.Lock()
        self.known = asyncio.Event()
        """Set once they were read."""

    async def run(self) -> None:
        """Keep in step until cancelled."""
        while True:
            try:
                await self.refresh()
            except BrokerError as error:
                log.warning("keys.not_read", reason=error.detail)
            await asyncio.sleep(LOOK_SECONDS)

    async def refresh(self) -> None:
        """Read the keys anew if any has changed. Raises StoreUnavailable."""
        async with self._reading:
            epoch = (await self._store.epochs()).get("device_key", 0)
            if epoch == self._epoch:
                return
            keys: dict[str, DeviceKey] = {}
            after = ""
            while True:
                page = await self._store.records("device_key", after=after, limit=PAGE)
                keys |= {record.id: as_key(record) for record in page}
                if len(page) < PAGE:
                    break
                after = page[-1].id
            self._keys, self._devices, self._credentials = {}, {}, {}
            for key_id, key in keys.items():
                self._add(key_id, key)
            self._epoch = epoch
            self.known.set()

    async def refresh_device(self, device_id: str) -> None:
        """Read one device's keys anew: those of all may be many. Raises StoreUnavailable."""
        async with self._reading:
            records = await self._store.records("device_key", key=f"device:{device_id}")
            for key_id in self._devices.pop(device_id, ()):
                self._credentials.pop(self._keys.pop(key_id).credential, None)
            for record in records:
                self._add(record.id, as_key(record))

    def _add(self, key_id: str, key: DeviceKey) -> None:
        if key.holds(self._clock.now()):
            self._keys[key_id] = key
            self._credentials[key.credential] = key_id
            self._devices.setdefault(key.device, []).append(key_id)

    def keyed(self, device_id: str) -> bool:
        """See `Keyring`."""
        return any(self.holds(key_id) for key_id in self._devices.get(device_id, ()))

    def holds(self, key_id: str) -> bool:
        """See `Keyring`."""
        key = self._keys.get(key_id)
        return key is not None and key.holds(self._clock.now())

    def pre_shared(self, identity: str) -> Credential | None:
        """See `Keyring`."""
        return self._opened(f"dtls-psk:{identity}:-")

    def oscore(self, theirs: bytes, context: bytes | None) -> Credential | None:
        """See `Keyring`."""
        return self._opened(f"oscore:{theirs.hex()}:{context.hex() if context is not None else '-'}")

    def _opened(self, credential: str) -> Credential | None:
        key_id = self._credentials.get(credential)
        if key_id is None or not self.holds(key_id):
            return None
        key = self._keys[key_id]
        secret = self._sealer.open(key.sealed, about(key_id, key.device))
        if secret is None:
            log.error("keys.not_opened", key=key_id, device=key.device, reason="sealed under another coap.key_secret")
            return None
        return Credential(
            key_id,
            key.device,
            secret,
            bytes.fromhex(key.identity) if key.scheme == "oscore" else b"",
            bytes.fromhex(key.ours),
            bytes.fromhex(key.salt),
            bytes.fromhex(key.context) if key.context is not None else None,
        )

    async def take(self, key_id: str, count: int, *, begins: bool) -> Numbers:
        """See `Keyring`."""
        state = await self._writer.execute(TakeOscore(key_id, count, begins))
        return Numbers(state.sequence, state.window)

    async def rest(self, windows: dict[str, tuple[int, int]]) -> None:
        """See `Keyring`."""
        await self._writer.execute(RestOscore(windows), wait=True)
