"""The bearer token that protects every route but health (RFC 6750)."""

from __future__ import annotations

import hmac

from broker.errors import Unauthorized

_SCHEME = "bearer "


class BearerToken:
    """Checks the Authorization header of requests against one secret."""

    def __init__(self, token: str) -> None:
        self._token = token.encode()

    def check(self, authorization: str | None) -> None:
        """Raises Unauthorized unless `authorization` is 'Bearer <token>'. Takes equally long for every wrong token."""
        if authorization is None:
            raise Unauthorized("The request has no token: send the header 'Authorization: Bearer <token>'.")
        if authorization[: len(_SCHEME)].lower() != _SCHEME:
            raise Unauthorized("The header 'Authorization' must be 'Bearer <token>'.")
        given = authorization[len(_SCHEME) :].strip().encode("utf-8", "surrogateescape")
        if not hmac.compare_digest(given, self._token):
            raise Unauthorized("The token is not valid.")
