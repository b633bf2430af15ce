"""The secret by which one source of uplinks is let in: a bearer token, a header of its own, or basic authentication (RFC 7617)."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Mapping

from broker.config import Source
from broker.errors import Unauthorized


class SourceSecret:
    """Checks the headers of requests against one source's secret. Takes equally long for every wrong one."""

    def __init__(self, source: Source) -> None:
        self._header = source.header
        if source.user:
            self._header, self._scheme = "Authorization", "basic "
            self._said = "Authorization: Basic <user and token>"
            self._secret = base64.b64encode(f"{source.user}:{source.token}".encode())
        elif source.header.lower() == "authorization":
            self._scheme, self._said = "bearer ", "Authorization: Bearer <token>"
            self._secret = source.token.encode()
        else:
            self._scheme, self._said = "", f"{source.header}: <token>"
            self._secret = source.token.encode()

    def check(self, headers: Mapping[str, str]) -> None:
        """Raises Unauthorized unless the headers have the secret."""
        given = headers.get(self._header)
        if given is None:
            raise Unauthorized(f"The request has no token: send the header '{self._said}'.")
        if given[: len(self._scheme)].lower() != self._scheme:
            raise Unauthorized(f"The header '{self._header}' must be '{self._said}'.")
        secret = given[len(self._scheme) :].strip().encode("utf-8", "surrogateescape")
        if not hmac.compare_digest(secret, self._secret):
            raise Unauthorized("The token is not valid.")
