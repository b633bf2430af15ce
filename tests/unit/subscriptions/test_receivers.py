"""Ready receivers without a broker: what is told, when, and in which words."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.config import Limits
from broker.devices import model as devices
from broker.ngsild.change import EntityChange
from broker.ngsild.model import DEFAULT_VOCAB, Entity
from broker.subscriptions.owed import owed, read_owed
from broker.subscriptions.receivers import model
from broker.subscriptions.receivers.check import read_receiver, shown_document
from broker.subscriptions.receivers.render import at_once, message
from broker.subscriptions.receivers.rules import Rules, make_rules
from broker.subscriptions.receivers.telling import events_of
from broker.subscriptions.receivers.templates import ENTRIES, FIELDS, fill
from broker.subscriptions.receivers.words import WORDS, About, heading, tell

AT = "2026-11-21T10:00:00.000Z"
NOW = 1795258800000000
TYPE = DEFAULT_VOCAB + "Room"
Q: list[dict[str, Any]] = [
    {"id": "warm", "type": "Room", "q": "temperature>26", "ended": True},
    {"id": "empty", "type": "Room", "q": "people==0", "ended": True},
    {"id": "either", "type": "Room", "q": 'temperature<5|people==0;name~="^S"'},
]


def rules(thresholds: list[dict[str, Any]] = Q, **document: Any) -> Rules:
    made = read_receiver(
        {"name": "Drift", "send": {"kind": "email", "to": ["a@b.se"]}, "thresholds": thresholds, **document}
    )
    return make_rules(made, lambda name: DEFAULT_VOCAB + name, Limits())


def entity(values: dict[str, Any], kind: str = TYPE, entity_id: str = "urn:x:Room:1") -> Entity:
    return {
        "id": entity_id,
        "type": [kind],
        "createdAt": AT,
        "modifiedAt": AT,
        "attrs": {
            DEFAULT_VOCAB + name: [{"type": "Property", "value": value, "createdAt": AT, "modifiedAt": AT}]
            for name, value in values.items()
        },
    }


def change(before: dict[str, Any] | None, after: dict[str, Any], kind: str = TYPE) -> EntityChange:
    was, now = entity(before, kind) if before is not None else None, entity(after, kind)
    names = {*(before or {}), *after}
    triggers: dict[str, Any] = {
        DEFAULT_VOCAB + name: "attributeCreated"
        if name not in (before or {})
        else "attributeDeleted"
        if name not in after
        else "attributeUpdated"
        for name in names
        if (before or {}).get(name) != after.get(name)
    }
    return EntityChange(now["id"], was, now, triggers)


VALUES = st.fixed_dictionaries(
    {},
    optional={
        "temperature": st.sampled_from([0, 20, 26, 27, 30, None]),
        "people": st.sampled_from([0, 1, 2]),
        "name": st.sampled_from(["Sal 1", "sal 2", ""]),
    },
)


@given(st.none() | VALUES, VALUES)
def test_what_is_found_when_it_is_told_is_what_was_matched(
    before: dict[str, Any] | None, after: dict[str, Any]
) -> None:
    one, made = change(before, after), rules()
    told = made.events(one.before, entity(after), NOW)
    assert made.tells(one) == bool(told)
    row = owed(one, "urn:x", 1, NOW, 0, previous=True)
    assert events_of(made, read_owed(row)) == told


@given(st.lists(st.sampled_from([20, 26, 27, 30, 31]), min_size=1, max_size=20))
def test_a_condition_is_told_once_for_each_time_that_it_holds(values: list[int]) -> None:
    made = rules(Q[:1])
    told = []
    before: dict[str, Any] | None = None
    for value in values:
        after = {"temperature": value}
        told += [event.ended for event in made.events(entity(before) if before else None, entity(after), NOW)]
        before = after
    warm = [value > 26 for value in values]
    expected = [is_warm is False for was, is_warm in zip([False, *warm], warm, strict=False) if was != is_warm]
    assert told == expected


def alert(state: str = "open", severity: str = "high", kind: str = "battery") -> dict[str, Any]:
    return {
        "alarmState": state,
        "severity": severity,
        "subCategory": kind,
        "alertSource": "urn:x:Room:1",
        "validFrom": {"@type": "DateTime", "@value": AT},
        "closedBecause": "recovered" if state == "closed" else None,
    }


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (None, alert(), [False]),
        (None, alert(severity="low"), []),
        (alert(), alert("acknowledged"), []),
        (alert(), alert("closed"), [True]),
        (alert("acknowledged"), alert("closed"), [True]),
        (alert("closed"), alert("closed"), []),
    ],
)
def test_an_alarm_is_told_when_it_begins_and_when_it_is_over(
    before: dict[str, Any] | None, after: dict[str, Any], told: list[bool]
) -> None:
    made = rules([], alarms={"severity": "medium"})
    one = change(before, after, DEFAULT_VOCAB + "Alert")
    assert [event.ended for event in made.events(one.before, entity(after, DEFAULT_VOCAB + "Alert"), NOW)] == told
    assert made.tells(one) == bool(told)


def test_the_words_are_those_of_alarms_in_both_languages() -> None:
    assert get_args(model.Severity) == get_args(devices.Severity) == model.SEVERITIES
    assert set(get_args(model.AlarmKind)) == set(get_args(devices.AlarmKind))
    from broker.devices.alarms.model import Because

    for words in WORDS.values():
        assert set(words) == set(WORDS["en"])
        assert set(words["severities"]) == set(model.SEVERITIES)
        assert set(words["kinds"]) == set(get_args(model.AlarmKind))
        assert set(words["because"]) == set(get_args(Because))


@pytest.mark.parametrize(
    ("kind", "data", "swedish"),
    [
        ("silence", {"lastSeen": AT}, "Inget meddelande sedan 2026-11-21 10:00Z."),
        ("silence", {}, "Enheten har inte hörts sedan den kopplades."),
        ("battery", {"percent": 9.6, "limit": 15.0}, "Batteriet är på 10 % (lågt vid 15 %)."),
        ("battery", {"volts": 3.012, "limit": 3.1}, "Batteriet är på 3.01 V (lågt vid 3.1 V)."),
        ("radio", {"rssi": -125, "snr": -17.5}, "Radion är svag: rssi -125 dBm, snr -17.5 dB."),
        ("frameLoss", {"lost": 8, "frames": 20}, "8 av de 20 senaste meddelandena gick förlorade."),
        ("implausible", {"values": [{"attribute": "co2", "check": "range"}]}, "Orimliga värden: co2."),
        ("threshold", {"attribute": "temperature", "value": 2.5, "limit": 5}, "temperature är 2.5, under 5."),
        ("radio", {}, "as it was said"),
    ],
)
def test_alarms_in_swedish(kind: str, data: dict[str, Any], swedish: str) -> None:
    made = rules([], alarms={"severity": "low"}, language="sv")
    after = {**alert(kind=kind)}
    whole = entity(after, DEFAULT_VOCAB + "Alert")
    for name, value in (
        ("https://uri.etsi.org/ngsi-ld/data", data),
        (
            "http://purl.org/dc/terms/description",
            "temperature is 2.5, below 5." if kind == "threshold" else "as it was said",
        ),
    ):
        whole["attrs"][name] = [{"type": "Property", "value": value, "createdAt": AT, "modifiedAt": AT}]
    (event,) = made.events(None, whole, NOW)
    told = tell(
        event, About("urn:x:Room:1", "Sal 1", way=(("urn:x:b", "Skolan"), ("urn:x:f", None))), made.receiver, ""
    )
    assert told.text == swedish
    assert told.where == "Sal 1, f, Skolan"
    assert heading([told], made.receiver).startswith("Hög: ")


NASTY = st.text(st.characters(codec="utf-8"), max_size=40)


@given(NASTY, NASTY, st.sampled_from(["email", "teams", "webhook"]))
def test_a_message_is_well_formed_whatever_things_are_called(name: str, value: str, kind: str) -> None:
    ways: dict[str, dict[str, Any]] = {
        "email": {"kind": "email", "to": ["a@b.se"]},
        "teams": {"kind": "teams", "url": "https://x.example/y"},
        "webhook": {
            "kind": "webhook",
            "url": "https://x.example/y",
            "template": {"t": "{title}", "x": "{text}", "e": ENTRIES},
        },
    }
    send = ways[kind]
    rule = {"id": "a", "type": "Room", "q": 'name~="."|name==""|name'}
    made = rules([rule], send=send)
    events = made.events(None, entity({"name": value}), NOW)
    told = [tell(event, About("urn:x:Room:1", name), made.receiver, "") for event in events]
    assert told
    sent = message(made.receiver, "drift", told, "urn:x:1", NOW, 5.0)
    if kind == "email":
        assert sent.body.decode().count("\n-- \n") == 1
    else:
        body = json.loads(sent.body)
        assert set(body) == ({"type", "attachments"} if kind == "teams" else {"t", "x", "e"})
    assert at_once(made.receiver) > 0


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(JSON, st.text())
def test_filling_a_template_changes_texts_and_no_shape(template: Any, value: str) -> None:
    def shape(one: Any) -> Any:
        if isinstance(one, dict):
            return {name: shape(inner) for name, inner in one.items()}
        if isinstance(one, list):
            return [shape(inner) for inner in one]
        return "" if isinstance(one, str) else one

    assert shape(fill(template, dict.fromkeys(FIELDS, value), [])) == shape(template)


def test_what_is_filled_in_is_not_filled_in_again() -> None:
    assert fill("{title} {text}", {"title": "{text}", "text": "x"}, []) == "{text} x"
    assert fill({"a": ["{entries}", "all: {entries}"]}, {}, [{"n": 1}]) == {"a": [[{"n": 1}], "all: {entries}"]}


def test_a_document_that_is_shown_can_be_put_back() -> None:
    send = {
        "kind": "webhook",
        "url": "https://x.example/y?key=z",
        "headers": {"A": "secret"},
        "secret": "sixteen letters or more",
        "template": {"a": None},
    }
    before = rules(send=send).receiver
    assert read_receiver(shown_document(before), before) == before
    teams = rules(send={"kind": "teams", "url": "https://x.example/secret?sig=z"}).receiver
    assert "secret" not in json.dumps(shown_document(teams))
    assert read_receiver(shown_document(teams), teams) == teams
