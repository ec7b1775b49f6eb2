"""What cluster DNS answers, as tables: names of the specification, and how the records follow the objects."""

import pytest

from fairlead.cluster.dns.answers import Code, Question, Record, Soa, Srv, Type, Zone, answer
from fairlead.cluster.dns.records import Records
from fairlead.kube.core import Service, ServicePort, ServiceSpec
from fairlead.kube.discovery import Endpoint, EndpointConditions, EndpointSlice, SlicePort
from fairlead.kube.meta import ObjectMeta
from fairlead.net import Address, parse_address

ZONE = Zone(server=parse_address("10.96.0.10"))


def service(name: str, *addresses: str, kind: str = "ClusterIP", external: str = "", **ports: int) -> Service:
    spec = ServiceSpec(
        type=kind,
        cluster_ip=addresses[0] if addresses else "",
        cluster_ips=addresses,
        external_name=external,
        ports=tuple(
            ServicePort(name=port.replace("_udp", ""), port=number, protocol="UDP" if "_udp" in port else "TCP")
            for port, number in ports.items()
        ),
    )
    return Service(metadata=ObjectMeta(name=name, namespace="shop"), spec=spec)


def part(name: str, owner: str, *endpoints: Endpoint, port: int = 5432, family: str = "IPv4") -> EndpointSlice:
    return EndpointSlice(
        metadata=ObjectMeta(name=name, namespace="shop", labels={"kubernetes.io/service-name": owner}),
        address_type=family,
        endpoints=endpoints,
        ports=(SlicePort(name="sql", port=port, protocol="TCP"),),
    )


def endpoint(address: str, hostname: str | None = None, ready: bool | None = True) -> Endpoint:
    return Endpoint(addresses=(address,), hostname=hostname, conditions=EndpointConditions(ready=ready))


def shop() -> Records:
    records = Records()
    records.replace_namespaces({"shop", "kube-system"})
    records.replace_services(
        [
            service("web", "10.96.0.5", http=80, dns_udp=53),
            service("dual", "10.96.0.6", "fd00::6", http=80),
            service("db", "None", sql=5432),
            service("empty", "None", sql=5432),
            service("out", kind="ExternalName", external="Api.Example.com."),
            service("alias", kind="ExternalName", external="web.shop.svc.cluster.local"),
            service("loop", kind="ExternalName", external="loop.shop.svc.cluster.local"),
            service("broken", kind="ExternalName", external="none.shop.svc.cluster.local"),
        ]
    )
    records.replace_slices(
        [
            part(
                "db-1",
                "db",
                endpoint("10.244.1.2", "db-0"),
                endpoint("10.244.2.2"),
                endpoint("10.244.3.2", ready=False),
            ),
            part("db-2", "db", endpoint("10.244.1.3", ready=None)),
            part("db-6", "db", endpoint("fd00::7"), family="IPv6"),
            part("web-1", "web", endpoint("10.244.1.9")),
        ]
    )
    return records


def ask(name: str, kind: Type, records: Records | None = None, turn: int = 0) -> tuple[Code, list[str]]:
    reply = answer(Question(name, kind), records or shop(), ZONE, turn)
    assert reply is not None
    return reply.code, [shown(record) for record in reply.answers]


def shown(record: Record) -> str:
    match record.data:
        case Srv(priority, weight, port, target):
            return f"SRV {priority} {weight} {port} {target}"
        case Soa(primary, mailbox):
            return f"SOA {primary} {mailbox}"
        case data:
            return f"{record.type.name} {data}"


@pytest.mark.parametrize(
    ("name", "kind", "answers"),
    [
        ("web.shop.svc.cluster.local", Type.A, ["A 10.96.0.5"]),
        ("web.shop.svc.cluster.local", Type.AAAA, []),
        ("dual.shop.svc.cluster.local", Type.A, ["A 10.96.0.6"]),
        ("dual.shop.svc.cluster.local", Type.AAAA, ["AAAA fd00::6"]),
        ("db.shop.svc.cluster.local", Type.A, ["A 10.244.1.2", "A 10.244.2.2", "A 10.244.1.3"]),
        ("db.shop.svc.cluster.local", Type.AAAA, ["AAAA fd00::7"]),
        ("empty.shop.svc.cluster.local", Type.A, []),
        ("db-0.db.shop.svc.cluster.local", Type.A, ["A 10.244.1.2"]),
        ("10-244-2-2.db.shop.svc.cluster.local", Type.A, ["A 10.244.2.2"]),
        ("_http._tcp.web.shop.svc.cluster.local", Type.SRV, ["SRV 0 100 80 web.shop.svc.cluster.local"]),
        ("_dns._udp.web.shop.svc.cluster.local", Type.SRV, ["SRV 0 100 53 web.shop.svc.cluster.local"]),
        ("_tcp.web.shop.svc.cluster.local", Type.SRV, []),
        (
            "_sql._tcp.db.shop.svc.cluster.local",
            Type.SRV,
            [
                "SRV 0 25 5432 db-0.db.shop.svc.cluster.local",
                "SRV 0 25 5432 10-244-2-2.db.shop.svc.cluster.local",
                "SRV 0 25 5432 10-244-1-3.db.shop.svc.cluster.local",
                "SRV 0 25 5432 fd00--7.db.shop.svc.cluster.local",
            ],
        ),
        ("out.shop.svc.cluster.local", Type.A, ["CNAME api.example.com"]),
        ("out.shop.svc.cluster.local", Type.CNAME, ["CNAME api.example.com"]),
        ("alias.shop.svc.cluster.local", Type.A, ["CNAME web.shop.svc.cluster.local", "A 10.96.0.5"]),
        ("10-244-9-9.shop.pod.cluster.local", Type.A, ["A 10.244.9.9"]),
        ("fd00--7.shop.pod.cluster.local", Type.AAAA, ["AAAA fd00::7"]),
        ("5.0.96.10.in-addr.arpa", Type.PTR, ["PTR web.shop.svc.cluster.local"]),
        ("2.1.244.10.in-addr.arpa", Type.PTR, ["PTR db-0.db.shop.svc.cluster.local"]),
        (
            "6.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa",
            Type.PTR,
            ["PTR dual.shop.svc.cluster.local"],
        ),
        ("5.0.96.10.in-addr.arpa", Type.A, []),
        ("dns-version.cluster.local", Type.TXT, ["TXT 1.1.0"]),
        ("cluster.local", Type.NS, ["NS ns.dns.cluster.local"]),
        ("cluster.local", Type.SOA, ["SOA ns.dns.cluster.local hostmaster.cluster.local"]),
        ("ns.dns.cluster.local", Type.A, ["A 10.96.0.10"]),
        ("svc.cluster.local", Type.A, []),
        ("shop.svc.cluster.local", Type.A, []),
    ],
)
def test_name_that_exists(name: str, kind: Type, answers: list[str]):
    assert ask(name, kind) == (Code.OK, answers)


@pytest.mark.parametrize(
    "name",
    [
        "none.shop.svc.cluster.local",
        "web.other.svc.cluster.local",
        "other.svc.cluster.local",
        "x.web.shop.svc.cluster.local",
        "_none._tcp.web.shop.svc.cluster.local",
        "_http._udp.web.shop.svc.cluster.local",
        "http.tcp.web.shop.svc.cluster.local",
        "10-244-3-2.db.shop.svc.cluster.local",
        "not-an-address.shop.pod.cluster.local",
        "10-244-1-2.other.pod.cluster.local",
        "broken.shop.svc.cluster.local",
        "example.com.cluster.local",
        "example.com.shop.svc.cluster.local",
    ],
)
def test_name_that_does_not_exist(name: str):
    assert ask(name, Type.A)[0] is Code.NO_SUCH_NAME


def test_negative_answers_carry_the_zone():
    for name in ("web.shop.svc.cluster.local", "none.shop.svc.cluster.local"):
        reply = answer(Question(name, Type.AAAA), shop(), ZONE)
        assert reply is not None
        assert [record.type for record in reply.authority] == [Type.SOA]


@pytest.mark.parametrize("name", ["example.com", "notcluster.local", "9.9.9.9.in-addr.arpa", "arpa", ""])
def test_other_domains_are_not_ours(name: str):
    assert answer(Question(name, Type.A), shop(), ZONE) is None


def test_an_alias_out_of_the_zone_says_what_to_look_up():
    reply = answer(Question("out.shop.svc.cluster.local", Type.A), shop(), ZONE)
    assert reply is not None
    assert reply.chase == "api.example.com"


def test_an_alias_of_itself_ends():
    code, answers = ask("loop.shop.svc.cluster.local", Type.A)
    assert code is Code.OK
    assert set(answers) == {"CNAME loop.shop.svc.cluster.local"}


def test_srv_brings_the_addresses_of_its_targets():
    reply = answer(Question("_sql._tcp.db.shop.svc.cluster.local", Type.SRV), shop(), ZONE)
    assert reply is not None
    assert [str(record.data) for record in reply.additional] == ["10.244.1.2", "10.244.2.2", "10.244.1.3", "fd00::7"]


def test_turns_put_each_address_first():
    firsts = {ask("db.shop.svc.cluster.local", Type.A, turn=turn)[1][0] for turn in range(3)}
    assert firsts == {"A 10.244.1.2", "A 10.244.2.2", "A 10.244.1.3"}


def test_records_follow_a_service():
    records = shop()
    records.apply_service(service("web", "10.96.0.77", http=80))
    assert ask("web.shop.svc.cluster.local", Type.A, records) == (Code.OK, ["A 10.96.0.77"])
    assert answer(Question("5.0.96.10.in-addr.arpa", Type.PTR), records, ZONE) is None
    records.remove_service(service("web"))
    assert ask("web.shop.svc.cluster.local", Type.A, records)[0] is Code.NO_SUCH_NAME
    assert answer(Question("77.0.96.10.in-addr.arpa", Type.PTR), records, ZONE) is None


def test_records_follow_slices():
    records = shop()
    records.apply_slice(part("db-1", "db", endpoint("10.244.1.8", "db-1")))
    assert ask("db.shop.svc.cluster.local", Type.A, records)[1] == ["A 10.244.1.8", "A 10.244.1.3"]
    assert answer(Question("2.1.244.10.in-addr.arpa", Type.PTR), records, ZONE) is None
    records.remove_slice(part("db-1", "db"))
    records.remove_slice(part("db-1", "db"))
    records.remove_slice(part("db-2", "db"))
    assert ask("db.shop.svc.cluster.local", Type.A, records)[1] == []
    assert answer(Question("8.1.244.10.in-addr.arpa", Type.PTR), records, ZONE) is None


def test_an_address_taken_over_by_another_service_stays_its_own():
    records = shop()
    records.apply_service(service("next", "10.96.0.5"))
    records.remove_service(service("web"))
    assert ask("5.0.96.10.in-addr.arpa", Type.PTR, records)[1] == ["PTR next.shop.svc.cluster.local"]


def test_a_relist_forgets_what_is_gone():
    records = shop()
    records.replace_services([service("db", "None")])
    records.replace_slices([])
    assert ask("web.shop.svc.cluster.local", Type.A, records)[0] is Code.NO_SUCH_NAME
    assert ask("db.shop.svc.cluster.local", Type.A, records) == (Code.OK, [])
    assert records.names_of(Address(b"\x0a\xf4\x01\x02")) == ()
