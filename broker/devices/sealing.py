"""Devices' secrets as they stand in the store: encrypted under a secret of the settings, or plainly where there is none.

AES-256-GCM with a random nonce; what a secret belongs to is authenticated with it, so that one row's cannot be put into
another's.
"""

from __future__ import annotations

import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

NONCE_BYTES = 12
_PLAIN, _SEALED = "plain:", "aes256gcm:"


class Sealer:
    """Seals and opens secrets."""

    def __init__(self, secret: str) -> None:
        """`secret`: 32 bytes in hexadecimal; '' stores plainly."""
        self._cipher = AESGCM(bytes.fromhex(secret)) if secret else None

    def seal(self, secret: bytes, about: str) -> str:
        """`secret` as it is stored, for what `about` names."""
        if self._cipher is None:
            return _PLAIN + secret.hex()
        nonce = secrets.token_bytes(NONCE_BYTES)
        return _SEALED + (nonce + self._cipher.encrypt(nonce, secret, about.encode())).hex()

    def open(self, sealed: str, about: str) -> bytes | None:
        """The secret; None when it was sealed under another secret, for something else, or is not there any more."""
        try:
            if sealed.startswith(_PLAIN):
                return bytes.fromhex(sealed.removeprefix(_PLAIN))
            if self._cipher is None or not sealed.startswith(_SEALED):
                return None
            raw = bytes.fromhex(sealed.removeprefix(_SEALED))
            return self._cipher.decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], about.encode())
        except (InvalidTag, ValueError):
            return None
