"""Ready receivers as those who are told see them: real e-mails, cards and webhooks, from real alarms, on both stores."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from broker.cli.main import main
from broker.config import Alarms, Delivery, Http, Limits, Smtp, StoreSettings
from tests.support.api import Api, running_broker
from tests.support.city import ELSYS, dev_eui, elsys_temperature, uplink
from tests.support.home import GRANTED, HOME, PLAIN, VALUE, build, hear
from tests.support.mail_server import MailServer, mail_server
from tests.support.receiver import Receiver, answer, receiving

ALL = "/api/v1/receivers"
KIND = "IndoorEnvironmentObserved"
SCHOOL, SAL = "urn:ngsi-ld:Building:school", "urn:ngsi-ld:Room:214"
FROST = {"id": "frost", "quantity": "temperature", "below": 5, "hysteresis": 1, "severity": "critical"}
DELIVERY = Delivery(retry_first_seconds=0.05, retry_longest_seconds=0.2, timeout_seconds=2.0)


def email(**more: Any) -> dict[str, Any]:
    return {"name": "Drift", "send": {"kind": "email", "to": ["drift@city.example"]}, **more}


def webhook(url: str, **more: Any) -> dict[str, Any]:
    return {"name": "Hook", "send": {"kind": "webhook", "url": url, **more.pop("send", {})}, **more}


@pytest.fixture
async def mail() -> AsyncIterator[MailServer]:
    async with mail_server() as server:
        yield server


@pytest.fixture
async def hook() -> AsyncIterator[Receiver]:
    async with receiving() as made:
        yield made


@pytest.fixture
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if getattr(request, "param", "sqlite") == "sqlite":
        return f"sqlite:///{tmp_path}/city.db"
    url: str = request.getfixturevalue("mongo_url")
    return url


@pytest.fixture
async def api(store: str, tmp_path: Path, mail: MailServer) -> AsyncIterator[Api]:
    settings: dict[str, Any] = {
        "store": StoreSettings(url=store),
        "smtp": Smtp(host="127.0.0.1", port=mail.port, security="none", sender="knutpunkt@city.example"),
        "delivery": DELIVERY,
        "alarms": Alarms(scan_seconds=0.3),
        "base_url": "https://hub.city.example",
        "limits": Limits(receivers=4),
    }
    async with running_broker(tmp_path, **settings) as made:
        yield made


both = pytest.mark.parametrize("store", ["sqlite", "mongo"], indirect=True)


async def put_room(api: Api, number: int, name: str, **members: Any) -> None:
    """A named room in the school, with a sensor in it."""
    await api.ask("PUT", "/api/v1/device-models/elsys-ers", ELSYS)
    school = {"id": SCHOOL, "type": "Building", "name": {"type": "Property", "value": "Storskolan"}}
    sal = {
        "id": f"urn:ngsi-ld:Room:{number}",
        "type": "Room",
        "name": {"type": "Property", "value": name},
        "isSpaceOfBuilding": {"type": "Relationship", "object": SCHOOL},
    }
    await api.ask("POST", "/entityOperations/upsert", [school, sal])
    sensor = {
        "name": f"Climate of {name}",
        "entity": f"urn:ngsi-ld:IndoorEnvironmentObserved:{number}",
        "entityType": KIND,
        "outputs": [{"quantity": "temperature", "attribute": "temperature"}],
        "thresholds": [FROST],
        "place": sal["id"],
        **members,
    }
    await api.ask("PUT", f"/api/v1/virtual-sensors/room-{number}", sensor)
    asked = {"virtualSensor": f"room-{number}", "device": dev_eui(number), "model": "elsys-ers"}
    await api.ask("POST", "/api/v1/swaps", asked, status=201)


async def send(api: Api, celsius: float, number: int = 214) -> None:
    body = uplink(number, elsys_temperature(celsius), time.time_ns() // 1000)
    receipt = await api.ask("POST", "/api/v1/uplinks/chirpstack?event=up", body)
    assert receipt.json()["outcome"] == "applied"


async def put(api: Api, name: str, document: dict[str, Any], **headers: Any) -> dict[str, Any]:
    saved = await api.ask("PUT", f"{ALL}/{name}", document, **headers)
    assert saved.status in (200, 201), saved
    made: dict[str, Any] = saved.json()
    return made


async def set_value(api: Api, value: Any, name: str = "urn:x:Room:1") -> None:
    entity = {"id": name, "type": "Room", "temperature": {"type": "Property", "value": value}}
    await api.ask("POST", "/entityOperations/upsert?options=update", [entity])


@both
async def test_an_alarm_is_told_by_email_in_plain_words_when_it_begins_and_when_it_is_over(
    api: Api, mail: MailServer
) -> None:
    await put_room(api, 214, "Sal 214")
    await put(api, "drift", email(language="sv", timeZone="Europe/Stockholm", alarms={"severity": "high"}))
    await send(api, 20)
    await send(api, 2.5)
    (begun,) = await mail.wait_for(1)
    assert begun.recipients == ["drift@city.example"]
    assert begun.message["Subject"] == "Kritisk: Utanför sin gräns – Sal 214, Storskolan"
    assert "Sal 214, Storskolan" in begun.text
    assert "temperature är 2.5, under 5." in begun.text
    assert "Europe/Stockholm" in begun.text
    assert "https://hub.city.example/ngsi-ld/v1/entities/urn:ngsi-ld:IndoorEnvironmentObserved:214" in begun.text
    await send(api, 20)
    _, over = await mail.wait_for(2)
    assert over.message["Subject"].startswith("Över: utanför sin gräns – ")
    assert "Det är över eftersom det är bra igen." in over.text
    assert begun.message["Message-ID"] != over.message["Message-ID"]


async def test_which_alarms_are_told_is_the_receivers_choice(api: Api, hook: Receiver) -> None:
    await put_room(api, 214, "Sal 214")
    await put_room(api, 7, "Förråd", thresholds=[{**FROST, "severity": "low"}])
    await put(api, "grave", webhook(hook.url("/grave"), alarms={"severity": "high", "ended": False}))
    await put(api, "school", webhook(hook.url("/school"), alarms={"severity": "low", "places": [SCHOOL]}))
    await put(api, "beach", webhook(hook.url("/beach"), alarms={"severity": "low", "places": ["urn:x:Beach:1"]}))
    await put(api, "weak", webhook(hook.url("/weak"), alarms={"severity": "low", "kinds": ["radio"]}))
    await send(api, 2)
    await send(api, 2, 7)
    await send(api, 20)
    await hook.wait_for(4)
    await put(api, "grave", webhook(hook.url("/types"), alarms={"severity": "low", "types": ["Beach", KIND]}))
    await send(api, 20, 7)
    await hook.wait_for(6)
    told = [(one.path, entry["where"], entry["ended"]) for one in hook.accepted for entry in one.body["entries"]]
    room, store = "Sal 214, Storskolan", "Förråd, Storskolan"
    assert sorted(told) == sorted(
        [
            ("/grave", room, False),
            ("/school", room, False),
            ("/school", store, False),
            ("/school", room, True),
            ("/school", store, True),
            ("/types", store, True),
        ]
    )


@both
async def test_a_condition_is_told_at_its_edge_and_not_at_every_change(api: Api, hook: Receiver) -> None:
    await set_value(api, 30, "urn:x:Room:0")  # true before anybody asked
    warm = {"id": "warm", "type": "Room", "q": "temperature>26", "ended": True, "text": "It is too warm."}
    hot = {"id": "hot", "type": "Room", "q": "temperature>35", "severity": "critical"}
    await put(api, "warm", webhook(hook.url(), thresholds=[warm, hot]))
    for value in (31, 20):
        await set_value(api, value, "urn:x:Room:0")
    for value in (20, 27, 28, 29, 25, 40, 41, 30, 10):
        await set_value(api, value)
    received = await hook.wait_for(5)
    told = [
        [(entry["kind"], entry["ended"], entry["data"]["values"]["temperature"]) for entry in one.body["entries"]]
        for one in received
    ]
    assert told == [
        [("warm", True, 20)],  # of room 0, which had been warm all the time
        [("warm", False, 27)],
        [("warm", True, 25)],
        [("warm", False, 40), ("hot", False, 40)],
        [("warm", True, 10)],
    ]
    assert [entry["text"] for entry in received[3].body["entries"]] == [
        "It is too warm. (temperature = 40)",
        "temperature>35 is true now (temperature = 40).",
    ]
    await asyncio.sleep(0.2)
    assert len(hook.tried) == 5


async def test_a_digest_gathers_all_that_happened_into_one_email_also_over_a_restart(
    tmp_path: Path, mail: MailServer
) -> None:
    settings: dict[str, Any] = {
        "smtp": Smtp(host="127.0.0.1", port=mail.port, security="none"),
        "delivery": DELIVERY,
    }
    rule = {"id": "warm", "type": "Room", "q": "temperature>26", "ended": True}
    started = time.monotonic()
    async with running_broker(tmp_path, **settings) as api:
        await put(api, "drift", email(digestMinutes=2.5 / 60, thresholds=[rule]))
        for value in (30, 20, 31):
            await set_value(api, value)
    async with running_broker(tmp_path, **settings) as api:
        await set_value(api, 30, "urn:x:Room:2")
        (digest,) = await mail.wait_for(1)
        assert time.monotonic() - started >= 2.5
        assert digest.message["Subject"] == "4 notices (3 new, 1 over)"
        assert digest.text.count("temperature > 26") + digest.text.count("temperature>26") == 4
        assert digest.text.index("temperature = 30") < digest.text.index("temperature = 20")
        await set_value(api, 20)
        await mail.wait_for(2)
    assert len(mail.mails) == 2


async def test_teams_gets_a_card_in_which_no_name_can_make_a_link(api: Api, hook: Receiver) -> None:
    await put_room(api, 214, "[Sal](https://thief.example) *214*")
    url = hook.url("/workflows/secret-path") + "?sig=secret-signature"
    document = {"name": "Kanalen", "send": {"kind": "teams", "url": url}, "language": "sv", "alarms": {}}
    await put(api, "kanalen", document)
    await send(api, 2)
    (received,) = await hook.wait_for(1)
    assert received.headers["Content-Type"] == "application/json"
    (attachment,) = received.body["attachments"]
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    card = attachment["content"]
    assert (card["type"], card["version"]) == ("AdaptiveCard", "1.4")
    text = json.dumps(card, ensure_ascii=False)
    assert "[Sal](https://thief.example) *214*" in text
    assert '"TextBlock"' not in text and '"FactSet"' not in text  # where Teams reads Markdown
    assert "Kritisk: Utanför sin gräns" in text


async def test_a_webhook_gets_what_its_template_says_signed_and_with_its_headers(api: Api, hook: Receiver) -> None:
    template = {"summary": "{title}", "fields": [{"n": "where", "v": "{where}"}, 17, None], "all": "{entries}"}
    rule = {"id": "warm", "type": "Room", "q": "temperature>26"}
    secret = "sixteen letters and more"
    more = {"template": template, "headers": {"Authorization": "Bearer of-the-hook"}, "secret": secret}
    await put(api, "hook", webhook(hook.url(), send=more, thresholds=[rule]))
    name = {"id": "urn:x:Room:1", "type": "Room", "name": {"type": "Property", "value": 'Sal "{link}"\n214'}}
    await api.ask("POST", "/entities", name, status=201)
    await set_value(api, 30)
    (received,) = await hook.wait_for(1)
    assert received.body["summary"] == 'Medium: Condition met – Sal "{link}"\n214'
    assert received.body["fields"] == [{"n": "where", "v": 'Sal "{link}"\n214'}, 17, None]
    assert received.body["all"][0]["data"] == {"q": "temperature>26", "values": {"temperature": 30}}
    assert received.headers["Authorization"] == "Bearer of-the-hook"
    at, made = (part.partition("=")[2] for part in received.headers["Knutpunkt-Signature"].split(","))
    assert made == hmac.new(secret.encode(), f"{at}.".encode() + received.raw, hashlib.sha256).hexdigest()


@both
async def test_what_is_not_taken_is_sent_again_in_order_and_once_each(api: Api, mail: MailServer) -> None:
    mail.answers = ["451 later", "451 later", "250 taken", "554 no"]
    await put(api, "drift", email(thresholds=[{"id": "warm", "type": "Room", "q": "temperature>26"}]))
    for number in range(3):
        await set_value(api, 30 + number, f"urn:x:Room:{number}")
    mails = await mail.wait_for(3)
    assert [one.text.split("temperature = ")[1][:2] for one in mails] == ["30", "31", "32"]
    assert mail.tried == 6
    async with asyncio.timeout(10):  # until it is written down
        while True:
            delivery = (await api.ask("GET", f"{ALL}/drift", status=200)).json()["delivery"]
            if delivery["timesSent"] == 6:
                break
            await asyncio.sleep(0.05)
    assert delivery["timesFailed"] == 3 and "lastError" not in delivery


async def test_a_test_says_what_the_server_answered(api: Api, mail: MailServer, hook: Receiver) -> None:
    await put(api, "drift", email(language="sv", alarms={}))
    assert (await api.ask("POST", f"{ALL}/drift/test", status=200)).json() == {
        "delivered": True,
        "answer": "it is number 17",
    }
    assert mail.mails[0].message["Subject"].startswith("För kännedom: Detta är ett prov.")
    mail.answers = ["554 5.7.1 not from you"]
    refused = (await api.ask("POST", f"{ALL}/drift/test", status=200)).json()
    assert refused["delivered"] is False and "554 5.7.1 not from you" in refused["answer"]
    hook.script.append(answer(404))
    secret = {"kind": "teams", "url": hook.url("/secret-path?sig=secret")}
    await put(api, "kanalen", {"name": "Kanalen", "send": secret, "alarms": {}})
    refused = (await api.ask("POST", f"{ALL}/kanalen/test", status=200)).json()
    assert refused == {"delivered": False, "answer": f"'http://127.0.0.1:{hook.port}/…' answered 404."}
    await api.problem(404, "ResourceNotFound", "POST", f"{ALL}/nobody/test")


async def test_they_are_made_changed_listed_and_deleted(api: Api, hook: Receiver) -> None:
    created = await api.ask("POST", ALL, {"id": "drift", **email(alarms={})}, status=201)
    assert created.headers["Location"] == f"{ALL}/drift"
    await api.problem(409, "AlreadyExists", "POST", ALL, {"id": "drift", **email(alarms={})})
    shown = (await api.ask("GET", f"{ALL}/drift", status=200)).json()
    assert shown["alarms"] == {"severity": "medium", "kinds": [], "places": [], "types": [], "ended": True}
    await put(api, "drift", {**shown, "name": "Drift och underhåll"})  # as it was shown
    assert [(one["id"], one["name"]) for one in (await api.ask("GET", ALL, status=200)).json()] == [
        ("drift", "Drift och underhåll")
    ]
    for name in ("b", "c", "d"):
        await put(api, name, email(alarms={}))
    assert "limits.receivers" in await api.problem(400, "BadRequestData", "PUT", f"{ALL}/e", email(alarms={}))
    await api.ask("DELETE", f"{ALL}/drift", status=204)
    await api.problem(404, "ResourceNotFound", "GET", f"{ALL}/drift")
    await api.problem(404, "ResourceNotFound", "DELETE", f"{ALL}/drift")


async def test_they_are_no_subscriptions_of_apps(api: Api, hook: Receiver) -> None:
    await put(api, "drift", email(alarms={}))
    listed = await api.ask("GET", "/subscriptions?count=true", status=200)
    assert (listed.json(), listed.headers["NGSILD-Results-Count"]) == ([], "0")
    urn = "urn:knutpunkt:Receiver:drift"
    await api.problem(404, "ResourceNotFound", "GET", f"/subscriptions/{urn}")
    await api.problem(404, "ResourceNotFound", "PATCH", f"/subscriptions/{urn}", {"isActive": False})
    await api.problem(404, "ResourceNotFound", "DELETE", f"/subscriptions/{urn}")
    await api.problem(404, "ResourceNotFound", "PUT", f"/api/v1/subscriptions/{urn}/signing", {"secret": "x" * 20})
    document = {
        "id": urn,
        "type": "Subscription",
        "entities": [{"type": "Room"}],
        "notification": {"endpoint": {"uri": hook.url()}},
    }
    assert "/api/v1/receivers" in await api.problem(400, "BadRequestData", "POST", "/subscriptions", document)
    assert (await api.ask("GET", f"{ALL}/drift", status=200)).json()["active"] is True


async def test_what_lets_in_who_has_it_is_masked_and_stays_when_it_comes_back(api: Api, hook: Receiver) -> None:
    url = hook.url("/path") + "?key=secret-key"
    more = {"headers": {"X-Key": "secret-header"}, "secret": "secret-to-sign-with"}
    rule = {"id": "warm", "type": "Room", "q": "temperature>26"}
    await put(api, "hook", webhook(url, send=more, thresholds=[rule]))
    shown = (await api.ask("GET", f"{ALL}/hook", status=200)).json()
    assert shown["send"]["url"] == hook.url("/path") + "?***"
    assert shown["send"]["headers"] == {"X-Key": "***"} and shown["send"]["secret"] == "***"
    assert "secret-" not in json.dumps(shown)
    await put(api, "hook", {**shown, "name": "Renamed"})
    await set_value(api, 30)
    (received,) = await hook.wait_for(1)
    assert received.headers["X-Key"] == "secret-header" and "Knutpunkt-Signature" in received.headers
    assert "masked" in await api.problem(400, "BadRequestData", "PUT", f"{ALL}/other", {**shown, "id": "other"})
    moved = {**shown, "send": {**shown["send"], "url": "https://thief.example/?***"}}
    assert "masked" in await api.problem(400, "BadRequestData", "PUT", f"{ALL}/hook", moved)


BAD: list[tuple[dict[str, Any], str]] = [
    ({}, "name"),
    (email(), "'alarms' or 'thresholds'"),
    (email(alarms={}, colour="blue"), "'colour'"),
    (email(alarms={"severity": "dreadful"}), "severity"),
    (email(alarms={"places": ["not a uri"]}), "'alarms.places'"),
    (email(alarms={}, digestMinutes=-1), "'digestMinutes'"),
    (email(alarms={}, digestMinutes=1441), "'digestMinutes'"),
    (email(alarms={}, language="de"), "language"),
    (email(alarms={}, timeZone="Mars/Olympus"), "'timeZone'"),
    (email(alarms={}, timeZone="../../etc/passwd"), "'timeZone'"),
    (email(alarms={}, name="two\nlines"), "'name'"),
    (email(alarms={}, send={"kind": "email", "to": []}), "'send.to'"),
    (email(alarms={}, send={"kind": "email", "to": ["a@b.se"] * 51}), "'send.to'"),
    (email(alarms={}, send={"kind": "email", "to": ["a@b.se\r\nBcc: c@d.se"]}), "'send.to'"),
    (email(alarms={}, send={"kind": "pigeon"}), "pigeon"),
    (email(alarms={}, send={"kind": "teams", "url": "mqtt://x/y"}), "'send.url'"),
    (email(alarms={}, send={"kind": "webhook", "url": "http://u:p@x/"}), "'send.url'"),
    (webhook("http://x/", alarms={}, send={"headers": {"Host": "y"}}), "'Host'"),
    (webhook("http://x/", alarms={}, send={"headers": {"X": "a\r\nY: b"}}), "HTTP header"),
    (webhook("http://x/", alarms={}, send={"secret": "short"}), "'secret'"),
    (webhook("http://x/", alarms={}, send={"template": {"a": "{nothing}"}}), "{nothing}"),
    (webhook("http://x/", alarms={}, send={"template": "{text}" * 51}), "50 names"),
    (webhook("http://x/", alarms={}, send={"template": "x" * 20_000}), "bytes of JSON"),
    (email(thresholds=[{"id": "a", "type": "Room", "q": "temperature>>26"}]), "q"),
    (email(thresholds=[{"id": "a", "type": "Room", "q": "t>1"}] * 2), "twice"),
    (email(thresholds=[{"id": f"a{n}", "type": "Room", "q": "t>1"} for n in range(21)]), "at most 20"),
    (email(thresholds=[{"id": "a", "type": "no name", "q": "t>1"}]), "'type'"),
    (email(thresholds=[{"id": "a", "type": "Room", "q": "t>1", "text": "x" * 501}]), "'text'"),
]


async def test_what_makes_no_sense_is_refused_by_the_member_that_does_not(api: Api) -> None:
    for document, named in BAD:
        detail = await api.problem(400, "BadRequestData", "PUT", f"{ALL}/bad", document)
        assert named in detail, (document, detail)
    assert "id" in await api.problem(400, "BadRequestData", "PUT", f"{ALL}/b%C3%A5d", email(alarms={}))
    assert (await api.ask("GET", ALL, status=200)).json() == []


@both
async def test_personal_data_is_told_only_to_receivers_made_with_the_grant(
    store: str, tmp_path: Path, mail: MailServer, hook: Receiver
) -> None:
    http = Http(port=0, token=PLAIN.split()[1], personal_token=GRANTED.split()[1])
    async with running_broker(tmp_path, http=http, store=StoreSettings(url=store), delivery=DELIVERY) as api:
        await build(api)
        rules = {"alarms": {"severity": "low"}, "thresholds": [{"id": "t", "type": KIND, "q": "temperature<5"}]}
        await put(api, "plain", webhook(hook.url("/plain"), **rules), Authorization=PLAIN)
        await put(api, "granted", webhook(hook.url("/granted"), **rules), Authorization=GRANTED)
        # A grant does not widen what is there.
        await put(api, "plain", webhook(hook.url("/plain"), **rules), Authorization=GRANTED)
        for number, celsius in ((0, VALUE), (1, 1.5)):
            await hear(api, number, elsys_temperature(celsius))
        await hook.wait_for(6)
        told = {path: [one.body for one in hook.accepted if one.path == path] for path in ("/plain", "/granted")}
        assert {entry["entity"] for body in told["/granted"] for entry in body["entries"]} >= {HOME}
        assert len(told["/plain"]) == 2 and HOME not in json.dumps(told["/plain"])
        # Nor is who is told of it anybody's to see or change.
        listed = (await api.ask("GET", ALL, status=200, Authorization=PLAIN)).json()
        assert [one["id"] for one in listed] == ["plain"]
        await api.problem(404, "ResourceNotFound", "GET", f"{ALL}/granted", Authorization=PLAIN)
        await api.problem(404, "ResourceNotFound", "POST", f"{ALL}/granted/test", Authorization=PLAIN)
        for method in ("PUT", "DELETE"):
            body = webhook(hook.url("/thief"), **rules) if method == "PUT" else None
            refused = await api.ask(method, f"{ALL}/granted", body, Authorization=PLAIN)
            assert refused.status == 403, refused


async def test_they_are_steered_from_the_command_line(api: Api, mail: MailServer, tmp_path: Path) -> None:
    file = tmp_path / "receivers.yaml"
    file.write_text(
        """
id: drift
name: Drift
send: {kind: email, to: [drift@city.example]}
language: sv
alarms: {severity: high}
---
id: teknik
name: Teknik
send: {kind: email, to: [teknik@city.example]}
thresholds:
  - {id: warm, type: Room, q: "temperature>26"}
"""
    )

    async def run(*words: str) -> str:
        result = await asyncio.to_thread(CliRunner().invoke, main, ["receiver", *words, "--url", api.url])
        assert result.exit_code == 0, result.output
        return result.output

    assert "drift: added" in await run("apply", "-f", str(file))
    assert "drift: as it was" in await run("apply", "-f", str(file))
    listed = await run("list")
    assert "drift" in listed and "teknik" in listed and "email" in listed
    assert "drift@city.example" in await run("show", "drift")
    assert "it is number 17" in await run("test", "drift")
    assert len(mail.mails) == 1
    mail.answers = ["554 no"]
    failed = await asyncio.to_thread(CliRunner().invoke, main, ["receiver", "test", "drift", "--url", api.url])
    assert failed.exit_code == 1 and "554 no" in failed.output
    assert "deleted" in await run("delete", "drift", "--yes")
    assert "drift" not in await run("list")


async def test_their_deliveries_are_seen_and_steered_as_any(api: Api, hook: Receiver) -> None:
    rule = {"id": "warm", "type": "Room", "q": "temperature>26"}
    await put(api, "hook", webhook(hook.url() + "?key=secret", thresholds=[rule]))
    urn = "/api/v1/subscriptions/urn:knutpunkt:Receiver:hook"
    (listed,) = (await api.ask("GET", "/api/v1/subscriptions", status=200)).json()
    assert (listed["subscriptionName"], listed["endpoint"]) == ("Hook", "webhook")
    await api.ask("POST", f"{urn}/pause", {"by": "Mia"}, status=200)
    await set_value(api, 30)
    assert (await api.ask("GET", f"{urn}/delivery", status=200)).json()["backlog"] == 1
    assert hook.tried == []
    await api.ask("POST", f"{urn}/resume", status=200)
    await hook.wait_for(1)
    detail = await api.problem(409, "Conflict", "POST", f"{urn}/replay?from=2026-01-01T00:00:00Z")
    assert "deadLetters=true" in detail
    await api.ask("POST", f"{urn}/replay?deadLetters=true", status=202)
