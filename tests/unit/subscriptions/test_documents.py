"""Subscription documents in and out (ETSI GS CIM 009 v1.9.1, 5.2.12-5.2.15, 5.8.1-5.8.3)."""

from __future__ import annotations

from typing import Any

import pytest

from broker.clock import SECOND, Stamp, iso
from broker.config import Limits
from broker.errors import BadRequestData, BrokerError
from broker.query.ast import Comparison
from broker.subscriptions.model import PERIODIC as PERIODIC_KEY
from broker.subscriptions.model import UNLIMITED, keys_of, parse_patch, render_subscription
from broker.subscriptions.state import DeliveryState
from broker.subscriptions.subscription import compile_subscription
from tests.unit.subscriptions.support import CONTEXTS, CORE, ENDPOINT, NOW, STAMP, iri, parsed

FULL: dict[str, Any] = {
    "id": "urn:x:Subscription:1",
    "type": "Subscription",
    "subscriptionName": "warm rooms",
    "description": "Rooms that are too warm.",
    "entities": [{"type": "(Room;Office),Hall", "idPattern": "^urn:x:"}, {"type": "*", "id": ["urn:x:Room:1"]}],
    "watchedAttributes": ["temperature"],
    "q": 'temperature>25;name~="^R"',
    "geoQ": {
        "georel": "near;maxDistance==500",
        "geometry": "Point",
        "coordinates": [17.3, 62.39],
        "geoproperty": "place",
    },
    "scopeQ": "/school/#",
    "notificationTrigger": ["entityCreated", "attributeUpdated"],
    "expiresAt": iso(NOW + SECOND),
    "isActive": True,
    "throttling": 2.5,
    "notification": {
        "attributes": ["temperature"],
        "format": "concise",
        "endpoint": {
            "uri": "https://app.example.org/notify",
            "accept": "application/ld+json",
            "receiverInfo": [{"key": "Authorization", "value": "Bearer x"}],
            "timeout": 500,
            "cooldown": 1000,
        },
    },
}


MQTT = {"uri": "mqtts://me:secret@mqtt.example.org:8884/city/rooms"}


def patched(body: dict[str, Any], at: int = NOW, **members: Any) -> dict[str, Any]:
    return parse_patch(body, members, CORE, None, Limits(), Stamp(at, iso(at), at))


def test_a_full_document_comes_back_as_it_was_written() -> None:
    body = parsed(**FULL)
    rendered = render_subscription(body, DeliveryState(), CORE, NOW)
    assert rendered == {**FULL, "status": "active"}


def test_all_of_it_is_understood() -> None:
    subscription = compile_subscription(parsed(**FULL), UNLIMITED)
    assert subscription.id == "urn:x:Subscription:1"
    assert len(subscription.selectors) == 2
    assert subscription.watched == {iri("temperature")}
    assert subscription.triggers == {"entityCreated", "attributeUpdated"}
    assert subscription.throttling == 2.5
    assert subscription.expires_at == NOW + SECOND
    endpoint = subscription.notification.endpoint
    assert (endpoint.timeout, endpoint.cooldown) == (0.5, 1.0)
    assert endpoint.headers == (("Authorization", "Bearer x"),)
    assert subscription.notification.pick is not None
    assert subscription.notification.pick.names == {"id", "type", "scope", iri("temperature")}


def test_an_mqtt_endpoint_is_understood_and_comes_back_as_it_was_written() -> None:
    said = [{"key": "MQTT-Version", "value": "mqtt3.1.1"}, {"key": "MQTT-QoS", "value": "2"}]
    body = parsed(notification={"endpoint": {**MQTT, "notifierInfo": said}})
    endpoint = compile_subscription(body, UNLIMITED).notification.endpoint
    assert (endpoint.uri, endpoint.scheme) == (MQTT["uri"], "mqtts")
    assert endpoint.notifier_info == (("MQTT-Version", "mqtt3.1.1"), ("MQTT-QoS", "2"))
    assert render_subscription(body, DeliveryState(), CORE, NOW)["notification"]["endpoint"] == {
        **MQTT,
        "notifierInfo": said,
    }


def test_an_id_is_given_where_there_is_none_and_generated_members_are_ignored() -> None:
    body = parsed(
        status="paused", createdAt="x", modifiedAt="x", notification={**ENDPOINT, "timesSent": 9, "status": "failed"}
    )
    rendered = render_subscription(body, DeliveryState(), CORE, NOW, sys_attrs=True)
    assert rendered["id"] == "urn:x:new"
    assert rendered["notification"] == ENDPOINT
    assert rendered["createdAt"] == rendered["modifiedAt"] == STAMP.text


def test_how_delivery_went_is_shown() -> None:
    state = DeliveryState(times_sent=3, times_failed=1, last_notification=NOW, last_success=NOW, last_failure=NOW - 1)
    shown = render_subscription(parsed(), state, CORE, NOW)["notification"]
    assert (shown["timesSent"], shown["timesFailed"], shown["status"]) == (3, 1, "ok")
    assert (shown["lastNotification"], shown["lastSuccess"], shown["lastFailure"]) == (iso(NOW), iso(NOW), iso(NOW - 1))
    failing = DeliveryState(attempts=1, times_sent=1, times_failed=1)
    assert render_subscription(parsed(), failing, CORE, NOW)["notification"]["status"] == "failed"


@pytest.mark.parametrize(
    ("members", "now", "status"),
    [
        ({}, NOW, "active"),
        ({"isActive": False}, NOW, "paused"),
        ({"expiresAt": iso(NOW + SECOND)}, NOW + SECOND, "expired"),
        ({"expiresAt": iso(NOW + SECOND), "isActive": False}, NOW + SECOND, "expired"),
    ],
)
def test_the_status_follows_from_time_and_is_active(members: dict[str, Any], now: int, status: str) -> None:
    assert render_subscription(parsed(**members), DeliveryState(), CORE, now)["status"] == status


@pytest.mark.parametrize(
    ("members", "says"),
    [
        ({"type": "Sub"}, "'type' must be 'Subscription'"),
        ({"id": "no uri"}, "'id' must be a URI"),
        ({"id": 7}, "'id' must be a URI"),
        ({"entities": None}, "'entities' or 'watchedAttributes'"),
        ({"entities": []}, "'entities' must be a list"),
        ({"entities": [{"id": "urn:x:1"}]}, "must have a 'type'"),
        ({"entities": [{"type": "Room", "id": "x y"}]}, "'entities.id' must be a URI"),
        ({"entities": [{"type": "Room", "idPattern": "("}]}, "entities.idPattern"),
        ({"entities": [{"type": "Room", "name": "x"}]}, "there is no member 'name'"),
        ({"watchedAttributes": []}, "'watchedAttributes' must be a list of 1"),
        ({"watchedAttributes": [1]}, "'watchedAttributes' must be a string"),
        ({"q": "temperature>"}, "q"),
        ({"geoQ": {"georel": "near"}}, "'geoQ.geometry' is missing"),
        ({"scopeQ": ""}, "'scopeQ'"),
        ({"notification": None}, "'notification' is missing"),
        ({"notification": {}}, "'notification.endpoint' is missing"),
        ({"notification": {**ENDPOINT, "format": "xml"}}, "'notification.format' must be one of"),
        ({"notification": {**ENDPOINT, "attributes": []}}, "'notification.attributes'"),
        ({"notification": {"endpoint": {}}}, "'notification.endpoint.uri' is missing"),
        ({"notification": {"endpoint": {"uri": "ftp://x/y"}}}, "http, https, mqtt or mqtts"),
        ({"notification": {"endpoint": {"uri": "http://u:p@x/y"}}}, "must not carry credentials"),
        ({"notification": {"endpoint": {"uri": "http://x/y", "accept": "text/html"}}}, "accept"),
        ({"notification": {"endpoint": {"uri": "mqtt://broker"}}}, "must name a topic"),
        ({"notification": {"endpoint": {"uri": "mqtt://broker/a/+/b"}}}, "must not have"),
        ({"notification": {"endpoint": {"uri": "mqtt://broker/a/%23"}}}, "must not have"),
        ({"notification": {"endpoint": {"uri": "mqtt://broker/a", "accept": "application/geo+json"}}}, "not GeoJSON"),
        ({"notification": {"endpoint": {**MQTT, "notifierInfo": [{"key": "MQTT-QoS", "value": "3"}]}}}, "0, 1, 2"),
        ({"notification": {"endpoint": {**MQTT, "notifierInfo": [{"key": "MQTT-QoS", "value": 1}]}}}, "both strings"),
        ({"notification": {"endpoint": {**MQTT, "notifierInfo": [{"key": "MQTT-Version", "value": "5"}]}}}, "mqtt5.0"),
        (
            {"notification": {"endpoint": {"uri": "http://x/y", "receiverInfo": [{"key": "a\n", "value": "b"}]}}},
            "valid",
        ),
        (
            {"notification": {"endpoint": {"uri": "http://x/y", "receiverInfo": [{"key": "Host", "value": "b"}]}}},
            "set by",
        ),
        ({"notificationTrigger": ["sometimes"]}, "'notificationTrigger' must be one of"),
        ({"expiresAt": "tomorrow"}, "ISO 8601"),
        ({"expiresAt": iso(NOW)}, "must be in the future"),
        ({"isActive": "yes"}, "'isActive' must be true or false"),
        ({"throttling": 0}, "'throttling' must be a number greater than 0"),
        ({"throttling": True}, "'throttling' must be a number greater than 0"),
        ({"jsonldContext": "x"}, "'jsonldContext' must be the URI"),
        ({"colour": "red"}, "there is no member 'colour'"),
        ({"timeInterval": 60, "watchedAttributes": ["x"]}, "must not be given together with 'watchedAttributes'"),
        ({"timeInterval": 60, "throttling": 1}, "must not be given together with 'throttling'"),
        ({"timeInterval": 60, "entities": None, "q": "x"}, "'entities'"),
        ({"timeInterval": 0}, "'timeInterval' must be a number greater than 0"),
        ({"csf": "=="}, "'q'"),
        ({"datasetId": ["x y"]}, "'datasetId' must be URIs"),
        ({"lang": "!"}, "'lang' must be"),
        ({"ngsildConformance": "latest"}, "'ngsildConformance' must be a version"),
        ({"splitEntities": 1}, "'splitEntities' must be true or false"),
        ({"temporalQ": {"timerel": "before"}}, "'temporalQ' is for"),
        ({"notification": {**ENDPOINT, "showChanges": True, "format": "keyValues"}}, "showChanges"),
        ({"notification": {**ENDPOINT, "pick": ["id"], "attributes": ["x"]}}, "together with 'pick'"),
        ({"notification": {**ENDPOINT, "omit": ["id"], "attributes": ["x"]}}, "together with 'omit'"),
        ({"notification": {**ENDPOINT, "pick": ["x"], "omit": ["x"]}}, "must not name the same"),
        ({"notification": {**ENDPOINT, "pick": []}}, "'notification.pick'"),
        ({"notification": {**ENDPOINT, "pick": ["a{b}"]}}, "deeper than 'join'"),
        ({"notification": {**ENDPOINT, "join": "both"}}, "'notification.join' must be one of"),
        ({"notification": {**ENDPOINT, "join": "flat", "joinLevel": 0}}, "'notification.joinLevel'"),
    ],
)
def test_what_is_wrong_is_refused_by_name(members: dict[str, Any], says: str) -> None:
    with pytest.raises(BadRequestData) as refused:
        parsed(**members)
    assert says in refused.value.detail


PERIODIC: dict[str, Any] = {
    "id": "urn:x:Subscription:2",
    "type": "Subscription",
    "entities": [{"type": "Room"}],
    "timeInterval": 60,
    "csf": "operator==1",
    "datasetId": ["@none", "urn:x:dataset:1"],
    "lang": "sv,en;q=0.5",
    "expandValues": "category",
    "jsonKeys": "raw",
    "q": "category==School",
    "splitEntities": False,
    "ngsildConformance": "1.6",
    "isActive": True,
    "notification": {
        "pick": ["id", "type", "name", "inBuilding{name}"],
        "join": "inline",
        "joinLevel": 2,
        "showChanges": True,
        "endpoint": {"uri": "https://app.example.org/notify", "accept": "application/geo+json"},
    },
}


def test_the_rest_comes_back_as_it_was_written_and_is_understood() -> None:
    body = parsed(**PERIODIC)
    assert render_subscription(body, DeliveryState(), CORE, NOW) == {**PERIODIC, "status": "active"}
    subscription = compile_subscription(body, UNLIMITED)
    assert subscription.interval == 60
    assert subscription.datasets == {"@none", "urn:x:dataset:1"}
    assert subscription.languages == ("sv", "en")
    assert subscription.conformance == (1, 6)
    params = subscription.notification
    assert params.join is not None and (params.join.kind, params.join.level) == ("inline", 2)
    assert params.pick is not None and params.pick.linked[iri("inBuilding")].names == {iri("name")}
    assert params.show_changes
    assert keys_of(body) == (PERIODIC_KEY,)
    assert keys_of(parsed()) == ()


def test_values_are_expanded_where_that_is_asked_for() -> None:
    (selector,) = compile_subscription(parsed(**PERIODIC), UNLIMITED).selectors
    assert isinstance(selector.query.q, Comparison)
    assert selector.query.q.values == (iri("School"),)


def test_a_fragment_replaces_members_and_null_removes_them() -> None:
    body = patched(
        parsed(**FULL), NOW + 5, q="urn:ngsi-ld:null", watchedAttributes=["co2"], entities=[{"type": "Hall"}]
    )
    rendered = render_subscription(body, DeliveryState(), CORE, NOW, sys_attrs=True)
    assert "q" not in rendered
    assert rendered["watchedAttributes"] == ["co2"]
    assert rendered["entities"] == [{"type": "Hall"}]
    assert rendered["notification"] == FULL["notification"]
    assert rendered["createdAt"] == STAMP.text
    assert rendered["modifiedAt"] == iso(NOW + 5)
    assert compile_subscription(body, UNLIMITED).watched == {iri("co2")}


@pytest.mark.parametrize(
    "fragment",
    [
        {},
        {"id": "urn:x:other"},
        {"type": "Entity"},
        {"notification": "urn:ngsi-ld:null"},
        {"q": None},
        {"expiresAt": iso(NOW)},
        {"throttling": -1},
        {"timeInterval": 5},
    ],
)
def test_a_fragment_that_would_break_it_is_refused(fragment: dict[str, Any]) -> None:
    with pytest.raises(BrokerError):
        patched(parsed(**FULL), **fragment)


def test_an_expired_one_can_be_changed_and_comes_back_with_a_new_date() -> None:
    late = NOW + 10 * SECOND
    expired = parsed(**FULL)
    renamed = patched(expired, late, description="still expired")
    assert render_subscription(renamed, DeliveryState(), CORE, late)["status"] == "expired"
    renewed = patched(expired, late, expiresAt=iso(late + SECOND))
    assert render_subscription(renewed, DeliveryState(), CORE, late)["status"] == "active"


async def test_names_mean_what_they_meant_in_the_request_that_brought_them() -> None:
    ours = await CONTEXTS.resolve(
        {"temperature": "https://a.example.org/temperature", "Room": "https://a.example.org/Room"}
    )
    theirs = await CONTEXTS.resolve({"temperature": "https://b.example.org/temperature"})
    body = parse_patch(
        parsed(watchedAttributes=["temperature"]),
        {"entities": [{"type": "Room"}], "q": "temperature>1"},
        ours,
        {"x": "y"},
        Limits(),
        STAMP,
    )
    body = parse_patch(
        body, {"notification": {**ENDPOINT, "attributes": ["temperature"]}}, theirs, None, Limits(), STAMP
    )
    subscription = compile_subscription(body, UNLIMITED)
    assert subscription.watched == {iri("temperature")}
    assert subscription.notification.pick is not None
    assert "https://b.example.org/temperature" in subscription.notification.pick.names
    rendered = render_subscription(body, DeliveryState(), ours, NOW)
    assert rendered["entities"] == [{"type": "Room"}]
    assert rendered["watchedAttributes"] == ["ngsi-ld:default-context/temperature"] or rendered[
        "watchedAttributes"
    ] == [iri("temperature")]


def test_a_limit_that_is_lowered_later_does_not_break_what_is_there() -> None:
    body = parsed(q="|".join(f"a{n}==1" for n in range(50)))
    with pytest.raises(BrokerError):
        parse_patch(body, {"description": "x"}, CORE, None, Limits(query_terms=10), STAMP)
    assert compile_subscription(body, UNLIMITED).selectors
