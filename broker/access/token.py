"""The bearer tokens that protect every route but health (RFC 6750), and what each of them lets its bearer see."""

from __future__ import annotations

import hmac

from broker.errors import Unauthorized

_SCHEME = "bearer "


class BearerTokens:
    """Checks the Authorization header of requests against two secrets."""

    def __init__(self, token: str, personal_token: str = "") -> None:
        """`token`: what every request must have, '' for none. `personal_token` goes for it, too, and grants personal data."""
        self._token = token.encode()
        self._personal = personal_token.encode()

    def check(self, authorization: str | None) -> bool:
        """Whether the request is granted personal data. Raises Unauthorized unless it has a token, where one is asked for.

        Takes equally long for every wrong token.
        """
        given = self._given(authorization) if self._token else _bearer(authorization)
        granted = bool(self._personal) and hmac.compare_digest(given, self._personal)
        allowed = not self._token or hmac.compare_digest(given, self._token)
        if not granted and not allowed:
            raise Unauthorized("The token is not valid.")
        return granted

    @staticmethod
    def _given(authorization: str | None) -> bytes:
        if authorization is None:
            raise Unauthorized("The request has no token: send the header 'Authorization: Bearer <token>'.")
        if authorization[: len(_SCHEME)].lower() != _SCHEME:
            raise Unauthorized("The header 'Authorization' must be 'Bearer <token>'.")
        return _bearer(authorization)


def _bearer(authorization: str | None) -> bytes:
    """The token; empty where there is none."""
    if authorization is None or authorization[: len(_SCHEME)].lower() != _SCHEME:
        return b""
    return authorization[len(_SCHEME) :].strip().encode("utf-8", "surrogateescape")
