"""What handlers work with, built by `broker.app` and passed in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from broker.clock import Clock, Micros
from broker.config import Limits, Settings
from broker.jsonld.resolver import ContextResolver
from broker.outbound import Transport
from broker.pipeline.claims import Claims
from broker.pipeline.downlinks import Downlinks
from broker.pipeline.guard import GuardedFeed
from broker.pipeline.intake import Intake, Unread, Uplink
from broker.pipeline.quarantine import Quarantine
from broker.pipeline.raw_uplinks import RawUplinks
from broker.pipeline.reprocess.run import Reprocessings
from broker.stores.base import Record, TenantStore
from broker.stores.command import Command
from broker.subscriptions.receivers.telling import Telling
from broker.subscriptions.state import DeliveryState

ResultT = TypeVar("ResultT")


async def _nobody(_: str) -> None:
    """Nobody is to be told."""


class Executor(Protocol):
    """The writer, as handlers see it."""

    async def execute(self, command: Command[ResultT], *, wait: bool = False, weight: int = 1) -> ResultT:
        """The command's result once it is durable. Raises BrokerError; Overloaded when there is no room and not `wait`.

        `weight`: how many commands it counts for.
        """
        ...


class Tenant(Protocol):
    """One tenant's data, and the writer that alone changes it."""

    @property
    def name(self) -> str:
        """'' for the default tenant."""
        ...

    @property
    def store(self) -> TenantStore:
        """What is read."""
        ...

    @property
    def writer(self) -> Executor:
        """What changes it."""
        ...

    @property
    def feed(self) -> GuardedFeed:
        """Its changes, live."""
        ...

    @property
    def process(self) -> str:
        """What this process is called in leases; '' where it is the only one."""
        ...

    @property
    def unwritten(self) -> Callable[[str], DeliveryState | None]:
        """Subscription id -> how its delivery stands in this process, where that is newer than what the store says."""
        ...


class Tenants(Protocol):
    """All tenants."""

    @property
    def default(self) -> Tenant:
        """The one that requests without a tenant are for."""
        ...

    async def find(self, name: str, *, create: bool = False) -> Tenant:
        """The tenant of a name. `create`: make it where the settings allow that. Raises BadRequestData, NonexistentTenant."""
        ...

    async def create(self, name: str) -> Tenant:
        """A new tenant. Raises AlreadyExists, BadRequestData, OperationNotSupported."""
        ...

    async def recorded(self) -> list[Record]:
        """All but the default one, by name."""
        ...

    async def record_of(self, name: str) -> Record | None:
        """What is said of a tenant, '' for the default one."""
        ...

    async def keep_raw(self, name: str, keep_days: str | int | None) -> None:
        """Say how long a tenant's raw uplinks are kept; None: as the settings have it. Raises NonexistentTenant."""
        ...


class UplinkReader(Protocol):
    """Reads what one network server pushes over HTTP."""

    def __call__(
        self, event: str, body: bytes, *, source: str, received_at: Micros, limits: Limits
    ) -> Sequence[Uplink | Unread]:
        """The uplinks in `body`. Raises ValueError, whose text says why it cannot be understood."""
        ...


@dataclass(frozen=True, slots=True)
class UplinkDoor:
    """Where one source pushes its uplinks."""

    network: str
    read: UplinkReader
    parameters: frozenset[str] = frozenset()
    """Query parameters of the network's own that are passed over."""
    check: Callable[[Mapping[str, str]], None] | None = None
    """Raises Unauthorized unless the headers have the source's secret; None: the token of all other routes is asked for."""


@dataclass(frozen=True, slots=True)
class Services:
    """One process's parts."""

    settings: Settings
    tenants: Tenants
    contexts: ContextResolver
    clock: Clock
    ready: Callable[[], Awaitable[dict[str, str]]]
    """Component -> 'ok', or what is wrong with it."""
    intake: Intake
    claims: Claims
    downlinks: Downlinks
    quarantine: Quarantine
    reprocessings: Reprocessings
    raw_uplinks: RawUplinks
    transport: Transport
    """What sends a test to a ready receiver, past the outbox."""
    telling: Telling
    uplink_doors: Mapping[str, UplinkDoor] = field(default_factory=dict)
    """By the name of a source or a network, as in POST /api/v1/uplinks/{network}."""
    keys_changed: Callable[[str], Awaitable[None]] = _nobody
    """Called with a device whose keys were changed; returns when the adapters of this process go by the new ones."""
