"""CoAP datagrams by hand."""

from __future__ import annotations

import asyncio


async def raw_post(port: int, datagram: bytes, *, seconds: float = 5.0) -> bytes | None:
    """Send a datagram to a port of this machine from a socket of its own: the first answer, None when there is none."""
    loop = asyncio.get_running_loop()
    answered: asyncio.Future[bytes] = loop.create_future()

    class Device(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
            if not answered.done():
                answered.set_result(data)

        def error_received(self, exc: Exception) -> None:
            pass  # nobody listens there: no answer

    transport, _ = await loop.create_datagram_endpoint(Device, remote_addr=("127.0.0.1", port))
    try:
        transport.sendto(datagram)
        async with asyncio.timeout(seconds):
            return await answered
    except TimeoutError:
        return None
    finally:
        transport.close()


async def until_served(port: int, *, seconds: float = 20.0) -> None:
    """Wait until a CoAP server at a port of this machine answers a ping. Raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while await raw_post(port, b"\x40\x00\x12\x34", seconds=0.2) != b"\x70\x00\x12\x34":
            pass
