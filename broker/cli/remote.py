"""A running broker's management API, from the command line."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from typing import Any, TypeVar

import click

TIMEOUT_SECONDS = 60.0

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

    def post(self, path: str, document: dict[str, Any]) -> Any:
        """POST; the answer's JSON."""
        return self._ask("POST", path, document)

    def put(self, path: str, document: dict[str, Any]) -> Any:
        """PUT; the answer's JSON."""
        return self._ask("PUT", path, document)

    def send(self, path: str, body: bytes, content_type: str, **query: str) -> Any:
        """POST a file; the answer's JSON."""
        text = f"?{urllib.parse.urlencode(query)}" if query else ""
        return self._ask("POST", path + text, body, content_type)

    def _ask(
        self, method: str, path: str, document: dict[str, Any] | bytes | None, content_type: str = "application/json"
    ) -> Any:
        request = urllib.request.Request(  # noqa: S310  (the scheme was checked)
            self._url + path,
            data=json.dumps(document).encode() if isinstance(document, dict) else document,
            method=method,
            headers={"Content-Type": content_type, "Accept": "application/json"},
        )
        if self._token:
            request.add_header("Authorization", f"Bearer {self._token}")
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:  # noqa: S310
                content = response.read()
        except urllib.error.HTTPError as error:
            raise Refused(error) from None
        except OSError as error:
            reason = getattr(error, "reason", error)
            raise click.ClickException(f"No broker answers at {self._url}: {reason}. Is it running?") from None
        return json.loads(content) if content else None


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
