"""A real SMTP server on a loopback port, that can be told to refuse."""

from __future__ import annotations

import asyncio
import email
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import default
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult

from tests.support.mosquitto import Certificates


@dataclass(frozen=True, slots=True)
class Mail:
    """One message as it was taken."""

    sender: str
    recipients: list[str]
    raw: bytes
    tls: bool
    user: bytes | None

    @property
    def message(self) -> EmailMessage:
        """Parsed."""
        return email.message_from_bytes(self.raw, policy=default)

    @property
    def text(self) -> str:
        """Its plain text."""
        content: str = self.message.get_content()
        return content


class MailServer:
    """Keeps what it took."""

    def __init__(self) -> None:
        self.mails: list[Mail] = []
        self.tried = 0
        self.refuse: Callable[[str], str | None] = lambda address: None
        """What to answer to a recipient; None takes it."""
        self.answers: list[str] = []
        """What to answer to the next messages; after that they are taken."""
        self.port = 0
        self.implicit = False
        """TLS from the first byte on."""
        self.users: dict[str, str] = {}
        self._changed = asyncio.Condition()

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:  # noqa: N802
        answer = self.refuse(address)
        if answer is None:
            envelope.rcpt_tos.append(address)
        return answer or "250 taken"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        async with self._changed:
            self.tried += 1
            answer = self.answers.pop(0) if self.answers else "250 it is number 17"
            if answer.startswith("250"):
                user = session.auth_data.login if session.authenticated else None
                self.mails.append(
                    Mail(
                        envelope.mail_from,
                        envelope.rcpt_tos,
                        envelope.content,
                        self.implicit or session.ssl is not None,
                        user,
                    )
                )
            self._changed.notify_all()
        return answer

    def check(self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        known = self.users.get(data.login.decode())
        return AuthResult(success=known is not None and known == data.password.decode(), handled=False, auth_data=data)

    async def wait_for(self, count: int, seconds: float = 20.0) -> list[Mail]:
        """So many, once they are there."""
        try:
            async with asyncio.timeout(seconds), self._changed:
                await self._changed.wait_for(lambda: len(self.mails) >= count)
        except TimeoutError:
            raise AssertionError(f"{len(self.mails)} of {count} e-mails came within {seconds} s") from None
        return self.mails


@asynccontextmanager
async def mail_server(
    *, certificates: Certificates | None = None, implicit: bool = False, users: dict[str, str] | None = None
) -> AsyncIterator[MailServer]:
    """A running one. `certificates`: for STARTTLS, or TLS from the beginning; `users`: who must log in."""
    server = MailServer()
    server.users = users or {}
    server.implicit = implicit
    context = None
    if certificates is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates.cert_file, certificates.key_file)

    def protocol() -> SMTP:
        return SMTP(
            server,
            hostname="mail.test",
            tls_context=context if not implicit else None,
            require_starttls=context is not None and not implicit,
            authenticator=server.check if users else None,
            auth_required=bool(users),
            auth_require_tls=context is not None and not implicit,
        )

    listening = await asyncio.get_running_loop().create_server(
        protocol, "127.0.0.1", 0, ssl=context if implicit else None
    )
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        await listening.wait_closed()
