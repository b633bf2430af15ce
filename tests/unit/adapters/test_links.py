"""A device's registration: what is no list of links is refused."""

import pytest

from adapters.coap.links import read_links
from adapters.members import NotUnderstood


@pytest.mark.parametrize("links", [b",", b"</3/0>,,</4/0>", b"</3/0>,", b";", b"<", b"</3/0", b"\xff", b"3/0"])
def test_what_is_no_list_of_links_is_refused(links: bytes) -> None:
    with pytest.raises(NotUnderstood, match=r"link"):
        read_links(links)


def test_links_are_read() -> None:
    assert read_links(b'</>;ct="60 112",</3303/0>;ver=1.1,</3303/0>').paths == ((3303, 0),)
