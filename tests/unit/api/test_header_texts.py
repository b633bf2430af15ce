"""Whatever clients write into headers and bodies is read, or refused with an error of ours."""

import gzip
import zlib

import pytest
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st

from broker.api.body import read_body
from broker.api.compress import takes_gzip
from broker.api.conditional import IfMatching, if_matching
from broker.api.preference import preferred_version, prefers_plain
from broker.config import Limits
from broker.entities.commands import DeleteEntity
from broker.errors import BrokerError, InvalidRequest

LIMITS = Limits(body_bytes=2048)
HEADER = st.text(st.characters(blacklist_characters="\r\n\0", blacklist_categories=["Cs"]), max_size=40) | st.text(
    '"W/*,;=q.019 gzipbodyjsngl-', max_size=40
)


@given(HEADER, HEADER)
def test_a_condition_is_a_list_of_tags_or_refused(match: str, none_match: str) -> None:
    command = DeleteEntity("urn:x:1")
    request = make_mocked_request("DELETE", "/", headers={"If-Match": match, "If-None-Match": none_match})
    try:
        guarded = if_matching(request, "urn:x:1", command)
    except InvalidRequest:
        return
    assert isinstance(guarded, IfMatching)


@given(st.sets(st.integers(1, 2**63 - 1), min_size=1, max_size=5))
def test_the_versions_that_tags_name_are_those_that_match(versions: set[int]) -> None:
    tags = " , ".join(f'"{version:x}-a_b-9"' for version in versions)
    guarded = if_matching(make_mocked_request("PUT", "/", headers={"If-Match": tags}), "u:x", DeleteEntity("u:x"))
    assert isinstance(guarded, IfMatching) and guarded.match is not None
    assert all(guarded.match.have(version) for version in versions)
    assert not guarded.match.have(max(versions) + 1)


def test_without_a_condition_the_command_stays_as_it_is() -> None:
    command = DeleteEntity("u:x")
    assert if_matching(make_mocked_request("DELETE", "/"), "u:x", command) is command


@given(HEADER)
def test_any_accept_encoding_and_any_preference_is_read(text: str) -> None:
    takes_gzip(text)
    request = make_mocked_request("GET", "/", headers={"Prefer": text})
    preferred_version(request)
    prefers_plain(request)


@pytest.mark.parametrize(
    ("accepted", "taken"),
    [
        ("gzip", True),
        ("GZIP;q=0.3", True),
        ("x-gzip", True),
        ("*", True),
        ("gzip;q=0, *", False),
        ("identity;q=0.5, gzip;q=0.5", True),
        ("identity, gzip;q=0.9", False),
        ("gzip;q=nan", False),
        ("", False),
    ],
)
def test_gzip_is_taken_by_those_who_say_so(accepted: str, taken: bool) -> None:
    assert takes_gzip(accepted) is taken


async def unpack(body: bytes, coding: str) -> bytes:
    request = make_mocked_request("POST", "/", headers={"Content-Encoding": coding})
    request._read_bytes = body
    return await read_body(request, LIMITS)


@given(st.binary(max_size=2048))
async def test_what_was_packed_is_unpacked_as_it_was(body: bytes) -> None:
    assert await unpack(gzip.compress(body), "gzip") == body
    assert await unpack(zlib.compress(body), "deflate") == body
    assert await unpack(body, "identity") == body


@given(st.binary(max_size=300), st.sampled_from(["gzip", "deflate", "br", ""]))
async def test_what_is_not_packed_so_is_refused(body: bytes, coding: str) -> None:
    try:
        assert len(await unpack(body, coding)) <= 2048
    except BrokerError as error:
        assert error.status in (400, 413, 415)
