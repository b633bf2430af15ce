"""Signed notifications, as a receiver that checks them sees them."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.api import Api, running_broker
from tests.support.receiver import Received, Receiver, answer, receiving

NEW, OLD = "the newer secret, long enough", "the older secret, long enough"
SUBSCRIPTION = "urn:x:Subscription:signed"
SIGNING = f"/api/v1/subscriptions/{SUBSCRIPTION}/signing"


@pytest.fixture
async def app() -> AsyncIterator[Receiver]:
    async with receiving() as made:
        yield made


@pytest.fixture
async def api(tmp_path: Path, app: Receiver) -> AsyncIterator[Api]:
    async with running_broker(tmp_path) as made:
        document = {
            "id": SUBSCRIPTION,
            "type": "Subscription",
            "entities": [{"type": "Room"}],
            "notification": {
                "endpoint": {
                    "uri": app.url(),
                    "receiverInfo": [{"key": "idempotency-key", "value": "mine"}],
                }
            },
        }
        await made.ask("POST", "/subscriptions", document, status=201)
        yield made


def signatures(received: Received, secret: str) -> tuple[list[str], str]:
    """Those of the header, and the one that `secret` makes: the five lines of the documentation."""
    parts = [part.split("=", 1) for part in received.headers["Knutpunkt-Signature"].split(",")]
    at = next(value for name, value in parts if name == "t")
    expected = hmac.new(secret.encode(), at.encode() + b"." + received.raw, hashlib.sha256).hexdigest()
    return [value for name, value in parts if name == "v1"], expected


async def change(api: Api, number: int) -> None:
    document = {"id": "urn:x:Room:1", "type": "Room", "number": {"type": "Property", "value": number}}
    await api.ask("POST", "/entityOperations/upsert", [document])


async def one_signed(api: Api, app: Receiver, times: int) -> Received:
    """A notification with so many signatures: the first ones may still be as it was before, for a second."""
    for number in range(1000):
        seen = len(app.accepted)
        await change(api, number)
        last = (await app.wait_for(seen + 1))[-1]
        if last.headers.get("Knutpunkt-Signature", "").count("v1=") == times:
            return last
    raise AssertionError(f"none came with {times} signatures")


async def test_a_receiver_can_check_who_sent_it_and_secrets_can_follow_one_another(api: Api, app: Receiver) -> None:
    assert "Knutpunkt-Signature" not in (await one_signed(api, app, 0)).headers
    await api.ask("PUT", SIGNING, {"secret": OLD}, status=200)
    made, expected = signatures(await one_signed(api, app, 1), OLD)
    assert made == [expected]
    await api.ask("PUT", SIGNING, {"secret": NEW, "keepPreviousHours": 1}, status=200)
    both = await one_signed(api, app, 2)
    assert signatures(both, NEW)[0] == [signatures(both, NEW)[1], signatures(both, OLD)[1]]
    await api.ask("PUT", SIGNING, {"secret": NEW}, status=200)
    made, expected = signatures(await one_signed(api, app, 1), NEW)
    assert made == [expected]
    await api.ask("DELETE", SIGNING, status=204)
    await one_signed(api, app, 0)


async def test_a_notification_sent_again_has_the_same_key_and_a_signature_of_its_own(api: Api, app: Receiver) -> None:
    await api.ask("PUT", SIGNING, {"secret": NEW}, status=200)
    app.script.append(answer(500))
    await change(api, 1)
    await app.wait_for(1)
    assert {one.headers["Idempotency-Key"] for one in app.tried} == {app.accepted[0].body["id"]}
    assert len(app.tried) == 2
    for one in app.tried:  # nothing was delivered before, so the secret is read with the subscription
        made, expected = signatures(one, NEW)
        assert made == [expected]
        assert len(one.headers.getall("Idempotency-Key")) == 1


async def test_the_secret_is_never_shown(api: Api, app: Receiver, capfd: pytest.CaptureFixture[str]) -> None:
    told: list[Any] = [(await api.ask("PUT", SIGNING, {"secret": OLD}, status=200)).body]
    told.append((await api.ask("PUT", SIGNING, {"secret": NEW, "keepPreviousHours": 24}, status=200)).body)
    shown = await api.ask("GET", SIGNING, status=200)
    newest, before = shown.json()["secrets"]
    assert "until" not in newest and before["until"] > before["since"]
    told.append(shown.body)
    told.append((await api.ask("GET", f"/subscriptions/{SUBSCRIPTION}?options=sysAttrs", status=200)).body)
    told.append((await api.ask("GET", "/subscriptions", status=200)).body)
    app.otherwise = answer(500)
    await change(api, 1)
    await app.wait_for_tries(2)
    told.append((await api.ask("GET", f"/subscriptions/{SUBSCRIPTION}", status=200)).body)
    told += [text.encode() for text in capfd.readouterr()]
    assert all(NEW.encode() not in one and OLD.encode() not in one for one in told)
    # A change of the subscription leaves it as it is; deleting it takes it along.
    await api.ask("PATCH", f"/subscriptions/{SUBSCRIPTION}", {"description": "signed"}, status=204)
    assert len((await api.ask("GET", SIGNING, status=200)).json()["secrets"]) == 2
    await api.ask("DELETE", f"/subscriptions/{SUBSCRIPTION}", status=204)
    await api.problem(404, "ResourceNotFound", "GET", SIGNING)


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"secret": "too short"},
        {"secret": "x" * 257},
        {"secret": 17},
        {"secret": "with\nline breaks in it"},
        {"secret": NEW, "keepPreviousHours": -1},
        {"secret": NEW, "keepPreviousHours": 1e9},
        {"secret": NEW, "colour": "blue"},
    ],
)
async def test_a_secret_that_is_none_is_refused_and_not_repeated(api: Api, document: dict[str, Any]) -> None:
    detail = await api.problem(400, "BadRequestData", "PUT", SIGNING, document)
    assert str(document.get("secret")) not in detail
    await api.problem(404, "ResourceNotFound", "PUT", SIGNING.replace("signed", "none"), {"secret": NEW})


async def test_it_is_the_tenants_own(api: Api) -> None:
    await api.ask("POST", "/api/v1/tenants", {"id": "north"}, status=201)
    await api.problem(404, "ResourceNotFound", "GET", SIGNING, NGSILD_Tenant="north")
