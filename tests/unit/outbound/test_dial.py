"""Sockets for others: the address that is connected to is the one that is judged."""

from __future__ import annotations

import asyncio

import pytest

from broker.outbound.address import AddressForbidden
from broker.outbound.dial import dial


async def test_a_private_address_is_connected_to_only_where_that_is_allowed() -> None:
    seen = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.set()
        await reader.read()
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        for name in ("127.0.0.1", "localhost", "2130706433"):
            with pytest.raises(AddressForbidden):
                await dial(name, port, private=False)
        assert not seen.is_set()
        made = await dial("localhost", port, private=True)
        await asyncio.wait_for(seen.wait(), 5)
        made.close()
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("host", ["169.254.169.254", "0.0.0.0", "fe80::1", "224.0.0.1"])
async def test_some_addresses_are_never_connected_to(host: str) -> None:
    with pytest.raises(OSError):
        await dial(host, 1883, private=True)


@pytest.mark.parametrize("host", ["nobody.invalid", "å" * 100, "a..b"])
async def test_a_name_that_is_none_is_no_fault_of_ours(host: str) -> None:
    with pytest.raises(OSError):
        await dial(host, 1883, private=True)
