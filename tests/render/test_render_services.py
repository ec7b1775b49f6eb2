"""Frontends as rows: what is rendered, what changes, and that changes add up to the same as starting afresh."""

import sys
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairlead.model import AddressRange, Affinity, Backend, Frontend, FrontendKey, Masquerade, Origin, Refusal
from fairlead.net import Family, Port, Protocol, parse_address, parse_prefix
from fairlead.nft.apply import apply_transaction
from fairlead.nft.rule_text import spell_rule
from fairlead.nft.tables import TableContents, row_element
from fairlead.nft.text import spell_element
from fairlead.nft.transactions import AddChain, AddElements, AddRule, DeleteElements, ReplaceElements, Transaction
from fairlead.nft.verdicts import Verdict
from fairlead.render.service_bytes import pack_backend, pack_frontend
from fairlead.render.service_numbers import AffinityNumbers
from fairlead.render.service_placing import arrange_backends
from fairlead.render.services import ServiceRows

PODS = (parse_prefix("10.244.1.0/24"), parse_prefix("10.244.64.0/22"))
SERVICES = parse_prefix("10.96.0.0/16")
ORIGIN = Origin("Service", "shop", "web")


def rows_of(*, pods: bool = True) -> ServiceRows:
    return ServiceRows(Family.IPV4, PODS if pods else (), SERVICES)


def backend(text: str) -> Backend:
    address, _, port = text.rpartition(":")
    return Backend(parse_address(address), Port(int(port)))


def key_of(text: str, protocol: Protocol = Protocol.TCP) -> FrontendKey:
    address, _, port = text.rpartition(":")
    return FrontendKey(parse_address(address), protocol, Port(int(port)))


def frontend(
    key: str,
    backends: Sequence[str] = (),
    masquerade: Masquerade = Masquerade.UNLESS_LOCAL_POD,
    refusal: Refusal = Refusal.REJECT,
    inside: Sequence[str] = (),
    affinity: Affinity | None = None,
    sources: Sequence[str] | None = None,
) -> Frontend:
    return Frontend(
        key=key_of(key),
        inside=tuple(sorted(backend(text) for text in inside)),
        backends=tuple(sorted(backend(text) for text in backends)),
        when_empty=refusal,
        masquerade=masquerade,
        affinity=affinity,
        sources=None if sources is None else tuple(sorted(ranged(each) for each in sources)),
        origin=ORIGIN,
    )


def ranged(text: str) -> AddressRange:
    first, _, last = text.partition("-")
    return AddressRange(parse_address(first), parse_address(last or first))


def replace(rows: ServiceRows, *frontends: Frontend) -> Transaction:
    return rows.replace({each.key: each for each in frontends})


BASIC = {"backends", "frontends", "no-endpoints", "hairpin", "cluster-ips"}


def spelt(rows: ServiceRows) -> dict[str, list[str]]:
    """Return the desired rows of each set as nft writes them."""
    table = rows.desired()
    listed = {
        target.name: sorted(
            spell_element(target, row_element(target, key, value))
            for key, value in (table.sets[target.name].rows or {}).items()
        )
        for target in rows.sets
    }
    return {name: found for name, found in listed.items() if found or name in BASIC}


def changed(transaction: Transaction) -> list[str]:
    """Return the rows a transaction touches, a sign before each: + added, - deleted, ~ given another value."""
    signs = {AddElements: "+", DeleteElements: "-", ReplaceElements: "~"}
    return [
        f"{signs[type(command)]} {command.set.name} {spell_element(command.set, element)}"
        for command in transaction.commands
        if isinstance(command, AddElements | DeleteElements | ReplaceElements)
        for element in command.elements
    ]


SETS = {target.name: target for target in rows_of().sets}
WEB = ["10.244.1.2:8080", "10.244.2.2:8080", "10.244.2.3:8080"]


def test_a_frontend_is_a_row_per_backend_and_a_verdict_by_width() -> None:
    rows = rows_of()
    replace(rows, frontend("10.96.0.9:80", WEB))
    assert spelt(rows) == {
        "backends": [
            "10.96.0.9 . tcp . 80 . 0 : 10.244.1.2 . 8080",
            "10.96.0.9 . tcp . 80 . 1 : 10.244.2.2 . 8080",
            "10.96.0.9 . tcp . 80 . 2 : 10.244.2.3 . 8080",
        ],
        "frontends": ["10.96.0.9 . tcp . 80 : goto cluster-3"],
        "no-endpoints": [],
        "hairpin": ["10.244.1.2 . 10.244.1.2"],
        "cluster-ips": ["10.96.0.9"],
    }


@pytest.mark.parametrize(
    ("masquerade", "chain"),
    [(Masquerade.NEVER, "pick-3"), (Masquerade.UNLESS_LOCAL_POD, "cluster-3"), (Masquerade.ALWAYS, "external-3")],
)
def test_the_chain_is_chosen_by_masquerade(masquerade: Masquerade, chain: str) -> None:
    rows = rows_of()
    replace(rows, frontend("172.18.0.2:30080", WEB, masquerade))
    assert spelt(rows)["frontends"] == [f"172.18.0.2 . tcp . 30080 : goto {chain}"]
    assert chain in rows.desired().chains


@pytest.mark.parametrize(("refusal", "verdict"), [(Refusal.REJECT, "goto refuse"), (Refusal.DROP, "drop")])
def test_a_frontend_without_backends_is_refused(refusal: Refusal, verdict: str) -> None:
    rows = rows_of()
    replace(rows, frontend("10.96.0.9:80", (), refusal=refusal))
    assert spelt(rows)["no-endpoints"] == [f"10.96.0.9 . tcp . 80 : {verdict}"]
    assert spelt(rows)["frontends"] == []


def test_only_pods_of_this_node_are_hairpin_candidates_and_all_are_where_no_prefix_is_known() -> None:
    backends = ["10.244.1.2:80", "10.244.2.2:80", "10.244.67.255:80", "10.244.68.0:80"]
    known, unknown = rows_of(), rows_of(pods=False)
    for rows in (known, unknown):
        replace(rows, frontend("10.96.0.9:80", backends))
    assert spelt(known)["hairpin"] == ["10.244.1.2 . 10.244.1.2", "10.244.67.255 . 10.244.67.255"]
    assert len(spelt(unknown)["hairpin"]) == 4


def test_a_hairpin_row_stays_until_its_last_frontend_goes() -> None:
    rows = rows_of()
    one, two = frontend("10.96.0.9:80", WEB[:1]), frontend("10.96.0.9:81", WEB[:1])
    replace(rows, one, two)
    assert "- hairpin 10.244.1.2 . 10.244.1.2" not in changed(rows.replace({one.key: None}))
    assert "- hairpin 10.244.1.2 . 10.244.1.2" in changed(rows.replace({two.key: None}))


def test_addresses_outside_the_service_range_are_no_cluster_ips() -> None:
    rows = rows_of()
    replace(rows, frontend("172.18.0.2:30080", WEB), frontend("10.96.0.9:80", ()), frontend("10.97.0.9:80", ()))
    assert spelt(rows)["cluster-ips"] == ["10.96.0.9"]


def test_several_service_ranges_are_all_closed_where_no_service_has_an_address() -> None:
    rows = ServiceRows(Family.IPV4, PODS, SERVICES, parse_prefix("10.100.0.0/24"), parse_prefix("fd00::/112"))
    replace(rows, frontend("10.100.0.9:80", WEB), frontend("10.96.0.9:80", WEB), frontend("10.97.0.9:80", WEB))
    assert spelt(rows)["cluster-ips"] == ["10.100.0.9", "10.96.0.9"]
    assert [spell_rule(rule, SETS) for rule in rows.desired().chains["filter-forward"].rules[1:]] == [
        "ct state new ip daddr @cluster-ips goto refuse",
        "ct state new ip daddr 10.96.0.0/16 drop",
        "ct state new ip daddr 10.100.0.0/24 drop",
    ]


def test_an_added_backend_is_one_row_and_one_verdict() -> None:
    rows = rows_of()
    replace(rows, frontend("10.96.0.9:80", WEB))
    assert changed(replace(rows, frontend("10.96.0.9:80", ["10.244.0.1:8080", *WEB]))) == [
        "+ backends 10.96.0.9 . tcp . 80 . 3 : 10.244.0.1 . 8080",
        "~ frontends 10.96.0.9 . tcp . 80 : goto cluster-4",
    ]


def test_a_chain_that_is_new_is_committed_before_anything_leads_to_it() -> None:
    """Decision 0013: a packet under way would find it without rules."""
    rows = rows_of()
    replace(rows, frontend("10.96.0.1:80", ["10.244.1.2:80"]), frontend("10.96.0.2:80", ["10.244.1.2:80"]))
    first, second = replace(rows, frontend("10.96.0.1:80", ["10.244.1.2:80", "10.244.1.3:80"])).parts()
    assert {type(each) for each in first.commands} == {AddChain, AddRule}
    assert not {type(each) for each in second.commands} & {AddChain, AddRule}
    known = replace(rows, frontend("10.96.0.2:80", ["10.244.1.2:80", "10.244.1.3:80"]))
    assert len(known.parts()) == 1


def test_the_last_row_moves_into_the_hole_of_a_removed_backend() -> None:
    rows = rows_of()
    replace(rows, frontend("10.96.0.9:80", WEB))
    assert changed(replace(rows, frontend("10.96.0.9:80", WEB[1:]))) == [
        "~ backends 10.96.0.9 . tcp . 80 . 0 : 10.244.2.3 . 8080",
        "~ frontends 10.96.0.9 . tcp . 80 : goto cluster-2",
        "- backends 10.96.0.9 . tcp . 80 . 2",
        "- hairpin 10.244.1.2 . 10.244.1.2",
    ]


def test_an_exchanged_backend_is_one_row() -> None:
    rows = rows_of()
    replace(rows, frontend("10.96.0.9:80", WEB))
    assert changed(replace(rows, frontend("10.96.0.9:80", [*WEB[:2], "10.244.2.9:8080"]))) == [
        "~ backends 10.96.0.9 . tcp . 80 . 2 : 10.244.2.9 . 8080"
    ]


def test_scaling_to_zero_and_back_moves_the_key_between_the_verdict_maps() -> None:
    rows = rows_of()
    replace(rows, frontend("10.96.0.9:80", WEB[1:2]))
    assert changed(replace(rows, frontend("10.96.0.9:80"))) == [
        "+ no-endpoints 10.96.0.9 . tcp . 80 : goto refuse",
        "- frontends 10.96.0.9 . tcp . 80 : goto cluster-1",
        "- backends 10.96.0.9 . tcp . 80 . 0",
    ]
    assert changed(replace(rows, frontend("10.96.0.9:80", WEB[1:2]))) == [
        "+ backends 10.96.0.9 . tcp . 80 . 0 : 10.244.2.2 . 8080",
        "+ frontends 10.96.0.9 . tcp . 80 : goto cluster-1",
        "- no-endpoints 10.96.0.9 . tcp . 80 : goto refuse",
    ]


def test_another_masquerade_is_one_verdict() -> None:
    rows = rows_of()
    replace(rows, frontend("10.96.0.9:80", WEB))
    assert changed(replace(rows, frontend("10.96.0.9:80", WEB, Masquerade.ALWAYS))) == [
        "~ frontends 10.96.0.9 . tcp . 80 : goto external-3"
    ]


AWAY = ["10.244.2.2:8080", "10.244.2.3:8080"]


def test_policy_local_has_rows_for_clients_inside_beside_those_for_everybody_else() -> None:
    rows = rows_of()
    replace(rows, frontend("172.18.0.2:30080", WEB[:1], Masquerade.NEVER, inside=WEB))
    found = spelt(rows)
    assert found["frontends"] == ["172.18.0.2 . tcp . 30080 : goto local-1"]
    assert found["backends"] == ["172.18.0.2 . tcp . 30080 . 0 : 10.244.1.2 . 8080"]
    assert found["inside"] == ["172.18.0.2 . tcp . 30080 : goto inside-3"]
    assert len(found["inside-backends"]) == 3
    assert [spell_rule(rule, SETS) for rule in rows.desired().chains["local-1"].rules] == [
        "ip saddr 10.244.1.0/24 ip daddr . meta l4proto . th dport vmap @inside",
        "ip saddr 10.244.64.0/22 ip daddr . meta l4proto . th dport vmap @inside",
        "fib saddr type local meta mark set meta mark | 0x00004000 ip daddr . meta l4proto . th dport vmap @inside",
        *["dnat ip to ip daddr . meta l4proto . th dport . numgen random mod 1 map @backends"] * 2,
    ]


def test_policy_local_without_a_local_backend_drops_what_comes_from_outside() -> None:
    rows = rows_of()
    replace(rows, frontend("172.18.0.2:30080", (), Masquerade.NEVER, Refusal.DROP, inside=AWAY))
    assert spelt(rows)["frontends"] == ["172.18.0.2 . tcp . 30080 : goto local-0"]
    assert spelt(rows)["no-endpoints"] == []
    assert [spell_rule(rule, SETS) for rule in rows.desired().chains["local-0"].rules][-1] == "drop"


def test_under_policy_local_a_backend_that_comes_elsewhere_is_one_row_and_one_verdict() -> None:
    rows = rows_of()
    replace(rows, frontend("172.18.0.2:30080", WEB[:1], Masquerade.NEVER, inside=WEB[:2]))
    assert changed(replace(rows, frontend("172.18.0.2:30080", WEB[:1], Masquerade.NEVER, inside=WEB))) == [
        "+ inside-backends 172.18.0.2 . tcp . 30080 . 2 : 10.244.2.3 . 8080",
        "~ inside 172.18.0.2 . tcp . 30080 : goto inside-3",
    ]
    assert changed(replace(rows, frontend("172.18.0.2:30080", WEB[:1], Masquerade.NEVER))) == [
        "~ frontends 172.18.0.2 . tcp . 30080 : goto pick-1",
        "- inside 172.18.0.2 . tcp . 30080",
        "- inside-backends 172.18.0.2 . tcp . 30080 . 0",
        "- inside-backends 172.18.0.2 . tcp . 30080 . 1",
        "- inside-backends 172.18.0.2 . tcp . 30080 . 2",
    ]


def test_a_local_pod_reached_from_inside_only_is_a_hairpin_candidate() -> None:
    rows = rows_of()
    one = frontend("172.18.0.2:30080", (), Masquerade.NEVER, Refusal.DROP, inside=["10.244.1.9:80"])
    replace(rows, one)
    assert spelt(rows)["hairpin"] == ["10.244.1.9 . 10.244.1.9"]
    rows.replace({one.key: None})
    assert rows.desired() == rows_of().desired()


ONE_HOUR = Affinity(3600, "shop/web/tcp/http")


def numbers_in(rows: ServiceRows, name: str) -> dict[str, str]:
    """Return the number of each row's backend in a map from numbers to backends."""
    found = (row.split(" : ") for row in spelt(rows).get(name, []))
    return {backend: key.rpartition(" . ")[2] for key, backend in found}


def test_backends_that_clients_stay_with_have_numbers_and_chains_know_no_service() -> None:
    rows = rows_of()
    replace(rows, frontend("10.96.0.9:80", WEB[:2], Masquerade.ALWAYS, affinity=ONE_HOUR))
    found = spelt(rows)
    assert found["backends"] == []
    assert found["hairpin"] == ["10.244.1.2 . 10.244.1.2"]
    assert found["frontends"] == ["10.96.0.9 . tcp . 80 : goto external-2-3600s"]
    assert found["draws"] == ["10.96.0.9 . tcp . 80 . 0 : c000:0", "10.96.0.9 . tcp . 80 . 1 : c000:1"]
    assert found["sticky"] == [
        "10.96.0.9 . tcp . 80 . c000:0 : 10.244.1.2 . 8080",
        "10.96.0.9 . tcp . 80 . c000:1 : 10.244.2.2 . 8080",
    ]
    key = "ip daddr . meta l4proto . th dport"
    draw, first = (f"meta priority set {key} . numgen random mod {width} map @draws" for width in (2, 1))
    let_go = "delete @affinity { meta priority & ffff:8000 . ip saddr : meta priority }"
    hold = "update @affinity { meta priority & ffff:8000 . ip saddr timeout 1h : meta priority }"
    translate = f"dnat ip to {key} . meta priority map @sticky"
    assert [spell_rule(rule, SETS) for rule in rows.desired().chains["external-2-3600s"].rules] == [
        "meta mark set meta mark | 0x00004000",
        draw,
        hold,
        "meta priority set meta priority & ffff:8000 . ip saddr map @affinity",
        translate,
        *(let_go, draw, hold, translate),
        *(let_go, first, hold, translate),
    ]


def test_a_thousand_services_with_affinity_have_the_rules_of_one() -> None:
    many, single = rows_of(), rows_of()
    for number in range(1000):
        affinity = Affinity(3600, f"shop/web-{number}/tcp/http")
        replace(many, frontend(f"10.96.{number >> 8}.{number & 255}:80", WEB, affinity=affinity))
    replace(single, frontend("10.96.0.9:80", WEB, affinity=ONE_HOUR))
    assert many.desired().chains == single.desired().chains
    numbers = [row.partition(" : ")[2] for row in spelt(many)["draws"]]
    assert len(set(numbers)) == 3000


def test_a_backend_keeps_its_number_over_every_change_and_in_every_frontend_of_the_port() -> None:
    rows = rows_of()
    replace(rows, frontend("10.96.0.9:80", WEB, affinity=ONE_HOUR))
    before = numbers_in(rows, "sticky")
    replace(rows, frontend("10.96.0.9:80", [*WEB[1:], "10.244.3.3:8080"], affinity=ONE_HOUR))
    after = numbers_in(rows, "sticky")
    assert {each: after[each] for each in ("10.244.2.2 . 8080", "10.244.2.3 . 8080")}.items() <= before.items()
    assert after["10.244.3.3 . 8080"] not in before.values()
    replace(rows, frontend("172.18.0.2:30080", WEB[1:2], Masquerade.NEVER, inside=WEB[1:], affinity=ONE_HOUR))
    assert numbers_in(rows, "inside-sticky").items() <= after.items()
    replace(rows, frontend("10.96.0.9:80", (), affinity=ONE_HOUR))
    replace(rows, frontend("10.96.0.9:80", WEB, affinity=ONE_HOUR))
    assert numbers_in(rows, "sticky")["10.244.2.2 . 8080"] == before["10.244.2.2 . 8080"]


def test_ports_share_no_number_as_long_as_there_are_some_and_work_beyond() -> None:
    numbers = AffinityNumbers()
    pods = [backend("10.0.0.1:80"), backend("10.0.0.2:80")]
    for port in range(40_000):
        numbers.take(f"port-{port}", pods)
    packed = [{numbers.pack(f"port-{port}", each) for each in pods} for port in range(40_000)]
    assert all(len(each) == 2 for each in packed)
    assert len(set[bytes]().union(*packed[:32_767])) == 2 * 32_767
    for port in range(40_000):
        numbers.release(f"port-{port}", pods)
    numbers.take("another", pods)


def test_a_new_agent_numbers_backends_as_the_rows_do() -> None:
    old = rows_of()
    table = apply_transaction(None, old.base())
    for name in ("a", "b", "c"):
        for backends in (WEB, WEB[1:], ["10.244.9.9:8080", *WEB[1:]]):
            held = frontend(f"10.96.0.9:{ord(name)}", backends, affinity=Affinity(60, name))
            table = apply_transaction(table, replace(old, held))
    gone = frontend(f"10.96.0.9:{ord('a')}").key
    table = apply_transaction(table, old.replace({gone: None}))
    new = rows_of()
    for name in ("c", "b"):
        held = frontend(f"10.96.0.9:{ord(name)}", ["10.244.9.9:8080", *WEB[1:]], affinity=Affinity(60, name))
        replace(new, held)
    assert not new.adopt(table)
    assert numbers_in(new, "sticky") == numbers_in(old, "sticky")


def test_source_ranges_are_rows_beside_one_that_says_there_are_some() -> None:
    rows = rows_of()
    replace(rows, frontend("203.0.113.5:80", WEB, sources=["10.0.0.0-10.0.0.255", "192.0.2.1"]))
    found = spelt(rows)
    assert found["restricted"] == ["203.0.113.5 . tcp . 80"]
    assert found["source-ranges"] == [
        "203.0.113.5 . tcp . 80 . 10.0.0.0-10.0.0.255",
        "203.0.113.5 . tcp . 80 . 192.0.2.1",
    ]
    assert changed(replace(rows, frontend("203.0.113.5:80", WEB, sources=["10.0.0.0-10.0.1.255", "192.0.2.1"]))) == [
        "- source-ranges 203.0.113.5 . tcp . 80 . 10.0.0.0-10.0.0.255",
        "+ source-ranges 203.0.113.5 . tcp . 80 . 10.0.0.0-10.0.1.255",
    ]
    assert changed(replace(rows, frontend("203.0.113.5:80", WEB))) == [
        "- restricted 203.0.113.5 . tcp . 80",
        "- source-ranges 203.0.113.5 . tcp . 80 . 10.0.0.0-10.0.1.255",
        "- source-ranges 203.0.113.5 . tcp . 80 . 192.0.2.1",
    ]


def test_a_frontend_without_backends_is_restricted_all_the_same() -> None:
    rows = rows_of()
    replace(rows, frontend("203.0.113.5:80", (), sources=[]))
    assert spelt(rows)["restricted"] == ["203.0.113.5 . tcp . 80"]


def test_the_same_frontend_again_is_no_change() -> None:
    rows = rows_of()
    replace(rows, frontend("10.96.0.9:80", WEB))
    assert not replace(rows, frontend("10.96.0.9:80", WEB))
    assert not rows.replace({key_of("10.96.0.77:80"): None})


def test_a_chain_lives_as_long_as_a_frontend_of_its_width() -> None:
    rows = rows_of()
    one, two = frontend("10.96.0.9:80", WEB), frontend("10.96.0.10:80", WEB)
    replace(rows, one, two)
    rows.replace({one.key: None})
    assert "cluster-3" in rows.desired().chains
    rows.replace({two.key: None})
    assert rows.desired() == rows_of().desired()


def test_a_frontend_of_the_other_family_is_a_bug() -> None:
    with pytest.raises(AssertionError, match="fd00::9"):
        replace(rows_of(), frontend("fd00::9:80"))


def test_the_base_forgets_the_rows_it_takes_away() -> None:
    rows = rows_of()
    replace(rows, frontend("10.96.0.9:80", WEB))
    table = apply_transaction(None, rows.base())
    assert table == rows.desired() == rows_of().desired()
    assert apply_transaction(table, replace(rows, frontend("10.96.0.9:80", WEB))) == rows.desired()


def test_ten_thousand_frontends_of_one_width_have_the_rules_of_one() -> None:
    many, single = rows_of(), rows_of()
    all_of_them = {}
    for number in range(10_000):
        each = frontend(f"10.96.{number >> 8}.{number & 255}:80", WEB)
        all_of_them[each.key] = each
    many.replace(all_of_them)
    replace(single, frontend("10.96.0.9:80", WEB))
    assert many.desired().chains == single.desired().chains


@pytest.mark.parametrize(
    ("rows", "wanted", "arranged"),
    [
        ("abc", "abc", "abc"),
        ("abc", "ab", "ab"),
        ("abc", "bc", "cb"),
        ("abc", "abcd", "abcd"),
        ("cab", "abc", "cab"),
        ("cab", "abcd", "cabd"),
        ("abc", "bcxy", "xbcy"),
        ("abcde", "de", "de"),
        ("abcde", "ace", "aec"),
        ("", "ab", "ab"),
        ("ab", "", ""),
    ],
)
def test_backends_keep_their_rows_and_the_last_ones_fill_holes(rows: str, wanted: str, arranged: str) -> None:
    letters = {letter: backend(f"10.0.0.1:{ord(letter)}") for letter in "abcdexy"}
    order = arrange_backends(tuple(letters[x] for x in rows), tuple(letters[x] for x in wanted))
    assert "".join(chr(each.port) for each in order) == arranged


pool = [f"10.244.{node}.{pod}:80" for node in (1, 2) for pod in range(2, 8)]
keys = st.sampled_from(["10.96.0.9:80", "10.96.0.9:81", "10.96.0.10:80", "172.18.0.2:30080"])
backend_lists = st.lists(st.sampled_from(pool), unique=True, max_size=6)
frontends = st.builds(
    frontend,
    keys,
    backend_lists,
    st.sampled_from(Masquerade),
    st.sampled_from(Refusal),
    st.one_of(st.just([]), backend_lists),
    st.sampled_from([None, None, ONE_HOUR, Affinity(60, "shop/web/tcp/http"), Affinity(60, "shop/web/udp/dns")]),
    st.sampled_from([None, None, [], ["10.0.0.0-10.0.0.255"], ["10.0.0.7", "10.0.0.9-10.0.1.255"]]),
)
removals = keys.map(key_of)
rounds = st.lists(st.lists(st.one_of(frontends, removals), min_size=1, max_size=5), max_size=15)


def canonical(table: TableContents) -> TableContents:
    """Return the table with each frontend's rows in order of their value, as a fresh start would number them.

    What is drawn by a number is that number's backend.
    """
    for draws, sticky in (("draws", "sticky"), ("inside-draws", "inside-sticky")):
        held = table.sets[sticky].rows or {}
        drawn = table.sets[draws].rows or {}
        assert {key[:12] + value for key, value in drawn.items() if isinstance(value, bytes)} == held.keys()
        table.sets[draws].rows = {
            key: held[key[:12] + value] for key, value in drawn.items() if isinstance(value, bytes)
        }
        table.sets[sticky].rows = {}
    for name in ("backends", "inside-backends", "draws", "inside-draws"):
        rows = table.sets[name].rows or {}
        values: dict[bytes, list[bytes]] = {}
        for key in sorted(rows):
            value = rows[key]
            assert isinstance(value, bytes)
            values.setdefault(key[:12], []).append(value)
        table.sets[name].rows = {
            start + number.to_bytes(4, sys.byteorder): value
            for start, found in values.items()
            for number, value in enumerate(sorted(found))
        }
    return table


@settings(deadline=None)
@given(rounds=rounds)
def test_any_sequence_of_changes_ends_as_a_fresh_start_and_as_the_applied_transactions(
    rounds: list[list[Frontend | FrontendKey]],
) -> None:
    rows = rows_of()
    table = apply_transaction(None, rows.base())
    present: dict[FrontendKey, Frontend] = {}
    for batch in rounds:
        changes = {x.key if isinstance(x, Frontend) else x: x if isinstance(x, Frontend) else None for x in batch}
        table = apply_transaction(table, rows.replace(changes))
        assert table == rows.desired()
        present = {key: x for key, x in {**present, **changes}.items() if x is not None}
    fresh = rows_of()
    fresh.replace(present)
    assert canonical(rows.desired()) == canonical(fresh.desired())


def check_every_frontend_is_served(table: TableContents, present: set[bytes], allowed: dict[bytes, set[bytes]]) -> None:
    """Assert that a frontend's verdict draws only from rows there are, and that `present` ones have a verdict."""
    backends = table.sets["backends"].rows or {}
    served = table.sets["frontends"].rows or {}
    refused = table.sets["no-endpoints"].rows or {}
    inside, inside_backends = table.sets["inside"].rows or {}, table.sets["inside-backends"].rows or {}
    assert present <= {*served, *refused}
    assert {key for key, verdict in served.items() if str(verdict).startswith("goto local-")} <= inside.keys()
    draws, sticky, inside_draws, inside_sticky = (
        table.sets[name].rows or {} for name in ("draws", "sticky", "inside-draws", "inside-sticky")
    )
    for drawn, numbers, held, verdicts in (
        (backends, draws, sticky, served),
        (inside_backends, inside_draws, inside_sticky, inside),
    ):
        for key, verdict in verdicts.items():
            assert isinstance(verdict, Verdict)
            _, width, *affinity = verdict.chain.split("-")
            assert verdict.chain in table.chains
            for number in range(int(width)):
                index = key + number.to_bytes(4, sys.byteorder)
                if affinity:
                    value = numbers[index]
                    assert isinstance(value, bytes)
                    assert held[key + value] in allowed[key]
                else:
                    assert drawn[index] in allowed[key]


@settings(deadline=None)
@given(before=st.lists(frontends, max_size=6), changes=st.lists(st.one_of(frontends, removals), max_size=6))
def test_wherever_a_transaction_is_cut_every_frontend_stays_right(
    before: list[Frontend], changes: list[Frontend | FrontendKey]
) -> None:
    rows = rows_of()
    table = apply_transaction(None, rows.base())
    old = {x.key: x for x in before}
    new = {x.key if isinstance(x, Frontend) else x: x if isinstance(x, Frontend) else None for x in changes}
    table = apply_transaction(table, rows.replace(old))
    allowed: dict[bytes, set[bytes]] = {}
    for each in (*old.values(), *new.values()):
        if each is not None:
            allowed.setdefault(pack_frontend(each.key), set()).update(
                pack_backend(x) for x in (*each.backends, *each.inside)
            )
    staying = {pack_frontend(key) for key in old if key not in new or new[key] is not None}
    restricted = {
        pack_frontend(key)
        for key, each in old.items()
        if each.sources is not None and (after := new.get(key, each)) is not None and after.sources is not None
    }
    transaction = rows.replace(new)
    for command in transaction.commands:
        table = apply_transaction(table, Transaction(transaction.family, transaction.table, (command,)))
        assert table is not None
        check_every_frontend_is_served(table, staying, allowed)
        assert restricted <= (table.sets["restricted"].rows or {}).keys()


@settings(deadline=None)
@given(
    before=st.lists(frontends, max_size=6), after=st.lists(frontends, max_size=6), churn=st.lists(frontends, max_size=6)
)
def test_an_agent_that_starts_beside_rows_applies_only_the_difference(
    before: list[Frontend], after: list[Frontend], churn: list[Frontend]
) -> None:
    old = rows_of()
    table = apply_transaction(None, old.base())
    for batch in (churn, before):
        table = apply_transaction(table, old.replace({x.key: x for x in batch}))
    new = rows_of()
    new.replace({x.key: x for x in after})
    difference = new.adopt(table)
    assert apply_transaction(table, difference) == new.desired()
    held = {x.key: x for x in [*churn, *before]}
    if held == {x.key: x for x in after}:
        assert not difference
    again = new.replace({x.key: x for x in after})
    assert not again
    assert apply_transaction(None, new.adopt(None)) == new.desired()


def test_adopting_takes_over_the_order_of_the_rows() -> None:
    old = rows_of()
    table = apply_transaction(None, old.base())
    for backends in (WEB, WEB[1:], ["10.244.9.9:8080", *WEB[1:]]):
        table = apply_transaction(table, replace(old, frontend("10.96.0.9:80", backends)))
    new = rows_of()
    replace(new, frontend("10.96.0.9:80", ["10.244.9.9:8080", *WEB[1:]]))
    assert not new.adopt(table)
    assert changed(replace(new, frontend("10.96.0.9:80", WEB[1:]))) == [
        "~ frontends 10.96.0.9 . tcp . 80 : goto cluster-2",
        "- backends 10.96.0.9 . tcp . 80 . 2",
    ]
