"""aiocoap's client with OSCORE."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiocoap import Code, Context, Message


class OscoreClient:
    """A device with a security context that it keeps in a folder."""

    def __init__(self, context: Context, port: int) -> None:
        self._context = context
        self._base = f"coap://127.0.0.1:{port}"

    async def post(self, path: str, payload: bytes, content_format: int | None = None, **options: Any) -> Message:
        """The answer to a POST."""
        request = Message(
            code=Code.POST, uri=self._base + path, payload=payload, content_format=content_format, **options
        )
        return await self._context.request(request).response


def provision(folder: Path, oscore: dict[str, Any]) -> None:
    """Configure the device in `folder` with what provisioning answered."""
    folder.mkdir(exist_ok=True)
    settings = {
        "secret_hex": oscore["masterSecret"],
        "salt_hex": oscore["masterSalt"],
        "sender-id_hex": oscore["senderId"],
        "recipient-id_hex": oscore["recipientId"],
        "algorithm": oscore["algorithm"],
    }
    if oscore["idContext"] is not None:
        settings["id-context_hex"] = oscore["idContext"]
    (folder / "settings.json").write_text(json.dumps(settings))


@asynccontextmanager
async def oscore_client(folder: Path, port: int) -> AsyncIterator[OscoreClient]:
    """The device that is provisioned in `folder`, speaking to a port of this machine."""
    context = await Context.create_client_context(transports=["oscore", "udp6"])
    context.client_credentials.load_from_dict(
        {f"coap://127.0.0.1:{port}/*": {"oscore": {"basedir": str(folder) + "/"}}}
    )
    try:
        yield OscoreClient(context, port)
    finally:
        await context.shutdown()
        for known in list(context.client_credentials.values()):
            if known.lockfile is not None:
                known._destroy()
        context.client_credentials.clear()
