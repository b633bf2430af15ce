"""HTTP/1.1 answers, read only as far as a notification needs (RFC 9112)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.outbound.answer import DRAIN_BYTES, HEAD_BYTES, Answered, NotHttp

State = tuple[int | None, bool, bool]


def read(*parts: bytes) -> State:
    answered = Answered()
    for part in parts:
        answered.feed(part)
    return answered.status, answered.done, answered.done and answered.reusable


ANSWERS: dict[bytes, State] = {
    b"HTTP/1.1 204 No Content\r\n\r\n": (204, True, True),
    b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n": (200, True, True),
    b"HTTP/1.1 200\r\ncontent-length:5\r\n\r\nhello": (200, True, True),
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel": (200, False, False),
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello, more": (200, True, False),
    b"HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n": (204, True, False),
    b"HTTP/1.1 500 Oops\r\nConnection: close\r\nContent-Length: 0\r\n\r\n": (500, True, False),
    b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n": (200, True, False),
    b"HTTP/1.1 200 OK\r\n\r\nuntil it is closed": (200, True, False),
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 204 \r\n\r\n": (
        204,
        True,
        True,
    ),
    b"HTTP/1.1 101 Switching Protocols\r\nContent-Length: 0\r\n\r\n": (101, True, False),
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n": (
        200,
        True,
        True,
    ),
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nTrailer: a\r\n\r\n": (200, True, True),
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n": (200, False, False),
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n": (200, True, False),
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n": (200, False, False),
    b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n": (200, True, False),
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_the_status_and_whether_another_request_may_follow(answer: bytes) -> None:
    assert read(answer) == ANSWERS[answer]


@given(st.sampled_from([one for one, state in ANSWERS.items() if state[2] or not state[1]]), st.data())
def test_it_does_not_matter_in_what_pieces_an_answer_comes(answer: bytes, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(0, len(answer)))))
    assert read(*(answer[a:b] for a, b in zip([0, *cuts], [*cuts, len(answer)], strict=True))) == ANSWERS[answer]


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * HEAD_BYTES,
    ],
)
def test_what_is_no_answer_is_refused(answer: bytes) -> None:
    with pytest.raises(NotHttp):
        read(answer)


def test_a_body_that_does_not_end_is_not_read() -> None:
    answered = Answered()
    answered.feed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    fed = 0
    while not answered.done:
        answered.feed(b"1000\r\n" + b"x" * 0x1000 + b"\r\n")
        fed += 0x1000
    assert (answered.status, answered.reusable) == (200, False)
    assert fed <= DRAIN_BYTES + 0x2000


@given(st.binary(max_size=300))
def test_any_bytes_are_an_answer_or_are_refused(data: bytes) -> None:
    try:
        read(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", data)
        read(data)
    except NotHttp:
        pass
