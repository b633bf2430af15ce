"""The commands of docs/receivers.md and docs/notifications.md, run as they are printed; and the lines that check a signature."""

import re
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from broker.outbound.signature import sign
from tests.docs.commands import ROOT, run_block, shell_blocks
from tests.support.broker import BrokerProcess
from tests.support.mail_server import mail_server

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="the page uses curl: apt-get install curl")

SUBSCRIPTION = {
    "id": "urn:ngsi-ld:Subscription:signed",
    "type": "Subscription",
    "entities": [{"type": "Room"}],
    "notification": {"endpoint": {"uri": "http://127.0.0.1:9/"}},
}


async def test_every_command_does_what_the_pages_say(tmp_path: Path) -> None:
    async with mail_server() as mail:
        settings = {
            "KNUTPUNKT_SMTP_HOST": "127.0.0.1",
            "KNUTPUNKT_SMTP_PORT": str(mail.port),
            "KNUTPUNKT_SMTP_SECURITY": "none",
        }
        broker = BrokerProcess(f"sqlite:///{tmp_path}/knutpunkt.db", tmp_path, settings)
        await broker.start()
        said = ""
        try:
            await broker.ask("POST", "/ngsi-ld/v1/subscriptions", SUBSCRIPTION)
            for block in [*shell_blocks("docs/receivers.md"), *shell_blocks("docs/notifications.md")]:
                said += await run_block(block, broker.url, tmp_path)
        finally:
            await broker.stop()
    assert "operations: added" in said and "Delivered: it is number 17" in said
    assert mail.mails[0].recipients == ["operations@city.example"]
    assert '"until"' in said and "b7e1c0f3" not in said


def test_the_lines_that_check_a_signature_do() -> None:
    (lines,) = re.findall(
        r"^```python\n(.*?)^```", (ROOT / "docs/notifications.md").read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    made: dict[str, Any] = {}
    exec(lines, made)
    now = int(time.time())
    header = sign(["the newer secret", "the older secret"], b'{"id": 1}', now)
    assert made["is_genuine"](header, b'{"id": 1}', "the older secret")
    assert made["is_genuine"](header, b'{"id": 1}', "the newer secret")
    assert not made["is_genuine"](header, b'{"id": 1}', "a thief's secret")
    assert not made["is_genuine"](header, b'{"id": 2}', "the older secret")
    assert not made["is_genuine"](header.replace(str(now), str(now + 1)), b'{"id": 1}', "the older secret")
    assert not made["is_genuine"](sign(["the older secret"], b"{}", now - 400), b"{}", "the older secret")
