"""The server to compare with: aiohttp as the broker sets it up, and a handler that reads the body and does nothing."""

from __future__ import annotations

import asyncio
import sys

import uvloop
from aiohttp import web


async def _handle(request: web.Request) -> web.Response:
    await request.read()
    return web.Response(status=204)


async def _serve(port: int) -> None:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", _handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))
