"""Does the command line say what is wrong with what was typed, and answer in both forms?"""

from pathlib import Path

import pytest
from book_cases import texts
from msgspec import Struct
from typer.testing import CliRunner

from fairlead.cli.loadbalancers import (
    Found,
    LoadBalancerLine,
    LoadBalancers,
    describe_load_balancer,
    load_balancers_text,
)
from fairlead.cli.main import command_line
from fairlead.kube.core import Event, ObjectReference, Service
from fairlead.kube.meta import ObjectMeta
from fairlead.net import parse_address


class Done(Struct):
    """What became of a command."""

    returncode: int
    stderr: str


def fairlead(*words: str, home: Path) -> Done:
    environment = {"FAIRLEAD_HOME": str(home), "HOME": str(home), "COLUMNS": "200", "KUBECONFIG": None}
    told = CliRunner().invoke(command_line(words), words, env=environment)
    return Done(told.exit_code, told.stderr)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "config does not exist; name a kubeconfig"),
        (("--pool", "203.0.113.9-203.0.113.1"), "ends before it begins"),
        (("--no-allocate", "--no-external"), "there is nothing to do"),
        (("--metrics-bind-address", "nowhere"), "is no address to listen on"),
    ],
)
def test_the_agent_refuses_what_makes_no_sense(tmp_path: Path, words: tuple[str, ...], told: str) -> None:
    named = ()
    if words:
        (tmp_path / "kubeconfig").write_text("{}")
        named = ("--kubeconfig", str(tmp_path / "kubeconfig"))
    done = fairlead("agent", "loadbalancer", *named, *words, home=tmp_path)
    assert done.returncode == 2
    assert told in " ".join(done.stderr.replace("│", " ").split())


def test_a_node_agent_refuses_a_host_it_cannot_understand(tmp_path: Path) -> None:
    (tmp_path / "kubeconfig").write_text("{}")
    named = ("--kubeconfig", str(tmp_path / "kubeconfig"))
    done = fairlead("agent", "node", *named, "--return-through", "192.0.2.9", home=tmp_path)
    assert done.returncode == 2
    assert "write 192.0.2.9=52:54:00:12:34:56" in " ".join(done.stderr.replace("│", " ").split())


def test_without_a_cluster_the_answer_is_no(tmp_path: Path) -> None:
    assert fairlead("status", "--load-balancers", home=tmp_path).returncode == 1


def line(name: str, *addresses: str, trouble: tuple[str, ...] = ()) -> LoadBalancerLine:
    return LoadBalancerLine(
        namespace="default",
        name=name,
        addresses=texts(tuple(map(parse_address, addresses))),
        pool="web" if addresses else "",
        providers=("external",) if addresses else (),
        announced_by=("lb to node-1", "lb to node-2") if addresses else (),
        ports=("80/tcp",),
        trouble=trouble,
    )


def test_the_table_shows_addresses_announcers_and_trouble() -> None:
    found = LoadBalancers(
        services=(line("a", "203.0.113.1"), line("b", trouble=("no pool has a free IPv4 address",))),
        invalid=("controller: pools overlap",),
    )
    assert load_balancers_text(found).splitlines() == [
        "SERVICE    ADDRESS      POOL  PROVIDER  ANNOUNCED BY                PORTS   TROUBLE",
        "default/a  203.0.113.1  web   external  lb to node-1, lb to node-2  80/tcp  -",
        "default/b  <pending>    -     -         -                           80/tcp  no pool has a free IPv4 address",
        "configuration not in use: controller: pools overlap",
    ]


def test_where_there_is_nothing_it_says_so() -> None:
    assert load_balancers_text(LoadBalancers(services=(), invalid=())) == "there is no Service of type LoadBalancer"


def _event(minute: int, reason: str, message: str) -> Event:
    return Event(
        involved_object=ObjectReference(uid="u1"),
        reason=reason,
        message=message,
        last_timestamp=f"2026-11-23T12:{minute:02}:00Z",
    )


def _troubles(*events: Event) -> tuple[str, ...]:
    found = Found(pools=(), l2=(), bgp=(), nodes=(), events=events, l2_states=(), bgp_states=())
    return describe_load_balancer(Service(metadata=ObjectMeta(name="a", uid="u1")), found).trouble


def test_only_the_last_complaint_of_a_kind_counts_and_none_from_before_an_address_was_given() -> None:
    full = _event(1, "AllocationFailed", "tiny has two")
    smaller = _event(2, "AllocationFailed", "tiny has one")
    dark = _event(3, "NotProgrammed", "no node takes it")
    assert _troubles(dark, full, smaller) == ("tiny has one", "no node takes it")
    assert _troubles(full, _event(4, "IPAllocated", "given")) == ("nobody has given it an address",)
