"""Ports for servers that tests start."""

from __future__ import annotations

import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path
from typing import IO

FIRST, LAST = 20_000, 32_000
"""Below what the system gives to outgoing connections, which could take a port before its server does."""

_kept: list[IO[bytes]] = []


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """A free loopback port that no other process that asks here is given while this one lives."""
    folder = Path(tempfile.gettempdir()) / f"knutpunkt-ports-{os.geteuid()}"
    folder.mkdir(exist_ok=True)
    ports = random.Random().sample(range(FIRST, LAST), 1000)
    for port in ports:
        lock = (folder / str(port)).open("wb")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with socket.socket(socket.AF_INET, kind) as probe:
                probe.bind(("127.0.0.1", port))
        except OSError:
            lock.close()
            continue
        _kept.append(lock)
        return port
    raise RuntimeError(f"No free port was found between {FIRST} and {LAST}.")
