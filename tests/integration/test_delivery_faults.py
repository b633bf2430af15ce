"""Endpoints that misbehave: what each does is told, what it is owed waits, and nobody else waits for it."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from broker.config import Delivery as DeliverySettings
from tests.integration.test_delivery import City, counted, opened
from tests.support.bad_server import Bad
from tests.support.mosquitto import make_certificates
from tests.support.ports import free_port
from tests.support.receiver import Receiver, answer, receiving

FAST = DeliverySettings(retry_first_seconds=0.02, retry_longest_seconds=0.1, timeout_seconds=0.4)


@pytest.fixture
async def city(tmp_path: Path) -> AsyncIterator[City]:
    async with opened(tmp_path / "city.db") as made:
        yield made


@pytest.fixture
async def app() -> AsyncIterator[Receiver]:
    async with receiving() as made:
        yield made


FAULTS = {
    "silent": "did not answer within 0.4 s",
    "drips": "did not answer within 0.4 s",
    "resets": "the connection was closed|connection reset",
    "hangs_up": "the connection was closed|connection reset",
    "gibberish": "it did not speak HTTP",
    "huge_error": "answered 500",
    "huge_headers": "its head is too long",
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_it_is_told_what_is_wrong_and_nothing_is_lost(city: City, app: Receiver, fault: str) -> None:
    bad = Bad()
    async with bad.serving(getattr(bad, fault)) as url:
        await city.subscribe(url, "urn:x:bad")
        await city.subscribe(app.url(), "urn:x:well")
        async with city.delivering(FAST):
            await city.count(20, "urn:x:bad", "urn:x:well")
            await app.wait_for(20)

            async def failed() -> bool:
                return (await city.state("urn:x:bad")).attempts >= 2

            await city.until(failed)
            state = await city.state("urn:x:bad")
            assert any(part in state.last_error for part in FAULTS[fault].split("|")), state.last_error
            assert await city.store.outbox_owed() == {"urn:x:bad": 20}
            assert bad.written < 32 * 1024 * 1024  # what fits between two sockets, not what was on offer
            await city.change(
                {"notification": {"format": "simplified", "endpoint": {"uri": app.url("/moved")}}}, "urn:x:bad"
            )
            await app.wait_for(40)
    moved = [entry["count"] for one in app.accepted if one.path == "/moved" for entry in one.data]
    assert moved == list(range(1, 21))


async def test_ten_gigabytes_of_answer_are_not_read_and_the_notification_counts(city: City) -> None:
    bad = Bad()
    async with bad.serving(bad.huge) as url:
        await city.subscribe(url)
        async with city.delivering(FAST):
            await city.count(3)
            await city.until(city.nothing_owed)
            await asyncio.wait_for(bad.closed.wait(), 5)
    assert bad.connections == 3  # each dropped: the rest of the answer is not worth the connection
    assert bad.written < 32 * 1024 * 1024
    assert (await city.state()).times_failed == 0


async def test_none_of_them_delays_the_others(city: City, app: Receiver) -> None:
    """An endpoint gets a minute to answer here: if the others waited for any of them, they would not be done in time."""
    bad = Bad()
    names = []
    async with contextlib.AsyncExitStack() as stack:
        for fault in (*FAULTS, "huge"):
            url = await stack.enter_async_context(bad.serving(getattr(bad, fault)))
            names += [await city.subscribe(f"{url}/{number}", f"urn:x:{fault}:{number}") for number in range(3)]
        names.append(await city.subscribe(f"http://127.0.0.1:{free_port()}/", "urn:x:refused"))
        names.append(await city.subscribe("http://nobody.invalid/", "urn:x:unresolved"))
        await city.subscribe(app.url(), "urn:x:well")
        patient = DeliverySettings(retry_first_seconds=0.02, retry_longest_seconds=0.1, timeout_seconds=60)
        async with city.delivering(patient) as delivery:
            await city.count(100, *names, "urn:x:well")
            await app.wait_for(100)
            await delivery.stop(0.1)
    assert counted(app) == list(range(1, 101))


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("elsewhere", [True, False])
async def test_a_redirect_is_not_followed_to_another_host_nor_on_the_same(
    city: City, app: Receiver, status: int, elsewhere: bool
) -> None:
    async with receiving() as other:
        there = other.url("/there").replace("127.0.0.1", "localhost") if elsewhere else app.url("/there")
        app.script.append(answer(status, Location=there))
        await city.subscribe(app.url())
        async with city.delivering(FAST):
            await city.count(2)
            await app.wait_for(2)
            await city.until(city.nothing_owed)
        assert other.tried == []
    assert [one.path for one in app.tried] == ["/notify"] * 3
    assert counted(app) == [1, 2]
    assert (await city.state()).times_failed == 1


async def test_500_and_then_200_is_one_failure_and_no_loss(city: City, app: Receiver) -> None:
    app.script.extend([answer(500), answer(200)])
    await city.subscribe(app.url())
    async with city.delivering(FAST):
        await city.count(2)
        await app.wait_for(2)
        await city.until(city.nothing_owed)
    assert counted(app) == [1, 2]
    state = await city.state()
    assert (state.times_sent, state.times_failed, state.attempts, state.last_error) == (3, 1, 0, "")


async def test_a_certificate_that_is_not_trusted_gets_nothing(tmp_path: Path, city: City) -> None:
    certificates = make_certificates(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.cert_file, certificates.key_file)
    seen = bytearray()

    async def reads(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.extend(await reader.read())

    async with Bad().serving(reads, context) as url:
        await city.subscribe(url)
        async with city.delivering(FAST):
            await city.count(1)

            async def failed() -> bool:
                return (await city.state()).attempts >= 2

            await city.until(failed)
    assert "certificate" in (await city.state()).last_error
    assert not seen
    assert not await city.nothing_owed()


async def test_a_name_that_does_not_resolve_is_tried_again(city: City, app: Receiver) -> None:
    await city.subscribe("http://nobody.invalid/notify")
    async with city.delivering(FAST):
        await city.count(2)

        async def failed() -> bool:
            return (await city.state()).attempts >= 2

        await city.until(failed)
        assert "does not resolve" in (await city.state()).last_error
        await city.change({"notification": {"format": "simplified", "endpoint": {"uri": app.url()}}})
        await app.wait_for(2)
    assert counted(app) == [1, 2]
