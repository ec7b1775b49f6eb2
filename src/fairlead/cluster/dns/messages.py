# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (dnslib has no types)
"""DNS messages as bytes: questions come in, replies go out. The only module that knows dnslib.

Refuses to know where answers come from. Source: RFC 1035, RFC 6891 for larger datagrams.
"""

from typing import Any, cast

import dnslib
from msgspec import Struct

from fairlead.cluster.dns.answers import TTL, Question, Record, Reply, Soa, Srv, Type
from fairlead.net import Address, Family

_SMALLEST, _LARGEST = 512, 1232  # bytes of a datagram: RFC 1035, and what passes any path unfragmented
NOT_IMPLEMENTED, REFUSED, SERVER_FAILURE, FORMAT_ERROR = 4, 5, 2, 1
_INTERNET = 1


class Query(Struct, frozen=True):
    """A question and what its sender can take. `code` is set when it is to be answered with an error, unread."""

    message: Any
    question: Question
    datagram: int
    code: int = 0


def parse_query(data: bytes) -> Query | None:
    """Read a query; None for what is no query at all and gets no answer."""
    if len(data) < 12 or data[2] & 0x80:
        return None
    try:
        message = dnslib.DNSRecord.parse(data)
    except (dnslib.DNSError, ValueError, IndexError):
        header = dnslib.DNSHeader(id=int.from_bytes(data[:2], "big"))
        return Query(dnslib.DNSRecord(header), Question("", 0), _SMALLEST, FORMAT_ERROR)
    sizes = [record.edns_len for record in message.ar if record.rtype == dnslib.QTYPE.OPT]
    datagram = min(max(_SMALLEST, *sizes), _LARGEST) if sizes else _SMALLEST
    if message.header.opcode != 0:
        return Query(message, Question("", 0), datagram, NOT_IMPLEMENTED)
    if len(message.questions) != 1:
        return Query(message, Question("", 0), datagram, FORMAT_ERROR)
    asked = message.q
    question = Question(str(asked.qname).rstrip(".").lower(), int(asked.qtype))
    return Query(message, question, datagram, REFUSED if asked.qclass != _INTERNET else 0)


def render_reply(query: Query, reply: Reply | None, code: int = 0, *, recursion: bool, limit: int = 65535) -> bytes:
    """Write the answer to `query`: `reply`, or an error by its code. What exceeds `limit` is cut and marked as cut.

    The question is repeated as it was asked, letter by letter, and its spelling is used for its own records.
    """
    out = query.message.reply(ra=int(recursion), aa=int(reply is not None))
    out.header.ad = 0  # a copy of the question says it, but nothing here is signed
    out.header.rcode = reply.code.value if reply else code or query.code
    if reply:
        spelt = {query.question.name: str(query.message.q.qname)}
        for add, several in ((out.add_answer, reply.answers), (out.add_auth, reply.authority)):
            add(*(_record(each, spelt) for each in several))
        out.add_ar(*(_record(each, spelt) for each in reply.additional))
    if any(record.rtype == dnslib.QTYPE.OPT for record in query.message.ar):
        out.add_ar(dnslib.EDNS0(udp_len=_LARGEST))
    packed = bytes(out.pack())
    if len(packed) > limit and out.ar:  # the addresses of SRV targets can be asked for
        out.ar = [record for record in out.ar if record.rtype == dnslib.QTYPE.OPT]
        packed = bytes(out.pack())
    if len(packed) > limit:
        out.rr, out.auth, out.header.tc = [], [], 1
        packed = bytes(out.pack())
    return packed


def _record(record: Record, spelt: dict[str, str]) -> Any:
    name = spelt.get(record.name, record.name)
    return dnslib.RR(name, int(record.type), rdata=_data(record), ttl=TTL)


def _data(record: Record) -> Any:
    match record.data:
        case Address() as address:
            kind = dnslib.A if address.family is Family.IPV4 else dnslib.AAAA
            return kind(tuple(address.packed))
        case Srv() as srv:
            return dnslib.SRV(srv.priority, srv.weight, srv.port, srv.target)
        case Soa() as soa:
            return dnslib.SOA(soa.primary, soa.mailbox, (1, 7200, 1800, 86400, TTL))
        case text:
            kinds = {Type.TXT: dnslib.TXT, Type.PTR: dnslib.PTR, Type.NS: dnslib.NS, Type.CNAME: dnslib.CNAME}
            return kinds[record.type](text)


def with_further(reply: bytes, further: bytes) -> bytes:
    """`reply`, which ends in an alias, with the answers of `further`, another server's message about the alias."""
    ours, theirs = dnslib.DNSRecord.parse(reply), dnslib.DNSRecord.parse(further)
    ours.add_answer(*cast("list[Any]", theirs.rr))
    ours.header.rcode = theirs.header.rcode
    return bytes(ours.pack())


def ask(question: Question, number: int) -> bytes:
    """A query for another server."""
    asked = dnslib.DNSQuestion(question.name, question.type)
    return bytes(dnslib.DNSRecord(dnslib.DNSHeader(id=number, rd=1), q=asked).pack())
