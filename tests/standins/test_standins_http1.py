"""Are requests read as RFC 9112 has them, however the bytes are cut?"""

import pytest

from fairlead.cluster.standins.http1 import (
    EXPECTS_CONTINUE,
    INCOMPLETE,
    Malformed,
    Request,
    RequestReader,
    looks_like_http,
)

GET = b"GET /a?b HTTP/1.1\r\nHost: h\r\nX-A: 1\r\nx-a: 2\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n4;x=y\r\nabcd\r\n0\r\nT: 1\r\n\r\n"


def read_all(*pieces: bytes) -> list[Request | Malformed]:
    reader, found = RequestReader(), list[Request | Malformed]()
    for piece in pieces:
        reader.feed(piece)
        while (event := reader.next_event()) != INCOMPLETE:
            if isinstance(event, Request | Malformed):
                found.append(event)
            if isinstance(event, Malformed):
                break
    return found


def test_any_cut_gives_the_same_requests() -> None:
    stream = GET + POST + GET
    whole = read_all(stream)
    assert [(each.method, each.target) for each in whole if isinstance(each, Request)] == [
        ("GET", "/a?b"),
        ("POST", "/"),
        ("GET", "/a?b"),
    ]
    for cut in range(len(stream)):
        assert read_all(stream[:cut], stream[cut:]) == whole
    assert read_all(*(bytes((byte,)) for byte in stream)) == whole


def test_repeated_headers_are_joined_under_the_last_spelling() -> None:
    (request,) = read_all(GET)
    assert isinstance(request, Request)
    assert request.headers == {"Host": "h", "x-a": "1, 2"}


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\nHost: h\r\n\r\n", 505),
        (b"GET  / HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h\r\nHost: i\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h\r\n folded: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: +1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        (b"GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n", 400),
        (b"GET / HTTP/1.1\r\nA: " + b"x" * 70_000, 431),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(sent: bytes, status: int) -> None:
    (refused,) = read_all(sent)
    assert isinstance(refused, Malformed)
    assert refused.status == status


def test_the_body_is_asked_for_only_when_the_client_waits() -> None:
    head = b"PUT / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
    reader = RequestReader()
    reader.feed(head)
    assert reader.next_event() == EXPECTS_CONTINUE
    assert reader.next_event() == INCOMPLETE
    eager = RequestReader()
    eager.feed(head + b"ab")
    assert isinstance(eager.next_event(), Request)


@pytest.mark.parametrize(
    ("first", "verdict"),
    [
        (b"GET / HTTP/1.1\r\n", True),
        (b"PROPFIND /x HTTP/1.1\r\nHost: h\r\n", True),
        (b"DEL", None),
        (b"PING\r\n", False),
        (b"\x00\x01", False),
        (b"hello\n", False),
    ],
)
def test_the_first_bytes_tell_http_from_the_rest(first: bytes, verdict: bool | None) -> None:
    assert looks_like_http(first) is verdict
