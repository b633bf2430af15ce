"""A request that is refused, with the code and the text for people."""

from __future__ import annotations

from aiocoap import Code


class Refused(Exception):
    """Answer `code` with `text`; nothing was done."""

    def __init__(self, code: Code, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
