"""What leaves the broker for others: the one guarded HTTP client, and a transport for each scheme of an endpoint."""

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
from broker.outbound.message import Message, Transport

__all__ = [
    "Answer",
    "BadAnswer",
    "Fetched",
    "Forbidden",
    "HostResting",
    "Message",
    "Outbound",
    "OutboundError",
    "TimedOut",
    "Transport",
    "Unreachable",
]
