"""A kept uplink, read and decoded again, as the command that corrects what it brought."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from broker.config import Limits
from broker.pipeline.apply_uplink import Decoded
from broker.pipeline.intake import Uplink
from broker.pipeline.reprocess.correct import Correct
from broker.pipeline.uplinks import Uplinks
from broker.stores.base import BYTES_DROPPED, UplinkRow

NO_BYTES: Final = "Its bytes are not kept any more."
OTHER_NETWORK: Final = "Its network is not in the settings any more, or is described otherwise than when it came."


@dataclass(frozen=True, slots=True)
class Looking:
    """What it takes to look at uplinks again."""

    uplinks: Uplinks
    read_again: Callable[[UplinkRow], Uplink]
    limits: Limits

    async def command(self, job: str, part: str, row: UplinkRow, *, selected: bool) -> Correct:
        """The command for one uplink. Raises Overloaded when its codec is behind."""
        uplink, unreadable = self._read(row)
        decoded = await self.uplinks.decode(uplink) if uplink is not None else Decoded()
        return Correct(job, part, row, uplink, unreadable, decoded, self.limits, selected)

    def _read(self, row: UplinkRow) -> tuple[Uplink | None, str]:
        if BYTES_DROPPED in row.meta:
            return None, NO_BYTES
        try:
            return self.read_again(row), ""
        except ValueError:
            return None, OTHER_NETWORK
