from __future__ import annotations

import pytest

from broker.errors import BadRequestData
from broker.jsonld.link import format_context_link, parse_context_link

URL = "https://example.org/context.jsonld"
REL = "http://www.w3.org/ns/json-ld#context"


def test_a_link_reads_as_it_was_written() -> None:
    assert parse_context_link([format_context_link(URL)]) == URL


@pytest.mark.parametrize(
    "header",
    [
        f'<{URL}>; rel="{REL}"; type="application/ld+json"',
        f'<{URL}>;rel="{REL}";type="application/ld+json"',
        f'<{URL}> ; type="application/ld+json" ; rel = "{REL}"',
        f"<{URL}>; rel={REL}",
        f'<{URL}>; REL="{REL}"',
        f'<{URL}>; rel="other {REL}"',
        f'<https://x.example/,;>; rel="next", <{URL}>; rel="{REL}"; title="a, \\"b\\"; c"',
    ],
)
def test_links_are_read_however_they_are_written(header: str) -> None:
    assert parse_context_link([header]) == URL


def test_the_path_of_a_context_of_ours_is_as_good_as_its_url() -> None:
    path = "/ngsi-ld/v1/jsonldContexts/urn:uuid:0190b3b0-0000-7000-8000-000000000000"
    assert parse_context_link([f'<{path}>; rel="{REL}"']) == path


def test_links_of_other_relations_are_passed_over() -> None:
    assert parse_context_link(['<https://x.example>; rel="next"', "<https://y.example>"]) is None
    assert parse_context_link([]) is None


def test_two_contexts_are_refused() -> None:
    with pytest.raises(BadRequestData, match="one JSON-LD @context, got 2"):
        parse_context_link([format_context_link(URL), format_context_link(URL)])


@pytest.mark.parametrize("header", [URL, f"<{URL}", f'<{URL}>; rel="{REL}', "garbage"])
def test_a_header_that_is_no_link_is_refused(header: str) -> None:
    with pytest.raises(BadRequestData, match="must be like"):
        parse_context_link([header])


@pytest.mark.parametrize("url", ["context.jsonld", "file:///etc/passwd", ""])
def test_a_context_that_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(BadRequestData, match="http or https URL"):
        parse_context_link([f'<{url}>; rel="{REL}"'])


def test_a_hostile_header_is_refused_quickly() -> None:
    with pytest.raises(BadRequestData):
        parse_context_link(["<a>" + "; a" * 20_000 + '; b="'])
