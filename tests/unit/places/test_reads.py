"""An overview is read in as many steps as there are levels, not as there are rooms."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from broker.clock import SECOND
from broker.devices.alarms.model import Alarm, AlarmState, alarm_keys
from broker.devices.model import Binding, Device, DeviceState, Output, VirtualSensor
from broker.devices.registry import to_body
from broker.places.behind import ASKED_EACH, behind
from broker.places.containment import Vocabulary, contained
from broker.places.overview import summed
from broker.stores.base import RecordWrite, TenantStore
from tests.support.stores import MOMENT, entities_of, entity, iri, make_store, relationship

WORDS = Vocabulary((iri("inBuilding"), iri("of")), frozenset({iri("Room")}))


class Counted:
    """A store that counts what is asked of it."""

    def __init__(self, store: TenantStore) -> None:
        self._store = store
        self.asked: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)

        def asked(*given: Any, **named: Any) -> Any:
            self.asked[name] += 1
            return method(*given, **named)

        return asked


async def reads(folder: Path, rooms: int) -> Counter[str]:
    store = make_store(f"sqlite:///{folder}/{rooms}.db")
    await store.open()
    tenant = await store.tenant()
    changes = entities_of(
        *(entity(f"urn:r:{n}", "Room", attrs={iri("inBuilding"): [relationship("urn:b")]}) for n in range(rooms)),
        *(entity(f"urn:o:{n}", "Observed", attrs={iri("of"): [relationship(f"urn:r:{n}")]}) for n in range(rooms)),
    )
    for n in range(rooms):
        outputs = (Output(quantity="temperature", attribute=iri("temperature")),)
        sensor = VirtualSensor(id=f"s{n}", name="", entity=f"urn:o:{n}", entity_type=iri("Observed"), outputs=outputs)
        binding = Binding(id=f"b{n}", device=f"d{n}", virtual_sensor=sensor.id, valid_from=MOMENT)
        state = DeviceState(last_seen=MOMENT + n)
        changes.records += [
            RecordWrite("virtual_sensor", sensor.id, to_body(sensor), 1, 0, (f"entity:{sensor.entity}",)),
            RecordWrite("binding", binding.id, to_body(binding), 1, 0, (f"sensor:{sensor.id}", f"device:d{n}")),
            RecordWrite("device", f"d{n}", to_body(Device(id=f"d{n}", model="m")), 1, 0),
            RecordWrite("device_state", f"d{n}", to_body(state), 1, 0),
        ]
    told: list[tuple[str, str, AlarmState]] = [("a", "s0", "open"), ("b", "s0", "closed"), ("c", "elsewhere", "open")]
    for alarm_id, of, became in told:
        alarm = Alarm(
            id=alarm_id, virtual_sensor=of, kind="silence", severity="low", state=became, text="", entity="urn:o:0",
            since=MOMENT, opened_at=MOMENT,
        )  # fmt: skip
        changes.records.append(RecordWrite("alarm", alarm_id, to_body(alarm), 1, 0, alarm_keys(alarm)))
    await tenant.commit(changes)
    counted: Any = Counted(tenant)
    now = MOMENT + SECOND
    found = await contained(counted, "urn:b", WORDS, levels=20, most=10_000, now=now)
    things = await behind(counted, [found.root, *found.nodes], now)
    total = summed(found, things, WORDS, now)[found.root]
    assert (total.places, total.entities, total.sensors) == (rooms, 2 * rooms, rooms)
    assert total.open_alarms == 1
    assert total.last_seen == MOMENT + rooms - 1
    await store.close()
    asked: Counter[str] = counted.asked
    return asked


async def test_a_place_with_many_rooms_is_read_as_often_as_one_with_few(tmp_path: Path) -> None:
    few, many = await reads(tmp_path, 5), await reads(tmp_path, ASKED_EACH + 50)
    assert few["load"] == many["load"]
    assert many["query"] <= few["query"] + 2, "250 rooms are two parts of a level"
    assert many.total() <= 8, many
