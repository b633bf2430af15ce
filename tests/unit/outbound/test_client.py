"""The guarded client against a real server on loopback."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from broker.config import Delivery
from broker.outbound import BadAnswer, Forbidden, HostResting, Outbound, TimedOut, Unreachable
from broker.outbound.breaker import FAILURES
from tests.support.receiver import Receiver, answer, dripping, endless, hang_up, never, receiving


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as made:
        yield made


@pytest.fixture
async def outbound() -> AsyncIterator[Outbound]:
    async with Outbound(Delivery(private_networks=True)) as made:
        yield made


async def get(outbound: Outbound, url: str, max_bytes: int = 1000) -> bytes:
    return await outbound.get(url, accept="application/ld+json", max_bytes=max_bytes, timeout=5)


async def test_a_post_gives_the_status_whatever_it_is(outbound: Outbound, receiver: Receiver) -> None:
    receiver.script.extend([answer(200), answer(404), answer(500)])
    statuses = [(await outbound.post(receiver.url(), b"{}", {"X-A": "b"}, 5)).status for _ in range(4)]
    assert statuses == [200, 404, 500, 204]
    assert receiver.accepted[0].headers["X-A"] == "b"


async def test_a_redirect_of_a_post_is_an_answer_and_not_followed(outbound: Outbound, receiver: Receiver) -> None:
    receiver.script.append(answer(307, Location=receiver.url("/elsewhere")))
    told = await outbound.post(receiver.url(), b"{}", {}, 5)
    assert (told.status, told.ok) == (307, False)
    assert [one.path for one in receiver.tried] == ["/notify"]


async def test_an_endpoint_that_never_answers_is_given_up_in_time(outbound: Outbound, receiver: Receiver) -> None:
    receiver.script.append(never)
    with pytest.raises(TimedOut, match=r"did not answer within 0\.2 s"):
        await outbound.post(receiver.url(), b"{}", {}, 0.2)


@pytest.mark.parametrize("behave", [endless, dripping])
async def test_the_status_counts_though_the_body_never_ends(
    outbound: Outbound, receiver: Receiver, behave: Any
) -> None:
    receiver.script.append(behave)
    assert (await outbound.post(receiver.url(), b"{}", {}, 5)).ok
    assert (await outbound.post(receiver.url(), b"{}", {}, 5)).ok


async def test_a_connection_that_breaks_is_said_in_plain_words(outbound: Outbound, receiver: Receiver) -> None:
    receiver.script.append(hang_up)
    with pytest.raises(Unreachable, match="the connection was closed"):
        await outbound.post(receiver.url(), b"{}", {}, 5)
    await receiver.stop()
    with pytest.raises(Unreachable, match="the connection was refused"):
        await outbound.post(receiver.url(), b"{}", {}, 5)


async def test_a_host_that_does_not_answer_rests_and_is_tried_again(receiver: Receiver) -> None:
    now = [1000.0]
    async with Outbound(Delivery(), lambda: now[0]) as outbound:
        await receiver.stop()
        for _ in range(FAILURES):
            with pytest.raises(Unreachable):
                await outbound.post(receiver.url(), b"{}", {}, 5)
        with pytest.raises(HostResting) as resting:
            await outbound.post(receiver.url(), b"{}", {}, 5)
        await receiver.start()
        now[0] += resting.value.retry_after
        assert (await outbound.post(receiver.url(), b"{}", {}, 5)).ok


async def test_an_app_that_answers_500_does_not_make_its_host_rest(outbound: Outbound, receiver: Receiver) -> None:
    receiver.script.extend([answer(500)] * (FAILURES + 1))
    for _ in range(FAILURES + 1):
        await outbound.post(receiver.url("/broken"), b"{}", {}, 5)
    assert (await outbound.post(receiver.url("/fine"), b"{}", {}, 5)).ok


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.org/x",
        "file:///etc/passwd",
        "//example.org/x",
        "http://",
        "http://user:secret@example.org/",
        "http://[::1",
        "http://example.org/" + "x" * 5000,
    ],
)
async def test_what_is_not_a_plain_http_url_is_refused(outbound: Outbound, url: str) -> None:
    with pytest.raises(Forbidden):
        await get(outbound, url)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "127.1", "[::ffff:127.0.0.1]"])
async def test_loopback_is_refused_however_it_is_written(receiver: Receiver, host: str) -> None:
    async with Outbound(Delivery(private_networks=False)) as outbound:
        with pytest.raises((Forbidden, Unreachable)):
            await outbound.post(f"http://{host}:{receiver.port}/notify", b"{}", {}, 5)
    assert receiver.tried == []


async def test_the_metadata_address_is_refused_even_where_private_ones_are_allowed(outbound: Outbound) -> None:
    with pytest.raises(Forbidden, match="metadata"):
        await get(outbound, "http://169.254.169.254/latest/meta-data/")


async def test_a_name_is_judged_by_the_address_it_has_when_connecting(receiver: Receiver) -> None:
    class Rebinding(AbstractResolver):
        async def resolve(self, host: str, port: int = 0, family: Any = 0) -> Any:
            return [{"hostname": host, "host": "127.0.0.1", "port": port, "family": 2, "proto": 0, "flags": 0}]

        async def close(self) -> None:
            pass

    async with Outbound(Delivery(private_networks=False)) as outbound:
        outbound._session.connector._resolver = Rebinding()  # type: ignore[union-attr]
        address = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", receiver.port))
        outbound._wires._names["apps.example.org", receiver.port] = (float("inf"), [address])
        url = f"http://apps.example.org:{receiver.port}/notify"
        with pytest.raises(Forbidden, match="private or loopback"):
            await outbound.post(url, b"{}", {}, 5)
        with pytest.raises(Forbidden, match="private or loopback"):
            await outbound.get(url, accept="*/*", max_bytes=10, timeout=5)
    assert receiver.tried == []


async def test_a_get_gives_the_body_and_follows_redirects_on_the_same_host_only(
    outbound: Outbound, receiver: Receiver
) -> None:
    async def document(request: web.Request) -> web.StreamResponse:
        return web.Response(body=b'{"@context": {}}')

    receiver.script.extend([answer(301, Location="/context.jsonld"), document])
    assert await get(outbound, receiver.url("/context")) == b'{"@context": {}}'
    assert [one.path for one in receiver.tried] == ["/context", "/context.jsonld"]
    receiver.script.append(answer(302, Location=f"http://localhost:{receiver.port}/context"))
    with pytest.raises(BadAnswer, match="another host"):
        await get(outbound, receiver.url("/context"))
    receiver.script.extend([answer(302, Location="/round")] * 10)
    with pytest.raises(BadAnswer, match="more than"):
        await get(outbound, receiver.url("/round"))


async def test_a_get_stops_reading_at_its_limit(outbound: Outbound, receiver: Receiver) -> None:
    receiver.script.extend([endless, answer(404)])
    with pytest.raises(BadAnswer, match="limit of 100000 bytes"):
        await get(outbound, receiver.url(), 100_000)
    with pytest.raises(BadAnswer, match="answered 404"):
        await get(outbound, receiver.url())


async def test_one_connection_serves_one_request_after_another(outbound: Outbound, receiver: Receiver) -> None:
    peers = set()

    async def noting(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        peers.add(request.transport.get_extra_info("peername"))
        return web.Response(status=200, text="thank you")

    receiver.otherwise = noting
    for number in range(20):
        assert (await outbound.post(receiver.url(f"/{number}"), b"{}", {"X-Number": str(number)}, 5)).ok
    assert len(peers) == 1
    assert [one.path for one in receiver.accepted] == [f"/{number}" for number in range(20)]
    await receiver.stop()
    await receiver.start()
    assert (await outbound.post(receiver.url(), b"{}", {}, 5)).ok


async def test_a_header_cannot_smuggle_in_another(outbound: Outbound, receiver: Receiver) -> None:
    for value in ("a\r\nX-Evil: b", "a\nb", "a\rb", "a\0b"):
        with pytest.raises(Forbidden, match="line end"):
            await outbound.post(receiver.url(), b"{}", {"X-Name": value}, 5)
    assert receiver.tried == []


async def test_no_more_connections_to_a_host_than_allowed(receiver: Receiver) -> None:
    running = most = 0

    async def slow(request: web.Request) -> web.StreamResponse:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.02)
        running -= 1
        return web.Response(status=204)

    receiver.otherwise = slow
    async with Outbound(Delivery(host_connections=3)) as outbound:
        await asyncio.gather(*(outbound.post(receiver.url(), b"{}", {}, 5) for _ in range(12)))
    assert most == 3
    assert len(receiver.accepted) == 12


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate that 127.0.0.1 signed for itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "app")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "app.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return folder / "app.pem", folder / "key.pem"


async def test_over_tls_the_certificate_must_be_trusted_and_of_that_name(outbound: Outbound, tmp_path: Path) -> None:
    async def taken(_: web.Request) -> web.Response:
        return web.Response(status=204)

    app = web.Application()
    app.router.add_post("/notify", taken)
    public, private = certificate(tmp_path)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(public, private)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    port = runner.addresses[0][1]
    try:
        with pytest.raises(Unreachable, match="its certificate was not accepted"):
            await outbound.post(f"https://127.0.0.1:{port}/notify", b"{}", {}, 5)
        outbound._wires._tls = ssl.create_default_context(cafile=str(public))
        assert (await outbound.post(f"https://127.0.0.1:{port}/notify", b"{}", {}, 5)).status == 204
        assert (await outbound.post(f"https://127.0.0.1:{port}/notify", b"{}", {}, 5)).status == 204
        outbound._wires.close()
        with pytest.raises(Unreachable, match="its certificate was not accepted"):
            await outbound.post(f"https://localhost:{port}/notify", b"{}", {}, 5)
    finally:
        await runner.cleanup()
