"""Free loopback ports."""

from __future__ import annotations

import socket

LOOPBACK = "127.0.0.1"


def free_tcp_port(wanted: int = 0) -> int:
    """`wanted` where it is free, else some other that is."""
    return _free(socket.SOCK_STREAM, wanted)


def free_udp_port(wanted: int = 0) -> int:
    """The same for UDP."""
    return _free(socket.SOCK_DGRAM, wanted)


def _free(kind: socket.SocketKind, wanted: int) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        if kind == socket.SOCK_STREAM:
            # As the server will: connections of a broker that was just stopped do not keep its port.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, wanted))
        except OSError:
            probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port
