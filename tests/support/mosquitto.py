"""A real Mosquitto for tests: on a free loopback port, in a folder of its own, stopped, killed and started at will."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import socket
import struct
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.ports import free_port

START_SECONDS = 10.0


def program(name: str) -> str:
    """Where `name` is, on PATH or in /usr/sbin. Raises RuntimeError that says what to install."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if found is None:
        raise RuntimeError(f"{name} is not installed; on Debian: apt-get install mosquitto")
    return found


@dataclass(frozen=True, slots=True)
class Certificates:
    """PEM files of an authority and of a server certificate for localhost and 127.0.0.1."""

    ca_file: Path
    cert_file: Path
    key_file: Path


def make_certificates(folder: Path) -> Certificates:
    """Certificates made with openssl, good for a day."""
    made = Certificates(folder / "ca.pem", folder / "server.pem", folder / "server.key")
    request, extensions = folder / "server.csr", folder / "server.ext"
    extensions.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    ca_key = folder / "ca.key"
    new: list[str | Path] = ["openssl", "req", "-newkey", "rsa:2048", "-nodes"]
    commands: list[list[str | Path]] = [
        [*new, "-x509", "-days", "1", "-subj", "/CN=Test authority", "-keyout", ca_key, "-out", made.ca_file],
        [*new, "-subj", "/CN=localhost", "-keyout", made.key_file, "-out", request],
        ["openssl", "x509", "-req", "-days", "1", "-in", request, "-CA", made.ca_file, "-CAkey", ca_key,
         "-CAcreateserial", "-extfile", extensions, "-out", made.cert_file],
    ]  # fmt: skip
    for command in commands:
        subprocess.run(command, check=True, capture_output=True)
    return made


class Mosquitto:
    """A broker process. Queued messages and sessions are kept in `folder` over `stop` and `start`.

    As a context manager it is started on entry and stopped on exit.
    """

    def __init__(
        self,
        folder: Path,
        *,
        certificates: Certificates | None = None,
        users: Mapping[str, str] | None = None,
        options: Sequence[str] = (),
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self.port = free_port()
        self.url = f"{'mqtts' if certificates else 'mqtt'}://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None
        lines = [
            f"listener {self.port} 127.0.0.1",
            f"user {pwd.getpwuid(os.geteuid()).pw_name}",
            "persistence true",
            f"persistence_location {folder}/",
            "max_queued_messages 0",
            "max_inflight_messages 0",
        ]
        if certificates is not None:
            lines += [f"certfile {certificates.cert_file}", f"keyfile {certificates.key_file}"]
        if users:
            passwords = folder / "passwords"
            passwords.touch(mode=0o600)
            for user, password in users.items():
                subprocess.run([program("mosquitto_passwd"), "-b", passwords, user, password], check=True)
            lines += [f"password_file {passwords}"]
        lines += [f"allow_anonymous {'false' if users else 'true'}", *options]
        (folder / "mosquitto.conf").write_text("\n".join(lines) + "\n")

    def __enter__(self) -> Mosquitto:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start the process and wait until it takes connections."""
        with (self._folder / "mosquitto.log").open("ab") as log:
            self._process = subprocess.Popen(
                [program("mosquitto"), "-c", self._folder / "mosquitto.conf"], stdout=log, stderr=log
            )
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError((self._folder / "mosquitto.log").read_text()) from None
                time.sleep(0.02)

    def stop(self) -> None:
        """Stop in order: what is queued is written to the folder."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(START_SECONDS)
            self._process = None

    def restart(self) -> None:
        """Stop and start on the same port with the same folder."""
        self.stop()
        self.start()


async def publish(
    broker: Mosquitto, messages: Iterable[tuple[str, bytes]], *, qos: int = 1, client_id: str = "publisher"
) -> int:
    """Publish over plain TCP (MQTT 3.1.1, no TLS, no password), each acknowledged by the broker at QoS 1.

    At most 200 wait for their PUBACK at once. Returns how many were acknowledged. Raises OSError when the broker goes.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", broker.port)
    try:
        identity = client_id.encode()
        body = b"\x00\x04MQTT\x04\x02\x00\x00" + struct.pack("!H", len(identity)) + identity
        writer.write(b"\x10" + _length(len(body)) + body)
        await reader.readexactly(4)
        sent = acknowledged = 0
        for topic, payload in messages:
            name = topic.encode()
            packet_id = struct.pack("!H", sent % 65535 + 1) if qos else b""
            header = struct.pack("!H", len(name)) + name + packet_id
            writer.write(bytes([0x30 | qos << 1]) + _length(len(header) + len(payload)) + header + payload)
            sent += 1
            if sent % 100 == 0:
                await writer.drain()
            while qos and sent - acknowledged >= 200:
                await reader.readexactly(4)
                acknowledged += 1
        while qos and acknowledged < sent:
            await reader.readexactly(4)
            acknowledged += 1
        writer.write(b"\xe0\x00")
        await writer.drain()
        return acknowledged
    finally:
        writer.close()
        await writer.wait_closed()


def _length(value: int) -> bytes:
    encoded = bytearray()
    while True:
        value, digit = divmod(value, 128)
        encoded.append(digit | (0x80 if value else 0))
        if not value:
            return bytes(encoded)
