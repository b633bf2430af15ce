"""Messages by e-mail, to mailto URIs, through the mail server of the settings.

A message is taken when the mail server has taken it for every recipient, or for good refused some of them (5xx): a wrong
address must not keep the others waiting for ever. What it refuses for now (4xx) is sent again, to those recipients alone.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate
from typing import Final
from urllib.parse import quote, unquote

import aiosmtplib
import structlog

from broker.config import Smtp
from broker.outbound.breaker import Breaker
from broker.outbound.client import BadAnswer, Forbidden, HostResting, OutboundError, TimedOut, Unreachable, plain
from broker.outbound.message import Message

SUBJECT_CHARACTERS: Final = 200
AT_ONCE: Final = 4
"""Messages that are handed to the mail server at once, count."""
REMEMBERED: Final = 1000
"""Messages of which it is remembered who has them already, count."""
_ADDRESS: Final = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@(?=.{1,253}\Z)[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*")
_BREAKS: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")

log = structlog.get_logger(__name__)


def is_address(text: str) -> bool:
    """Whether this is an e-mail address, and nothing but one (RFC 5321 without quotes and comments)."""
    return _ADDRESS.fullmatch(text) is not None


def mailto(addresses: Sequence[str]) -> str:
    """The URI of some addresses."""
    return "mailto:" + ",".join(quote(address, safe="@") for address in addresses)


def recipients(uri: str) -> list[str]:
    """The addresses of a mailto URI. Raises ValueError for what is none."""
    found = [unquote(part) for part in uri.partition(":")[2].split(",")]
    for address in found:
        if not is_address(address):
            raise ValueError("it has an e-mail address that is none")
    return list(dict.fromkeys(found))


def one_line(text: str, most: int) -> str:
    """`text` as it may stand in a header: no line breaks, whatever it came with."""
    flat = _BREAKS.sub(" ", text).strip()
    return flat if len(flat) <= most else flat[: most - 1] + "…"


def compose(message: Message, settings: Smtp, to: Sequence[str], at: float) -> EmailMessage:
    """The e-mail. Its Message-ID is the message's own, so that a mailbox can tell what it has already."""
    mail = EmailMessage(policy=SMTP)
    domain = settings.sender.rpartition("@")[2] or "localhost"
    mail["From"] = settings.sender
    mail["To"] = ", ".join(to)
    mail["Subject"] = one_line(message.headers.get("Subject", ""), SUBJECT_CHARACTERS)
    mail["Date"] = formatdate(at)
    mail["Message-ID"] = f"<{re.sub('[^A-Za-z0-9-]', '-', message.id) or 'message'}@{domain}>"
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(message.body.decode("utf-8", errors="replace"), charset="utf-8", cte="quoted-printable")
    return mail


class MailTransport:
    """Sends messages by e-mail."""

    def __init__(self, settings: Smtp, now: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._breaker = Breaker(now)
        self._taken: OrderedDict[str, set[str]] = OrderedDict()
        """Message -> the recipients that have it, of those that were refused for some."""

    async def send(self, message: Message) -> str:
        """See Transport."""
        if not self._settings.host:
            raise Forbidden("No mail server is set (smtp.host), so no e-mail can be sent.")
        try:
            everybody = recipients(message.uri)
        except ValueError as error:
            raise Forbidden(f"The e-mail cannot be sent: {error}.") from None
        taken = self._taken.get(message.id, set())
        to = [address for address in everybody if address not in taken]
        mail = compose(message, self._settings, everybody, time.time())
        async with self._slots:
            refused, answer = await self._guarded(mail, to, message.timeout)
        for_now = {address: code for address, (code, _) in refused.items() if code < 500}
        if for_now:
            self._remember(message.id, taken | set(to) - set(for_now))
            raise BadAnswer(f"The mail server refuses {len(for_now)} of {len(everybody)} recipients for now.")
        self._taken.pop(message.id, None)
        if refused:
            log.warning("mail.recipients_refused", message=message.id, recipients=len(refused))
            return f"{answer} (refused: {', '.join(sorted(refused))})"
        return answer

    async def _guarded(
        self, mail: EmailMessage, to: Sequence[str], seconds: float
    ) -> tuple[dict[str, tuple[int, str]], str]:
        """Who was refused, with what answer; and the answer to the whole."""
        rest = self._breaker.enter()
        if rest > 0:
            raise HostResting(f"The mail server has not answered lately; it is tried again in {rest:.1f} s.", rest)
        answered: bool | None = None
        try:
            async with asyncio.timeout(seconds):
                result = await self._hand_over(mail, to)
            answered = True
            return result
        except (TimeoutError, aiosmtplib.SMTPTimeoutError):
            answered = False
            raise TimedOut(f"The mail server did not answer within {seconds:g} s.") from None
        except aiosmtplib.SMTPRecipientsRefused as error:
            answered = True
            refused = {one.recipient: (one.code, one.message) for one in error.recipients}
            if any(code < 500 for code, _ in refused.values()):
                return refused, ""
            code, text = next(iter(refused.values()))
            raise _answered(f"refuses all recipients: {code} {text}") from None
        except aiosmtplib.SMTPResponseException as error:
            answered = True
            raise _answered(f"answered {error.code} {error.message}") from None
        except aiosmtplib.SMTPConnectError as error:
            answered = False
            raise Unreachable(f"The mail server cannot be reached: {plain(error.__cause__ or error)}.") from None
        except OSError as error:
            answered = False
            raise Unreachable(f"The connection to the mail server failed: {plain(error)}.") from None
        except (aiosmtplib.SMTPException, ValueError) as error:
            answered = True
            raise _answered(f"cannot take it: {error}") from None
        finally:
            self._breaker.leave(answered)

    async def _hand_over(self, mail: EmailMessage, to: Sequence[str]) -> tuple[dict[str, tuple[int, str]], str]:
        settings = self._settings
        client = aiosmtplib.SMTP(
            hostname=settings.host,
            port=settings.port,
            use_tls=settings.security == "tls",
            start_tls=settings.security == "starttls",
            username=settings.username or None,
            password=settings.password or None,
            timeout=None,
        )
        async with client:
            refused, answer = await client.send_message(mail, sender=settings.sender, recipients=list(to))
        return {address: (one.code, one.message) for address, one in refused.items()}, answer

    def _remember(self, message_id: str, taken: set[str]) -> None:
        self._taken[message_id] = taken
        self._taken.move_to_end(message_id)
        if len(self._taken) > REMEMBERED:
            self._taken.popitem(last=False)


def _answered(text: str) -> OutboundError:
    return BadAnswer(f"The mail server {one_line(text, 300)}.")
