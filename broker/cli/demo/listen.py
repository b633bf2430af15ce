"""`knutpunkt listen`: the smallest app there is. It takes notifications and prints them, one line an entity."""

from __future__ import annotations

import asyncio
import signal

import click
import orjson
from aiohttp import web

LARGEST_BYTES = 16 * 1024 * 1024
"""A notification of many entities."""


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8800, show_default=True, help="TCP port.")
def listen(host: str, port: int) -> None:
    """Print the notifications that a subscription sends to http://HOST:PORT/, until Ctrl-C."""
    try:
        asyncio.run(_listen(host, port))
    except OSError as error:
        raise click.ClickException(f"Cannot listen on {host} port {port}: {error.strerror}.") from None


async def _listen(host: str, port: int) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    app = web.Application(client_max_size=LARGEST_BYTES)
    app.router.add_post("/{path:.*}", _print)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        click.echo(f"Listening on http://{host}:{runner.addresses[0][1]}/")
        await stop.wait()
    finally:
        await runner.cleanup()


async def _print(request: web.Request) -> web.Response:
    try:
        notification = orjson.loads(await request.read())
        lines = [
            f"{notification['notifiedAt'][11:19]}  {entity['id']}  {orjson.dumps(_values(entity)).decode()}"
            for entity in notification["data"]
        ]
    except (ValueError, KeyError, TypeError) as error:
        return web.Response(status=400, text=f"That is no notification: {error!r}")
    click.echo("\n".join(lines))
    return web.Response(status=204)


def _values(entity: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in entity.items() if name not in ("id", "type", "@context")}
