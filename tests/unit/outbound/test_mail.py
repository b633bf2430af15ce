"""E-mails: what a header may hold, whatever names there are; and how a real mail server's answers are taken."""

from __future__ import annotations

from email import message_from_bytes
from email.policy import default
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.config import Smtp
from broker.outbound import BadAnswer, Forbidden, HostResting, Message, TimedOut, Unreachable
from broker.outbound.mail import MailTransport, compose, is_address, mailto, recipients
from tests.support.bad_server import Bad
from tests.support.mail_server import mail_server
from tests.support.mosquitto import make_certificates
from tests.support.ports import free_port

SETTINGS = Smtp(host="mail.test", sender="knutpunkt@city.example")


def message(subject: str = "Cold", body: str = "It is cold.\n", *to: str, message_id: str = "urn:x:1") -> Message:
    uri = mailto(to or ("a@city.example",))
    return Message(uri, body.encode("utf-8", "replace"), {"Subject": subject}, timeout=5.0, id=message_id)


@given(st.text(), st.text(), st.text())
def test_no_text_adds_a_header_or_a_recipient(subject: str, body: str, message_id: str) -> None:
    made = compose(message(subject, body, message_id=message_id), SETTINGS, ["a@city.example"], 1795258800)
    read = message_from_bytes(made.as_bytes(), policy=default)
    assert sorted(read.keys()) == sorted(
        ["From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "Content-Type", "Content-Transfer-Encoding", "MIME-Version"]
    )  # fmt: skip
    assert read["To"] == "a@city.example"
    assert read["From"] == "knutpunkt@city.example"
    assert "\n" not in read["Subject"] and "\r" not in read["Subject"]


@pytest.mark.parametrize(
    "subject",
    [
        "Cold\r\nBcc: thief@x.example",
        "Cold\nBcc: thief@x.example",
        "Cold\u2028Bcc: thief@x.example",
        "a\x00b\x0bc\x85d",
    ],
)
def test_a_line_break_in_a_name_is_a_blank(subject: str) -> None:
    made = compose(message(subject), SETTINGS, ["a@city.example"], 0)
    assert made["Bcc"] is None
    assert b"\nBcc" not in made.as_bytes()


@pytest.mark.parametrize("address", ["a@city.example", "first.last+alarm@sub.city.example", "ops@localhost"])
def test_addresses(address: str) -> None:
    assert is_address(address)
    assert recipients(mailto([address, "b@x.se"])) == [address, "b@x.se"]


@pytest.mark.parametrize(
    "address",
    [
        "",
        "a",
        "a@",
        "@b",
        "a@b,c@d",
        "a@b\r\nBcc: c@d",
        "a b@c",
        '"a"@b',
        "A <a@b>",
        "a@b.",
        "a@b..c",
        "å@b",
        "a@" + "b" * 300,
        "a@b\n",
        "a@b>c",
    ],
)
def test_what_is_no_address(address: str) -> None:
    assert not is_address(address)
    if address:
        with pytest.raises(ValueError, match="e-mail address"):
            recipients(mailto([address]))


async def test_a_message_is_handed_over_with_its_own_id() -> None:
    async with mail_server() as server:
        transport = MailTransport(Smtp(host="127.0.0.1", port=server.port, security="none", sender="k@city.example"))
        said = await transport.send(message("Kallt i sal 214", "Det är kallt: 4 °C.\n", "a@x.se", "b@x.se"))
    (mail,) = server.mails
    assert said == "it is number 17"
    assert (mail.sender, mail.recipients) == ("k@city.example", ["a@x.se", "b@x.se"])
    assert mail.message["Subject"] == "Kallt i sal 214"
    assert mail.message["Message-ID"] == "<urn-x-1@city.example>"
    assert mail.text.strip() == "Det är kallt: 4 °C."


@pytest.mark.filterwarnings("ignore:Session.login_data", "ignore:Requiring AUTH while")  # aiosmtpd, of itself and of us
@pytest.mark.parametrize("security", ["starttls", "tls"])
async def test_the_mail_servers_certificate_is_verified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, security: str
) -> None:
    certificates = make_certificates(tmp_path)
    users = {"knutpunkt": "s3cret"}
    async with mail_server(certificates=certificates, implicit=security == "tls", users=users) as server:

        def transport(password: str = "s3cret") -> MailTransport:
            return MailTransport(
                Smtp(host="127.0.0.1", port=server.port, security=security, username="knutpunkt", password=password)
            )

        with pytest.raises((Unreachable, BadAnswer)):
            await transport().send(message())
        assert server.mails == []
        monkeypatch.setenv("SSL_CERT_FILE", str(certificates.ca_file))
        await transport().send(message())
        (mail,) = server.mails
        assert mail.tls and mail.user == b"knutpunkt"
        with pytest.raises(BadAnswer, match="535") as refused:
            await transport("not it").send(message())
        assert "not it" not in refused.value.reason


async def test_starttls_is_not_given_up_where_the_server_has_none() -> None:
    async with mail_server() as server:
        transport = MailTransport(Smtp(host="127.0.0.1", port=server.port, security="starttls"))
        with pytest.raises((BadAnswer, Unreachable)):
            await transport.send(message())
    assert server.mails == []


async def test_who_is_refused_for_now_is_tried_again_alone_and_who_is_refused_for_good_keeps_nobody_waiting() -> None:
    answers: dict[str, Any] = {"full@x.se": "452 mailbox full", "gone@x.se": "550 no such user"}
    async with mail_server() as server:
        server.refuse = answers.get
        transport = MailTransport(Smtp(host="127.0.0.1", port=server.port, security="none"))
        one = message("Cold", "x\n", "a@x.se", "full@x.se", "gone@x.se")
        with pytest.raises(BadAnswer, match="for now"):
            await transport.send(one)
        del answers["full@x.se"]
        assert "refused: gone@x.se" in await transport.send(one) or server.mails[1].recipients == ["full@x.se"]
        with pytest.raises(BadAnswer, match="refuses all recipients: 550"):
            await transport.send(message("Cold", "x\n", "gone@x.se", message_id="urn:x:2"))
    assert [mail.recipients for mail in server.mails] == [["a@x.se"], ["full@x.se"]]


async def test_what_goes_wrong_is_said_in_plain_words() -> None:
    with pytest.raises(Forbidden, match=r"smtp\.host"):
        await MailTransport(Smtp()).send(message())
    away = MailTransport(Smtp(host="127.0.0.1", port=free_port(), security="none"))
    for _ in range(5):
        with pytest.raises(Unreachable, match="the connection was refused"):
            await away.send(message())
    with pytest.raises(HostResting):
        await away.send(message())
    async with mail_server() as server:
        server.answers = ["451 later"]
        transport = MailTransport(Smtp(host="127.0.0.1", port=server.port, security="none"))
        with pytest.raises(BadAnswer, match="451 later"):
            await transport.send(message())


async def test_a_mail_server_that_says_nothing_is_given_its_time_and_no_more() -> None:
    bad = Bad()
    async with bad.serving(bad.silent) as url:
        transport = MailTransport(Smtp(host="127.0.0.1", port=urlsplit(url).port or 0, security="none"))
        one = message()
        with pytest.raises(TimedOut):
            await transport.send(Message(one.uri, one.body, one.headers, timeout=0.2, id="x"))
