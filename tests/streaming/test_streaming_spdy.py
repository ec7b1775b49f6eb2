"""The SPDY/3.1 codec: header blocks and frames, whole and in pieces, and what is refused."""

import struct
import zlib

import pytest

from fairlead.cluster.apiserver.streaming.spdy_frames import (
    MOST_DATA,
    Data,
    Ended,
    FrameReader,
    FrameWriter,
    GoAway,
    Opened,
    Ping,
    Reset,
    SpdyError,
)
from fairlead.cluster.apiserver.streaming.spdy_headers import DICTIONARY, HeaderError, HeaderReader, HeaderWriter


def test_the_dictionary_is_the_protocols() -> None:
    """zlib names a dictionary by its checksum; this is the one every SPDY/3 stream begins with."""
    assert zlib.adler32(DICTIONARY) == 0xE3C6A7C2


def test_header_blocks_share_one_context_for_each_direction() -> None:
    writer, reader = HeaderWriter(), HeaderReader()
    first = writer.pack({"streamType": "error", "port": "8080"})
    second = writer.pack({"streamType": "error", "port": "8080"})
    assert len(second) < len(first)
    assert reader.unpack(first) == reader.unpack(second) == {"streamtype": "error", "port": "8080"}


@pytest.mark.parametrize(
    "plain",
    [
        struct.pack("!I", 1) + struct.pack("!I", 99) + b"short",
        struct.pack("!I", 2) + struct.pack("!I", 1) + b"a" + struct.pack("!I", 1) + b"b",
        struct.pack("!I", 1) + struct.pack("!I", 1) + b"\xff" + struct.pack("!I", 1) + b"b",
        b"\0" * 70_000,
    ],
    ids=["past its end", "a pair too few", "no text", "too long"],
)
def test_a_malformed_header_block_is_refused(plain: bytes) -> None:
    deflate = zlib.compressobj(9, zlib.DEFLATED, 15, 8, zlib.Z_DEFAULT_STRATEGY, DICTIONARY)
    block = deflate.compress(plain) + deflate.flush(zlib.Z_SYNC_FLUSH)
    with pytest.raises(HeaderError):
        HeaderReader().unpack(block)


def test_frames_come_whole_however_the_bytes_are_cut() -> None:
    writer = FrameWriter()
    sent = (
        writer.opened(1, {"streamType": "stdin"})
        + writer.reply(1)
        + writer.data(1, b"hello")
        + writer.data(1, b"", end=True)
        + writer.reset(1)
        + writer.ping(7)
        + struct.pack("!HHIII", 0x8003, 7, 8, 1, 0)
    )
    expected = [
        Opened(1, {"streamtype": "stdin"}, ended=False),
        Data(1, b"hello", ended=False),
        Data(1, b"", ended=True),
        Reset(1),
        Ping(7),
        GoAway(),
    ]
    for size in (1, 3, 8, len(sent)):
        reader = FrameReader()
        found = [frame for at in range(0, len(sent), size) for frame in reader.feed(sent[at : at + size])]
        assert found == expected, size


def test_much_data_is_cut_into_frames_and_only_the_last_ends_the_stream() -> None:
    data = bytes(range(256)) * 512
    frames = list(FrameReader().feed(FrameWriter().data(3, data, end=True)))
    assert len(frames) == len(data) // MOST_DATA
    pieces = [frame for frame in frames if isinstance(frame, Data)]
    assert b"".join(each.data for each in pieces) == data
    assert [each.ended for each in pieces] == [False] * (len(frames) - 1) + [True]


def test_a_reply_that_ends_its_stream_says_so_and_keeps_the_context() -> None:
    headers = HeaderWriter()
    block = headers.pack({"a": "b"})
    reply = struct.pack("!HHII", 0x8003, 2, (1 << 24) | (4 + len(block)), 5) + block
    opened = struct.pack("!I", 7)
    second = headers.pack({"a": "b"})
    opening = struct.pack("!HHI", 0x8003, 1, 10 + len(second)) + opened + bytes(6) + second
    assert list(FrameReader().feed(reply + opening)) == [Ended(5), Opened(7, {"a": "b"}, ended=False)]


@pytest.mark.parametrize(
    "sent",
    [b"GET / HTTP/1.1\r\n" + bytes([0x80, 2, 0, 1, 0, 0, 0, 0]), struct.pack("!HHI", 0x8002, 1, 0)],
    ids=["not SPDY", "another version"],
)
def test_what_is_no_spdy_is_refused_or_waits_for_more(sent: bytes) -> None:
    reader = FrameReader()
    if sent.startswith(b"GET"):
        assert list(reader.feed(sent)) == []  # reads as a data frame that is not whole yet
    else:
        with pytest.raises(SpdyError, match="version 2"):
            list(reader.feed(sent))


def test_a_huge_control_frame_is_refused_before_it_is_read() -> None:
    with pytest.raises(SpdyError, match="bytes"):
        list(FrameReader().feed(struct.pack("!HHI", 0x8003, 1, 1 << 20)))
