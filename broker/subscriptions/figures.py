"""One tenant's deliveries as metrics, for alerts. All processes of a store show the same."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from broker import metrics
from broker.clock import SECOND, Clock
from broker.errors import StoreUnavailable
from broker.stores.base import TenantStore
from broker.subscriptions.steering import read_steering

log = structlog.get_logger(__name__)

MEASURE_SECONDS: Final = 10.0
"""How often."""
DEFAULT: Final = "default"
"""What the default tenant is called in labels."""


async def measure(store: TenantStore, clock: Clock, *, tenant: str) -> None:
    """Count, every MEASURE_SECONDS, until cancelled."""
    label = tenant or DEFAULT
    while True:
        try:
            backlogs = (await store.backlogs()).values()
            steered = await store.records("steering")
            replays = await store.records("replay", key="open")
        except StoreUnavailable as error:
            log.warning("delivery.not_measured", reason=error.detail)
        else:
            oldest = min((one.oldest for one in backlogs if one.oldest is not None), default=None)
            metrics.backlog.labels(label).set(sum(one.owed for one in backlogs))
            metrics.dead_letters.labels(label).set(sum(one.dead for one in backlogs))
            metrics.backlog_lag.labels(label).set(max(clock.now() - oldest, 0) / SECOND if oldest is not None else 0.0)
            metrics.paused.labels(label).set(sum(1 for one in steered if read_steering(one).paused))
            metrics.replays.labels(label).set(len(replays))
        await asyncio.sleep(MEASURE_SECONDS)
