"""Answers questions from the records: a pure function from a name and a type to a reply.

Comes in: a `Question`. Goes out: a `Reply`, or None for names that this server is not the authority for. Refuses to
know messages and sockets. Source: the Kubernetes DNS-based service discovery specification 1.1.0; where it is silent,
CoreDNS' kubernetes plugin with `pods insecure`; RFC 2308 for names without data.
"""

from enum import Enum, IntEnum

from msgspec import Struct

from fairlead.cluster.dns.records import EndpointRecord, PortRecord, Records, ServiceRecord
from fairlead.net import Address, Family, parse_address

TTL = 30
"""Seconds, as kubeadm sets it for CoreDNS."""
_SCHEMA_VERSION = "1.1.0"
_MOST_CNAMES = 8


class Type(IntEnum):
    """The record types that are known here, by their DNS numbers."""

    A = 1
    NS = 2
    CNAME = 5
    SOA = 6
    PTR = 12
    TXT = 16
    AAAA = 28
    SRV = 33
    ANY = 255


class Code(Enum):
    """The outcome; the value is the RCODE."""

    OK = 0
    NO_SUCH_NAME = 3


class Question(Struct, frozen=True):
    """`name` in lower case and without the last dot; `type` any DNS number."""

    name: str
    type: int


class Srv(Struct, frozen=True):
    """Where a port is served."""

    priority: int
    weight: int
    port: int
    target: str


class Soa(Struct, frozen=True):
    """The start of authority; its time to live is that of negative answers."""

    primary: str
    mailbox: str


class Record(Struct, frozen=True):
    """One record; text data is a name, or for TXT the text itself."""

    name: str
    type: Type
    data: Address | Srv | Soa | str


class Reply(Struct, frozen=True):
    """An authoritative answer. OK without answers means: the name is there, but not with that type."""

    code: Code
    answers: tuple[Record, ...] = ()
    authority: tuple[Record, ...] = ()
    additional: tuple[Record, ...] = ()
    chase: str = ""
    """A name outside the zone that the answer ends in; whoever can resolve it may add its records."""


class Zone(Struct, frozen=True):
    """The cluster's domain and the address of its DNS Service, if it has one."""

    domain: str = "cluster.local"
    server: Address | None = None

    @property
    def soa(self) -> Record:
        """The record that comes with negative answers."""
        return Record(self.domain, Type.SOA, Soa(f"ns.dns.{self.domain}", f"hostmaster.{self.domain}"))


def answer(question: Question, records: Records, zone: Zone, turn: int = 0) -> Reply | None:
    """Answer `question`, or return None when its name is of another domain.

    `turn` rotates records of equal rank, so that clients which take the first one spread over all.
    """
    if question.name.endswith((".in-addr.arpa", ".ip6.arpa")):
        return _reverse(question, records, zone)
    if question.name != zone.domain and not question.name.endswith(f".{zone.domain}"):
        return None
    labels = question.name[: -len(zone.domain)].rstrip(".").split(".") if question.name != zone.domain else []
    found = _records_of(labels, records, zone)
    if found is None:
        return Reply(Code.NO_SUCH_NAME, authority=(zone.soa,))
    aliases = tuple(record for record in found if record.type is Type.CNAME)
    if aliases and question.type != Type.CNAME:
        return _follow(aliases[0], question, records, zone, turn)
    wanted = [record for record in found if question.type in (record.type, Type.ANY)]
    if not wanted:
        return Reply(Code.OK, authority=(zone.soa,))
    start = turn % len(wanted)
    return Reply(Code.OK, tuple(wanted[start:] + wanted[:start]), additional=_addresses_of(wanted, records, zone))


def _follow(alias: Record, question: Question, records: Records, zone: Zone, turn: int) -> Reply:
    chain = [alias]
    while len(chain) < _MOST_CNAMES:
        target = str(chain[-1].data)
        further = answer(Question(target, Type.CNAME), records, zone)
        if further is None:
            return Reply(Code.OK, tuple(chain), chase=target)
        if not further.answers:
            end = answer(Question(target, question.type), records, zone, turn)
            assert end is not None
            return Reply(end.code, (*chain, *end.answers), end.authority, end.additional)
        chain.append(further.answers[0])
    return Reply(Code.OK, tuple(chain))


def _addresses_of(answers: list[Record], records: Records, zone: Zone) -> tuple[Record, ...]:
    """The addresses of SRV targets, which a client needs next."""
    targets = dict.fromkeys(record.data.target for record in answers if isinstance(record.data, Srv))
    found: list[Record] = []
    for target in targets:
        labels = target[: -len(zone.domain) - 1].split(".")
        of_target = _records_of(labels, records, zone) or ()
        found += [record for record in of_target if record.type in (Type.A, Type.AAAA)]
    return tuple(found)


def _records_of(labels: list[str], records: Records, zone: Zone) -> tuple[Record, ...] | None:
    """Every record of a name below the zone; empty for a name that only has others below it, None for no such name."""
    match labels:
        case []:
            return (zone.soa, Record(zone.domain, Type.NS, f"ns.dns.{zone.domain}"))
        case ["dns-version"]:
            return (Record(f"dns-version.{zone.domain}", Type.TXT, _SCHEMA_VERSION),)
        case ["ns", "dns"]:
            return (_address(f"ns.dns.{zone.domain}", zone.server),) if zone.server else ()
        case ["dns"] | ["svc"] | ["pod"]:
            return ()
        case [namespace, "svc" | "pod"]:
            return () if records.has_namespace(namespace) else None
        case [label, namespace, "pod"]:
            return _pod(label, namespace, records, zone)
        case [*front, name, namespace, "svc"]:
            service = records.service(namespace, name)
            return None if service is None else _service(front, service, records, zone)
        case _:
            return None


def _address(name: str, address: Address) -> Record:
    return Record(name, Type.A if address.family is Family.IPV4 else Type.AAAA, address)


def _pod(label: str, namespace: str, records: Records, zone: Zone) -> tuple[Record, ...] | None:
    """`10-244-1-2.shop.pod`: any address that the label spells, in a namespace that is there."""
    if not records.has_namespace(namespace):
        return None
    for text in (label.replace("-", "."), label.replace("-", ":")):
        try:
            return (_address(f"{label}.{namespace}.pod.{zone.domain}", parse_address(text)),)
        except ValueError:
            continue
    return None


def _service(front: list[str], service: ServiceRecord, records: Records, zone: Zone) -> tuple[Record, ...] | None:
    base = f"{service.name}.{service.namespace}.svc.{zone.domain}"
    if service.external_name:
        return (Record(base, Type.CNAME, service.external_name),) if not front else None
    if service.addresses:
        return _virtual(front, service, base)
    return _headless(front, records.endpoints(service.namespace, service.name), base)


def _virtual(front: list[str], service: ServiceRecord, base: str) -> tuple[Record, ...] | None:
    match front:
        case []:
            return tuple(_address(base, address) for address in service.addresses)
        case [port, protocol]:
            ports = [each for each in service.ports if _is_asked(each, port, protocol)]
            found = tuple(Record(f"{port}.{protocol}.{base}", Type.SRV, Srv(0, 100, each.port, base)) for each in ports)
            return found or None
        case [protocol]:
            return () if any(f"_{each.protocol}" == protocol and each.name for each in service.ports) else None
        case _:
            return None


def _headless(front: list[str], endpoints: tuple[EndpointRecord, ...], base: str) -> tuple[Record, ...] | None:
    match front:
        case []:
            return tuple(dict.fromkeys(_address(base, each.address) for each in endpoints))
        case [port, protocol]:
            name = f"{port}.{protocol}.{base}"
            targets = dict.fromkeys(
                (f"{each.label}.{base}", known.port)
                for each in endpoints
                for known in each.ports
                if _is_asked(known, port, protocol)
            )
            weight = max(1, 100 // len(targets)) if targets else 0
            return tuple(Record(name, Type.SRV, Srv(0, weight, number, target)) for target, number in targets) or None
        case [label]:
            if any(f"_{known.protocol}" == label and known.name for each in endpoints for known in each.ports):
                return ()
            found = (_address(f"{label}.{base}", each.address) for each in endpoints if each.label == label)
            return tuple(dict.fromkeys(found)) or None
        case _:
            return None


def _is_asked(port: PortRecord, label: str, protocol: str) -> bool:
    return bool(port.name) and (f"_{port.name}", f"_{port.protocol}") == (label, protocol)


def _reverse(question: Question, records: Records, zone: Zone) -> Reply | None:
    """The names of an address that the cluster has given; None for all others."""
    address = _address_of(question.name)
    names = records.names_of(address) if address else ()
    if not names:
        return None
    if question.type not in (Type.PTR, Type.ANY):
        return Reply(Code.OK, authority=(zone.soa,))
    return Reply(Code.OK, tuple(Record(question.name, Type.PTR, f"{name}.svc.{zone.domain}") for name in names))


def _address_of(name: str) -> Address | None:
    """The address a reverse name spells (RFC 1035 3.5, RFC 3596 2.5)."""
    labels = name.split(".")[:-2][::-1]
    try:
        if name.endswith(".in-addr.arpa"):
            return parse_address(".".join(labels)) if len(labels) == 4 else None
        digits = "".join(labels)
        if len(labels) != 32 or len(digits) != 32:
            return None
        return Address(bytes.fromhex(digits))
    except ValueError:
        return None
