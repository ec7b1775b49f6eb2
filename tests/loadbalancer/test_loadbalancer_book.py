"""Is the rule right: who gets which address of which pool, and what is said of it."""

import pytest
from book_cases import BOTH, V6, pool, texts, wish

from fairlead.compile.loadbalancer_book import AddressBook, Remark
from fairlead.model.loadbalancers import Audience, Pool, ServiceKey, Wish
from fairlead.model.policies import LabelTest, Operator

SMALL = pool("small", "203.0.113.1-203.0.113.2")


def book_of(*pools: Pool) -> AddressBook:
    book = AddressBook()
    book.set_pools(pools)
    return book


def give(book: AddressBook, *wishes: Wish) -> dict[str, tuple[str, ...]]:
    for each in wishes:
        book.put(each)
    grants, _ = book.step()
    return {grant.service.name: texts(grant.addresses) for grant in grants}


def remarks_of(book: AddressBook, *wishes: Wish) -> list[Remark]:
    for each in wishes:
        book.put(each)
    return list(book.step()[1])


def why(book: AddressBook, name: str) -> str:
    return book.waiting.get(ServiceKey("default", name), "")


def test_a_service_gets_the_first_free_address() -> None:
    book = book_of(SMALL)
    assert give(book, wish("a"), wish("b")) == {"a": ("203.0.113.1",), "b": ("203.0.113.2",)}


def test_the_older_service_is_served_first() -> None:
    book = book_of(SMALL)
    assert give(book, wish("a", created="2"), wish("b", created="1"))["b"] == ("203.0.113.1",)


def test_both_families_come_from_one_pool() -> None:
    book = book_of(pool("a", "203.0.113.1"), pool("b", "203.0.113.9", "2001:db8::1"))
    assert give(book, wish("a", families=BOTH)) == {"a": ("203.0.113.9", "2001:db8::1")}


def test_a_service_that_prefers_both_families_takes_one_until_there_are_both() -> None:
    book = book_of(pool("a", "203.0.113.1"))
    assert give(book, wish("a", families=BOTH, flexible=True)) == {"a": ("203.0.113.1",)}
    book.set_pools((pool("a", "203.0.113.1", "2001:db8::1"),))
    asks = wish("a", families=BOTH, flexible=True, held=("203.0.113.1",), held_from="a")
    assert give(book, asks) == {"a": ("203.0.113.1", "2001:db8::1")}


def test_a_service_that_requires_both_families_takes_neither_alone() -> None:
    book = book_of(pool("a", "203.0.113.1"))
    assert give(book, wish("a", families=BOTH)) == {}
    assert give(book, wish("b")) == {"b": ("203.0.113.1",)}, "what was tried must be free again"


def test_an_exhausted_pool_is_said_and_waited_for() -> None:
    book = book_of(pool("one", "203.0.113.1"))
    remarks = remarks_of(book, wish("a", created="1"), wish("b", created="2"))
    assert [(each.service.name, each.reason) for each in remarks] == [("a", "IPAllocated"), ("b", "AllocationFailed")]
    assert remarks[1].message == "no pool has a free IPv4 address: one has 203.0.113.1"
    book.remove(ServiceKey("default", "a"))
    assert give(book) == {"b": ("203.0.113.1",)}
    assert book.failures == 1
    assert not book.waiting


def test_the_same_trouble_is_said_once() -> None:
    book = book_of()
    assert len(remarks_of(book, wish("a"))) == 1
    assert remarks_of(book, wish("a", labels={"x": "y"})) == []


def test_without_a_pool_the_remark_says_what_to_apply() -> None:
    book = book_of()
    give(book, wish("a"))
    assert "apply an IPAddressPool" in why(book, "a")


def test_an_address_asked_for_by_name_is_given() -> None:
    book = book_of(pool("big", "203.0.113.0/24"))
    assert give(book, wish("a", addresses=("203.0.113.77",))) == {"a": ("203.0.113.77",)}


def test_an_address_of_a_pool_without_auto_assign_is_given_to_who_names_it() -> None:
    book = book_of(pool("kept", "203.0.113.1-203.0.113.2", auto_assign=False))
    given = give(book, wish("a"), wish("b", addresses=("203.0.113.1",)), wish("c", pool="kept"))
    assert given == {"b": ("203.0.113.1",), "c": ("203.0.113.2",)}
    assert "autoAssign" in why(book, "a")


def test_an_address_outside_every_pool_is_refused() -> None:
    book = book_of(SMALL)
    assert give(book, wish("a", addresses=("198.51.100.1",))) == {}
    assert why(book, "a") == "198.51.100.1 is in no pool; the pools are: small"


def test_a_taken_address_is_refused_with_its_owner() -> None:
    book = book_of(SMALL)
    give(book, wish("a", addresses=("203.0.113.1",)))
    assert give(book, wish("b", ports=("443/TCP",), addresses=("203.0.113.1",))) == {}
    assert why(book, "b").startswith("203.0.113.1 belongs to default/a; to share it")


def test_buggy_addresses_are_avoided_where_the_pool_says_so() -> None:
    book = book_of(pool("a", "203.0.112.255-203.0.113.1", avoid_buggy=True))
    assert give(book, wish("a"), wish("b")) == {"a": ("203.0.113.1",)}
    assert book.usage()[0].sizes[BOTH[0]] == 1
    give(book, wish("c", addresses=("203.0.113.0",)))
    assert "avoidBuggyIPs" in why(book, "c")


def test_services_with_one_sharing_key_share_an_address_on_different_ports() -> None:
    book = book_of(SMALL)
    given = give(
        book,
        wish("a", sharing="s", ports=("80/TCP",), created="1"),
        wish("b", sharing="s", ports=("80/UDP",), created="2"),
        wish("c", sharing="s", ports=("443/TCP",), created="3"),
    )
    assert set(given.values()) == {("203.0.113.1",)}


def test_one_address_and_port_never_belongs_to_two_services() -> None:
    book = book_of(SMALL)
    give(book, wish("a", sharing="s", addresses=("203.0.113.1",)))
    give(book, wish("b", sharing="s", addresses=("203.0.113.1",)))
    assert why(book, "b") == "203.0.113.1 belongs to default/a, which has the same port: 80/TCP"
    assert give(book, wish("c", sharing="s")) == {"c": ("203.0.113.2",)}, "it gets an address of its own"


def test_under_policy_local_only_services_of_the_same_pods_share() -> None:
    book = book_of(pool("one", "203.0.113.1"))
    give(book, wish("a", sharing="s", behind="app=a"))
    give(book, wish("b", sharing="s", behind="app=b", ports=("443/TCP",), addresses=("203.0.113.1",)))
    assert "must select the same pods" in why(book, "b")
    assert give(book, wish("c", sharing="s", behind="app=a", ports=("443/TCP",))) == {"c": ("203.0.113.1",)}


def test_a_shared_address_is_free_when_the_last_owner_is_gone() -> None:
    book = book_of(pool("one", "203.0.113.1"))
    give(book, wish("a", sharing="s"), wish("b", sharing="s", ports=("443/TCP",)), wish("c"))
    book.remove(ServiceKey("default", "a"))
    assert give(book) == {}
    book.remove(ServiceKey("default", "b"))
    assert give(book) == {"c": ("203.0.113.1",)}


def test_pools_for_some_are_asked_before_pools_for_all_and_lower_priority_first() -> None:
    book = book_of(
        pool("a-all", "203.0.113.1"),
        pool("b-some", "203.0.113.2", audience=Audience(namespaces=frozenset({"default"}))),
        pool("c-late", "203.0.113.3", priority=20),
        pool("d-soon", "203.0.113.4", priority=10),
    )
    given = [give(book, wish(name))[name] for name in "wxyz"]
    assert given == [("203.0.113.4",), ("203.0.113.3",), ("203.0.113.2",), ("203.0.113.1",)]


@pytest.mark.parametrize(
    ("audience", "served"),
    [
        (Audience(namespaces=frozenset({"default"})), True),
        (Audience(namespaces=frozenset({"other"})), False),
        (Audience(namespace_selectors=((LabelTest("team", Operator.IN, ("red",)),),)), True),
        (Audience(namespace_selectors=((LabelTest("team", Operator.IN, ("blue",)),),)), False),
        (Audience(service_selectors=((LabelTest("tier", Operator.EXISTS),),)), True),
        (Audience(service_selectors=((LabelTest("tier", Operator.DOES_NOT_EXIST),),)), False),
        (
            Audience(
                namespaces=frozenset({"other"}),
                namespace_selectors=((LabelTest("team", Operator.IN, ("red",)),),),
                service_selectors=((LabelTest("tier", Operator.IN, ("web",)),),),
            ),
            True,
        ),
    ],
)
def test_a_pool_serves_the_namespaces_and_services_it_is_for(audience: Audience, served: bool) -> None:
    book = book_of(pool("some", "203.0.113.1", audience=audience))
    book.set_namespace("default", {"team": "red"})
    assert bool(give(book, wish("a", labels={"tier": "web"}))) is served


def test_a_namespace_that_gets_the_label_gets_addresses() -> None:
    book = book_of(
        pool("red", "203.0.113.1", audience=Audience(namespace_selectors=((LabelTest("red", Operator.EXISTS),),)))
    )
    assert give(book, wish("a")) == {}
    book.set_namespace("default", {"red": ""})
    assert give(book) == {"a": ("203.0.113.1",)}


def test_what_the_status_says_is_kept_and_decides_nothing_anew() -> None:
    book = book_of(SMALL)
    held = wish("a", held=("203.0.113.2",), held_from="small")
    assert give(book, held, wish("b")) == {"b": ("203.0.113.1",)}


def test_a_shrunk_pool_takes_nothing_from_anybody_but_says_so() -> None:
    book = book_of(SMALL)
    held = wish("a", held=("203.0.113.2",), held_from="small")
    give(book, held)
    book.set_pools((pool("small", "203.0.113.1"),))
    grants, remarks = book.step()
    assert grants == ()
    assert [each.reason for each in remarks] == ["AddressNotInPool"]
    assert texts(book.addresses_of(ServiceKey("default", "a"))) == ("203.0.113.2",)
    assert give(book, wish("b"), wish("c")) == {"b": ("203.0.113.1",)}


def test_after_a_restart_an_address_outside_every_pool_is_still_kept() -> None:
    book = book_of(SMALL)
    assert give(book, wish("a", held=("198.51.100.9",), held_from="gone")) == {}
    assert texts(book.addresses_of(ServiceKey("default", "a"))) == ("198.51.100.9",)


def test_an_address_somebody_else_gave_is_not_ours_to_keep() -> None:
    book = book_of(SMALL)
    assert give(book, wish("a", held=("198.51.100.9",))) == {"a": ("203.0.113.1",)}


def test_of_two_that_have_one_address_and_port_the_older_keeps_it() -> None:
    book = book_of(SMALL)
    given = give(
        book,
        wish("young", created="2", held=("203.0.113.1",), held_from="small"),
        wish("old", created="1", held=("203.0.113.1",), held_from="small"),
    )
    assert given == {"young": ("203.0.113.2",)}


def test_a_service_that_asks_for_another_address_moves_and_one_that_cannot_stays() -> None:
    book = book_of(SMALL)
    give(book, wish("a"))
    assert give(book, wish("a", held=("203.0.113.1",), held_from="small", addresses=("203.0.113.2",))) == {
        "a": ("203.0.113.2",)
    }
    stays = wish("a", held=("203.0.113.2",), held_from="small", addresses=("10.0.0.1",))
    assert give(book, stays) == {}
    assert texts(book.addresses_of(ServiceKey("default", "a"))) == ("203.0.113.2",)
    assert "10.0.0.1 is in no pool" in why(book, "a")


def test_a_service_that_becomes_of_one_family_gives_the_other_back() -> None:
    book = book_of(pool("a", "203.0.113.1", "2001:db8::1"))
    give(book, wish("a", families=BOTH))
    held = ("203.0.113.1", "2001:db8::1")
    assert give(book, wish("a", held=held, held_from="a")) == {"a": ("203.0.113.1",)}
    assert give(book, wish("b", families=V6)) == {"b": ("2001:db8::1",)}


def test_an_address_given_back_is_given_last() -> None:
    book = book_of(pool("a", "203.0.113.1-203.0.113.3"))
    give(book, wish("a"))
    book.remove(ServiceKey("default", "a"))
    assert [give(book, wish(name))[name] for name in "bcd"] == [("203.0.113.2",), ("203.0.113.3",), ("203.0.113.1",)]


def test_a_wish_that_makes_no_sense_keeps_what_the_service_has() -> None:
    book = book_of(SMALL)
    give(book, wish("a"))
    assert give(book, wish("a", held=("203.0.113.1",), held_from="small", wrong="'x' is no address")) == {}
    assert why(book, "a") == "'x' is no address"
    assert texts(book.addresses_of(ServiceKey("default", "a"))) == ("203.0.113.1",)


def test_usage_counts_addresses_and_services_of_each_pool() -> None:
    book = book_of(pool("a", "203.0.113.0/30", "2001:db8::/126"))
    give(book, wish("a", sharing="s", families=BOTH), wish("b", sharing="s", ports=("1/UDP",)))
    (usage,) = book.usage()
    assert (usage.sizes, usage.in_use, usage.services) == (
        {BOTH[0]: 4, BOTH[1]: 4},
        {BOTH[0]: 1, BOTH[1]: 1},
        2,
    )
