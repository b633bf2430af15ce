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

    transport, _ = await loop.create_datagram_endpoint(Device, remote_addr=("127.0.0.1", port))
    try:
        transport.sendto(datagram)
        async with asyncio.timeout(seconds):
            return await answered
    except TimeoutError:
        return None
    finally:
        transport.close()
