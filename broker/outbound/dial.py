"""A connected socket to a name, if the address behind it is allowed: judged on what is connected to, as for HTTP."""

from __future__ import annotations

import asyncio
import errno
import socket

from broker.outbound.address import AddressForbidden, check_address


async def dial(host: str, port: int, *, private: bool) -> socket.socket:
    """The first of the name's addresses that answers. Raises AddressForbidden when none is allowed; OSError.

    `private`: loopback and private addresses are allowed.
    """
    loop = asyncio.get_running_loop()
    failed: OSError | None = None
    forbidden: AddressForbidden | None = None
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError:
        raise OSError(errno.EINVAL, "its name is none that there can be") from None
    for family, kind, protocol, _, address in found:
        try:
            check_address(str(address[0]), private=private)
        except AddressForbidden as error:
            forbidden = error
            continue
        made = socket.socket(family, kind, protocol)
        try:
            made.setblocking(False)
            await loop.sock_connect(made, address)
        except OSError as error:
            made.close()
            failed = error
        except BaseException:
            made.close()
            raise
        else:
            return made
    raise failed or forbidden or OSError(f"'{host}' has no address")
