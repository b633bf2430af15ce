"""The servers to compare with, in a process of their own: `python -m bench.empty PORT RAW_PORT`.

On PORT aiohttp, set up as the broker sets it up, with a handler that reads the body and does nothing. On RAW_PORT a
socket that answers 204 to whatever it reads: what the load generator can send at most.
"""

from __future__ import annotations

import asyncio
import sys
from typing import cast

import uvloop
from aiohttp import web

_NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"


async def _handle(request: web.Request) -> web.Response:
    await request.read()
    return web.Response(status=204)


class _Raw(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._transport.write(_NO_CONTENT)


async def _serve(port: int, raw_port: int) -> None:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", _handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.get_running_loop().create_server(_Raw, "127.0.0.1", raw_port)
    await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1]), int(sys.argv[2])))
