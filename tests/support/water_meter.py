"""A household's water and the meters that count it, in litres: a Qalcosonic W1 as it sends, twice a day, with its log."""

from __future__ import annotations

import base64
import json
import random
import struct
from typing import Any

from broker.clock import SECOND, Micros, iso

HOUR = 3600 * SECOND
_LOG = 16
"""Hours of the log in a frame: the first value and 15 increments."""


class Household:
    """What is used, hour by hour: the truth. The same seed, the same water."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self.used = 0
        """Litres since the beginning."""

    def hour(self, of_day: int) -> int:
        """Litres of the next hour."""
        most = 90 if 6 <= of_day <= 8 or 17 <= of_day <= 21 else 25 if of_day > 8 else 4
        litres = self._chance.randint(0, most) if self._chance.random() < 0.7 else 0
        self.used += litres
        return litres


class Meter:
    """One piece of hardware with a register of litres."""

    def __init__(self, dev_eui: str, litres: int) -> None:
        self.dev_eui = dev_eui
        self.litres = litres
        self._log: list[tuple[Micros, int]] = []
        self._frames = 0

    def count(self, litres: int) -> None:
        """Water flows."""
        self.litres += litres

    def full_hour(self, at: Micros) -> None:
        """It keeps the register of each full hour."""
        self._log = [*self._log, (at, self.litres)][-_LOG:]

    def reset(self) -> None:
        """The register and the log begin anew."""
        self.litres, self._log = 0, []

    def uplink(self, at: Micros) -> bytes:
        """A ChirpStack `up` event at a full hour: the reading and the log (Axioma, "W1 LoRa payload", Extended)."""
        (first_at, first), *rest = self._log
        increments = [after - before for (_, before), (_, after) in zip(self._log, rest, strict=False)]
        payload = struct.pack("<IBIII", at // SECOND, 0, self.litres, first_at // SECOND, first)
        payload += struct.pack(f"<{len(increments)}H", *increments)
        self._frames += 1
        event: dict[str, Any] = {
            "deduplicationId": f"{self.dev_eui}-{self._frames}",
            "time": iso(at),
            "deviceInfo": {"devEui": self.dev_eui},
            "fCnt": self._frames,
            "fPort": 100,
            "data": base64.b64encode(payload).decode(),
        }
        return json.dumps(event).encode()
