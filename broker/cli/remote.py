"""A running broker's management API, from the command line."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import click

JSON = "application/json"
TIMEOUT_SECONDS = 60.0
LONG_SECONDS = 600.0
"""For imports and exports."""

_NEXT = re.compile(r'<([^<>]*)>[^,<]*;\s*rel="next"')

CommandT = TypeVar("CommandT", bound=Callable[..., Any])


class Remote:
    """One broker, reached over HTTP."""

    def __init__(self, url: str, token: str) -> None:
        if not url.startswith(("http://", "https://")):
            raise click.ClickException(f"--url must begin with http:// or https://, got '{url}'.")
        self._url = url.rstrip("/")
        self._token = token

    def get(self, path: str, **query: str) -> Any:
        """GET; the answer's JSON."""
        text = f"?{urllib.parse.urlencode(query)}" if query else ""
        return self._ask("GET", path + text, None)

    def pages(self, path: str, **query: str) -> Iterator[Any]:
        """GET of a list, page by page as the answers' links say; the elements."""
        at: str | None = f"{path}?{urllib.parse.urlencode(query)}"
        while at is not None:
            content, links = self._answer("GET", at, None, JSON, TIMEOUT_SECONDS)
            yield from json.loads(content)
            following = _NEXT.search(links)
            at = following[1] if following is not None else None

    def post(self, path: str, document: dict[str, Any], **query: str) -> Any:
        """POST; the answer's JSON."""
        text = f"?{urllib.parse.urlencode(query)}" if query else ""
        return self._ask("POST", path + text, document)

    def put(self, path: str, document: dict[str, Any]) -> Any:
        """PUT; the answer's JSON."""
        return self._ask("PUT", path, document)

    def patch(self, path: str, document: dict[str, Any]) -> Any:
        """PATCH, a merge patch; the answer's JSON."""
        return self._ask("PATCH", path, document)

    def delete(self, path: str) -> None:
        """DELETE."""
        self._ask("DELETE", path, None)

    def send(self, path: str, body: bytes, media_type: str, **query: str) -> Any:
        """POST of bytes that take long to work through; the answer's JSON. Raises Refused."""
        text = f"?{urllib.parse.urlencode(query)}" if query else ""
        content = self._open("POST", path + text, body, media_type, LONG_SECONDS)
        return json.loads(content) if content else None

    def download(self, path: str, **query: str) -> bytes:
        """GET; the answer as it is."""
        text = f"?{urllib.parse.urlencode(query)}" if query else ""
        return self._open("GET", path + text, None, JSON, LONG_SECONDS)

    def _ask(self, method: str, path: str, document: dict[str, Any] | None) -> Any:
        body = json.dumps(document).encode() if document is not None else None
        content = self._open(method, path, body, JSON, TIMEOUT_SECONDS)
        return json.loads(content) if content else None

    def _open(self, method: str, path: str, body: bytes | None, media_type: str, seconds: float) -> bytes:
        return self._answer(method, path, body, media_type, seconds)[0]

    def _answer(self, method: str, path: str, body: bytes | None, media_type: str, seconds: float) -> tuple[bytes, str]:
        """The answer's content, and what its Link headers say."""
        request = urllib.request.Request(  # noqa: S310  (the scheme was checked)
            self._url + path, data=body, method=method, headers={"Content-Type": media_type, "Accept": JSON}
        )
        if self._token:
            request.add_header("Authorization", f"Bearer {self._token}")
        try:
            with urllib.request.urlopen(request, timeout=seconds) as response:  # noqa: S310
                content: bytes = response.read()
                links = ", ".join(response.headers.get_all("Link", []))
        except urllib.error.HTTPError as error:
            raise Refused(error) from None
        except OSError as error:
            reason = getattr(error, "reason", error)
            raise click.ClickException(f"No broker answers at {self._url}: {reason}. Is it running?") from None
        return content, links


class Refused(click.ClickException):
    """The broker's answer was an error; `document` is its ProblemDetail, {} when it has none."""

    def __init__(self, error: urllib.error.HTTPError) -> None:
        self.status = error.code
        self.document: dict[str, Any] = {}
        detail = f"The broker answered {error.code} {error.reason}."
        try:
            document = json.loads(error.read())
            detail, self.document = str(document["detail"]), document
        except (ValueError, KeyError, TypeError):
            pass
        super().__init__(f"{detail} Set KNUTPUNKT_TOKEN or --token." if error.code == 401 and self.document else detail)


def speaks_to_broker(command: CommandT) -> CommandT:
    """Adds --url and --token."""
    for option in (
        click.option("--token", envvar="KNUTPUNKT_TOKEN", default="", help="Bearer token.  [env: KNUTPUNKT_TOKEN]"),
        click.option(
            "--url",
            envvar="KNUTPUNKT_URL",
            default="http://127.0.0.1:1026",
            show_default=True,
            help="The running broker.  [env: KNUTPUNKT_URL]",
        ),
    ):
        command = option(command)
    return command


def quoted(part: str) -> str:
    """A part of a path."""
    return urllib.parse.quote(part, safe="")
