"""The signature of a notification, so that its receiver knows who sent it, and that nobody changed or kept it back.

    Knutpunkt-Signature: t=1795258800,v1=5257a869e7ec…

`t` is when it was sent (seconds since 1970); `v1` is the hexadecimal HMAC-SHA-256 of `t`, a full stop and the message's
body, byte by byte, with the subscription's secret as key. While two secrets hold, there is a `v1` for each.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from typing import Final

HEADER: Final = "Knutpunkt-Signature"


def sign(secrets: Sequence[str], body: bytes, at: int) -> str:
    """The header's value."""
    signed = str(at).encode() + b"." + body
    made = [hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest() for secret in secrets]
    return ",".join([f"t={at}", *(f"v1={one}" for one in made)])
