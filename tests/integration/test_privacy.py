"""Personal data, on both stores: without the grant it is not there, by whatever route it is asked for."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest

import broker.api.server
from broker.api.route import Route
from broker.config import Http, StoreSettings
from tests.support.api import Answer, Api, asking, running_broker
from tests.support.broker import BrokerProcess
from tests.support.city import dev_eui, elsys_temperature
from tests.support.home import (
    DEVICE,
    GRANTED,
    HOME,
    HOME_SENSOR,
    PAYLOAD,
    PERSONAL,
    PLAIN,
    ROOM,
    SCHOOL,
    SECRETS,
    TEMPERATURE,
    VALUE,
    build,
    hear,
    subscription,
)
from tests.support.mongo import mongo_uri, mongo_url
from tests.support.receiver import Receiver, receiving
from tests.support.sse import following

__all__ = ["mongo_uri", "mongo_url"]

KIND = "IndoorEnvironmentObserved"
STREAM = "/api/v1/stream"


@pytest.fixture(params=["sqlite", "mongo"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty store of its own."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'city.db'}"
    url: str = request.getfixturevalue("mongo_url")
    return url


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> list[Route]:
    """The routes that the broker serves, as it has them."""
    routes: list[Route] = []
    serve = broker.api.server.with_routes  # type: ignore[attr-defined]  # it is its own import that is replaced

    def noted(settings: Any, given: Any) -> Any:
        routes.extend(given)
        return serve(settings, given)

    monkeypatch.setattr(broker.api.server, "with_routes", noted)
    return routes


@pytest.fixture
async def api(table: list[Route], store_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    http = Http(port=0, token=PLAIN.split()[1], personal_token=GRANTED.split()[1])
    async with running_broker(tmp_path, http=http, store=StoreSettings(url=store_url)) as api:
        yield api


THIEF: dict[str, Any] = {
    "name": "Thief",
    "send": {"kind": "webhook", "url": "http://thief.example/"},
    "alarms": {"severity": "informational"},
    "thresholds": [{"id": "all", "type": KIND, "q": "temperature<0"}],
}
"""A ready receiver of all that there is."""


@pytest.fixture
async def apps() -> AsyncIterator[tuple[Receiver, Receiver]]:
    """One for who has the plain token, one for who is granted personal data."""
    async with receiving() as plain, receiving() as granted:
        yield plain, granted


@pytest.fixture
async def city(api: Api, apps: tuple[Receiver, Receiver]) -> Api:
    """Both sensors are heard; two apps are subscribed to all there is."""
    await build(api)
    for app, token in zip(apps, (PLAIN, GRANTED), strict=True):
        for kind in (KIND, "Alert", "Device"):
            body = {"id": f"urn:sub:{token[7:]}:{kind}", **subscription(app.url(), kind)}
            await api.ask("POST", "/subscriptions", body, status=201, Authorization=token)
    care = {"name": "Care of anna-4711", "send": THIEF["send"], "active": False, "alarms": {}}
    await api.ask("PUT", "/api/v1/receivers/care", care, status=201, Authorization=GRANTED)
    for number, payload in ((0, PAYLOAD), (1, elsys_temperature(1.5))):
        answer = await hear(api, number, payload)
        assert not told(answer, ""), "nor does the answer to the uplink"
    return api


def told(answer: Answer, asked: str) -> list[str]:
    """The secrets in an answer that were not in the question; of a refusal, which may repeat it, no others."""
    text = answer.body.decode("utf-8", "replace") + str(list(answer.headers.items()))
    if answer.status >= 400 or 'rel="next"' in text:
        text = text.replace(asked, "").replace(quote(asked, safe=""), "")
    known = [secret for secret in SECRETS if secret in asked and answer.status >= 400]
    return [secret for secret in SECRETS if secret in text and secret not in known]


async def ids_of(api: Api) -> dict[str, list[str]]:
    """For each variable of a path, what stands for something personal."""

    async def personal(path: str) -> Any:
        return (await api.ask("GET", path, status=200, Authorization=GRANTED)).json()

    alarms = [one["id"] for one in await personal("/api/v1/alarms?virtualSensor=home-1")]
    assert len(alarms) == 1, "the frost"
    uplinks = [one["id"] for one in await personal(f"/api/v1/uplinks?device={DEVICE}")]
    commands = await api.ask(
        "POST", "/api/v1/virtual-sensors/home-1/commands", {"command": "reboot"}, status=201, Authorization=GRANTED
    )
    asked = {"device": DEVICE, "from": "2020-01-01T00:00:00Z", "dryRun": False}
    reprocessing = await api.ask("POST", "/api/v1/reprocessings", asked, status=201, Authorization=GRANTED)
    keys = f"/api/v1/devices/{DEVICE}/keys"
    key = (await api.ask("POST", keys, {"scheme": "oscore"}, status=201, Authorization=GRANTED)).json()
    return {
        "reprocessing": [reprocessing.json()["id"]],
        "entity": [HOME, f"urn:ngsi-ld:Device:{DEVICE}", f"urn:ngsi-ld:Alert:{alarms[0]}"],
        "attribute": ["temperature", "description", TEMPERATURE],
        "subscription": [f"urn:sub:{GRANTED[7:]}:{KIND}"],
        "receiver": ["care"],
        "context": ["urn:ngsi-ld:none"],
        "document": ["knutpunkt-v1.jsonld"],
        "type": [KIND, "Alert", "Device"],
        "network": ["chirpstack"],
        "model": ["elsys-ers"],
        "device": [DEVICE],
        "sensor": ["home-1"],
        "binding": [one["id"] for one in await personal("/api/v1/bindings?virtualSensor=home-1")],
        "table": ["models", "devices", "virtual-sensors", "bindings", "registry"],
        "place": [SCHOOL, HOME],
        "swap": [one["id"] for one in await personal("/api/v1/swaps?virtualSensor=home-1")],
        "command": [commands.json()["id"]],
        "key": [key["id"]],
        "uplink": uplinks,
        "alarm": alarms,
        "tenant": ["none"],
    }


def asked_with(alarm: str) -> dict[str, list[str]]:
    """Values of query parameters that ask for what is personal, or for a form of the answer."""
    return {
        "after": ["0"],
        "attribute": ["temperature"],
        "attrs": ["temperature"],
        "count": ["true"],
        "details": ["true"],
        "device": [DEVICE],
        "entity": [HOME, f"urn:ngsi-ld:Alert:{alarm}"],
        "entityType": [KIND],
        "excel": ["true"],
        "format": ["simplified", "concise", "csv"],
        "id": [f"{HOME},{ROOM}", HOME],
        "idPattern": ["anna"],
        "join": ["inline", "flat"],
        "lastN": ["1"],
        "limit": ["1"],
        "model": ["elsys-ers"],
        "newestFirst": ["true"],
        "options": ["keyValues", "sysAttrs", "temporalValues"],
        "orderBy": ["temperature", "!createdAt", "id"],
        "pick": ["id,temperature"],
        "q": ["temperature<0", "temperature==-17.9", f'alertSource=="{HOME}"', "description~=17"],
        "search": ["anna", "home"],
        "state": ["open", "active"],
        "status": ["applied"],
        "type": [KIND, "Alert", "Device", f"{KIND},Alert"],
        "unbound": ["false"],
        "virtualSensor": ["home-1"],
    }


def questions(route: Route, ids: dict[str, list[str]]) -> Iterator[str]:
    """Paths with queries: each parameter alone, beside those without which the route gives nothing."""
    needed = {
        "/ngsi-ld/v1/entities": [{"type": KIND}, {"type": "Alert"}, {"type": "Device"}, {"local": "true"}],
        "/ngsi-ld/v1/temporal/entities": [{"type": kind, **SINCE} for kind in (KIND, "Alert", "Device")],
        "/ngsi-ld/v1/temporal/entities/{entity}": [{}, SINCE],
        "/api/v1/history": [{"entity": entity} for entity in ids["entity"]],
        "/api/v1/lineage": [{"entity": HOME, "attribute": "temperature"}],
    }
    values = asked_with(ids["alarm"][0])
    for path in paths(route.path, ids):
        for base in needed.get(route.path, [{}]):
            yield f"{path}?{urlencode(base)}"
            for name in sorted(route.parameters & values.keys()):
                for value in values[name]:
                    yield f"{path}?{urlencode({**base, name: value})}"


SINCE = {"timerel": "after", "timeAt": "2020-01-01T00:00:00Z"}


def paths(template: str, ids: dict[str, list[str]]) -> list[str]:
    """A path with each of what stands for its variables. One that is not known here must be told of: KeyError."""
    made = [template]
    for name in re.findall(r"{(\w+)}", template):
        made = [path.replace(f"{{{name}}}", quote(value, safe=":")) for path in made for value in ids[name]]
    return made


def local(path: str) -> str:
    """As `Api.ask` takes it."""
    return path.removeprefix("/ngsi-ld/v1")


@pytest.mark.timeout(300)
async def test_no_route_tells_without_the_grant_and_those_that_would_do_with_it(
    city: Api, table: list[Route], apps: tuple[Receiver, Receiver]
) -> None:
    ids = await ids_of(city)
    telling = set[str]()
    asked = 0
    for route in table:
        if route.method != "GET" or route.path == STREAM:  # it does not end: the next test is for it
            continue
        for question in questions(route, ids):
            for accept in [medium for medium in route.media if "*" not in medium] or ["*/*"]:
                path = local(question) if question.startswith("/ngsi-ld") else question
                plain = await city.ask("GET", path, Authorization=PLAIN, Accept=accept)
                assert plain.status < 500, (question, plain)
                assert told(plain, question.partition("?")[0]) == [] or _only_repeated(plain, question), (
                    question,
                    plain,
                )
                asked += 1
                granted = await city.ask("GET", path, Authorization=GRANTED, Accept=accept)
                if granted.status == 200 and told(granted, ""):
                    telling.add(route.path)
    assert asked > 300
    assert telling >= TELLING, "else this test would hold for a broker that tells nothing"


async def test_a_stream_tells_it_only_to_who_is_granted_it(city: Api) -> None:
    async def ticket(token: str) -> str:
        answer = await city.ask("POST", "/api/v1/stream/tickets", status=201, Authorization=token)
        return f"&ticket={answer.json()['ticket']}"

    async def heard(query: str, **headers: str) -> tuple[list[str], str]:
        """The entities told until the one that a plain token may see, and what was told in all."""
        ids, text = list[str](), ""
        async with following(city.url, f"?type={KIND},Alert,Device{query}", **headers) as stream:
            assert (await stream.event()).kind == "ready"
            if "lastEventId" not in query:
                await hear(city, 0, elsys_temperature(-19.5))
                await hear(city, 1, elsys_temperature(3.5))
            while ROOM not in ids:
                event = await stream.event()
                ids.append(event.entity["id"])
                text += event.id + str(event.data)
        return ids, text

    async with following(city.url, "", Authorization=GRANTED) as stream:
        start = (await stream.event()).id
    behind = f"&lastEventId={quote(start)}"
    for query, headers in (
        ("", {"Authorization": PLAIN}),
        (await ticket(PLAIN), {}),
        (behind, {"Authorization": PLAIN}),
        (behind + await ticket(PLAIN), {}),
    ):
        ids, text = await heard(query, **headers)
        assert HOME not in ids and not [secret for secret in SECRETS if secret in text]
    for query, headers in (("", {"Authorization": GRANTED}), (await ticket(GRANTED), {})):
        ids, _ = await heard(query, **headers)
        assert {HOME, ROOM} <= {*ids}


def _only_repeated(answer: Answer, question: str) -> bool:
    """Whether all that an answer tells was in the question: of a refusal, and of a link to the next page."""
    if answer.status < 400 and 'rel="next"' not in str(answer.headers):
        return False
    body = answer.body.decode() if answer.status < 400 else ""
    return not any(secret in body for secret in SECRETS) and all(
        secret in question for secret in SECRETS if secret in answer.body.decode() + str(answer.headers)
    )


TELLING = {
    "/ngsi-ld/v1/entities",
    "/ngsi-ld/v1/entities/{entity}",
    "/ngsi-ld/v1/temporal/entities",
    "/ngsi-ld/v1/temporal/entities/{entity}",
    "/api/v1/devices",
    "/api/v1/devices/{device}",
    "/api/v1/virtual-sensors",
    "/api/v1/virtual-sensors/{sensor}",
    "/api/v1/virtual-sensors/{sensor}/health",
    "/api/v1/bindings",
    "/api/v1/bindings/{binding}",
    "/api/v1/export/{table}",
    "/api/v1/places/{place}/overview",
    "/api/v1/swaps",
    "/api/v1/swaps/{swap}",
    "/api/v1/virtual-sensors/{sensor}/commands",
    "/api/v1/commands",
    "/api/v1/commands/{command}",
    "/api/v1/uplinks",
    "/api/v1/uplinks/{uplink}",
    "/api/v1/history",
    "/api/v1/lineage",
    "/api/v1/alarms",
    "/api/v1/alarms/{alarm}",
    "/api/v1/reprocessings",
    "/api/v1/reprocessings/{reprocessing}",
}


def fragment(value: float) -> dict[str, Any]:
    return {"temperature": {"type": "Property", "value": value}}


def bodies(ids: dict[str, list[str]]) -> dict[str, list[Any]]:
    """Bodies by the schema that a route's description names: such as would read or change what is personal."""
    whole = {"id": HOME, "type": KIND, **fragment(20)}
    swap = {"virtualSensor": "home-1", "device": dev_eui(7), "model": "elsys-ers", "at": "2026-01-01T00:00:00Z"}
    stolen = {"virtualSensor": "room-1", "device": DEVICE, "at": "2020-01-01T00:00:00Z"}
    sensor = {name: value for name, value in HOME_SENSOR.items() if name != "personal"}
    beside = {**sensor, "entity": "urn:x:open", "outputs": [{**sensor["outputs"][0], "entity": HOME}]}
    sensors = [sensor, beside, {**HOME_SENSOR, "personal": {"retentionDays": 9999, "purpose": "x"}}]
    return {
        "NewEntity": [whole],
        "EntityFragment": [fragment(20), {"type": KIND, **fragment(20)}],
        "AttributeFragment": [{"type": "Property", "value": 20}, {"value": 20}],
        "NewEntities": [[whole], [whole, {"id": "urn:x:public", "type": "Thing"}]],
        "EntityFragments": [[whole]],
        "EntityIds": [ids["entity"]],
        "Query": [
            {"type": "Query", "entities": [{"type": kind}, {"id": HOME, "type": kind}]}
            for kind in (KIND, "Alert", "Device")
        ]
        + [{"type": "Query", "entities": [{"type": KIND}], "q": "temperature<0"}],
        "NewEvolution": [{"id": HOME, "type": KIND, "temperature": [{"type": "Property", "value": 3, **OBSERVED}]}],
        "Subscription": [],
        "NewReceiver": [THIEF],
        "CreatedReceiver": [{"id": "operations", **THIEF}],
        "NewSigning": [{"secret": "known to a thief"}],
        "SubscriptionFragment": [{"notification": {"endpoint": {"uri": "http://thief.example/"}}}],
        "Device": [{"id": DEVICE, "model": "elsys-ers"}],
        "Reprocess": [
            {**of, "from": "2020-01-01T00:00:00Z", "dryRun": dry, "notify": True}
            for of in ({"device": DEVICE}, {"virtualSensor": "home-1"}, {"model": "elsys-ers"})
            for dry in (True, False)
        ],
        "Cancelling": [{"by": "somebody"}],
        "TenantPatch": [{"rawUplinks": {"keepDays": "forever"}}],
        "NewDevice": [{"model": "elsys-ers", "name": "mine"}],
        "DevicePatch": [{"name": "mine"}],
        "CreatedVirtualSensor": [{"id": "home-1", **sensor}, {"id": "thief", **sensor}, {"id": "thief", **beside}],
        "NewVirtualSensor": sensors,
        "VirtualSensorPatch": [{"personal": None}, {"name": "mine"}, {"entity": "urn:x:open"}],
        "Imported": [
            [{"id": "home-1", **sensor}],
            [{"id": "thief", **sensor}],
            [{"id": DEVICE, "model": "elsys-ers", "name": "mine"}],
            [{"id": DEVICE, "model": "elsys-ers", "virtualSensor": "room-1"}],
            [{"device": DEVICE, "virtualSensor": "room-1", "validFrom": "2020-01-01T00:00:00Z"}],
            [{"device": dev_eui(1), "virtualSensor": "home-1", "validFrom": "2020-01-01T00:00:00Z"}],
        ],
        "PlacesFile": [
            {
                "type": "FeatureCollection",
                "features": [
                    {
                        "type": "Feature",
                        "id": HOME,
                        "properties": {"type": KIND, "name": "mine"},
                        "geometry": {"type": "Point", "coordinates": [17, 62]},
                    }
                ],
            }
        ],
        "Swap": [swap, {**swap, "dryRun": True}, stolen, {**stolen, "dryRun": True}],
        "Claim": [stolen, {**stolen, "dryRun": True}],
        "Undoing": [{"by": "thief"}],
        "Unbinding": [{"by": "thief"}],
        "Discarding": [{"by": "thief"}],
        "NewCommand": [{"command": "reboot"}],
        "NewDeviceKey": [{"scheme": "oscore"}, {"scheme": "dtls-psk", "othersEndInSeconds": 0}],
        "CommandCancellation": [{"by": "thief"}],
        "EntityShelving": [{"entity": HOME, "until": "2099-01-01T00:00:00Z", "by": "thief"}],
        "Shelving": [{"until": "2099-01-01T00:00:00Z", "by": "thief"}],
        "Unshelving": [{"by": "thief"}],
        "AlarmStep": [{"by": "thief", "comment": "mine"}],
        # Of nothing personal: sent empty, they are refused, and that is looked at, too.
        "DeviceModel": [{}],
        "NewDeviceModel": [{}],
        "DeviceModelPatch": [{}],
        "ContextDocument": [{}],
        "DeliveryPause": [{"by": "thief"}],
        "NetworkMessage": [{}],
        "NewTenant": [{}],
    }


OBSERVED = {"observedAt": "2026-01-01T00:00:00Z"}
HARMLESS = {"DELETE /api/v1/device-models/{model}", "DELETE /ngsi-ld/v1/jsonldContexts"}
"""Of nothing personal, and without a body."""


async def seen(api: Api) -> list[Any]:
    """All that is personal, as who is granted sees it."""
    paths = [
        f"/entities/{HOME}?options=sysAttrs",
        f"/entities?type=Alert&q=alertSource==%22{HOME}%22&options=sysAttrs",
        f"/entities/urn:ngsi-ld:Device:{DEVICE}",
        f"/api/v1/history?entity={HOME}",
        "/api/v1/virtual-sensors/home-1",
        "/api/v1/virtual-sensors/home-1/health",
        f"/api/v1/devices/{DEVICE}",
        f"/api/v1/devices/{DEVICE}/keys",
        "/api/v1/bindings?virtualSensor=home-1",
        "/api/v1/swaps?virtualSensor=home-1",
        "/api/v1/alarms?virtualSensor=home-1",
        f"/subscriptions/urn:sub:{GRANTED[7:]}:Alert",
    ]
    things = [(await api.ask("GET", path, status=200, Authorization=GRANTED)).json() for path in paths]
    # How its delivery fares is another matter, and goes on.
    return [*things[:-1], things[-1]["notification"]["endpoint"]]


@pytest.mark.timeout(300)
async def test_no_route_changes_it_or_tells_of_it_by_refusing_to(
    city: Api, table: list[Route], apps: tuple[Receiver, Receiver]
) -> None:
    ids = await ids_of(city)
    await apps[1].wait_until(lambda: {HOME, "Alert"} <= _told_of(apps[1]))
    before = await seen(city)
    documents = bodies(ids)
    refused = set[str]()
    for route in table:
        name = f"{route.method} {route.path}"
        if route.method == "GET" or name in HARMLESS:
            continue
        for path in paths(route.path, ids):
            queries = ["", "?dryRun=true", "?swap=true"] if "dryRun" in route.parameters else [""]
            for query in queries if name != "DELETE /ngsi-ld/v1/entities" else [f"?type={KIND}", f"?id={HOME}"]:
                for document in documents[route.body] if route.body else [None]:
                    media: Any = {"Content_Type": route.takes[0]} if route.takes else {}
                    if name == "DELETE /ngsi-ld/v1/entities" and "type" in query:
                        continue  # it would take the public ones, too; the one by id is asked for
                    answer = await city.ask(
                        route.method, local(path) + query if path.startswith("/ngsi-ld") else path + query,
                        document, Authorization=PLAIN, **media,
                    )  # fmt: skip
                    question = path + query + json.dumps(document)
                    assert answer.status < 500, (name, document, answer)
                    new = [s for s in told(answer, question) if s not in question]
                    assert new == [], (name, path, document, answer)
                    if answer.status == 403:
                        assert answer.json()["type"] == "urn:knutpunkt:error:AccessDenied"
                        refused.add(name)
    assert await seen(city) == before
    sensors = (await city.ask("GET", "/api/v1/virtual-sensors", Authorization=GRANTED)).json()
    assert [one["id"] for one in sensors] == ["home-1", "room-1"], "none that would write beside it"
    assert refused >= REFUSED


REFUSED = {
    "POST /ngsi-ld/v1/entities",
    "PATCH /ngsi-ld/v1/entities/{entity}",
    "PUT /ngsi-ld/v1/entities/{entity}",
    "DELETE /ngsi-ld/v1/entities/{entity}",
    "POST /ngsi-ld/v1/temporal/entities",
    "PATCH /ngsi-ld/v1/subscriptions/{subscription}",
    "DELETE /ngsi-ld/v1/subscriptions/{subscription}",
    "PUT /api/v1/subscriptions/{subscription}/signing",
    "PUT /api/v1/receivers/{receiver}",
    "DELETE /api/v1/receivers/{receiver}",
    "POST /api/v1/virtual-sensors",
    "PUT /api/v1/virtual-sensors/{sensor}",
    "PATCH /api/v1/virtual-sensors/{sensor}",
    "DELETE /api/v1/virtual-sensors/{sensor}",
    "PUT /api/v1/devices/{device}",
    "DELETE /api/v1/devices/{device}",
    "POST /api/v1/swaps",
    "POST /api/v1/swaps/{swap}/undo",
    "POST /api/v1/virtual-sensors/{sensor}/unbind",
    "POST /api/v1/commands/{command}/cancel",
    "POST /api/v1/alarms/{alarm}/acknowledge",
    "POST /api/v1/alarms/{alarm}/close",
}


async def test_a_batch_is_refused_for_what_is_personal_alone(city: Api) -> None:
    batch = [{"id": HOME, "type": KIND, **fragment(20)}, {"id": "urn:x:public", "type": "Thing"}]
    answer = await city.ask("POST", "/entityOperations/upsert", batch, status=207, Authorization=PLAIN)
    result = answer.json()
    assert result["success"] == ["urn:x:public"]
    (error,) = result["errors"]
    assert (error["entityId"], error["error"]["type"]) == (HOME, "urn:knutpunkt:error:AccessDenied")
    granted = await city.ask("GET", f"/entities/{HOME}?options=keyValues", Authorization=GRANTED)
    assert granted.json()["temperature"] == VALUE
    await city.ask("POST", "/entityOperations/upsert", batch, status=204, Authorization=GRANTED)


async def test_counts_and_pages_are_those_of_the_others(city: Api) -> None:
    for number in range(5):
        body = {"id": f"urn:x:{number}", "type": KIND, **fragment(number)}
        await city.ask("POST", "/entities", body, status=201, Authorization=PLAIN)
    for query in (f"type={KIND}", "local=true", f"type={KIND}&orderBy=temperature", f"type={KIND}&q=temperature>-50"):
        answers = {}
        for token in (PLAIN, GRANTED):
            path, found, count = f"/entities?{query}&count=true&limit=2&options=keyValues", list[str](), set[str]()
            while path:
                answer = await city.ask("GET", path, status=200, Authorization=token)
                found += [entity["id"] for entity in answer.json()]
                count.add(answer.headers["NGSILD-Results-Count"])
                following = re.search(r'<(/ngsi-ld/v1)?([^>]+)>; ?rel="next"', str(answer.headers.getall("Link", [])))
                path = following[2] if following else ""
            assert count == {str(len(found))}, query
            answers[token] = found
        hidden = set(answers[GRANTED]) - set(answers[PLAIN])
        assert HOME in hidden
        assert set(answers[PLAIN]) == {one for one in answers[GRANTED] if one not in hidden}
        assert [one for one in answers[GRANTED] if one not in hidden] == answers[PLAIN], "in the same order"


async def test_a_relationship_to_it_leads_nowhere(city: Api) -> None:
    person = {"id": "urn:x:nurse", "type": "Person", "visits": {"type": "Relationship", "object": HOME}}
    await city.ask("POST", "/entities", person, status=201, Authorization=PLAIN)
    for join in ("inline", "flat"):
        for path in (f"/entities/urn:x:nurse?join={join}", f"/entities?type=Person&join={join}&joinLevel=1"):
            assert str(VALUE) in (await city.ask("GET", path, status=200, Authorization=GRANTED)).body.decode()
            assert str(VALUE) not in (await city.ask("GET", path, status=200, Authorization=PLAIN)).body.decode()
    found = {}
    for token in (PLAIN, GRANTED):
        path = "/entities?type=Person&join=inline&q=visits%7Btemperature%7D%3C0"
        answer = await city.ask("GET", path, status=200, Authorization=token)
        found[token] = [one["id"] for one in answer.json()]
    assert found == {PLAIN: [], GRANTED: ["urn:x:nurse"]}


async def test_only_a_subscription_made_with_the_grant_is_told(city: Api, apps: tuple[Receiver, Receiver]) -> None:
    plain, granted = apps
    await granted.wait_until(lambda: {HOME, ROOM} <= {one["id"] for got in granted.accepted for one in got.data})
    await hear(city, 0, elsys_temperature(-18.5), fCnt=1)
    await hear(city, 1, elsys_temperature(2.5), fCnt=1)
    await plain.wait_until(lambda: '"value": 2.5' in _said(plain))
    await granted.wait_until(lambda: "-18.5" in _said(granted) and "alertSource" in _said(granted))
    assert [secret for secret in (*SECRETS, "-18.5") if secret in _said(plain)] == []
    changed = {"notification": subscription(plain.url(), KIND)["notification"]}
    path = f"/subscriptions/urn:sub:{GRANTED[7:]}:{KIND}"
    assert await city.problem(403, "AccessDenied", "PATCH", path, changed, Authorization=PLAIN)
    listed = (await city.ask("GET", "/subscriptions?count=true&limit=1", status=200, Authorization=PLAIN)).headers
    assert listed["NGSILD-Results-Count"] == "3"


def _told_of(app: Receiver) -> set[str]:
    return {said for got in app.accepted for one in got.data for said in (one["id"], one["type"])}


def _said(app: Receiver) -> str:
    return json.dumps([one.body for one in app.accepted])


async def test_a_sensor_that_becomes_personal_hides_what_it_said_before(
    city: Api, apps: tuple[Receiver, Receiver]
) -> None:
    plain, _ = apps
    path = "/api/v1/virtual-sensors/room-1"
    body = (await city.ask("GET", path, Authorization=PLAIN)).json()
    (alarm,) = (await city.ask("GET", "/api/v1/alarms?virtualSensor=room-1", Authorization=PLAIN)).json()
    document = {name: value for name, value in body.items() if name not in ("id", "bindings")}
    await city.ask("PUT", path, {**document, "personal": PERSONAL}, status=200, Authorization=GRANTED)
    device = f"urn:ngsi-ld:Device:{dev_eui(1)}"
    for hidden in (f"/entities/{ROOM}", path, f"/entities/urn:ngsi-ld:Alert:{alarm['id']}", f"/entities/{device}"):
        await city.ask("GET", hidden, status=404, Authorization=PLAIN)
        await city.ask("GET", hidden, status=200, Authorization=GRANTED)
    assert (await city.ask("GET", "/api/v1/uplinks", Authorization=PLAIN)).json() == []
    before = len(plain.accepted)
    await hear(city, 1, elsys_temperature(3.5), fCnt=1)
    await city.ask("POST", "/entities", {"id": "urn:x:last", "type": KIND, **fragment(1)}, Authorization=PLAIN)
    await plain.wait_until(lambda: "urn:x:last" in _said(plain))
    assert '"value": 3.5' not in json.dumps([one.body for one in plain.accepted[before:]])
    # It writes another entity from now on: the old one stays personal, and so does the virtual sensor.
    moved = {**document, "entity": "urn:x:moved", "personal": PERSONAL}
    await city.ask("PUT", path, moved, status=200, Authorization=GRANTED)
    await city.ask("GET", f"/entities/{ROOM}", status=404, Authorization=PLAIN)
    detail = await city.problem(409, "Conflict", "PUT", path, document, Authorization=GRANTED)
    assert "'personal'" in detail
    # Nor is another of its name anything else, once it was deleted.
    await city.ask("POST", "/api/v1/virtual-sensors/room-1/unbind", {}, status=200, Authorization=GRANTED)
    await city.ask("DELETE", path, status=204, Authorization=GRANTED)
    await city.ask("GET", f"/entities/{ROOM}", status=404, Authorization=PLAIN)
    await city.problem(409, "Conflict", "PUT", path, document, Authorization=GRANTED)
    await city.problem(403, "AccessDenied", "PUT", path, document, Authorization=PLAIN)


async def test_who_is_not_granted_it_cannot_mark_a_sensor(city: Api) -> None:
    for name in ("room-1", "new"):
        path = f"/api/v1/virtual-sensors/{name}"
        await city.problem(403, "AccessDenied", "PUT", path, HOME_SENSOR, Authorization=PLAIN)
    await city.ask("GET", "/api/v1/virtual-sensors/new", status=404, Authorization=GRANTED)
    shown = await city.ask("GET", "/api/v1/virtual-sensors/room-1", status=200, Authorization=PLAIN)
    assert shown.json()["personal"] is None


async def test_personal_is_checked(city: Api) -> None:
    for wrong in ({}, {"retentionDays": 0, "purpose": "x"}, {"retentionDays": 1, "purpose": " "}, {**PERSONAL, "x": 1}):
        detail = await city.problem(
            400, "BadRequestData", "PUT", "/api/v1/virtual-sensors/new", {**HOME_SENSOR, "personal": wrong},
            Authorization=GRANTED,
        )  # fmt: skip
        assert "personal" in detail


async def test_reading_it_with_the_grant_is_logged_without_values(store_url: str, tmp_path: Path) -> None:
    tokens = {"KNUTPUNKT_HTTP_TOKEN": PLAIN.split()[1], "KNUTPUNKT_HTTP_PERSONAL_TOKEN": GRANTED.split()[1]}
    process = BrokerProcess(store_url, tmp_path, {**tokens, "KNUTPUNKT_LOG_FORMAT": "json"})
    await process.start()
    try:
        async with asking(process.url) as city:
            await build(city)
            await hear(city, 0, PAYLOAD)
            await hear(city, 1, elsys_temperature(1.5))
            at = len(process.log())
            both = f"/entities?type={KIND}&id={HOME},{ROOM}"
            for path in (f"/entities/{HOME}", f"/api/v1/history?entity={HOME}", both):
                await city.ask("GET", path, status=200, Authorization=GRANTED, X_Request_Id="who-asked")
            uplinks = f"/api/v1/uplinks?device={DEVICE}"
            await city.ask("GET", uplinks, status=200, Authorization=GRANTED, X_Request_Id="who-asked")
            await city.ask("GET", f"/entities/{ROOM}", status=200, Authorization=GRANTED)
            await city.ask("GET", f"/entities/{HOME}", status=404, Authorization=PLAIN)
    finally:
        await process.stop()
    lines = [json.loads(line) for line in process.log()[at:].splitlines() if '"personal.' in line]
    assert [
        (line["event"], line["route"], line["trace"], line.get("entities", line.get("devices"))) for line in lines
    ] == [
        ("personal.read", "/ngsi-ld/v1/entities/{entity}", "who-asked", [HOME]),
        ("personal.read", "/api/v1/history", "who-asked", [HOME]),
        ("personal.read", "/ngsi-ld/v1/entities", "who-asked", [HOME]),
        ("personal.uplinks_read", "/api/v1/uplinks", "who-asked", [DEVICE]),
    ]
    assert str(VALUE) not in process.log() and base64.b64encode(PAYLOAD).decode() not in process.log()
