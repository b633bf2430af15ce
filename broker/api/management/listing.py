"""Lists of the registry: filtered, searched, paged. However many there are, few are in memory at once."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote, urlencode

from aiohttp import web

from broker.api.management.common import answer, page_limit
from broker.errors import BadRequestData
from broker.stores.base import Record, RecordKind, TenantStore

PAGED: Final = frozenset(("after", "limit"))
LISTED: Final = PAGED | {"search", "managedBy"}
"""Parameters of every list of the registry that can be searched."""

SCANNED: Final = 500
"""Records that a filter without a key looks at at once, count."""

Keep = Callable[[Sequence[Record]], Awaitable[list[Record]]]
"""Those of some records that a filter lets through, in the same order."""

_DURATION = re.compile(r"P(?:(\d{1,5})D)?(?:T(?=\d)(?:(\d{1,6})H)?(?:(\d{1,7})M)?(?:(\d{1,9})S)?)?", re.ASCII)


async def one_page(
    store: TenantStore, kind: RecordKind, given: Mapping[str, str], *, key: str | None = None, keep: Keep | None = None
) -> tuple[list[Record], bool]:
    """(a page of a kind's records in order of their ids, whether others follow); `keep` goes through `SCANNED` at a time."""
    limit, after = page_limit(given), given.get("after", "")
    found: list[Record] = []
    most = limit + 1 if keep is None else SCANNED
    while len(found) <= limit:
        records = await store.records(kind, key=key, after=after, limit=most)
        found += await keep(records) if keep is not None else records
        if len(records) < most:
            break
        after = records[-1].id
    return found[:limit], len(found) > limit


def listed(
    request: web.Request, given: Mapping[str, str], items: Sequence[Any], last: str, *, more: bool
) -> web.Response:
    """The answer with a page whose last id is `last`; the header Link says where the next one is (RFC 8288)."""
    response = answer(items)
    if more:
        query = urlencode(sorted({**given, "after": last}.items()), safe=":/@,", quote_via=quote)
        response.headers["Link"] = f'<{request.path}?{query}>;rel="next"'
    return response


def all_of(*tests: Callable[[Record], bool] | None) -> Keep | None:
    """What passes all tests; None when there are none."""
    wanted = [test for test in tests if test is not None]
    if not wanted:
        return None

    async def keep(records: Sequence[Record]) -> list[Record]:
        return [record for record in records if all(test(record) for test in wanted)]

    return keep


def one_after_another(*keeps: Keep | None) -> Keep | None:
    """What all of them let through; None when there are none."""
    wanted = [keep for keep in keeps if keep is not None]
    if not wanted:
        return None

    async def keep(records: Sequence[Record]) -> list[Record]:
        left = list(records)
        for each in wanted:
            left = await each(left)
        return left

    return keep


def searched(given: Mapping[str, str], members: Sequence[str]) -> Callable[[Record], bool] | None:
    """The parameter `search`: the text is in one of the members, upper and lower case alike; None without it."""
    text = given.get("search")
    if text is None:
        return None
    wanted = folded(text)
    return lambda record: any(wanted in folded(record.body.get(member) or "") for member in members)


def folded(text: str) -> str:
    """`text` so that texts that read alike are alike: case, and letters composed of a letter and its dots."""
    return (
        text.casefold()
        if text.isascii()
        else unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())
    )


def member_is(given: Mapping[str, str], parameter: str) -> Callable[[Record], bool] | None:
    """A parameter that is the value of the member of its name; None without it."""
    value = given.get(parameter)
    return None if value is None else lambda record: record.body.get(parameter) == value


def boolean(given: Mapping[str, str], name: str) -> bool | None:
    """A parameter that is true or false. Raises BadRequestData."""
    value = given.get(name)
    if value not in (None, "true", "false"):
        raise BadRequestData(f"'{name}' must be true or false, got '{value[:40]}'.")
    return None if value is None else value == "true"


def number(given: Mapping[str, str], name: str) -> float | None:
    """A parameter that is a number. Raises BadRequestData."""
    value = given.get(name)
    if value is None:
        return None
    if re.fullmatch(r"-?\d{1,15}(\.\d{1,15})?", value, re.ASCII) is None:
        raise BadRequestData(f"'{name}' must be a number, got '{value[:40]}'.")
    return float(value)


def seconds(given: Mapping[str, str], name: str) -> int | None:
    """A parameter that is a time span: whole seconds, or an ISO 8601 duration of days and less. Raises BadRequestData."""
    value = given.get(name)
    if value is None:
        return None
    if re.fullmatch(r"\d{1,10}", value, re.ASCII):
        return int(value)
    found = _DURATION.fullmatch(value)
    if found is None or not any(found.groups()):
        raise BadRequestData(
            f"'{name}' must be whole seconds or an ISO 8601 duration such as PT2H, got '{value[:40]}'."
        )
    days, hours, minutes, rest = (int(part or 0) for part in found.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + rest
