"""The one guarded HTTP client, for every request the broker makes for others."""

from broker.outbound.client import (
    Answer,
    BadAnswer,
    Fetched,
    Forbidden,
    HostResting,
    Outbound,
    OutboundError,
    TimedOut,
    Unreachable,
)

__all__ = [
    "Answer",
    "BadAnswer",
    "Fetched",
    "Forbidden",
    "HostResting",
    "Outbound",
    "OutboundError",
    "TimedOut",
    "Unreachable",
]
