"""What a command may not do without the grant, however it comes to it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from msgspec.structs import replace

from broker.access.personal import ACCESS, Access
from broker.clock import Stamp
from broker.devices.commands import PutVirtualSensor
from broker.devices.model import Personal, VirtualSensor
from broker.entities.commands import CreateEntity
from broker.errors import AccessDenied, Conflict
from broker.ngsild.change import EntityChange
from broker.ngsild.fragment import Fragment
from broker.pipeline.guard import GuardedWriter
from broker.pipeline.personal import PersonalData
from broker.stores.base import Needs, Snapshot, TenantStore
from broker.stores.command import Alone, Command, Effects, View
from tests.support.stores import entity
from tests.unit.pipeline.conftest import MakeWriter

HOME = "urn:x:home"
SENSOR = VirtualSensor(
    id="home",
    name="",
    entity=HOME,
    entity_type="https://example.org/Room",
    outputs=(),
    personal=Personal(retention_days=1, purpose="x"),
)


@dataclass(frozen=True)
class Sly:
    """Changes an entity that it did not say it would."""

    entity_id: str = HOME

    def needs(self, seen: Snapshot) -> Needs:
        return Needs()

    def apply(self, view: View, stamp: Stamp) -> Effects[str]:
        after = entity(self.entity_id)
        return Effects("done", changes=[EntityChange(self.entity_id, None, after, {})])


class SlyAlone(Sly, Alone):
    """The same in a group of its own."""


@pytest.fixture(autouse=True)
def asked() -> Iterator[None]:
    """A request without the grant."""
    token = ACCESS.set(Access(granted=False))
    yield
    ACCESS.reset(token)


@pytest.mark.parametrize("command", [Sly(), SlyAlone(), CreateEntity(Fragment(HOME, ["https://example.org/Room"], {}))])
async def test_it_is_refused_and_with_the_grant_it_is_done(
    store: TenantStore, running: MakeWriter, command: Command[Any]
) -> None:
    async with running(store) as writer:
        guarded = GuardedWriter(writer, PersonalData(store))
        await writer.execute(PutVirtualSensor(SENSOR))
        with pytest.raises(AccessDenied):
            await guarded.execute(command)
        assert await guarded.execute(Sly("urn:x:hall")) == "done"
        assert await store.entity(HOME) is None
        ACCESS.set(Access(granted=True))
        await guarded.execute(command)
        assert await store.entity(HOME) is not None


async def test_the_grant_does_not_make_public_what_was_personal(store: TenantStore, running: MakeWriter) -> None:
    async with running(store) as writer:
        guarded = GuardedWriter(writer, PersonalData(store))
        ACCESS.set(Access(granted=True))
        await guarded.execute(PutVirtualSensor(SENSOR))
        with pytest.raises(Conflict):
            await guarded.execute(PutVirtualSensor(replace(SENSOR, personal=None)))
