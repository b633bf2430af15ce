"""What is personal, what may be published, and what a command without the grant must not need."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.access.personal import NOTHING, Personal, check_needs, publishable
from broker.errors import AccessDenied
from broker.ngsild.model import PERSONAL_ALERTS
from broker.stores.base import Needs, Record, RecordKind

HOME = Personal(frozenset({"urn:x:home", "urn:ngsi-ld:Device:d"}), frozenset({"home"}), frozenset({"d"}))


def test_nothing_personal_may_be_published_whoever_asks() -> None:
    entities = ["urn:x:hall", "urn:x:home", PERSONAL_ALERTS + "1", "urn:ngsi-ld:Alert:1", "urn:ngsi-ld:Device:d"]
    assert publishable(entities, HOME) == ["urn:x:hall", "urn:ngsi-ld:Alert:1"]


@given(st.lists(st.text(max_size=30)), st.frozensets(st.text(max_size=30)))
def test_what_may_be_published_and_what_is_personal_are_all_there_is(ids: list[str], personal: frozenset[str]) -> None:
    known = Personal(personal)
    assert sorted([*publishable(ids, known), *known.among(ids)]) == sorted(ids)
    assert not personal & set(publishable(ids, known))


@pytest.mark.parametrize(
    ("kind", "record_id", "body"),
    [
        ("virtual_sensor", "home", {}),
        ("sensor_state", "home", {}),
        ("device", "d", {}),
        ("device_state", "d", {}),
        ("evolution", "urn:x:home", {}),
        ("binding", "b", {"virtualSensor": "home"}),
        ("swap", "s", {"virtualSensor": "home"}),
        ("alarm", "a", {"virtualSensor": "home"}),
        ("device_command", "c", {"virtualSensor": "home"}),
        ("revision", "r", {"of": "virtual_sensor", "id": "home"}),
        ("subscription", "urn:sub:1", {"granted": True}),
    ],
)
def test_records_that_tell_of_it_are_personal_and_their_likes_are_not(
    kind: RecordKind, record_id: str, body: dict[str, object]
) -> None:
    assert HOME.record(Record(kind, record_id, body, 1))
    if kind != "subscription":
        assert not NOTHING.record(Record(kind, record_id, body, 1))
        assert not HOME.record(Record(kind, "other", {**body, "virtualSensor": "other", "id": "other"}, 1))
    assert not HOME.record(Record("subscription", record_id, {**body, "granted": False}, 1))


def test_a_device_model_of_a_personal_sensors_name_is_nobodys() -> None:
    assert not HOME.record(Record("device_model", "home", {}, 1))
    assert not HOME.record(Record("revision", "r", {"of": "device_model", "id": "home"}, 1))


@pytest.mark.parametrize(
    "needs", [Needs(entities={"urn:x:home"}), Needs(records={("device", "d")}), Needs(entities={PERSONAL_ALERTS + "1"})]
)
def test_a_command_that_needs_it_is_refused(needs: Needs) -> None:
    with pytest.raises(AccessDenied):
        check_needs(needs, HOME)
    check_needs(Needs(entities={"urn:x:hall"}, records={("device", "e"), ("device_model", "home")}), HOME)
