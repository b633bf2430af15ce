"""What is personal, as a process has it in memory: in step with the registry, whoever changes it."""

from __future__ import annotations

from msgspec.structs import replace

from broker.devices.commands import PutVirtualSensor
from broker.devices.model import Personal, VirtualSensor
from broker.pipeline.personal import PersonalData
from broker.stores.base import TenantStore
from tests.unit.pipeline.conftest import MakeWriter

SENSOR = VirtualSensor(id="home", name="", entity="urn:x:home", entity_type="https://example.org/Room", outputs=())
MARKED = replace(SENSOR, personal=Personal(retention_days=1, purpose="x"))


async def test_another_process_knows_of_it_as_soon_as_it_asks_again(store: TenantStore, running: MakeWriter) -> None:
    moment = 0.0
    other = PersonalData(store, trust_seconds=1.0, moment=lambda: moment)
    async with running(store) as writer:
        await writer.execute(PutVirtualSensor(SENSOR))
        assert not (await other.now()).entity("urn:x:home")
        await writer.execute(PutVirtualSensor(MARKED))
        moment = 0.9
        assert not (await other.now()).entity("urn:x:home")
        moment = 1.0
        assert (await other.now()).entity("urn:x:home")


async def test_the_process_that_commits_it_knows_at_once(store: TenantStore, running: MakeWriter) -> None:
    own = PersonalData(store, trust_seconds=1000.0, moment=lambda: 0.0)
    async with running(store, personal=own) as writer:
        assert not (await own.now()).entity("urn:x:home")
        await writer.execute(PutVirtualSensor(MARKED))
        assert own.known.entity("urn:x:home")
        assert (await own.now()).sensors == {"home"}


async def test_where_it_wrote_before_stays_personal_if_it_was_marked_then(
    store: TenantStore, running: MakeWriter
) -> None:
    async with running(store) as writer:
        for sensor in (SENSOR, replace(MARKED, entity="urn:x:second"), replace(MARKED, entity="urn:x:third")):
            await writer.execute(PutVirtualSensor(sensor))
    personal = await PersonalData(store).now()
    assert [personal.entity(urn) for urn in ("urn:x:home", "urn:x:second", "urn:x:third")] == [False, True, True]
